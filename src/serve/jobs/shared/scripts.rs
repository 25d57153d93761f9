//! What is done to jobs in whole steps.

use redis::Cmd;

use crate::serve::shared::{eval, script};

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
    eval(script, stream)
}
