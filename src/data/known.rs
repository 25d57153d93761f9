//! The data sets that are known by name: one row each.

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
}

/// What the terms of a data set allow, as far as they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Any use, if at most the authors are named.
    Open,
    /// The authors have stated none.
    Unknown,
    /// Research or other use that earns nothing.
    NonCommercial,
}

/// All of them.
pub const KNOWN: &[Known] = &[
    Known {
        name: "reviews",
        hub_id: "",
        hub_folder: "",
        description: "short generated film reviews with known p(label | text)",
        terms: "written for this project, MIT OR Apache-2.0",
        allows: Terms::Open,
        labels: &["negative", "positive"],
    },
    Known {
        name: "imdb",
        hub_id: "stanfordnlp/imdb",
        hub_folder: "plain_text",
        description: "50,000 film reviews, positive or negative",
        terms: "not stated by the authors; cite Maas et al. 2011",
        allows: Terms::Unknown,
        labels: &["negative", "positive"],
    },
    Known {
        name: "sst2",
        hub_id: "nyu-mll/glue",
        hub_folder: "sst2",
        description: "phrases of film reviews, positive or negative",
        terms: "not stated; cite Socher et al. 2013 and Wang et al. 2019",
        allows: Terms::Unknown,
        labels: &["negative", "positive"],
    },
    Known {
        name: "cola",
        hub_id: "nyu-mll/glue",
        hub_folder: "cola",
        description: "sentences, grammatical or not",
        terms: "research use; cite Warstadt et al. 2019",
        allows: Terms::NonCommercial,
        labels: &["unacceptable", "acceptable"],
    },
    Known {
        name: "clinc_oos",
        hub_id: "clinc/clinc_oos",
        hub_folder: "plus",
        description: "queries to an assistant, 150 intents and out of scope (`oos`)",
        terms: "CC BY 3.0; cite Larson et al. 2019",
        allows: Terms::Open,
        labels: &[],
    },
    Known {
        name: "ag_news",
        hub_id: "fancyzhx/ag_news",
        hub_folder: "data",
        description: "news, four topics",
        terms: "non-commercial research; cite Zhang et al. 2015",
        allows: Terms::NonCommercial,
        labels: &["World", "Sports", "Business", "Sci/Tech"],
    },
];

/// The data set of this name or Hub id. An id that several share belongs to none of them.
pub fn find(name: &str) -> Option<&'static Known> {
    // What is built in has no id.
    let is = |known: &&Known| !known.hub_id.is_empty() && known.hub_id == name;
    let by_id: Vec<&Known> = KNOWN.iter().filter(is).collect();
    let by_id = if by_id.len() == 1 { by_id.first().copied() } else { None };
    KNOWN.iter().find(|known| known.name == name).or(by_id)
}
