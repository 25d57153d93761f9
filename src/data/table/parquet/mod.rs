//! Parquet of a stranger: what is looked at before the `parquet` crate uses it, and what it may take.

mod delta;
mod directory;
mod moment;
mod pages;
mod thrift;

use parquet::errors::ParquetError;

use super::super::quiet;

pub(super) use directory::{END, decode, footer_length};
pub(super) use moment::{Moment, moment};
pub(super) use pages::{BOUND, rows};

/// The crate answers most damage with an error and some with a panic (a level or a slice out of
/// range, a date that no calendar has, a type that it does not know). A table ends with its first
/// error, so what panicked is dropped.
pub(super) fn guarded<T>(
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    let gave_up = |said| Err(ParquetError::General(format!("the decoder failed: {said}")));
    quiet::guarded(read).unwrap_or_else(gave_up)
}
