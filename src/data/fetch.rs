//! A data set from the Hub: which of a repository's files it takes, and where they lie afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::known::{self, Known};
use super::remark::Remark;
use super::table::Format;
use super::{DataError, left_out};
use crate::hub::{self, Client, Entry, HubError, Listing, Repository, Snapshot};

/// Where the Hub keeps Parquet files that it made itself of a data set that has none.
const CONVERTED: &str = "refs/convert/parquet";
/// Where a data set says which files are its data.
pub(super) const README: &str = "README.md";
/// Folders that are taken first when several have splits.
const USUAL: [&str; 3] = ["", "data", "default"];

/// A data set that was fetched.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub id: String,
    /// The revision that the files are of.
    pub revision: String,
    /// The folder that holds the files of the splits; `data.dataset` takes it too.
    pub folder: PathBuf,
    pub snapshot: Snapshot,
    /// What a person should know of the choice.
    pub remarks: Vec<Remark>,
}

/// Fetches a known data set or a Hub id, what of it is not in the cache. `inside` names a folder of
/// the repository where several have splits.
///
/// # Errors
/// It is no name of the Hub, it has no tables, or it cannot be fetched.
pub fn fetch(
    name: &str,
    revision: Option<&str>,
    inside: Option<&str>,
) -> Result<Fetched, DataError> {
    let known = known::find(name);
    let id = known.map_or(name, |known| known.hub_id);
    if !hub::is_id(id) {
        return Err(DataError::NotOnHub { name: name.to_owned() });
    }
    let repository = Repository::dataset(id);
    let client = Client::from_env()?;
    let listing = client.listing(&repository, revision.unwrap_or("main"))?;
    let wanted = inside.or(known.map(|known| known.hub_folder));
    let own = Chosen::of(&listing, wanted, &[Format::Parquet]);
    let (listing, chosen) = match own {
        Err(DataError::NoTables { .. }) if revision.is_none() && inside.is_none() => {
            match converted(&client, &repository, wanted)? {
                Some(converted) => converted,
                None => {
                    let chosen = Chosen::of(&listing, wanted, &ALL)?;
                    (listing, chosen)
                }
            }
        }
        Err(DataError::NoTables { .. }) => {
            let chosen = Chosen::of(&listing, wanted, &ALL)?;
            (listing, chosen)
        }
        own => (listing, own?),
    };
    let files: Vec<&Entry> = chosen.files.iter().map(|&place| &listing.entries[place]).collect();
    let snapshot = client.fetch(&listing, &files)?;
    let remarks = match known.is_some() || inside.is_some() {
        // What was chosen is known.
        true => Vec::new(),
        false => {
            let read: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let others = listing.entries.iter().map(|entry| entry.path.as_str());
            let others: Vec<&str> = others.filter(|path| !read.contains(path)).collect();
            let read = of_splits(&read, &chosen.folder);
            left_out::remarks(id, &others, &read, &snapshot.folder.join(README))
        }
    };
    Ok(Fetched {
        remarks,
        id: id.to_owned(),
        revision: listing.revision,
        folder: snapshot.folder.join(chosen.folder),
        snapshot,
    })
}

const ALL: [Format; 4] = [Format::Parquet, Format::Csv, Format::Tsv, Format::JsonLines];

/// The Parquet files that the Hub made, if it made any.
fn converted(
    client: &Client,
    repository: &Repository,
    wanted: Option<&str>,
) -> Result<Option<(Listing, Chosen)>, DataError> {
    let listing = match client.listing(repository, CONVERTED) {
        // The repository is there; mirrors differ in what they say of the revision.
        Err(HubError::Missing { .. }) => return Ok(None),
        listing => listing?,
    };
    // The Hub names the folders after configurations, the owner as they like.
    let chosen = Chosen::of(&listing, wanted, &[Format::Parquet]);
    let chosen = match chosen {
        Err(DataError::NoTables { .. }) => Chosen::of(&listing, None, &[Format::Parquet])?,
        chosen => chosen?,
    };
    Ok(Some((listing, chosen)))
}

/// What the cache has of a data set.
pub(super) enum Cached {
    /// The folder with all of its files, and what a person should know of the choice.
    Whole(PathBuf, Vec<Remark>),
    /// A folder that lacks some of its files.
    Part(PathBuf),
    /// Several folders that have splits.
    Several(Vec<PathBuf>),
    Nothing,
}

/// Looks into the cache; what is of the first revision that is whole counts, else of the first that is there.
pub(super) fn cached(id: &str, known: Option<&Known>) -> Cached {
    let repository = Repository::dataset(id);
    let mut best = Cached::Nothing;
    for revision in ["main", CONVERTED] {
        let Some(snapshot) = hub::cached(&repository, revision) else { continue };
        match (of_snapshot(id, known, &snapshot), &best) {
            (whole @ Cached::Whole(..), _) => return whole,
            (found, Cached::Nothing) => best = found,
            _ => {}
        }
    }
    best
}

fn of_snapshot(id: &str, known: Option<&Known>, snapshot: &Path) -> Cached {
    let mut paths = Vec::new();
    walk(snapshot, "", &mut paths);
    paths.sort();
    let all: Vec<&str> = paths.iter().map(String::as_str).collect();
    let is_parquet = |path: &&str| matches!(Format::of(Path::new(path)), Ok(Format::Parquet));
    let parquet: Vec<&str> = all.iter().copied().filter(is_parquet).collect();
    let wanted = known.map(|known| known.hub_folder);
    // The only folder that is there may be that of another data set.
    let shared = known.is_some_and(|known| known.shares_repository());
    let find = |names: &[&str]| match folder_of(names, wanted) {
        Ok(folder) if shared && wanted != Some(&folder) => Err(Vec::new()),
        Err(_) if wanted.is_some() && !shared => folder_of(names, None),
        found => found,
    };
    // Parquet first, as where it is fetched.
    let folder = match find(&parquet) {
        Err(none) if none.is_empty() => find(&all),
        found => found,
    };
    let folder = match folder {
        Ok(folder) => folder,
        Err(none) if none.is_empty() => return Cached::Nothing,
        Err(folders) => {
            return Cached::Several(folders.iter().map(|one| snapshot.join(one)).collect());
        }
    };
    let own: Vec<&str> =
        all.iter().copied().filter(|name| split_in(&folder, name).is_some()).collect();
    let place = snapshot.join(&folder);
    if !is_whole(own.iter().copied()) {
        return Cached::Part(place);
    }
    // What else is in that folder is said where it is read.
    let others: Vec<&str> = all.iter().copied().filter(|name| !own.contains(name)).collect();
    let remarks = match known {
        Some(_) => Vec::new(),
        None => left_out::remarks(id, &others, &of_splits(&own, &folder), &snapshot.join(README)),
    };
    Cached::Whole(place, remarks)
}

/// Those of these files that are of a split.
fn of_splits<'a>(paths: &[&'a str], folder: &str) -> Vec<&'a str> {
    let is_table = |path: &str| Format::of(Path::new(path)).is_ok();
    let is_read = |path: &&str| {
        is_table(path) && split_in(folder, path).is_some_and(|split| is_split(&split))
    };
    paths.iter().copied().filter(is_read).collect()
}

fn walk(folder: &Path, inside: &str, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{inside}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            walk(&entry.path(), &format!("{name}/"), paths);
        } else {
            paths.push(name);
        }
    }
}

/// What is taken of a listing.
struct Chosen {
    folder: String,
    files: Vec<usize>,
}

impl Chosen {
    fn of(listing: &Listing, wanted: Option<&str>, formats: &[Format]) -> Result<Self, DataError> {
        let paths = listing.entries.iter().map(|entry| entry.path.as_str());
        let is_table =
            |path: &&str| Format::of(Path::new(path)).is_ok_and(|format| formats.contains(&format));
        let tables: Vec<&str> = paths.clone().filter(is_table).collect();
        let id = || listing.repository.id.clone();
        let folder = folder_of(&tables, wanted).map_err(|folders| {
            if folders.is_empty() {
                DataError::NoTables { id: id() }
            } else {
                DataError::ManyFolders { id: id(), folders: folders.join("`, `") }
            }
        })?;
        let beside = |name: &str| match folder.as_str() {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let others = [beside("labels.json"), README.to_owned()];
        let takes = |path: &str| {
            let split = tables.contains(&path).then(|| split_in(&folder, path)).flatten();
            split.is_some_and(|split| split != "unsupervised")
                || others.iter().any(|one| one == path)
        };
        let files = paths.enumerate().filter(|(_, path)| takes(path)).map(|(place, _)| place);
        let files = files.collect();
        Ok(Self { folder, files })
    }
}

/// The folder whose files are the splits: the one that is wanted, a usual one, or the only one. The
/// error lists those to choose from.
fn folder_of(tables: &[&str], wanted: Option<&str>) -> Result<String, Vec<String>> {
    let mut folders: Vec<String> = Vec::new();
    for table in tables.iter().filter(|table| Format::of(Path::new(table)).is_ok()) {
        let (mut folder, _) = table.rsplit_once('/').unwrap_or(("", table));
        let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
        if is_split(last) {
            folder = above;
        }
        let splits = split_in(folder, table).filter(|split| is_split(split));
        if splits.is_some() && !folders.iter().any(|known| known == folder) {
            folders.push(folder.to_owned());
        }
    }
    let has = |name: &str| folders.iter().any(|folder| folder == name);
    let first = wanted.into_iter().chain(USUAL).find(|name| has(name));
    match (first, folders.as_slice()) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        _ => Err(folders),
    }
}

/// Whether a name is that of a split that is trained on or tested with.
fn is_split(name: &str) -> bool {
    split_name(name).is_some()
}

/// The split that a name means, in any case.
pub(super) fn split_name(name: &str) -> Option<&'static str> {
    match &*name.to_lowercase() {
        "train" | "training" => Some("train"),
        "validation" | "val" | "valid" | "dev" | "eval" | "evaluation" => Some("validation"),
        "test" | "testing" => Some("test"),
        _ => None,
    }
}

/// The split of a file in a folder, or in a folder of it that is called like a split.
fn split_in(folder: &str, path: &str) -> Option<String> {
    let rest = match folder {
        "" => path,
        folder => path.strip_prefix(folder)?.strip_prefix('/')?,
    };
    match rest.split_once('/') {
        None => Some(split_of(Path::new(rest))),
        Some((split, name)) => (is_split(split) && !name.contains('/')).then(|| split.to_owned()),
    }
}

/// The split that a file's name begins with: `test-00000-of-00002.parquet` is of `test`.
pub(super) fn split_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    // `train.csv.gz` too.
    let stem = name.split('.').next().unwrap_or_default();
    stem.split('-').next().unwrap_or_default().to_owned()
}

/// What the name of a file says of its place among others, as in `train-00000-of-00002-1a2b.parquet`: what they have in
/// common, its number, and how many there are.
pub(super) fn shard(path: &str) -> Option<(&str, usize, usize)> {
    let name = path.rsplit_once('/').map_or(0, |(folder, _)| folder.len());
    let end = path[name..].find('.').map_or(path.len(), |point| name + point);
    let (start, rest) = path[..end].rsplit_once("-of-")?;
    let (name, number) = start.rsplit_once('-')?;
    let of = rest.split('-').next()?.parse().ok()?;
    Some((name, number.parse().ok()?, of))
}

/// Whether no part of a split lacks: their names say how many there are.
pub(super) fn is_whole<'a>(paths: impl Iterator<Item = &'a str>) -> bool {
    let mut parts: BTreeMap<(&str, usize), BTreeSet<usize>> = BTreeMap::new();
    for (name, number, of) in paths.filter_map(shard) {
        parts.entry((name, of)).or_default().insert(number);
    }
    parts.into_iter().all(|((_, of), found)| found.len() == of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_splits_is_found() {
        let find = |tables: &[&str], wanted| folder_of(tables, wanted);
        let found = |folder: &str| Ok(folder.to_owned());
        assert_eq!(find(&["train.csv", "more/train.csv"], None), found(""));
        assert_eq!(find(&["data/train-00000-of-00001.parquet"], None), found("data"));
        assert_eq!(find(&["a/train.parquet", "b/train.parquet"], Some("b")), found("b"));
        assert_eq!(
            find(&["plain/train/0000.parquet", "plain/test/0.parquet"], None),
            found("plain")
        );
        assert_eq!(find(&["train/0.parquet", "test/0.parquet"], None), found(""));
        let several = find(&["a/train.csv", "b/c/test.csv"], None).unwrap_err();
        assert_eq!(several, ["a", "b/c"]);
        assert_eq!(find(&["notes.csv", "README.md"], None), Err(vec![]));
    }

    #[test]
    fn a_split_that_lacks_a_part_is_not_whole() {
        let whole = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test.csv"];
        assert!(is_whole(whole.into_iter()) && !is_whole(whole.into_iter().skip(1)));
        let marked = ["a.b/train-00000-of-00002-1a.csv.gz", "a.b/train-00001-of-00002-2b.csv.gz"];
        assert!(is_whole(marked.into_iter()) && !is_whole(marked.into_iter().skip(1)));
        assert!(!is_whole([marked[0], marked[0]].into_iter()));
        assert_eq!(shard(marked[1]), Some(("a.b/train", 1, 2)));
        for other in ["train.csv", "train-1.csv", "best-of-3.csv", "a-of-b/train.csv"] {
            assert_eq!(shard(other), None, "{other}");
        }
    }
}
