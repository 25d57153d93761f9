//! Relative positions: what two tokens share through the distance between them.

/// The row of a table that each distance g = s − t reads, of a query s and a key t.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelativeRows {
    /// From g = 1 − reach to g = reach − 1.
    rows: Vec<u32>,
}

impl RelativeRows {
    /// For sequences of at most `reach` tokens, which are less than `reach` apart.
    pub fn new(reach: usize, row: impl Fn(i64) -> u32) -> Self {
        let furthest = reach as i64 - 1;
        Self { rows: (-furthest..=furthest).map(row).collect() }
    }

    /// The length of the longest sequence that it is made for.
    pub fn reach(&self) -> usize {
        self.rows.len().div_ceil(2)
    }

    /// Rows in the order of their distances, from 1 − reach on.
    pub fn by_distance(&self) -> &[u32] {
        &self.rows
    }

    /// The row of a query and a key.
    pub fn row(&self, query: usize, key: usize) -> u32 {
        self.rows[self.reach() - 1 + query - key]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_follows_the_signed_distance() {
        let rows = RelativeRows::new(4, |distance| (10 + distance) as u32);
        assert_eq!(rows.reach(), 4);
        assert_eq!(rows.by_distance(), [7, 8, 9, 10, 11, 12, 13]);
        assert_eq!((rows.row(3, 0), rows.row(0, 3), rows.row(2, 2)), (13, 7, 10));
        assert_eq!(RelativeRows::new(0, |_| 0).reach(), 0);
    }
}
