//! Flags of the commands that read tables: they override keys of `[data]`.

use anyhow::{Result, anyhow};
use clap::Args;

use super::quoted::{Part, parts};
use crate::data::Overrides;
use crate::data::table::{Header, Quoting};
use crate::experiment::check_repeated;

/// Where these flags stand in the help.
const HEADING: &str = "Data options";

/// Flags about the columns of a table and how it is written.
#[derive(Clone, Debug, Default, Args)]
pub struct TableFlags {
    #[command(flatten)]
    columns: ColumnFlags,
    #[command(flatten)]
    files: FileFlags,
}

/// Flags about the columns of a table.
#[derive(Clone, Debug, Default, Args)]
struct ColumnFlags {
    /// Name of the text column (data.text_column) [default: detected; with --model, the column that the
    /// model was trained on if there is one of that name]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    text_column: Option<String>,
    /// Name of the column with the second text of each pair (data.text_pair_column)
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    text_pair_column: Option<String>,
    /// Name of the label column (data.label_column)
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    label_column: Option<String>,
    /// Rename labels, for example neg=negative,pos=positive (data.label_map)
    #[arg(long, value_name = "FROM=TO", value_parser = renamings, help_heading = HEADING)]
    #[arg(allow_hyphen_values = true)]
    label_map: Vec<Renamings>,
}

/// Flags about how a table is written.
#[derive(Clone, Debug, Default, Args)]
pub struct FileFlags {
    /// Encoding of text files, such as windows-1252 (data.encoding) [default: utf-8]
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    encoding: Option<String>,
    /// Field delimiter: one character, or tab (data.delimiter) [default: detected]
    #[arg(long, value_name = "CHARACTER", help_heading = HEADING)]
    delimiter: Option<String>,
    /// How fields are quoted: auto, double, backslash or none (data.quoting)
    #[arg(long, value_name = "STYLE", help_heading = HEADING)]
    quoting: Option<Quoting>,
    /// Whether the first line contains the column names: auto, yes or no (data.header)
    #[arg(long, value_name = "auto|yes|no", help_heading = HEADING)]
    header: Option<Header>,
}

/// Texts that belong to none of the classes, and how their tables are read.
#[derive(Clone, Debug, Default, Args)]
pub struct OodFlags {
    /// Out-of-distribution texts, which belong to none of the classes: a file, folder, built-in
    /// data set name or Hub id, or `other-topics` for generated texts
    #[arg(long, value_name = "DATA", num_args = 1..)]
    pub ood: Vec<String>,
    /// Set how the tables of --ood are read, such as data.text_column=body or
    /// data.encoding=windows-1252
    #[arg(long, value_name = "KEY=VALUE", requires = "ood", value_parser = of_ood)]
    ood_set: Vec<String>,
}

impl OodFlags {
    /// How the tables of `--ood` are read.
    ///
    /// # Errors
    /// A key has two values.
    pub fn overrides(&self) -> Result<Overrides> {
        check_repeated(&self.ood_set).map_err(|message| anyhow!("`--ood-set`: {message}"))?;
        let mut overrides = Overrides::default();
        for setting in &self.ood_set {
            overrides.set(setting).expect("it was checked when it was read");
        }
        Ok(overrides)
    }
}

fn of_ood(setting: &str) -> Result<String, String> {
    Overrides::default().set(setting).map(|()| setting.to_owned())
}

impl FileFlags {
    pub fn overrides(&self) -> Overrides {
        Overrides {
            encoding: self.encoding.clone(),
            delimiter: self.delimiter.clone(),
            quoting: self.quoting,
            header: self.header,
            ..Overrides::default()
        }
    }
}

impl TableFlags {
    /// Those that are given.
    pub fn given(&self) -> Vec<&'static str> {
        let Self { columns, files } = self;
        let all = [
            ("--text-column", columns.text_column.is_some()),
            ("--text-pair-column", columns.text_pair_column.is_some()),
            ("--label-column", columns.label_column.is_some()),
            ("--label-map", !columns.label_map.is_empty()),
            ("--encoding", files.encoding.is_some()),
            ("--delimiter", files.delimiter.is_some()),
            ("--quoting", files.quoting.is_some()),
            ("--header", files.header.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    pub fn overrides(&self) -> Overrides {
        let ColumnFlags { text_column, text_pair_column, label_column, label_map } = &self.columns;
        Overrides {
            text_column: text_column.clone(),
            text_pair_column: text_pair_column.clone(),
            label_column: label_column.clone(),
            label_map: label_map.iter().flat_map(|Renamings(all)| all.clone()).collect(),
            ..self.files.overrides()
        }
    }
}

/// Labels and their new names.
#[derive(Clone, Debug, PartialEq)]
struct Renamings(Vec<(String, String)>);

/// `a=b,"c, d"="e=f"`: a name in double quotes may hold what else would divide.
fn renamings(text: &str) -> Result<Renamings, String> {
    let expected = || "expected FROM=TO, such as neg=negative".to_owned();
    let mut pairs = vec![Vec::new()];
    for Part { text, divider } in parts(text, &[',', '=']).ok_or_else(expected)? {
        pairs.last_mut().expect("there is one").push(text);
        if divider == Some(',') {
            pairs.push(Vec::new());
        }
    }
    let pair = |sides: Vec<String>| match <[String; 2]>::try_from(sides) {
        Ok([from, to]) if !from.is_empty() && !to.is_empty() => Ok((from, to)),
        Err(sides) if sides.len() > 2 => Err(format!(
            "`{}` contains several `=`; put the label that contains one in double quotes, for \
             example '\"a=b\"=c'",
            sides.join("=")
        )),
        _ => Err(expected()),
    };
    Ok(Renamings(pairs.into_iter().map(pair).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_texts_of_no_class_has_one_value() {
        let overrides = |settings: &[&str]| {
            let ood_set = settings.iter().map(|&one| one.to_owned()).collect();
            let flags = OodFlags { ood: Vec::new(), ood_set };
            flags.overrides().map_err(|error| error.to_string())
        };
        let message = overrides(&["data.text_column=a", "data.text_column=b"]).unwrap_err();
        assert!(
            message.contains("`--ood-set`: `data.text_column` is set twice, to `a` and to `b`")
        );
        let found = overrides(&["data.text_column=a", "data.text_column = a"]).unwrap();
        assert_eq!(found.text_column.as_deref(), Some("a"));
    }

    #[test]
    fn labels_may_begin_with_a_minus() {
        let parse = |map: &[&str]| {
            use clap::Parser;
            let all = ["bayes", "eval", "--label-map"].iter().chain(map);
            super::super::Cli::try_parse_from(all).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&["-1=0,0=1"]), Ok(()));
        assert_eq!(parse(&["-x=y", "--label-map", "--=z"]), Ok(()));
        assert!(parse(&["--json"]).unwrap_err().contains("expected FROM=TO"));
    }

    #[test]
    fn labels_are_renamed_and_those_with_signs_stand_in_quotes() {
        for (text, pairs) in [
            ("neg=negative,pos=positive", &[("neg", "negative"), ("pos", "positive")][..]),
            (" a = b ,c=d e", &[("a", "b"), ("c", "d e")]),
            ("\"a=b\"=x", &[("a=b", "x")]),
            ("a=\"b, c\", \"d \" = e", &[("a", "b, c"), ("d ", "e")]),
            ("\"say \"\"no\"\"\"=no", &[("say \"no\"", "no")]),
            ("5\" screen=small", &[("5\" screen", "small")]),
        ] {
            let pairs = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
            assert_eq!(renamings(text), Ok(Renamings(pairs.collect())), "{text}");
        }
        for text in ["", "a", "a=", "=b", "a=b,", "\"a=b", "\"a\"b=c", "\"\"=b", "a,b=c"] {
            assert!(renamings(text).unwrap_err().starts_with("expected"), "{text}");
        }
        for text in ["a=b=x", "c=d,a=b=x", "a==b"] {
            assert!(renamings(text).unwrap_err().contains("several `=`"), "{text}");
        }
    }
}
