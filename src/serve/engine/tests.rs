use std::path::Path;

use super::*;
use crate::compute::Backend;
use crate::posterior::{Passes, Spread};
use crate::predict::Predictor;
use crate::serve::feedback::ModelMark;
use crate::serve::model::Place;

const LIMITS: Limits = Limits { budget: 256, batch_items: 16, queue_items: 16 };

fn model() -> Arc<Loaded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
    Arc::new(Loaded::load(&Place::alone(&folder), &[]).unwrap())
}

fn engine(metrics: &Arc<Metrics>) -> Engine {
    Engine::start(LIMITS, Duration::ZERO, 1e4, Several::No, Arc::clone(metrics), || ()).unwrap()
}

type Reply = oneshot::Receiver<Result<Answer, Problem>>;

fn submit(engine: &Engine, model: &Arc<Loaded>, encoded: Encoded) -> Reply {
    let (reply, answer) = oneshot::channel();
    let asked = model.predictor.usual().clone();
    let ticket =
        Ticket { model: Arc::clone(model), encoded, asked, lane: 0, sampling: None, reply };
    engine.submit(ticket, Class::Interactive, None).unwrap();
    answer
}

fn encoded(model: &Loaded, text: &str) -> Encoded {
    model.predictor.encode(&[(text, None)]).unwrap().remove(0)
}

/// One that samples, several passes a text.
fn model_of_passes() -> Arc<Loaded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
    let mut artifact = crate::artifact::load(&folder, &Backend::Cpu).unwrap();
    artifact.posterior.spread = Spread::Passes(Passes::Dropout { samples: 4, layers: 0 });
    let predictor = Predictor::new(artifact).unwrap();
    let mark = ModelMark::of(&predictor, "bert");
    Arc::new(Loaded { predictor, rate: 1e4, written: std::time::UNIX_EPOCH, mark, trunk: None })
}

#[test]
fn passes_that_nobody_waits_for_any_more_are_not_made() {
    let (model, metrics) = (model_of_passes(), Arc::new(Metrics::new()));
    let engine = engine(&metrics);
    let ask = |samples| {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            lane: 0,
            model: Arc::clone(&model),
            encoded: encoded(&model, "a film"),
            asked: model.predictor.usual().clone(),
            sampling: model.predictor.passes(Some(samples), 0),
            reply,
        };
        engine.submit(ticket, Class::Interactive, None).unwrap();
        answer
    };
    let began = Instant::now();
    assert!(ask(1000).blocking_recv().unwrap().is_ok());
    let thousand = began.elapsed();
    let gone = ask(1_000_000);
    while engine.waiting(Class::Interactive) > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Its passes have begun.
    std::thread::sleep(thousand);
    drop(gone);
    let began = Instant::now();
    assert!(ask(1).blocking_recv().unwrap().is_ok());
    let waited = began.elapsed();
    assert!(waited < 300 * thousand, "{waited:?}, and a thousand passes take {thousand:?}");
}

#[test]
fn people_come_between_the_passes_of_a_job_and_of_those_who_ask_for_many() {
    let (model, metrics) = (model_of_passes(), Arc::new(Metrics::new()));
    let engine = engine(&metrics);
    let ask = |samples, class| {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            lane: 0,
            model: Arc::clone(&model),
            encoded: encoded(&model, "a film"),
            asked: model.predictor.usual().clone(),
            sampling: model.predictor.passes(Some(samples), 0),
            reply,
        };
        engine.submit(ticket, class, None).unwrap();
        answer
    };
    for class in [Class::Job, Class::Interactive] {
        let mut long = ask(20_000, class);
        while engine.waiting(class) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..5 {
            assert!(ask(1, Class::Interactive).blocking_recv().unwrap().is_ok());
        }
        assert!(long.try_recv().is_err(), "{class:?}: they waited for all of its passes");
        assert!(long.blocking_recv().unwrap().is_ok(), "{class:?}");
    }
}

#[test]
fn a_text_is_answered_as_the_predictor_does_whatever_its_company() {
    let (model, metrics) = (model(), Arc::new(Metrics::new()));
    let engine = engine(&metrics);
    let texts = ["a film", "another film of some length", "one"];
    let replies = texts.map(|text| submit(&engine, &model, encoded(&model, text)));
    for (text, reply) in texts.into_iter().zip(replies) {
        let answer = reply.blocking_recv().unwrap().unwrap();
        let alone = model.predictor.predict(&[(text, None)], &mut |_| ()).unwrap().remove(0);
        assert_eq!(answer.prediction.predictive, alone.predictive);
        assert_eq!(answer.prediction.logits, alone.logits);
    }
    assert!(engine.last_seen().unwrap() < Duration::from_secs(30));
    assert!(engine.busy_ratio() > 0.0);
}

#[test]
fn a_panic_costs_its_own_batch_and_nothing_else() {
    let (model, metrics) = (model(), Arc::new(Metrics::new()));
    let engine = engine(&metrics);
    // A sequence without tokens breaks an invariant of the packed batch: a real panic.
    let broken = submit(&engine, &model, Encoded::default());
    assert_eq!(broken.blocking_recv().unwrap().unwrap_err(), Problem::Internal);
    assert_eq!(metrics.engine_panics.get(), 1);
    let good = submit(&engine, &model, encoded(&model, "a film"));
    assert!(good.blocking_recv().unwrap().is_ok());
    assert_eq!(metrics.engine_restarts.get(), 0);
    assert!(engine.last_seen().is_some());
}

#[test]
fn a_thread_that_ends_is_started_once_more_and_then_given_up() {
    for panics in 0..=2 {
        let metrics = Arc::new(Metrics::new());
        let engine = engine(&metrics);
        let (begun, given_up) = (AtomicU64::new(0), AtomicBool::new(false));
        let work = || {
            let before = begun.fetch_add(1, Ordering::AcqRel);
            assert!(before >= panics, "of no batch");
        };
        engine.shared.twice(work, || given_up.store(true, Ordering::Release));
        assert_eq!(begun.load(Ordering::Acquire), 1 + panics.min(1), "{panics}");
        assert_eq!(metrics.engine_restarts.get(), panics.min(1));
        assert_eq!(given_up.load(Ordering::Acquire), panics == 2);
        assert_eq!(engine.last_seen().is_none(), panics == 2);
    }
}

#[test]
fn after_a_reload_texts_are_read_by_the_model_that_tokenised_them() {
    let (old, new) = (model(), model());
    let metrics = Arc::new(Metrics::new());
    let engine = engine(&metrics);
    let replies: Vec<Reply> = (0..8)
        .map(|i| {
            let model = if i % 2 == 0 { &old } else { &new };
            submit(&engine, model, encoded(model, "a film"))
        })
        .collect();
    assert!(replies.into_iter().all(|reply| reply.blocking_recv().unwrap().is_ok()));
}
