//! The tokenizer classes of transformers that can be built from older files, and what each one fixes.

/// One class: a row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// Its name, without `Fast`.
    pub name: &'static str,
    /// The architecture that has it where no class is named.
    model_type: &'static str,
    pub form: Form,
    /// What its special tokens are called unless a file says otherwise, in the order of [`KEYS`].
    tokens: [Option<&'static str>; 7],
    /// Whether the mask takes the space before it along, as word-initial pieces do.
    pub mask_takes_the_space: bool,
    pub template: Template,
    /// Whether the model is told which text of a pair a token is of. transformers 5 forgot it in
    /// ALBERT, whose weights were trained with it.
    pub gives_segments: bool,
}

/// What the vocabulary is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Word pieces: `vocab.txt`.
    WordPieces,
    /// Byte pairs: `vocab.json` and `merges.txt`.
    BytePairs,
    /// A SentencePiece model.
    SentencePiece(Family),
}

/// Whose rules a SentencePiece model is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    XlmRoberta,
    Camembert,
    Albert,
    Deberta,
}

/// Where special tokens go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// [CLS] A [SEP], and B [SEP] of segment 1.
    Bert,
    /// [CLS] A [SEP], and [SEP] B [SEP], all of segment 0.
    Roberta,
    /// The same with the tokens that begin and end a text.
    Sentences,
}

/// The keys of special tokens, in the order in which transformers adds them.
pub(super) const KEYS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

const BERT: Class = Class {
    name: "BertTokenizer",
    model_type: "bert",
    form: Form::WordPieces,
    tokens: [
        None,
        None,
        Some("[UNK]"),
        Some("[SEP]"),
        Some("[PAD]"),
        Some("[CLS]"),
        Some("[MASK]"),
    ],
    mask_takes_the_space: false,
    template: Template::Bert,
    gives_segments: true,
};

const ROBERTA: Class = Class {
    name: "RobertaTokenizer",
    model_type: "roberta",
    form: Form::BytePairs,
    tokens: [
        Some("<s>"),
        Some("</s>"),
        Some("<unk>"),
        Some("</s>"),
        Some("<pad>"),
        Some("<s>"),
        Some("<mask>"),
    ],
    mask_takes_the_space: true,
    template: Template::Roberta,
    gives_segments: false,
};

const XLM_ROBERTA: Class = Class {
    name: "XLMRobertaTokenizer",
    model_type: "xlm-roberta",
    form: Form::SentencePiece(Family::XlmRoberta),
    template: Template::Sentences,
    ..ROBERTA
};

/// The tokens of ALBERT; DeBERTa writes two of them in another way.
const ALBERT_TOKENS: [Option<&str>; 7] = [
    Some("[CLS]"),
    Some("[SEP]"),
    Some("<unk>"),
    Some("[SEP]"),
    Some("<pad>"),
    Some("[CLS]"),
    Some("[MASK]"),
];

/// The first one that fits a folder's files is taken where nobody says more.
pub(super) const CLASSES: [Class; 9] = [
    BERT,
    Class { name: "DistilBertTokenizer", model_type: "distilbert", gives_segments: false, ..BERT },
    Class { name: "ElectraTokenizer", model_type: "electra", ..BERT },
    Class {
        name: "MPNetTokenizer",
        model_type: "mpnet",
        form: Form::WordPieces,
        tokens: [
            Some("<s>"),
            Some("</s>"),
            Some("[UNK]"),
            Some("</s>"),
            Some("<pad>"),
            Some("<s>"),
            Some("<mask>"),
        ],
        ..ROBERTA
    },
    ROBERTA,
    XLM_ROBERTA,
    Class {
        name: "CamembertTokenizer",
        model_type: "camembert",
        form: Form::SentencePiece(Family::Camembert),
        ..XLM_ROBERTA
    },
    Class {
        name: "AlbertTokenizer",
        model_type: "albert",
        form: Form::SentencePiece(Family::Albert),
        tokens: ALBERT_TOKENS,
        mask_takes_the_space: true,
        ..BERT
    },
    Class {
        name: "DebertaV2Tokenizer",
        model_type: "deberta-v2",
        form: Form::SentencePiece(Family::Deberta),
        tokens: [
            Some("[CLS]"),
            Some("[SEP]"),
            Some("[UNK]"),
            Some("[SEP]"),
            Some("[PAD]"),
            Some("[CLS]"),
            Some("[MASK]"),
        ],
        ..BERT
    },
];

/// Names that say nothing of how a vocabulary is read.
const ANY: [&str; 4] =
    ["PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend", "PythonBackend"];

impl Class {
    /// The class of that name, if it can be built.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let name = name.strip_suffix("Fast").unwrap_or(name);
        CLASSES.iter().find(|class| class.name == name)
    }

    /// The class for a folder with such files: that of the architecture, where it is one of them.
    pub(super) fn of(has: &dyn Fn(&str) -> bool, model_type: &str) -> Option<&'static Self> {
        let mut fitting = CLASSES.iter().filter(|class| class.files().iter().all(|file| has(file)));
        let first = fitting.clone().next();
        fitting.find(|class| class.model_type == model_type).or(first)
    }

    /// The files of the vocabulary.
    pub(super) fn files(&self) -> &'static [&'static str] {
        match self.form {
            Form::WordPieces => &["vocab.txt"],
            Form::BytePairs => &["vocab.json", "merges.txt"],
            Form::SentencePiece(Family::XlmRoberta | Family::Camembert) => {
                &["sentencepiece.bpe.model"]
            }
            Form::SentencePiece(Family::Albert) => &["spiece.model"],
            Form::SentencePiece(Family::Deberta) => &["spm.model"],
        }
    }

    /// What the special token of a key is called unless a file says otherwise.
    pub(super) fn token(&self, key: &str) -> Option<&'static str> {
        self.tokens[KEYS.iter().position(|own| *own == key)?]
    }
}

/// Whether the name of a class says how a vocabulary is read.
pub(super) fn says_something(name: &str) -> bool {
    !ANY.contains(&name)
}
