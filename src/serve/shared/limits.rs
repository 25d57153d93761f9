//! Limits of clients over all replicas: the same algorithm as that of [`Limiter`], with the times in Redis. Who
//! cannot ask there in time counts alone.

use std::time::Duration;

use super::link::{Lane, Link};
use crate::serve::limit::{Client, Left, Limiter};
use crate::serve::problem::Problem;
use crate::store::sha256;

/// `KEYS`: the client's time. `ARGV`: one request's share of the window, and the window, in microseconds.
/// Gives whether there was room, and what is owed with this request.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local share, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local whole = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local owed = whole + share - now
if owed > window + share / 2 then
  return {0, owed}
end
redis.call('SET', KEYS[1], string.format('%.0f', whole + share), 'PX', math.ceil(owed / 1000))
return {1, owed}
";

/// Counts a request of a client under the limit of this name.
pub async fn check(
    link: Option<&Link>,
    name: &str,
    limiter: &Limiter,
    client: Client,
) -> Result<Left, (Problem, Left)> {
    if let Some(link) = link {
        let rate = limiter.rate();
        let mut ask = redis::cmd("EVAL");
        let share = rate.window / rate.requests.get();
        let place = sha256(format!("{client:?}").as_bytes());
        ask.arg(COUNT).arg(1).arg(link.key(&format!("limit:{name}:{place}")));
        ask.arg(share.as_nanos() as f64 / 1e3).arg(rate.window.as_micros() as u64);
        if let Ok((fits, owed)) = link.ask::<(bool, u64)>(Lane::Quick, &ask).await {
            return rate.left(Duration::from_micros(owed), fits);
        }
    }
    limiter.check(client)
}
