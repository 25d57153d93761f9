//! Flags of `bayes predict` that would have no effect.

use anyhow::{Result, bail};

use super::{Options, Stdin};
use crate::data::DataConfig;
use crate::data::table::Format;

impl Options {
    /// Refuses what says nothing of this input or output. `json` is the flag of that name.
    ///
    /// # Errors
    /// A flag has no effect, the output has no format, or a key of the tables cannot be.
    pub(super) fn check(&self, json: bool) -> Result<()> {
        let given = self.tables.given();
        if given.contains(&"--label-map") {
            bail!("`--label-map` has no effect here: texts are answered, and no labels are read");
        }
        if !self.texts.is_empty() {
            let format = self.format.map(|_| "--format");
            if let Some(flag) = format.into_iter().chain(given).next() {
                bail!(
                    "`{flag}` says what a table or standard input holds, and the texts stand on the \
                     command line: leave one of both out"
                );
            }
        } else if let Some(path) = &self.input {
            if self.format.is_some() {
                bail!(
                    "`--format` says what standard input holds: what `{}` holds, its name says, so leave \
                     `--format` out",
                    path.display()
                );
            }
        } else if self.is_plain() {
            // Lines have an encoding and nothing else.
            if let Some(flag) = given.into_iter().find(|&flag| flag != "--encoding") {
                bail!(
                    "`{flag}` is about tables, and standard input is read as one text a line: add \
                     `--format csv` (`tsv`, `jsonl`) if it is a table, or leave `{flag}` out"
                );
            }
        }
        self.check_tables()?;
        let Some(path) = &self.output else { return Ok(()) };
        Format::of_output(path)?;
        if json {
            bail!(
                "`--json` is about standard output, and the answers go to `{}`: leave it out, and name \
                 the file `.jsonl` for objects",
                path.display()
            );
        }
        Ok(())
    }

    fn check_tables(&self) -> Result<()> {
        let mut config = DataConfig::default();
        self.tables.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
        let reading = config.reading();
        let (format, name) = match (&self.input, self.format()) {
            (Some(path), _) => (Format::of(path)?, format!("`{}`", path.display())),
            (None, Stdin::Lines) => return Ok(()),
            (None, Stdin::Csv) => (Format::Csv, "standard input".to_owned()),
            (None, Stdin::Tsv) => (Format::Tsv, "standard input".to_owned()),
            (None, Stdin::Jsonl) => (Format::JsonLines, "standard input".to_owned()),
        };
        reading.check_for(format, &name).map_err(anyhow::Error::msg)
    }
}
