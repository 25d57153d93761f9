//! Flags of `bayes predict` that would have no effect, or one that nobody meant.

use anyhow::{Result, bail};

use super::{Options, Stdin};
use crate::cli::replace;
use crate::data::DataConfig;
use crate::data::table::Format;
use crate::predict::stream::{is_predictions, is_same_file};

impl Options {
    /// Refuses what says nothing of this input or output. `json` is the flag of that name.
    ///
    /// # Errors
    /// A flag has no effect, the output has no format, or a key of the tables cannot be.
    pub(super) fn check(&self, json: bool) -> Result<()> {
        let given = self.tables.given();
        if given.contains(&"--label-map") {
            bail!("`--label-map` has no effect here: `bayes predict` reads no labels");
        }
        if !self.texts.is_empty() {
            let format = self.format.map(|_| "--format");
            // Those of tables may be about the labelled one.
            let given = given.into_iter().filter(|_| self.select.labelled.is_none());
            if let Some(flag) = format.into_iter().chain(given).next() {
                bail!(
                    "`{flag}` applies to a table or standard input, but you gave texts on the \
                     command line; remove one of the two"
                );
            }
        } else if let Some(path) = &self.input {
            if self.format.is_some() {
                bail!(
                    "`--format` applies to standard input; the name of `{}` determines its format, \
                     so remove `--format`",
                    path.display()
                );
            }
        } else if self.is_plain() && self.select.labelled.is_none() {
            // Lines have an encoding and nothing else.
            if let Some(flag) = given.into_iter().find(|&flag| flag != "--encoding") {
                bail!(
                    "`{flag}` applies to tables, but standard input is read as one text per line; \
                     add `--format csv` (or `tsv`, `jsonl`) if it is a table, or remove `{flag}`"
                );
            }
        }
        self.check_tables()?;
        if let (Some(labelled), Some(output)) = (&self.select.labelled, &self.output)
            && is_same_file(labelled, output)
        {
            bail!(
                "`{}` is also the file of `--labelled`; choose a different output file",
                output.display()
            );
        }
        let Some(path) = &self.output else { return Ok(()) };
        Format::of_output(path)?;
        if json {
            bail!(
                "`--json` applies to standard output, but the predictions go to `{}`; remove \
                 `--json`, and use a `.jsonl` file name to get objects",
                path.display()
            );
        }
        Ok(())
    }

    /// Refuses to replace a file that is none of predictions. That of the input is refused as such.
    ///
    /// # Errors
    /// There is one.
    pub(super) fn check_output(&self) -> Result<()> {
        let Some(path) = &self.output else { return Ok(()) };
        if self.input.as_ref().is_some_and(|input| is_same_file(input, path)) {
            return Ok(());
        }
        replace::check("--output", path, "a file of predictions", is_predictions)
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
