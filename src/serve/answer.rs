//! One text on its way: cache, tokens, queue, engine, object.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::engine::{Answer, Ticket};
use super::forward::Leave;
use super::metrics::Stage;
use super::model::{Loaded, unkept};
use super::problem::{Fault, Problem};
use super::request::{Abstain, Options, Sent, fault};
use super::scheduler::Class;
use super::served::Chosen;
use super::shared::MOST_BYTES;
use super::tokenize::Ask;
use crate::calibrate::novelty::NoveltyScore;
use crate::calibrate::{Asked, Limits};
use crate::model::Sampling;
use crate::posterior::LogitDistribution;
use crate::predict::{PairError, Prediction, PredictionObject, Presentation};

/// Bytes of the logits that a kept answer may have before it counts as more than one.
const KEPT_BYTES: usize = 4096;

/// Answers that are kept, by what they depend on.
pub type Cache = moka::future::Cache<[u8; 32], Kept>;

/// An answer that is kept, with the times that it took.
#[derive(Clone)]
pub struct Kept {
    prediction: Arc<Prediction>,
    times: Times,
}

/// Where the time of a text went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    pub tokenize: Duration,
    pub queue: Duration,
    pub inference: Duration,
}

/// Who asks, and how urgently.
#[derive(Clone, Copy, Debug)]
pub struct Urgency<'a> {
    /// A connection or a job.
    pub class: Class,
    /// When the request came.
    pub came: Instant,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// Whether a kept answer will do.
    pub cached: bool,
    /// Whether its text may leave for another server.
    pub leave: Leave<'a>,
}

/// Makes the cache; its size is counted in answers of usual size.
pub fn cache(entries: u64, life: Duration) -> Cache {
    let weight = |_: &[u8; 32], kept: &Kept| 1 + (8 * kept.numbers() / KEPT_BYTES) as u32;
    Cache::builder().max_capacity(entries).time_to_live(life).weigher(weight).build()
}

impl Kept {
    /// How many numbers most of it is.
    fn numbers(&self) -> usize {
        match &self.prediction.logits {
            LogitDistribution::Samples { logit_mc, .. } => logit_mc.len(),
            LogitDistribution::Point(_) | LogitDistribution::Gaussian { .. } => {
                self.prediction.predictive.probability_c.len()
            }
        }
    }
}

impl App {
    /// Refuses what the model cannot do: pairs, where it reads single texts only, and single
    /// texts, where it reads pairs; `field` is where the second text stands. And limits that it cannot keep:
    /// who sets one relies on it.
    pub fn check_able(
        &self,
        loaded: &Loaded,
        sent: &[Sent],
        field: &str,
        options: &Options,
    ) -> Result<(), Problem> {
        let predictor = &loaded.predictor;
        let pairs = predictor.pairs().check(sent.iter().map(|sent| sent.pair.is_some()));
        let pairs = pairs.err().map(|error| {
            let (msg, kind) = match error {
                PairError::Pair => {
                    ("this model classifies single texts only".to_owned(), "pair_unsupported")
                }
                PairError::NoSegment { segment, rows } => (
                    format!(
                        "this model classifies single texts only: its tokenizer gives a second text the segment \
                         {segment}, but its encoder has embeddings for {rows}"
                    ),
                    "pair_unsupported",
                ),
                PairError::Single => (
                    "is required: this model was trained on pairs of texts".to_owned(),
                    "missing",
                ),
            };
            fault(&[field.into()], msg, kind)
        });
        let limits = unkept(predictor.artifact(), &options.abstain).into_iter().map(|limit| {
            let msg = format!("{limit}; remove it");
            fault(&["abstain".into(), limit.field.into()], msg, "limit_unsupported")
        });
        let undrawn = match predictor.passes(None, 0) {
            Some(Sampling::Dropout(_)) => None,
            Some(Sampling::Members) => Some(
                "this model is an ensemble, and each of its networks reads every text; remove `num_samples`",
            ),
            Some(Sampling::TopLayers) => Some(
                "the samples of this model's top layers were drawn once, and each of them reads every text; \
                 remove `num_samples`",
            ),
            None => Some(
                "this model uses a single forward pass and draws no samples; remove `num_samples`",
            ),
        };
        let passes = undrawn.filter(|_| options.num_samples.is_some());
        let passes = passes.map(|msg| fault(&["num_samples".into()], msg, "samples_unsupported"));
        let faults: Vec<Fault> = pairs.into_iter().chain(limits).chain(passes).collect();
        if faults.is_empty() { Ok(()) } else { Err(Problem::Validation(faults)) }
    }

    pub async fn answer(
        &self,
        chosen: &Chosen,
        sent: &Sent,
        options: &Options,
        urgency: Urgency<'_>,
    ) -> Result<(PredictionObject, Times), Problem> {
        let outcome = match urgency.deadline {
            Some(deadline) => {
                timeout_at(deadline, self.kept_or_new(chosen, sent, options, urgency))
                    .await
                    .unwrap_or(Err(Problem::DeadlineExceeded))
            }
            None => self.kept_or_new(chosen, sent, options, urgency).await,
        };
        let Chosen { served, loaded, .. } = chosen;
        let (kept, cached) =
            outcome.inspect_err(|problem| self.metrics.failed(&served.name, problem))?;
        let began = Instant::now();
        let predictor = &loaded.predictor;
        let shown = Presentation {
            uncertainty: options.return_uncertainty,
            top_k: options.top_k,
            samples: options.return_samples,
            logits: false,
            seed: options.seed,
        };
        let took = urgency.came.elapsed();
        let mut object = PredictionObject {
            model: served.name.to_string(),
            prediction_id: Some(self.feedback.name(loaded, sent, &kept.prediction)),
            text: options.return_text.then(|| sent.text.to_string()),
            text_pair: sent.pair.as_deref().filter(|_| options.return_text).map(str::to_owned),
            cached: Some(cached),
            processing_time_ms: Some(took.as_secs_f64() * 1e3),
            ..predictor.object(&kept.prediction, &shown)
        };
        self.metrics.predicted(&served.name, predictor, &kept.prediction, took);
        served.drift.predicted(loaded, &kept.prediction);
        self.metrics.stage(Stage::Postprocess, began.elapsed());
        self.forward(chosen, sent, options, urgency, &mut object).await;
        Ok((object, if cached { Times::default() } else { kept.times }))
    }

    /// The answer, and whether it was kept from before.
    async fn kept_or_new(
        &self,
        chosen: &Chosen,
        sent: &Sent,
        options: &Options,
        urgency: Urgency<'_>,
    ) -> Result<(Kept, bool), Problem> {
        let Chosen { served, loaded: model, .. } = chosen;
        let counted = |result| self.metrics.cache(&served.name, "memory", result);
        let Some(cache) = &served.cache else {
            return Ok((self.compute(chosen, sent, options, urgency).await?, false));
        };
        let key = key(model, sent, options, self.sampling(model, options));
        if urgency.cached {
            if let Some(kept) = cache.get(&key).await {
                counted("hit");
                return Ok((kept, true));
            }
        } else {
            counted("bypass");
            let kept = self.compute(chosen, sent, options, urgency).await?;
            cache.insert(key, kept.clone()).await;
            self.for_others(chosen, &key, &kept);
            return Ok((kept, false));
        }
        let (mut ours, mut of_others) = (false, false);
        let shared = cache
            .try_get_with(key, async {
                ours = true;
                counted("miss");
                if let Some(kept) = self.of_others(chosen, &key).await {
                    of_others = true;
                    return Ok(kept);
                }
                let kept = self.compute(chosen, sent, options, urgency).await?;
                self.for_others(chosen, &key, &kept);
                Ok(kept)
            })
            .await;
        match shared {
            Ok(kept) => {
                if !ours {
                    counted("coalesced");
                    self.metrics.cache_coalesced.inc();
                }
                Ok((kept, of_others))
            }
            // Another's deadline is not ours.
            Err(problem) if !ours && depends_on_the_asker(&problem) => {
                Ok((self.compute(chosen, sent, options, urgency).await?, false))
            }
            Err(problem) => Err(Arc::unwrap_or_clone(problem)),
        }
    }

    /// What another replica has kept.
    async fn of_others(&self, chosen: &Chosen, key: &[u8; 32]) -> Option<Kept> {
        let link = self.shared.as_ref()?;
        let model = &chosen.loaded;
        let found = link.kept(&self.shared_key(chosen, key)).await;
        let prediction = match &found {
            Ok(Some(bytes)) => model.predictor.read_back(bytes),
            Ok(None) | Err(_) => None,
        };
        let result = match (&found, &prediction) {
            (Err(_), _) => "bypass",
            (Ok(_), Some(_)) => "hit",
            (Ok(_), None) => "miss",
        };
        self.metrics.cache(&chosen.served.name, "redis", result);
        Some(Kept { prediction: Arc::new(prediction?), times: Times::default() })
    }

    /// Keeps an answer for other replicas; nobody waits for that.
    fn for_others(&self, chosen: &Chosen, key: &[u8; 32], kept: &Kept) {
        let Some(link) = self.shared.clone().filter(|link| link.is_well()) else { return };
        // Most of them are longer as text; so many draws are not kept for others.
        if 8 * kept.numbers() > MOST_BYTES {
            return;
        }
        let (key, life) = (self.shared_key(chosen, key), self.settings.cache.1);
        let (model, prediction) = (Arc::clone(&chosen.loaded), Arc::clone(&kept.prediction));
        tokio::spawn(async move {
            let bytes = model.predictor.write_down(&prediction);
            if bytes.len() <= MOST_BYTES {
                // The link says itself what is wrong with it.
                let _ = link.keep(&key, &bytes, life).await;
            }
        });
    }

    /// What an answer depends on beside what it depends on here: settings and device of this server.
    fn shared_key(&self, chosen: &Chosen, key: &[u8; 32]) -> [u8; 32] {
        let labels = chosen.loaded.predictor.labels();
        let device = chosen.served.model.device();
        let own = (env!("CARGO_PKG_VERSION"), device, labels, &self.settings.abstain);
        Sha256::new().chain_update(key).chain_update(format!("{own:?}")).finalize().into()
    }

    async fn compute(
        &self,
        chosen: &Chosen,
        sent: &Sent,
        options: &Options,
        urgency: Urgency<'_>,
    ) -> Result<Kept, Problem> {
        let Chosen { served, loaded: model, .. } = chosen;
        let lane = served.lane;
        let began = Instant::now();
        let deadline = urgency.deadline.map(Instant::into_std);
        let class = urgency.class;
        self.engine.expect(lane, class, deadline)?;
        let ask = Ask { model: Arc::clone(model), sent: sent.clone(), class, deadline };
        // The threads drop an answer only when they are gone.
        let encoded = self.tokenizers.submit(ask)?.await.unwrap_or(Err(Problem::Internal))?;
        let tokenize = began.elapsed();
        self.metrics.stage(Stage::Tokenize, tokenize);
        if !options.truncate && encoded.full_length as usize > encoded.ids.len() {
            let (found, most) = (encoded.full_length, encoded.ids.len());
            let msg = format!(
                "has {found} tokens, but the model accepts at most {most}; shorten it or set \
                 `truncate` to true"
            );
            return Err(Problem::TextTooLong(vec![fault(&["text".into()], msg, "too_long")]));
        }
        let (reply, answer) = oneshot::channel();
        let asked = self.asked(model, options);
        let sampling = self.sampling(model, options);
        let ticket = Ticket { model: Arc::clone(model), encoded, asked, lane, sampling, reply };
        self.engine.submit(ticket, class, deadline)?;
        // The engine drops a ticket only when its thread is gone.
        let answer = answer.await.unwrap_or(Err(Problem::NotReady))?;
        let Answer { prediction, queue, inference } = answer;
        Ok(Kept { prediction, times: Times { tokenize, queue, inference } })
    }

    /// The passes that an answer rests on: not only what is sent, but what is decided by.
    pub fn sampling(&self, model: &Loaded, options: &Options) -> Option<Sampling> {
        let novelty = model.predictor.artifact().calibration.novelty.as_ref();
        let novel = novelty.is_some_and(|one| one.score == NoveltyScore::MutualInformation);
        let limited = || self.limits(model, options).is_some_and(|one| one.max_epistemic.is_some());
        let wanted = model.predictor.always_sampled()
            || options.return_uncertainty
            || options.return_samples
            || novel
            || limited();
        wanted.then(|| model.predictor.passes(options.num_samples, options.seed)).flatten()
    }

    /// Coverage and thresholds: the request's, else the server's, else the model's.
    fn asked(&self, model: &Loaded, options: &Options) -> Asked {
        let calibration = &model.predictor.artifact().calibration;
        let usual = model.predictor.usual();
        let bounds = options.coverage.and_then(|coverage| {
            let alpha = 1.0 - coverage;
            match &usual.bounds {
                Some(usual) if (usual.alpha - alpha).abs() < 1e-12 => Some(usual.clone()),
                _ => calibration.conformal.as_ref().map(|conformal| conformal.bounds(alpha)),
            }
        });
        let deciding = usual.deciding.clone();
        Asked { bounds, limits: self.limits(model, options), deciding }
    }

    /// What a prediction must meet; `None` where nothing is decided.
    pub fn limits(&self, model: &Loaded, options: &Options) -> Option<Limits> {
        let usual = model.predictor.usual();
        let (request, server) = (&options.abstain, &self.settings.abstain);
        let novelty = model.predictor.artifact().calibration.novelty.as_ref();
        // A model that decides nothing by itself has the p-value that it flags at, all the same.
        let own = usual.limits.unwrap_or_else(|| Limits {
            ood_p: novelty.map(|novelty| novelty.alarm).filter(|&alarm| alarm > 0.0),
            ..Limits::default()
        });
        let others = [request, server];
        let decides =
            usual.limits.is_some() || others.iter().any(|one| **one != Abstain::default());
        let limits = Limits {
            min_confidence: request.min_confidence.or(server.min_confidence).or(own.min_confidence),
            max_epistemic: request.max_epistemic.or(server.max_epistemic).or(own.max_epistemic),
            ood_p: request.ood_p.or(server.ood_p).or(own.ood_p),
            max_set_size: own.max_set_size,
        };
        decides.then_some(limits)
    }
}

fn depends_on_the_asker(problem: &Problem) -> bool {
    matches!(problem, Problem::DeadlineExceeded | Problem::Cancelled | Problem::Overloaded(_))
}

/// What an answer depends on: the model, the options that change it, whether it rests on passes, the text or
/// both texts.
fn key(model: &Loaded, sent: &Sent, options: &Options, sampling: Option<Sampling>) -> [u8; 32] {
    let Options { num_samples, seed, coverage, abstain, truncate, .. } = options;
    let asked = (sampling.is_some(), num_samples, seed, coverage, abstain, truncate);
    let asked = format!("{asked:?}");
    let mut hasher = Sha256::new();
    let pair = sent.pair.as_deref();
    for part in [model.predictor.version(), &*asked, &*sent.text].into_iter().chain(pair) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}
