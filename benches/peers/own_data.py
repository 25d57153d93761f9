"""What scikit-learn makes of the file that `bayes train` is given: the rows of the README's table.

    python own_data.py --train train.csv --test test.csv --encoder FOLDER [--threads 2] [--c 3 10 30 100]

Columns `text` and `label`. Two kinds of features: TF-IDF of words and characters, and the mean-pooled last
hidden state of a frozen encoder (PyTorch, f32). For the second each C is a row, on features as they are, of
length one, and standardised: `bayes` has to be compared with the best of them.
"""

import argparse
import csv
import json
import time

import numpy as np


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def ece(probability, labels, bins=15):
    confidence, right = probability.max(1), probability.argmax(1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (place == one).mean() * abs(right[place == one].mean() - confidence[place == one].mean())
        for one in range(bins)
        if (place == one).any()
    ]
    return float(sum(gaps))


def scores(model, features, labels):
    probability = model.predict_proba(features)
    own = probability[np.arange(len(labels)), labels]
    return {
        "accuracy": float((probability.argmax(1) == labels).mean()),
        "nll": float(-np.log(np.maximum(own, 1e-300)).mean()),
        "ece": ece(probability, labels),
    }


def encode(texts, folder, threads, length):
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).float().eval()
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found = [None] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            batch = tokenizer(
                [texts[row] for row in rows], padding=True, truncation=True, max_length=length, return_tensors="pt"
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            for row, mean in zip(rows, ((hidden * mask).sum(1) / mask.sum(1)).numpy()):
                found[row] = mean
    return np.stack(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--c", type=float, nargs="+", default=[1, 3, 10, 30, 100])
    args = parser.parse_args()

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion
    from sklearn.preprocessing import Normalizer, StandardScaler

    texts, names = read(args.train)
    test_texts, test_names = read(args.test)
    classes = sorted(set(names))
    place = {name: index for index, name in enumerate(classes)}
    labels = np.array([place[name] for name in names])
    test_labels = np.array([place[name] for name in test_names])

    def row(name, seconds, found):
        print(json.dumps({"row": name, "seconds": round(seconds, 1), **{k: round(v, 4) for k, v in found.items()}}))

    for c in args.c:
        began = time.time()
        union = FeatureUnion(
            [
                ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
                ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)),
            ]
        )
        features = union.fit_transform(texts)
        model = LogisticRegression(C=c, max_iter=1000).fit(features, labels)
        found = scores(model, union.transform(test_texts), test_labels)
        row(f"TF-IDF of words and characters, C = {c:g}", time.time() - began, found)

    began = time.time()
    train = encode(texts, args.encoder, args.threads, args.length)
    test = encode(test_texts, args.encoder, args.threads, args.length)
    encoding = time.time() - began
    for name, scaler in [("as it is", None), ("length one", Normalizer()), ("standardised", StandardScaler())]:
        a, b = (train, test) if scaler is None else (scaler.fit_transform(train), scaler.transform(test))
        for c in args.c:
            c = c if name != "standardised" else c / 1000
            began = time.time()
            model = LogisticRegression(C=c, max_iter=2000).fit(a, labels)
            found = scores(model, b, test_labels)
            row(f"frozen encoder, {name}, C = {c:g}", encoding + time.time() - began, found)


if __name__ == "__main__":
    main()
