//! The models of a server: each with a name, a place in service, a cache and tests of its own. They share the engine.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use super::answer::{Cache, cache};
use super::app::App;
use super::drift::Drift;
use super::model::{Loaded, Model};
use super::problem::Problem;
use super::request::fault;
use super::settings::Settings;

/// The part of a path that names a model.
pub const IN_PATH: &str = "model";
/// Names that a message lists.
const MOST_LISTED: usize = 8;

/// A model of a server.
pub struct Served {
    /// Its place among those of the server.
    pub lane: usize,
    /// What requests call it.
    pub name: Arc<str>,
    /// Its place in service.
    pub model: Model,
    /// Answers that are kept.
    pub cache: Option<Cache>,
    pub drift: Drift,
}

/// All models of a server, at least one; the first answers requests that name none.
pub struct Models(Vec<Arc<Served>>);

/// The model that answers a request, the same one to its end, though another takes its place meanwhile.
#[derive(Clone)]
pub struct Chosen {
    pub served: Arc<Served>,
    pub loaded: Arc<Loaded>,
    /// Whether the path names it.
    by_path: bool,
}

/// What a path says of the model, for requests that outlive one.
pub struct Way {
    served: Arc<Served>,
    by_path: bool,
}

impl Way {
    /// The model that is there now.
    pub fn chosen(&self) -> Chosen {
        Chosen { by_path: self.by_path, ..Chosen::of(&self.served) }
    }
}

impl Models {
    /// From models that are loaded, in their order.
    pub fn new(models: Vec<Model>, settings: &Settings) -> Self {
        let (entries, life) = settings.cache;
        let serve = |(lane, model): (usize, Model)| {
            let name: Arc<str> = model.name().into();
            let drift = Drift::new(settings.drift_run_length);
            drift.begin(&name, &model.current());
            Arc::new(Served {
                lane,
                name,
                model,
                cache: (entries > 0).then(|| cache(entries, life)),
                drift,
            })
        };
        Self(models.into_iter().enumerate().map(serve).collect())
    }

    pub fn all(&self) -> &[Arc<Served>] {
        &self.0
    }

    /// Each as it is now.
    pub fn in_service(&self) -> impl Iterator<Item = Chosen> + '_ {
        self.0.iter().map(Chosen::of)
    }

    /// The one that answers requests that name none.
    pub fn first(&self) -> Chosen {
        Chosen::of(&self.0[0])
    }

    /// That of a name.
    pub fn find(&self, name: &str) -> Option<Chosen> {
        self.0.iter().find(|served| *served.name == *name).map(Chosen::of)
    }

    /// The one that a body names, or else the one that the path names, or else the first.
    pub fn chosen(&self, by_path: Chosen, name: Option<&str>) -> Result<Chosen, Problem> {
        let Some(name) = name.filter(|name| **name != *by_path.served.name) else {
            return Ok(by_path);
        };
        let found = self.find(name).filter(|_| !by_path.by_path);
        found.ok_or_else(|| {
            let msg = match by_path.by_path {
                true => format!("the path names the model `{}`", by_path.served.name),
                false => self.listed(),
            };
            Problem::Validation(vec![fault(&["model".into()], msg, "unknown_model")])
        })
    }

    fn listed(&self) -> String {
        let names = self.0.iter().take(MOST_LISTED).map(|served| format!("`{}`", served.name));
        let names = names.collect::<Vec<_>>().join(", ");
        match self.0.len() {
            1 => format!("this server has the model {names}"),
            all if all > MOST_LISTED => {
                format!("this server has the models {names} and {} more", all - MOST_LISTED)
            }
            _ => format!("this server has the models {names}"),
        }
    }
}

impl Chosen {
    /// Lets the model go, and keeps the way to it.
    pub fn way(self) -> Way {
        Way { served: self.served, by_path: self.by_path }
    }

    fn of(served: &Arc<Served>) -> Self {
        Self { served: Arc::clone(served), loaded: served.model.current(), by_path: false }
    }
}

/// The model that the path names, or else the first.
impl FromRequestParts<Arc<App>> for Chosen {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let named = RawPathParams::from_request_parts(parts, app).await;
        let named = named.map_err(|_| Problem::NotFound(NO_MODEL))?;
        let Some((_, name)) = named.iter().find(|(part, _)| *part == IN_PATH) else {
            return Ok(app.models.first());
        };
        let found = app.models.find(name).ok_or(Problem::NotFound(NO_MODEL))?;
        Ok(Self { by_path: true, ..found })
    }
}

/// What is said of a path that names no model of the server.
pub const NO_MODEL: &str = "no such model or version; `/v1/models` lists what is served";
