//! Characters that do not belong in a text: traces of a wrong encoding, of a web page, of a copy.

use serde::Serialize;

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Oddity {
    /// U+FFFD, which stands for bytes that could not be read.
    Replacement,
    /// UTF-8 that was read as Windows-1252: `Ã©` for `é`.
    WrongEncoding,
    /// Control characters besides tabs and line ends.
    Control,
    /// Characters that draw nothing, or turn the direction of what follows.
    Invisible,
    /// Tags and character references of HTML, but for line breaks.
    Markup,
    /// A word of Latin letters with Cyrillic or Greek ones among them.
    MixedScripts,
    /// Characters of private use, such as icons of a font.
    PrivateUse,
}

impl Oddity {
    pub const ALL: [Self; 7] = [
        Self::Replacement,
        Self::WrongEncoding,
        Self::Control,
        Self::Invisible,
        Self::Markup,
        Self::MixedScripts,
        Self::PrivateUse,
    ];

    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Replacement => "replacement characters (�): bytes that could not be read",
            Self::WrongEncoding => "signs of a wrong encoding, such as `Ã©` for `é`",
            Self::Control => "control characters",
            Self::Invisible => "invisible characters",
            Self::Markup => "HTML tags or character references",
            Self::MixedScripts => "words that mix Latin with Cyrillic or Greek letters",
            Self::PrivateUse => "characters of private use",
        }
    }

    fn is_in(self, text: &str) -> bool {
        match self {
            Self::Replacement => text.contains(char::REPLACEMENT_CHARACTER),
            Self::WrongEncoding => {
                text.char_indices().any(|(at, c)| begins_misread(c, &text[at..]))
            }
            Self::Control => text.chars().any(|c| c.is_control() && !"\t\n\r".contains(c)),
            Self::Invisible => text.chars().any(is_invisible),
            Self::Markup => text.char_indices().any(|(at, c)| begins_markup(c, &text[at..])),
            Self::MixedScripts => text.split(|c: char| !c.is_alphabetic()).any(is_mixed),
            Self::PrivateUse => text.chars().any(|c| matches!(c, '\u{e000}'..='\u{f8ff}')),
        }
    }
}

/// What is wrong with a text, each once.
pub fn oddities(text: &str) -> Vec<Oddity> {
    Oddity::ALL.into_iter().filter(|oddity| oddity.is_in(text)).collect()
}

/// The beginning of a character of two or three bytes, each read as one of Windows-1252.
fn begins_misread(first: char, rest: &str) -> bool {
    let mut next = rest.chars().skip(1);
    match first {
        'Ã' | 'Â' => next.next().is_some_and(continues),
        'â' => next.next().is_some_and(|c| c == '€' || c == '\u{80}'),
        'ð' => next.next().is_some_and(|c| c == 'Ÿ' || c == '\u{9f}'),
        _ => false,
    }
}

/// What the bytes 0x80 to 0xBF are in Windows-1252, and in Latin-1.
fn continues(character: char) -> bool {
    matches!(character, '\u{80}'..='\u{bf}') || "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ".contains(character)
}

/// Not what joins or shapes the letters and signs of a script: joiners and selectors.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// `<b>`, `</p>`, `&amp;`, `&#39;`, but no `<br />`, which training reads as a space.
fn begins_markup(first: char, rest: &str) -> bool {
    let rest = &rest[first.len_utf8()..];
    match first {
        '<' => {
            let Some(end) = rest.find(['<', '>']).filter(|end| rest[*end..].starts_with('>'))
            else {
                return false;
            };
            let inside = rest[..end].trim_matches('/');
            let (name, attributes) = inside.split_once(' ').unwrap_or((inside, ""));
            // `a <b and c> d` is no tag.
            let bare = attributes.trim_matches(['/', ' ']).is_empty();
            let is_tag = bare || attributes.contains('=');
            let is_break = bare && name.eq_ignore_ascii_case("br");
            let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
            is_tag
                && !is_break
                && begins
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        }
        '&' => rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '#').is_some_and(|end| {
            let named = rest.starts_with(|c: char| c.is_ascii_alphabetic());
            let number = rest
                .strip_prefix('#')
                .is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit() || c == 'x'));
            rest.as_bytes()[end] == b';' && (2..10).contains(&end) && (named || number)
        }),
        _ => false,
    }
}

fn is_mixed(word: &str) -> bool {
    let latin = word.chars().any(|c| c.is_ascii_alphabetic());
    latin
        && word
            .chars()
            .any(|c| matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}') && c != 'µ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_oddity_is_found_by_its_trace() {
        for (text, oddity) in [
            ("caf\u{fffd}", Oddity::Replacement),
            ("cafÃ© au lait", Oddity::WrongEncoding),
            ("itâ€™s late", Oddity::WrongEncoding),
            ("10Â\u{a0}euros", Oddity::WrongEncoding),
            ("ring\u{7}", Oddity::Control),
            ("pass\u{200b}word", Oddity::Invisible),
            ("\u{202e}txt.exe", Oddity::Invisible),
            ("good<br /><b>film", Oddity::Markup),
            ("Tom &amp; Jerry", Oddity::Markup),
            ("it&#39;s", Oddity::Markup),
            ("<a href=\"x\">here", Oddity::Markup),
            ("p\u{430}ypal", Oddity::MixedScripts),
            ("\u{f0e0} mail", Oddity::PrivateUse),
        ] {
            assert_eq!(oddities(text), [oddity], "{text:?}");
        }
    }

    #[test]
    fn ordinary_texts_have_none() {
        for text in [
            "",
            "naïve café, São Paulo, Ångström, Ärger, château",
            "SÃO PAULO IS NOT Ã OR Â.",
            "1 < 2 && 3 > 2; AT&T; R&D",
            "a<b and c>d",
            "good<br /><BR>film",
            "Привет, мир",
            "αβγ and abc",
            "👩\u{200d}🚀 ❤\u{fe0f}",
            "می\u{200c}خواهم",
            "tab\tand\r\nline",
        ] {
            assert_eq!(oddities(text), [], "{text:?}");
        }
    }
}
