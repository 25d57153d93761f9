//! The older text format of Prometheus, made from OpenMetrics: what tools read that ask for nothing else.
//!
//! In it a counter's TYPE and HELP have the name that its samples have, with `_total`; there are no units, and no line at
//! the end. Exemplars, which it does not know either, nothing here has.

use std::collections::HashSet;

/// The media type.
pub const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same samples.
pub fn classic(openmetrics: &str) -> String {
    let typed = |line: &str| -> Option<(String, String)> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    };
    let counters: HashSet<String> = openmetrics
        .lines()
        .filter_map(typed)
        .filter(|(_, kind)| kind == "counter")
        .map(|(name, _)| name)
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("TYPE" | "HELP")), Some(name), Some(rest)) => {
                let total = if counters.contains(name) { "_total" } else { "" };
                let rest = if what == "TYPE" && rest == "unknown" { "untyped" } else { rest };
                text.push_str(&format!("# {what} {name}{total} {rest}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples_and_nothing_is_lost() {
        let own = "# HELP a_requests Requests.\n# TYPE a_requests counter\na_requests_total{code=\"x # {\"} 3\n\
                   # HELP b_seconds Time.\n# TYPE b_seconds histogram\n# UNIT b_seconds seconds\n\
                   b_seconds_bucket{le=\"0.1\"} 1\nb_seconds_count 1\n# TYPE c unknown\nc 2\n# EOF\n";
        assert_eq!(
            classic(own),
            "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\na_requests_total{code=\"x # {\"} 3\n\
             # HELP b_seconds Time.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{le=\"0.1\"} 1\nb_seconds_count 1\n# TYPE c untyped\nc 2\n"
        );
    }
}
