//! The texts of no class that a split is tested with.

use std::borrow::Cow;

use super::{Dataset, Example};
use crate::numbers::grouped;

/// Texts of no class for the figures of one split.
pub struct Tested<'a> {
    pub texts: Cow<'a, [Example]>,
    /// What to say where they are from other splits.
    pub note: Option<String>,
}

impl Dataset {
    /// Those of the split that was `asked` for or, where that is no split of the data set, of the one that its rows
    /// are from. Nothing is trained or calibrated on such texts, so a test split without any is tested with those of
    /// all splits.
    pub fn outside(&self, asked: &str, source: &str) -> Tested<'_> {
        let own = |split: &str| self.out_of_scope.get(split).filter(|rows| !rows.is_empty());
        // Carved from the training rows, a part is none of the training rows.
        let of_source = own(source).filter(|_| source != "train" || asked == "train");
        if let Some(texts) = own(asked).or(of_source) {
            return Tested { texts: Cow::Borrowed(texts), note: None };
        }
        let all = self.out_of_scope.iter().filter(|(_, rows)| asked == "test" && !rows.is_empty());
        let texts: Vec<Example> = all.clone().flat_map(|(_, rows)| rows.iter().cloned()).collect();
        let note = (source == "test" && !texts.is_empty()).then(|| {
            let from: Vec<String> = all.map(|(split, _)| format!("`{split}`")).collect();
            format!(
                "the test split has no out-of-scope rows, so the {} of {} are tested on; nothing was trained on them",
                grouped(texts.len()),
                from.join(" and ")
            )
        });
        Tested { texts: Cow::Owned(texts), note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    /// A data set of so many rows with a class and of no class in each split.
    fn tested(
        splits: &[(&str, usize, usize)],
        asked: &str,
        source: &str,
    ) -> (usize, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        for &(split, inside, outside) in splits {
            let inside = (0..inside).map(|i| format!("{split} letter {i},{}\n", ["x", "y"][i % 2]));
            let outside = (0..outside).map(|i| format!("{split} weather {i},none\n"));
            let rows: String = inside.chain(outside).collect();
            let path = folder.path().join(format!("{split}.csv"));
            std::fs::write(path, format!("text,label\n{rows}")).unwrap();
        }
        let any = splits.iter().any(|(.., outside)| *outside > 0);
        let config = DataConfig {
            dataset: folder.path().display().to_string(),
            ood_label: if any { "none".to_owned() } else { String::new() },
            ..DataConfig::default()
        };
        let dataset = Dataset::open(&config).unwrap().told(&mut |_| ());
        let Tested { texts, note } = dataset.outside(asked, source);
        (texts.len(), note)
    }

    #[test]
    fn no_text_of_no_class_is_in_no_figure() {
        let of = |splits: &[(&str, usize, usize)]| tested(splits, "test", splits[0].0);
        // Its own, wherever its other rows are from.
        assert_eq!(of(&[("test", 4, 3), ("train", 20, 5)]), (3, None));
        assert_eq!(tested(&[("test", 0, 3), ("train", 20, 5)], "test", "train"), (3, None));
        for others in [
            &[("test", 4, 0), ("train", 20, 5)][..],
            &[("test", 4, 0), ("train", 20, 0), ("validation", 8, 5)],
            &[("test", 4, 0), ("train", 20, 2), ("validation", 8, 3)],
        ] {
            let (texts, note) = of(others);
            assert!(texts == 5 && note.unwrap().contains("the 5 of"), "{others:?}");
        }
        assert_eq!(of(&[("train", 20, 5)]).0, 5);
        assert_eq!(
            tested(&[("train", 20, 5), ("validation", 8, 0)], "validation", "validation").0,
            0
        );
        assert_eq!(of(&[("test", 4, 0), ("train", 20, 0)]), (0, None));
    }
}
