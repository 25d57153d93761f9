//! What became of a text that the model abstained from.

/// Why the abstention stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The other server took too long.
    Timeout,
    /// There was no connection: no such host, none who listens, a certificate that is not good, a broken line.
    Unreachable,
    /// It answered with another status than 200.
    Refused,
    /// Its answer has no label that this model has, or is no answer at all.
    Invalid,
    /// As many texts have left in the last minute as may.
    Budget,
    /// No place was free in time.
    Busy,
    /// It failed several times in a row and is left alone for a while.
    Resting,
    /// The text was forwarded to us.
    Loop,
}

/// All outcomes, as they are counted: those of an answer, then failures.
pub const OUTCOMES: [&str; 11] = [
    REMOTE,
    CACHED,
    ABSTAINED,
    Failure::Timeout.name(),
    Failure::Unreachable.name(),
    Failure::Refused.name(),
    Failure::Invalid.name(),
    Failure::Budget.name(),
    Failure::Busy.name(),
    Failure::Resting.name(),
    Failure::Loop.name(),
];
/// The other server decided.
pub const REMOTE: &str = "remote";
/// It had decided before, and the text did not leave again.
pub const CACHED: &str = "cached";
/// It abstained as well.
pub const ABSTAINED: &str = "abstained";

impl Failure {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
            Self::Budget => "budget",
            Self::Busy => "busy",
            Self::Resting => "resting",
            Self::Loop => "already_forwarded",
        }
    }
}
