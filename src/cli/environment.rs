//! Variables of the environment that are called like ours.

use std::collections::BTreeSet;

use crate::suggest::nearest;

/// The variable behind `--device`.
pub const DEVICE: &str = "BAYES_DEVICE";
/// The variable behind the `--model` of the server, which other commands read where they get none.
pub const MODEL: &str = "BAYES_MODEL";
/// Whether products of f32 on a GPU may read TF32: `1`.
pub const TF32: &str = "BAYES_TF32";
/// Those that belong to no flag.
const OTHERS: [&str; 7] = [
    "BAYES_API_KEY",
    "BAYES_CACHE_DIR",
    "BAYES_DATA_DIR",
    "BAYES_ALLOW_PLAIN_HTTP_ENDPOINT",
    "BAYES_FEEDBACK_KEY",
    "BAYES_FORWARD_KEY",
    TF32,
];
/// How all of ours begin.
const OURS: &str = "BAYES_";
/// How those begin that Kubernetes sets for a service called `bayes`.
const OF_A_SERVICE: [&str; 2] = ["BAYES_SERVICE_", "BAYES_PORT_"];

/// What to say of the variables that no command reads.
pub fn unknown(cli: &clap::Command) -> Vec<String> {
    let set = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    said(set.collect(), cli)
}

fn said(set: BTreeSet<String>, cli: &clap::Command) -> Vec<String> {
    let mut known = BTreeSet::from(OTHERS.map(str::to_owned));
    of_flags(cli, &mut known);
    let is_unknown = |name: &String| {
        let upper = name.to_uppercase();
        upper.starts_with(OURS)
            && !known.contains(name)
            && !OF_A_SERVICE.iter().any(|start| upper.starts_with(start))
    };
    let names = set.into_iter().filter(is_unknown);
    let warning = |name: String| {
        let upper = name.to_uppercase();
        // They all begin alike.
        let ends = known.iter().filter_map(|known| known.strip_prefix(OURS));
        let hint = match nearest(&upper[OURS.len()..], ends) {
            Some(end) => format!("; did you mean `{OURS}{end}`?"),
            None => "; it has no effect; `bayes serve --help` lists variables".to_owned(),
        };
        format!("no command reads the environment variable `{name}`{hint}")
    };
    names.map(warning).collect()
}

/// The variables of the flags of a command and of those below it.
fn of_flags(command: &clap::Command, known: &mut BTreeSet<String>) {
    let variables = command.get_arguments().filter_map(clap::Arg::get_env);
    known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
    command.get_subcommands().for_each(|below| of_flags(below, known));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn found(names: &[&str]) -> Vec<String> {
        let set = names.iter().map(|&name| name.to_owned()).collect();
        said(set, &super::super::Cli::command())
    }

    #[test]
    fn a_variable_that_no_command_reads_is_told_with_the_nearest_name() {
        for (name, near) in [
            ("BAYES_ABSTAIN_MINCONFIDENCE", "BAYES_ABSTAIN_MIN_CONFIDENCE"),
            ("BAYES_CACHEDIR", "BAYES_CACHE_DIR"),
            ("BAYES_DEVICES", "BAYES_DEVICE"),
            ("BAYES_THREAD", "BAYES_THREADS"),
            ("bayes_device", "BAYES_DEVICE"),
            ("BAYES_APIKEY", "BAYES_API_KEY"),
        ] {
            let [said] = &found(&[name])[..] else { panic!("{name}") };
            assert!(said.contains(&format!("`{name}`")) && said.contains(near), "{said}");
        }
        let [said] = &found(&["BAYES_COVERAGE"])[..] else { panic!("nothing is said") };
        assert!(said.contains("no effect") && !said.contains("did you mean"), "{said}");
    }

    #[test]
    fn each_flag_of_the_server_with_a_value_has_a_variable() {
        let mut cli = super::super::Cli::command();
        cli.build();
        let serve = cli.find_subcommand("serve").unwrap();
        let without = |one: &&clap::Arg| one.get_action().takes_values() && one.get_env().is_none();
        let names: Vec<_> = serve.get_arguments().filter(without).map(clap::Arg::get_id).collect();
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn those_of_a_command_and_of_others_are_left_alone() {
        let all = ["BAYES_DEVICE", "BAYES_THREADS", "BAYES_PORT", "BAYES_LABELS", "BAYES_MODEL"];
        assert_eq!(found(&all), [""; 0]);
        assert_eq!(found(&OTHERS), [""; 0]);
        let others = ["PATH", "HF_HOME", "XBAYES_Y", "BAYESIAN", "BAYES"];
        assert_eq!(found(&others), [""; 0]);
        let of_kubernetes =
            ["BAYES_SERVICE_HOST", "BAYES_SERVICE_PORT_HTTP", "BAYES_PORT_8000_TCP_ADDR"];
        assert_eq!(found(&of_kubernetes), [""; 0]);
    }
}
