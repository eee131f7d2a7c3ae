//! The checks of single calls: they compare what the library says with what the fleet knows.

use std::{collections::BTreeSet, fmt, time::Duration};

use redlock_core::{
    AcquireError, ExtendError, Lock, LockLost, NodeAnswer, NodeErrorKind, Release, ReleaseError, Resource,
    RoundFailure, Token,
    algorithm::{Quorum, Vote},
    testing::Clock as _,
};
use redlock_mock::{Operation, Process, Record};
use tokio::time::Instant;

use crate::{
    case::{Hold, NODE_TIMEOUT, Retry},
    ledger::{Call, Issued, Outcome},
    scope::Scope,
    stage::Stage,
    violation::Oracle,
};

impl Stage {
    fn quorum(&self) -> Quorum {
        Quorum::of(self.fleet.nodes().len().try_into().unwrap_or(std::num::NonZeroUsize::MIN))
    }

    /// Returns whether nodes keep their keys, so that the checks may read them.
    pub(crate) fn nodes_remember(&self) -> bool {
        matches!(self.scope, Scope::Promised | Scope::Shared | Scope::Healthy | Scope::Pauses)
    }

    fn dishonest(&self, what: impl Into<String>) {
        self.violation(Oracle::Honesty, what);
    }
}

/// Checks that a lock has a fencing token if and only if it was requested. Records the token for the check at the end.
pub(crate) fn fenced(
    stage: &Stage,
    lock: &Lock,
    process: usize,
    resources: BTreeSet<usize>,
    before: usize,
    from: Duration,
) {
    match lock.fencing_token() {
        Some(token) if stage.fencing => {
            let known = stage.fleet.elapsed();
            stage.ledger().issued.push(Issued { process, resources, token, before, from, known });
        }
        None if !stage.fencing => {}
        token => stage.violation(Oracle::Fencing, format!("fencing is {}, and a lock has {token:?}", stage.fencing)),
    }
}

/// Checks that a quorum holds a lock that the library reports as valid, at that moment.
pub(crate) fn held_honestly(stage: &Stage, lock: &Lock, what: &str) {
    let (holding, needed) = (stage.holding(lock), stage.quorum().needed());
    if stage.nodes_remember() && lock.check().is_ok() && holding < needed {
        stage.dishonest(format!("{} is said to be {what}, on {holding} nodes of {needed} needed", lock.resources()));
    }
}

/// Checks that a quorum holds the lock until the end of its validity.
pub(crate) fn held_to_the_end(stage: &Stage, lock: &Lock, until: Instant) {
    let (holding, needed) = (stage.holding(lock), stage.quorum().needed());
    if stage.nodes_remember() && holding < needed {
        let late = until.elapsed();
        stage.dishonest(format!("at the end of its validity (and {late:?}) {holding} nodes of {needed} held the lock"));
    }
}

/// Checks that a process that is alone wins in the first round, with a healthy majority.
pub(crate) fn in_the_first_round(stage: &Stage, process: usize, since: usize) {
    let rounds = stage.fleet.records(|records| rounds(records, process, since).len());
    // A node that grants, and fails before it confirms the fencing token, may cost a round: the others wait for it.
    if stage.scope == Scope::Healthy && !stage.fencing && stage.fleet.processes().len() == 1 && rounds > 1 {
        stage.violation(Oracle::Progress, format!("process-{} was alone and needed {rounds} rounds", process + 1));
    }
}

/// Checks that every call succeeds in the end, with a healthy majority, and that every call ends in time.
pub(crate) fn acquire_ended(stage: &Stage, call: &Call, hold: &Hold) {
    if stage.scope == Scope::Healthy && call.outcome != Outcome::Acquired {
        let what = format!("process-{} did not get r{}: {:?}", call.process + 1, call.resource, call.outcome);
        stage.violation(Oracle::Progress, what);
    }
    // An attempt may take the time of its answers, a pause in which the round before is released, and the answers and
    // the release of a round that began in the pause, after a notification. With fencing, nodes may be raised up to N
    // times.
    let raises = if stage.fencing { stage.quorum().nodes() as u32 } else { 0 };
    let round = |pause: u64| NODE_TIMEOUT * (1 + raises) * 2 + Duration::from_millis((2 * pause).max(50) + 50 + 2);
    let bound = match hold.retry {
        Retry::Attempts(attempts, pause) => round(pause) * attempts,
        // By the clock of the process.
        Retry::Until(until, _) => Duration::from_millis(until + until / 100),
    };
    let patience = Duration::from_millis(hold.patience.unwrap_or(u64::MAX));
    stage.took(call.process, call.to - call.from, bound.min(patience), "an acquire");
}

/// Checks that an error counts the attempts, and contains for each node what this process learned from it.
pub(crate) fn refused_honestly(
    stage: &Stage,
    process: usize,
    hold: &Hold,
    names: &[String],
    since: usize,
    error: &AcquireError,
) {
    let Some(tried) = error.attempts() else {
        return stage.dishonest(format!("an error that nothing accounts for: {error}"));
    };
    if !tried.resources.iter().map(Resource::as_str).eq(names) {
        stage.dishonest(format!("an error on other resources than {names:?}: {error}"));
    }
    let votes = tried.last_round.nodes();
    let count = |of: fn(&NodeAnswer) -> bool| votes.iter().filter(|vote| of(&vote.answer)).count();
    let failed = count(|answer| {
        matches!(
            answer,
            NodeAnswer::Failed(_)
                | NodeAnswer::Silent { .. }
                | NodeAnswer::CutShort { .. }
                | NodeAnswer::KnownToFail
                | NodeAnswer::Quarantined { .. }
        )
    });
    let accounted_for = match tried.failure {
        RoundFailure::Contended => {
            count(|answer| {
                matches!(
                    answer,
                    NodeAnswer::Held { .. } | NodeAnswer::Queued | NodeAnswer::NotHeld | NodeAnswer::Beyond { .. }
                )
            }) > 0
        }
        RoundFailure::NoQuorum => failed > stage.quorum().tolerated(),
        RoundFailure::TooLate => count(|answer| matches!(answer, NodeAnswer::Granted)) >= stage.quorum().needed(),
        _ => false,
    };
    if !accounted_for {
        stage.dishonest(format!("the votes do not account for the loss ({:?}): {error}", tried.failure));
    }
    let is_jump = |answer: &NodeAnswer| match answer {
        NodeAnswer::Failed(error) => error.kind() == NodeErrorKind::ClockJumped,
        _ => false,
    };
    if !stage.clocks_jump && votes.iter().any(|vote| is_jump(&vote.answer)) {
        stage.dishonest(format!("no clock has jumped: {error}"));
    }
    if let Retry::Attempts(attempts, _) = hold.retry
        && tried.made != attempts.max(1)
    {
        stage.dishonest(format!("of {attempts} attempts, {} are said to have been made: {error}", tried.made));
    }
    // A round in which no request may be sent to any node leaves no record.
    let is_refused_here = |answer: &NodeAnswer| match answer {
        NodeAnswer::Failed(error) => error.kind() == NodeErrorKind::Timeout,
        answer => matches!(answer, NodeAnswer::NotAwaited | NodeAnswer::KnownToFail),
    };
    if votes.iter().all(|vote| is_refused_here(&vote.answer)) {
        return;
    }
    stage.fleet.records(|records| {
        let is_told_of = |token: &Token| {
            let of_token = || records.iter().filter(|record| record.token == *token);
            let is_raised = of_token().any(|record| record.operation == Operation::Raise);
            // The lock was requested from it, and no raise was sent there.
            let not_raised =
                |sent: Option<&Record>| is_raised && sent.is_some_and(|record| record.operation == Operation::Acquire);
            votes.iter().enumerate().all(|(node, vote)| {
                // The last raise if there was one, otherwise the acquire.
                let sent = of_token().rfind(|record| {
                    record.node == node && matches!(record.operation, Operation::Acquire | Operation::Raise)
                });
                let learned = sent.and_then(|record| record.learned);
                match &vote.answer {
                    NodeAnswer::Granted => learned.is_some_and(|(_, vote)| vote == Vote::Granted),
                    NodeAnswer::Held { .. } | NodeAnswer::Queued | NodeAnswer::NotHeld | NodeAnswer::Beyond { .. } => {
                        learned.is_some_and(|(_, vote)| vote == Vote::Refused)
                    }
                    // The node has granted, and that grant did not count.
                    answer if is_jump(answer) => learned.is_some_and(|(_, vote)| vote == Vote::Granted),
                    NodeAnswer::Quarantined { .. } => learned.is_some_and(|(_, vote)| vote == Vote::Failed),
                    NodeAnswer::Failed(_) => {
                        not_raised(sent) || sent.is_none() || learned.is_some_and(|(_, vote)| vote == Vote::Failed)
                    }
                    NodeAnswer::Silent { after } | NodeAnswer::CutShort { after } => {
                        sent.zip(learned).is_none_or(|(sent, (at, _))| at >= sent.sent + *after)
                    }
                    NodeAnswer::NotAwaited | NodeAnswer::KnownToFail => true,
                    _ => false,
                }
            })
        };
        // The timeout may have cut the last rounds short.
        let rounds = rounds(records, process, since);
        let told = if matches!(error, AcquireError::TimedOut(_)) { 0 } else { rounds.len().saturating_sub(1) };
        if !rounds.is_empty() && !rounds.iter().skip(told).any(is_told_of) {
            stage.dishonest(format!("that is not what the process learned in its last round: {error}"));
        }
    });
}

/// Checks that an extend counts if a quorum holds the lock then. An extend that failed must not change the `deadline`
/// on the process's clock, unless the lock is lost.
pub(crate) fn extended_honestly(
    stage: &Stage,
    process: &Process,
    lock: &Lock,
    deadline: Option<Duration>,
    extended: &Result<Duration, ExtendError>,
) {
    match extended {
        Ok(validity) if *validity > Duration::ZERO => held_honestly(stage, lock, "extended"),
        Ok(_) => {}
        Err(ExtendError::Lost { .. }) => {
            let gone = gone_from(stage, *lock.token());
            if lock.check().is_ok() || gone < stage.quorum().needed() {
                stage.dishonest(format!("a lock is said to be lost that is gone from {gone} nodes"));
            }
        }
        Err(error) => deadline_stands(stage, process, lock, deadline, error),
    }
}

/// Returns how many times an extend of this token was refused, or found the key missing.
fn gone_from(stage: &Stage, token: Token) -> usize {
    let gone = |record: &&Record| {
        (record.operation, record.token) == (Operation::Extend, token)
            && record.learned.is_some_and(|(_, vote)| matches!(vote, Vote::Refused | Vote::Restored))
    };
    stage.fleet.records(|records| records.iter().filter(gone).count())
}

/// Checks that an extend that failed has not changed the deadline. An extend that was dropped has failed as well.
pub(crate) fn deadline_stands(
    stage: &Stage,
    process: &Process,
    lock: &Lock,
    deadline: Option<Duration>,
    why: impl fmt::Display,
) {
    let now = process.clock().now();
    if deadline.is_some_and(|deadline| now + lock.validity() != deadline.max(now)) {
        stage.dishonest(format!("an extend that failed has changed the deadline: {why}"));
    }
}

/// Checks that a loss has a reason: a quorum reported it, or the validity is over. A lock with auto-extend must not
/// expire before its longest lifetime while a majority of the nodes works.
pub(crate) fn told_honestly(
    stage: &Stage,
    process: &Process,
    lock: &Lock,
    hold: &Hold,
    acquired: Duration,
    loss: &LockLost,
) {
    match loss {
        LockLost::Expired { .. } | LockLost::LifetimeOver { .. } => {
            let Some(lifetime) = hold.lifetime() else { return };
            // Subtract the allowance for drift, an extend that is too short to be of use, and what clocks gain.
            let kept = (lifetime - lifetime / 20).saturating_sub(2 * NODE_TIMEOUT);
            // Rivals may hold the keys that the lock lacks, and take them repeatedly while one of its own nodes hangs.
            let alone = stage.fleet.processes().len() == 1;
            let is_there = stage.scope == Scope::RollingRestarts || stage.scope == Scope::Healthy && alone;
            let held = stage.fleet.elapsed() - acquired;
            if is_there && !stage.is_paused(process) && held < kept {
                let what = format!("a lock that was to be kept for {lifetime:?} expired after {held:?}: {loss}");
                stage.violation(Oracle::Progress, what);
            }
        }
        LockLost::NotHeld { .. } => {
            let gone = gone_from(stage, *lock.token());
            if gone < stage.quorum().needed() {
                stage.dishonest(format!("a lock is said to be lost that was gone from {gone} nodes: {loss}"));
            }
            if stage.scope == Scope::RollingRestarts {
                stage.violation(Oracle::Progress, format!("a rolling restart has cost a lock: {loss}"));
            }
        }
        _ => stage.dishonest(format!("a lock that is held is reported as released: {loss}")),
    }
}

/// Checks that a release returns what a quorum answered, and that a lock that was valid until then was not gone.
pub(crate) fn released_honestly(
    stage: &Stage,
    process: usize,
    token: Token,
    valid_until: Duration,
    released: &Result<Release, ReleaseError>,
) {
    stage.fleet.records(|records| {
        let of_token = || records.iter().filter(|record| record.token == token);
        let learned = |vote: Vote| move |record: &&Record| record.learned.is_some_and(|(_, learned)| learned == vote);
        let releases = || of_token().filter(|record| record.operation == Operation::Release);
        let granted = releases().filter(learned(Vote::Granted)).count();
        // A node that certainly executed no acquire has nothing to release.
        let spared = stage.fleet.nodes().len() - releases().map(|record| record.node).collect::<BTreeSet<_>>().len();
        let refused = releases().filter(learned(Vote::Refused)).count() + spared;
        let in_time = |record: &&Record| record.carried_out.first().is_some_and(|at| *at < valid_until);
        // A repeated release finds no key if an earlier one was executed, although its answer was lost.
        let mut asked = BTreeSet::new();
        let firsts = releases().filter(|record| !record.carried_out.is_empty() && asked.insert(record.node));
        let gone = firsts.filter(learned(Vote::Refused)).filter(in_time).count();
        let (needed, tolerated) = (stage.quorum().needed(), stage.quorum().tolerated());
        let process = process + 1;
        match released {
            Ok(Release::Released) if granted < needed => {
                stage.dishonest(format!("process-{process} released its lock on {granted} nodes of {needed} needed"));
            }
            Ok(Release::NotHeld) if refused <= tolerated => {
                stage.dishonest(format!("the lock of process-{process} is said to be gone, as {refused} nodes said"));
            }
            _ if stage.nodes_remember() && gone > tolerated => {
                stage.dishonest(format!("the lock of process-{process} was gone on {gone} nodes within its validity"));
            }
            _ => {}
        }
    });
}

/// Returns the tokens of the rounds that a process has made since there were `since` records, in order. A round sends
/// to all nodes before the next one begins.
fn rounds(records: &[Record], process: usize, since: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    for record in records.iter().skip(since).filter(|record| record.process == process) {
        if record.operation == Operation::Acquire && tokens.last() != Some(&record.token) {
            tokens.push(record.token);
        }
    }
    tokens
}
