//! The linear classifier that models are set beside: fitted on the first one's training rows.

use anyhow::Result;

use super::asked::Asked;
use crate::artifact::Manifest;
use crate::evaluate::{Answers, EvaluateError, Origin, OriginError, Rival};

/// Fits the rows that a model was trained on and answers the rows of `answers`; else says why not.
pub(super) fn rival(
    asked: &Asked,
    manifest: &Manifest,
    origin: &Result<Origin<'_>, OriginError>,
    answers: &Answers,
) -> Result<Result<Rival, String>> {
    let origin = match origin {
        Ok(origin) => origin,
        Err(why) => return Ok(Err(why.to_string())),
    };
    if asked.is_of(manifest) && asked.split == "train" {
        return Ok(Err("these are the rows that it would be fitted on".to_owned()));
    }
    match Rival::new(origin.dataset(), &origin.train(), &asked.examples(), answers) {
        Ok(rival) => Ok(Ok(rival)),
        Err(error @ EvaluateError::Label { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
