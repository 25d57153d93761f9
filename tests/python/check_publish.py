"""Checks that Python reads what `bayes publish` writes. Run by hand, with the binary and the double of the
Hub that the tests use, as a process:

    cargo build --examples --bins
    python tests/python/check_publish.py target/debug/bayes target/debug/examples/hub_double

Trains tiny models (one with the head of transformers, two with heads of our own), publishes each with a
tag, and reads it with `huggingface_hub`: snapshot, tags, tree, safetensors metadata, and the card with
its evaluation results. TensorBoard reads the scalars of the run, transformers loads the model from there
and gives the logits that `bayes` gives, and the snippet of the card runs as it stands.

Needs `huggingface_hub`, `safetensors`, `tensorboard`, `torch` and `transformers`. Exit 0: all of it holds.
1: something does not.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TEXTS = ["the invoice is wrong", "my router, case 7", "please look at the invoice and the router"]
TINY = {
    "model.hidden_size": 16,
    "model.num_hidden_layers": 1,
    "model.num_attention_heads": 2,
    "train.num_train_epochs": 2,
    "train.learning_rate": 5e-3,
    "data.max_length": 32,
    "train.per_device_train_batch_size": 8,
}


class Hub:
    """The double as a process."""

    def __init__(self, program):
        self.process = subprocess.Popen(
            [program, "8192"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.about = json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def check(what, holds):
    if not holds:
        raise AssertionError(what)
    print(f"ok: {what}")


def run(bayes, home, *arguments):
    environment = {**os.environ, "HF_HOME": str(home / "own"), "BAYES_CACHE_DIR": str(home / "cache")}
    done = subprocess.run(
        [bayes, *arguments], cwd=home, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.stderr}")
    return done.stdout


def train(bayes, home, pooling):
    lines = ["subject,department"]
    for row in range(240):
        thing, department = [("invoice", "billing"), ("router", "technical")][row % 2]
        lines.append(f'"please look at my {thing}, case {row}",{department}')
    (home / "tickets.csv").write_text("\n".join(lines) + "\n")
    settings = []
    for key, value in {**TINY, "model.pooling": pooling}.items():
        settings += ["--set", f"{key}={value}"]
    run(bayes, home, "train", "tickets.csv", "--quiet", *settings)


def logits_of_bayes(bayes, home):
    lines = run(bayes, home, "predict", "--json", *TEXTS).splitlines()
    return [json.loads(line)["logits"] for line in lines]


def look(bayes, home, repo, pooling):
    """One model, published and read."""
    import huggingface_hub
    import torch
    import transformers
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(bayes, home, pooling)
    arguments = ["publish", "--repo", repo, "--tag", "v1.0.0", "--json"]
    arguments += ["--set", "publish.license=apache-2.0", "--set", "publish.data_license=ours"]
    arguments += ["--set", 'publish.language=["en"]']
    published = json.loads(run(bayes, home, *arguments))
    names = {file["name"] for file in published["files"]}

    api = huggingface_hub.HfApi()
    refs = api.list_repo_refs(repo)
    tags = {tag.name: tag.target_commit for tag in refs.tags}
    check("the tag names the commit", tags == {"v1.0.0": published["commit"]})
    tree = {entry.path: entry for entry in api.list_repo_tree(repo, recursive=True, revision="v1.0.0")}
    check("the tree has every file", names <= set(tree))
    sizes = {file["name"]: file["size"] for file in published["files"]}
    check("sizes agree", all(tree[name].size == size for name, size in sizes.items()))
    weights = tree["model.safetensors"]
    check("weights are in large file storage", weights.lfs is not None)

    folder = Path(huggingface_hub.snapshot_download(repo, revision="v1.0.0"))
    here = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    check("a snapshot has every file", names <= here)
    own = home / "checkpoints" / "tickets" / "model" / "model.safetensors"
    check("weights are the same bytes", (folder / "model.safetensors").read_bytes() == own.read_bytes())

    (events,) = folder.glob("runs/*/events.out.tfevents.*")
    reader = EventAccumulator(str(events.parent), size_guidance={"scalars": 0}).Reload()
    tags = reader.Tags()
    check("TensorBoard reads the scalars", {"Loss/train", "Validation/nll"} <= set(tags["scalars"]))
    check("and nothing else", not any(tags[kind] for kind in ["images", "histograms", "tensors", "graph"]))
    steps = [event.step for event in reader.Scalars("Loss/train")]
    check("step by step", steps == sorted(set(steps)) and len(steps) > 2)

    metadata = huggingface_hub.get_safetensors_metadata(repo)
    tensors = metadata.files_metadata["model.safetensors"].tensors
    check("safetensors metadata is read by ranges", "classifier.weight" in tensors)

    card = huggingface_hub.ModelCard.load(repo)
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    evaluation = json.loads((folder / "bayes" / "evaluation.json").read_text())
    for key in ["accuracy", "f1", "nll", "ece"]:
        check(f"{key} of the card", abs(results[key] - evaluation[key]["value"]) < 1e-6)
    first = card.data.eval_results[0]
    check("the data set of the results", (first.dataset_name, first.dataset_split) == ("tickets.csv", "test"))
    check("licence and library", (card.data.license, card.data.library_name) == ("apache-2.0", "transformers"))
    check("no base model", card.data.base_model is None)
    check("language", card.data.language in ("en", ["en"]))

    expected = logits_of_bayes(bayes, home)
    if pooling == "auto":
        tokenizer = transformers.AutoTokenizer.from_pretrained(repo, revision="v1.0.0")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(repo, revision="v1.0.0").eval()
        for text, logits in zip(TEXTS, expected):
            with torch.no_grad():
                found = model(**tokenizer(text, return_tensors="pt")).logits[0]
            difference = float((found - torch.tensor(logits)).abs().max())
            check(f"logits of transformers ({difference:.1e})", difference < 1e-4)

    # The snippet, word for word, but for a text that the model knows.
    snippet = re.search(r"```python\n(.*?)```", card.content, re.DOTALL).group(1)
    check("the snippet has a text to replace", '"Your own text here"' in snippet)
    scope = {}
    exec(snippet.replace('"Your own text here"', json.dumps(TEXTS[0])), scope)
    difference = float((scope["logits"] - torch.tensor(expected[0])).abs().max())
    check(f"logits of the snippet ({pooling}, {difference:.1e})", difference < 1e-4)
    label = json.loads(run(bayes, home, "predict", "--json", TEXTS[0]))["label"]
    check("its label", scope["labels"][int(scope["probabilities"].argmax())] == label)


def main(bayes, double):
    hub = Hub(double)
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["HF_ENDPOINT"] = hub.about["endpoint"]
            os.environ["HF_TOKEN"] = hub.about["token"]
            os.environ["HF_HOME"] = f"{folder}/python"
            os.environ["HF_HUB_DISABLE_XET"] = "1"
            os.environ.pop("HF_HUB_OFFLINE", None)
            for pooling in ["auto", "mean", "cls"]:
                home = Path(folder) / pooling
                home.mkdir()
                look(bayes, home, f"tester/tickets-{pooling}", pooling)
    finally:
        hub.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*(str(Path(program).resolve()) for program in sys.argv[1:]))
    except AssertionError as error:
        sys.exit(f"failed: {error}")
