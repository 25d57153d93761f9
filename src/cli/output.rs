//! All that is printed. Texts, labels and names of files are somebody else's: what would move a terminal's
//! cursor, colour it or turn its lines around is shown as `�`.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use anyhow::Result;

use super::flags::with_flags;

/// The text as a terminal may have it.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().any(moves) {
        Cow::Owned(
            text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }).collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

/// Control characters, and those that change the direction of what follows.
fn moves(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// Prints words for people to stdout.
pub(super) fn print(text: &str) -> Result<()> {
    print_raw(&harmless(text))
}

/// Prints to stdout what a program reads, byte for byte.
pub(super) fn print_raw(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints one value as indented JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(value)?);
    if io::stdout().is_terminal() { print(&text) } else { print_raw(&text) }
}

/// One line on stderr.
pub(super) fn note(text: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{}", harmless(&with_flags(text)))?)
}

/// Stdout for a table: byte for byte, unless a person is looking.
pub(super) fn table_output() -> Box<dyn Write + Send> {
    let out = io::stdout();
    if out.is_terminal() { Box::new(Harmless { out, rest: Vec::new() }) } else { Box::new(out) }
}

/// Whole characters only, since a part of one cannot be judged.
struct Harmless<W> {
    out: W,
    rest: Vec<u8>,
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let end = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.rest.len(),
        };
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        self.out.write_all(harmless(&String::from_utf8_lossy(&whole)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_a_terminal_comes_through() {
        for text in [
            "\u{1b}[2J",
            "\u{1b}]0;title\u{7}",
            "a\rb",
            "\u{9b}31m",
            "\u{7f}",
            "\u{202e}txt.exe",
            "\u{8}",
        ] {
            let shown = harmless(text);
            assert!(!shown.chars().any(moves) && shown.contains('\u{fffd}'), "{text:?}");
        }
        for text in ["größer\t大\n", "❤\u{fe0f}", "خانه\u{200c}ها", ""] {
            assert!(matches!(harmless(text), Cow::Borrowed(_)), "{text:?}");
        }
    }

    #[test]
    fn a_character_that_arrives_in_pieces_stays_whole() {
        let mut writer = Harmless { out: Vec::new(), rest: Vec::new() };
        for byte in "grö\u{1b}[1m大\u{9b}".bytes() {
            writer.write_all(&[byte]).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(String::from_utf8(writer.out).unwrap(), "grö\u{fffd}[1m大\u{fffd}");
    }
}
