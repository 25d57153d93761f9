//! Labels as they are written, and the names that are meant.

use std::io::Read;
use std::path::Path;

use serde_json::Value as Json;
use unicode_normalization_alignments::UnicodeNormalization;
use unicode_normalization_alignments::char::is_combining_mark;

use super::DataError;
use super::table;

/// The largest `labels.json` that is read, in bytes.
const LARGEST_FILE: u64 = 16 << 20;

/// The names in `labels.json`: a list, in the order of the integer labels.
pub fn read_names(path: &Path) -> Result<Vec<String>, DataError> {
    let mut text = String::new();
    let file = table::open_regular(path)?;
    file.take(LARGEST_FILE)
        .read_to_string(&mut text)
        .map_err(|source| DataError::Folder { path: path.to_owned(), source })?;
    let text = text.trim_start_matches('\u{feff}');
    let names: Vec<String> = serde_json::from_str(text)
        .map_err(|source| DataError::LabelsFile { path: path.to_owned(), source })?;
    if names.is_empty() {
        return Err(DataError::NoNames { path: path.to_owned() });
    }
    Ok(names)
}

/// The label without what nobody sees: characters of no width, white space around it, several white
/// spaces for one, and letters put together from parts.
pub fn tidy(written: &str) -> String {
    let visible = written.chars().filter(|&character| !is_invisible(character));
    let spaced: String =
        visible.map(|c| if c.is_whitespace() || c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").nfc().map(|(character, _)| character).collect()
}

fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// Joins letters in some scripts and pictures in an emoji, so it is left in names.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// What two labels have in common that a person would read as one: without case, accents and white
/// space, without quotes around them, `#` before and punctuation after them, without the entities of HTML,
/// numbers by their value, and one form of each quote, dash and letter of double width.
pub fn likeness(label: &str) -> String {
    let label = without_entities(label);
    let letters = label.chars().map(typewriter).nfkd();
    let letters = letters.map(|(character, _)| ascii_digit(typewriter(character)));
    let counts = |&c: &char| !is_combining_mark(c) && !is_joiner(c) && !c.is_whitespace();
    let kept: String = letters.filter(counts).collect();
    let kept = bare(&kept);
    if let Some(number) = number(kept) {
        // −0 is 0.
        return format!("number {}", number + 0.0);
    }
    let kept = kept.chars().filter(|c| !"-_".contains(*c));
    kept.flat_map(char::to_lowercase).map(latin).collect()
}

/// What labels have in common that may be one, though nobody can be sure: their likeness without marks of a footnote
/// or a doubt and brackets around them, and with letters that are written as two.
pub fn resemblance(label: &str) -> String {
    let like = likeness(label);
    let around = |c: char| "*†‡()[]{}".contains(c);
    let inner = like.trim_start_matches(around);
    let inner = inner.trim_end_matches(|c: char| around(c) || "!?.,;:".contains(c));
    // `A*` and `A` are grades, `:)` is a label.
    let inner = if inner.chars().filter(|c| c.is_alphabetic()).count() < 3 { &like } else { inner };
    let mut letters = String::new();
    for letter in inner.chars() {
        match letter {
            'ß' => letters.push_str("ss"),
            'æ' => letters.push_str("ae"),
            'œ' => letters.push_str("oe"),
            'þ' => letters.push_str("th"),
            'ø' => letters.push('o'),
            'ł' => letters.push('l'),
            'đ' | 'ð' => letters.push('d'),
            'ħ' => letters.push('h'),
            'ı' => letters.push('i'),
            other => letters.push(other),
        }
    }
    letters
}

/// A decimal digit of another script as that of ASCII; others as they are.
fn ascii_digit(character: char) -> char {
    /// Where the scripts have their zero, with the other digits behind it (Unicode, category Nd).
    const ZEROS: [u32; 18] = [
        0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66, 0x0ce6,
        0x0d66, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x17e0, 0x1810,
    ];
    let code = u32::from(character);
    let digit = ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code));
    digit.and_then(|zero| char::from_digit(code - zero, 10)).unwrap_or(character)
}

/// The characters that HTML writes as entities. `&` comes last: `&amp;lt;` is `&lt;`.
fn without_entities(label: &str) -> String {
    const ENTITIES: [(&str, &str); 8] = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    let mut label = label.to_owned();
    for (entity, character) in ENTITIES {
        if label.contains(entity) {
            label = label.replace(entity, character);
        }
    }
    label
}

/// The label without what people put around a name; whole where nothing else is in it.
fn bare(label: &str) -> &str {
    let inner = label.trim_matches('\'').trim_start_matches('#');
    let inner = inner.trim_end_matches(['\'', '.', ',', ';', ':']);
    if inner.is_empty() { label } else { inner }
}

/// The number that a label is, also where it is written with a comma or an apostrophe between thousands
/// (`1,000`), or with a comma before the fraction (`3,5`).
pub fn number(label: &str) -> Option<f64> {
    // More digits than f64 keeps may differ and have one value.
    if label.bytes().filter(u8::is_ascii_digit).count() > 15 {
        return None;
    }
    if let Ok(number) = label.parse::<f64>() {
        return Some(number);
    }
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let sign = usize::from(label.starts_with(['-', '+']));
    let grouped = |text: &str, by: char| {
        let mut groups = text.split(by);
        let first = groups.next().is_some_and(|one| all_digits(one) && one.len() <= 3);
        let mut others = groups.map(|one| all_digits(one) && one.len() == 3).peekable();
        first && others.peek().is_some() && others.all(|is| is)
    };
    let plain = |text: &str, by: char| text.replace(by, "").parse().ok();
    for by in [',', '\''] {
        let whole = label.split_once('.').map_or(label, |(whole, _)| whole);
        if grouped(&whole[sign..], by) {
            return plain(label, by);
        }
    }
    if label.matches('.').count() > 1 && grouped(&label[sign..], '.') {
        return plain(label, '.');
    }
    let (whole, fraction) = label.split_once(',')?;
    let digits = all_digits(&whole[sign..]) || grouped(&whole[sign..], '.');
    let point = || format!("{}.{fraction}", whole.replace('.', ""));
    (digits && all_digits(fraction)).then(point)?.parse().ok()
}

/// The key of a typewriter for what word processors make of it.
fn typewriter(character: char) -> char {
    match character {
        '"'
        | '`'
        | '´'
        | '«'
        | '»'
        | '\u{2b9}'..='\u{2bc}'
        | '\u{2c8}'
        | '\u{2018}'..='\u{201f}'
        | '\u{2032}'..='\u{2037}'
        | '\u{2039}'
        | '\u{203a}'
        | '\u{301d}'..='\u{301f}' => '\'',
        '\u{ad}'
        | '\u{2010}'..='\u{2015}'
        | '\u{2043}'
        | '\u{2212}'
        | '\u{2e3a}'
        | '\u{2e3b}'
        | '\u{30fb}'
        | '\u{b7}' => '-',
        '\u{2044}' | '\u{2215}' => '/',
        other => other,
    }
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn latin(letter: char) -> char {
    const ALIKE: [(char, char); 16] = [
        ('а', 'a'),
        ('е', 'e'),
        ('о', 'o'),
        ('р', 'p'),
        ('с', 'c'),
        ('у', 'y'),
        ('х', 'x'),
        ('і', 'i'),
        ('ј', 'j'),
        ('ѕ', 's'),
        ('к', 'k'),
        ('т', 't'),
        ('м', 'm'),
        ('н', 'h'),
        ('ο', 'o'),
        ('ν', 'v'),
    ];
    ALIKE.iter().find(|(other, _)| *other == letter).map_or(letter, |(_, latin)| *latin)
}

/// `1` for `1.0`, as pandas writes a column of integers in which one was missing; `1.000` may be a thousand.
pub fn whole_number(label: &str) -> Option<&str> {
    let (whole, fraction) = label.split_once('.')?;
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let is = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let zeros = fraction.len() != 3 && fraction.bytes().all(|byte| byte == b'0');
    (is && zeros).then_some(whole)
}

/// A label as one writing of it is compared with another: without what nobody sees, and `1` for `1.0`.
pub fn plain(label: &str) -> String {
    let label = tidy(label);
    whole_number(&label).map_or_else(|| label.clone(), str::to_owned)
}

/// What one cell holds besides a single label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The labels of a list or a set.
    Labels(Vec<String>),
    /// An object, or a list with one or with a list in it.
    Nested,
}

/// The parts of a label that is written as a list, a set or an object, as JSON or as Python does; `None`
/// for any other.
pub fn parts(label: &str) -> Option<Parts> {
    let brackets = [('[', ']'), ('(', ')'), ('{', '}')];
    let inside = |&(open, close): &(char, char)| label.strip_prefix(open)?.strip_suffix(close);
    let inside = brackets.iter().find_map(inside)?;
    // `(other)` may be a name; `('a', 'b')` and `{"a": 1}` are none.
    let quoted = inside.contains(['\'', '"']);
    if !label.starts_with('[') && !quoted {
        return None;
    }
    if let Ok(items) = serde_json::from_str::<Vec<Json>>(&format!("[{inside}]")) {
        if items.iter().any(|item| item.is_array() || item.is_object()) {
            return Some(Parts::Nested);
        }
        let text = |item: Json| match item {
            Json::Null => None,
            Json::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        return Some(Parts::Labels(items.into_iter().filter_map(text).collect()));
    }
    let (mut items, mut item, mut quote) = (Vec::new(), String::new(), None);
    for character in inside.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, ',') => items.push(std::mem::take(&mut item)),
            (None, '[' | '{') => return Some(Parts::Nested),
            // Of a key and its value.
            (None, ':') if label.starts_with('{') => return Some(Parts::Nested),
            _ => item.push(character),
        }
    }
    items.push(item);
    let items = items.into_iter().map(|item| item.trim().to_owned());
    Some(Parts::Labels(items.filter(|item| !item.is_empty()).collect()))
}

/// Whether a label looks like one that is missing.
pub fn looks_missing(label: &str) -> bool {
    const MISSING: [&str; 22] = [
        "na",
        "#na",
        "-nan",
        "n/a",
        "n.a.",
        "nan",
        "nat",
        "none",
        "null",
        "nil",
        "<na>",
        "\\N",
        "(blank)",
        "(empty)",
        "(missing)",
        "(null)",
        "#n/a",
        "#ref!",
        "#value!",
        "#name?",
        "#null!",
        "#div/0!",
    ];
    // A point of SAS and Stata, and lines of any length and kind.
    let is_mark = |letter: char| ".?-_*…‐‑‒–—―−".contains(letter);
    MISSING.iter().any(|missing| missing.eq_ignore_ascii_case(label))
        || (!label.is_empty() && label.chars().all(is_mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_no_part_of_a_label() {
        for written in
            ["very good", " very\u{a0} good\t", "ver\u{200b}y good\u{feff}", "very\u{2003}good"]
        {
            assert_eq!(tidy(written), "very good", "{written:?}");
        }
        assert_eq!(tidy("cafe\u{301}"), "café");
        assert_eq!(tidy("❤\u{fe0f}"), "❤\u{fe0f}");
    }

    #[test]
    fn look_alikes_have_one_likeness_and_others_do_not() {
        for (one, other) in [
            ("Spam", "spam"),
            ("café", "Cafe"),
            ("1", "1.0"),
            ("1", "01"),
            ("0", "-0"),
            ("-0.0", "0"),
            ("1,000", "1000"),
            ("1 000", "1'000"),
            ("1’000", "1000"),
            ("3,5", "3.5"),
            ("not-spam", "Not spam"),
            ("ﬁne", "fine"),
            ("❤\u{fe0f}", "❤"),
            ("sрam", "spam"),
            ("it's", "it’s"),
            ("it's", "it′s"),
            ("\"so-called\"", "„so–called“"),
            ("«x»", "'x'"),
            ("a–b", "a-b"),
            ("a—b c", "a - b c"),
            ("−1", "-1"),
            ("１", "1"),
            ("١٢", "12"),
            ("३", "3.0"),
            ("ｓｐａｍ", "spam"),
            ("very\u{a0}good", "very good"),
            ("a‑b", "a−b"),
            ("and⁄or", "and/or"),
            ("wait…", "wait..."),
            ("q&amp;a", "q&a"),
            ("it&#39;s", "it's"),
            ("&quot;spam&quot;", "spam"),
            ("'spam'", "spam"),
            ("“spam”", "Spam."),
            ("#spam", "spam"),
            ("spam:", "spam"),
            ("1.", "1"),
        ] {
            assert_eq!(likeness(one), likeness(other), "{one} {other}");
        }
        for (one, other) in [
            ("1", "-1"),
            ("9007199254740992", "9007199254740993"),
            ("a", "b"),
            ("spam", "spam!"),
            ("c", "c++"),
            ("it's", "its"),
            ("c#", "c"),
            (".net", "net"),
            ("#", "."),
            ("...", "'"),
        ] {
            assert_ne!(likeness(one), likeness(other), "{one} {other}");
        }
    }

    #[test]
    fn numbers_without_a_fraction_are_whole() {
        assert_eq!(["1.0", "-2.", "+3.00"].map(whole_number), [Some("1"), Some("-2"), Some("+3")]);
        assert_eq!(["1", "1.5", ".0", "v1.0", "1.0.0", "1.000"].map(whole_number), [None; 6]);
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (label, value) in [
            ("1,000", 1000.0),
            ("-1,234,567.5", -1_234_567.5),
            ("1'000", 1000.0),
            ("1.234.567", 1_234_567.0),
            ("1.234,5", 1234.5),
            ("3,10", 3.1),
            ("+3,1", 3.1),
            ("10,00", 10.0),
            ("0.5", 0.5),
        ] {
            assert_eq!(number(label), Some(value), "{label}");
        }
        for label in
            ["", ",", "a,b", "1,", ",5", "1,2,3", "1,00,0", "3,x", "1.2.3", "1;2", "-", "é,1", "+é"]
        {
            assert_eq!(number(label), None, "{label}");
        }
    }

    #[test]
    fn lists_are_seen_in_every_spelling() {
        for (written, labels) in [
            (r#"["a","b, c"]"#, &["a", "b, c"][..]),
            ("['a', 'b']", &["a", "b"]),
            ("['a']", &["a"]),
            ("[a, b]", &["a", "b"]),
            ("[]", &[]),
            ("[null]", &[]),
            ("{'a: b'}", &["a: b"]),
            ("('a', 'b')", &["a", "b"]),
            ("{'a', 'b'}", &["a", "b"]),
            ("[1, 0, 1]", &["1", "0", "1"]),
        ] {
            let labels = labels.iter().map(|&label| label.to_owned()).collect();
            assert_eq!(parts(written).unwrap(), Parts::Labels(labels), "{written}");
        }
        for written in
            [r#"{"name":"a"}"#, "{'name': 'a'}", r#"[["a"]]"#, r#"[{"a":1}]"#, "[['a'], 'b']"]
        {
            assert_eq!(parts(written).unwrap(), Parts::Nested, "{written}");
        }
        for written in ["a", "(other)", "{other}", "a [b]", "[a] b", ""] {
            assert_eq!(parts(written), None, "{written}");
        }
    }
}
