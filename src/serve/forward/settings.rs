//! What an operator decides of it.

use std::path::PathBuf;
use std::time::Duration;

use super::super::keys::KeySource;
use super::client::Client;
use super::target::Target;
use super::{ForwardError, key};

/// Where texts go that the model abstains from.
#[derive(Clone, Debug)]
pub struct ForwardSettings {
    pub target: Target,
    /// The authority that signed its certificate; those that browsers know if `None`.
    pub authority: Option<PathBuf>,
    /// What it is told who asks.
    pub key: KeySource,
    /// Time for its answer.
    pub timeout: Duration,
    /// Texts that may leave in a minute.
    pub per_minute: usize,
}

impl ForwardSettings {
    /// Whether key and certificates can be used.
    pub fn check(&self) -> Result<(), ForwardError> {
        Client::new(&self.target, self.authority.as_deref())?;
        key::read(&self.key)?;
        Ok(())
    }
}
