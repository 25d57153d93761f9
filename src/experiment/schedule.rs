//! Batch and epochs where the config leaves them to the data.

use crate::train::TrainConfig;

/// Fills in what is 0: the batch from the number of rows, the epochs from rows and classes.
pub(super) fn fill_in(config: &mut TrainConfig, rows: usize, classes: usize) {
    if config.per_device_train_batch_size == 0 {
        // The optimizer's own work a step is that of about a hundred short texts.
        config.per_device_train_batch_size = 32;
    }
    if config.num_train_epochs == 0.0 {
        config.num_train_epochs = epochs(rows, classes);
    }
}

/// Enough steps to see each class often: from 5 epochs for few rows a class down to 2.
fn epochs(rows: usize, classes: usize) -> f64 {
    match rows / classes.max(1) {
        ..100 => 5.0,
        100..1000 => 4.0,
        1000..5000 => 3.0,
        _ => 2.0,
    }
}
