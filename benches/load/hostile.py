#!/usr/bin/env python3
"""Eight hostile clients and an honest one ask a `bayes serve` with default limits. See README.md."""

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

GROWTH = 400  # MB of resident memory above idle
PROBE = 0.05  # seconds, p99 of /livez
DEADLINE = 30  # seconds, of the honest client


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def head(stream, method, path, end):
    block = b""
    fields = ((":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"),
              ("content-type", "application/json"))
    for name, value in fields:
        block += bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
    return frame(1, 5 if end else 4, stream, block)


def preface(window):
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, window))


def post(path, body, close=True):
    close = "Connection: close\r\n" if close else ""
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{close}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


class Attack:
    """What all clients share: the address, each client's own, and the end."""

    def __init__(self, port, seconds):
        self.port, self.end = port, time.time() + seconds
        self.job = None

    def running(self):
        return time.time() < self.end

    def connect(self, number):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10,
                                        source_address=(f"127.0.0.{number + 2}", 0))

    def ask(self, number, data, timeout=60):
        with self.connect(number) as stream:
            stream.settimeout(timeout)
            stream.sendall(data)
            answer = b""
            while piece := stream.recv(1 << 16):
                answer += piece
        return answer


def unread(attack, number, path):
    """Streams of HTTP/2 whose answers it never takes, and pings."""
    streams = b"".join(head(1 + 2 * n, "GET", path() or "/openapi.json", True) for n in range(60))
    held = []
    for _ in range(8):
        stream = attack.connect(number)
        stream.sendall(preface(0) + streams)
        held.append(stream)
    until = time.time() + 8
    while time.time() < until and attack.running():
        for stream in held:
            stream.sendall(frame(6, 0, 0, b"pingping"))
        time.sleep(0.5)


def bodies(attack, number):
    """Two megabytes on many connections, and never the end."""
    held = []
    for _ in range(32):
        stream = attack.connect(number)
        stream.settimeout(1)
        held.append(stream)
        stream.sendall(post("/predict", b" " * 2_000_000)[:1_900_000])
    time.sleep(5)


def gone(attack, number):
    """Batches of long texts whose client does not wait."""
    texts = [f"{time.time()} {n} " + "a " * 16_000 for n in range(32)]
    with attack.connect(number) as stream:
        stream.sendall(post("/batch_predict", json.dumps({"texts": texts}).encode()))
        time.sleep(0.2)


def passes(attack, number):
    """Jobs of as many passes as are allowed, over as long texts."""
    texts = [" ".join(["film act dull music"] * 160) + f" {time.time()} {n}" for n in range(400)]
    body = json.dumps({"texts": texts, "num_samples": 200}).encode()
    attack.ask(number, post("/async_predict", body))
    time.sleep(1)


def results(attack, number):
    """Large results, one job after the other, each asked for by many at once."""
    texts = [f"w{n} {time.time()}" for n in range(1024)]
    answer = attack.ask(number, post("/async_predict", json.dumps({"texts": texts, "return_samples": True}).encode()))
    job = json.loads(answer.split(b"\r\n\r\n", 1)[1]).get("task_id")
    attack.job = job or attack.job
    threads = [threading.Thread(target=attack.ask, args=(number, get(f"/task_status/{attack.job}"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def halves(attack, number):
    """Half a head on as many connections as there are places."""
    held = []
    for _ in range(400):
        stream = attack.connect(number)
        stream.sendall(b"POST /predict HTTP/1.1\r\nHost: loc")
        held.append(stream)
    time.sleep(5)


def quietly(client, attack, number):
    while attack.running():
        try:
            client(attack, number)
        except (OSError, ValueError, IndexError):
            time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seconds", type=int, default=120)
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix="bayes-hostile-")
    with open(os.path.join(home, "log"), "wb") as log:
        command = [os.path.abspath(options.binary), "serve", "--model", os.path.abspath(options.model), "--port", "0"]
        server = subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
    text = ""
    while "on http://" not in text:
        if server.poll() is not None:
            sys.exit(f"it did not start: {text}")
        time.sleep(0.1)
        text = open(os.path.join(home, "log")).read()
    port = int(text.split("on http://127.0.0.1:")[1].split()[0])

    def resident(key):
        lines = open(f"/proc/{server.pid}/status").read().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

    attack = Attack(port, options.seconds)
    attack.ask(200, post("/predict", b'{"text": "an ordinary film"}'))
    idle = resident("VmRSS:")
    job = lambda: attack.job and f"/task_status/{attack.job}"
    clients = [lambda a, n: unread(a, n, job), lambda a, n: unread(a, n, lambda: "/docs/swagger-ui-bundle.js"),
               bodies, gone, passes, results, halves, gone]
    for number, client in enumerate(clients):
        threading.Thread(target=quietly, args=(client, attack, number), daemon=True).start()
    probes, honest = [], {}
    while attack.running():
        began = time.time()
        answer = attack.ask(201, get("/livez"))
        probes.append(time.time() - began)
        if len(probes) % 20 == 0:
            began = time.time()
            try:
                answer = attack.ask(202, post("/predict", json.dumps({"text": f"honest {len(probes)}"}).encode()), DEADLINE + 5)
                status = answer.split(b" ", 2)[1].decode()
                if status == "503" and b"retry-after" not in answer.lower():
                    status = "503 without Retry-After"
            except (OSError, IndexError):
                status = "no answer"
            if time.time() - began > DEADLINE + 1:
                status = "too late"
            honest[status] = honest.get(status, 0) + 1
        time.sleep(0.05)
    peak, worst = resident("VmHWM:"), sorted(probes)
    p99 = worst[int(0.99 * len(worst))]
    server.kill()
    right = peak - idle < GROWTH and p99 < PROBE and not set(honest) - {"200", "503"}
    print(f"{'RIGHT' if right else 'WRONG'}: resident {idle:.0f} MB idle, {peak:.0f} MB at most; /livez p99 {p99 * 1e3:.1f} ms, "
          f"worst {worst[-1] * 1e3:.0f} ms of {len(worst)}; an honest client got {honest}")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
