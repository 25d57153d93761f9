#!/usr/bin/env python3
"""Drives `/invocations` and `/classify` of `bayes serve` as their clients do.

    python tests/python/check_invocations.py target/release/bayes checkpoints/reviews/model

Exit 0: `huggingface_hub`'s client and what vLLM's example sends get the answers of `/batch_predict`. Needs
`huggingface_hub` and `requests`; 2.4 and 2.34 were used.
"""

import requests
from huggingface_hub import InferenceClient
from serving import TEXTS, paths, predictions, serve


def with_hugging_face(address, expected):
    client = InferenceClient(f"{address}/invocations", token="unused")
    for text, one in zip(TEXTS, expected):
        scores = client.text_classification(text)
        assert scores[0].label == one["label"]
        assert {score.label: score.score for score in scores} == one["probabilities"]
        assert [score.score for score in scores] == sorted((s.score for s in scores), reverse=True)
        (top,) = client.text_classification(text, top_k=1)
        assert (top.label, top.score) == (one["label"], one["confidence"])


def as_sagemaker(address, expected):
    assert requests.get(f"{address}/ping").status_code == 200
    answer = requests.post(f"{address}/invocations", json={"inputs": TEXTS}).json()
    assert [row[0]["label"] for row in answer] == [one["label"] for one in expected]
    # A batch of Text Embeddings Inference.
    batch = {"inputs": [[text] for text in TEXTS], "truncate": True, "raw_scores": False}
    assert requests.post(f"{address}/invocations", json=batch).json() == answer


def as_vllm(address, expected):
    headers = {"accept": "application/json", "Content-Type": "application/json"}
    model = requests.get(f"{address}/v1/models", headers=headers).json()["data"][0]["id"]
    body = {"model": model, "input": TEXTS}
    answer = requests.post(f"{address}/classify", headers=headers, json=body).json()
    assert answer["model"] == model and answer["object"] == "list"
    for index, (item, one) in enumerate(zip(answer["data"], expected, strict=True)):
        assert (item["index"], item["label"]) == (index, one["label"])
        assert item["probs"] == list(one["probabilities"].values())
        assert item["num_classes"] == len(item["probs"])
        assert item["decision"] == one["decision"]
    refused = requests.post(f"{address}/classify", json={"model": model, "input": [1, 2, 3]})
    assert refused.status_code == 422


def main():
    with serve(*paths()) as address:
        expected = predictions(address, TEXTS)
        with_hugging_face(address, expected)
        as_sagemaker(address, expected)
        as_vllm(address, expected)
    print("huggingface_hub, SageMaker, TEI and vLLM: the same answers")


if __name__ == "__main__":
    main()
