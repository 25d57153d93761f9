//! What replicas share in Redis or Valkey: answers, jobs, labels and the limits of clients.
//!
//! It is never needed for an answer. While it is gone or slow each replica answers from its model, keeps answers
//! and counts clients alone, and takes no new jobs; one task asks every moment whether it is back.
//!
//! | key, after the prefix | what |
//! |---|---|
//! | `:cache:KEY` | an answer, for `--cache-ttl` |
//! | `:limit:NAME:CLIENT` | when a client has its whole quota again |
//! | `:epoch` | tells that the data is still the same |
//! | `:jobs`, `:job:ID`, `:key:KEY`, `:jobs:STATUS` | jobs |
//! | `:feedback`, `:feedback:known` | labels |

mod address;
mod cache;
mod info;
mod limits;
mod link;
mod script;

pub use address::{Address, AddressError, Prefix, in_file};
pub use cache::MOST_BYTES;
pub use info::Durability;
pub use limits::check;
pub use link::{Condition, Lane, Link, LinkError, ours};
pub use script::eval;
pub(in crate::serve) use script::script;
