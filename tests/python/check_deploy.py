#!/usr/bin/env python3
"""Checks what stands under `deploy/`, and `compose.yaml`, without an engine or a cluster.

    python tests/python/check_deploy.py target/release/bayes checkpoints/reviews/model
    python tests/python/check_deploy.py --write     # makes prometheusrule.yaml from the rules

Exit 0: nothing was wrong in what could be run; what could not is named. Needs `pyyaml`,
`kubernetes-validate` and `check-jsonschema`; promtool (Debian: prometheus), docker-compose, kubectl,
systemd-analyze, strace, bwrap (bubblewrap) and valkey-server or redis-server where they are installed.
With NODE_MODULES, a folder with `@kubernetes-models/prometheus-operator`, `@grafana/schema` and
`typescript` of npm, the operator's objects and the dashboard are checked against their types.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULE_OBJECT = DEPLOY / "kubernetes/monitoring/prometheusrule.yaml"
KUBERNETES = ["1.30", "1.33", "1.36"]
faults, missing = [], []


def check(holds, what):
    print(("ok    " if holds else "WRONG ") + what)
    if not holds:
        faults.append(what)


def run(*command, env=None, cwd=ROOT, text=None, timeout=300):
    environment = {**os.environ, **(env or {})}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, input=text,
                          capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout + done.stderr


def passes(what, *command, **options):
    code, said = run(*command, **options)
    check(code == 0, what if code == 0 else f"{what}: {said.strip()[-2000:]}")
    return said


def have(tool):
    found = shutil.which(tool)
    if not found:
        missing.append(tool)
    return found


def load(path):
    return yaml.safe_load((ROOT / path).read_text())


def rules():
    groups = []
    for path in sorted((DEPLOY / "prometheus/rules").glob("*.yml")):
        groups += yaml.safe_load(path.read_text())["groups"]
    return groups


def rule_object():
    """The rules as the Prometheus operator takes them."""
    head = "# Made from deploy/prometheus/rules by `python tests/python/check_deploy.py --write`.\n"
    labels = {"app.kubernetes.io/name": "bayes"}
    thing = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
             "metadata": {"name": "bayes", "labels": labels}, "spec": {"groups": rules()}}
    return head + yaml.safe_dump(thing, sort_keys=False, width=100)


def prometheus():
    tests = (DEPLOY / "prometheus/tests/alerts_test.yml").read_text()
    alerts = [rule for group in rules() for rule in group["rules"] if "alert" in rule]
    for alert in alerts:
        name = alert["alert"]
        told = {"summary", "description", "action"} <= set(alert["annotations"])
        graded = alert["labels"].get("severity") in ("critical", "warning")
        both = [re.search(rf'alertname="{name}".*exp_samples: \[{what}', tests) for what in ("]", "{")]
        check(told and graded and "for" in alert and all(both), f"{name} is complete and tested")
        described = f"**{name}**" in (ROOT / "docs/deployment.md").read_text()
        check(described, f"{name} stands in docs/deployment.md")
    check(RULE_OBJECT.read_text() == rule_object(), "prometheusrule.yaml has the rules; else --write")
    if have("promtool"):
        passes("promtool check config", "promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")
        passes("promtool test rules", "promtool", "test", "rules", DEPLOY / "prometheus/tests/alerts_test.yml")


def grace(seconds, settings, what):
    needed = int(settings["BAYES_SHUTDOWN_DELAY"]) + int(settings["BAYES_DRAIN_TIMEOUT"])
    check(seconds > needed, f"{what}: {seconds} s to stop, {needed} s to drain")


def compose():
    path = ROOT / "compose.yaml"
    tool = Path(sys.executable).with_name("check-jsonschema")
    passes("compose.yaml by the schema", tool, "--builtin-schema", "vendor.compose-spec", path)
    if have("docker-compose"):
        for profiles in ("", "worker", "gpu", "worker,gpu"):
            # The profiles are known from Compose 1.28 on.
            passes(f"docker-compose config, profiles `{profiles}`", "docker-compose", "-f", path, "config",
                   "--quiet", env={"COMPOSE_PROFILES": profiles})
    services = load("compose.yaml")["services"]
    for name, service in services.items():
        hard = (service["read_only"], service["cap_drop"], service["security_opt"])
        check(hard == (True, ["ALL"], ["no-new-privileges:true"]), f"{name} is hardened")
        published = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        check(all(port.endswith(":8000") for port in published), f"{name} publishes port 8000 at most")
        ours = name in ("server", "worker", "server-gpu")
        check(("metrics" in service["networks"]) == (ours or name == "prometheus"), f"{name}: metrics")
        if ours:
            grace(int(service["stop_grace_period"].rstrip("s")), service["environment"], name)
            check("api_keys" in service["secrets"], f"{name} has its keys from a file")
    scraped = load("deploy/prometheus/prometheus.yml")["scrape_configs"][0]["dns_sd_configs"][0]
    check(scraped["names"] == ["server", "server-gpu", "worker"] and scraped["port"] == 9000, "all are scraped")
    store(services["redis"]["command"].split())


def store(command):
    """The command of the store, by a real one."""
    server = shutil.which("valkey-server") or have("redis-server")
    if not server:
        return
    with tempfile.TemporaryDirectory() as home:
        words = [word.strip('"') for word in command[1:]]
        words[words.index("--dir") + 1] = home
        socket = f"{home}/s"
        process = subprocess.Popen([server, *words, "--port", "0", "--unixsocket", socket], stdout=subprocess.DEVNULL)
        ask = shutil.which("valkey-cli") or "redis-cli"
        try:
            said = ""
            for _ in range(50):
                code, said = run(ask, "-s", socket, "config", "get", "appendfsync")
                if "always" in said:
                    break
                time.sleep(0.1)
            check("always" in said, f"{Path(server).name} starts with the command of compose.yaml")
        finally:
            process.terminate()
            process.wait(timeout=20)


def variables(binary):
    known = set(re.findall(r"env: (BAYES_\w+)", run(binary, "serve", "--help")[1])) | {"BAYES_API_KEY"}
    ours = {"BAYES_MODEL_DIR", "BAYES_API_KEYS", "BAYES_FEEDBACK_KEYS", "BAYES_MEMORY", "BAYES_GPU_PORT"}
    files = [ROOT / "compose.yaml", *DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.env"), *DEPLOY.rglob("*.service")]
    for path in files:
        text = path.read_text()
        used = set(re.findall(r"\bBAYES_[A-Z_]+\b", text)) - (ours if path.name == "compose.yaml" else set())
        if used:
            place = path.relative_to(ROOT)
            check(used <= known, f"variables of {place} {sorted(used - known) or ''}")


def kustomized(folder, **changes):
    """What kubectl makes of a folder, with the components given uncommented."""
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(DEPLOY / "kubernetes", f"{home}/k")
        path = Path(home, "k", "kustomization.yaml")
        text = path.read_text()
        for component in changes.get("components", []):
            text = text.replace(f"# - {component}\n", f"- {component}\n")
        path.write_text(text)
        code, said = run("kubectl", "kustomize", f"{home}/k/{folder}")
        check(code == 0, f"kubectl kustomize {folder} {changes or ''}" + (said if code else ""))
        return list(yaml.safe_load_all(said)) if code == 0 else []


def kubernetes():
    import kubernetes_validate

    named = set()
    for path in DEPLOY.glob("kubernetes/**/kustomization.yaml"):
        own = yaml.safe_load(path.read_text())
        named |= {(path.parent / name).resolve() for name in own.get("resources", [])}
        generators = own.get("configMapGenerator", [])
        named |= {(path.parent / name).resolve() for one in generators for name in one["envs"]}
    every = {path.resolve() for path in DEPLOY.glob("kubernetes/**/*.*")}
    every = {path for path in every if path.name not in ("kustomization.yaml", "adapter-values.yaml")}
    check(every == named, f"each manifest is named by a kustomization {every ^ named}")
    if not have("kubectl"):
        return
    for folder, components in (("", []), ("", ["worker"]), ("", ["worker", "gpu"]), ("predict", [])):
        objects = kustomized(folder, components=components)
        for thing in objects:
            what = f"{thing['kind']} {thing['metadata']['name']}"
            if thing["apiVersion"].startswith("monitoring.coreos.com"):
                operator(thing, what)
                continue
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(thing, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    check(False, f"{what} {version}: {error.message}")
        print(f"ok    {len(objects)} objects by the schemas of Kubernetes {KUBERNETES}")
        for thing in objects:
            if thing["kind"] in ("Deployment", "Job"):
                pod(thing)
        gpus = [thing for thing in objects if "nvidia.com/gpu" in json.dumps(thing)]
        check(len(gpus) == ("gpu" in components), "a GPU where it was asked for")


def pod(thing):
    what, spec = f"{thing['kind']} {thing['metadata']['name']}", thing["spec"]["template"]["spec"]
    container = spec["containers"][0]
    locked = container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                              "capabilities": {"drop": ["ALL"]}}
    check(locked and spec["securityContext"]["runAsUser"] == 10001, f"{what} is hardened")
    check(set(container["resources"]) == {"requests", "limits"}, f"{what} has requests and limits")
    if thing["kind"] == "Deployment":
        settings = dict(line.split("=", 1) for line in (DEPLOY / "kubernetes/settings.env").read_text().splitlines()
                        if not line.startswith("#"))
        grace(spec["terminationGracePeriodSeconds"], settings, what)


def operator(thing, what):
    """The objects of the Prometheus operator, by the types that npm has of them."""
    modules = os.environ.get("NODE_MODULES")
    if not modules:
        missing.append(f"NODE_MODULES, for {what}")
        return
    code = (f"const {{{thing['kind']}: K}} = require('{modules}/@kubernetes-models/prometheus-operator/"
            f"monitoring.coreos.com/v1'); new K(JSON.parse(require('fs').readFileSync(0))).validate()")
    passes(f"{what} by the operator's schema", "node", "-e", code, text=json.dumps(thing))


def bulk(binary, model):
    """The command of the indexed job, with this binary: each file once, and again nothing."""
    job = load("deploy/kubernetes/predict/job.yaml")
    container = job["spec"]["template"]["spec"]["containers"][0]
    shards = next(one["value"] for one in container["env"] if one["name"] == "SHARDS")
    check(int(shards) == job["spec"]["completions"], "SHARDS is the number of completions")
    with tempfile.TemporaryDirectory() as home:
        os.symlink(binary, Path(home, "bayes"))
        Path(home, "in").mkdir()
        for number in range(5):
            Path(home, "in", f"part {number}.csv").write_text(f"text\na good film {number}\na bad one\n")
        env = {"IN": f"{home}/in", "OUT": f"{home}/out", "SHARDS": "2", "BAYES_MODEL": model,
               "PATH": f"{home}:{os.environ['PATH']}"}
        made = []
        for index in ("0", "1", "1"):
            code, said = run(*container["command"], env={**env, "JOB_COMPLETION_INDEX": index})
            check(code == 0, f"index {index} of the job {said if code else ''}")
            made.append(sorted(path.name for path in Path(home, "out").iterdir()))
        check([len(names) for names in made] == [3, 5, 5], f"every file once: {made[-1]}")
        lines = [line for path in Path(home, "out").iterdir() for line in path.read_text().splitlines()]
        check(len(lines) == 10 and all("label" in json.loads(line) for line in lines), "ten predictions")
        code, _ = run(*container["command"], env={**env, "IN": f"{home}/none", "JOB_COMPLETION_INDEX": "0"})
        check(code == 2, "an empty folder is a fault, exit 2, which is not tried again")


def systemd(binary, model):
    unit = (DEPLOY / "systemd/bayes.service").read_text()
    settings = dict(re.findall(r"^(BAYES_\w+)=(.*)$", (DEPLOY / "systemd/bayes.env").read_text(), re.M))
    grace(int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]), settings, "bayes.service")
    if not have("systemd-analyze"):
        return
    with tempfile.TemporaryDirectory() as home:
        path = Path(home, "bayes.service")
        path.write_text(unit.replace("/usr/local/bin/bayes", str(binary)))
        said = passes("systemd-analyze verify", "systemd-analyze", "verify", "--man=no", path)
        check("bayes.service:" not in said, f"without a warning {said}")
        code, said = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", path)
        score = said.strip().splitlines()[-1]
        check(code == 0, score)
    refused = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
        names = {call for group in line.lstrip("~").split() for call in calls(group)}
        refused = refused | names if line.startswith("~") else refused
        allowed = names if not line.startswith("~") else allowed - names
    if have("strace"):
        served = traced(binary, model)
        check(served["calls"] <= allowed, f"{len(served['calls'])} system calls, all allowed {served['calls'] - allowed}")
        check(not served["writes code"], f"no memory is written and run {served['writes code']}")


def calls(group):
    """The system calls of a group of systemd."""
    lines = run("systemd-analyze", "syscall-filter", group)[1].splitlines()
    names = {line.strip() for line in lines if line.startswith("    ")}
    groups = {name for name in names if name.startswith("@")}
    return {name for name in names if name[0] not in "@#"}.union(*(calls(name) for name in groups))


def traced(binary, model):
    """What a server asks the system for while it starts, predicts, does a job, reads again and drains;
    without root, on a read-only system, with nothing but its data folder to write to."""
    with tempfile.TemporaryDirectory() as home:
        data, keys = Path(home, "data"), Path(home, "keys")
        data.mkdir()
        data.chmod(0o777)
        keys.write_text("k" * 32)
        jail = []
        if have("bwrap"):
            jail = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--bind", data, data,
                    "--unshare-user", "--uid", "10001", "--gid", "10001", "--cap-drop", "ALL", "--chdir", data]
        here, other = "127.0.0.1:18470", "127.0.0.1:18471"
        env = {"BAYES_MODEL": model, "BAYES_PORT": here.split(":")[1], "BAYES_METRICS_ADDR": other,
               "BAYES_JOBS_PATH": f"{data}/jobs.redb", "BAYES_API_KEY_FILE": str(keys)}
        command = [*jail, "strace", "-f", "-o", data / "log", binary, "serve"]
        server = subprocess.Popen([str(word) for word in command], env={**os.environ, **env}, stderr=subprocess.PIPE)
        try:
            ready = any(run(binary, "serve", "--health", env=env)[0] == 0 or time.sleep(0.1) for _ in range(300))
            check(ready, "the server is ready without root, on a read-only system")
            for route, body in (("predict", {"text": "a good film"}), ("async_predict", {"texts": ["a", "b"]})):
                said = run("curl", "-sS", f"{here}/{route}", "-H", "content-type: application/json",
                           "-H", f"authorization: Bearer {'k' * 32}", "-d", json.dumps(body))[1]
                check("_id" in said, f"/{route} answers there")
            process = int((data / "log").read_text().split()[0])
            os.kill(process, signal.SIGHUP)
            time.sleep(3)
            told = run("curl", "-sS", f"{other}/metrics")[1]
            check(len(re.findall(r'bayes_reloads_total.*taken"} 1', told)) == 2, "SIGHUP reads keys and model again")
            check("404" in run("curl", "-sS", f"{here}/metrics")[1], "the clients' port gives no metrics")
            os.kill(process, signal.SIGTERM)
            check(server.wait(timeout=60) == 0, "SIGTERM drains, exit 0")
        finally:
            server.kill()
        text = (data / "log").read_text()
        names = set(re.findall(r"^\d+ +(\w+)\(", text, re.M))
        code = re.findall(r"^\d+ +(?:m\w+\(.*PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC).*", text, re.M)
        return {"calls": names, "writes code": code}


def dashboard():
    board = json.loads((DEPLOY / "grafana/dashboards/bayes.json").read_text())
    taken, ids = set(), set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        check(not cells & taken and place["x"] + place["w"] <= 24, f"panel {panel['title']} has a place of its own")
        taken |= cells
        ids.add(panel["id"])
        check(panel["type"] == "row" or bool(panel["description"] and panel["targets"]), "and a description")
    check(len(ids) == len(board["panels"]), "panels have ids of their own")
    modules = os.environ.get("NODE_MODULES")
    if not modules:
        missing.append("NODE_MODULES, for the types of Grafana")
        return
    plain = ("import type { Dashboard } from '@grafana/schema';\n"
             "type Plain<T> = T extends string ? `${T}` : T extends number ? number : T extends boolean ? boolean\n"
             " : T extends readonly (infer U)[] ? readonly Plain<U>[]\n"
             " : T extends object ? { readonly [K in keyof T]: Plain<T[K]> } : T;\n"
             "const board = %s as const;\nexport const checked: Plain<Dashboard> = board;\n")
    with tempfile.TemporaryDirectory() as home:
        os.symlink(modules, Path(home, "node_modules"))
        for right in (True, False):
            text = json.dumps(board if right else {**board, "graphTooltip": "x"})
            Path(home, "board.ts").write_text(plain % text)
            code, said = run("node", f"{modules}/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--module",
                             "esnext", "--moduleResolution", "bundler", "--target", "es2022", "board.ts", cwd=home)
            check((code == 0) == right, f"the dashboard by Grafana's types, {'right' if right else 'made wrong'} {said[:500]}")


def main():
    if sys.argv[1:] == ["--write"]:
        RULE_OBJECT.write_text(rule_object())
        return
    binary, model = (str(Path(path).resolve()) for path in sys.argv[1:3])
    prometheus()
    compose()
    variables(binary)
    kubernetes()
    bulk(binary, model)
    systemd(binary, model)
    dashboard()
    for what in dict.fromkeys(missing):
        print(f"NOT RUN, since it is not there: {what}")
    print(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
