use serde_json::json;

use super::*;

fn offer() -> Offer {
    let (life, body) = (Duration::from_secs(60), json!({ "text": "a" }));
    Offer { body, total: 1, life, key: None, owner: None, promised: 100 }
}

/// Opened in a file that is large enough, by a server that has worked for long.
fn open(path: &Path) -> Arc<Embedded> {
    let jobs = Embedded::open(path, 1 << 30, Arc::new(Metrics::new())).unwrap();
    let long_ago = Instant::now().checked_sub(LONGEST_HOLD).unwrap();
    jobs.began.set(long_ago).unwrap();
    Arc::new(jobs)
}

fn memory() -> Arc<Budget> {
    Budget::new(1 << 30)
}

fn find(jobs: &Embedded, id: &str) -> Option<Found> {
    jobs.find(id, None, &memory()).unwrap()
}

fn count(jobs: &Embedded, status: Status) -> usize {
    jobs.counts().into_iter().find(|(name, _)| *name == status.name()).unwrap().1
}

#[tokio::test]
async fn a_job_that_takes_the_process_down_each_time_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let open = || open(&path);
    let jobs = open();
    let (id, _) = jobs.accept(&offer()).unwrap();
    drop(jobs);
    for _ in 0..MOST_ATTEMPTS {
        // Begun, and then gone without an end.
        assert_eq!(Arc::clone(&open()).next().await.id, id);
    }
    let jobs = open();
    let (next, _) = jobs.accept(&offer()).unwrap();
    assert_eq!(Arc::clone(&jobs).next().await.id, next, "the other one was tried again");
    let Found { record, result, .. } = find(&jobs, &id).unwrap();
    assert_eq!((record.status, result), (Status::Failed, None));
    let error = record.error.unwrap();
    assert_eq!(error["type"], "urn:bayes:problem:given-up");
    assert!(error["detail"].as_str().unwrap().contains("10 times"), "{error}");
    assert_eq!(count(&jobs, Status::Failed), 1);
}

#[tokio::test]
async fn what_was_released_has_not_been_tried() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(&folder.path().join("jobs.redb"));
    let (id, _) = jobs.accept(&offer()).unwrap();
    let begun = Arc::clone(&jobs).next().await;
    assert_eq!((begun.body, count(&jobs, Status::Running)), (offer().body, 1));
    jobs.release();
    let record = find(&jobs, &id).unwrap().record;
    assert_eq!((record.status, record.attempts), (Status::Queued, 0));
}

#[tokio::test]
async fn a_job_that_was_there_at_every_kill_waits_while_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let fresh = || Arc::new(Embedded::open(&path, 1 << 30, Arc::new(Metrics::new())).unwrap());
    let jobs = fresh();
    let (id, _) = jobs.accept(&offer()).unwrap();
    drop(jobs);
    for kill in 0..30 {
        // The server never works for longer than a moment, which on a busy machine is not a short one.
        let jobs = fresh();
        let free = kill <= FREE_ATTEMPTS;
        let moment = Duration::from_millis(if free { 10_000 } else { 20 });
        assert_eq!(timeout(moment, jobs.next()).await.is_ok(), free, "{kill}");
    }
    let jobs = fresh();
    assert_eq!(find(&jobs, &id).unwrap().record.status, Status::Queued);
    let (other, _) = jobs.accept(&offer()).unwrap();
    assert_eq!(Arc::clone(&jobs).next().await.id, other);
    assert_eq!((hold(FREE_ATTEMPTS), hold(40)), (None, Some(LONGEST_HOLD)));
}

#[tokio::test]
async fn a_job_is_seen_with_the_key_that_made_it_and_with_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(&folder.path().join("jobs.redb"));
    let of = |owner: &str| Offer { owner: Some(owner.to_owned()), ..offer() };
    let (id, _) = jobs.accept(&of("a")).unwrap();
    let seen = |owner: Option<&str>| jobs.find(&id, owner, &memory()).unwrap().is_some();
    assert_eq!([Some("a"), Some("b"), None].map(seen), [true, false, false]);
    jobs.cancel(&id, Some("b")).unwrap();
    jobs.cancel(&id, None).unwrap();
    assert_eq!(
        (count(&jobs, Status::Cancelled), Arc::clone(&jobs).next().await.id),
        (0, id.clone())
    );
    jobs.cancel(&id, Some("a")).unwrap();
    assert_eq!(count(&jobs, Status::Cancelled), 1);
}

#[tokio::test]
async fn the_file_has_its_limit_and_what_is_over_makes_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.redb");
    let most = 8 << 20;
    let jobs = Embedded::open(&path, most, Arc::new(Metrics::new())).unwrap();
    let jobs = Arc::new(jobs);
    let large = || Offer { promised: 500_000, ..offer() };
    let mut taken = Vec::new();
    loop {
        match jobs.accept(&large()) {
            Ok((id, _)) => taken.push(id),
            Err(problem) => {
                assert_eq!(problem, Problem::JobsFull);
                break;
            }
        }
    }
    assert_eq!(taken.len(), 8, "half of the file is content");
    let random = |place: usize| {
        let bytes = (0..50_000_u64)
            .flat_map(|i| crate::store::sha256(&(i ^ place as u64).to_le_bytes()).into_bytes());
        bytes.take(490_000).collect::<Vec<u8>>()
    };
    for place in 0..taken.len() {
        let id = Arc::clone(&jobs).next().await.id;
        // Twice what was promised finds no room in a full file.
        let result = if place == 3 { random(place).repeat(2) } else { random(place) };
        Arc::clone(&jobs).ended(id.clone(), Ok(result)).await;
    }
    assert_eq!((count(&jobs, Status::Completed), count(&jobs, Status::Failed)), (7, 1));
    let error = find(&jobs, &taken[3]).unwrap().record.error.unwrap();
    assert_eq!(error["type"], "urn:bayes:problem:jobs-full");
    let length = || std::fs::metadata(&path).unwrap().len();
    assert!(length() <= most, "{} bytes", length());
    let used = jobs.bytes();
    assert!((7 * 490_000..7 * 500_000).contains(&used), "{used}");
    drop(jobs);
    let jobs = Embedded::open(&path, most, Arc::new(Metrics::new())).unwrap();
    assert_eq!(jobs.bytes(), used, "it is counted again after a start");
    assert!(jobs.accept(&large()).is_ok(), "the one that failed left its room");
    assert_eq!(jobs.accept(&large()).unwrap_err(), Problem::JobsFull);
    let found = jobs.find(&taken[0], None, &Budget::new(100_000));
    assert!(matches!(found, Err(Problem::Overloaded(_))), "there is no memory for the result");
    assert!(jobs.is_writable());
}

#[test]
fn a_job_that_waits_does_not_age_while_no_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("jobs.redb"), 1 << 30).unwrap();
    let store::Accepted::New(new) = store.accept("t_1", &offer(), 1_000_000).unwrap() else {
        panic!("it was not taken")
    };
    // The clock was far ahead, or far behind, when it came.
    for now in [10_000_000_000, 5] {
        assert_eq!(store.restart(now).unwrap().len(), 1);
        let (record, _) = store.find("t_1", None, now, &memory()).unwrap().unwrap();
        assert_eq!(record.expires - now, new.expires - new.created);
        assert!(store.begin("t_1", now).unwrap().is_some());
    }
}

#[test]
fn an_expired_job_is_forgotten_with_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = open(&folder.path().join("jobs.redb"));
    let short = || Offer { life: Duration::ZERO, key: Some("k".to_owned()), ..offer() };
    let (id, _) = jobs.accept(&short()).unwrap();
    assert!(find(&jobs, &id).is_none());
    jobs.sweep();
    assert_eq!(count(&jobs, Status::Queued), 0);
    let (other, _) = jobs.accept(&short()).unwrap();
    assert_ne!(id, other);
}

#[tokio::test]
async fn jobs_that_ended_without_a_result_take_room_too() {
    for cancels in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.redb");
        let jobs = Arc::new(Embedded::open(&path, 1 << 16, Arc::new(Metrics::new())).unwrap());
        let mut taken = 0;
        let refused = loop {
            let (id, _) = match jobs.accept(&offer()) {
                Ok(job) => job,
                Err(problem) => break problem,
            };
            taken += 1;
            assert!(taken < 200, "there is no end");
            if cancels {
                jobs.cancel(&id, None).unwrap();
            } else {
                Arc::clone(&jobs).next().await;
                Arc::clone(&jobs).ended(id.clone(), Err(Problem::Internal)).await;
            }
        };
        assert_eq!(refused, Problem::JobsFull, "after {taken}");
        assert!(taken > 20, "{taken}");
    }
}
