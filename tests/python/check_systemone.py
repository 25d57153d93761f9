#!/usr/bin/env python3
"""Drives `/v1/systemone` and `/v1/models` of `bayes serve` with the clients of that protocol.

    python tests/python/check_systemone.py target/release/bayes checkpoints/reviews/model [--crate]

Exit 0: the answers are those of `/batch_predict`. Needs `typesafe-sdk[zstd]`; 0.7.5 was used. With `--crate`
cargo builds a client with the crate `typesafe-jev`, 0.2, and that is asked too.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving import TEXTS, paths, predictions, serve
from typesafe_sdk import Choice, Noul, Score, SystemOneResponse, TypeSafeClient
from typesafe_sdk._core.errors import TypeSafeUnprocessableEntityError


class Decision(SystemOneResponse):
    """What rides along."""

    decision: str | None
    prediction_set: dict[str, Any] | None
    ood: dict[str, Any] | None
    uncertainty: float


CRATE = """
use typesafe_jev::{Choice, Client, Config, Noul, Questions};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let config = Config { base_url: args[1].clone(), model: args[2].clone(), ..Config::default() };
    let client = Client::new("unused", config).unwrap();
    let labels = args[4..].iter().map(String::as_str);
    let questions = Questions::new()
        .with("which", Choice::labels("Which?", labels))
        .with("first", Noul::new("Is it the first?").yes(args[4].as_str()));
    let response = client.ask(&args[3], &questions).unwrap();
    println!("{}", serde_json::to_string(&response).unwrap());
}
"""


def with_sdk(address, expected):
    client = TypeSafeClient(api_key="unused", base_url=address, model=expected[0]["model"])
    (listed,) = client.models.list().models
    assert listed.name == expected[0]["model"], listed
    labels = list(expected[0]["probabilities"])
    for text, one in zip(TEXTS, expected):
        shares = one["probabilities"]
        some = dict.fromkeys(labels[:-1])
        questions = {
            "which": Choice(instructions="Which?", criteria=dict.fromkeys(reversed(labels))),
            "some": Choice(criteria=some),
        }
        if len(labels) == 2:
            questions["first"] = Noul(criteria={"true": labels[0]})
            questions["second"] = Noul(instructions=f"Is it {labels[1]}?", criteria={"true": labels[1]})
        for state in (text, {"text": text}, {"message": text}):
            answer = client.system_one(state, questions, response_model=Decision)
            which = answer.choices["which"]
            assert which.choice == one["label"]
            assert which.probabilities == shares
            equal = 1 / len(labels)
            peaked = (one["confidence"] - equal) / (1 - equal)
            assert abs(which.confidence - peaked) < 1e-9
            among = sum(shares[label] for label in some)
            for label, share in answer.choices["some"].probabilities.items():
                assert abs(share - shares[label] / among) < 1e-12
            if len(labels) == 2:
                assert answer.nouls["first"].noul == shares[labels[0]]
                assert answer.nouls["second"].noul == shares[labels[1]]
            assert answer.usage.input_tokens == one["num_tokens"]
            assert answer.decision == one["decision"]
            assert answer.prediction_set == one["prediction_set"]
            assert answer.uncertainty == one["uncertainty"]
    # Long bodies are packed by zstd where that is there.
    client.system_one("word " * 1000, {"which": Choice(criteria=dict.fromkeys(labels))})
    extra = {"coverage": 0.99, "abstain": {"min_confidence": 1.0}}
    strict = client.system_one(
        TEXTS[0], {"which": Choice(criteria=dict.fromkeys(labels))}, extra_body=extra,
        response_model=Decision,
    )
    assert strict.decision == "abstain" and strict.prediction_set["coverage"] == 0.99
    for wrong in (Choice(criteria={"no such label": None}), Score(criteria=["low", "high"])):
        try:
            client.system_one(TEXTS[0], {"q": wrong})
        except TypeSafeUnprocessableEntityError as error:
            told = str(error)
        else:
            raise AssertionError(f"{wrong} was answered")
        if isinstance(wrong, Choice):
            assert all(label in told for label in labels), told


def with_crate(address, expected):
    labels = list(expected[0]["probabilities"])
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["cargo", "init", "-q", "--name", "asks", folder], check=True)
        add = ["cargo", "add", "-q", "typesafe-jev@0.2", "serde_json"]
        subprocess.run(add, cwd=folder, check=True)
        Path(folder, "src/main.rs").write_text(CRATE)
        subprocess.run(["cargo", "build", "-q"], cwd=folder, check=True)
        for text, one in zip(TEXTS, expected):
            ask = [Path(folder, "target/debug/asks"), f"{address}/v1/systemone", one["model"], text]
            told = subprocess.run([*ask, *labels], capture_output=True, text=True, check=True)
            answers = json.loads(told.stdout)["answers"]
            assert answers["which"]["choice"] == one["label"]
            assert answers["which"]["probabilities"] == one["probabilities"]
            if len(labels) == 2:
                assert answers["first"]["noul"] == one["probabilities"][labels[0]]


def main():
    with serve(*paths()) as address:
        expected = predictions(address, TEXTS)
        with_sdk(address, expected)
        if "--crate" in sys.argv:
            with_crate(address, expected)
    print("typesafe-sdk" + (" and typesafe-jev" if "--crate" in sys.argv else "") + ": the same answers")


if __name__ == "__main__":
    main()
