//! The keys of `[data]` that the command at hand takes as flags. What reads tables knows the keys alone; a person
//! who reads its messages may have no file to write them in.

use std::sync::OnceLock;

use clap::Command;

use crate::data::Overrides;

/// Keys that are flags of the running command.
static KEYS: OnceLock<Vec<String>> = OnceLock::new();

/// Looks up the flags of a command, once.
pub(super) fn of_command(whole: &Command, name: &[&str]) {
    let _ = KEYS.set(keys_of(whole, name));
}

/// Adds the flag to every key that the running command takes as one.
pub(super) fn with_flags(text: &str) -> String {
    named(text, KEYS.get().map_or(&[], Vec::as_slice))
}

/// The keys of `[data]` that a command, given by its name and that of its parents, has flags for.
fn keys_of(whole: &Command, name: &[&str]) -> Vec<String> {
    let command = name.iter().try_fold(whole, |command, name| command.find_subcommand(name));
    let has = |key: &&str| {
        let mut flags = command.into_iter().flat_map(Command::get_arguments);
        flags.any(|flag| flag.get_id() == *key && !flag.is_hide_set())
    };
    let all = Overrides::KEYS.into_iter().chain(["label_map"]);
    all.filter(has).map(str::to_owned).collect()
}

fn named(text: &str, keys: &[String]) -> String {
    let mut text = text.to_owned();
    for key in keys {
        let (key, flag) = (format!("`data.{key}`"), format!(" (`--{}", key.replace('_', "-")));
        let mut parts = text.split(&key);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // With a value or without, the flag stands there already.
            let own = if part.starts_with(&flag) { String::new() } else { format!("{flag}`)") };
            whole += &format!("{key}{own}{part}");
        }
        text = whole;
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    #[test]
    fn a_key_stands_with_the_flag_that_the_command_has() {
        let keys = ["text_column", "label_map"].map(str::to_owned);
        for (text, expected) in [
            ("with `data.text_column`", "with `data.text_column` (`--text-column`)"),
            (
                "set `data.text_column` (`--text-column`) to",
                "set `data.text_column` (`--text-column`) to",
            ),
            (
                "`data.encoding` or `data.label_map`",
                "`data.encoding` or `data.label_map` (`--label-map`)",
            ),
            (
                "with `data.label_map` (`--label-map 0=x`)",
                "with `data.label_map` (`--label-map 0=x`)",
            ),
            ("data.text_column", "data.text_column"),
        ] {
            assert_eq!(named(text, &keys), expected);
        }
    }

    #[test]
    fn every_command_that_reads_labelled_rows_has_a_flag_for_every_key_of_their_tables() {
        let whole = Cli::command();
        let labelled: [&[&str]; 7] = [
            &["train"],
            &["compare"],
            &["fit"],
            &["eval"],
            &["bench"],
            &["dataset", "info"],
            &["dataset", "prepare"],
        ];
        for name in labelled {
            assert_eq!(keys_of(&whole, name).len(), Overrides::KEYS.len() + 1, "{name:?}");
        }
        // One reads texts alone, and one shows rows as they are.
        assert_eq!(keys_of(&whole, &["predict"]), Overrides::KEYS);
        let written = ["encoding", "delimiter", "quoting", "header"];
        assert_eq!(keys_of(&whole, &["dataset", "head"]), written);
        // Only where texts of no class are read are there flags for them.
        for command in whole.get_subcommands() {
            let has = |id: &str| command.get_arguments().any(|flag| flag.get_id() == id);
            assert_eq!(has("ood"), has("ood_set"), "{}", command.get_name());
        }
    }
}
