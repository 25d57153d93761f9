//! Answers that replicas keep for each other. One that is late is not waited for.

use std::fmt::Write;
use std::time::Duration;

use super::link::{Lane, Link, LinkError};

/// Bytes of an answer that is kept; one with many draws of many classes is computed again.
pub const MOST_BYTES: usize = 64 * 1024;

impl Link {
    /// What another replica, or this one, has kept under this key.
    pub async fn kept(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, LinkError> {
        let mut ask = redis::cmd("GETRANGE");
        ask.arg(self.place_of(key)).arg(0).arg(MOST_BYTES);
        let bytes: Vec<u8> = self.ask(Lane::Quick, &ask).await?;
        Ok((1..=MOST_BYTES).contains(&bytes.len()).then_some(bytes))
    }

    pub async fn keep(
        &self,
        key: &[u8; 32],
        bytes: &[u8],
        life: Duration,
    ) -> Result<(), LinkError> {
        let mut ask = redis::cmd("SET");
        ask.arg(self.place_of(key)).arg(bytes).arg("PX").arg(life.as_millis() as u64);
        self.ask(Lane::Quick, &ask).await
    }

    fn place_of(&self, key: &[u8; 32]) -> String {
        let mut name = self.key("cache:");
        for byte in key {
            write!(name, "{byte:02x}").expect("a string takes everything");
        }
        name
    }
}
