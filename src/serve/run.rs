//! From settings to a server, and its life: start, reload, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::app::{App, Parts, Phase, metrics_router, router};
use super::engine::{Engine, Several};
use super::feedback::{Feedback, FeedbackError, SecretSource, exchange};
use super::forward::{Forward, ForwardError};
use super::gate::Gate;
use super::jobs::embedded::Embedded;
use super::jobs::shared::Shared;
use super::jobs::store::{Store, StoreError};
use super::jobs::{Jobs, work};
use super::keys::{KeyError, KeySource, Keys};
use super::metrics::Metrics;
use super::model::{LoadError, Loaded, Model, Place};
use super::served::Models;
use super::server::{self, Connections};
use super::settings::{Role, Settings};
use super::shared::{Address, Link};
use super::tokenize::Tokenizers;
use crate::compute::Backend;

/// Threads that talk to clients; the work is done elsewhere.
const TALKERS: usize = 2;

/// Bytes of an answer that the system holds for a client; it counts about twice as many. Left to itself
/// it holds some megabytes of what a client does not read, which no budget of ours would know.
const SEND_BUFFER: u32 = 128 * 1024;
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;

/// The exit code after a second signal, and when the engine is lost.
const GIVEN_UP: i32 = 130;
const ENGINE_LOST: i32 = 70;

/// Why the server did not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The model cannot be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file of the jobs cannot be used.
    #[error(transparent)]
    Jobs(#[from] StoreError),
    /// The folder of feedback or its keys cannot be used.
    #[error(transparent)]
    Feedback(#[from] FeedbackError),
    /// The API keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}; choose another address with --host or --port")]
    Listen {
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The key or the certificates for forwarded texts cannot be used.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The system gave no thread or signal.
    #[error("the system refused a thread or a signal")]
    System(#[from] std::io::Error),
    /// The thread that accepts connections ended, which it never should.
    #[error("the thread that accepts connections ended")]
    Door,
    /// The tokenising threads did not start.
    #[error("the tokenizer threads did not start")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// A model to serve: its folder, and what requests call it, if that is not what the folder says.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    pub name: Option<String>,
    pub folder: PathBuf,
}

impl ModelFolder {
    /// These as a server loads them.
    pub fn places(all: Vec<Self>, device: &Backend, settings: &Settings) -> Vec<Place> {
        let has_others = all.len() > 1;
        let place = |Self { name, folder }| Place {
            name,
            folder,
            device: device.clone(),
            abstain: settings.abstain,
            loading: settings.loading.clone(),
            has_others,
        };
        all.into_iter().map(place).collect()
    }
}

/// Loads models one after the other, so that each finds the encoders of those before.
///
/// # Errors
/// One cannot be served, or two have one name.
pub fn load_all(places: Vec<Place>) -> Result<Vec<Model>, LoadError> {
    let mut models: Vec<Model> = Vec::with_capacity(places.len());
    for place in places {
        let others: Vec<Arc<Loaded>> = models.iter().map(Model::current).collect();
        let model = Model::load(place, &others)?;
        if models.iter().any(|other| other.name() == model.name()) {
            return Err(LoadError::SameName(model.name().to_owned()));
        }
        models.push(model);
    }
    Ok(models)
}

/// Serves models until a signal says stop; the first answers requests that name none. The port opens at once;
/// `ready` is told the address when the models are there. True if every request was answered before the end.
pub fn run(
    models: Vec<ModelFolder>,
    device: &Backend,
    settings: Settings,
    ready: impl FnOnce(SocketAddr),
) -> Result<bool, ServeError> {
    let metrics = Arc::new(Metrics::new());
    let keys = Keys::read(&settings.api_keys)?;
    let jobs = Kept::open(&settings, &metrics)?;
    let feedback = Feedback::open(&settings.feedback, &metrics)?;
    let forward = settings.forward.as_ref();
    let forward = forward.map(|own| Forward::open(own, settings.cache, &metrics)).transpose()?;
    if settings.redis.is_some() && matches!(settings.feedback.secrets, SecretSource::Random) {
        tracing::warn!(
            "labels are taken by the server that predicted alone: give all replicas the same --feedback-key-file"
        );
    }
    let places = ModelFolder::places(models, device, &settings);
    let device = device.clone();
    let start = Launch { places, device, settings, metrics, jobs, feedback, forward, keys };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(TALKERS).enable_all().build()?;
    let drained = runtime.block_on(live(start, ready));
    runtime.shutdown_background();
    drained
}

/// What there is before the model.
struct Launch {
    places: Vec<Place>,
    device: Backend,
    settings: Settings,
    metrics: Arc<Metrics>,
    jobs: Kept,
    feedback: Feedback,
    forward: Option<Arc<Forward>>,
    keys: Keys,
}

/// The file of the jobs, opened before the model is loaded: what is wrong with it is told at once.
enum Kept {
    Own(Embedded),
    /// Copies of those in Redis; a worker has none.
    Copies(Address, Option<Store>),
}

impl Kept {
    fn open(settings: &Settings, metrics: &Arc<Metrics>) -> Result<Self, StoreError> {
        let (path, most) = (&settings.jobs_path, settings.jobs_bytes);
        Ok(match (&settings.redis, settings.role) {
            (None, _) => Self::Own(Embedded::open(path, most, Arc::clone(metrics))?),
            (Some(redis), Role::Replica) => {
                Self::Copies(redis.clone(), Some(Store::open(path, most)?))
            }
            (Some(redis), Role::Worker) => Self::Copies(redis.clone(), None),
        })
    }
}

impl Launch {
    /// Loads and warms the model and starts all threads.
    fn finish(self) -> Result<App, ServeError> {
        let Self { places, device: _, settings, metrics, jobs, mut feedback, forward, keys } = self;
        let models = load_all(places)?;
        let lost = || std::process::exit(ENGINE_LOST);
        // The slowest, until there is a batch to go by.
        let rate = models.iter().map(|model| model.current().rate).fold(f64::INFINITY, f64::min);
        let (limits, wait) = (settings.batch, settings.batch_wait);
        let several = match models.len() {
            1 => Several::No,
            _ if settings.cache.0 > 0 && have_one_encoder(&models) => Several::OneEncoder,
            _ => Several::Yes,
        };
        let engine = Engine::start(limits, wait, rate, several, Arc::clone(&metrics), lost)?;
        let tokenizers = Tokenizers::new(settings.tokenizer_threads, Arc::clone(&metrics))?;
        // What separates names stands in none of them.
        let names = models.iter().map(|model| model.name().replace('+', "%2B"));
        let name = names.collect::<Vec<_>>().join("+");
        let models = Models::new(models, &settings);
        let (jobs, shared) = match jobs {
            Kept::Own(jobs) => (Jobs::Embedded(Arc::new(jobs)), None),
            Kept::Copies(address, copies) => {
                let link = Link::new(address, &name);
                let jobs = Shared::new(Arc::clone(&link), copies, Arc::clone(&metrics))?;
                if settings.role == Role::Replica {
                    feedback.share(Arc::clone(&link), &settings.feedback);
                }
                (Jobs::Shared(jobs), Some(link))
            }
        };
        let app = App::new(Parts {
            settings,
            models,
            engine,
            metrics,
            tokenizers,
            jobs,
            shared,
            feedback,
            forward,
            keys,
        });
        app.tell_undecided();
        Ok(app)
    }
}

/// Whether two of them have the same encoder.
fn have_one_encoder(models: &[Model]) -> bool {
    let trunks: Vec<_> = models.iter().filter_map(|model| model.current().trunk.clone()).collect();
    (1..trunks.len()).any(|place| trunks[..place].contains(&trunks[place]))
}

fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        // Connections have it from here.
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().map_err(|source| ServeError::Listen { address, source })
}

async fn live(start: Launch, ready: impl FnOnce(SocketAddr)) -> Result<bool, ServeError> {
    let settings = start.settings.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let listener = listen(settings.address)?;
    let connections = Connections {
        most: settings.connections,
        header_timeout: settings.header_timeout,
        drain: settings.drain_timeout,
    };
    let (stop, stopping) = watch::channel(false);
    let address = listener.local_addr()?;
    let gate = Gate::closed(start.device.kind());
    let mut server = server::open(listener, gate.clone(), connections, stopping.clone())?;
    let app = tokio::select! {
        loaded = spawn_blocking(|| start.finish()) => match loaded {
            Ok(loaded) => Arc::new(loaded?),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
        // Nobody has been promised anything yet.
        _ = terminate.recv() => return Ok(true),
        _ = interrupt.recv() => return Ok(true),
    };
    let app = &app;
    let mut tasks = JoinSet::new();
    if let Some(address) = settings.metrics_address {
        let listener = listen(address)?;
        server::open(listener, Gate::opened(metrics_router(app)), connections, stopping)?;
    }
    if let Some(link) = &app.shared {
        // Who asks first is not to be the one who finds out that it is gone.
        link.look().await;
        tasks.spawn(Arc::clone(link).watch());
    }
    app.jobs.start(&mut tasks);
    work::start(app, &mut tasks);
    tasks.spawn(exchange(Arc::clone(app)));
    let again = Arc::new(Notify::new());
    tasks.spawn(reload(Arc::clone(app), Arc::clone(&again)));
    gate.open(router(app));
    ready(address);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => again.notify_one(),
            _ = &mut server => return Err(ServeError::Door),
        }
    }
    tracing::info!("received stop signal: finishing open requests and accepting no new ones");
    app.enter(Phase::Leaving);
    let end = async {
        sleep(settings.shutdown_delay).await;
        app.enter(Phase::Draining);
        // Nobody listens any more only if the server has ended already.
        let _ = stop.send(true);
        (&mut server).await.unwrap_or(false)
    };
    let drained = tokio::select! {
        drained = end => drained,
        _ = terminate.recv() => std::process::exit(GIVEN_UP),
        _ = interrupt.recv() => std::process::exit(GIVEN_UP),
    };
    tasks.abort_all();
    app.jobs.release().await;
    app.feedback.close();
    Ok(drained)
}

/// Reads the keys and the model folder again as often as it is told to, one after the other: each takes
/// the memory of a model. However often it is told meanwhile, it reads them once more afterwards.
async fn reload(app: Arc<App>, again: Arc<Notify>) {
    loop {
        again.notified().await;
        let app = Arc::clone(&app);
        // A panic there has said what it is itself.
        let _ = spawn_blocking(move || read_again(&app)).await;
    }
}

/// Reads them beside those in service. Each takes its place whole, or the old one stays.
fn read_again(app: &App) {
    // What stands in a variable stays what it is.
    if matches!(app.settings.api_keys, KeySource::File(_)) {
        let keys = Keys::read(&app.settings.api_keys).map(|keys| app.set_keys(keys));
        told(app, "", "key list", keys.map_err(|error| causes(&error)));
    }
    let secrets = &app.settings.feedback.secrets;
    if !matches!(secrets, SecretSource::Random) {
        let secrets = app.feedback.reload(secrets);
        told(app, "", "feedback key", secrets.map_err(|error| causes(&error)));
    }
    if let Some(forward) = app.forward.as_ref().filter(|forward| forward.has_key_file()) {
        told(app, "", "forward key", forward.reload().map_err(|error| causes(&error)));
    }
    for served in app.models.all() {
        let beside = app.models.all().iter().filter(|other| !Arc::ptr_eq(other, served));
        let others: Vec<Arc<Loaded>> = beside.map(|other| other.model.current()).collect();
        let outcome = served.model.reload(&others);
        if let Ok(is_another) = outcome {
            let new = served.model.current();
            app.metrics.set_model(&served.name, &new.predictor);
            // The tests of the same model go on: what they found still holds.
            if is_another {
                served.drift.begin(&served.name, &new);
            }
        }
        if matches!(outcome, Ok(false)) {
            tracing::info!(model = &*served.name, "the folder holds the same model as before");
        }
        told(app, &served.name, "model", outcome.map(drop).map_err(|error| causes(&error)));
    }
}

/// `model` is the name of the one that was read again; keys belong to all.
fn told(app: &App, model: &str, what: &'static str, outcome: Result<(), String>) {
    let of = app.models.find(model);
    let version = of.as_ref().map(|of| of.loaded.predictor.version());
    let name = of.as_ref().map(|of| &*of.served.name);
    match outcome {
        Ok(()) => {
            app.metrics.reloaded(model, what, "taken");
            tracing::info!(model = name, version, "a new {what} is in service");
        }
        Err(error) => {
            app.metrics.reloaded(model, what, "refused");
            tracing::error!(model = name, error, "the old {what} stays in service");
        }
    }
}

/// An error with all its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let all = std::iter::successors(Some(error), |error| error.source());
    all.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
