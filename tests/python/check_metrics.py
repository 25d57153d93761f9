#!/usr/bin/env python3
"""A real Prometheus scrapes a real server under load, and evaluates what `deploy/` asks of it.

    python tests/python/check_metrics.py target/release/bayes checkpoints/reviews/model [SECONDS] [PNG]

Every rule must evaluate without an error, every query of the dashboard and of the adapter must be
answered, and every metric that they name must be one of the server's, or await a part that is marked.
Queries without a series are listed. A server that knows a shared store gets one, with the command of
`compose.yaml`, and a worker. PNG is a picture of all panels. Exit 0: all of that holds. Needs
`pyyaml`, prometheus and promtool (Debian: prometheus), and matplotlib for the picture.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KEY = "k" * 32
# A series that a machine without redis-server and valkey-server does not have.
AWAITED = r"bayes_redis_up"
# Names that Prometheus makes itself.
OWN = {"up", "ALERTS"}
ODD = "the quarterly invoice mentions kubernetes tax forms and 17 gearboxes".split()


def request(url, body=None, headers=None):
    data = None if body is None else json.dumps(body).encode()
    heads = {"content-type": "application/json", "authorization": f"Bearer {KEY}", **(headers or {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, heads), timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def load(address, texts, until, seed):
    """One client: mostly plain requests, some of each other kind that a dashboard should show. Towards the
    end half of the texts are of another subject."""
    random_ = random.Random(seed)
    while time.time() < until:
        draw, late = random_.random(), time.time() > until - 20
        odd = " ".join(random_.choices(ODD, k=12))
        one = odd if late and random_.random() < 0.5 else random_.choice(texts)
        if draw < 0.70:
            status, answer = request(f"{address}/predict", {"text": one})
            if status == 200 and random_.random() < 0.5:
                told = json.loads(answer)
                label = told["label"] if random_.random() < 0.8 else random_.choice(sorted(told["probabilities"]))
                request(f"{address}/feedback", {"prediction_id": told["prediction_id"], "label": label})
        elif draw < 0.80:
            request(f"{address}/batch_predict", {"texts": random_.sample(texts, 8)})
        elif draw < 0.84:
            request(f"{address}/predict", {"text": "a good film"})
        elif draw < 0.88:
            request(f"{address}/predict", {"text": " ".join(random_.choices(texts, k=40))})
        elif draw < 0.91:
            request(f"{address}/async_predict", {"texts": random_.sample(texts, 20)})
        elif draw < 0.94:
            request(f"{address}/predict", {"text": one}, {"x-request-timeout-ms": "1"})
        elif draw < 0.96:
            request(f"{address}/predict", {"text": " "})
        elif draw < 0.98:
            request(f"{address}/nothing-here")
        else:
            request(f"{address}/predict", {"text": one}, {"authorization": "Bearer wrong"})
        time.sleep(random_.random() * 0.05)


class Prometheus:
    """The configuration of deploy/prometheus with one target that is known, and short intervals."""

    def __init__(self, home, targets, port):
        config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "2s"}
        config["rule_files"] = [str(DEPLOY / "prometheus/rules/*.yml")]
        job = config["scrape_configs"][0]
        del job["dns_sd_configs"]
        # Labels that a cluster adds.
        labels = {"namespace": "bayes", "pod": "bayes-0"}
        job["static_configs"] = [{"targets": targets, "labels": labels}]
        config["scrape_configs"] = [job]
        path = Path(home, "prometheus.yml")
        path.write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={home}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stderr=open(f"{home}/prometheus.log", "w"))

    def ask(self, path, **query):
        status, said = request(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        answer = json.loads(said)
        return answer.get("data"), "" if status == 200 else f"{status} {answer.get('error')}"


def expressions():
    """Every query of the dashboard, with what Grafana puts in: panel, legend, query."""
    board = json.loads((DEPLOY / "grafana/dashboards/bayes.json").read_text())
    put = lambda query: (query.replace("$job", "bayes").replace("$instance", ".*")
                         .replace("$__rate_interval", "10s"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["legendFormat"], put(target["expr"])
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']}", "", put(annotation["expr"])
    for variable in board["templating"]["list"]:
        found = re.match(r"label_values\((.*), (\w+)\)$", variable.get("definition", ""))
        if found:
            yield f"variable {variable['name']}", "", f"count by ({found[2]}) ({put(found[1])})"
    adapter = yaml.safe_load((DEPLOY / "kubernetes/monitoring/adapter-values.yaml").read_text())
    for rule in adapter["rules"]["custom"]:
        series = rule["seriesQuery"].split("{")[0]
        query = (rule["metricsQuery"].replace("<<.Series>>", series).replace("<<.GroupBy>>", "pod")
                 .replace("<<.LabelMatchers>>", 'namespace="bayes",pod=~"bayes-0"'))
        yield f"adapter {series}", "", query


def named(query):
    """The metrics that an expression names."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", query)
    bare = re.sub(r"\{[^}]*\}|\b(?:by|on|ignoring|group_left|without) *\([^)]*\)", "", bare)
    return {name for name in re.findall(r"\b[a-zA-Z_:][\w:]*\b(?! *\()", bare)
            if "_" in name or ":" in name or name in OWN}


def picture(prometheus, began, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {}
    for title, legend, query in expressions():
        if not title.startswith(("annotation", "variable", "adapter")):
            panels.setdefault(title, []).append((legend, query))
    rows = -(-len(panels) // 5)
    _, places = pyplot.subplots(rows, 5, figsize=(26, 3.1 * rows))
    for place, (title, queries) in zip(places.flat, panels.items()):
        place.set_title(title, fontsize=9)
        lines = 0
        for legend, query in queries:
            data, _ = prometheus.ask("query_range", query=query, start=began, end=time.time(), step=2)
            for series in data["result"][:12]:
                name = re.sub(r"\{\{ ?(\w+) ?\}\}", lambda found: series["metric"].get(found[1], ""), legend)
                points = [(float(when) - began, float(value)) for when, value in series["values"]]
                place.plot(*zip(*points), label=name[:30] or "value", linewidth=1)
                lines += bool(points)
        if lines:
            place.legend(fontsize=5, loc="upper left")
        else:
            place.text(0.5, 0.5, "no series", ha="center", transform=place.transAxes)
    pyplot.tight_layout()
    pyplot.savefig(path, dpi=60)


def judge(prometheus, text, began, servers):
    lint = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    wrong = [f"promtool check metrics: {lint.stderr}"] * bool(lint.returncode)
    up = prometheus.ask("query", query='sum(up{job="bayes"})')[0]["result"][0]["value"][1]
    wrong += [f"{up} of {servers} servers are scraped"] * (up != str(servers))
    groups, _ = prometheus.ask("rules")
    rules = [rule for group in groups["groups"] for rule in group["rules"]]
    states = {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}
    wrong += [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
    print(f"{len(rules)} rules evaluated, {len(wrong)} with an error")
    print("alerts that are pending or fire:", sorted(name for name in states if states[name] != "inactive"))
    exist = {name for name in re.findall(r"^([\w:]+)[ {]", text, re.M)} | OWN
    exist |= {rule["name"] for rule in rules if rule["type"] == "recording"}
    queries = [(rule["name"], "", rule["query"]) for rule in rules] + list(expressions())
    waits, empty = set(), []
    for what, legend, query in queries:
        unknown = named(query) - exist
        waits |= {name for name in unknown if re.fullmatch(AWAITED, name)}
        wrong += [f"{what}: the server has no {name}" for name in unknown if not re.fullmatch(AWAITED, name)]
    for what, legend, query in expressions():
        data, error = prometheus.ask("query_range", query=query, start=began, end=time.time(), step=2)
        wrong += [f"{what}: {error}"] * bool(error)
        if not error and not data["result"]:
            empty.append(f"{what} {legend}: {query}")
    print(f"{len(queries)} queries; awaited metrics: {sorted(waits)}")
    print("without a series:", *empty, sep="\n  ")
    wrong += [f"no series, though nothing is awaited: {one}" for one in empty
              if not re.search(AWAITED, one) and "annotation" not in one]
    return wrong


def store(home):
    """The store of compose.yaml, on a port of its own; its process and the settings that name it."""
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if not server:
        print("NOT RUN: no valkey-server and no redis-server")
        return None, {}
    words = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["redis"]["command"].split()[1:]
    words = [word.strip('"') for word in words]
    words[words.index("--dir") + 1] = home
    command = [server, *words, "--port", "18485", "--bind", "127.0.0.1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL), {"BAYES_REDIS_URL": "redis://127.0.0.1:18485/0"}


def wait(*addresses):
    end = time.time() + 90
    while time.time() < end:
        try:
            if all(request(address)[0] == 200 for address in addresses):
                return
        except OSError:
            time.sleep(0.2)
    sys.exit(f"not ready: {addresses}")


def main():
    binary, model = (str(Path(path).resolve()) for path in sys.argv[1:3])
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 90
    help_ = subprocess.run([binary, "serve", "--help"], capture_output=True, text=True).stdout
    processes = []
    with tempfile.TemporaryDirectory() as home:
        Path(home, "keys").write_text(f"# check\n{KEY}\n")
        env = {**os.environ, "BAYES_API_KEY_FILE": f"{home}/keys", "BAYES_RATE_LIMIT": "6000/min"}
        head = [binary, "dataset", "head", "reviews", "-n", "400", "--json"]
        rows = subprocess.run(head, cwd=home, capture_output=True, text=True, check=True).stdout
        texts = [json.loads(row)["text"] for row in rows.splitlines()]

        def serve(port, metrics, *flags):
            command = [binary, "serve", "--model", model, "--port", str(port), *flags]
            own = {**env, "BAYES_METRICS_ADDR": metrics}
            log = open(f"{home}/{port}.log", "w")
            processes.append(subprocess.Popen(command, cwd=home, env=own, stderr=log))

        try:
            shared = "--redis-url" in help_
            if shared:
                kept, settings = store(home)
                processes += [kept] * bool(settings)
                env.update(settings)
                shared = bool(settings)
            targets = ["127.0.0.1:18481", "127.0.0.1:18484"][: 1 + shared]
            serve(18480, targets[0])
            server = processes[-1]
            if shared:
                serve(18483, targets[1], "--role", "worker")
            prometheus = Prometheus(home, targets, 18482)
            processes.append(prometheus.process)
            ready = [f"http://127.0.0.1:{port}/readyz" for port in (18480, 18483)[: 1 + shared]]
            wait(f"{prometheus.url}/-/ready", *ready)
            began = time.time()
            clients = [threading.Thread(target=load, args=("http://127.0.0.1:18480", texts, began + seconds, seed))
                       for seed in range(4)]
            for client in clients:
                client.start()
            time.sleep(seconds / 2)
            server.send_signal(signal.SIGHUP)
            for client in clients:
                client.join()
            time.sleep(3)
            text = request(f"http://{targets[0]}/metrics")[1]
            wrong = judge(prometheus, text, began, len(targets))
            if len(sys.argv) > 4:
                picture(prometheus, began, sys.argv[4])
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(timeout=60)
    print(*(f"WRONG {one}" for one in wrong), f"{len(wrong)} faults", sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
