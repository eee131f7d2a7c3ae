//! The checks of a process that has closed: it has released everything that a node may hold, and sends nothing more.

use std::{collections::HashMap, time::Duration};

use redlock_core::algorithm::Vote;
use redlock_mock::{Operation, Record};

use crate::{scope::Scope, stage::Stage, violation::Oracle};

/// How long the driver keeps a request in flight before it sends the release anyway.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(5);

/// Checks that a process that has closed has sent a release to every node that may hold one of its tokens, after all
/// else, and that requests that arrived in this order have left nothing.
pub(crate) fn released_everywhere(stage: &Stage, process: usize) {
    let held: Vec<_> = stage.fleet.nodes().iter().map(Stage::tokens_on).collect();
    stage.fleet.records(|records| {
        let mut tokens = HashMap::<_, Vec<_>>::new();
        for record in records.iter().filter(|record| record.process == process) {
            tokens.entry((record.token, record.node)).or_default().push(record);
        }
        for ((token, node), sent) in tokens {
            let (node_name, process) = (node + 1, process + 1);
            let (releases, others): (Vec<_>, Vec<_>) =
                sent.into_iter().partition(|record| record.operation == Operation::Release);
            let held = held.get(node).is_some_and(|keys| keys.iter().any(|key| key == token.as_bytes()));
            if releases.is_empty() && needs_no_release(&others, stage.scope == Scope::Guarded && !held) {
                continue;
            }
            let Some(release) = releases.first() else {
                let what = format!("process-{process} never released on node-{node_name} what it requested");
                stage.violation(Oracle::NoResidue, what);
                continue;
            };
            // The driver abandons a request that never ends, also one of a process that was paused for a long time.
            let out = |other: &&Record| {
                other.learned.is_none_or(|(at, _)| release.sent < at) && release.sent < other.sent + GIVEN_UP_AFTER
            };
            if others.iter().any(out) {
                let what = format!("process-{process} released on node-{node_name} what was still out");
                stage.violation(Oracle::NoResidue, what);
            }
            let in_order = |other: &&Record| {
                let answered = other.copies == 1 && other.learned.is_some_and(|(_, vote)| vote != Vote::Failed);
                let released = release.carried_out.first();
                other.carried_out.len() == other.copies
                    && (answered || other.carried_out.iter().all(|at| released.is_some_and(|then| at < then)))
            };
            if stage.nodes_remember() && !release.carried_out.is_empty() && held && others.iter().all(in_order) {
                stage.violation(Oracle::NoResidue, format!("node-{node_name} holds what process-{process} released"));
            }
        }
    });
}

/// Returns whether a node needs no release after these requests for one token: each has a certain answer, and the node
/// has refused the last one that could set the keys. `quarantined`: an answer that counts as a failed vote may be that
/// of a node in quarantine.
fn needs_no_release(requests: &[&Record], quarantined: bool) -> bool {
    // A raise sets no key. A node may get one without an acquire, if too many requests to it were unanswered. A request
    // that was never sent, or that the node has answered with an error, sets none either.
    let is_rejected = |record: &Record| record.carried_out.is_empty() && record.rejected == record.copies;
    let mut is_refused = true;
    for record in requests.iter().filter(|record| record.operation != Operation::Raise && !is_rejected(record)) {
        let is_answered = record.copies == 1 && record.carried_out.len() == 1;
        match record.learned.map(|(_, vote)| vote).filter(|_| is_answered) {
            // An extend of several keys is refused if one of them is lost, although others hold the token.
            Some(Vote::Refused) if record.operation == Operation::Extend && record.keys.len() > 1 => {}
            Some(Vote::Refused) => is_refused = true,
            Some(Vote::Failed) if quarantined => is_refused = true,
            Some(Vote::Failed) | None => return false,
            Some(_) => is_refused = false,
        }
    }
    is_refused
}

/// Checks that a process that closed after `closed` requests sends nothing more, not even at the same instant. Only
/// releases that nodes did not answer are sent again.
pub(crate) fn silent_since(stage: &Stage, process: usize, closed: usize) {
    let of_process = |record: &&Record| record.process == process && record.operation != Operation::Release;
    let sent = stage.fleet.records(|records| records.iter().skip(closed).filter(of_process).count());
    if sent > 0 {
        stage.violation(Oracle::BoundedWork, format!("process-{} has sent {sent} requests after its end", process + 1));
    }
}
