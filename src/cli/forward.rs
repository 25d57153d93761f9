//! Flags of `bayes serve` about texts that another server decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::hidden::{Hidden, hidden};
use super::words::whole;
use crate::serve::{ForwardSettings, KeySource, Target};

/// How long the other server is waited for, in seconds.
const TIMEOUT: u64 = 2;
/// Texts that are sent in a minute.
const PER_MINUTE: usize = 600;

/// Flags of `bayes serve` about forwarding.
#[derive(Debug, Args)]
pub struct ForwardFlags {
    /// Server to send the texts to that the model abstains from, and no others: a URL that ends in
    /// /predict (another bayes serve) or /v1/systemone (System One) [default: texts stay here]
    #[arg(long, value_name = "URL", value_parser = hidden, hide_env_values = true, env = "BAYES_FORWARD_ABSTAINED")]
    forward_abstained: Option<Hidden>,
    /// Name of the model to ask for at a URL that ends in /v1/systemone
    #[arg(long, value_name = "NAME", env = "BAYES_FORWARD_MODEL")]
    forward_model: Option<String>,
    /// Timeout for the other server's response, in seconds [default: 2]
    #[arg(long, value_name = "SECONDS", value_parser = whole::<u64>(1..=60), env = "BAYES_FORWARD_TIMEOUT")]
    forward_timeout: Option<u64>,
    /// Maximum number of texts sent to the other server in any one minute; above it, the abstention
    /// stands [default: 600]
    #[arg(long, value_name = "TEXTS", value_parser = whole::<usize>(1..=100_000), env = "BAYES_FORWARD_PER_MINUTE")]
    forward_per_minute: Option<usize>,
    /// File that contains the API key for the other server; or set BAYES_FORWARD_KEY
    #[arg(long, value_name = "FILE", env = "BAYES_FORWARD_KEY_FILE")]
    forward_key_file: Option<PathBuf>,
    /// Certificates (PEM) of the authority that signed the other server's certificate [default:
    /// those of Mozilla]
    #[arg(long, value_name = "FILE", env = "BAYES_FORWARD_CA")]
    forward_ca: Option<PathBuf>,
}

impl ForwardFlags {
    /// Those that say how texts are sent, and nothing else.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("--forward-model", self.forward_model.is_some()),
            ("--forward-timeout", self.forward_timeout.is_some()),
            ("--forward-per-minute", self.forward_per_minute.is_some()),
            ("--forward-key-file", self.forward_key_file.is_some()),
            ("--forward-ca", self.forward_ca.is_some()),
        ];
        all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
    }

    /// Of a server that listens here, and answers within so many seconds.
    pub fn settings(&self, own: SocketAddr, answers: u64) -> Result<Option<ForwardSettings>> {
        let Some(Hidden(url)) = &self.forward_abstained else {
            let given = self.given();
            ensure!(
                given.is_empty(),
                "{} (or {}) {} no effect without --forward-abstained",
                given.join(" and "),
                if given.len() == 1 { "its variable" } else { "their variables" },
                if given.len() == 1 { "has" } else { "have" },
            );
            return Ok(None);
        };
        let target = Target::new(url, self.forward_model.as_deref())?;
        ensure!(
            !target.is_at(own),
            "--forward-abstained is the address of this server itself; name another server"
        );
        let timeout = self.forward_timeout.unwrap_or(TIMEOUT);
        ensure!(
            timeout < answers,
            "--forward-timeout {timeout} leaves no time within --request-timeout {answers}; make it shorter",
        );
        let variable = std::env::var_os("BAYES_FORWARD_KEY");
        Ok(Some(ForwardSettings {
            target,
            authority: self.forward_ca.clone(),
            // An argument could be read by everybody.
            key: match (&self.forward_key_file, variable) {
                (Some(path), _) => KeySource::File(path.clone()),
                (None, Some(key)) => KeySource::Environment(key),
                (None, None) => KeySource::None,
            },
            timeout: Duration::from_secs(timeout),
            per_minute: self.forward_per_minute.unwrap_or(PER_MINUTE),
        }))
    }
}
