//! 'Did you mean': the name that a misspelt one is nearest to.

/// How alike two names are of which one may be the other, misspelt (Jaro and Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// The nearest of some names; `None` where none is near.
pub fn nearest<T: AsRef<str>>(name: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let likeness = |one: &T| strsim::jaro_winkler(one.as_ref(), name);
    let near = known.into_iter().map(|one| (likeness(&one), one));
    let best =
        near.filter(|(likeness, _)| *likeness > ALIKE).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_that_is_near_is_suggested() {
        let known = ["train.seed", "train.learning_rate", "data.dataset"];
        assert_eq!(nearest("train.lerning_rate", known), Some("train.learning_rate"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", [""; 0]), None);
    }
}
