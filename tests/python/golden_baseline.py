"""Expected values of `src/evaluate/baseline` from scikit-learn.

Run, from the root of the repository, with numpy and scikit-learn installed:

    python tests/python/golden_baseline.py > tests/fixtures/baseline.json

The committed file was made with the versions that it names. `texts` are invented; `words` and
`characters` hold the inner products of their TF-IDF rows, which do not depend on how features are
numbered. `buckets` are the hashes of a few n-grams, by the formula in `grams.rs`. The solutions are
those of LogisticRegression without an intercept on sparse rows that end in a constant; two classes
have one weight vector there and two here, hence twice the C. Seed: 20261128.
"""

import json

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

ROWS, WIDTH = 40, 11
TEXTS = [
    "The invoice is wrong, and the invoice is late",
    "the router restarts again and again and again",
    "Where is my parcel?",
    "where is my refund for order 4711",
    "I am a customer of 12 years",
    "Die GRÖSSE der Schuhe passt nicht",
    "die größe passt, danke",
    "我想退货",
    "我想换货,谢谢",
    "snake_case and  two\tspaces",
    "a",
]


def fold(text, start):
    hash = start
    for c in text:
        hash = ((hash ^ ord(c)) * 0x100000001B3) % 2**64
    return hash


def bucket(hash):
    return ((hash * 0x9E3779B97F4A7C15) % 2**64) >> (64 - 22)


def seed(block):
    return ((0xCBF29CE484222325 ^ block) * 0x100000001B3) % 2**64


def word(text, block):
    return bucket(fold(text, seed(block)))


def pair_of_words(first, second, block):
    hash = ((fold(second, seed(block)) ^ ord(" ")) * 0x100000001B3) % 2**64
    return bucket(((hash ^ fold(first, seed(block))) * 0x100000001B3) % 2**64)


def products(vectorizer):
    x = vectorizer.fit_transform(TEXTS)
    return (x @ x.T).toarray().ravel().tolist()


def solution(rng, classes, cost):
    x = rng.normal(size=(ROWS, WIDTH)) * (rng.uniform(size=(ROWS, WIDTH)) < 0.3)
    x = np.concatenate([np.round(x, 2), np.ones((ROWS, 1))], axis=1).astype(np.float32)
    logits = x @ rng.normal(size=(WIDTH + 1, classes)) + rng.gumbel(size=(ROWS, classes))
    labels = logits.argmax(axis=1)
    labels[:classes] = np.arange(classes)
    own = cost if classes > 2 else 2 * cost
    model = LogisticRegression(C=own, fit_intercept=False, tol=1e-12, max_iter=100_000)
    model.fit(x.astype(np.float64), labels)
    weight = model.coef_ if classes > 2 else np.concatenate([-model.coef_, model.coef_]) / 2
    return {
        "classes": classes,
        "cost": cost,
        "x": x.astype(np.float64).ravel().tolist(),
        "labels": labels.tolist(),
        "weight": weight.ravel().tolist(),
    }


def main():
    rng = np.random.default_rng(20261128)
    words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    print(json.dumps({
        "script": "tests/python/golden_baseline.py",
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "tolerance": 1e-4,
        "texts": TEXTS,
        "words": products(words),
        "characters": products(characters),
        "buckets": {
            "Ab cd": {
                "words": [word("ab", 0), word("cd", 0), pair_of_words("ab", "cd", 0)],
                "characters": [word(c, 1) for c in
                               [" a", "ab", "b ", " ab", "ab ", " ab ",
                                " c", "cd", "d ", " cd", "cd ", " cd "]],
            },
            "我想退": {
                "words": [word("我想退", 0)],
                "characters": [word(c, 1) for c in
                               [" 我", "我想", "想退", "退 ", " 我想", "我想退", "想退 ",
                                " 我想退", "我想退 ", " 我想退 "]],
            },
        },
        "width": WIDTH + 1,
        "solutions": [solution(rng, classes, cost)
                      for classes in (2, 3, 9) for cost in (0.3, 20.0)],
    }, ensure_ascii=False))


if __name__ == "__main__":
    main()
