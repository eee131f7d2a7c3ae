//! The fencing token of a round that was won: the steps of the driver.

use std::time::Duration;

use crate::{
    algorithm::{Fence, Fencing, FencingToken, Lost, Raised},
    answer::RaiseAnswer,
    claim::Claim,
    fleet::Fleet,
    node_error::NodeError,
    votes::Ballot,
};

impl Claim {
    /// Agrees with a quorum on the fencing token. `ballot` has the votes of the round, and gets those of the raise if there
    /// is one.
    pub(crate) async fn fence<'a>(
        &self,
        fleet: &'a Fleet,
        ballot: &mut Ballot<'a>,
        patience: impl Fn() -> Duration,
    ) -> Result<FencingToken, Lost> {
        // 1. What the nodes counted that granted. If a quorum agrees on the greatest, that is all.
        let mut fencing = Fencing::new(fleet.quorum);
        ballot.refusing().for_each(|member| fencing.refused(member));
        self.counters().for_each(|(member, counter)| fencing.granted(member, counter));
        loop {
            // 2. Else the others are raised to it, and to a greater one if one of them tells one.
            let candidate = match fencing.decision() {
                Some(Fence::Issued(token)) => return Ok(token),
                Some(Fence::Lost(lost)) => return Err(lost),
                Some(Fence::Raise(candidate)) => candidate,
                None => return Err(Lost::NoQuorum),
            };
            let mut answers = self.ask_to_raise(candidate, &fencing, patience());
            fencing.raising(candidate);
            ballot.ask_again();
            while fencing.decision().is_none() {
                match answers.next().await {
                    Some((member, Ok(None))) => {
                        if self.counters().any(|told| told == (member, candidate)) {
                            ballot.count(member, Ok::<_, NodeError>(RaiseAnswer::Confirmed));
                        }
                    }
                    Some((member, Ok(Some(answer)))) => {
                        fencing.raised(member, candidate, answer.into());
                        ballot.count(member, Ok::<_, NodeError>(answer));
                    }
                    Some((member, Err(error))) => {
                        fencing.raised(member, candidate, Raised::Failed);
                        ballot.count(member, Err::<RaiseAnswer, _>(error));
                    }
                    None => {
                        fencing.give_up();
                        ballot.end(answers.waited());
                    }
                }
            }
        }
    }
}

impl From<RaiseAnswer> for Raised {
    fn from(answer: RaiseAnswer) -> Self {
        match answer {
            RaiseAnswer::Confirmed => Self::Confirmed,
            RaiseAnswer::Higher(counter) => Self::Higher(counter),
            RaiseAnswer::NotHeld => Self::NotHeld,
        }
    }
}
