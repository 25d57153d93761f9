#!/usr/bin/env python3
"""Assembles every PTX file of the folders for all generations of cards that we name, and says what each kernel takes.

    tests/cuda/ptx.py [--kernels] target/cuda/release/build/candle-kernels-*/out src/compute/cuda

`ptxas` is taken from the path; NVIDIA has it as a Python package (`pip install nvidia-cuda-nvcc`). One line a file and
generation: kernels, the most registers and the most static shared memory of one, and how many spill registers to
memory. `--kernels` has a line for each kernel. Exit code 1 if a file does not assemble.
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GENERATIONS = ["80", "86", "89", "90", "120"]


def assemble(job):
    """(file, generation) -> what ptxas says of each kernel, or its error."""
    path, generation = job
    done = subprocess.run(
        ["ptxas", "-v", f"-arch=sm_{generation}", "-o", "/dev/null", str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        return job, None, done.stderr.strip().splitlines()[:1]
    kernels = []
    for part in done.stderr.split("Compiling entry function '")[1:]:
        spilled = [int(x) for x in re.findall(r"(\d+) bytes spill", part)]
        shared = re.search(r"(\d+) bytes smem", part)
        kernels.append({
            "name": part.split("'")[0],
            "registers": int(re.search(r"Used (\d+) registers", part)[1]),
            "shared": int(shared[1]) if shared else 0,
            "spilled": sum(spilled),
        })
    return job, kernels, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", action="store_true", help="a line for each kernel")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    files = sorted({path for folder in options.folders for path in folder.rglob("*.ptx")})
    if not files:
        sys.exit(f"no .ptx under {', '.join(map(str, options.folders))}")
    jobs = [(path, generation) for path in files for generation in GENERATIONS]
    failed = 0
    print(f"{'file':<24} {'sm':>4} {'kernels':>8} {'registers':>10} {'shared':>8} {'spilling':>9}")
    with ThreadPoolExecutor(options.threads) as pool:
        for (path, generation), kernels, error in pool.map(assemble, jobs):
            if kernels is None:
                failed += 1
                print(f"{path.name:<24} {generation:>4} does not assemble: {' '.join(error)}")
                continue
            most = lambda key: max((one[key] for one in kernels), default=0)
            spilling = sum(one["spilled"] > 0 for one in kernels)
            print(f"{path.name:<24} {generation:>4} {len(kernels):>8} {most('registers'):>10} {most('shared'):>8} {spilling:>9}")
            for one in kernels if options.kernels else (one for one in kernels if one["spilled"]):
                print(f"    {one['name']}: {one['registers']} registers, {one['shared']} bytes shared, {one['spilled']} bytes spilled")
    print(f"{len(files)} files, {len(jobs)} assemblies, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
