"""Checks that a model folder written by `bayes` means the same to transformers. Run by hand.

    bayes predict --model checkpoints/reviews/model --json "The soup was warm." > predictions.jsonl
    python tests/python/check_transformers.py checkpoints/reviews/model predictions.jsonl

Every line of the second file is an object with "text" and "logits" (before any temperature); other
keys are ignored. Texts are not truncated here: one that is longer than the model can take is an
error, not a difference.

Of a folder whose weights have eight bits transformers must read nothing: it is loaded as a model and as a
classifier, and both must fail.

Exit 0: the logits agree within 1e-4, no tensor is missing and none is left over. 1: they differ, or
the tensors do. 2: could not run.
"""

import json
import sys
from pathlib import Path

import numpy
import torch
import transformers

TOLERANCE = 1e-4


def refused(folder):
    ok = True
    for kind in (transformers.AutoModel, transformers.AutoModelForSequenceClassification):
        try:
            kind.from_pretrained(folder, local_files_only=True)
        except ValueError as error:
            print(f"{kind.__name__}: {error}")
        else:
            print(f"{kind.__name__} takes integers of eight bits for weights")
            ok = False
    return 0 if ok else 1


def main(folder, predictions_file):
    # Not `splitlines`: JSON may hold other line separators, such as U+2028, unescaped.
    lines = predictions_file.read_text(encoding="utf-8").split("\n")
    predictions = [json.loads(line) for line in lines if line.strip()]
    if not predictions:
        raise ValueError(f"`{predictions_file}` has no lines")
    if not folder.is_dir():
        raise ValueError(f"`{folder}` is not a folder")

    if json.loads((folder / "bayes" / "manifest.json").read_text()).get("precision") == "int8":
        return refused(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        local_files_only=True,
    )
    model.eval()
    ok = True
    for kind, names in report.items():
        if names:
            print(f"{kind}: {', '.join(sorted(map(str, names)))}")
            ok = False

    limit = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    if model.config.model_type in ("roberta", "roberta-prelayernorm"):
        # Its positions begin after the padding id.
        limit = min(limit, model.config.max_position_embeddings - model.config.pad_token_id - 1)
    greatest = 0.0
    for number, prediction in enumerate(predictions, start=1):
        inputs = tokenizer(prediction["text"], truncation=False, padding=False, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        assert length <= limit, f"line {number}: {length} tokens, the model takes at most {limit}"
        with torch.no_grad():
            expected = model(**inputs).logits[0].numpy()
        found = numpy.array(prediction["logits"], dtype=numpy.float32)
        if found.shape != expected.shape:
            print(f"line {number}: {found.size} logits, transformers has {expected.size}")
            return 1
        difference = float(numpy.abs(found - expected).max())
        if not difference <= TOLERANCE:  # not `>`: NaN must fail
            print(f"line {number}: found {found.tolist()}, transformers {expected.tolist()}")
            ok = False
        greatest = max(greatest, difference) if difference == difference else difference
    print(f"greatest absolute difference in {len(predictions)} texts: {greatest:.2e}")
    return 0 if ok else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: check_transformers.py MODEL_FOLDER PREDICTIONS_JSONL", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except (AssertionError, OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
