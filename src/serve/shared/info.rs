//! What a server says of itself: `INFO` and `CONFIG GET`.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

/// What becomes of a write when the machine of the server loses its power.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// `appendfsync always`: it is on disk before it is answered.
    Always,
    /// `appendfsync everysec`: the last second may be lost.
    Everysec,
    /// `appendfsync no`: what the system had not written may be lost.
    No,
    /// No append-only file: what was not in the last snapshot is lost, also when the server ends.
    Off,
    /// The server does not tell.
    #[default]
    Unknown,
}

/// A part of `INFO`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info {
    /// Another one after each start, and of another server.
    pub run: String,
    /// How long it has run.
    pub uptime: Duration,
    /// It takes writes.
    pub is_primary: bool,
    pub is_loading: bool,
    /// It may have no more memory, and gives none back by itself.
    pub is_full: bool,
    /// It may drop keys without a time, which are jobs.
    pub drops_any: bool,
    /// Keys that it has dropped to make room.
    pub evicted: u64,
    has_log: bool,
}

impl Info {
    /// Reads the answer to `INFO`; what is missing is taken to be well.
    pub fn read(text: &str) -> Self {
        let fields: HashMap<&str, &str> =
            text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |name| fields.get(name).copied().unwrap_or_default();
        let number = |name| text(name).parse::<u64>().unwrap_or_default();
        let used = number("used_memory").saturating_sub(number("mem_not_counted_for_evict"));
        let (most, policy) = (number("maxmemory"), text("maxmemory_policy"));
        Self {
            run: text("run_id").to_owned(),
            uptime: Duration::from_secs(number("uptime_in_seconds")),
            is_primary: !matches!(text("role"), "slave" | "replica"),
            is_loading: number("loading") == 1,
            is_full: most > 0 && used >= most && policy == "noeviction",
            drops_any: most > 0 && policy.starts_with("allkeys"),
            evicted: number("evicted_keys"),
            has_log: number("aof_enabled") == 1,
        }
    }

    /// With the answer to `CONFIG GET appendfsync`, which a user may be denied.
    pub fn durability(&self, appendfsync: Option<&str>) -> Durability {
        match (self.has_log, appendfsync) {
            (false, _) => Durability::Off,
            (true, Some("always")) => Durability::Always,
            (true, Some("everysec")) => Durability::Everysec,
            (true, Some("no")) => Durability::No,
            (true, _) => Durability::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_server_is_read() {
        let text = "# Server\r\nrun_id:abc\r\nrole:master\r\nloading:0\r\nused_memory:1010\r\n\
                    mem_not_counted_for_evict:5\r\nmaxmemory:1000\r\nmaxmemory_policy:noeviction\r\n\
                    evicted_keys:7\r\naof_enabled:1\r\n";
        let info = Info::read(text);
        assert!(info.is_primary && info.is_full && !info.is_loading && !info.drops_any);
        assert_eq!((&*info.run, info.evicted), ("abc", 7));
        assert_eq!(info.durability(Some("everysec")), Durability::Everysec);
        assert_eq!(info.durability(None), Durability::Unknown);
        let other = text.replace("noeviction", "allkeys-lru").replace("role:master", "role:slave");
        let other = Info::read(&other.replace("aof_enabled:1", "aof_enabled:0"));
        assert!(other.drops_any && !other.is_full && !other.is_primary);
        assert_eq!(other.durability(Some("always")), Durability::Off);
        let unknown = Info::read("");
        assert!(unknown.is_primary && !unknown.is_full);
    }
}
