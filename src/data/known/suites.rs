//! The tasks of the suites GLUE and SuperGLUE that are classification of a text or a pair.

use serde::Serialize;

use super::{Form, Known, PLAIN, Terms};

/// A suite of benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Suite {
    /// Wang et al. 2019 (ICLR).
    Glue,
    /// Wang et al. 2019 (NeurIPS).
    SuperGlue,
}

/// What a suite counts of the answers to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// Share of the rows that are answered right.
    Accuracy,
    /// F1 of the second class.
    F1,
    /// Mean over the classes of their F1.
    MacroF1,
    /// Matthews' correlation of labels and answers.
    Matthews,
    /// Rows stand two by two, each with one of two choices; share of the twos where the right one is likelier.
    Choices,
    /// Rows stand two by two and differ in a gender; share of the twos with one answer.
    Parity,
    /// Share of the questions of which every row is answered right.
    ExactMatch,
}

/// How the server of a suite takes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The place of the class.
    Index,
    /// Its name.
    Name,
    /// `true` or `false`.
    Truth,
    /// The place of the choice that is likelier to be right, of two rows.
    Choice,
    /// The place of the class of each answer, under its paragraph and its question.
    Questions,
}

/// What a task is in its suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Models are trained for it, and it counts in the average.
    Own,
    /// Models of that task are tested on it too, and the two count as one, by their mean. Its rows may be a split of that
    /// task.
    SecondTest { of: &'static str, split: &'static str },
    /// Models of that task are tested on it, and it counts nothing.
    Diagnostic(&'static str),
}

impl Suite {
    /// The suite of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Glue, Self::SuperGlue].into_iter().find(|suite| suite.name() == name)
    }

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Glue => "glue",
            Self::SuperGlue => "super_glue",
        }
    }

    /// Its tasks that are known here, in their order.
    pub fn tasks(self) -> impl Iterator<Item = &'static Known> {
        TASKS.iter().filter(move |known| known.suite == Some(self))
    }

    /// Tasks that its average has and that are not known here.
    pub fn others(self) -> &'static [&'static str] {
        match self {
            Self::Glue => &["stsb"],
            Self::SuperGlue => &["record", "wsc"],
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Glue => "GLUE",
            Self::SuperGlue => "SuperGLUE",
        }
    }
}

impl Score {
    /// Its key in reports.
    pub fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "f1",
            Self::MacroF1 => "macro_f1",
            Self::Matthews => "matthews_correlation",
            Self::Choices => "choice_accuracy",
            Self::Parity => "gender_parity",
            Self::ExactMatch => "exact_match",
        }
    }
}

const GLUE: Known = Known {
    hub_id: "nyu-mll/glue",
    suite: Some(Suite::Glue),
    reported: "validation",
    scores: &[Score::Accuracy],
    ..PLAIN
};

const SUPER_GLUE: Known = Known { hub_id: "aps/super_glue", suite: Some(Suite::SuperGlue), ..GLUE };

const NLI: &[&str] = &["entailment", "neutral", "contradiction"];
const RTE: &[&str] = &["entailment", "not_entailment"];

/// All tasks, in the order of the suites.
pub(super) const TASKS: &[Known] = &[
    Known {
        name: "cola",
        hub_folder: "cola",
        description: "sentences, grammatical or not",
        terms: "research use; cite Warstadt et al. 2019",
        allows: Terms::NonCommercial,
        labels: &["unacceptable", "acceptable"],
        scores: &[Score::Matthews],
        submissions: &[("test", "CoLA")],
        written: Written::Index,
        ..GLUE
    },
    Known {
        name: "sst2",
        hub_folder: "sst2",
        description: "phrases of film reviews, positive or negative",
        terms: "not stated; cite Socher et al. 2013 and Wang et al. 2019",
        labels: &["negative", "positive"],
        submissions: &[("test", "SST-2")],
        written: Written::Index,
        ..GLUE
    },
    Known {
        name: "mrpc",
        hub_folder: "mrpc",
        description: "pairs of sentences from the news, equal in meaning or not",
        terms: "as the authors say; cite Dolan and Brockett 2005",
        labels: &["not_equivalent", "equivalent"],
        form: Form::Pair("sentence1", "sentence2"),
        scores: &[Score::F1, Score::Accuracy],
        submissions: &[("test", "MRPC")],
        written: Written::Index,
        ..GLUE
    },
    Known {
        name: "qqp",
        hub_folder: "qqp",
        description: "pairs of questions to Quora, the same or not",
        terms: "non-commercial use, by the terms of Quora",
        allows: Terms::NonCommercial,
        labels: &["not_duplicate", "duplicate"],
        form: Form::Pair("question1", "question2"),
        scores: &[Score::F1, Score::Accuracy],
        submissions: &[("test", "QQP")],
        written: Written::Index,
        ..GLUE
    },
    Known {
        name: "mnli",
        hub_folder: "mnli",
        description: "does the premise entail or contradict the hypothesis, ten genres",
        terms: "several, as the authors say; cite Williams et al. 2018",
        labels: NLI,
        form: Form::Pair("premise", "hypothesis"),
        reported: "validation_matched",
        submissions: &[("test_matched", "MNLI-m"), ("test_mismatched", "MNLI-mm")],
        ..GLUE
    },
    Known {
        name: "mnli_mismatched",
        hub_folder: "mnli_mismatched",
        description: "the same in five other genres, to test on",
        terms: "several, as the authors say; cite Williams et al. 2018",
        labels: NLI,
        form: Form::Pair("premise", "hypothesis"),
        role: Role::SecondTest { of: "mnli", split: "validation_mismatched" },
        submissions: &[("test", "MNLI-mm")],
        ..GLUE
    },
    Known {
        name: "qnli",
        hub_folder: "qnli",
        description: "does a sentence of Wikipedia answer the question",
        terms: "CC BY-SA 4.0; cite Rajpurkar et al. 2016",
        labels: RTE,
        form: Form::Pair("question", "sentence"),
        submissions: &[("test", "QNLI")],
        ..GLUE
    },
    Known {
        name: "rte",
        hub_folder: "rte",
        description: "does the first text entail the second, news and Wikipedia",
        terms: "not stated; cite Bentivogli et al. 2009",
        labels: RTE,
        form: Form::Pair("sentence1", "sentence2"),
        submissions: &[("test", "RTE")],
        ..GLUE
    },
    Known {
        name: "wnli",
        hub_folder: "wnli",
        description: "does a sentence follow from one with a pronoun",
        terms: "CC BY 4.0; cite Levesque et al. 2012",
        allows: Terms::Open,
        labels: &["not_entailment", "entailment"],
        form: Form::Pair("sentence1", "sentence2"),
        submissions: &[("test", "WNLI")],
        written: Written::Index,
        ..GLUE
    },
    Known {
        name: "ax",
        hub_folder: "ax",
        description: "diagnostic pairs for models of `mnli`; all labels are hidden",
        terms: "not stated; cite Wang et al. 2019",
        labels: NLI,
        form: Form::Pair("premise", "hypothesis"),
        scores: &[Score::Matthews],
        reported: "",
        role: Role::Diagnostic("mnli"),
        submissions: &[("test", "AX")],
        ..GLUE
    },
    Known {
        name: "super_glue/boolq",
        hub_folder: "boolq",
        description: "questions with yes or no for an answer, and a passage of Wikipedia",
        terms: "CC BY-SA 3.0; cite Clark et al. 2019",
        labels: &["false", "true"],
        form: Form::Pair("question", "passage"),
        submissions: &[("test", "BoolQ")],
        written: Written::Truth,
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/cb",
        hub_folder: "cb",
        description: "is the writer of the premise committed to the hypothesis",
        terms: "as the authors say; cite de Marneffe et al. 2019",
        labels: &["entailment", "contradiction", "neutral"],
        form: Form::Pair("premise", "hypothesis"),
        scores: &[Score::MacroF1, Score::Accuracy],
        submissions: &[("test", "CB")],
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/copa",
        hub_folder: "copa",
        description: "which of two sentences is the cause, or the effect, of a third",
        terms: "BSD 2-Clause; cite Roemmele et al. 2011",
        allows: Terms::Open,
        labels: &["wrong", "right"],
        form: Form::Choices,
        scores: &[Score::Choices],
        submissions: &[("test", "COPA")],
        written: Written::Choice,
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/multirc",
        hub_folder: "multirc",
        description: "is this an answer to the question about the paragraph",
        terms: "as the authors say; cite Khashabi et al. 2018",
        labels: &["false", "true"],
        form: Form::Answers,
        scores: &[Score::F1, Score::ExactMatch],
        submissions: &[("test", "MultiRC")],
        written: Written::Questions,
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/wic",
        hub_folder: "wic",
        description: "has a word, marked by `*`, one meaning in two sentences",
        terms: "CC BY-NC 4.0; cite Pilehvar and Camacho-Collados 2019",
        allows: Terms::NonCommercial,
        labels: &["false", "true"],
        form: Form::MarkedWord,
        submissions: &[("test", "WiC")],
        written: Written::Truth,
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/rte",
        hub_folder: "rte",
        description: "does the premise entail the hypothesis, news and Wikipedia",
        terms: "not stated; cite Bentivogli et al. 2009",
        labels: RTE,
        form: Form::Pair("premise", "hypothesis"),
        submissions: &[("test", "RTE")],
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/axb",
        hub_folder: "axb",
        description: "diagnostic pairs for models of `rte`, to test on",
        terms: "not stated; cite Wang et al. 2019",
        labels: RTE,
        form: Form::Pair("sentence1", "sentence2"),
        scores: &[Score::Matthews],
        role: Role::Diagnostic("super_glue/rte"),
        submissions: &[("test", "AX-b")],
        ..SUPER_GLUE
    },
    Known {
        name: "super_glue/axg",
        hub_folder: "axg",
        description: "the same about pronouns, each with a woman and a man, to test on",
        terms: "MIT; cite Rudinger et al. 2018",
        allows: Terms::Open,
        labels: RTE,
        form: Form::Pair("premise", "hypothesis"),
        scores: &[Score::Parity, Score::Accuracy],
        role: Role::Diagnostic("super_glue/rte"),
        submissions: &[("test", "AX-g")],
        ..SUPER_GLUE
    },
];
