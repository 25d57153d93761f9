"""Builds the wheel and uses it as a stranger would. Run by hand:

    python tests/python/check_wheel.py

The source archive holds nothing that training or a build left behind; the wheel is built with one
command in a fresh environment and installed in a second one, which gets nothing else; there `bayes`
tells its version, trains the quick start and predicts with it. `CARGO_TARGET_DIR` may name a folder with a
release build, which is used then.

Needs cargo, and a package index for maturin. Exit 0: all of it works. 1: something does not.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LICENCES = ["LICENSE-APACHE", "LICENSE-MIT", "THIRD_PARTY.md"]
TEXT = "A slow first act, but what an ending!"


def run(*command, **settings):
    print("$", *command, flush=True)
    return subprocess.run(list(map(str, command)), check=True, **settings)


def environment(folder):
    """A virtual environment, and the folder of its programs."""
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if os.name == "nt" else "bin")


def check_archive(path):
    with tarfile.open(path) as archive:
        names = [Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()]
    left = [name for name in names if re.match(r"(checkpoints|runs|target)(/|$)", name)]
    assert not left, f"the source archive holds {left[:5]}"
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs", "configs/reviews.toml", *LICENCES]:
        assert name in names, f"the source archive lacks {name}"


def check_metadata(path, version):
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = f"bayes-{version}.dist-info"
        metadata = wheel.read(f"{info}/METADATA").decode()
        for name in LICENCES:
            assert f"{info}/licenses/{name}" in names, f"the wheel lacks {name}"
        text = wheel.read(f"{info}/licenses/LICENSE-MIT").decode()
        assert text == (ROOT / "LICENSE-MIT").read_text()
    for line in [f"Version: {version}", "License-Expression: MIT OR Apache-2.0"]:
        assert line in metadata.splitlines(), f"{line} is not in the metadata"
    assert (ROOT / "README.md").read_text().strip() in metadata, "the readme is not in the metadata"
    # One wheel for every Python.
    assert "-py3-none-" in path.name, path.name


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        manifest = (ROOT / "Cargo.toml").read_text()
        version = re.search(r'^version = "(.+)"$', manifest, re.MULTILINE)[1]

        builder = environment(folder / "builder")
        run(builder / "python", "-m", "pip", "install", "--quiet", "maturin>=1.9,<2")
        maturin = builder / "maturin"
        run(maturin, "sdist", "--out", folder / "archive", cwd=ROOT)
        check_archive(next((folder / "archive").glob("*.tar.gz")))
        run(maturin, "build", "--release", "--out", folder / "wheel", cwd=ROOT)
        (wheel,) = (folder / "wheel").glob("*.whl")
        check_metadata(wheel, version)

        user = environment(folder / "user")
        run(user / "python", "-m", "pip", "install", "--quiet", "--no-index", wheel)
        home = folder / "home"
        home.mkdir()
        # Found by name in the environment's folder, where nothing else could answer.
        settings = {"cwd": home, "env": {**os.environ, "PATH": str(user)}}
        printed = run("bayes", "--version", capture_output=True, text=True, **settings).stdout
        assert printed.strip() == f"bayes {version}", printed
        run("bayes", "train", **settings)
        predict = run("bayes", "predict", "--json", TEXT, capture_output=True, text=True, **settings)
        answer = json.loads(predict.stdout)
        assert answer["text"] == TEXT and answer["label"] in answer["probabilities"], answer
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, builds, installs and works")


if __name__ == "__main__":
    sys.exit(main())
