"""Checks that `bayes` and Python share the Hub and its cache. Run by hand, with the path of the binary:

    python tests/python/check_hub.py target/debug/bayes

`olah` serves repositories from a folder, as the Hub does; nothing reaches the network. `bayes` downloads
a data set and a model from it, then `huggingface_hub` finds both in the cache without asking anybody;
and the other way round, `bayes` finds what `huggingface_hub` downloaded. Both write the same blobs and
links.

Needs `huggingface_hub`, `olah` and git. Exit 0: all of it holds. 1: something does not.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

FIXTURE = Path(__file__).parent.parent / "fixtures" / "encoders" / "bert"
ROWS = [("the invoice is wrong", "billing"), ("the router is broken", "technical")]


def git(folder, *arguments):
    identity = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def repository(folder, files):
    """A git repository with these files on `main`."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    git(folder, "init", "-b", "main")
    git(folder, "add", "--all")
    git(folder, "commit", "-m", "add files")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_olah(home, mirrors):
    port = free_port()
    config = home / "olah.toml"
    # A host that cannot be reached: what is not in the folder is not anywhere.
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nmirrors-path = ["{mirrors}"]\n'
        f'repos-path = "{home}/repos"\nlog-path = "{home}/logs"\n'
        'hf-scheme = "http"\nhf-netloc = "127.0.0.1:9"\nhf-lfs-netloc = "127.0.0.1:9"\n'
        "[accessibility]\noffline = true\n"
    )
    log = (home / "olah.log").open("w")
    server = subprocess.Popen(
        [Path(sys.executable).with_name("olah-cli"), "--config", config],
        cwd=home, stdout=log, stderr=log,
    )
    endpoint = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{endpoint}/api/datasets/team/tickets/revision/main", timeout=5)
            return server, endpoint
        except OSError as error:
            if server.poll() is not None:
                raise RuntimeError((home / "olah.log").read_text()) from error
            time.sleep(0.1)
    server.kill()
    raise RuntimeError((home / "olah.log").read_text())


def run(binary, environment, *arguments):
    done = subprocess.run(
        [binary, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    print(f"$ bayes {' '.join(arguments)}: exit {done.returncode}")
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


def python(environment, code):
    """Runs huggingface_hub in a process of its own: it reads its settings when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout.strip()


def check(what, holds):
    print(f"{'ok' if holds else 'WRONG'}: {what}")
    if not holds:
        raise AssertionError(what)


def main(binary, home):
    lines = [f'"{text}, case {row}",{label}' for row in range(20) for text, label in ROWS]
    csv = "\n".join(["text,label", *lines, ""]).encode()
    tickets = {"data/train.csv": csv, "data/test.csv": csv, "README.md": b"# Tickets\n"}
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    model = {name: (FIXTURE / name).read_bytes() for name in names}
    mirrors = home / "mirrors"
    repository(mirrors / "datasets" / "team" / "tickets", tickets)
    repository(mirrors / "models" / "team" / "model", model)
    server, endpoint = start_olah(home, mirrors)
    try:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        clean.pop("BAYES_DATA_DIR", None)
        clean |= {"HF_ENDPOINT": endpoint, "BAYES_CACHE_DIR": str(home / "tokens")}
        ours = clean | {"HF_HOME": str(home / "ours")}
        theirs = clean | {"HF_HOME": str(home / "theirs")}
        offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

        fetched = json.loads(run(binary, ours, "dataset", "fetch", "team/tickets", "--json"))
        answer = run(binary, ours, "predict", "--model", "team/model", "--json", "ab cd")
        snapshot = (
            "from huggingface_hub import snapshot_download as get\n"
            "print(get('team/tickets', repo_type='dataset'))\n"
            "print(get('team/model', allow_patterns={names!r}))\n"
        ).replace("{names!r}", repr(names))
        folders = [Path(line) for line in python(ours | offline, snapshot).split("\n")]
        check("Python finds the data set", (folders[0] / "data/train.csv").read_bytes() == csv)
        check("in the folder that bayes names", folders[0] / "data" == Path(fetched["folder"]))
        same = all((folders[1] / name).read_bytes() == model[name] for name in names)
        check("Python finds the model", same)
        cached = python(
            ours | offline,
            "from huggingface_hub import scan_cache_dir as scan\n"
            "info = scan()\nprint(len(info.repos), info.warnings)",
        )
        check(f"the cache is in order for Python ({cached})", cached == "2 []")

        folders = [Path(line) for line in python(theirs, snapshot).split("\n")]
        info = run(binary, theirs | offline, "dataset", "info", "team/tickets", "--json")
        check("bayes finds Python's data set", json.loads(info)["splits"][1]["rows"] == 40)
        again = run(binary, theirs | offline, "predict", "--model", "team/model", "--json", "ab cd")
        check("bayes finds Python's model, with the same answer", again == answer)

        def names_of(place):
            files = (home / place / "hub").rglob("*")
            links = {str(f.relative_to(home / place)): os.readlink(f) for f in files if f.is_symlink()}
            blobs = {f.name for f in (home / place / "hub").glob("*/blobs/*")}
            return links, blobs

        check("both write the same links and blobs", names_of("ours") == names_of("theirs"))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        try:
            main(Path(sys.argv[1]).absolute(), Path(folder))
        except (AssertionError, RuntimeError) as error:
            sys.exit(f"error: {error}")
