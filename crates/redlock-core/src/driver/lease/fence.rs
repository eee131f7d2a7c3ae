//! Agrees with the nodes on the fencing token of a round that was won, with numbered steps.

use std::time::Duration;

use super::Lease;
use crate::{
    algorithm::{Fence, Fencing, FencingToken, Raised, RoundFailure},
    driver::{fleet::Fleet, tally::Tally},
    node::{NodeError, RaiseAnswer},
};

impl Lease {
    /// Agrees with a quorum on the fencing token. `tally` has the votes of the round. If the counters have to be
    /// raised, it gets the votes of that instead.
    pub(crate) async fn fence(
        &self,
        fleet: &Fleet,
        tally: &mut Tally,
        patience: impl Fn() -> Duration,
    ) -> Result<FencingToken, RoundFailure> {
        // 1. Compare the counters of the nodes that granted. If a quorum has the greatest, it is the token.
        let mut fencing = Fencing::new(fleet.quorum);
        tally.refusing().for_each(|member| fencing.refused(member));
        self.counters().for_each(|(member, counter)| fencing.granted(member, counter));
        loop {
            // 2. Otherwise raise the other nodes to it, or to a greater counter that one of them returns.
            let candidate = match fencing.decision() {
                Some(Fence::Issued(token)) => return Ok(token),
                Some(Fence::Lost(lost)) => return Err(lost),
                Some(Fence::Raise(candidate)) => candidate,
                None => return Err(RoundFailure::NoQuorum),
            };
            let mut answers = self.send_raise(candidate, &fencing, patience());
            fencing.raising(candidate);
            tally.ask_again();
            while fencing.decision().is_none() {
                match answers.next().await {
                    Some((member, Ok(None))) => {
                        if self.counters().any(|told| told == (member, candidate)) {
                            tally.count(member, Ok::<_, NodeError>(RaiseAnswer::Confirmed));
                        }
                    }
                    Some((member, Ok(Some(answer)))) => {
                        fencing.raised(member, candidate, answer.into());
                        tally.count(member, Ok::<_, NodeError>(answer));
                    }
                    Some((member, Err(error))) => {
                        fencing.raised(member, candidate, Raised::Failed);
                        tally.count(member, Err::<RaiseAnswer, _>(error));
                    }
                    None => {
                        fencing.give_up();
                        tally.end(answers.waited());
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
