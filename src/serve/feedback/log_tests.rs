use std::time::{Instant, SystemTime};

use super::super::id;
use super::super::mac::Secret;
use super::super::record::{Row, labels_of, rows};
use super::super::writer::now;
use super::*;
use crate::calibrate::Judgement;
use crate::posterior::{LogitDistribution, Predictive};
use crate::predict::Prediction;
use crate::serve::feedback::ModelMark;
use crate::serve::request::Sent;
use crate::store::Lock;

/// A prediction for a text that was made so long ago.
fn predicted(text: &str, age: Duration) -> (Uuid, String) {
    let mut bytes = *Uuid::now_v7().as_bytes();
    let time = now() - age.as_millis() as u64;
    bytes[..6].copy_from_slice(&time.to_be_bytes()[2..]);
    let prediction = Prediction {
        label: 0,
        confidence: 0.75,
        predictive: Predictive {
            probability_c: vec![0.75, 0.25],
            total: 0.1,
            aleatoric: None,
            epistemic: None,
        },
        logits: LogitDistribution::Point(vec![0.0; 2]),
        judgement: Judgement::default(),
        uniform: 0.0,
        num_tokens: 1,
        truncated: false,
    };
    let sent = Sent { text: text.into(), pair: None };
    let mark = ModelMark { version: [0; 8], labels: [0; 8] };
    (Uuid::from_bytes(bytes), id::name(&Secret::new(&[1; 32]), bytes, mark, &sent, &prediction))
}

fn label(id: &str, class: u32) -> Label {
    Label {
        model: None,
        id: id.to_owned(),
        label: ["a", "b"][class as usize].to_owned(),
        class,
        predicted: "a".to_owned(),
        at: now(),
        text: None,
        pair: None,
    }
}

fn settings(folder: &Path) -> LogSettings {
    LogSettings { folder: folder.join("feedback"), most: 1 << 30, life: Duration::from_secs(3600) }
}

fn open(settings: &LogSettings) -> (Log, Vec<Label>) {
    let mut before = Vec::new();
    let log = Log::open(settings.clone(), Counter::default(), &mut |label| before.push(label));
    (log.unwrap(), before)
}

fn give(log: &Log, uuid: Uuid, label: Label) -> Result<Taken, NotKept> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.label(label, *uuid.as_bytes()))
}

/// Waits until the thread is gone and the folder is free.
fn end(log: Log, settings: &LogSettings) {
    log.close();
    drop(log);
    let lock = settings.folder.join("lock");
    let free = || Lock::try_take(&lock).unwrap().is_some();
    for _ in 0..500 {
        if free() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the thread did not end");
}

fn exported(settings: &LogSettings) -> Vec<Row> {
    rows(std::slice::from_ref(&settings.folder), Vec::new()).unwrap()
}

#[test]
fn a_label_is_kept_once_and_after_a_restart_too() {
    let home = tempfile::tempdir().unwrap();
    let settings = settings(home.path());
    let (log, _) = open(&settings);
    assert!(!settings.folder.exists(), "nothing was kept yet");
    let (uuid, id) = predicted("one", Duration::ZERO);
    let (other, other_id) = predicted("two", Duration::ZERO);
    log.text(Text::new(uuid, "one".to_owned(), None));
    log.text(Text::new(other, "two".to_owned(), Some("pair".to_owned())));
    assert_eq!(give(&log, uuid, label(&id, 1)), Ok(Taken::New));
    assert_eq!(give(&log, uuid, label(&id, 1)), Ok(Taken::Known));
    assert_eq!(give(&log, uuid, label(&id, 0)), Ok(Taken::Other));
    let refused = Log::open(settings.clone(), Counter::default(), &mut |_| ());
    assert!(matches!(refused, Err(LogError::InUse(_))));
    // Another process reads while this one writes.
    let [row] = &exported(&settings)[..] else { panic!() };
    assert_eq!((&*row.label, &*row.predicted, row.confidence), ("b", "a", 0.75));
    assert_eq!(row.text, Some(("one".to_owned(), None)));
    end(log, &settings);
    let (log, before) = open(&settings);
    assert_eq!(before.len(), 1);
    assert_eq!(give(&log, uuid, label(&id, 1)), Ok(Taken::Known));
    assert_eq!(give(&log, other, label(&other_id, 0)), Ok(Taken::New));
    let texts: Vec<_> = exported(&settings).into_iter().map(|row| row.text.unwrap()).collect();
    assert_eq!(texts[1], ("two".to_owned(), Some("pair".to_owned())));
    end(log, &settings);
}

/// Of a prediction that another replica had a label for before; the file keeps both.
#[test]
fn a_label_that_was_before_takes_the_place_of_a_later_one_for_ever() {
    let home = tempfile::tempdir().unwrap();
    let settings = settings(home.path());
    let (log, _) = open(&settings);
    let (uuid, id) = predicted("one", Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let overrule = |log: &Log, label| runtime.block_on(log.overrule(label, *uuid.as_bytes()));
    let at = |at, class| Label { at, ..label(&id, class) };
    assert_eq!(give(&log, uuid, at(20, 1)), Ok(Taken::New));
    assert_eq!(overrule(&log, at(30, 0)), Ok(Taken::Other), "it came later");
    assert_eq!(overrule(&log, at(10, 1)), Ok(Taken::Known), "it is the same");
    assert_eq!(overrule(&log, at(10, 0)), Ok(Taken::New));
    let stands = |log: &Log| {
        assert_eq!(log.known(*uuid.as_bytes()), Some((10, 0)));
        assert_eq!(give(log, uuid, at(40, 0)), Ok(Taken::Known));
        assert_eq!(give(log, uuid, at(40, 1)), Ok(Taken::Other));
        assert_eq!(overrule(log, at(20, 1)), Ok(Taken::Other));
    };
    stands(&log);
    end(log, &settings);
    let (log, before) = open(&settings);
    assert_eq!(before, [at(20, 1), at(10, 0)]);
    stands(&log);
    end(log, &settings);
    let [row] = &exported(&settings)[..] else { panic!() };
    assert_eq!((&*row.label, row.at), ("a", 10));
}

#[test]
fn texts_without_a_label_go_when_none_can_come_and_others_stay() {
    let home = tempfile::tempdir().unwrap();
    let settings = LogSettings { life: Duration::from_secs(3600), ..settings(home.path()) };
    let (log, _) = open(&settings);
    let (uuid, id) = predicted("kept", Duration::ZERO);
    log.text(Text::new(uuid, "kept".to_owned(), None));
    log.text(Text::new(Uuid::now_v7(), "a secret".to_owned(), None));
    assert_eq!(give(&log, uuid, label(&id, 1)), Ok(Taken::New));
    end(log, &settings);
    let old = settings.folder.join("texts-1.log");
    let file = std::fs::File::options().append(true).open(&old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3700)).unwrap();
    for _ in 0..2 {
        let (log, _) = open(&settings);
        assert!(!old.exists());
        let (new, _) = predicted("new", Duration::ZERO);
        log.text(Text::new(new, "new".to_owned(), None));
        end(log, &settings);
        assert_eq!(exported(&settings)[0].text, Some(("kept".to_owned(), None)));
    }
    for entry in std::fs::read_dir(&settings.folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("a secret"));
    }
}

/// Though no other text comes, and nobody starts the server again.
#[test]
fn the_texts_of_an_idle_server_go_too() {
    let home = tempfile::tempdir().unwrap();
    let settings = LogSettings { life: Duration::from_secs(2), ..settings(home.path()) };
    let (log, _) = open(&settings);
    log.text(Text::new(Uuid::now_v7(), "a secret".to_owned(), None));
    let kept = || {
        let all = std::fs::read_dir(&settings.folder).into_iter().flatten().flatten();
        let bytes = all.filter_map(|entry| std::fs::read(entry.path()).ok());
        bytes.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains("a secret"))
    };
    let began = Instant::now();
    while !kept() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    while kept() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is deleted");
        std::thread::sleep(Duration::from_millis(100));
    }
    end(log, &settings);
}

#[test]
fn a_full_folder_forgets_texts_first_and_then_refuses_labels() {
    let home = tempfile::tempdir().unwrap();
    let settings = LogSettings { most: 4000, ..settings(home.path()) };
    let (log, _) = open(&settings);
    for _ in 0..20 {
        log.text(Text::new(Uuid::now_v7(), "x".repeat(400), None));
        log.close();
        assert!(log.bytes() <= 4000, "{}", log.bytes());
    }
    assert_eq!(log.shared.dropped.get(), 0);
    let taken: Vec<_> = (0..20)
        .map(|_| {
            let (uuid, id) = predicted("x", Duration::ZERO);
            give(&log, uuid, label(&id, 0))
        })
        .collect();
    assert_eq!(taken.last(), Some(&Err(NotKept::Full)));
    assert_eq!(log.refused(), Some(NotKept::Full));
    let kept = taken.iter().filter(|one| **one == Ok(Taken::New)).count();
    assert!(kept > 0 && exported(&settings).len() == kept, "{taken:?}");
    end(log, &settings);
}

#[test]
fn labels_that_the_disk_does_not_take_are_not_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let settings = settings(home.path());
    let (log, _) = open(&settings);
    let (uuid, id) = predicted("x", Duration::ZERO);
    assert_eq!(give(&log, uuid, label(&id, 0)), Ok(Taken::New));
    assert_eq!(log.refused(), None);
    let path = labels_of(&settings.folder);
    let before = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"").unwrap();
    let (other, other_id) = predicted("y", Duration::ZERO);
    assert_eq!(give(&log, other, label(&other_id, 0)), Err(NotKept::Unwritable));
    assert_eq!(give(&log, other, label(&other_id, 0)), Err(NotKept::Unwritable));
    assert_eq!(std::fs::read(&path).unwrap(), b"", "it is not written to");
    // That is so until one is written: one that was there before is no proof.
    assert_eq!(give(&log, uuid, label(&id, 0)), Ok(Taken::Known));
    assert_eq!(log.refused(), Some(NotKept::Unwritable));
    std::fs::write(&path, before).unwrap();
    assert_eq!(give(&log, other, label(&other_id, 0)), Ok(Taken::New));
    assert_eq!(log.refused(), None);
    end(log, &settings);
}

/// Labels of one prediction that two replicas were told stand once, and a text that one has belongs to the label that
/// the other has.
#[test]
fn replicas_are_exported_together() {
    let homes = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let both = [settings(homes[0].path()), settings(homes[1].path())];
    let (uuid, id) = predicted("x", Duration::ZERO);
    let logs = both.each_ref().map(|settings| open(settings).0);
    logs[0].text(Text::new(uuid, "x".to_owned(), None));
    let first = Label { at: 1, ..label(&id, 1) };
    assert_eq!(give(&logs[1], uuid, first), Ok(Taken::New));
    assert_eq!(give(&logs[0], uuid, label(&id, 0)), Ok(Taken::New));
    let folders = both.each_ref().map(|settings| settings.folder.clone());
    let [row] = &rows(&folders, Vec::new()).unwrap()[..] else { panic!() };
    assert_eq!((&*row.label, row.text.is_some()), ("b", true));
    for (log, settings) in logs.into_iter().zip(&both) {
        end(log, settings);
    }
}
