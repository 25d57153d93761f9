//! The model card: a template whose placeholders are filled from the model folder. Figures are those of
//! the evaluation file; nobody writes them by hand.
//!
//! | placeholder | what it becomes |
//! |---|---|
//! | `front_matter` | the YAML that the Hub reads; put first where a template does not begin with its own |
//! | `notice` | the terms of the data and of the weights, as a quotation; put first where a template leaves it out |
//! | `title`, `repo`, `dataset`, `labels` | names |
//! | `description`, `posterior`, `intended_uses`, `limitations`, `training` | paragraphs |
//! | `results`, `uncertainty`, `reliability` | tables, and the diagram |
//! | `use_with_transformers`, `use_with_bayes` | snippets that run |
//! | `citation` | how to cite the model and its data |
//! | `rows`, `accuracy`, `f1`, `mcc`, `nll`, `brier`, `ece`, `ece_floor`, `mean_confidence`, `mean_uncertainty` | single figures |
//! | `bayes_version` | of the tool that made the model |

mod figures;
mod front_matter;
pub(super) mod numbers;
mod posterior;
mod template;
mod terms;
mod training;
mod usage;
mod words;
mod yaml;

pub use figures::RELIABILITY;

use super::{PublishConfig, PublishError, Source};
use crate::data::Known;
use crate::metrics::HEADLINE;
use crate::numbers::grouped;
use numbers::{code, four};

/// What a template may ask for, besides the headline metrics by their keys.
pub const PLACEHOLDERS: [&str; 20] = [
    "front_matter",
    "notice",
    "title",
    "repo",
    "dataset",
    "labels",
    "description",
    "posterior",
    "intended_uses",
    "limitations",
    "training",
    "results",
    "uncertainty",
    "reliability",
    "use_with_transformers",
    "use_with_bayes",
    "citation",
    "rows",
    "ece_floor",
    "bayes_version",
];

/// A card to be written.
#[derive(Clone, Copy, Debug)]
pub struct Card<'a> {
    pub source: &'a Source,
    pub config: &'a PublishConfig,
    /// Where it will be, `OWNER/NAME`.
    pub repo: Option<&'a str>,
}

impl Card<'_> {
    /// The card as Markdown, by a template of one's own or the usual one.
    ///
    /// # Errors
    /// The template asks for something that does not exist.
    pub fn render(&self, own: Option<&str>) -> Result<String, PublishError> {
        let written = own.unwrap_or(template::USUAL).trim_start_matches('\u{feff}');
        let mut whole = written.to_owned();
        if !template::has(&whole, "notice") {
            let notice = "{{notice}}\n\n";
            let place = body(&whole);
            whole.insert_str(place, notice);
        }
        if !template::has(&whole, "front_matter") && !whole.starts_with("---\n") {
            whole.insert_str(0, "{{front_matter}}\n");
        }
        let figures = HEADLINE.iter().map(|metric| metric.key);
        let names: Vec<&str> = PLACEHOLDERS.into_iter().chain(figures).collect();
        template::fill(&whole, &names, &|name| self.value(name))
    }

    fn value(&self, name: &str) -> Option<String> {
        let summary = self.source.evaluation.as_ref().map(|one| &one.summary);
        let figure = |value: Option<f64>| Some(value.map_or("not measured".to_owned(), four));
        let manifest = &self.source.artifact.manifest;
        match name {
            "front_matter" => Some(self.front_matter()),
            "notice" => Some(self.notice()),
            "title" => Some(self.title()),
            "repo" => Some(self.repo.unwrap_or("OWNER/NAME").to_owned()),
            "dataset" => Some(self.source.dataset_name()),
            "labels" => {
                let labels: Vec<String> = manifest.labels.iter().map(|label| code(label)).collect();
                Some(labels.join(", "))
            }
            "description" => Some(self.description()),
            "posterior" => Some(self.posterior()),
            "intended_uses" => Some(self.intended_uses()),
            "limitations" => Some(self.limitations()),
            "training" => Some(self.training()),
            "results" => Some(self.results()),
            "uncertainty" => Some(self.uncertainty()),
            "reliability" => Some(self.reliability()),
            "use_with_transformers" => Some(self.with_transformers()),
            "use_with_bayes" => Some(self.with_bayes()),
            "citation" => Some(self.citation()),
            "rows" => Some(summary.map_or("0".to_owned(), |one| grouped(one.rows))),
            "ece_floor" => figure(summary.map(|one| one.ece.floor)),
            "bayes_version" => Some(manifest.bayes.clone()),
            key => {
                let metric = HEADLINE.iter().find(|metric| metric.key == key)?;
                figure(summary.and_then(|one| metric.read(one)).map(|found| found.value))
            }
        }
    }

    /// The repository's name, else the experiment's.
    fn title(&self) -> String {
        let name = self.repo.and_then(|repo| repo.split_once('/')).map(|(_, name)| name);
        name.unwrap_or(&self.source.artifact.manifest.name).to_owned()
    }

    fn citation(&self) -> String {
        let own = match self.config.citation.trim() {
            "" => {
                let authors = match self.config.authors.as_slice() {
                    [] => self
                        .repo
                        .and_then(|repo| repo.split_once('/'))
                        .map_or("", |(owner, _)| owner)
                        .to_owned(),
                    authors => authors.join(" and "),
                };
                let author = if authors.is_empty() {
                    String::new()
                } else {
                    format!("  author = {{{authors}}},\n")
                };
                let place = self.repo.map_or(String::new(), |repo| format!(", model `{repo}`"));
                format!(
                    "```bibtex\n@misc{{{},\n{author}  title = {{{}}},\n  note = {{Hugging Face Hub{}, made \
                     with bayes {}}}\n}}\n```",
                    self.title().replace([' ', ','], "-"),
                    self.title(),
                    place.replace('`', ""),
                    self.source.artifact.manifest.bayes
                )
            }
            own => own.to_owned(),
        };
        let cite = |terms: &'static str| terms.split_once("cite ").map(|(_, whom)| whom);
        let known = self.source.known().into_iter();
        let all = known.chain(self.source.others().into_iter().map(|(_, known)| known));
        let of = |known: &Known| Some(format!("{}, {}", cite(known.terms)?, code(known.name)));
        let all: Vec<String> = all.filter_map(of).collect();
        let data = match all.as_slice() {
            [] => String::new(),
            all => format!("\n\nThe data: {}.", all.join("; ")),
        };
        format!("{own}{data}\n")
    }
}

/// Where the text begins that stands below a template's own front matter or its placeholder.
fn body(template: &str) -> usize {
    if let Some(rest) = template.strip_prefix("---\n")
        && let Some(end) = rest.find("\n---\n")
    {
        return "---\n".len() + end + "\n---\n".len();
    }
    let behind =
        |place: usize| template[place..].find('\n').map_or(template.len(), |line| place + line + 1);
    let placeholder = template.match_indices("{{").find(|(place, _)| {
        template[place + 2..]
            .split_once("}}")
            .is_some_and(|(name, _)| name.trim() == "front_matter")
    });
    placeholder.map_or(0, |(place, _)| behind(place))
}
