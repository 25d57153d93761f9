"""A running `bayes serve`, for the scripts that drive it with stock clients."""

import contextlib
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path


@contextlib.contextmanager
def serve(binary, model, *flags):
    """Its address, such as `http://127.0.0.1:40123`, until the block ends; then it has to end well."""
    with tempfile.TemporaryDirectory() as home:
        command = [Path(binary).resolve(), "serve", "--model", Path(model).resolve(), "--port", "0"]
        command += ["--rate-limit", "off", *flags]
        server = subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)
        try:
            yield address_of(server)
        finally:
            server.terminate()
            code = server.wait(timeout=60)
        if code != 0:
            sys.exit(f"the server ended with {code}")


def address_of(server):
    """Waits until the server says where it is, and keeps its log flowing."""
    for line in server.stderr:
        found = re.search(r"on (http://[\d.:]+)", line)
        if found:
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return found.group(1)
    sys.exit("the server did not start")


def paths():
    """Binary and model folder, as the command line has them."""
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} BINARY MODEL")
    return sys.argv[1], sys.argv[2]


TEXTS = ["The plot was dull, but the ending was moving.", "please look at my invoice", "ünïcode 😀 text"]


def predictions(address, texts, **options):
    """What `/batch_predict` says of these texts."""
    import json
    import urllib.request

    body = json.dumps({"texts": texts, **options}).encode()
    request = urllib.request.Request(
        f"{address}/batch_predict", body, {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request))["predictions"]
