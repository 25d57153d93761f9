//! How messages write what `--label-map` takes.

/// One renaming: names with signs that divide stand in double quotes.
pub fn renaming(from: &str, to: &str) -> String {
    let side = |name: &str| match name.contains(['=', ',', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    };
    format!("{}={}", side(from), side(to))
}

/// One word of a shell.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-=,.".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
