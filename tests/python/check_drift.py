"""Days of traffic over HTTP: when `bayes serve` says that the traffic has changed, and what labels do then.

    python tests/python/check_drift.py target/release/bayes

Only Python itself is needed. The script writes requests to three departments from a small grammar of its own, trains a
model on some of them, and replays days of 20,000 requests that change in the middle: to other topics, to texts with
typing errors, to another mix of departments. For each it asks `/drift` after every batch and prints after how many
requests it alarmed. On the day of typing errors it also sends the true labels: the rolling figures must be those of
`bayes eval` on the exported rows to 1e-6, and `bayes recalibrate` must bring coverage back into its band.

Exit 0 if an alarm came within 300 requests of each change and not before, and all of that held.
"""

import argparse
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = {
    "billing": "invoice refund charge card payment receipt euro account price twice fee credit".split(),
    "technical": "router cable signal screen update crash error light reset device port cloud".split(),
    "sales": "offer contract upgrade discount plan order trial quote bundle renewal demo seats".split(),
}
COMMON = (
    "please the my a since yesterday again cannot could you look at it still with and for we our need help "
    "today morning customer team soon thanks hello question about this that was is not how when call"
).split()
OTHER = (
    "simmer onions garlic butter oven recipe goal striker match league rain clouds degrees sunny forest trail "
    "mountain guitar chorus album painting museum violin planet orbit telescope river bridge castle"
).split()
LABELS = list(WORDS)
BATCH = 32
SOON = 300


def text_of(rng, label):
    """Words of its own department, some of the others, and common ones: no text is quite sure."""
    words = []
    for _ in range(rng.randint(6, 18)):
        kind = rng.random()
        if kind < 0.22:
            words.append(rng.choice(WORDS[label]))
        elif kind < 0.36:
            words.append(rng.choice(WORDS[rng.choice(LABELS)]))
        else:
            words.append(rng.choice(COMMON))
    return " ".join(words)


def usual(rng):
    label = rng.choice(LABELS)
    return text_of(rng, label), label


def other_topics(rng):
    return " ".join(rng.choice(OTHER + COMMON[:12]) for _ in range(rng.randint(6, 18))), None


def typos(rng):
    text, label = usual(rng)
    letters = list(text)
    for place, letter in enumerate(letters):
        if letter != " " and rng.random() < 0.06:
            letters[place] = rng.choice("abcdefghijklmnopqrstuvwxyz")
    return "".join(letters), label


def other_mix(rng):
    label = rng.choices(LABELS, [0.1, 0.1, 0.8])[0]
    return text_of(rng, label), label


class Server:
    """`bayes serve`, asked over one connection that stays open."""

    def __init__(self, bayes, home, model, flags):
        command = [bayes, "serve", "--model", model, "--port", "0", "--rate-limit", "off", *flags]
        self.process = subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "on http://" in line:
                self.address = line.split("on http://")[1].split()[0]
                break
        else:
            raise SystemExit("the server did not start")
        self.log = open(Path(home) / "log.txt", "w")
        # Else it would wait for somebody to read what it says.
        subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=self.log)
        self.connection = http.client.HTTPConnection(self.address)

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def get(self, path):
        status, text = self.ask("GET", path)
        assert status == 200, text
        return text

    def predict(self, texts):
        status, text = self.ask("POST", "/batch_predict", {"texts": texts, "return_text": False})
        assert status == 200, text
        return json.loads(text)["predictions"]

    def label(self, prediction, label):
        body = {"prediction_id": prediction["prediction_id"], "label": label}
        status, text = self.ask("POST", "/feedback", body)
        assert status == 202, text

    def metrics(self):
        lines = (line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        # There is one model.
        own = re.compile(r'\{model="[^"]*"\}|model="[^"]*",')
        return {own.sub("", name): float(value) for name, value in lines}

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        self.log.close()


def alarms(server):
    drift = json.loads(server.get("/drift"))
    found = {one["feature"]: one["alarmed_by"] for one in drift["features"] if one["alarmed_by"]}
    return found, drift


def replay(server, rng, source, requests, stop_at_alarm=False):
    """Sends so many; gives what alarmed, if anything did."""
    found = {}
    for sent in range(0, requests, BATCH):
        server.predict([source(rng)[0] for _ in range(min(BATCH, requests - sent))])
        found, _ = alarms(server)
        if found and stop_at_alarm:
            break
    return found


def told(server, rng, source, rows):
    """Sends texts and their true labels."""
    for _ in range(0, rows, BATCH):
        some = [source(rng) for _ in range(BATCH)]
        for prediction, (_, label) in zip(server.predict([text for text, _ in some]), some):
            server.label(prediction, label)


def run(command, home):
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def coverage(server):
    metrics = server.metrics()
    names = [f'bayes_conformal_coverage{part}_ratio{{target="0.9"}}' for part in ("", "_low", "_high")]
    return [metrics[name] for name in names]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bayes", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    options = parser.parse_args()
    bayes = str(options.bayes.resolve())
    rng = random.Random(7)
    home = Path(tempfile.mkdtemp())
    rows = "".join(f'"{text}",{label}\n' for text, label in (usual(rng) for _ in range(6000)))
    (home / "tickets.csv").write_text("text,label\n" + rows)
    small = ["hidden_size=48", "intermediate_size=128", "num_hidden_layers=2", "num_attention_heads=4"]
    sets = [part for one in small for part in ("--set", f"model.{one}")]
    sets += ["--set", "train.learning_rate=2e-3", "--set", "data.max_length=48"]
    run([bayes, "train", "tickets.csv", "--init", "none", "--quiet", *sets], home)
    model = "checkpoints/tickets/model"

    ok = True
    for name, change in [("other topics", other_topics), ("typing errors", typos), ("another mix", other_mix)]:
        flags = ["--feedback-texts", "--feedback-path", name.replace(" ", "-")]
        server = Server(bayes, home, model, flags)
        half = options.requests // 2
        before = replay(server, rng, usual, half)
        after = replay(server, rng, change, SOON, stop_at_alarm=True)
        late = min(after.values(), default=None)
        delay = None if late is None else late - half
        ok &= not before and delay is not None and delay <= SOON
        print(f"{name}: alarms before {before or 'none'}; {delay} requests after it: {after}")
        rest = replay(server, rng, change, options.requests - half - SOON)
        _, drift = alarms(server)
        psi = {one["feature"]: (round(one["psi"], 3), round(one["psi_floor"], 3)) for one in drift["features"]}
        print(f"  at the end of the day: {rest}; PSI and floor {psi}")
        if change is typos:
            ok &= calibrate_anew(bayes, home, server, rng, change, flags[-1], model)
        server.stop()
    shutil.rmtree(home)
    print("ok" if ok else "FAILED")
    return 0 if ok else 1


def calibrate_anew(bayes, home, server, rng, change, path, model):
    told(server, rng, change, 3200)
    share, low, high = coverage(server)
    print(f"  3,200 labels: coverage of sets {share:.4f}, by chance {low:.4f} to {high:.4f}")
    broken = share < low
    export = [bayes, "feedback", "export", "--output", "rows.parquet", "--feedback-path", path]
    print("  " + run(export, home).strip())
    found = json.loads(run([bayes, "eval", "--json", "--model", model, "--dataset", "rows.parquet"], home))
    metrics = server.metrics()
    pairs = [
        ("ECE", metrics["bayes_calibration_ece_ratio"], found["ece"]["value"]),
        ("accuracy", metrics["bayes_accuracy_ratio"], found["accuracy"]["value"]),
        ("Brier score", metrics["bayes_brier_score"], found["brier"]["value"]),
        ("coverage", share, found["sets"]["coverage"]["value"]),
    ]
    same = True
    for what, rolling, evaluated in pairs:
        print(f"  {what}: rolling {rolling:.9f}, bayes eval {evaluated:.9f}")
        same &= abs(rolling - evaluated) < 1e-6
    began = time.time()
    run([bayes, "recalibrate", "--model", model, "--dataset", "rows.parquet", "--output", "anew"], home)
    print(f"  recalibrated in {time.time() - began:.1f} s")
    served = home / model
    os.rename(served, home / "old")
    os.rename(home / "anew", served)
    server.process.send_signal(signal.SIGHUP)
    taken = 'bayes_reloads_total{what="model",outcome="taken"}'
    while server.metrics().get(taken, 0) < 1:
        time.sleep(0.1)
    told(server, rng, change, 3200)
    share, low, high = coverage(server)
    print(f"  3,200 new labels: coverage of sets {share:.4f}, by chance {low:.4f} to {high:.4f}")
    again, _ = alarms(server)
    print(f"  alarms by that traffic now: {again or 'none'}")
    os.rename(served, home / "anew")
    os.rename(home / "old", served)
    return broken and same and low <= share <= high and not again


if __name__ == "__main__":
    sys.exit(main())
