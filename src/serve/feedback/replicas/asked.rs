//! What Redis is asked for a label: whether a prediction has one, and what it was not given yet.

use redis::Cmd;
use uuid::Uuid;

use super::Replicas;
use super::scripts::{GIVE, TAKE, run};
use crate::serve::feedback::id;
use crate::serve::feedback::log::{Log, NotKept, Taken};
use crate::serve::feedback::record::{Label, Rank};
use crate::serve::shared::{Lane, LinkError};

impl Replicas {
    /// Takes a label: it is on the disk of this server when this ends, and in Redis unless that gave no answer in time.
    /// What was `heard` of the prediction is known whether Redis answers or not.
    pub async fn take(
        &self,
        log: &Log,
        mut label: Label,
        uuid: [u8; 16],
        heard: Option<Rank>,
    ) -> Result<(Taken, Label), NotKept> {
        let on_disk = log.known(uuid);
        if let Some((_, class)) = on_disk.or(heard)
            && class != label.class
        {
            return Ok((Taken::Other, label));
        }
        if on_disk.is_some() {
            return Ok((Taken::Known, label));
        }
        let answer = match heard {
            Some((at, _)) => Ok(("known".to_owned(), at)),
            None => self.ask(&label, uuid).await,
        };
        let known = match &answer {
            Ok((what, _)) if what == "other" => return Ok((Taken::Other, label)),
            Ok((what, at)) if what == "known" => {
                // Whoever took it first may have died before it was on a disk.
                label.at = *at;
                true
            }
            _ => false,
        };
        let taken = log.label(label.clone(), uuid).await?;
        if (answer.is_err() || heard.is_some()) && taken == Taken::New {
            self.give_later(&label);
        }
        Ok((if known && taken == Taken::New { Taken::Known } else { taken }, label))
    }

    /// Asks whether a prediction has a label, and gives it this one if not.
    async fn ask(&self, label: &Label, uuid: [u8; 16]) -> Result<(String, u64), LinkError> {
        let mut ask = run(TAKE, &self.stream, self.most);
        arguments(&mut ask, label, uuid, true);
        self.link.ask(Lane::Quick, &ask).await
    }

    /// Gives labels that may not be there. Those that others had before them, as they are there.
    pub async fn give(&self, labels: &[Label]) -> Result<Vec<Label>, LinkError> {
        let named = labels.iter().filter_map(|label| Some((label, id::trusted(&label.id)?.uuid)));
        let all: Vec<(&Label, [u8; 16])> = named.collect();
        let mut first = Vec::new();
        let mut wanted = Vec::new();
        for (one, answer) in all.iter().zip(self.compare(&all, false).await?) {
            match &*answer.0 {
                "wanted" => wanted.push(*one),
                _ => first.extend(as_there(one.0, answer)),
            }
        }
        let mut given = 0;
        for (one, answer) in wanted.iter().zip(self.compare(&wanted, true).await?) {
            given += usize::from(answer.0 == "new");
            first.extend(as_there(one.0, answer));
        }
        if given > 0 {
            tracing::info!(labels = given, "Redis was given labels that it did not have");
        }
        Ok(first)
    }

    async fn compare(
        &self,
        labels: &[(&Label, [u8; 16])],
        whole: bool,
    ) -> Result<Vec<Answer>, LinkError> {
        if labels.is_empty() {
            return Ok(Vec::new());
        }
        let mut ask = run(GIVE, &self.stream, self.most);
        for (label, uuid) in labels {
            arguments(&mut ask, label, *uuid, whole);
        }
        self.link.ask(Lane::Steady, &ask).await
    }
}

/// What became of a label; time, class and name of the one that stands.
type Answer = (String, u64, u32, String);

/// The label that was before this one.
fn as_there(own: &Label, (what, at, class, label): Answer) -> Option<Label> {
    (what == "there").then(|| Label { at, class, label, ..own.clone() })
}

fn arguments(ask: &mut Cmd, label: &Label, uuid: [u8; 16], whole: bool) {
    ask.arg(Uuid::from_bytes(uuid).simple().to_string());
    ask.arg(label.at).arg(label.class).arg(&label.label);
    match whole {
        true => ask.arg(serde_json::to_vec(label).expect("plain data is JSON")),
        false => ask.arg(""),
    };
}
