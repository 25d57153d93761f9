//! The linear classifier that models are set beside: fitted on the first one's training rows.

use anyhow::Result;

use super::asked::Asked;
use super::origin::{Origin, WhyNot};
use crate::evaluate::{Answers, EvaluateError, Rival};

/// Fits the rows that a model was trained on and answers the rows of `answers`.
pub(super) fn rival(
    asked: &Asked,
    origin: &Result<Origin<'_>, WhyNot>,
    answers: &Answers,
) -> Result<Result<Rival, WhyNot>> {
    let origin = match origin {
        Ok(origin) => origin,
        Err(why) => return Ok(Err(why.clone())),
    };
    if origin.is_asked() && asked.split == "train" {
        return Ok(Err("these are the rows that it would be fitted on".to_owned()));
    }
    match Rival::new(origin.dataset(), &origin.train(), &asked.examples(), answers) {
        Ok(rival) => Ok(Ok(rival)),
        Err(error @ EvaluateError::Label { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
