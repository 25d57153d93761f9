//! What Linux tells of this process under `/proc`; nothing elsewhere.

use std::fs;

/// Fields of `/proc/self/stat`, by their numbers in its manual.
#[derive(Clone, Debug)]
pub struct Stat(String);

impl Stat {
    /// As they are now.
    pub fn read() -> Option<Self> {
        fs::read_to_string("/proc/self/stat").ok().map(Self)
    }

    /// A field, counted from 1. The second, a name, may have blanks in it, and is none of these.
    pub fn field(&self, number: usize) -> Option<u64> {
        let behind = self.0.rsplit_once(')')?.1;
        behind.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_blanks() {
        let stat = Stat("7 (a (b) c) S 1 7 7 0 -1 4194304 120 0 3 0 1 2".to_owned());
        assert_eq!((stat.field(10), stat.field(12), stat.field(4)), (Some(120), Some(3), Some(1)));
        assert_eq!((stat.field(2), stat.field(99)), (None, None));
    }
}
