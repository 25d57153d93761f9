//! Flags of the commands that take labels of the user's own.

use clap::Args;

use super::quoted::parts;
use crate::artifact::ZeroShotLabels;

/// Labels that the model was never trained on.
#[derive(Clone, Debug, Default, Args)]
pub struct ZeroShotFlags {
    /// Labels of your own, for a classifier of natural language inference (zero-shot): each text is
    /// asked whether it entails each label. Separate them by commas, and put a label that contains
    /// one in double quotes
    #[arg(long, alias = "zero-shot-labels", value_name = "LABELS", value_parser = named)]
    labels: Vec<Named>,
    /// How a label becomes a sentence, with {} in its place [default: "This text is about {}."]
    #[arg(long, value_name = "TEXT", requires = "labels")]
    template: Option<String>,
}

impl ZeroShotFlags {
    pub fn labels(&self) -> Option<ZeroShotLabels> {
        labels_of(&self.labels, self.template.as_deref())
    }
}

/// Labels of one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(Vec<String>);

/// `sports,"art, music"`: a label in double quotes may hold a comma.
pub fn named(text: &str) -> Result<Named, String> {
    let parts = parts(text, &[',']).ok_or_else(|| {
        "a label that begins with a double quote must end with one, with `\"\"` for a quote in it"
            .to_owned()
    })?;
    Ok(Named(parts.into_iter().map(|part| part.text).collect()))
}

/// The labels that were named, if any.
pub fn labels_of(labels: &[Named], template: Option<&str>) -> Option<ZeroShotLabels> {
    let template = template.map(str::to_owned);
    let labels: Vec<String> = labels.iter().flat_map(|Named(labels)| labels.clone()).collect();
    (!labels.is_empty()).then_some(ZeroShotLabels { labels, template })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_with_a_comma_stands_in_quotes() {
        for (text, labels) in [
            ("sports,music", &["sports", "music"][..]),
            ("sports, music ,art", &["sports", "music", "art"]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("c, \"say \"\"no\"\", please\"", &["c", "say \"no\", please"]),
            ("5\" screen,5=6", &["5\" screen", "5=6"]),
            ("a,,b", &["a", "", "b"]),
            ("a", &["a"]),
        ] {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            assert_eq!(named(text), Ok(Named(labels)), "{text}");
        }
        for text in ["\"a,b", "\"a\"b,c"] {
            assert!(named(text).unwrap_err().contains("double quote"), "{text}");
        }
    }

    #[test]
    fn every_command_reads_labels_in_one_way() {
        use clap::Parser;
        for command in [&["predict"][..], &["eval"], &["serve"], &["fit", "--model", "m"]] {
            for flag in ["--labels", "--zero-shot-labels"] {
                let parse = |labels| {
                    let all = ["bayes"].iter().chain(command).chain([&flag, &labels]);
                    super::super::Cli::try_parse_from(all)
                };
                let options = parse("\"a,b\",c").unwrap();
                assert!(format!("{options:?}").contains(r#"Named(["a,b", "c"])"#), "{command:?}");
                assert!(parse("\"a").is_err(), "{command:?}");
            }
        }
    }
}
