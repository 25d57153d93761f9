"""Expected values of zero-shot labels from the pipeline of transformers.

Run, from the root of the repository:

    python tests/python/golden_zero_shot.py

It makes `tests/fixtures/nli/`: a tiny random BERT whose classes are those of natural language inference
(the tokenizer is that of `tests/fixtures/encoders/bert`), and `expected.json`: the scores of
`pipeline("zero-shot-classification")` for each template. Seed: 20261129.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, pipeline

HERE = Path(__file__).parent.parent / "fixtures"
TEXTS = [
    "The invoice was charged twice", "no light", "A long text about the router, " * 20,
    "the second text was long " * 2, "x", "Déjà vu",
]
LABELS = ["billing", "refund or return", "outage", "the router has no light at all"]
TEMPLATES = ["This text is about {}.", "{} it is"]
NAMES = ["contradiction", "neutral", "ENTAILMENT"]


def main():
    out = HERE / "nli"
    shutil.rmtree(out, ignore_errors=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(HERE / "encoders/bert/tokenizer.json"), model_max_length=40,
        unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]", cls_token="[CLS]", mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    torch.manual_seed(20261129)
    config = BertConfig(
        vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40, initializer_range=0.5, id2label=dict(enumerate(NAMES)),
        label2id={name: place for place, name in enumerate(NAMES)},
    )
    model = BertForSequenceClassification(config).eval()
    classify = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer, device="cpu")
    expected = {}
    for template in TEMPLATES:
        found = classify(TEXTS, LABELS, hypothesis_template=template)
        scores = [dict(zip(one["labels"], one["scores"])) for one in found]
        expected[template] = [[one[label] for label in LABELS] for one in scores]
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        out.mkdir()
        for name in ["config.json", "model.safetensors"]:
            shutil.copy(Path(folder) / name, out)
    content = {
        "script": "tests/python/golden_zero_shot.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "texts": TEXTS, "labels": LABELS, "expected": expected,
    }
    (out / "expected.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
