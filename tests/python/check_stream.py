#!/usr/bin/env python3
"""Sends many rows through one connection to `/predict_stream` of `bayes serve`, with aiohttp and curl.

    python tests/python/check_stream.py target/release/bayes checkpoints/reviews/model [ROWS]

Exit 0: each row has its answer at its place, and the server's memory stayed flat. Needs `aiohttp` and curl.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import aiohttp
from serving import paths, serve

KIND = {"Content-Type": "application/x-ndjson"}


def row(number):
    """Every hundredth row is wrong."""
    return "{" if number % 100 == 99 else json.dumps({"text": f"row {number}", "return_text": True})


async def rows(count):
    for start in range(0, count, 200):
        lines = (row(number) for number in range(start, min(start + 200, count)))
        yield "".join(f"{line}\n" for line in lines).encode()


def check(number, line):
    answer = json.loads(line)
    if number % 100 == 99:
        assert answer["line"] == number + 1 and answer["error"]["status"] == 400, line
    else:
        assert answer["text"] == f"row {number}", (number, line)


async def with_aiohttp(address, count):
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        url = f"{address}/predict_stream"
        async with session.post(url, data=rows(count), headers=KIND) as answer:
            assert answer.status == 200, await answer.text()
            number = 0
            async for line in answer.content:
                check(number, line)
                number += 1
                if number == count // 10:
                    first = memory(address)
    assert number == count, f"{number} answers to {count} rows"
    last = memory(address)
    assert last < 1.05 * first + (4 << 20), f"memory grew from {first} to {last} bytes"
    return first, last


def with_curl(address, count):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        path.write_text("".join(f"{row(number)}\n" for number in range(count)))
        for send in (["--data-binary", f"@{path}"], ["-T", str(path), "-X", "POST"]):
            ask = ["curl", "-sS", "--fail", "-H", "Content-Type: application/x-ndjson", *send]
            answer = subprocess.run([*ask, f"{address}/predict_stream"], capture_output=True, check=True)
            lines = answer.stdout.splitlines()
            assert len(lines) == count, f"{send[0]}: {len(lines)} answers to {count} rows"
            for number, line in enumerate(lines):
                check(number, line)


def memory(address):
    text = urllib.request.urlopen(f"{address}/metrics").read().decode()
    (line,) = (line for line in text.splitlines() if line.startswith("process_resident_memory_bytes "))
    return float(line.split()[1])


def main():
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    with serve(*paths()) as address:
        began = time.monotonic()
        first, last = asyncio.run(with_aiohttp(address, count))
        rate = count / (time.monotonic() - began)
        with_curl(address, min(count, 3000))
    megabytes = [round(size / 1e6, 1) for size in (first, last)]
    print(f"{count} rows in order, {rate:.0f} a second; memory after a tenth and at the end: {megabytes} MB")


if __name__ == "__main__":
    main()
