//! The data sets that are known by name: one row each.

mod form;
mod suites;

pub use self::form::Form;
pub use self::suites::{Role, Score, Suite, Written};

/// A known data set.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Short name, and folder under `BAYES_DATA_DIR`.
    pub name: &'static str,
    /// Id on the Hub; empty for what is built in.
    pub hub_id: &'static str,
    /// Folder of the Hub repository that holds the files; empty for its root.
    pub hub_folder: &'static str,
    pub description: &'static str,
    pub terms: &'static str,
    pub allows: Terms,
    /// Names of integer labels, where no `labels.json` says otherwise; empty where only the file
    /// can say.
    pub labels: &'static [&'static str],
    /// How its columns become texts and labels.
    pub form: Form,
    /// The suite of benchmarks that it is a task of.
    pub suite: Option<Suite>,
    /// What it is there.
    pub role: Role,
    /// What the suite counts: its score of the task is their mean.
    pub scores: &'static [Score],
    /// Splits whose answers the server of the suite takes, and what their files are called, without the ending.
    pub submissions: &'static [(&'static str, &'static str)],
    /// How the server takes an answer.
    pub written: Written,
    /// The split that takes the place of a test split whose labels are hidden: published figures are given of it.
    /// Empty where there are labels.
    pub reported: &'static str,
}

/// A data set of texts that is a task of no suite.
const PLAIN: Known = Known {
    name: "",
    hub_id: "",
    hub_folder: "",
    description: "",
    terms: "",
    allows: Terms::Unknown,
    labels: &[],
    form: Form::Plain,
    suite: None,
    role: Role::Own,
    scores: &[],
    submissions: &[],
    written: Written::Name,
    reported: "",
};

/// What the terms of a data set allow, as far as they are known, in the order in which they decide over what is made
/// from several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Terms {
    /// Any use, if at most the authors are named.
    Open,
    /// The authors have stated none.
    Unknown,
    /// Research or other use that earns nothing.
    NonCommercial,
}

/// Those that are a task of no suite.
const OWN: &[Known] = &[
    Known {
        name: "reviews",
        hub_id: "",
        hub_folder: "",
        description: "short generated film reviews with known p(label | text)",
        terms: "written for this project, MIT OR Apache-2.0",
        allows: Terms::Open,
        labels: &["negative", "positive"],
        ..PLAIN
    },
    Known {
        name: "imdb",
        hub_id: "stanfordnlp/imdb",
        hub_folder: "plain_text",
        description: "50,000 film reviews, positive or negative",
        terms: "not stated by the authors; cite Maas et al. 2011",
        allows: Terms::Unknown,
        labels: &["negative", "positive"],
        ..PLAIN
    },
    Known {
        name: "clinc_oos",
        hub_id: "clinc/clinc_oos",
        hub_folder: "plus",
        description: "queries to an assistant, 150 intents and out of scope (`oos`)",
        terms: "CC BY 3.0; cite Larson et al. 2019",
        allows: Terms::Open,
        labels: &[],
        ..PLAIN
    },
    Known {
        name: "ag_news",
        hub_id: "fancyzhx/ag_news",
        hub_folder: "data",
        description: "news, four topics",
        terms: "non-commercial research; cite Zhang et al. 2015",
        allows: Terms::NonCommercial,
        labels: &["World", "Sports", "Business", "Sci/Tech"],
        ..PLAIN
    },
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Known> {
    OWN.iter().chain(suites::TASKS)
}

/// The data set of this name or Hub id; `glue/` before the name of a task of GLUE may be left out. An id that several
/// share belongs to none of them.
pub fn find(name: &str) -> Option<&'static Known> {
    let plain = name.strip_prefix("glue/").unwrap_or(name);
    let is_called = |known: &&Known| match known.suite {
        Some(Suite::Glue) => known.name == plain,
        _ => known.name == name,
    };
    // What is built in has no id.
    let has_id = |known: &&Known| !known.hub_id.is_empty() && known.hub_id == name;
    let mut by_id = all().filter(has_id);
    let by_id = by_id.next().filter(|_| by_id.next().is_none());
    all().find(is_called).or(by_id)
}

/// Whether a name begins with that of a suite, as names of its tasks may.
pub fn is_of_suite(name: &str) -> bool {
    ["glue/", "super_glue/"].iter().any(|suite| name.starts_with(suite))
}

impl Known {
    /// Whether its Hub repository has other data sets too.
    pub fn shares_repository(&self) -> bool {
        all().filter(|known| known.hub_id == self.hub_id).count() > 1
    }
}
