//! Records of another number of fields than there are columns: why that may be.

use std::fmt;

use super::later_header::is_of_another_width;

/// What a person may have meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    /// `a\, b` for one field.
    Backslash,
    /// `'a, b'` for one field.
    Apostrophes,
    /// The fields are names of columns.
    Header,
}

impl Meant {
    /// The way in which the fields would be as many as the columns, or why they need not be.
    pub(super) fn of(fields: &[String], header: &[String]) -> Option<Self> {
        if is_of_another_width(fields, header) {
            return Some(Self::Header);
        }
        let columns = header.len();
        let fits = |fields: usize| fields == columns && columns > 0;
        if fields.len() <= columns {
            return None;
        }
        if fits(unescaped(fields)) {
            return Some(Self::Backslash);
        }
        fits(unquoted(fields)).then_some(Self::Apostrophes)
    }
}

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backslash => "a backslash does not make the delimiter after it part of a field",
            Self::Apostrophes => "`'` is read as an ordinary character, not as a quote",
            Self::Header => {
                "these seem to be the names of other columns; write this line and the rows after it to a file of \
                 their own"
            }
        })
    }
}

/// Fields, if a backslash at the end of one joins the next.
fn unescaped(fields: &[String]) -> usize {
    let joins = |field: &&String| (field.len() - field.trim_end_matches('\\').len()) % 2 == 1;
    let (_, before) = fields.split_last().expect("there are more fields than columns");
    fields.len() - before.iter().filter(joins).count()
}

/// Fields, if those from one that begins with `'` to one that ends with it are one.
fn unquoted(fields: &[String]) -> usize {
    let (mut count, mut open) = (0, false);
    for field in fields {
        let field = field.trim();
        count += usize::from(!open);
        let rest = if open { field } else { field.strip_prefix('\'').unwrap_or("") };
        let begins = open || field.starts_with('\'');
        open = begins && !rest.ends_with('\'');
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_another_way_to_quote_would_join_are_seen() {
        let meant = |record: &str, columns| {
            let fields: Vec<String> = record.split(',').map(str::to_owned).collect();
            Meant::of(&fields, &vec!["x".to_owned(); columns])
        };
        for (record, columns, expected) in [
            (r"a\, more,billing", 2, Some(Meant::Backslash)),
            (r"a\, b\, c,billing", 2, Some(Meant::Backslash)),
            (r"a\, b", 1, Some(Meant::Backslash)),
            ("'a, b','billing'", 2, Some(Meant::Apostrophes)),
            ("'a, b, c',billing", 2, Some(Meant::Apostrophes)),
            ("1, 'a, b' ,billing", 3, Some(Meant::Apostrophes)),
            // A backslash that is escaped itself, other numbers of fields, and words with an apostrophe.
            (r"a\\, more,billing", 2, None),
            (r"a\, more,billing", 1, None),
            (r"a,more,billing\", 2, None),
            ("'a','b','billing'", 2, None),
            ("it's, o'clock,billing", 2, None),
            ("a,billing", 2, None),
            ("text,label,source", 2, Some(Meant::Header)),
        ] {
            assert_eq!(meant(record, columns), expected, "{record}");
        }
    }
}
