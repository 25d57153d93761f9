//! A request's body: bounded in size and time, and JSON without surprises.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::budget::Share;
use super::encoding::Encoding;
use super::problem::{Fault, Problem};
use super::reply::SMALL;
use super::request::RequestLimits;

/// Values in a body: one takes many times the memory of its text.
const MOST_VALUES: usize = 100_000;

/// How much longer, and how much further, a body that is too large is read and thrown away, so that
/// a client that sends first and reads later gets its answer.
const LINGER: Duration = Duration::from_secs(2);

/// Time for room, over all of a body. Bodies that wait hold what has come of them, and nobody finds out
/// meanwhile whether their clients are still there: so they do not wait for each other for long.
const ROOM: Duration = Duration::from_secs(5);

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The most bytes, packed or not.
    pub bytes: usize,
    /// The most time until the last byte.
    pub time: Duration,
}

/// A request that was read, with the memory that it holds.
pub struct Request<T> {
    pub asked: T,
    /// Held while it is answered.
    pub share: Share,
}

/// Reads a JSON body, a value without repeated keys, and what `read` makes of it.
pub async fn read_json<T: Send + 'static>(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
    read: fn(Value, &RequestLimits) -> Result<T, Problem>,
) -> Result<Request<T>, Problem> {
    if !is_json(headers) {
        return Err(Problem::UnsupportedMediaType("application/json"));
    }
    let make = move |bytes: &Bytes, limits: &RequestLimits| read(parse(bytes)?, limits);
    read_bytes(app, headers, body, make).await
}

/// Reads a body of any kind, unpacked, and what `read` makes of it.
pub async fn read_bytes<T: Send + 'static>(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
    read: impl FnOnce(&Bytes, &RequestLimits) -> Result<T, Problem> + Send + 'static,
) -> Result<Request<T>, Problem> {
    let encoding = Encoding::of(headers)?;
    let limits = app.settings.body;
    let mut share = app.budget.share(0)?;
    let bytes = receive(headers, body, limits, &mut share).await?;
    if encoding != Encoding::Identity {
        share.grow(limits.bytes)?;
    }
    let small = bytes.len() <= SMALL && encoding == Encoding::Identity;
    let request = app.settings.request;
    let make = move || {
        let bytes = encoding.unpacked(bytes, limits.bytes)?;
        share.resize(bytes.len())?;
        Ok(Request { asked: read(&bytes, &request)?, share })
    };
    if small { make() } else { app.aside.json(make).await }
}

async fn receive(
    headers: &HeaderMap,
    mut body: Body,
    limits: BodyLimits,
    share: &mut Share,
) -> Result<Bytes, Problem> {
    let deadline = Instant::now() + limits.time;
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|value| value.parse::<usize>().ok()).unwrap_or(0);
    let mut bytes = Vec::new();
    let mut patience = ROOM;
    let mut too_large = announced > limits.bytes;
    while !too_large {
        let data = match next(&mut body, deadline).await {
            // The time was ours.
            Err(Problem::RequestTimeout) if patience < ROOM => return Err(Problem::Overloaded(1)),
            data => data?,
        };
        let Some(data) = data else { return Ok(bytes.into()) };
        too_large = bytes.len() + data.len() > limits.bytes;
        if !too_large {
            // Taken as it comes: an announcement costs a client nothing.
            if share.grow(data.len()).is_err() {
                let began = Instant::now();
                let room = share.grow_until(data.len(), deadline.min(began + patience)).await;
                if let Err(problem) = room {
                    // The answer does not wait for the rest, and a stream of HTTP/2 is not torn off.
                    tokio::spawn(throw_away(body, deadline, 2 * limits.bytes));
                    return Err(problem);
                }
                patience = patience.saturating_sub(began.elapsed());
            }
            bytes.extend_from_slice(&data);
        }
    }
    throw_away(body, deadline.min(Instant::now() + LINGER), 2 * limits.bytes).await;
    Err(Problem::PayloadTooLarge(limits.bytes))
}

/// Reads on until the body ends, or the time, or so many bytes.
async fn throw_away(mut body: Body, deadline: Instant, mut most: usize) {
    while let Ok(Some(data)) = next(&mut body, deadline).await
        && data.len() <= most
    {
        most -= data.len();
    }
}

/// The next piece; `None` at the end.
async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let Some(frame) = frame.map_err(|_| Problem::RequestTimeout)? else { return Ok(None) };
        // The connection broke, or the chunks were none; nobody may be there to read this.
        let frame = frame.map_err(|error| malformed(0, &error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

pub fn is_json(headers: &HeaderMap) -> bool {
    kind_of(headers).is_some_and(|kind| {
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    })
}

/// What a body is said to be, without parameters.
pub fn kind_of(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    kind.split(';').next().map(|kind| kind.trim().to_ascii_lowercase())
}

pub(super) fn malformed(place: usize, message: &str) -> Problem {
    let loc = vec!["body".into(), place.into()];
    Problem::MalformedJson(vec![Fault { loc, msg: message.to_owned(), kind: "json_invalid" }])
}

/// Parses JSON; a repeated key is refused, and more values than anybody needs.
pub fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    let left = Cell::new(MOST_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict(&left).deserialize(&mut deserializer);
    match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) if error.is_data() => {
            let kind = if left.get() == 0 { "too_many_values" } else { "duplicate_key" };
            let fault = Fault { loc: vec!["body".into()], msg: error.to_string(), kind };
            Err(Problem::Validation(vec![fault]))
        }
        Err(error) => {
            let line_start = bytes.split(|&byte| byte == b'\n').take(error.line().max(1) - 1);
            let before: usize = line_start.map(|line| line.len() + 1).sum();
            let message = match error.is_eof() {
                true => format!(
                    "the JSON ends too early, at line {} column {}",
                    error.line(),
                    error.column()
                ),
                false => error.to_string(),
            };
            Err(malformed(before + error.column(), &message))
        }
    }
}

/// A JSON value in which every key of an object stands once; so many values are left.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        let left =
            left.ok_or_else(|| de::Error::custom("there are more values than any request needs"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.contains_key(&key) {
                // The key itself is the client's text, and may be long.
                return Err(de::Error::custom("a key occurs twice in one object"));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_is_what_serde_json_says_unless_a_key_is_repeated() {
        let text = r#"{"a": [1, -2, 0.5, "x\u0000", null, true], "b": {"c": {}}}"#;
        assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()));
        for text in [r#"{"a": 1, "a": 1}"#, r#"[{"b": {"c": 0, "c": 0}}]"#] {
            assert!(matches!(parse(text.as_bytes()), Err(Problem::Validation(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let deep = "[".repeat(200_000);
        let lone = r#"{"text": "\ud800"}"#;
        for bytes in [
            b"".as_slice(),
            b"{\"text\": 1e400}",
            b"\xef\xbb\xbf{}",
            b"{\"text\": \"\xff\"}",
            b"{} {}",
            b"{\"text\": NaN}",
            lone.as_bytes(),
            deep.as_bytes(),
        ] {
            let Err(Problem::MalformedJson(faults)) = parse(bytes) else {
                panic!("{:?} was taken", String::from_utf8_lossy(&bytes[..bytes.len().min(20)]))
            };
            assert_eq!(faults[0].loc[0], "body");
        }
        let Err(Problem::MalformedJson(faults)) = parse(b"{\n  \"a\": x}") else { panic!() };
        assert_eq!(faults[0].loc[1], 10);
    }

    #[test]
    fn a_body_of_very_many_values_is_refused_before_they_take_memory() {
        let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
        assert!(parse(list(MOST_VALUES).as_bytes()).is_ok());
        let Err(Problem::Validation(faults)) = parse(list(MOST_VALUES + 1).as_bytes()) else {
            panic!("they were taken")
        };
        assert_eq!(faults[0].kind, "too_many_values");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
