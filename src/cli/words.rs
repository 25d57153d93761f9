//! Sentences on a terminal of 80 columns.

use std::ops::RangeInclusive;
use std::path::Path;

/// Columns of a line.
pub const WIDTH: usize = 80;

/// Fills lines with the words of a text: `first` begins the first of them, `rest` the others. A word that is
/// longer than a line has one of its own.
pub fn filled(first: &str, rest: &str, text: &str) -> String {
    let mut lines = String::new();
    let (mut line, mut empty) = (first.to_owned(), true);
    for word in text.split_whitespace() {
        let room = WIDTH.saturating_sub(line.chars().count() + usize::from(!empty));
        if !empty && word.chars().count() > room {
            lines.push_str(line.trim_end());
            lines.push('\n');
            (line, empty) = (rest.to_owned(), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines + line.trim_end() + "\n"
}

/// A share in percent, to two places.
pub fn percent(share: f64) -> f64 {
    (1e4 * share).round() / 100.0
}

/// As many characters as there is room for, with an ellipsis in place of what is cut.
pub fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

/// Reads the whole numbers of a flag.
pub fn whole<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            match (bounds.start(), bounds.end()) {
                (least, &u64::MAX) => format!("use a whole number of {least} or more"),
                (least, most) => format!("use a whole number from {least} to {most}"),
            }
        })
    }
}

/// A path as a shell takes it for one word.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_hang() {
        let text = "eight wide characters ".repeat(12);
        let filled = filled("Sets    ", "        ", &text);
        let lines: Vec<&str> = filled.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{filled}");
        assert!(lines[0].starts_with("Sets    eight") && lines[1].starts_with("        "));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&filled)[1..], words(&text));
        let long = "x".repeat(90);
        assert_eq!(super::filled("", "", &format!("a {long} b")), format!("a\n{long}\nb\n"));
        assert_eq!(super::filled("A  ", "   ", ""), "A\n");
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, expected) in [
            ("checkpoints/a-b_1.2/model", "checkpoints/a-b_1.2/model"),
            ("my models/it's", "'my models/it'\\''s'"),
            ("a$b", "'a$b'"),
            ("-x", "'-x'"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_sign() {
        assert_eq!((cut("abc", 3).as_str(), cut("abcd", 3).as_str()), ("abc", "ab…"));
    }
}
