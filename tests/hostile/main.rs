//! Files of strangers: models as other tools write them, files that are damaged, and files that were made
//! to harm. Each is read as a user reads it, and is answered as it means or refused with a sentence.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod craft;
mod damage;
mod folder;
mod fuzz;
#[expect(dead_code, reason = "only a part is needed here")]
#[path = "../home/mod.rs"]
mod home;
mod members;
mod models;
mod modules;
mod parquet;
mod strangers;
mod tokenizers;
#[path = "../vocabularies/mod.rs"]
mod vocabularies;
mod whole;
