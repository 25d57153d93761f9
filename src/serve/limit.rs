//! How many requests a client may make: the generic cell rate algorithm, with one time for each client.
//!
//! A client's time is when it will have its whole quota again. A request moves it on by one share of the
//! window, and is refused if that leads further than the window.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;

/// Clients that are remembered; beyond that all new ones share one place.
const MOST_CLIENTS: usize = 100_000;
/// A full table is tidied no more often.
const TIDY: Duration = Duration::from_secs(1);

/// So many requests in so much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: NonZeroU32,
    pub window: Duration,
}

impl Rate {
    /// So many times as many requests in the same time.
    pub fn times(self, more: u32) -> Self {
        Self {
            requests: self.requests.saturating_mul(NonZeroU32::MIN.saturating_add(more - 1)),
            ..self
        }
    }

    /// What a client has left that owes so much with this request, or why there was no room for it.
    pub fn left(self, owed: Duration, fits: bool) -> Result<Left, (Problem, Left)> {
        let (limit, share) = (self.requests.get(), self.window / self.requests.get());
        let left = |remaining, reset: Duration| {
            let reset = reset.as_secs_f64().ceil() as u64;
            Left { limit, window: self.window.as_secs(), remaining, reset }
        };
        if !fits {
            let wait = owed.saturating_sub(self.window).max(Duration::from_secs(1));
            let left = left(0, wait);
            return Err((Problem::RateLimited(left.reset), left));
        }
        let used = (owed.as_secs_f64() / share.as_secs_f64() - 1e-6).ceil() as u32;
        Ok(left(limit.saturating_sub(used), owed))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || "use a rate such as 100/min, 5/s or 1000/h, or off".to_owned();
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
    /// An API key, by its hash.
    Key([u8; 32]),
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

/// Counts the requests of all clients.
pub struct Limiter {
    rate: Rate,
    clients: Mutex<Clients>,
}

struct Clients {
    /// When each has its whole quota again.
    whole: HashMap<Client, Instant>,
    tidied: Instant,
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
        let clients = Clients { whole: HashMap::new(), tidied: Instant::now() };
        Self { rate, clients: Mutex::new(clients) }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Counts a request; an error if it is one too many.
    pub fn check(&self, client: Client) -> Result<Left, (Problem, Left)> {
        self.ask(client, Instant::now(), true)
    }

    /// What [`Limiter::check`] would say, without counting.
    pub fn look(&self, client: Client) -> Result<Left, (Problem, Left)> {
        self.ask(client, Instant::now(), false)
    }

    fn ask(&self, client: Client, now: Instant, counts: bool) -> Result<Left, (Problem, Left)> {
        let Rate { requests, window } = self.rate;
        let share = window / requests.get();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.place(client, now);
        let whole = clients.whole.get(&client).map_or(now, |whole| (*whole).max(now));
        let owed = whole + share - now;
        // The window is a whole number of shares but for a rounding.
        let fits = owed <= window + share / 2;
        if fits && counts {
            clients.whole.insert(client, whole + share);
        }
        self.rate.left(owed, fits)
    }

    /// Forgets clients that have their whole quota again.
    pub fn tidy(&self) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.tidy(Instant::now());
    }
}

impl Clients {
    /// Where a client is counted: who is known keeps its place when the table is full.
    fn place(&mut self, client: Client, now: Instant) -> Client {
        if self.whole.contains_key(&client) || self.whole.len() < MOST_CLIENTS {
            return client;
        }
        if now.saturating_duration_since(self.tidied) >= TIDY {
            self.tidy(now);
        }
        if self.whole.len() < MOST_CLIENTS { client } else { Client::Others }
    }

    fn tidy(&mut self, now: Instant) {
        self.whole.retain(|_, whole| *whole > now);
        self.whole.shrink_to(2 * self.whole.len());
        self.tidied = now;
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
        assert_eq!(rate.times(20).requests.get(), 2000);
        for wrong in ["100", "0/min", "x/min", "5/week"] {
            assert!(wrong.parse::<Rate>().unwrap_err().contains("use a rate such as"), "{wrong}");
        }
    }

    #[test]
    fn one_too_many_is_refused_with_the_wait_and_others_are_not() {
        for rate in ["100/min", "7/s", "1000/h", "1/h"] {
            let limiter = Limiter::new(rate.parse().unwrap());
            let most = limiter.rate.requests.get();
            let client = Client::at("192.0.2.1".parse().unwrap());
            let now = Instant::now();
            for before in 0..most {
                let looked = limiter.ask(client, now, false).unwrap();
                let left = limiter.ask(client, now, true).unwrap();
                assert_eq!((left, left.remaining), (looked, most - 1 - before), "{rate}");
            }
            let share = limiter.rate.window / most;
            let (problem, left) = limiter.ask(client, now, true).unwrap_err();
            let wait = (share.as_secs_f64().ceil() as u64).max(1);
            assert_eq!((problem, left.remaining), (Problem::RateLimited(wait), 0), "{rate}");
            assert!(limiter.check(Client::at("192.0.2.2".parse().unwrap())).is_ok());
            // One share later there is room for one, and after the window for all.
            let later = now + share + Duration::from_millis(1);
            assert!(limiter.ask(client, later, true).is_ok(), "{rate}");
            assert!(limiter.ask(client, later, true).is_err(), "{rate}");
            let whole = limiter.ask(client, later + 2 * limiter.rate.window, true).unwrap();
            assert_eq!(whole.remaining, most - 1, "{rate}");
        }
    }

    #[test]
    fn a_full_table_lets_in_whom_it_knows_and_newcomers_share_what_is_left() {
        let limiter = Limiter::new("2/h".parse().unwrap());
        let at = |number: u32| Client::at(IpAddr::V4(number.into()));
        for number in 0..MOST_CLIENTS as u32 {
            assert!(limiter.check(at(number)).is_ok());
        }
        let newcomers: Vec<bool> =
            (0..5).map(|more| limiter.check(at(u32::MAX - more)).is_ok()).collect();
        assert_eq!(newcomers, [true, true, false, false, false]);
        assert!(limiter.check(at(7)).is_ok(), "it is known and has one left");
        assert!(limiter.check(at(7)).is_err());
        assert!(limiter.clients.lock().unwrap().whole.len() <= MOST_CLIENTS + 1);
    }

    #[test]
    fn who_has_its_whole_quota_again_is_forgotten() {
        let limiter = Limiter::new("1000/s".parse().unwrap());
        limiter.check(Client::Others).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        limiter.tidy();
        assert!(limiter.clients.lock().unwrap().whole.is_empty());
    }

    #[test]
    fn an_address_of_version_6_counts_with_its_network() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    }
}
