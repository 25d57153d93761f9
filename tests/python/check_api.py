#!/usr/bin/env python3
"""Starts `bayes serve` and lets schemathesis try to break it: all checks, all phases, in bounded time.

    python tests/python/check_api.py target/release/bayes checkpoints/reviews/model [EXAMPLES]

Exit 0: nothing was found. Needs `schemathesis`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from serving import address_of

# A deadline of a millisecond is rightly answered with 503 or 504; both are in the contract.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503, 504]
"""
PHASES = "examples,coverage,fuzzing,stateful"


def main():
    binary, model = (str(Path(path).resolve()) for path in sys.argv[1:3])
    examples = sys.argv[3] if len(sys.argv) > 3 else "40"
    with tempfile.TemporaryDirectory() as home:
        command = [binary, "serve", "--model", model, "--port", "0", "--rate-limit", "off"]
        server = subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)
        try:
            address = address_of(server)
            tool = Path(sys.executable).with_name("schemathesis")
            Path(home, "schemathesis.toml").write_text(CONFIG)
            run = [tool, "run", f"{address}/openapi.json", "--checks", "all", "--phases", PHASES]
            run += ["--max-examples", examples, "--seed", "1", "--continue-on-failure"]
            found = subprocess.run(run, cwd=home).returncode
            if server.poll() is not None:
                sys.exit("the server has ended")
        finally:
            server.terminate()
            server.wait(timeout=60)
    sys.exit(found)


if __name__ == "__main__":
    main()
