//! Labels that come after the predictions: taken by any replica, counted once, kept for a new calibration.

mod id;
mod lines;
mod log;
mod mac;
pub mod record;
mod replicas;
mod secrets;
mod window;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use uuid::Uuid;

pub use self::id::{ModelMark, length};
use self::id::{Named, text_tag, verified};
pub use self::lines::LogError;
use self::log::{Log, LogSettings, NotKept, Taken};
use self::mac::Secret;
use self::record::{Label, Text};
use self::replicas::Replicas;
pub use self::replicas::{SharedError, exchange, labels as labels_in_redis};
pub use self::secrets::{SecretError, SecretSource};
use self::window::{Asked, Labelled, Window};
pub use self::window::{Coverage, Figures};
use self::writer::now;
use super::metrics::Metrics;
use super::model::Loaded;
use super::problem::{Fault, Problem};
use super::request::{Sent, fault};
use super::served::{Chosen, Models};
use super::shared::Link;
use crate::predict::Prediction;

/// What is said of an id that no key of ours has signed.
const UNKNOWN: &str = "no prediction with this id: it was changed on its way, or made by another server, or before a \
                       restart; --feedback-key-file lets restarted servers and replicas know each other's predictions";

/// What an operator decides of feedback.
#[derive(Clone, Debug)]
pub struct FeedbackSettings {
    /// The folder that labels are kept in.
    pub path: PathBuf,
    /// Bytes of that folder.
    pub bytes: u64,
    /// Whether the texts of predictions are kept until their label comes.
    pub texts: bool,
    /// What predictions are signed with.
    pub secrets: SecretSource,
    /// How long after a prediction its label may come.
    pub life: Duration,
    /// Labels that the figures are over.
    pub window: usize,
}

/// A label for a prediction, as a client sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    pub prediction_id: String,
    pub label: String,
    /// What was predicted for, where the client has it kept.
    pub sent: Option<Sent>,
}

/// The newest labels, of each model by its mark of labels.
struct Windows {
    by_model: HashMap<[u8; 8], Window>,
    /// Labels of each.
    most: usize,
}

impl Windows {
    fn of(&mut self, model: ModelMark) -> &mut Window {
        let most = self.most;
        self.by_model.entry(model.labels).or_insert_with(|| Window::new(most))
    }
}

/// What became of it.
pub struct Accepted {
    /// The model that predicted.
    pub chosen: Chosen,
    /// Whether the label is the one that was predicted.
    pub correct: bool,
    /// Whether it counts: it was not there before.
    pub is_new: bool,
}

/// All feedback of a server.
pub struct Feedback {
    secrets: RwLock<Arc<Vec<Secret>>>,
    log: Log,
    windows: Mutex<Windows>,
    replicas: Option<Replicas>,
    keeps_texts: bool,
    life: Duration,
}

/// Why there can be none.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    #[error(transparent)]
    Secrets(#[from] SecretError),
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Feedback {
    /// Opens what was kept before.
    pub fn open(settings: &FeedbackSettings, metrics: &Metrics) -> Result<Self, FeedbackError> {
        let FeedbackSettings { path, bytes, texts, secrets, life, window } = settings;
        let mut windows = Windows { by_model: HashMap::new(), most: *window };
        let place = LogSettings { folder: path.clone(), most: *bytes, life: *life };
        let secrets = RwLock::new(Arc::new(secrets::read(secrets)?));
        let log = Log::open(place, metrics.texts_dropped.clone(), &mut |label| {
            let Some(named) = id::trusted(&label.id) else { return };
            if let Some(row) = Labelled::new(&named, label.class) {
                windows.of(named.model).add(label.at, named.uuid, row);
            }
        })?;
        let windows = Mutex::new(windows);
        Ok(Self { secrets, log, windows, replicas: None, keeps_texts: *texts, life: *life })
    }

    /// Shares its labels with other servers.
    pub fn share(&mut self, link: Arc<Link>, settings: &FeedbackSettings) {
        self.replicas = Some(Replicas::new(link, settings));
    }

    fn replicas(&self) -> Option<&Replicas> {
        self.replicas.as_ref()
    }

    /// `ok`, or why labels are refused, or other servers do not know them.
    pub fn state(&self) -> &'static str {
        match self.log.refused() {
            Some(NotKept::Unwritable) => {
                "the feedback folder cannot be written: labels are refused"
            }
            Some(NotKept::Full) => "the feedback folder is full: labels are refused",
            None => self.replicas().map_or("ok", Replicas::state),
        }
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secrets(&self) -> Arc<Vec<Secret>> {
        Arc::clone(&self.secrets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the keys again.
    pub fn reload(&self, source: &SecretSource) -> Result<(), SecretError> {
        // A new random one would make strangers of all predictions so far.
        if matches!(source, SecretSource::Random) {
            return Ok(());
        }
        let new = Arc::new(secrets::read(source)?);
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Names a prediction, and keeps its text where that is wanted.
    pub fn name(&self, model: &Loaded, sent: &Sent, prediction: &Prediction) -> String {
        let uuid = Uuid::now_v7();
        if self.keeps_texts {
            let pair = sent.pair.as_deref().map(str::to_owned);
            self.log.text(Text::new(uuid, sent.text.to_string(), pair));
        }
        // There is always a first one.
        id::name(&self.secrets()[0], *uuid.as_bytes(), model.mark, sent, prediction)
    }

    /// Takes a label: it is on disk when this ends.
    pub async fn take(&self, models: &Models, told: Told) -> Result<Accepted, Problem> {
        let (named, class, chosen) = self.check(models, &told)?;
        let labels = chosen.loaded.predictor.labels();
        let at = self.replicas().map_or_else(now, Replicas::now);
        let label = Label {
            id: told.prediction_id,
            label: told.label,
            class: class as u32,
            predicted: labels.get(named.predicted).cloned().unwrap_or_default(),
            model: Some(chosen.served.name.to_string()),
            at,
            text: told.sent.as_ref().map(|sent| sent.text.to_string()),
            pair: told.sent.and_then(|sent| sent.pair).map(|pair| pair.to_string()),
        };
        let taken = match self.replicas() {
            Some(replicas) => {
                let heard = self.windows().of(named.model).known(named.uuid);
                replicas.take(&self.log, label, named.uuid, heard).await
            }
            None => self.log.label(label.clone(), named.uuid).await.map(|taken| (taken, label)),
        };
        let is_new = match taken {
            Ok((Taken::New, label)) => self.count(models, &label, true).is_some(),
            Ok((Taken::Known, _)) => false,
            Ok((Taken::Other, _)) => return Err(Problem::FeedbackConflict),
            Err(NotKept::Full) => return Err(Problem::FeedbackFull),
            Err(NotKept::Unwritable) => return Err(Problem::FeedbackUnwritable),
        };
        Ok(Accepted { chosen, correct: named.predicted == class, is_new })
    }

    /// Counts a label in the figures, once however often it is heard of, and `tells` the test of drift; the UUID of
    /// its prediction. `None` for one that is none.
    fn count(&self, models: &Models, label: &Label, tells: bool) -> Option<[u8; 16]> {
        let named = id::trusted(&label.id)?;
        let row = Labelled::new(&named, label.class)?;
        let is_new = self.windows().of(named.model).add(label.at, named.uuid, row);
        let is_its = |chosen: &Chosen| chosen.loaded.mark == named.model;
        if is_new
            && tells
            && let Some(Chosen { served, loaded, .. }) = models.in_service().find(is_its)
            && let Some(score) = score(&loaded, &named, label.class as usize)
        {
            served.drift.told(loaded.mark, score);
        }
        Some(named.uuid)
    }

    /// What a label is for, its class, and the model that predicted.
    fn check(&self, models: &Models, told: &Told) -> Result<(Named, usize, Chosen), Problem> {
        let refuse = |faults: Vec<Fault>| Err(Problem::Validation(faults));
        let id = |msg: String, kind| vec![fault(&["prediction_id".into()], msg, kind)];
        let secrets = self.secrets();
        let Some((named, secret)) = verified(&secrets, &told.prediction_id) else {
            return Err(Problem::NotFound(UNKNOWN));
        };
        let age = Duration::from_millis(now().saturating_sub(named.time()));
        if age > self.life {
            let life = humantime::format_duration(Duration::from_secs(self.life.as_secs()));
            let msg = format!("is too old: a label is accepted for {life} after the prediction");
            return refuse(id(msg, "prediction_id_expired"));
        }
        let is_its = |chosen: &Chosen| chosen.loaded.mark.labels == named.model.labels;
        let Some(chosen) = models.in_service().find(is_its) else {
            let msg =
                "is of a model that is no longer in service under its name and with its labels";
            return refuse(id(msg.to_owned(), "prediction_id_other_model"));
        };
        let labels = chosen.loaded.predictor.labels();
        let mut faults = Vec::new();
        let class = labels.iter().position(|label| *label == told.label);
        if class.is_none() {
            let known = crate::data::some(labels.iter().map(String::as_str));
            let msg = format!("is not a label of this model: {known}");
            faults.push(fault(&["label".into()], msg, "label_unknown"));
        }
        let other = |sent: &Sent| !is_of(secret, sent, &named);
        if told.sent.as_ref().is_some_and(other) {
            let msg = "is not the text of this prediction; send it as it was, or leave it out";
            faults.push(fault(&["text".into()], msg, "text_mismatch"));
        }
        match class {
            Some(class) if faults.is_empty() => Ok((named, class, chosen)),
            _ => refuse(faults),
        }
    }

    /// What the newest labels say of a model.
    pub fn figures(&self, model: &Loaded) -> Option<Figures> {
        let conformal = model.predictor.artifact().calibration.conformal.as_ref();
        let asked = self.windows().of(model.mark).asked(model.mark);
        match asked {
            Asked::Known(figures) => figures,
            Asked::New(rows, version) => {
                // Labels may come meanwhile.
                let figures = window::figures(&rows, conformal);
                self.windows().of(model.mark).keep(model.mark, version, figures.clone());
                figures
            }
        }
    }

    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// Waits until everything is on disk.
    pub fn close(&self) {
        self.log.close();
    }
}

/// How ill a label suits its prediction, as the prediction sets see it.
fn score(model: &Loaded, named: &Named, class: usize) -> Option<f64> {
    let conformal = model.predictor.artifact().calibration.conformal.as_ref()?;
    let probability_c: Vec<f64> = named.probability_c.iter().map(|&p| f64::from(p)).collect();
    conformal.score.of(&probability_c, named.uniform).get(class).copied()
}

fn is_of(secret: &Secret, sent: &Sent, named: &Named) -> bool {
    use subtle::ConstantTimeEq;
    text_tag(secret, sent).ct_eq(&named.text).into()
}
