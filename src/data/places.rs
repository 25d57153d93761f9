//! Whole numbers that may be the names of classes, or their places in a list of names.

use super::labels::whole_number;
use super::renaming::{renaming, shell_word};

/// The most labels that are shown.
const SHOWN: usize = 5;
/// The most renamings that are proposed.
const MOST: usize = 20;

/// Both readings of labels that are all names of classes, and all places in the list of `names`, counted from 0, of
/// which at least one is that of another class. The text tells them side by side, and how to choose; such labels are
/// read as names. `None` where there is one reading.
pub fn two_readings(labels: &[&str], names: &[String]) -> Option<String> {
    let name_at = |label: &str| {
        let place = whole_number(label).unwrap_or(label).parse::<usize>().ok()?;
        names.get(place).map(String::as_str)
    };
    let places: Vec<&str> = labels.iter().map(|label| name_at(label)).collect::<Option<_>>()?;
    let all_names = labels.iter().all(|label| names.iter().any(|name| name == label));
    if !all_names || places == labels {
        return None;
    }
    let more = match labels.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let read = |classes: &[&str]| -> String {
        let pairs = labels.iter().zip(classes).take(SHOWN);
        let pairs: Vec<String> =
            pairs.map(|(label, name)| format!("{label} is `{name}`")).collect();
        format!("{}{more}", pairs.join(", "))
    };
    let map = |classes: &[&str]| {
        let pairs = labels.iter().zip(classes).take(MOST);
        let pairs: Vec<String> = pairs.map(|(label, name)| renaming(label, name)).collect();
        shell_word(&pairs.join(","))
    };
    Some(format!(
        "as names {}; as places, counted from 0, {}. They are read as names (`--label-map {}` says that this is meant); \
         if they are places, use `--label-map {}`",
        read(labels),
        read(&places),
        map(labels),
        map(&places),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(labels: &[&str], names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        two_readings(labels, &names)
    }

    #[test]
    fn both_readings_stand_side_by_side_with_a_map_for_each() {
        let stars = said(&["1", "2"], &["1", "2", "3"]).unwrap();
        for part in [
            "as names 1 is `1`, 2 is `2`;",
            "counted from 0, 1 is `2`, 2 is `3`.",
            "`--label-map 1=1,2=2`",
            "`--label-map 1=2,2=3`",
        ] {
            assert!(stars.contains(part), "{part}: {stars}");
        }
        let turned = said(&["0", "1"], &["1", "0"]).unwrap();
        assert!(turned.contains("0 is `1`, 1 is `0`"), "{turned}");
        let names = said(&["1", "2"], &["2", "1", "a, b"]).unwrap();
        assert!(names.contains("`--label-map '1=1,2=\"a, b\"'`"), "{names}");
        let many: Vec<String> = (1..=100).map(|name| name.to_string()).collect();
        let labels: Vec<&str> = many[..99].iter().map(String::as_str).collect();
        let many = two_readings(&labels, &many).unwrap();
        assert!(many.contains("and 94 more") && many.len() < 900, "{many}");
    }

    #[test]
    fn what_can_be_read_in_one_way_is_not_told() {
        for (labels, names) in [
            (&["1", "2", "3"][..], &["1", "2", "3"][..]),
            (&["0", "1"], &["0", "1", "2"]),
            (&["a", "b"], &["b", "a"]),
            (&["0", "1"], &["a", "b"]),
            (&["1", "x"], &["1", "x", "2"]),
            (&["-1", "1"], &["-1", "0", "1"]),
            (&[], &["1", "0"]),
        ] {
            assert_eq!(said(labels, names), None, "{labels:?} {names:?}");
        }
    }
}
