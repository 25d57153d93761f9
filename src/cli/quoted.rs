//! Lists in one argument, of which a part may stand in double quotes.

/// One part, and what ends it.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub text: String,
    /// `None` at the end.
    pub divider: Option<char>,
}

/// `a,"b, c"`: what is in double quotes stays as it is, with `""` for a quote; of the rest white space around it
/// is left out. `None` where a quote is not closed, or something stands behind a closing one.
pub fn parts(text: &str, dividers: &[char]) -> Option<Vec<Part>> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quoted, mut closed) = (false, false);
    let mut characters = text.chars().peekable();
    let end = |part: &mut String, closed: bool, divider| {
        let text = std::mem::take(part);
        let text = if closed { text } else { text.trim().to_owned() };
        Part { text, divider }
    };
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => part.extend(characters.next()),
            '"' if quoted => (quoted, closed) = (false, true),
            _ if quoted => part.push(character),
            '"' if part.trim().is_empty() && !closed => {
                part.clear();
                quoted = true;
            }
            divider if dividers.contains(&divider) => {
                parts.push(end(&mut part, closed, Some(divider)));
                closed = false;
            }
            ' ' if closed => {}
            _ if closed => return None,
            _ => part.push(character),
        }
    }
    parts.push(end(&mut part, closed, None));
    (!quoted).then_some(parts)
}
