//! Flags that say where Redis or Valkey is.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::hidden::{Hidden, hidden};
use super::note;
use crate::serve::{self, Address, Prefix};

/// Where replicas share what they know.
#[derive(Debug, Args)]
pub struct RedisFlags {
    /// Redis or Valkey in which replicas share cached responses, jobs, labels and rate limits:
    /// redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS
    #[arg(long, value_name = "URL", value_parser = hidden, hide_env_values = true, env = "BAYES_REDIS_URL")]
    redis_url: Option<Hidden>,
    /// File that contains the URL of Redis or Valkey
    #[arg(long, value_name = "FILE", env = "BAYES_REDIS_URL_FILE")]
    redis_url_file: Option<PathBuf>,
    /// Certificates (PEM) of the authority that signed the certificate of Redis or Valkey [default:
    /// the system's]
    #[arg(long, value_name = "FILE", env = "BAYES_REDIS_CA")]
    redis_ca: Option<PathBuf>,
    /// Prefix of all keys in Redis or Valkey; servers with the same prefix share [default:
    /// bayes:MODEL]
    #[arg(long, value_name = "PREFIX", value_parser = prefix, env = "BAYES_REDIS_PREFIX")]
    redis_prefix: Option<String>,
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
        .ok_or_else(|| "use 1 to 64 visible ASCII characters without white space".to_owned())
}

impl RedisFlags {
    /// From the flag, the environment or the file; `None` if there is none.
    pub fn address(&self) -> Result<Option<Address>> {
        let prefix = self.redis_prefix.clone().map_or(Prefix::OfModel, Prefix::Given);
        let (from, url) = match (&self.redis_url, &self.redis_url_file) {
            (Some(_), Some(_)) => bail!(
                "--redis-url and --redis-url-file (or their variables) are both set; remove one"
            ),
            (Some(Hidden(url)), None) => ("--redis-url (or BAYES_REDIS_URL)", url.clone()),
            (None, Some(path)) => {
                ("the content of --redis-url-file", serve::address_in_file(path)?)
            }
            (None, None) => {
                ensure!(
                    self.redis_ca.is_none() && self.redis_prefix.is_none(),
                    "--redis-ca and --redis-prefix have no effect without --redis-url"
                );
                return Ok(None);
            }
        };
        let address = Address::new(from, &url, self.redis_ca.as_deref(), prefix)?;
        let mut arguments = std::env::args_os().map(|one| one.to_string_lossy().into_owned());
        let seen = arguments.any(|one| one == "--redis-url" || one.starts_with("--redis-url="));
        if seen && address.is_secret() {
            note(
                "warning: everybody on this machine can read the password in --redis-url; use \
                 --redis-url-file or BAYES_REDIS_URL",
            )?;
        }
        Ok(Some(address))
    }
}
