use serde_json::json;

use super::*;

fn offer() -> Offer {
    Offer { body: json!({ "text": "a" }), total: 1, life: Duration::from_secs(60), key: None }
}

fn count(jobs: &Jobs, status: Status) -> usize {
    jobs.counts().into_iter().find(|(name, _)| *name == status.name()).unwrap().1
}

#[tokio::test]
async fn a_job_that_takes_the_process_down_each_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let open = || Jobs::open(&path, Arc::new(Metrics::new())).unwrap();
    let jobs = open();
    let (id, _) = jobs.accept(&offer()).unwrap();
    drop(jobs);
    for _ in 0..MOST_ATTEMPTS {
        // Begun, and then gone without an end.
        assert_eq!(open().next().await.id, id);
    }
    let jobs = open();
    let (next, _) = jobs.accept(&offer()).unwrap();
    assert_eq!(jobs.next().await.id, next, "the other one was tried again");
    let (record, result, _) = jobs.find(&id).unwrap().unwrap();
    assert_eq!((record.status, result), (Status::Failed, None));
    assert_eq!(record.error.unwrap()["type"], "urn:bayes:problem:internal");
    assert_eq!(count(&jobs, Status::Failed), 1);
}

#[tokio::test]
async fn what_was_released_has_not_been_tried() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = Jobs::open(&folder.path().join("jobs.redb"), Arc::new(Metrics::new())).unwrap();
    let (id, _) = jobs.accept(&offer()).unwrap();
    let begun = jobs.next().await;
    assert_eq!((begun.body, count(&jobs, Status::Running)), (offer().body, 1));
    jobs.release();
    let (record, _, _) = jobs.find(&id).unwrap().unwrap();
    assert_eq!((record.status, record.attempts), (Status::Queued, 0));
}

#[test]
fn an_expired_job_is_forgotten_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = Jobs::open(&folder.path().join("jobs.redb"), Arc::new(Metrics::new())).unwrap();
    let short = || Offer { life: Duration::ZERO, key: Some("k".to_owned()), ..offer() };
    let (id, _) = jobs.accept(&short()).unwrap();
    assert!(jobs.find(&id).unwrap().is_none());
    jobs.sweep();
    assert_eq!(count(&jobs, Status::Queued), 0);
    let (other, _) = jobs.accept(&short()).unwrap();
    assert_ne!(id, other);
}
