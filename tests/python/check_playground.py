#!/usr/bin/env python3
"""Types a text into the playground in a real browser, moves the coverage, and looks at what changes.

    python tests/python/check_playground.py ADDRESS [FOLDER FOR SCREENSHOTS]

Needs Chromium and `websocket-client`; ADDRESS is that of a running server, such as http://127.0.0.1:8000,
started with `--rate-limit off`.
"""

import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

CLEAR = "The acting was superb, the music gripping, and the ending moved everyone."
DOUBTFUL = "A dull first act, but the ending was moving."
HOSTILE = "<img src=x onerror=\"document.title='broken'\"> <script>document.title='broken'</script>"
SIZES = {"phone": (360, 800), "desktop": (1280, 900)}


class Page:
    """One page, by Chromium's own protocol."""

    def __init__(self, port):
        deadline = time.time() + 30
        while True:
            try:
                pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
                address = next(page for page in pages if page["type"] == "page")
                break
            except (OSError, StopIteration):
                if time.time() > deadline:
                    raise
                time.sleep(0.1)
        self.socket = websocket.create_connection(
            address["webSocketDebuggerUrl"], suppress_origin=True, timeout=30
        )
        self.number, self.events = 0, []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def value(self, script):
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            sys.exit(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, script):
        deadline = time.time() + 20
        while not self.value(script):
            if time.time() > deadline:
                sys.exit(f"never: {script}")
            time.sleep(0.05)

    def open(self, address, script):
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete'")
        self.until(script)

    def write(self, text):
        """As a person does: by the keyboard, into the focused field."""
        before = self.value("document.getElementById('time').textContent")
        self.value("{ const box = document.getElementById('text'); box.focus(); box.select(); }")
        self.call("Input.insertText", text=text)
        self.until(f"document.getElementById('time').textContent !== {json.dumps(before)}")
        self.until("document.getElementById('answer').getAttribute('aria-busy') === 'false'")

    def picture(self, path):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))


def text_of(page, name):
    return page.value(f"document.getElementById('{name}').textContent")


def check(page, address):
    page.open(f"{address}/playground", "document.getElementById('model').textContent !== '…'")
    page.write(CLEAR)
    clear = {name: text_of(page, name) for name in ("confidence", "sources", "set", "ood")}
    page.write(DOUBTFUL)
    doubtful = {name: text_of(page, name) for name in clear}
    for name in ("confidence", "sources"):
        assert clear[name] != doubtful[name], f"{name} did not change: {clear[name]}"
    labels = "document.querySelectorAll('#set li').length"
    few = page.value(labels)
    page.value(
        "{ const slider = document.getElementById('coverage'); slider.value = 99;"
        " slider.dispatchEvent(new Event('input')); }"
    )
    page.until("document.getElementById('set-help').textContent.includes('99 %')")
    assert page.value(labels) >= few, "a larger coverage gave a smaller set"
    page.write(HOSTILE)
    assert page.value("document.title").startswith("Playground"), "markup in a text was run"
    assert page.value("document.querySelectorAll('#answer img, #answer script').length") == 0


def quiet(page, address):
    for event in page.events:
        kind, about = event.get("method"), event.get("params", {})
        if kind == "Network.requestWillBeSent":
            url = about["request"]["url"]
            assert url.startswith((address, "data:", "about:")), f"another host: {url}"
        if kind == "Log.entryAdded":
            assert about["entry"]["level"] != "error", about["entry"]
        assert kind != "Runtime.exceptionThrown", about


def pictures(page, address, folder):
    for size, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            feature = {"name": "prefers-color-scheme", "value": scheme}
            page.call("Emulation.setEmulatedMedia", features=[feature])
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width, height=height, deviceScaleFactor=1, mobile=size == "phone",
            )
            page.open(f"{address}/playground", "document.getElementById('model').textContent !== '…'")
            page.write(DOUBTFUL)
            wide = page.value("document.documentElement.scrollWidth")
            assert wide <= width, f"{size}: {wide} pixels do not fit {width}"
            page.picture(Path(folder, f"playground-{size}-{scheme}.png"))
            page.open(f"{address}/docs/", "document.querySelectorAll('.opblock').length > 5")
            page.picture(Path(folder, f"docs-{size}-{scheme}.png"))


def main():
    address = sys.argv[1].rstrip("/")
    browser = shutil.which("chromium") or shutil.which("google-chrome") or sys.exit("no Chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=9229"]
        flags += [f"--user-data-dir={profile}", "--no-first-run", "--disable-component-update"]
        process = subprocess.Popen([browser, *flags, "about:blank"], stderr=subprocess.DEVNULL)
        try:
            page = Page(9229)
            check(page, address)
            if len(sys.argv) > 2:
                pictures(page, address, sys.argv[2])
            quiet(page, address)
        finally:
            process.terminate()
            process.wait(timeout=30)
    print("the playground shows how uncertainty changes, and asks nobody else")


if __name__ == "__main__":
    main()
