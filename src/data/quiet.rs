//! Crates that panic on files that are damaged or made to harm.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does the work; if it panics, what was said. A caught panic is an ordinary error, so its report must
/// not reach stderr; every other panic, on any thread, is reported as before. Whatever the work
/// borrows must be dropped by the caller after an error, so that no broken state is seen again.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                report(panic);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome.map_err(|payload| {
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| payload.downcast_ref::<&str>().copied());
        said.unwrap_or("no reason given").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_what_it_said_and_others_go_on() {
        assert_eq!(guarded(|| 3), Ok(3));
        assert_eq!(guarded(|| -> u8 { panic!("level {}", 9) }), Err("level 9".to_owned()));
        let inside = guarded(|| guarded(|| ()).map(|()| GUARDED.get()));
        assert_eq!(inside, Ok(Ok(true)), "the outer one is quiet to its end");
        assert!(!GUARDED.get());
        assert!(catch_unwind(|| panic!("of somebody else")).is_err());
    }
}
