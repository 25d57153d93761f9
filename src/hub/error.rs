//! What can go wrong between here and the Hub, in words that say what to do.

use std::path::PathBuf;

use super::settings::PLAIN_HTTP;
use crate::store::StoreError;

/// Why something could not be fetched or sent. No message holds the token, or the query of an
/// address, which may be a signature.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// `HF_ENDPOINT` is no address.
    #[error(
        "`HF_ENDPOINT` is `{endpoint}`, which is not an address; use a form such as \
         `https://huggingface.co`"
    )]
    Endpoint { endpoint: String },
    /// Without TLS everyone on the way could read the token and change the files.
    #[error(
        "`{address}` is another machine without TLS; use `https://`, or set `{PLAIN_HTTP}=1` to \
         allow it"
    )]
    PlainHttp { address: String },
    /// A token that cannot be one.
    #[error(
        "the token in `{place}` contains blanks or other characters that no token has; copy it \
         again"
    )]
    Token {
        /// A variable or a file.
        place: String,
    },
    /// The file with the token cannot be read.
    #[error("cannot read the token in `{path}`")]
    TokenFile { path: PathBuf, source: std::io::Error },
    /// `HF_HUB_OFFLINE` forbids to ask.
    #[error("{what} is not in the Hub cache and `HF_HUB_OFFLINE` is set; unset it to download")]
    Offline { what: String },
    /// Nobody said who asks, or the token is not good.
    #[error("{what} does not exist or is private{}", log_in(.token, "; this token has no access"))]
    Unauthorised {
        /// The repository or file.
        what: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The owner wants to be asked.
    #[error(
        "{what} is gated; request access on its page ({page}){}",
        log_in(.token, ", with the account of this token")
    )]
    Gated {
        /// The repository or file.
        what: String,
        page: String,
        /// Whether a token was sent.
        token: bool,
    },
    #[error(
        "{what}: the Hub does not allow this{}{}",
        said(.message), log_in(.token, "; does the token have the right to do it?")
    )]
    Forbidden {
        what: String,
        /// What the Hub said.
        message: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// There is no such repository, revision or file.
    #[error("{what} is not on the Hub{}", said(.message))]
    Missing {
        /// What was asked for.
        what: String,
        /// What the Hub said.
        message: String,
    },
    /// It has another name now.
    #[error("{what} has been renamed to `{to}`; use that name")]
    Moved { what: String, to: String },
    #[error("{what}: the Hub is limiting requests (429){}", again(.seconds))]
    RateLimited {
        /// What was asked for.
        what: String,
        /// How long to wait, if it said so.
        seconds: Option<u64>,
    },
    /// It exists, or someone else changed it at the same time (409).
    #[error("{what}: it already exists, or someone else is changing it{}", said(.message))]
    Conflict {
        what: String,
        /// What the Hub said.
        message: String,
    },
    /// The commit's parent is no longer the newest one (412).
    #[error("{what}: someone else has changed it in the meantime{}", said(.message))]
    ParentMoved {
        what: String,
        /// What the Hub said.
        message: String,
    },
    /// A tag is not moved.
    #[error(
        "{what}: the tag `{tag}` already exists, for the commit {commit}, and tags are never \
         moved; choose a different one"
    )]
    TagTaken { what: String, tag: String, commit: String },
    /// The card's front matter is not what the Hub reads.
    #[error("the Hub rejected the card: {message}")]
    Card { message: String },
    #[error("{what}: the Hub answered {status}{}", said(.message))]
    Refused {
        what: String,
        status: u16,
        /// What the Hub said.
        message: String,
    },
    /// No answer, or it broke off.
    #[error(
        "cannot reach the Hub for {what}: {reason}; check your network connection and `HF_ENDPOINT`"
    )]
    Unreachable {
        what: String,
        /// What the line said.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{what}: this is not a response of the Hub: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A server that sends whole files only.
    #[error(
        "{what}: the server responded with {status} to a range request; download the file, and \
         give it instead"
    )]
    NoRanges {
        /// What was asked for.
        what: String,
        /// The status of the answer.
        status: u16,
    },
    /// A page where a file should be: a login page of the network, or of a proxy.
    #[error(
        "{what}: a web page came instead of the file; is there a login page or a proxy on the way?"
    )]
    Page {
        /// What was asked for.
        what: String,
    },
    /// The answers break off again and again.
    #[error(
        "{what}: only {received} of {expected} bytes arrived, and the connection broke {attempts} \
         times; the bytes received are kept; run the same command again to continue"
    )]
    HalfSent {
        what: String,
        /// Bytes that are here.
        received: u64,
        /// Bytes of the file.
        expected: u64,
        /// How often it was tried without a new byte.
        attempts: u32,
    },
    /// The bytes are not those that the Hub promised.
    #[error(
        "{what}: the bytes received are not those of the file (the hash differs) and have been \
         deleted; run the command again"
    )]
    WrongHash { what: String },
    /// It changed between listing and fetching.
    #[error("{what} changed during the download; run the command again")]
    Changed { what: String },
    /// The cache cannot be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file that is to be sent, or the cache, cannot be read or written.
    #[error("cannot {doing} `{path}`")]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
}

fn log_in(token: &bool, with_token: &'static str) -> &'static str {
    if *token { with_token } else { "; log in with `hf auth login`, or set `HF_TOKEN`" }
}

fn again(seconds: &Option<u64>) -> String {
    seconds.map_or(String::new(), |seconds| format!("; try again in {seconds} s"))
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
