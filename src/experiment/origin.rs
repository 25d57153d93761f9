//! Which model of the Hub a model was made from.

use std::path::Path;

use crate::hub;

/// The Hub id behind `model.init` or `--model`: the id itself, or that of a snapshot in the Hub's
/// cache. A folder of one's own has none, and its path is nobody's business.
pub(super) fn base_model(named: &Path) -> Option<String> {
    if !named.is_dir() {
        return named.to_str().filter(|name| hub::is_id(name)).map(str::to_owned);
    }
    let snapshots = named.parent().filter(|parent| parent.ends_with("snapshots"))?;
    let repository = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
    let id = repository.replacen("--", "/", 1);
    hub::is_id(&id).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_snapshots_have_one_and_other_folders_do_not() {
        let home = tempfile::tempdir().unwrap();
        let snapshot = home.path().join("models--owner--a-name/snapshots/0123");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(base_model(&snapshot).as_deref(), Some("owner/a-name"));
        assert_eq!(base_model(Path::new("owner/name")).as_deref(), Some("owner/name"));
        assert_eq!(base_model(home.path()), None);
        assert_eq!(base_model(Path::new("../some/encoder")), None);
    }
}
