#!/usr/bin/env python3
"""Drives the Open Inference Protocol of `bayes serve` with the clients of Triton and KServe.

    python tests/python/check_open_inference.py target/release/bayes checkpoints/reviews/model

Exit 0: both get the answers of `/batch_predict`. Needs `tritonclient[http]` and `kserve`; 2.73 and 0.21 were used.
"""

import asyncio

import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from serving import TEXTS, paths, predictions, serve
from tritonclient.utils import InferenceServerException


def with_triton(address, expected):
    client = triton.InferenceServerClient(address.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready()
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    name = expected[0]["model"]
    assert client.is_model_ready(name) and not client.is_model_ready("other")
    metadata = client.get_model_metadata(name)
    labels, version = metadata["parameters"]["labels"], metadata["versions"][0]
    assert client.is_model_ready(name, version)
    assert client.get_model_metadata(name, version) == metadata

    for shape in ([len(TEXTS)], [len(TEXTS), 1]):
        for binary in (True, False):
            text = triton.InferInput("text", shape, "BYTES")
            array = np.array([one.encode() for one in TEXTS], dtype=np.object_).reshape(shape)
            text.set_data_from_numpy(array, binary_data=binary)
            for packing in (None, "gzip", "deflate"):
                result = client.infer(
                    name, [text], request_id="42", parameters={"seed": 3, "coverage": 0.9},
                    request_compression_algorithm=packing, response_compression_algorithm=packing,
                )
                assert result.get_response()["id"] == "42"
                assert result.get_response()["model_version"] == version
                compare(result.as_numpy, labels, expected)
            chosen = [triton.InferRequestedOutput(output) for output in ("label", "confidence")]
            result = client.infer(name, [text], version, outputs=chosen)
            assert result.as_numpy("probabilities") is None
            compare_labels(result.as_numpy("label"), expected)
            waiting = [client.async_infer(name, [text]) for _ in range(4)]
            for answer in waiting:
                compare(answer.get_result().as_numpy, labels, expected)

    for wrong in (["other", "text"], [name, "input_ids"]):
        text = triton.InferInput(wrong[1], [1], "BYTES")
        text.set_data_from_numpy(np.array([b"a"], dtype=np.object_))
        try:
            client.infer(wrong[0], [text])
        except InferenceServerException as error:
            assert error.status() in ("400", "404"), error
        else:
            raise AssertionError(f"{wrong} was answered")


async def with_kserve(address, expected):
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        name = expected[0]["model"]
        assert await client.is_server_ready(address)
        assert await client.is_server_live(address)
        assert await client.is_model_ready(address, name)
        for binary in (True, False):
            text = InferInput("text", [len(TEXTS)], "BYTES")
            text.set_data_from_numpy(np.array(TEXTS, dtype=np.object_), binary_data=binary)
            request = InferRequest(name, [text], parameters={"seed": 3})
            answer = await client.infer(address, request, model_name=name)
            assert answer.model_name == name
            outputs = {output.name: output.as_numpy() for output in answer.outputs}
            compare_labels(outputs["label"], expected)
            found = outputs["probabilities"]
            assert found.shape == (len(TEXTS), len(expected[0]["probabilities"]))
            close(found, [list(one["probabilities"].values()) for one in expected])


def compare(tensor, labels, expected):
    compare_labels(tensor("label"), expected)
    probabilities = [[one["probabilities"][label] for label in labels] for one in expected]
    close(tensor("probabilities"), probabilities)
    close(tensor("confidence"), [one["confidence"] for one in expected])
    close(tensor("uncertainty"), [one["uncertainty"] for one in expected])
    details = [one["uncertainty_details"] for one in expected]
    for name in ("epistemic", "aleatoric"):
        known = details[0][name] is not None
        assert (tensor(name) is not None) == known
        if known:
            close(tensor(name), [one[name] for one in details])
    if expected[0]["prediction_set"]:
        held = [[label in one["prediction_set"]["labels"] for label in labels] for one in expected]
        assert (tensor("prediction_set") == np.array(held)).all()
    if expected[0]["decision"]:
        decided = [one.decode() if isinstance(one, bytes) else one for one in tensor("decision")]
        assert decided == [one["decision"] for one in expected]


def compare_labels(found, expected):
    found = [one.decode() if isinstance(one, bytes) else one for one in found.reshape(-1)]
    assert found == [one["label"] for one in expected], found


def close(found, expected):
    assert found.dtype == np.float32
    assert np.abs(found - np.array(expected)).max() < 1e-6


def main():
    with serve(*paths()) as address:
        expected = predictions(address, TEXTS, seed=3)
        with_triton(address, expected)
        asyncio.run(with_kserve(address, expected))
    print("tritonclient and kserve: the same answers")


if __name__ == "__main__":
    main()
