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

pub const ACCEPT: &str = script!("accept");
pub const BEGIN: &str = script!("begin");
pub const BEAT: &str = script!("beat");
pub const CHECK: &str = script!("check");
pub const END: &str = script!("end");
pub const CANCEL: &str = script!("cancel");
pub const RELEASE: &str = script!("release");
pub const RESTORE: &str = script!("restore");
pub const MEND: &str = script!("mend");
pub const SWEEP: &str = script!("sweep");

/// A run of a script on the jobs of this stream; its arguments follow.
pub fn run(script: &str, stream: &str) -> Cmd {
    let mut ask = redis::cmd("EVAL");
    ask.arg(script).arg(1).arg(stream);
    ask
}
