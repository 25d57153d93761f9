//! Doing jobs: a few at a time, each text by the same way as that of a request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::answer::Urgency;
use super::super::app::App;
use super::super::endpoints::predict::{Batch, Item};
use super::super::forward::Leave;
use super::super::limit::Limiter;
use super::super::problem::Problem;
use super::super::reply;
use super::super::request::{self, Options, Sent, Texts};
use super::super::scheduler::Class;
use super::super::served::Chosen;
use super::{Begun, Running};
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
                let Begun { id, body, running, left } = app.jobs.next().await;
                let outcome = tokio::select! {
                    outcome = perform(&app, &id, body, &running) => outcome,
                    () = running.cancelled() => Err(Problem::Cancelled),
                    () = sleep(left) => Err(Problem::DeadlineExceeded),
                };
                app.jobs.ended(id, outcome).await;
            }
        });
    }
    let app = Arc::clone(app);
    tasks.spawn(async move {
        loop {
            sleep(SWEEP).await;
            app.jobs.sweep().await;
            let limiters = [app.limiter.as_ref(), app.reads.as_ref(), Some(&app.wrong_keys)];
            limiters.into_iter().flatten().for_each(Limiter::tidy);
        }
    });
}

async fn perform(app: &App, id: &str, body: Value, running: &Running) -> Result<Vec<u8>, Problem> {
    let came = Instant::now();
    let job = request::job(body, &app.settings.request)?;
    let chosen = &app.models.chosen(app.models.first(), job.options.model.as_deref())?;
    match &job.texts {
        Texts::One(sent) => {
            let object = patiently(app, chosen, sent, &job.options, came, id).await?;
            running.done.store(1, Ordering::Release);
            packed(app, object).await
        }
        Texts::Many(texts) => {
            let (done, options) = (&running.done, &job.options);
            let one = |sent: Sent| async move {
                let answer = patiently(app, chosen, &sent, options, came, id).await;
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
                        Item::Failed { error: problem.body(id) }
                    }
                    Err(problem) => return Err(problem),
                });
            }
            let processing_time_ms = came.elapsed().as_secs_f64() * 1e3;
            let count = predictions.len();
            packed(app, Batch { predictions, count, errors, processing_time_ms }).await
        }
    }
}

async fn packed<T: Serialize + Send + 'static>(app: &App, result: T) -> Result<Vec<u8>, Problem> {
    let pack = move || {
        let json = serde_json::to_vec(&result).map_err(|_| Problem::Internal)?;
        Ok(reply::pack(&json))
    };
    app.aside.json(pack).await
}

/// A job has time: it tries again when the queue is full.
async fn patiently(
    app: &App,
    chosen: &Chosen,
    sent: &Sent,
    options: &Options,
    came: Instant,
    id: &str,
) -> Result<PredictionObject, Problem> {
    let class = Class::Job;
    let urgency = Urgency { class, came, deadline: None, cached: true, leave: Leave::May(id) };
    let mut pause = PAUSE;
    loop {
        match app.answer(chosen, sent, options, urgency).await {
            Ok((object, _)) => return Ok(object),
            Err(Problem::Overloaded(_)) => {
                sleep(pause).await;
                pause = (2 * pause).min(Duration::from_secs(1));
            }
            Err(problem) => return Err(problem),
        }
    }
}
