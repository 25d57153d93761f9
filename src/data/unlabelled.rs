//! Texts without labels, of a file that is read as those of a data set are.

use super::table::ColumnNames;
use super::{DataConfig, DataError, Example, Remark, Texts};

/// The texts of `data.unlabelled`, read as those of any data set, and how; none where it is not set. A label column is
/// passed over. `usual` are the columns of the data set that they belong to, taken where the file has them.
///
/// # Errors
/// They cannot be read, there is no column of texts, or there are single texts where the data set has pairs.
pub fn unlabelled(
    config: &DataConfig,
    usual: &ColumnNames,
) -> Result<(Vec<Example>, Vec<Remark>), DataError> {
    let name = &config.unlabelled;
    if name.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    // Written as the data set is; columns are looked for.
    let own = DataConfig { streaming: false, ..config.clone() };
    let own = DataConfig { usual_columns: usual.clone(), dataset: name.clone(), ..own };
    let [text_column, text_pair_column, label_column] = [const { String::new() }; 3];
    let found = Texts::open(&DataConfig { text_column, text_pair_column, label_column, ..own })?;
    let Texts { splits, how_read, remarks, .. } = found;
    let examples: Vec<Example> = splits.into_values().flatten().map(|(one, _)| one).collect();
    if !usual.pair.is_empty() && examples.iter().any(|one| one.pair.is_none()) {
        return Err(DataError::NoSecondText { path: name.into(), column: usual.pair.clone() });
    }
    let marked = |remark| match remark {
        Remark::Note(text) => Remark::Note(format!("`{name}`: {text}")),
        Remark::Warning(text) => Remark::Warning(format!("`{name}`: {text}")),
    };
    let said = how_read.into_iter().map(Remark::Note).chain(remarks).map(marked);
    Ok((examples, said.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_without_their_labels_and_pairs_stay_pairs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let single = ColumnNames { text: "text".to_owned(), ..ColumnNames::default() };
        let read = |path: &str, usual: &ColumnNames| {
            let config = DataConfig { unlabelled: path.to_owned(), ..DataConfig::default() };
            unlabelled(&config, usual)
        };
        assert_eq!(read("", &single).unwrap(), (Vec::new(), Vec::new()));
        let path = write("a.csv", "text,label\none day,x\n Text , LABEL\ntwo days,\n");
        let (found, said) = read(&path, &single).unwrap();
        let texts: Vec<&str> = found.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(texts, ["one day", "two days"]);
        let said: Vec<String> = said.iter().map(|remark| format!("{remark:?}")).collect();
        for part in ["columns: text = `text`", "line 3 repeats the header"] {
            assert!(said.iter().any(|one| one.contains(part)), "{said:?}");
        }
        let path = write("b.jsonl", "{\"text\": \"one day\"}\n{\"text\": \"two days\"}\n");
        assert_eq!(read(&path, &single).unwrap().0, found);
        let pair = ColumnNames { pair: "reply".to_owned(), ..single };
        let message = read(&path, &pair).unwrap_err().to_string();
        assert!(message.contains("`reply`"), "{message}");
        let path = write("c.csv", "text,reply\none day,yes it is\ntwo days,no they are\n");
        assert_eq!(read(&path, &pair).unwrap().0[1].pair.as_deref(), Some("no they are"));
    }
}
