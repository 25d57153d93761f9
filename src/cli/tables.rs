//! Flags of the commands that read tables: they override keys of `[data]`.

use clap::Args;

use crate::data::Overrides;
use crate::data::table::{Header, Quoting};

/// Flags about the columns of a table and how it is written.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Data options")]
pub struct TableFlags {
    /// Name of the text column (data.text_column) [default: the model's setting if there is a model,
    /// otherwise detected]
    #[arg(long, value_name = "NAME")]
    text_column: Option<String>,
    /// Name of the column with the second text of each pair (data.text_pair_column)
    #[arg(long, value_name = "NAME")]
    text_pair_column: Option<String>,
    /// Name of the label column (data.label_column)
    #[arg(long, value_name = "NAME")]
    label_column: Option<String>,
    /// Rename labels, for example neg=negative,pos=positive (data.label_map)
    #[arg(long, value_name = "FROM=TO", value_parser = renamings)]
    label_map: Vec<Renamings>,
    /// Encoding of text files, such as windows-1252 (data.encoding) [default: utf-8]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Field delimiter: one character, or tab (data.delimiter) [default: detected]
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// How fields are quoted: auto, double, backslash or none (data.quoting)
    #[arg(long, value_name = "STYLE", value_parser = quoting)]
    quoting: Option<Quoting>,
    /// Whether the first line contains the column names: auto, yes or no (data.header)
    #[arg(long, value_name = "auto|yes|no", value_parser = header)]
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

    pub fn overrides(&self) -> Overrides {
        Overrides {
            text_column: self.text_column.clone(),
            text_pair_column: self.text_pair_column.clone(),
            label_column: self.label_column.clone(),
            label_map: self.label_map.iter().flat_map(|Renamings(all)| all.clone()).collect(),
            encoding: self.encoding.clone(),
            delimiter: self.delimiter.clone(),
            quoting: self.quoting,
            header: self.header,
        }
    }
}

/// Labels and their new names.
#[derive(Clone, Debug, PartialEq)]
struct Renamings(Vec<(String, String)>);

/// `a=b,"c, d"="e=f"`: a name in double quotes may hold what else would divide.
fn renamings(text: &str) -> Result<Renamings, String> {
    let mut pairs: Vec<Vec<String>> = vec![vec![String::new()]];
    let (mut quoted, mut characters) = (false, text.chars().peekable());
    // What was in quotes stays as it is.
    let (mut closed, expected) = (false, || "expected FROM=TO, such as neg=negative".to_owned());
    while let Some(character) = characters.next() {
        let sides = pairs.last_mut().expect("there is one");
        let side = sides.last_mut().expect("there is one");
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => side.extend(characters.next()),
            '"' if quoted => (quoted, closed) = (false, true),
            _ if quoted => side.push(character),
            '"' if side.trim().is_empty() && !closed => {
                side.clear();
                quoted = true;
            }
            ',' | '=' => {
                if !closed {
                    *side = side.trim().to_owned();
                }
                closed = false;
                match character {
                    ',' => pairs.push(vec![String::new()]),
                    _ => sides.push(String::new()),
                }
            }
            ' ' if closed => {}
            _ if closed => return Err(expected()),
            _ => side.push(character),
        }
    }
    if let Some(side) = pairs.last_mut().and_then(|sides| sides.last_mut()).filter(|_| !closed) {
        *side = side.trim().to_owned();
    }
    let pair = |sides: Vec<String>| match <[String; 2]>::try_from(sides) {
        Ok([from, to]) if !quoted && !from.is_empty() && !to.is_empty() => Ok((from, to)),
        Err(sides) if sides.len() > 2 => Err(format!(
            "`{}` contains several `=`; put the label that contains one in double quotes, for \
             example '\"a=b\"=c'",
            sides.join("=")
        )),
        _ => Err(expected()),
    };
    Ok(Renamings(pairs.into_iter().map(pair).collect::<Result<_, _>>()?))
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

#[cfg(test)]
mod tests {
    use super::*;

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
