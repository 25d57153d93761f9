#!/usr/bin/env python3
"""Makes tests/fixtures/tokenizers/: small vocabularies in every form that the Hub has, and what transformers makes of
2,000 nasty texts with them.

    python tests/python/golden_tokenizers.py            # from the root of the repository, two minutes on one core

Requirements: transformers==5.24.0 tokenizers==0.23.3 sentencepiece==0.2.3 protobuf==7.36.2

vocabularies.zip  vocab.txt, vocab.json, merges.txt, SentencePiece models, trained here on words that this file invents
cases.json        the folders: which file has which name, the JSON beside it; what the texts are put together from
NAME.ids          four bytes a text: the beginning of SHA-256 over its ids and then its segments, both u32

The texts are put together from parts by a generator that `tests/tokenizers.rs` has too; with `--print NAME INDEX` this
script shows one and its tokens.

The reference is transformers' class, but for
* DeBERTa: transformers 5 drops the model's normaliser; the tokenizer is made with `tokenizers` as DeBERTa's published
  tokenizer.json has it;
* ALBERT: the same, with a lower score for pieces that end in a digit and a comma, which transformers 5 forgot; without
  such pieces, both agree (checked here);
* SentencePiece models of byte pairs: transformers 5 reads none with these classes; the merges are by score. Without
  unknown letters the ids are those of sentencepiece (checked here).
"""

import argparse
import collections
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

OUT = Path(__file__).parent.parent / "fixtures/tokenizers"
TEXTS = 2000
SEED = 20
LONG = 10_000
MASK = (1 << 64) - 1

# --- texts ----------------------------------------------------------------------------------------------------


class Numbers:
    """SplitMix64 (Steele, Lea and Flood 2014)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % bound


def invented_words():
    source = random.Random(7)
    begin = ["b", "br", "d", "f", "gl", "k", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "w", "z", ""]
    middle = ["a", "e", "i", "o", "u", "ai", "ea", "ou", "ä", "é", "ö"]
    end = ["", "n", "r", "s", "t", "l", "nd", "st", "ß", "ng"]
    words = set()
    while len(words) < 160:
        syllables = source.randint(1, 3)
        words.add("".join(source.choice(begin) + source.choice(middle) + source.choice(end) for _ in range(syllables)))
    return sorted(words)


WORDS = invented_words()
LETTERS = list("abdeiklmnorstuvw") + list("éäß") + ["中", "文", "ら", "я", "9", "_", "\u0301", "😀"]
PARTS = {
    "words": WORDS[:110],
    "between": [" ", " ", " ", " ", "", "", "  ", "\n", "\t", "\r\n", "\r", ", ", ". ", "-", "/", "\u00a0", "   \n ", "\u3000",
                "\u200b", "\u2028", "\u0085", "▁", "_", "'", "\u2029", "\u000b", "\u000c", "\u1680", "\u2009", "\u202f"],
    "nasty": [
        # Case and accents, composed, decomposed, several on one letter, alone.
        "ÀÉÎÕÜ", "É", "E\u0301", "e\u0301\u0323", "\u0301", "\u0301a", "ﬁ", "ﬀ", "ĳ", "ǅ", "İ", "ı", "Σ", "ς", "ΣΑΣ", "ẞ", "Straße",
        "STRASSE", "Å", "\u212b", "A\u030a", "ñandú", "Ｆｕｌｌ", "ｗｉｄｔｈ", "½", "x²", "⅓", "Ⅳ", "①", "㎏", "℡", "™", "…", "ŉ", "ǆ",
        "\u1e9b\u0323", "ậ", "a\u0302\u0323", "ｶﾞ", "が", "か\u3099",
        # Scripts.
        "日本語", "中文字", "漢字かな交じり", "한국어", "\u1112\u1161\u11ab", "Привет", "ЁЖ", "עברית", "שָׁלוֹם", "العربية", "ﷺ", "हिन्दी", "க்ஷ", "ไทย",
        "ὈΔΥΣΣΕΎΣ", "\U00020000", "\U0001d4d0", "𝔘𝔫𝔦", "ꙮ", "༄", "〇", "㋿", "々", "ー", "·", "⿰",
        # Emoji with modifiers, flags, families, variation selectors, keycaps, tags.
        "😀", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "🇩", "❤️", "☃\ufe0e", "1️⃣", "🏴\U000e0067\U000e0062\U000e007f", "👩🏿‍🚀", "\u200d", "\ufe0f", "🏻",
        # What is not seen.
        "\u200b", "\u200c", "\u2060", "\ufeff", "\u00ad", "\u202e", "\u202c", "\u2066", "\u180e", "\u061c", "\u034f", "\u115f", "\u3164",
        "\ufff9", "\ufffc", "\ufffd",
        # Control characters, private ones, those that are none, the last one.
        "\u0000", "\u0001", "\u0007", "\u0008", "\u001b[2J", "\u001f", "\u007f", "\u0080", "\u0085", "\u009f", "\ue000", "\ufdd0", "\uffff",
        "\U000f0000", "\U0010fffd", "\U0010ffff",
        # Ends of lines and spaces.
        "\n\n", "\r\n", "\n\r", "\u2028", "\u2029", "\u000b", "\u000c", "\u001c", "\u001d", "\u001e", "\u00a0\u00a0", "\u2000", "\u200a",
        "\u205f", "\u3000", "          ", "\t\t",
        # Lone surrogates can only be written.
        "\\ud83d", "\\udc00x", "\\u0000", "&#xD800;",
        # Special tokens.
        "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]", "[mask]", "[ MASK ]", "<s>", "</s>", "<pad>", "<unk>", "<mask>", " <mask> ", "<MASK>",
        "<S>", "<<mask>>", "[[MASK]]", "[MASK][MASK]", "［ＭＡＳＫ］", "[CLS", "##a", "##", "<0x41>", "▁", "▁▁", "▁a", "Ġ", "Ċ", "#version: 0.2",
        "<new>", "brand new", "BRAND NEW", "[E1]", "[E2]", "whole", "wholesome", "[END]",
        # Punctuation, numbers, code.
        "``quoted''", "“quotes”", "«a»", "‘b’", "—", "a--b", "...", "!?", "don't", "I'LL", "we're", "O'Neil's", "1,000,000", "3.14", "-1e-7",
        "10,", "9,a", "٣", "१", "９", "$5", "£", "€", "§", "a@b.example", "http://x.example/?q=%20&r=1#z", "C++", "a_b", "snake_case_word",
        "CamelCase", "\\n", "\\", "^", "`", "~", "|", "=", "+", "<", ">", "¨", "ˆ", "´", "()", "(a)", "\"", "\"a\"", "\u037e", "\u0060a",
    ],
    "letters": LETTERS,
}


def texts():
    numbers = Numbers(SEED)
    words, between, nasty, letters = (PARTS[key] for key in ("words", "between", "nasty", "letters"))
    for index in range(TEXTS):
        text = ""
        if index % 100 == 99:  # One word of very many letters, sometimes of the same letter.
            few = 1 + numbers.below(3)
            own = [letters[numbers.below(len(letters))] for _ in range(few)]
            text = "".join(own[numbers.below(few)] for _ in range(LONG))
        for _ in range(numbers.below(14)):
            word = words[numbers.below(len(words))]
            match numbers.below(8):
                case 0:
                    text += word
                case 1:
                    text += word.upper()
                case 2:
                    text += word + words[numbers.below(len(words))]
                case 3 | 4:
                    text += word[:1].upper() + word[1:]
                case 5 | 6:
                    text += nasty[numbers.below(len(nasty))]
                case _:
                    text += nasty[numbers.below(len(nasty))] * (1 + numbers.below(5))
            text += between[numbers.below(len(between))]
        yield text


# --- vocabularies ---------------------------------------------------------------------------------------------


def corpus():
    source = random.Random(11)
    odd = ["日本語", "中文", "Привет", "😀", "½", "…", "1,000", "10,", "9,", "3.14", "ﬁ", "!", "?", ".", ",", "(a)", "\"b\"", "-", "'", "#", "<", ">", "[", "]",
           "naïve", "CAFÉ", "x²", "_", "/", "$", "£"]
    for _ in range(3000):
        words = [source.choice(WORDS) for _ in range(source.randint(3, 12))]
        words[0] = words[0].capitalize()
        if source.random() < 0.5:
            words.insert(source.randrange(len(words)), source.choice(odd))
        yield " ".join(words)


def word_pieces(special, lower, size=420, odd=True):
    """The letters of the corpus and the pieces of its words that spare most letters: `WordPieceTrainer` has
    another order of equal pieces in every process."""
    normalizer, split = normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()
    spared = collections.Counter()
    letters = set()
    for text in corpus():
        for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text)):
            letters.update(word)
            for start, end in itertools.combinations(range(len(word) + 1), 2):
                if 2 <= end - start:
                    spared["##" * (start > 0) + word[start:end]] += end - start - 1
    tokens = special + [token for letter in sorted(letters) for token in (letter, f"##{letter}")]
    best = sorted(spared, key=lambda piece: (-spared[piece], piece))
    tokens += best[: max(size - len(tokens), 0)]
    if special[-1] == "<mask>":  # MPNet's stands at the end.
        tokens.remove("<mask>")
        tokens.append("<mask>")
    # An empty line, entries that Python would take for ends of lines, and the same twice are entries like others.
    if odd:
        tokens[-1:-1] = ["", "a\u0085b", "\u2028", "zz\u00a0", tokens[60]]
    return "".join(f"{token}\n" for token in tokens)


def byte_level(normalizer=None):
    own = Tokenizer(models.BPE())
    if normalizer:
        own.normalizer = normalizer
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=480, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return own


def byte_pairs():
    model = json.loads(byte_level().to_str())["model"]
    tokens = ["<s>", "<pad>", "</s>", "<unk>"] + sorted(model["vocab"], key=model["vocab"].get) + ["<mask>"]
    merges = [" ".join(merge) for merge in model["merges"]]
    vocabulary = json.dumps({token: id for id, token in enumerate(tokens)}, ensure_ascii=False)
    return vocabulary, "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges)


# A small normaliser: the one of sentencepiece has 240 kB. One model has that.
RULES = {
    "\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "\u2028": " ", "\u200b": " ", "\u0085": " ", "…": "...", "½": "1⁄2",
    "²": "2", "ﬁ": "fi", "ﬀ": "ff", "™": "TM", "E\u0301": "É", "e\u0301": "é", "ﷺ": "صلى الله عليه وسلم", "\u00ad": "", "\ufeff": "",
    "\u200d": "", "①": "1", "ｶﾞ": "ガ", "\u0001": "", "\u007f": "",
} | {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}


def sentence_pieces(kind="unigram", size=360, rules=RULES, **options):
    with tempfile.TemporaryDirectory() as folder:
        if rules:
            path = Path(folder) / "rules.tsv"
            codes = lambda text: " ".join(f"{ord(c):X}" for c in text)
            path.write_text("".join(f"{codes(a)}\t{codes(b)}\n" for a, b in rules.items()))
            options["normalization_rule_tsv"] = str(path)
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=corpus(), model_writer=written, vocab_size=size, model_type=kind, character_coverage=1.0,
            hard_vocab_limit=False, num_threads=1, minloglevel=2, **options)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    model.normalizer_spec.normalization_rule_tsv = ""  # a path of the machine that ran this
    return model.SerializeToString()


ALBERT = dict(pad_id=0, unk_id=1, bos_id=2, eos_id=3, bos_piece="[CLS]", eos_piece="[SEP]", control_symbols=["[MASK]"],
              user_defined_symbols=["(", ")", "\"", "-", ".", "£"])
DEBERTA = dict(pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]", eos_piece="[SEP]", unk_piece="[UNK]")
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocabularies():
    vocabulary, merges = byte_pairs()
    modern = byte_level(normalizers.NFC())
    modern.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    modern.add_special_tokens([AddedToken("[MASK]", lstrip=True, normalized=False, special=True)])
    modern.add_tokens([AddedToken(" " * n, normalized=False) for n in (24, 12, 4, 2)])
    modern.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(token, modern.token_to_id(token)) for token in ("[CLS]", "[SEP]")])
    return {
        "cased.txt": word_pieces(BERT, lower=False).encode(),
        "uncased.txt": word_pieces(BERT, lower=True).encode(),
        # Without odd lines: transformers 5 trims them until some are equal, and gives what is added an id that is taken.
        "added.txt": word_pieces(BERT, lower=True, odd=False).encode(),
        "mpnet.txt": word_pieces(["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"], lower=True).encode(),
        "roberta.json": vocabulary.encode(),
        "roberta.merges": merges.encode(),
        "fairseq.model": sentence_pieces(rules=None),
        "fairseq-pairs.model": sentence_pieces("bpe", user_defined_symbols=["whole"]),
        "albert.model": sentence_pieces(**ALBERT),
        "deberta.model": sentence_pieces(size=620, byte_fallback=True, **DEBERTA),
        "deberta-pairs.model": sentence_pieces("bpe", **DEBERTA),
        "modernbert.json": modern.to_str().encode(),
    }


# --- folders --------------------------------------------------------------------------------------------------

FAIRSEQ_MAP = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>",
               "mask_token": dict(content="<mask>", single_word=False, lstrip=True, rstrip=False, normalized=False)}
ALBERT_MAP = {"bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "sep_token": "[SEP]", "pad_token": "<pad>",
              "cls_token": "[CLS]", "mask_token": dict(FAIRSEQ_MAP["mask_token"], content="[MASK]")}


def added(content, **flags):
    return dict(dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags)


def cases(files):
    """Of each case: files by their names in the folder, and JSON files."""
    bert = len(files["added.txt"].decode().split("\n")) - 1
    roberta = len(json.loads(files["roberta.json"]))
    config = lambda name, **more: {"tokenizer_config.json": {"tokenizer_class": name} | more}
    very_large = 1000000000000000019884624838656
    return {
        "bert-cased": ({"vocab.txt": "cased.txt"}, config("BertTokenizer", do_lower_case=False, model_max_length=very_large)),
        "bert-uncased": ({"vocab.txt": "uncased.txt"}, config("BertTokenizerFast", do_lower_case=True)),
        "bert-added": ({"vocab.txt": "added.txt"}, config(
            "BertTokenizer", strip_accents=True, do_lower_case=False, additional_special_tokens=["[E1]", "[END]"],
            added_tokens_decoder={str(id): added(token, special=True) for id, token in enumerate(BERT)} | {
                str(bert): added("[E1]", special=True), str(bert + 1): added("brand new", normalized=True),
                str(bert + 2): added("[E2]", lstrip=True, rstrip=True), str(bert + 3): added("whole", single_word=True)})),
        "distilbert": ({"vocab.txt": "uncased.txt"}, config("DistilBertTokenizer", strip_accents=False)),
        "electra": ({"vocab.txt": "uncased.txt"}, config("ElectraTokenizer", tokenize_chinese_chars=False)),
        "mpnet": ({"vocab.txt": "mpnet.txt"}, config("MPNetTokenizer", do_lower_case=True, model_max_length=512)
                  | {"special_tokens_map.json": dict(FAIRSEQ_MAP, unk_token="[UNK]")}),
        "roberta": ({"vocab.json": "roberta.json", "merges.txt": "roberta.merges"},
                    config("RobertaTokenizer") | {"special_tokens_map.json": FAIRSEQ_MAP}),
        "roberta-prefix": ({"vocab.json": "roberta.json", "merges.txt": "roberta.merges"},
                           config("RobertaTokenizer", add_prefix_space=True)
                           | {"special_tokens_map.json": FAIRSEQ_MAP, "added_tokens.json": {"brand new": roberta + 1, "<new>": roberta}}),
        "xlm-roberta": ({"sentencepiece.bpe.model": "fairseq.model"},
                        config("XLMRobertaTokenizer") | {"special_tokens_map.json": FAIRSEQ_MAP}),
        "camembert": ({"sentencepiece.bpe.model": "fairseq.model"}, config("CamembertTokenizer")),
        "albert": ({"spiece.model": "albert.model"}, config("AlbertTokenizer") | {"special_tokens_map.json": ALBERT_MAP}),
        "albert-cased": ({"spiece.model": "albert.model"}, config("AlbertTokenizer", do_lower_case=False, keep_accents=True)
                         | {"special_tokens_map.json": ALBERT_MAP}),
        "deberta": ({"spm.model": "deberta.model"}, config("DebertaV2Tokenizer", do_lower_case=False)
                    | {"added_tokens.json": {"[MASK]": pieces(files["deberta.model"])}}),
        "deberta-split": ({"spm.model": "deberta.model"},
                          config("DebertaV2Tokenizer", do_lower_case=True, split_by_punct=True)),
        "xlm-roberta-pairs": ({"sentencepiece.bpe.model": "fairseq-pairs.model"}, config("XLMRobertaTokenizer")),
        "camembert-pairs": ({"sentencepiece.bpe.model": "fairseq-pairs.model"}, config("CamembertTokenizer")),
        "deberta-pairs": ({"spm.model": "deberta-pairs.model"}, config("DebertaV2Tokenizer")),
        "modernbert": ({"tokenizer.json": "modernbert.json"}, config("PreTrainedTokenizerFast")),
    }


def pieces(model):
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return len(proto.pieces)


def by_rule(name, model, config):
    """A tokenizer of a SentencePiece model by its published rules, with nothing but `tokenizers`."""
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    scored = [(piece.piece, piece.score) for piece in proto.pieces]
    unknown = proto.trainer_spec.unk_id
    charsmap = proto.normalizer_spec.precompiled_charsmap
    charsmap = [normalizers.Precompiled(charsmap)] if charsmap else []
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    lower = [normalizers.Lowercase()]
    split = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
    special, mask = BERT, "[MASK]"
    begin, end = "[CLS]", "[SEP]"
    if name.startswith("xlm-roberta"):
        scored = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")] + scored[3:] + [("<mask>", 0.0)]
    if name.startswith("camembert"):
        scored = [("<s>NOTUSED", 0.0), ("<pad>", 0.0), ("</s>NOTUSED", 0.0), ("<unk>", 0.0), ("<unk>NOTUSED", -100.0)] + scored[1:]
        scored += [("<mask>", 0.0)]
    if name.startswith(("xlm-roberta", "camembert")):
        unknown, special, mask, begin, end, steps = 3, ["<s>", "<pad>", "</s>", "<unk>"], "<mask>", "<s>", "</s>", charsmap
    if name.startswith("albert"):
        comma = lambda token: len(token) > 1 and token[-1] == "," and token[-2].isdigit()
        scored = [(token, score - 100 if comma(token) else score) for token, score in scored]
        special = ["<pad>", "<unk>", "[CLS]", "[SEP]"]
        steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
        steps += [] if config.get("keep_accents") else [normalizers.NFKD(), normalizers.StripAccents()]
        steps += (lower if config.get("do_lower_case", True) else []) + charsmap + [one_space]
    if name.startswith("deberta"):
        split = [pre_tokenizers.Punctuation("isolated")] * config.get("split_by_punct", False) + split[1:]
        steps = (lower if config.get("do_lower_case") else []) + [normalizers.Strip()] + charsmap + [one_space]
        special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    if proto.trainer_spec.model_type == 1:
        own = Tokenizer(models.Unigram(scored, unknown, False))
    else:
        ids = {token: id for id, (token, _) in enumerate(scored)}
        normal = {piece.piece: (-piece.score, place) for place, piece in enumerate(proto.pieces) if piece.type == 1}
        merges = sorted((*rank, token[:cut], token[cut:]) for token, rank in normal.items() for cut in range(1, len(token))
                        if token[:cut] in normal and token[cut:] in normal)
        own = Tokenizer(models.BPE(ids, [merge[2:] for merge in merges], unk_token=scored[unknown][0], fuse_unk=True))
    own.normalizer = normalizers.Sequence(steps)
    own.pre_tokenizer = pre_tokenizers.Sequence(split)
    own.add_special_tokens(special)
    own.add_special_tokens([AddedToken(mask, lstrip=not name.startswith("deberta"), normalized=False, special=True)])
    own.add_special_tokens([piece.piece for piece in proto.pieces if piece.type == 3])
    own.add_tokens([AddedToken(piece.piece, normalized=False) for piece in proto.pieces if piece.type == 4])
    between = f"{end} {end}" if begin == "<s>" else end
    second = ":0" if begin == "<s>" else ":1"
    own.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=f"{begin} $A {between} $B{second} {end}{second}",
        special_tokens=[(token, own.token_to_id(token)) for token in (begin, end)])
    return own


CLASSES = {"bert": "BertTokenizer", "distilbert": "DistilBertTokenizer", "electra": "BertTokenizer", "mpnet": "MPNetTokenizer",
           "roberta": "RobertaTokenizer", "xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer",
           "albert": "AlbertTokenizer", "modernbert": "PreTrainedTokenizerFast"}
SEGMENTS = ("bert", "electra", "albert", "deberta")


def reference(name, case, files):
    """What transformers makes of the folder, or the rules where it makes nothing of it, as a tokenizer of `tokenizers`."""
    names, configs = case
    config = configs.get("tokenizer_config.json", {})
    kind = next((kind for kind in sorted(CLASSES, key=len, reverse=True) if name.startswith(kind)), None)
    theirs = None
    if kind and not name.endswith("pairs"):
        with tempfile.TemporaryDirectory() as folder:
            for target, source in names.items():
                (Path(folder) / target).write_bytes(files[source])
            for target, value in configs.items():
                (Path(folder) / target).write_text(json.dumps(value))
            theirs = getattr(transformers, CLASSES[kind]).from_pretrained(folder).backend_tokenizer
    if name.startswith("albert") or not theirs:
        ours = by_rule(name, files[next(iter(names.values()))], config)
        differ = 0
        for text in texts():
            if theirs and ours.encode(text).ids != theirs.encode(text).ids:
                differ += 1
                assert any(character.isdigit() for character in text) and "," in text, text
        print(name, "differs from transformers in", differ if theirs else "-")
        return ours
    return theirs


def like_sentencepiece(name, model, own):
    """Where no letter is unknown, byte pairs are those of sentencepiece."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    offset = {"xlm-roberta-pairs": 1, "camembert-pairs": 4, "deberta-pairs": 0}[name]
    same = 0
    for text in corpus():
        theirs = processor.encode(text)
        if processor.unk_id() in theirs:
            continue
        same += 1
        assert [id + offset for id in theirs] == own.encode(text).ids[1:-1], (text, processor.encode(text, out_type=str), own.encode(text).tokens)
    print(name, "equals sentencepiece on", same, "texts")


def short_hash(encoding, has_segments):
    segments = encoding.type_ids if has_segments else [0] * len(encoding.ids)
    numbers = encoding.ids + segments
    return hashlib.sha256(struct.pack(f"<{len(numbers)}I", *numbers)).digest()[:4]


def encoded(own, all_texts, index):
    """Every fourth text has the next one as its pair."""
    if index % 4 == 3:
        return own.encode(all_texts[index], all_texts[(index + 1) % len(all_texts)])
    return own.encode(all_texts[index])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", nargs=2, metavar=("NAME", "INDEX"), help="show a text of a case and its tokens")
    arguments = parser.parse_args()
    all_texts = list(texts())
    if arguments.print:
        with zipfile.ZipFile(OUT / "vocabularies.zip") as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        name, index = arguments.print[0], int(arguments.print[1])
        found = encoded(reference(name, cases(files)[name], files), all_texts, index)
        print(repr(all_texts[index]), found.tokens, found.ids, found.type_ids, sep="\n")
        return
    files = vocabularies()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with zipfile.ZipFile(OUT / "vocabularies.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    all_cases = cases(files)
    written = {"seed": SEED, "texts": TEXTS, "long": LONG, **PARTS,
               "cases": {name: {"files": names, "json": configs} for name, (names, configs) in all_cases.items()}}
    (OUT / "cases.json").write_text(json.dumps(written, indent=1, ensure_ascii=True) + "\n")
    for name, case in all_cases.items():
        own = reference(name, case, files)
        if name.endswith("pairs"):
            like_sentencepiece(name, files[next(iter(case[0].values()))], own)
        has_segments = name.startswith(SEGMENTS)
        hashes = [short_hash(encoded(own, all_texts, index), has_segments) for index in range(TEXTS)]
        (OUT / f"{name}.ids").write_bytes(b"".join(hashes))
        print(name, len(hashes), "texts,", own.get_vocab_size(), "tokens")
    print(transformers.__version__, tokenizers.__version__, file=sys.stderr)


if __name__ == "__main__":
    main()
