"""Checks that a folder with a head of our own means the same to sentence-transformers. Run by hand.

    bayes train tickets.csv --set model.pooling=mean      (normalised, cls)
    bayes predict --model checkpoints/tickets/model --json "The soup was warm." > predictions.jsonl
    python tests/python/check_sentence_transformers.py checkpoints/tickets/model predictions.jsonl

Every line of the second file is an object with "text" and "logits" (before any temperature); other keys
are ignored. No text may be longer than the model reads.

Exit 0: `SentenceTransformer(folder).encode(texts)` gives these logits within 1e-4. 1: it does not. 2: could
not run. Needs `sentence-transformers`.
"""

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

TOLERANCE = 1e-4


def main(folder, predictions_file):
    # Not `splitlines`: JSON may hold other line separators, such as U+2028, unescaped.
    lines = predictions_file.read_text(encoding="utf-8").split("\n")
    predictions = [json.loads(line) for line in lines if line.strip()]
    if not predictions:
        raise ValueError(f"`{predictions_file}` has no lines")
    if not (folder / "modules.json").is_file():
        raise ValueError(f"`{folder}` has no `modules.json`")
    model = SentenceTransformer(str(folder), device="cpu")
    found = model.encode([prediction["text"] for prediction in predictions])
    expected = numpy.array([prediction["logits"] for prediction in predictions], dtype=numpy.float32)
    if found.shape != expected.shape:
        print(f"embeddings are {found.shape}, logits {expected.shape}")
        return 1
    difference = float(numpy.abs(found - expected).max())
    print(f"greatest absolute difference in {len(predictions)} texts: {difference:.2e}")
    return 0 if difference <= TOLERANCE else 1  # NaN fails


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print("usage: check_sentence_transformers.py MODEL_FOLDER PREDICTIONS_JSONL", file=sys.stderr)
        sys.exit(2)
    try:
        sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
    except (OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
