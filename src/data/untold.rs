//! A data set that was opened, before anybody was told how its files were read.

use super::{Dataset, Remark};

/// What [`Dataset::open`] gives: no command comes by the rows without saying whether a person is told which
/// columns were taken, which lines were skipped, and what may be wrong.
#[derive(Debug)]
#[must_use]
pub struct Untold(pub(super) Dataset);

impl Untold {
    /// The data set, and `show` is told.
    pub fn told(self, show: &mut dyn FnMut(Remark)) -> Dataset {
        self.0.tell(show);
        self.0
    }

    /// The data set, where a person has been told of it, or will be by [`Dataset::tell`].
    pub fn quietly(self) -> Dataset {
        self.0
    }
}
