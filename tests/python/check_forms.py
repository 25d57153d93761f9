#!/usr/bin/env python3
"""Classifiers of every architecture in every form of file, as transformers saves them. By hand; makes nothing in the
repository.

    python tests/python/check_forms.py [--bayes target/debug/bayes] [--only bert,roberta] [--forms bin,f16] [--no-serve]

For each architecture a tiny classifier is fine-tuned on generated texts, and written in each form. `bayes predict`,
`bayes eval` and `bayes serve` must give the probabilities of transformers within 1e-4, and so must what `bayes fit
--keep-head` writes, in transformers itself. A LoRA adapter must give those of PEFT. Then what must be refused is refused with a sentence. Exits 0 if all of
it holds.

A new architecture is a line of ARCHITECTURES, a new form a line of FORMS. Needs `peft` for the form `adapter`.
"""

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TOLERANCE = 1e-4
LABELS = ["bad", "fair", "good"]
WORDS = {"bad": ["dull", "poor", "boring"], "fair": ["okay", "plain", "average"], "good": ["great", "lovely", "fine"]}
TEXTS = ["a dull film", "Lovely, lovely!", "an average plot and okay songs", "fine", "naïve café film " * 8]


# --- texts and tokenizers -------------------------------------------------------------------------------------


def rows(count, seed):
    draw = random.Random(seed)
    for number in range(count):
        label = LABELS[number % 3]
        yield f"a {draw.choice(WORDS[label])} film number {number}, {draw.choice(WORDS[label])} plot", label


def write_data(folder):
    folder.mkdir()
    for name, count in (("train", 240), ("test", 60)):
        lines = [f'"{text}",{label}\n' for text, label in rows(count, name)]
        (folder / f"{name}.csv").write_text("text,label\n" + "".join(lines))


CORPUS = [text for text, _ in rows(400, "corpus")] + TEXTS


def word_pieces():
    """BERT's: `tokenizer.json`, and `vocab.txt` for those who have no other."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    own = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    own.normalizer = normalizers.BertNormalizer(lowercase=True)
    own.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    own.decoder = decoders.WordPiece()
    own.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    own.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", own.token_to_id("[CLS]")), ("[SEP]", own.token_to_id("[SEP]"))])
    vocabulary = sorted(own.get_vocab(), key=own.get_vocab().get)
    return own, {"vocab.txt": "".join(f"{token}\n" for token in vocabulary)}, dict(
        unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")


def byte_pairs():
    """RoBERTa's: `tokenizer.json`, and `vocab.json` with `merges.txt`."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    own = Tokenizer(models.BPE())
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    own.add_special_tokens(["<mask>"])
    own.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    file = json.loads(own.to_str())
    merges = [" ".join(one) if isinstance(one, list) else one for one in file["model"]["merges"]]
    vocabulary = file["model"]["vocab"] | {"<mask>": len(file["model"]["vocab"])}
    return own, {"vocab.json": json.dumps(vocabulary), "merges.txt": "#version: 0.2\n" + "".join(f"{one}\n" for one in merges)}, dict(
        unk_token="<unk>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", mask_token="<mask>", bos_token="<s>",
        eos_token="</s>")


def read_by(slow_class, files, special):
    """What transformers makes of files without `tokenizer.json`."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": slow_class}))
        return transformers.AutoTokenizer.from_pretrained(folder).backend_tokenizer, files, special


def word_pieces_of_mpnet():
    """MPNet's: word pieces with the special tokens of RoBERTa."""
    _, files, _ = word_pieces()
    ours = {"[CLS]": "<s>", "[PAD]": "<pad>", "[SEP]": "</s>", "[MASK]": "<mask>"}
    tokens = [ours.get(token, token) for token in files["vocab.txt"].splitlines()]
    named = ["<s>", "<pad>", "</s>"]
    tokens = named + [token for token in tokens if token not in named + ["<mask>"]] + ["<mask>"]
    files = {"vocab.txt": "".join(f"{token}\n" for token in tokens).encode()}
    return read_by("MPNetTokenizer", files, dict(
        unk_token="[UNK]", cls_token="<s>", sep_token="</s>", pad_token="<pad>", mask_token="<mask>"))


def sentence_pieces(slow_class, file, special, **options):
    """A SentencePiece model, Unigram."""
    import io

    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3), model_writer=written, vocab_size=220, model_type="unigram",
        character_coverage=1.0, hard_vocab_limit=False, num_threads=1, minloglevel=2, **options)
    return read_by(slow_class, {file: written.getvalue()}, special)


OF_BERT = dict(unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", mask_token="[MASK]")
OF_ROBERTA = dict(unk_token="<unk>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", mask_token="<mask>")


def pieces_of_xlm_roberta():
    return sentence_pieces("XLMRobertaTokenizer", "sentencepiece.bpe.model", OF_ROBERTA)


def pieces_of_camembert():
    return sentence_pieces("CamembertTokenizer", "sentencepiece.bpe.model", OF_ROBERTA)


def pieces_of_albert():
    return sentence_pieces(
        "AlbertTokenizer", "spiece.model", OF_BERT | {"unk_token": "<unk>", "pad_token": "<pad>"}, pad_id=0, unk_id=1,
        bos_id=2, eos_id=3, bos_piece="[CLS]", eos_piece="[SEP]", control_symbols=["[MASK]"])


def pieces_of_deberta():
    return sentence_pieces(
        "DebertaV2Tokenizer", "spm.model", OF_BERT, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]",
        bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")


# --- architectures --------------------------------------------------------------------------------------------


@dataclass
class Architecture:
    """Beginning of its classes, settings of its config, and its tokenizer: how to make it and the class that reads
    the files without `tokenizer.json`."""

    stem: str
    settings: dict
    tokenizer: object
    slow_class: str


SIZES = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=66)
ARCHITECTURES = {
    "bert": Architecture("Bert", SIZES, word_pieces, "BertTokenizer"),
    "roberta": Architecture("Roberta", SIZES | {"pad_token_id": 1}, byte_pairs, "RobertaTokenizer"),
    "distilbert": Architecture(
        "DistilBert", dict(dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=66), word_pieces,
        "DistilBertTokenizer"),
    "xlm-roberta": Architecture("XLMRoberta", SIZES | {"pad_token_id": 1}, pieces_of_xlm_roberta, "XLMRobertaTokenizer"),
    "camembert": Architecture("Camembert", SIZES | {"pad_token_id": 1}, pieces_of_camembert, "CamembertTokenizer"),
    "electra": Architecture("Electra", SIZES | {"embedding_size": 16}, word_pieces, "ElectraTokenizer"),
    "albert": Architecture("Albert", SIZES | {"embedding_size": 16}, pieces_of_albert, "AlbertTokenizer"),
    "mpnet": Architecture("MPNet", SIZES | {"pad_token_id": 1}, word_pieces_of_mpnet, "MPNetTokenizer"),
    "deberta-v2": Architecture(
        "DebertaV2",
        SIZES | dict(relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True,
                     pos_att_type="p2c|c2p", position_biased_input=False, type_vocab_size=0),
        pieces_of_deberta, "DebertaV2Tokenizer"),
    # It is published with `tokenizer.json` alone.
    "modernbert": Architecture(
        "ModernBert",
        dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48, local_attention=8,
             max_position_embeddings=66, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3),
        word_pieces, None),
}


def fine_tuned(architecture):
    """A classifier that has learned something, its tokenizer, and the files of a tokenizer without `tokenizer.json`."""
    torch.manual_seed(0)
    own, files, special = architecture.tokenizer()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=own, model_max_length=64, **special)
    config = getattr(transformers, f"{architecture.stem}Config")(
        **architecture.settings, vocab_size=len(tokenizer), id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)})
    model = getattr(transformers, f"{architecture.stem}ForSequenceClassification")(config)
    # Larger than usual: small weights leave many a mistake without a trace.
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    data = list(rows(240, "train"))
    for step in range(200):
        part = [data[(24 * step + place) % len(data)] for place in range(24)]
        batch = tokenizer([text for text, _ in part], padding=True, return_tensors="pt", return_token_type_ids=False)
        loss = model(**batch, labels=torch.tensor([LABELS.index(label) for _, label in part])).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.1:
            break
    else:
        raise AssertionError(f"{architecture.stem} has learned nothing: loss {loss.item():.2f}")
    model.config.architectures = [type(model).__name__]
    return model.eval(), tokenizer, files


def logits(model, tokenizer, texts):
    with torch.no_grad():
        one = lambda text: tokenizer(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
        return torch.cat([model(**one(text)).logits.double() for text in texts])


def probabilities(model, tokenizer, texts):
    return logits(model, tokenizer, texts).softmax(-1)


# --- forms ----------------------------------------------------------------------------------------------------


def write_shards(state, folder, end, save):
    names = list(state)
    files = [f"{'model' if end == 'safetensors' else 'pytorch_model'}-0000{part}-of-00003.{end}" for part in (1, 2, 3)]
    where = {name: files[3 * place // len(names)] for place, name in enumerate(names)}
    for file in files:
        save({name: x.clone() for name, x in state.items() if where[name] == file}, folder / file)
    size = sum(x.numel() * x.element_size() for x in state.values())
    index = "model.safetensors.index.json" if end == "safetensors" else "pytorch_model.bin.index.json"
    (folder / index).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}))


def save_tensors(state, path):
    save_file({name: x.contiguous() for name, x in state.items()}, path, {"format": "pt"})


def as_type(*types):
    return lambda state: {name: x.to(types[place % len(types)]) for place, (name, x) in enumerate(state.items())}


def old_names(state):
    last = lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    return {last(name): x for name, x in state.items()}


same = lambda state: state
one_file = lambda state, folder: save_tensors(state, folder / "model.safetensors")
zip_file = lambda state, folder: torch.save(state, folder / "pytorch_model.bin")

# What becomes of the tensors, and how they are written.
FORMS = {
    "safetensors": (same, one_file),
    "sharded": (same, lambda state, folder: write_shards(state, folder, "safetensors", save_tensors)),
    "bin": (same, zip_file),
    "bin-legacy": (same, lambda state, folder: torch.save(
        state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)),
    "bin-sharded": (same, lambda state, folder: write_shards(state, folder, "bin", torch.save)),
    "old-names": (old_names, zip_file),
    "f16": (as_type(torch.float16), one_file),
    "bf16": (as_type(torch.bfloat16), one_file),
    "f64": (as_type(torch.float64), one_file),
    "mixed": (as_type(torch.float64, torch.float32, torch.float16, torch.bfloat16), one_file),
    "bin-mixed": (as_type(torch.float64, torch.float32, torch.float16, torch.bfloat16), zip_file),
    # `tokenizer.json` is left out.
    "slow-tokenizer": (same, one_file),
}


def write(form, architecture, model, tokenizer, files, folder):
    """The folder; returns the model that is in it, in f32."""
    change, save = FORMS[form]
    folder.mkdir()
    model.config.save_pretrained(folder)
    state = change({name: x.detach().clone() for name, x in model.state_dict().items()})
    save(state, folder)
    if form == "slow-tokenizer":
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        settings = {"tokenizer_class": architecture.slow_class, "model_max_length": 64}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    else:
        tokenizer.save_pretrained(folder)
    rounded = type(model)(model.config).eval()
    values = dict(zip(model.state_dict(), state.values()))
    rounded.load_state_dict({name: x.float() if x.is_floating_point() else x for name, x in values.items()})
    return rounded


# --- bayes ----------------------------------------------------------------------------------------------------


class Bayes:
    def __init__(self, binary, home):
        self.binary, self.home = binary, home

    def run(self, *arguments):
        return subprocess.run([self.binary, *map(str, arguments)], capture_output=True, text=True, cwd=self.home)

    def done(self, *arguments):
        result = self.run(*arguments)
        if result.returncode:
            raise AssertionError(f"{' '.join(map(str, arguments[:3]))}: {result.stderr.strip()}")
        return result.stdout, result.stderr

    def predict(self, folder):
        """Probabilities, logits, and what was said."""
        out, told = self.done("predict", "--model", folder, "--json", *TEXTS)
        lines = [json.loads(line) for line in out.splitlines()]
        found = [list(line["probabilities"].values()) for line in lines], [line["logits"] for line in lines]
        return *(torch.tensor(one, dtype=torch.float64) for one in found), told

    def serve(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = subprocess.Popen([self.binary, "serve", "--model", folder, "--host", "127.0.0.1", "--port", str(port)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.home)
        try:
            for _ in range(200):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").read()
                    break
                except OSError:
                    time.sleep(0.1)
            request = urllib.request.Request(f"http://127.0.0.1:{port}/batch_predict",
                                             json.dumps({"texts": TEXTS}).encode(), {"Content-Type": "application/json"})
            answer = json.loads(urllib.request.urlopen(request).read())
            found = answer["predictions"]
            return torch.tensor([[one["probabilities"][label] for label in LABELS] for one in found], dtype=torch.float64)
        finally:
            server.terminate()
            server.wait()


def worst(found, expected):
    return (found - expected).abs().max().item()


def check(bayes, architecture, form, made, work, data, serves):
    """The worst differences of one folder; raises where a command fails."""
    model, tokenizer, files = made
    folder, fitted, predictions = work / "m", work / "fitted", work / "predictions.jsonl"
    for old in (folder, fitted):
        shutil.rmtree(old, ignore_errors=True)
    rounded = write(form, architecture, model, tokenizer, files, folder)
    expected = probabilities(rounded, tokenizer, TEXTS)
    found, found_logits, told = bayes.predict(folder)
    differences = {"predict": worst(found, expected), "logits": worst(found_logits, logits(rounded, tokenizer, TEXTS))}
    assert ("pickle" in told) == (form in ("bin", "bin-legacy", "bin-sharded", "old-names", "bin-mixed")), told
    texts, labels = zip(*rows(60, "test"))
    expected_test = probabilities(rounded, tokenizer, texts)
    out, _ = bayes.done("eval", "--model", folder, "--dataset", data, "--predictions", predictions, "--no-baseline",
                        "--quiet", "--json")
    lines = [json.loads(line) for line in predictions.read_text().splitlines()]
    found = torch.tensor([[line[f"p.{label}"] for label in LABELS] for line in lines], dtype=torch.float64)
    differences["eval"] = worst(found, expected_test)
    right = sum(LABELS[row.argmax()] == label for row, label in zip(expected_test, labels)) / len(labels)
    assert abs(json.loads(out)["accuracy"]["value"] - right) < 1e-9, out[:500]
    bayes.done("fit", "--model", folder, "--dataset", data, "--keep-head", "--quiet", "--output", fitted)
    assert (fitted / "model.safetensors").is_file() and not list(fitted.glob("*.bin"))
    manifest = json.loads((fitted / "bayes/manifest.json").read_text())
    assert ("pickle" in manifest.get("weights", "")) == ("pickle" in told), manifest.get("weights")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(fitted, dtype=torch.float32).eval()
    differences["fit"] = worst(probabilities(again, tokenizer, TEXTS), expected)
    reread = transformers.AutoTokenizer.from_pretrained(fitted)
    assert [reread(text)["input_ids"] for text in TEXTS] == [tokenizer(text)["input_ids"] for text in TEXTS]
    if serves:
        differences["serve"] = worst(bayes.serve(folder), expected)
    return differences


def adapted(bayes, architecture, made, work, data):
    """LoRA on every linear layer of the encoder, in a folder of its own, against PEFT."""
    import peft

    model, tokenizer, files = made
    base, folder, fitted = work / "base", work / "adapter", work / "fitted"
    for old in (base, folder, fitted):
        shutil.rmtree(old, ignore_errors=True)
    write("safetensors", architecture, model, tokenizer, files, base)
    read = lambda: transformers.AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32)
    linear = [name for name, module in model.named_modules()
              if isinstance(module, torch.nn.Linear) and "classifier" not in name]
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=3, lora_alpha=7, target_modules=linear)
    lora = peft.get_peft_model(read(), settings)
    for name, parameter in lora.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    lora.save_pretrained(folder)
    merged = peft.PeftModel.from_pretrained(read(), folder).merge_and_unload().eval()
    expected = probabilities(merged, tokenizer, TEXTS)
    found, found_logits, _ = bayes.predict(folder)
    differences = {"predict": worst(found, expected), "logits": worst(found_logits, logits(merged, tokenizer, TEXTS))}
    bayes.done("fit", "--model", folder, "--dataset", data, "--keep-head", "--quiet", "--output", fitted)
    again = transformers.AutoModelForSequenceClassification.from_pretrained(fitted, dtype=torch.float32).eval()
    differences["fit"] = worst(probabilities(again, tokenizer, TEXTS), expected)
    return differences


# --- refusals -------------------------------------------------------------------------------------------------


def refusals(bayes, made, work):
    """What must not be answered: changes of a config, and words of the sentence."""
    model, tokenizer, files = made
    folder = work / "refused"
    two = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}}
    one = {"id2label": {"0": "score"}, "label2id": {"score": 0}}
    configs = {
        "multi-label": ({"problem_type": "multi_label_classification"}, ["multi_label_classification"]),
        "regression": ({"problem_type": "regression"}, ["regression"]),
        "one output": (one, ["regression"]),
        "an unknown problem": ({"problem_type": "ranking"}, ["`ranking`"]),
        "another size": (two, ["3 outputs", "2 labels"]),
        "decoder": ({"is_decoder": True}, ["is_decoder"]),
        "encoder-decoder": ({"is_encoder_decoder": True}, ["decoder"]),
        "gpt2": ({"model_type": "gpt2"}, ["`gpt2`", "decoder", "--init"]),
        "t5": ({"model_type": "t5"}, ["`t5`", "decoder", "--init"]),
        "a new decoder": ({"model_type": "new", "architectures": ["NewForCausalLM"]}, ["decoder"]),
        "own code": ({"model_type": "own", "auto_map": {"AutoModel": "modeling.Own"}}, ["`modeling.Own`", "does not run"]),
        "GPTQ": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, ["`gptq`", "dequantize"]),
        "AWQ": ({"quantization_config": {"quant_method": "awq"}}, ["`awq`"]),
        "bitsandbytes": ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, ["bitsandbytes"]),
        "tokens": ({"architectures": ["BertForTokenClassification"]}, ["BertForTokenClassification", "not a text classifier"]),
        "questions": ({"architectures": ["BertForQuestionAnswering"]}, ["BertForQuestionAnswering"]),
        "words": ({"architectures": ["BertForMaskedLM"]}, ["BertForMaskedLM"]),
        "pruned": ({"pruned_heads": {"0": [1]}}, ["pruned_heads"]),
    }
    tensors = {
        "GPTQ's tensors": (lambda state: {name.replace("query.weight", "query.qweight"): x for name, x in state.items()},
                           ["quantised", "qweight"]),
        "integers": (lambda state: {name: x.to(torch.int8) if name.endswith("query.weight") else x for name, x in state.items()},
                     ["I8"]),
        "factors": (lambda state: state | {"bert.encoder.layer.0.attention.self.query.lora_A": torch.zeros(2, 32)},
                    ["LoRA", "merge"]),
        "no head": (lambda state: {name: x for name, x in state.items() if "classifier" not in name}, ["without a classification head"]),
    }
    failed = []
    for name, (change, words) in (configs | tensors).items():
        shutil.rmtree(folder, ignore_errors=True)
        write("safetensors", ARCHITECTURES["bert"], model, tokenizer, files, folder)
        if isinstance(change, dict):
            config = json.loads((folder / "config.json").read_text())
            (folder / "config.json").write_text(json.dumps(config | change))
        else:
            save_tensors(change(dict(model.state_dict())), folder / "model.safetensors")
        for command in (["predict", "--model", folder, "a film"],
                        ["fit", "--model", folder, "--dataset", work.parent / "data", "--output", work / "never"]):
            result = bayes.run(*command)
            if result.returncode != 2 or not all(word in result.stderr for word in words):
                failed.append(f"{name}, {command[0]}: exit {result.returncode}: {result.stderr.strip()}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bayes", default="target/debug/bayes")
    parser.add_argument("--only", default=",".join(ARCHITECTURES))
    parser.add_argument("--forms", default=",".join([*FORMS, "adapter"]))
    parser.add_argument("--no-serve", action="store_true")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = []
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        bayes = Bayes(str(Path(options.bayes).resolve()), home)
        write_data(home / "data")
        for name in options.only.split(","):
            made = fine_tuned(ARCHITECTURES[name])
            (home / name).mkdir()
            for form in options.forms.split(","):
                if form == "slow-tokenizer" and not ARCHITECTURES[name].slow_class:
                    continue
                try:
                    places = made, home / name, home / "data"
                    found = (adapted(bayes, ARCHITECTURES[name], *places) if form == "adapter" else
                             check(bayes, ARCHITECTURES[name], form, *places, not options.no_serve))
                    right = max(found.values()) <= TOLERANCE
                    shown = ", ".join(f"{what} {value:.1e}" for what, value in found.items())
                except AssertionError as error:
                    right, shown = False, str(error)
                print(f"{'ok  ' if right else 'FAIL'} {name} {form}: {shown}", flush=True)
                failed += [] if right else [f"{name} {form}"]
            if name == "bert":
                refused = refusals(bayes, made, home / name)
                print("\n".join(f"FAIL {one}" for one in refused) or "ok   refusals", flush=True)
                failed += refused
    sys.exit(f"failed: {len(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
