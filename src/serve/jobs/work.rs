//! Doing jobs: a few at a time, each text by the same way as that of a request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::answer::Urgency;
use super::super::app::App;
use super::super::endpoints::predict::{Batch, Item};
use super::super::problem::Problem;
use super::super::request::{self, Options, Sent, Texts};
use super::super::scheduler::Class;
use super::Begun;
use crate::predict::PredictionObject;

/// Jobs at once.
const WORKERS: usize = 4;
/// Texts of one job at once: enough to fill batches.
const TEXTS: usize = 32;
/// The first pause of a job that found the queue full.
const PAUSE: Duration = Duration::from_millis(20);
/// How often jobs are looked through for those whose time is over.
const SWEEP: Duration = Duration::from_secs(30);

/// Works until the tasks are aborted.
pub fn start(app: &Arc<App>, tasks: &mut tokio::task::JoinSet<()>) {
    for _ in 0..WORKERS {
        let app = Arc::clone(app);
        tasks.spawn(async move {
            loop {
                let begun = app.jobs.next().await;
                let outcome = tokio::select! {
                    outcome = perform(&app, &begun) => outcome,
                    () = begun.running.cancelled() => Err(Problem::Cancelled),
                };
                app.jobs.ended(&begun.id, &outcome).await;
            }
        });
    }
    let app = Arc::clone(app);
    tasks.spawn(async move {
        loop {
            sleep(SWEEP).await;
            app.jobs.sweep();
            if let Some(limiter) = &app.limiter {
                limiter.tidy();
            }
        }
    });
}

async fn perform(app: &App, begun: &Begun) -> Result<Value, Problem> {
    let came = Instant::now();
    let job = request::job(begun.body.clone(), &app.settings.request)?;
    let json = |value: serde_json::Result<Value>| value.map_err(|_| Problem::Internal);
    match &job.texts {
        Texts::One(sent) => {
            let object = patiently(app, sent, &job.options, came).await?;
            begun.running.done.store(1, Ordering::Release);
            json(serde_json::to_value(object))
        }
        Texts::Many(texts) => {
            let (done, options) = (&begun.running.done, &job.options);
            let one = |sent: Sent| async move {
                let answer = patiently(app, &sent, options, came).await;
                done.fetch_add(1, Ordering::AcqRel);
                answer
            };
            let mut answers = iter(texts.iter().cloned().map(one)).buffered(TEXTS);
            let mut predictions = Vec::with_capacity(texts.len());
            let mut errors = 0;
            while let Some(answer) = answers.next().await {
                predictions.push(match answer {
                    Ok(object) => Item::Prediction(Box::new(object)),
                    Err(problem @ Problem::ModelOutput) => {
                        errors += 1;
                        Item::Failed { error: problem.body(&begun.id) }
                    }
                    Err(problem) => return Err(problem),
                });
            }
            let processing_time_ms = came.elapsed().as_secs_f64() * 1e3;
            let count = predictions.len();
            json(serde_json::to_value(Batch { predictions, count, errors, processing_time_ms }))
        }
    }
}

/// A job has time: it tries again when the queue is full.
async fn patiently(
    app: &App,
    sent: &Sent,
    options: &Options,
    came: Instant,
) -> Result<PredictionObject, Problem> {
    let urgency = Urgency { class: Class::Job, came, deadline: None, cached: true };
    let mut pause = PAUSE;
    loop {
        match app.answer(sent, options, urgency).await {
            Ok((object, _)) => return Ok(object),
            Err(Problem::Overloaded(_)) => {
                sleep(pause).await;
                pause = (2 * pause).min(Duration::from_secs(1));
            }
            Err(problem) => return Err(problem),
        }
    }
}
