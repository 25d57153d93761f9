//! Steps that must be whole: scripts, which the server runs one after the other.

use redis::Cmd;

/// The script of that name beside the caller, behind what its scripts have in common.
macro_rules! script {
    ($name:literal) => {
        concat!(
            include_str!("scripts/common.lua"),
            include_str!(concat!("scripts/", $name, ".lua"))
        )
    };
}

pub(in crate::serve) use script;

/// A run of a script on this key; its arguments follow.
pub fn eval(script: &str, key: &str) -> Cmd {
    let mut ask = redis::cmd("EVAL");
    ask.arg(script).arg(1).arg(key);
    ask
}
