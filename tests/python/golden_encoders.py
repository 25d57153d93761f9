"""Makes tests/fixtures/encoders/: tiny random checkpoints, and what transformers makes of them.

    python tests/python/golden_encoders.py [OUTPUT_FOLDER [CASE ...]]

Each case is a model folder as transformers writes it, with an `expected.json` beside the weights.
The expected values come from the folder as it was read back, in f32 on the CPU with the plain
("eager") attention, one sequence at a time without padding; that a padded batch gives the same
within 2e-5 is asserted here. All lists in `expected.json` are per sequence, in the order of
`input_ids`:

    logits        before any temperature; null where the checkpoint has no head
    pooled        what enters the last linear layer; without a head, the output of the pooler;
                  null where there is none
    first_hidden  last hidden state of the first token
    mean_hidden   last hidden state, averaged over all tokens of the sequence
    input_ids     of the cases in `PADS` with the padding id inside a text, as someone may write it
    texts         (case `bert`) texts and pairs with the ids that the tokenizer gives without
                  truncation and padding, and their logits

Cases in `DETAILS` have besides, in f32 computed in f64:

    states.safetensors     state.I.0, what enters the first layer of sequence I, then what leaves
                           each layer, the last one behind the norm that follows all layers
    gradients.safetensors  by parameter, of the mean over the sequences I of the cross-entropy of
                           class I modulo the number of classes; without dropout

Every parameter is random, biases and layer norms too: their usual 0 and 1 would hide an error.
Tensors are drawn in the order of the state dict from one seed, so cases with the same architecture
and sizes have the same encoder: `bert`, `bert_plain`, `bert_no_pooler` and `bert_position_ids`
agree in `first_hidden`. Where a setting is easily misread, the script asserts that misreading it
moves the result by more than five times the tolerance (`MUST_MATTER`).
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
import safetensors
import tokenizers
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AlbertModel,
    BertTokenizer,
    CamembertConfig,
    CamembertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertModel,
    ElectraConfig,
    ElectraForSequenceClassification,
    ElectraModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertModel,
    MPNetConfig,
    MPNetForSequenceClassification,
    MPNetModel,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
    RobertaPreLayerNormConfig,
    RobertaPreLayerNormForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

SEED = 20
TOLERANCE = 1e-4
PACKAGES = (torch, transformers, tokenizers, safetensors, numpy)
LENGTHS = [1, 3, 7, 20, 37]
SMALL = dict(
    vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64
)
SMALLER = dict(
    vocab_size=99, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
)
LABELS = ["negative", "neutral", "positive"]
# Word pieces, accents, capitals, an unknown sign, an empty text, pairs; most are longer than the
# truncation that is built into the tokenizer file, or shorter than its padding.
TEXTS = [
    ("The soup was good, but the boat was late.", None),
    ("Café LIGHT!", None),
    ("we walked very slowly in the cold garden and it rained again", None),
    ("tea for 2", None),
    ("", None),
    ("This film is not bad.", "They never walk in the rain?"),
    ("Old music", "warm, slow train-ing"),
]
# Case -> settings that a reader of the checkpoint could get wrong.
MUST_MATTER = {
    "bert": {"hidden_act": "gelu_new"},
    "bert_gelu_new": {"hidden_act": "gelu"},
    "bert_relu": {"hidden_act": "gelu"},
    "roberta": {"layer_norm_eps": 1e-12},
    "roberta_plain": {"layer_norm_eps": 1e-12},
    "distilbert": {"activation": "relu"},
    "albert": {"hidden_act": "relu"},
    "deberta": {"max_relative_positions": 64, "pos_att_type": "c2p"},
    "deberta_xlarge": {"conv_act": "relu", "pooler_hidden_act": "relu"},
    "modernbert": {"local_attention": 10, "norm_eps": 1e-2, "hidden_activation": "gelu_new"},
    "modernbert_mean": {
        "local_attention": 10,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": theta}
            for kind, theta in (("full_attention", 50.0), ("sliding_attention", 500.0))
        },
        "hidden_activation": "gelu",
    },
}
# The padding id in the places 2, 3 and 5 of every sequence that has them.
PADS = ("roberta_pads", "mpnet")
# With states and gradients.
DETAILS = ("modernbert", "modernbert_mean", "roberta_prelayernorm")
# Of the last sequence, where distances matter: MPNet's last bucket begins at 91.
# DeBERTa's buckets begin at 5, 9, 19 and 40, and the first and the last row are also those of what is further.
LONGER = {"mpnet": 110, "deberta": 60, "deberta_c2p": 60}


def bert_config(sizes=SMALL, activation="gelu", labels=LABELS):
    names = {}
    if labels:
        names["id2label"] = dict(enumerate(labels))
        names["label2id"] = {name: index for index, name in enumerate(labels)}
    return BertConfig(
        **sizes,
        **names,
        max_position_embeddings=40,
        type_vocab_size=2,
        hidden_act=activation,
        pad_token_id=0,
    )


def distilbert_config(labels=LABELS):
    return DistilBertConfig(
        vocab_size=99,
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=40,
        num_labels=len(labels),
    )


def roberta_config(kind=RobertaConfig, sizes=SMALL):
    return kind(
        **sizes,
        num_labels=2,
        max_position_embeddings=42,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )


def electra_config(embedding, **changes):
    return ElectraConfig(
        **SMALLER, embedding_size=embedding, max_position_embeddings=40, num_labels=3, **changes
    )


def albert_config(**changes):
    return AlbertConfig(
        **(SMALLER | changes), embedding_size=12, max_position_embeddings=40, num_labels=3
    )


def modernbert_config(**changes):
    return ModernBertConfig(
        **(SMALLER | dict(num_hidden_layers=3)),
        **changes,
        max_position_embeddings=64,
        num_labels=3,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )


def mpnet_config():
    return MPNetConfig(
        **SMALLER, max_position_embeddings=114, num_labels=3, layer_norm_eps=1e-5
    )


def deberta_config(**changes):
    settings = dict(
        max_position_embeddings=64,
        num_labels=3,
        relative_attention=True,
        position_buckets=8,
        max_relative_positions=40,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        pos_att_type="p2c|c2p",
        position_biased_input=False,
    )
    return DebertaV2Config(**(SMALLER | settings | changes))


def deberta_xlarge_config():
    return deberta_config(
        share_att_key=False,
        pos_att_type=["c2p", "p2c"],
        norm_rel_ebd="none",
        position_buckets=-1,
        max_relative_positions=12,
        position_biased_input=True,
        type_vocab_size=2,
        embedding_size=10,
        conv_kernel_size=3,
        conv_groups=2,
        conv_act="gelu",
        pooler_hidden_act="tanh",
    )


def randomise(model, embedding_scale=1.0):
    """Draws every parameter anew.

    RoBERTa's embeddings are made small, or the `eps` of the first layer norm would not show; the
    feed-forward and last layers are made large, or the difference between the exact GELU and its
    approximation would not.
    """
    torch.manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draw = 0.2 * torch.randn(parameter.shape)
            if name.endswith(("LayerNorm.weight", "norm.weight")):
                draw += 1.0
            elif name.endswith("relative_attention_bias.weight"):
                draw *= 5.0
            elif name.endswith("rel_embeddings.weight"):
                draw *= 5.0
            elif name.endswith("_embeddings.weight"):
                draw *= embedding_scale
            elif name.endswith(("intermediate.dense.weight", "ffn.lin1.weight", ".ffn.weight")):
                draw *= 3.0
            elif name.endswith((".Wqkv.weight", ".Wi.weight")):
                draw *= 3.0
            elif name in ("classifier.weight", "classifier.out_proj.weight"):
                draw *= 10.0
            parameter.copy_(draw)
    return model.eval()


def ragged_batch(config, case):
    """Ids from 5 up between two special tokens: RoBERTa skips positions at a padding id."""
    generator = torch.Generator().manual_seed(SEED + 1)
    first, last = (
        (config.bos_token_id, config.eos_token_id)
        if config.model_type
        in ("roberta", "roberta-prelayernorm", "xlm-roberta", "camembert", "mpnet")
        else (2, 3)
    )
    ids, types = [], []
    for length in [*LENGTHS[:-1], LONGER.get(case, LENGTHS[-1])]:
        middle = torch.randint(
            5, config.vocab_size, (max(length - 2, 0),), generator=generator
        ).tolist()
        row = ([first] + middle + [last])[:length]
        for place in (2, 3, 5) if case in PADS else ():
            if place < length - 1:
                row[place] = config.pad_token_id
        ids.append(row)
        segments = getattr(config, "type_vocab_size", 0)
        tail = length // 3 if segments == 2 and length in (7, 37) else 0
        types.append([0] * (length - tail) + [1] * tail)
    return ids, types


def evaluate(model, ids, types):
    """Expected values, one row per sequence: each alone, compared with the padded batch."""
    alone = [forward(model, [i], [t]) for i, t in zip(ids, types)]
    together = forward(model, ids, types)
    result = {}
    for key in together:
        if together[key] is None:
            result[key] = None
            continue
        result[key] = numpy.concatenate([values[key] for values in alone])
        difference = numpy.abs(result[key] - together[key]).max()
        assert difference <= 2e-5, f"{key}: alone and padded differ by {difference}"
    return result


def forward(model, ids, types):
    length = max(map(len, ids))
    padding = model.config.pad_token_id
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
    ids = torch.tensor([row + [padding] * (length - len(row)) for row in ids])
    types = torch.tensor([row + [0] * (length - len(row)) for row in types])
    captured = {}
    hooks = []
    if hasattr(model, "classifier"):
        # BERT's last linear layer is `classifier`, RoBERTa's is `classifier.out_proj`.
        last_linear = getattr(model.classifier, "out_proj", model.classifier)
        hooks.append(
            last_linear.register_forward_pre_hook(
                lambda _, inputs: captured.update(pooled=inputs[0])
            )
        )
    with torch.no_grad():
        without = model.config.model_type in ("distilbert", "modernbert", "mpnet")
        segments = {} if without else {"token_type_ids": types}
        output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True, **segments)
    for hook in hooks:
        hook.remove()
    hidden = output.hidden_states[-1]
    weight = mask.unsqueeze(-1).float()
    values = {
        "logits": output.get("logits"),
        "pooled": captured.get("pooled", output.get("pooler_output")),
        "first_hidden": hidden[:, 0],
        "mean_hidden": (hidden * weight).sum(1) / weight.sum(1),
    }
    return {key: None if value is None else value.numpy() for key, value in values.items()}


def save_tokenizer(folder):
    """Saves a lower-casing WordPiece with 99 entries and returns what it makes of `TEXTS`.

    The file carries the trap of real ones: truncation to 8 and padding to 8.
    """
    letters = "abcdefghijklmnopqrstuvwxyz"
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries += [*letters, *("##" + letter for letter in letters), *".,!?'-"]
    entries += "##ing ##ed ##es ##ly the and is was not it this of to in very but".split()
    entries += "film boat soup good bad slow warm walk garden train late never again".split()
    entries += "rain we they music cold old light".split()
    assert len(entries) == len(set(entries)) == 99, len(entries)
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = Tokenizer(
        models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(entries[:5])
    expected = []
    for text, pair in TEXTS:
        encoding = tokenizer.encode(text, pair)
        expected.append(
            {
                "text": text,
                "pair": pair,
                "input_ids": encoding.ids,
                "token_type_ids": encoding.type_ids,
            }
        )

    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8, pad_id=0, pad_token="[PAD]")
    BertTokenizer(tokenizer_object=tokenizer, model_max_length=40).save_pretrained(folder)
    # transformers 5 no longer writes this file; older folders have it.
    special = {
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")

    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert written.truncation["max_length"] == written.padding["length"] == 8
    assert all(len(written.encode(text, pair).ids) == 8 for text, pair in TEXTS)
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    for entry in expected:
        by_transformers = loaded(entry["text"], entry["pair"], padding=False, truncation=False)
        assert by_transformers["input_ids"] == entry["input_ids"], entry
        assert by_transformers["token_type_ids"] == entry["token_type_ids"], entry
    return expected


def write_case(folder, model, extra=None):
    """Saves the model, with `extra` tensors beside its own; returns it as read back, in f32."""
    if folder.exists():
        shutil.rmtree(folder)
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    if extra:
        tensors = load_file(folder / "model.safetensors") | extra
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    options = (
        {}
        if getattr(model, "pooler", None) or not hasattr(model, "pooler")
        else {"add_pooling_layer": False}
    )
    loaded, report = type(model).from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        output_loading_info=True,
        **options,
    )
    assert not any(report.values()), report
    stored = load_file(folder / "model.safetensors")
    for name, parameter in loaded.named_parameters():
        assert torch.equal(parameter, stored[name].float()), name
        # Mapped from the file, it may be aligned badly, and then products round differently.
        parameter.data = parameter.data.clone()
    return loaded.eval()


def write_details(folder, model, ids, types):
    """States and gradients in f64, of each sequence alone."""
    model = type(model).from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    states, losses = {}, []
    for index, (row, segments) in enumerate(zip(ids, types)):
        found = []
        base = model.base_model
        if model.config.model_type == "modernbert":
            modules = [*base.layers, base.final_norm]
        else:
            modules = [*base.encoder.layer, base.LayerNorm]
        hooks = [
            module.register_forward_hook(
                lambda _, inputs, output: found.append(
                    output[0] if isinstance(output, tuple) else output
                )
            )
            for module in modules
        ]
        hooks.append(
            modules[0].register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
        )
        logits = model(input_ids=torch.tensor([row])).logits
        for hook in hooks:
            hook.remove()
        # The norm behind all layers stands for what leaves the last one.
        for number, state in enumerate([*found[:-2], found[-1]]):
            states[f"state.{index}.{number}"] = state[0].detach().float().contiguous()
        target = torch.tensor([index % model.config.num_labels])
        losses.append(torch.nn.functional.cross_entropy(logits, target))
    torch.stack(losses).mean().backward()
    gradients = {name: one.grad.float().contiguous() for name, one in model.named_parameters()}
    for name, tensors in ("states", states), ("gradients", gradients):
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
        (folder / f"{name}.safetensors").chmod(0o644)


def check_that_settings_matter(case, model, ids, types, expected):
    for setting, wrong in MUST_MATTER.get(case, {}).items():
        config = type(model.config).from_dict(model.config.to_dict() | {setting: wrong})
        config._attn_implementation = "eager"
        other = type(model)(config).eval()
        other.load_state_dict(model.state_dict())
        key = "logits" if expected["logits"] is not None else "pooled"
        moved = numpy.abs(evaluate(other, ids, types)[key] - expected[key]).max()
        print(f"{case}: {setting} = {wrong} moves {key} by {moved:.1e}")
        assert moved > 5 * TOLERANCE


def numbers(array):
    """Nine digits name an f32 exactly."""
    return None if array is None else [[float(f"{value:.9g}") for value in row] for row in array]


def write_expected(folder, case, model, ids, types, tokenized):
    expected = evaluate(model, ids, types)
    check_that_settings_matter(case, model, ids, types, expected)
    content = {
        "made_by": "tests/python/golden_encoders.py",
        "versions": {package.__name__: package.__version__ for package in PACKAGES},
        "tolerance": TOLERANCE,
        "input_ids": ids,
        "token_type_ids": types,
    } | {key: numbers(value) for key, value in expected.items()}
    if tokenized:
        ids = [text["input_ids"] for text in tokenized]
        types = [text["token_type_ids"] for text in tokenized]
        logits = evaluate(model, ids, types)["logits"]
        content["texts"] = [text | {"logits": row} for text, row in zip(tokenized, numbers(logits))]
    fields = []
    for key, value in content.items():
        if isinstance(value, list):
            rows = ",\n".join("    " + json.dumps(row, ensure_ascii=False) for row in value)
            fields.append(f"  {json.dumps(key)}: [\n{rows}\n  ]")
        else:
            fields.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    (folder / "expected.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")


def main(root, only):
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    small, plain = bert_config(), bert_config(labels=None)
    xlm, camembert = (
        roberta_config(kind, SMALLER) for kind in (XLMRobertaConfig, CamembertConfig)
    )
    position_ids = {"embeddings.position_ids": torch.arange(40, dtype=torch.int64).unsqueeze(0)}
    cases = {
        "bert": (randomise(BertForSequenceClassification(small)), None),
        "bert_plain": (randomise(BertModel(plain)), None),
        "bert_no_pooler": (randomise(BertModel(plain, add_pooling_layer=False)), None),
        "bert_f16": (randomise(BertForSequenceClassification(small)).to(torch.float16), None),
        "bert_bf16": (randomise(BertForSequenceClassification(small)).to(torch.bfloat16), None),
        "bert_position_ids": (randomise(BertModel(plain)), position_ids),
        "bert_gelu_new": (
            randomise(BertForSequenceClassification(bert_config(SMALLER, "gelu_new"))),
            None,
        ),
        "bert_relu": (randomise(BertForSequenceClassification(bert_config(SMALLER, "relu"))), None),
        "roberta": (randomise(RobertaForSequenceClassification(roberta_config()), 0.1), None),
        "roberta_plain": (randomise(RobertaModel(roberta_config()), 0.1), None),
        "distilbert": (randomise(DistilBertForSequenceClassification(distilbert_config())), None),
        "distilbert_plain": (randomise(DistilBertModel(distilbert_config())), None),
        "xlm_roberta": (randomise(XLMRobertaForSequenceClassification(xlm), 0.1), None),
        "camembert": (randomise(CamembertForSequenceClassification(camembert), 0.1), None),
        "roberta_pads": (
            randomise(RobertaForSequenceClassification(roberta_config(sizes=SMALLER)), 0.1),
            None,
        ),
        "electra": (randomise(ElectraForSequenceClassification(electra_config(10))), None),
        "electra_same_width": (
            randomise(
                ElectraForSequenceClassification(electra_config(16, hidden_act="relu"))
            ),
            None,
        ),
        "electra_plain": (randomise(ElectraModel(electra_config(10))), None),
        "albert": (randomise(AlbertForSequenceClassification(albert_config())), None),
        "albert_groups": (
            randomise(
                AlbertForSequenceClassification(
                    albert_config(num_hidden_layers=5, num_hidden_groups=3, inner_group_num=2)
                )
            ),
            None,
        ),
        "albert_plain": (randomise(AlbertModel(albert_config())), None),
        "mpnet": (randomise(MPNetForSequenceClassification(mpnet_config()), 0.3), None),
        "mpnet_plain": (randomise(MPNetModel(mpnet_config())), None),
        "deberta": (randomise(DebertaV2ForSequenceClassification(deberta_config())), None),
        "deberta_xlarge": (
            randomise(DebertaV2ForSequenceClassification(deberta_xlarge_config())),
            None,
        ),
        "deberta_c2p": (
            randomise(
                DebertaV2ForSequenceClassification(
                    deberta_config(
                        pos_att_type=["c2p"], share_att_key=False, max_relative_positions=-1
                    )
                )
            ),
            None,
        ),
        "deberta_p2c": (
            randomise(
                DebertaV2ForSequenceClassification(
                    deberta_config(
                        pos_att_type="p2c", position_buckets=-1, conv_kernel_size=5
                    )
                )
            ),
            None,
        ),
        "deberta_absolute": (
            randomise(
                DebertaV2ForSequenceClassification(
                    deberta_config(relative_attention=False, position_biased_input=True)
                )
            ),
            None,
        ),
        "deberta_plain": (randomise(DebertaV2Model(deberta_config())), None),
        # Its last layers are local.
        "modernbert": (
            randomise(ModernBertForSequenceClassification(modernbert_config(local_attention=8))),
            None,
        ),
        "modernbert_mean": (
            randomise(
                ModernBertForSequenceClassification(
                    modernbert_config(
                        global_attn_every_n_layers=2,
                        local_attention=9,
                        rope_parameters={
                            "full_attention": {"rope_type": "default", "rope_theta": 500.0},
                            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
                        },
                        hidden_activation="gelu_pytorch_tanh",
                        classifier_activation="silu",
                        classifier_pooling="mean",
                        classifier_bias=True,
                        norm_bias=True,
                        attention_bias=True,
                        mlp_bias=True,
                    )
                )
            ),
            None,
        ),
        "roberta_prelayernorm": (
            randomise(
                RobertaPreLayerNormForSequenceClassification(
                    roberta_config(RobertaPreLayerNormConfig, SMALLER)
                ),
                0.1,
            ),
            None,
        ),
        "modernbert_plain": (randomise(ModernBertModel(modernbert_config())), None),
    }
    cases = {case: made for case, made in cases.items() if not only or case in only}
    for case, (model, extra) in cases.items():
        model = write_case(root / case, model, extra)
        tokenized = save_tokenizer(root / case) if case == "bert" else None
        batch = ragged_batch(model.config, case)
        write_expected(root / case, case, model, *batch, tokenized)
        if case in DETAILS:
            write_details(root / case, model, *batch)

    total = 0
    print(f"\n{'case':<20}{'files':>6}{'bytes':>10}")
    for case in cases:
        files = list((root / case).iterdir())
        size = sum(file.stat().st_size for file in files)
        total += size
        print(f"{case:<20}{len(files):>6}{size:>10}")
        assert size < 200_000
    print(f"{'total':<26}{total:>10}")
    assert total < 2_400_000


if __name__ == "__main__":
    main(
        Path(sys.argv[1])
        if len(sys.argv) > 1
        else Path(__file__).parent.parent / "fixtures" / "encoders",
        sys.argv[2:],
    )
