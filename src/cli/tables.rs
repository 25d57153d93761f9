//! Flags of the commands that read tables: they override keys of `[data]`.

use clap::Args;

use crate::data::Overrides;
use crate::data::table::{Header, Quoting};

/// Flags about the columns of a table and how it is written.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Tables")]
pub struct TableFlags {
    /// Column of the text (data.text_column) [default: the model's, else detected]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Column of the second text of a pair (data.text_pair_column)
    #[arg(long, value_name = "NAME")]
    text_pair_column: Option<String>,
    /// Column of the label (data.label_column)
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Other names for labels, such as neg=negative,pos=positive (data.label_map)
    #[arg(long, value_name = "FROM=TO", value_delimiter = ',', value_parser = renaming)]
    label_map: Vec<(String, String)>,
    /// Encoding of text files, such as windows-1252 (data.encoding) [default: utf-8]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// What separates fields, or tab (data.delimiter) [default: found out]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// How fields are quoted: auto, double, backslash or none (data.quoting)
    #[arg(long, value_name = "HOW", value_parser = quoting)]
    quoting: Option<Quoting>,
    /// Whether the first line has the names of the columns: auto, yes or no (data.header)
    #[arg(long, value_name = "WHETHER", value_parser = header)]
    header: Option<Header>,
}

impl TableFlags {
    /// Those that are given.
    pub fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--text-column", self.text_column.is_some()),
            ("--text-pair-column", self.text_pair_column.is_some()),
            ("--label-column", self.label_column.is_some()),
            ("--label-map", !self.label_map.is_empty()),
            ("--encoding", self.encoding.is_some()),
            ("--delimiter", self.delimiter.is_some()),
            ("--quoting", self.quoting.is_some()),
            ("--header", self.header.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// What they override.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            text_column: self.text_column.clone(),
            text_pair_column: self.text_pair_column.clone(),
            label_column: self.label_column.clone(),
            label_map: self.label_map.iter().cloned().collect(),
            encoding: self.encoding.clone(),
            delimiter: self.delimiter.clone(),
            quoting: self.quoting,
            header: self.header,
        }
    }
}

fn renaming(text: &str) -> Result<(String, String), String> {
    let (from, to) = text.split_once('=').ok_or("expected FROM=TO, such as neg=negative")?;
    let (from, to) = (from.trim(), to.trim());
    if from.is_empty() || to.is_empty() {
        return Err("expected FROM=TO, such as neg=negative".to_owned());
    }
    Ok((from.to_owned(), to.to_owned()))
}

fn quoting(text: &str) -> Result<Quoting, String> {
    match text {
        "auto" => Ok(Quoting::Auto),
        "double" => Ok(Quoting::Double),
        "backslash" => Ok(Quoting::Backslash),
        "none" => Ok(Quoting::None),
        _ => Err("expected auto, double, backslash or none".to_owned()),
    }
}

fn header(text: &str) -> Result<Header, String> {
    match text {
        "auto" => Ok(Header::Auto),
        "yes" => Ok(Header::Yes),
        "no" => Ok(Header::No),
        _ => Err("expected auto, yes or no".to_owned()),
    }
}
