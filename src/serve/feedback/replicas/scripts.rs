//! Steps that must be whole: scripts, which the server runs one after the other.

use redis::Cmd;

macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("scripts/common.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        )
    };
}

pub const TAKE: &str = script!("take");
pub const GIVE: &str = script!("give");

/// A run of a script on this stream of labels, which holds so many at most; its arguments follow.
pub fn run(script: &str, stream: &str, most: u64) -> Cmd {
    let mut ask = redis::cmd("EVAL");
    ask.arg(script).arg(1).arg(stream).arg(most);
    ask
}
