//! What is done to labels in whole steps.

use redis::Cmd;

use crate::serve::shared::{eval, script};

pub const TAKE: &str = script!("take");
pub const GIVE: &str = script!("give");

/// A run of a script on this stream of labels, which holds so many at most; its arguments follow.
pub fn run(script: &str, stream: &str, most: u64) -> Cmd {
    let mut ask = eval(script, stream);
    ask.arg(most);
    ask
}
