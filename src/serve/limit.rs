//! How many requests a client may make: the generic cell rate algorithm, by `governor`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::Problem;

/// Clients that are remembered; beyond that all new ones share one place.
const MOST_CLIENTS: usize = 100_000;

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: NonZeroU32,
    /// The time.
    pub window: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("`{text}` is no rate: write it as 100/min, 5/s or 1000/h, or off");
        let (requests, unit) = text.split_once('/').ok_or_else(help)?;
        let requests = requests.trim().parse().map_err(|_| help())?;
        let seconds = match unit.trim() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3600,
            _ => return Err(help()),
        };
        Ok(Self { requests, window: Duration::from_secs(seconds) })
    }
}

/// Whom a request is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An API key, by its place in the list.
    Key(usize),
    /// An address of version 4.
    V4([u8; 4]),
    /// The first 64 bits of an address of version 6: a household has all of the rest.
    V6([u8; 8]),
    /// Everybody for whom there was no place.
    Others,
}

impl Client {
    /// A client without a key.
    pub fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let octets = address.octets();
                Self::V6(std::array::from_fn(|i| octets[i]))
            }
        }
    }
}

type Clients =
    RateLimiter<Client, DashMapStateStore<Client>, DefaultClock, StateInformationMiddleware>;

/// Counts the requests of all clients.
pub struct Limiter {
    rate: Rate,
    clients: Clients,
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    limit: u32,
    window: u64,
    remaining: u32,
    /// Seconds until all of it is there again, or after a refusal until one is.
    reset: u64,
}

impl Limiter {
    /// Nobody has asked yet.
    pub fn new(rate: Rate) -> Self {
        let Rate { requests, window } = rate;
        let quota = Quota::with_period(window / requests.get())
            .unwrap_or_else(|| Quota::per_second(requests))
            .allow_burst(requests);
        let clients = RateLimiter::dashmap(quota).with_middleware();
        Self { rate, clients }
    }

    /// Counts a request; an error if it is one too many.
    pub fn check(&self, client: Client) -> Result<Left, (Problem, Left)> {
        if self.clients.len() >= MOST_CLIENTS {
            self.clients.retain_recent();
        }
        let crowded = self.clients.len() >= MOST_CLIENTS;
        let client = if crowded { Client::Others } else { client };
        let Rate { requests, window } = self.rate;
        let limit = requests.get();
        let (seconds, share) = (window.as_secs(), window.as_secs_f64() / f64::from(limit));
        match self.clients.check_key(&client) {
            Ok(snapshot) => {
                let remaining = snapshot.remaining_burst_capacity();
                let reset = (f64::from(limit - remaining.min(limit)) * share).ceil() as u64;
                Ok(Left { limit, window: seconds, remaining, reset })
            }
            Err(refused) => {
                let wait = refused.wait_time_from(DefaultClock::default().now());
                let reset = (wait.as_secs_f64().ceil() as u64).max(1);
                let left = Left { limit, window: seconds, remaining: 0, reset };
                Err((Problem::RateLimited(reset), left))
            }
        }
    }

    /// Forgets clients that have their whole quota again.
    pub fn tidy(&self) {
        self.clients.retain_recent();
        self.clients.shrink_to_fit();
    }
}

impl Left {
    /// The headers of draft-ietf-httpapi-ratelimit-headers-10, and those that came before it.
    pub fn put(&self, headers: &mut HeaderMap) {
        let Self { limit, window, remaining, reset } = self;
        let mut put = |name: &'static str, value: String| {
            let value = HeaderValue::from_str(&value).expect("digits and ASCII");
            headers.insert(HeaderName::from_static(name), value);
        };
        put("ratelimit-policy", format!("\"default\";q={limit};w={window}"));
        put("ratelimit", format!("\"default\";r={remaining};t={reset}"));
        put("x-ratelimit-limit", limit.to_string());
        put("x-ratelimit-remaining", remaining.to_string());
        put("x-ratelimit-reset", reset.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_a_wrong_one_is_explained() {
        let rate: Rate = "100/min".parse().unwrap();
        assert_eq!((rate.requests.get(), rate.window.as_secs()), (100, 60));
        assert_eq!("5/s".parse::<Rate>().unwrap().window.as_secs(), 1);
        for wrong in ["100", "0/min", "x/min", "5/week"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("write it as"), "{wrong}");
        }
    }

    #[test]
    fn one_too_many_is_refused_with_the_wait_and_others_are_not() {
        let limiter = Limiter::new("100/min".parse().unwrap());
        let client = Client::at("192.0.2.1".parse().unwrap());
        for before in 0..100 {
            let left = limiter.check(client).unwrap();
            assert_eq!(left.remaining, 99 - before);
        }
        let (problem, left) = limiter.check(client).unwrap_err();
        assert_eq!((problem, left.remaining), (Problem::RateLimited(1), 0));
        assert!(limiter.check(Client::at("192.0.2.2".parse().unwrap())).is_ok());
    }

    #[test]
    fn the_table_of_clients_has_a_limit_and_newcomers_share_what_is_left() {
        let limiter = Limiter::new("1/h".parse().unwrap());
        let at = |number: u32| Client::at(IpAddr::V4(number.into()));
        for number in 0..MOST_CLIENTS as u32 {
            assert!(limiter.check(at(number)).is_ok());
        }
        let newcomers: Vec<bool> =
            (0..5).map(|more| limiter.check(at(u32::MAX - more)).is_ok()).collect();
        assert_eq!(newcomers, [true, false, false, false, false]);
        assert!(limiter.clients.len() <= MOST_CLIENTS + 1);
    }

    #[test]
    fn an_address_of_version_6_counts_with_its_network() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
