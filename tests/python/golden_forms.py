"""Makes tests/fixtures/forms/: one tiny BERT classifier in every form that weights come in, and LoRA adapters of it.

    python tests/python/golden_forms.py [OUTPUT_FOLDER]

`config.json` belongs to all of them, `expected.json` has token ids and the logits of transformers (of PEFT's
`merge_and_unload` for the adapters), in f32, one sequence at a time. The folders:

    plain        model.safetensors
    sharded      model.safetensors.index.json and its files
    zip          pytorch_model.bin as torch has written it since 1.6
    legacy       the same as torch wrote it before, with the old names of layer norms (gamma, beta)
    mixed        a zip of f64, f32, f16 and bf16 tensors and parameters, with a tied tensor, a transposed one and one
                 that is a part of a larger one; its own logits, since it is rounded
    sharded_bin  pytorch_model.bin.index.json and its files
    adapter      LoRA on query and value, with a classifier of its own
    adapter_bin  the same in adapter_model.bin
    adapter_rs   ranks and alphas by pattern, scaled by the root of the rank, on every linear layer, with a pooler

Adapters are of `plain`: a test writes where that is into `base_model_name_or_path`.
"""

import json
import shutil
import sys
from pathlib import Path

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

CONFIG = dict(
    vocab_size=99, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=40, id2label={0: "negative", 1: "neutral", 2: "positive"},
)
ADAPTERS = {
    "adapter": dict(r=4, lora_alpha=8, target_modules=["query", "value"]),
    "adapter_rs": dict(
        r=2, lora_alpha=6, use_rslora=True, target_modules=["query", "key", "value", "dense"],
        modules_to_save=["classifier", "pooler"], rank_pattern={"layer.0.attention.self.query": 3},
        alpha_pattern={"layer.0.attention.self.query": 5, "intermediate.dense": 9},
    ),
}


def randomize(parameters, deviation):
    for _, parameter in parameters:
        torch.nn.init.normal_(parameter, std=deviation)


def logits(model, ids):
    with torch.no_grad():
        return [[float(f"{x:.9g}") for x in model(torch.tensor([one])).logits[0]] for one in ids]


def read(folder):
    return BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def shards(state, folder):
    """Two files and their index, as transformers 4 wrote them."""
    names, files = list(state), ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    half = len(names) // 2
    for file, own in zip(files, (names[:half], names[half:])):
        torch.save({name: state[name].clone() for name in own}, folder / file)
    index = {
        "metadata": {"total_size": sum(x.numel() * x.element_size() for x in state.values())},
        "weight_map": {name: files[place >= half] for place, name in enumerate(names)},
    }
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def mixed(state, folder):
    types = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
    own = {}
    for place, (name, x) in enumerate(state.items()):
        x = x.to(types[place % 4])
        own[name] = torch.nn.Parameter(x) if place % 3 else x
    word = "bert.embeddings.word_embeddings.weight"
    own["cls.predictions.decoder.weight"] = own[word]
    # Seen by rows it is stored by columns.
    query = "bert.encoder.layer.0.attention.self.query.weight"
    own[query] = own[query].detach().t().contiguous().t()
    both = torch.cat([own["bert.encoder.layer.0.attention.self.key.weight"].detach().float()] * 2)
    own["bert.encoder.layer.0.attention.self.key.weight"] = both[8:]
    own["bert.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(own, folder / "pytorch_model.bin")
    return {name: x.detach().float() for name, x in own.items() if name in state}


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/forms")
    if out.exists():
        shutil.rmtree(out)
    torch.manual_seed(7)
    model = BertForSequenceClassification(BertConfig(**CONFIG)).eval()
    randomize(model.named_parameters(), 0.4)
    ids = [[2, 5, 3], [2] + torch.randint(5, 99, (17,)).tolist() + [3]]
    model.save_pretrained(out / "plain")
    model.save_pretrained(out / "sharded", max_shard_size="5KB")
    state = read(out / "plain").state_dict()
    for form in ("zip", "legacy", "mixed", "sharded_bin"):
        (out / form).mkdir()
    torch.save(state, out / "zip/pytorch_model.bin")
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x
           for name, x in state.items()}
    torch.save(old, out / "legacy/pytorch_model.bin", _use_new_zipfile_serialization=False)
    shards(state, out / "sharded_bin")
    expected = {"plain": logits(read(out / "plain"), ids)}
    rounded = read(out / "plain")
    rounded.load_state_dict(mixed(state, out / "mixed"))
    expected["mixed"] = logits(rounded, ids)
    for name, settings in ADAPTERS.items():
        adapted = get_peft_model(read(out / "plain"), LoraConfig(task_type="SEQ_CLS", **settings))
        randomize([one for one in adapted.named_parameters() if "lora_" in one[0] or "modules_to_save" in one[0]], 0.5)
        adapted.peft_config["default"].base_model_name_or_path = "owner/base"
        adapted.save_pretrained(out / name)
        merged = PeftModel.from_pretrained(read(out / "plain"), out / name).merge_and_unload().eval()
        expected[name] = logits(merged, ids)
    (out / "adapter_bin").mkdir()
    torch.save(load_file(out / "adapter/adapter_model.safetensors"), out / "adapter_bin/adapter_model.bin")
    shutil.copy(out / "adapter/adapter_config.json", out / "adapter_bin")
    expected["adapter_bin"] = expected["adapter"]
    shutil.move(out / "plain/config.json", out / "config.json")
    for path in out.rglob("*"):
        if path.is_file():
            path.chmod(0o644)
        if path.name in ("config.json", "README.md", "generation_config.json") and path.parent != out:
            path.unlink()
    versions = {one.__name__: one.__version__ for one in (torch, transformers, peft)}
    content = {"made_by": "tests/python/golden_forms.py", "versions": versions, "input_ids": ids, "logits": expected}
    (out / "expected.json").write_text(json.dumps(content) + "\n")
    moved = {name: max(abs(a - b) for one, two in zip(expected[name], expected["plain"]) for a, b in zip(one, two))
             for name in expected}
    print(moved)


if __name__ == "__main__":
    main()
