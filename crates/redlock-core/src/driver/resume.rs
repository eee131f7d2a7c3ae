//! Resumes a lock of another process, with numbered steps.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::{
    exchange::{Exchange, Requests},
    fleet::{Fleet, Terms},
    held::Held,
    lease::{Lease, slot::Slot},
    token_state::TokenState,
};
use crate::{
    algorithm::{Resumed, Resumption},
    names::{PermitKeys, ResourceError, Resources},
    node::{LATE_LIMIT, PermitSlots},
    report::{Event, LockParts, ResumeError},
};

/// Resumes a lock that another process has taken apart, if a quorum of the nodes still holds it.
pub(crate) async fn resume(fleet: &Arc<Fleet>, parts: LockParts) -> Result<Held, ResumeError> {
    let (keys, slot) = match keys_of(fleet, &parts) {
        Ok(keys) => keys,
        Err(reason) => return Err(ResumeError::Resource { reason, parts: Box::new(parts) }),
    };
    let fence = match parts.fencing_token().map(|token| Ok((fleet.counters(&keys, parts.ttl())?, token))).transpose() {
        Ok(fence) => fence,
        Err(reason) => return Err(ResumeError::Resource { reason, parts: Box::new(parts) }),
    };
    let counters = fence.as_ref().map(|fence| &fence.0);
    let in_one_slot = match &slot {
        Some(slot) => fleet.check_permit_slots(parts.resources(), &keys, &slot.permits.count, counters),
        None => fleet.check_slots(parts.resources(), &keys, counters),
    };
    if let Err(reason) = in_one_slot {
        return Err(ResumeError::Slots { reason, parts: Box::new(parts) });
    }
    let terms = match fleet.terms(parts.ttl()) {
        Ok(terms) => terms,
        Err(reason) => return Err(ResumeError::Ttl { reason, parts: Box::new(parts) }),
    };
    let Ok(runtime) = Handle::try_current() else {
        return Err(ResumeError::NoRuntime { parts: Box::new(parts) });
    };

    // 1. Read the clock before the first byte is sent.
    let started = fleet.clock.now();
    let took = || fleet.clock.now().saturating_sub(started);

    // 2. Send to all nodes at once.
    let mut answers = ask_for(fleet, &keys, &parts, &terms);

    // 3. Count what the nodes hold until it decides.
    let mut resumption = Resumption::new(fleet.quorum, fleet.drift, terms.ttl);
    let mut tally = fleet.tally();
    let found = loop {
        match answers.next().await {
            Some((member, answer)) => {
                resumption.count((&answer).into());
                tally.count(member, answer);
            }
            None => {
                resumption.close();
                tally.end(answers.waited());
            }
        }
        // They may report more validity.
        while let Some((member, answer)) = answers.ready() {
            resumption.count((&answer).into());
            tally.count(member, answer);
        }
        if let Some(found) = resumption.decision(took()) {
            break found;
        }
    };

    // 4. The lock is resumed, or released on all nodes. If too few nodes have answered, it is left as it is.
    let votes = Box::new(tally.close("still held it", fleet.names()));
    let lease = || {
        let (resources, token) = (parts.resources().clone(), *parts.token());
        let lease = Lease::of_another(fleet, &runtime, resources, keys.clone(), token, fence.clone(), &terms);
        let slot = slot.iter().map(|slot| slot.with_number(slot.number));
        slot.fold(lease, Lease::for_slot).into_shared(parts.is_shared())
    };
    let error = match found {
        Resumed::Valid { validity } => {
            let held = Held::since(lease(), terms, started, validity);
            tracing::debug!(resource = %held.resources(), validity = ?held.check().unwrap_or_default(), "resumed");
            fleet.observers.tell(&Event::Resumed { resources: held.resources(), validity });
            return Ok(held);
        }
        Resumed::Expired => {
            drop(lease());
            ResumeError::Expired { resources: parts.into_resources(), votes }
        }
        Resumed::Lost => {
            drop(lease());
            ResumeError::Lost { resources: parts.into_resources(), votes }
        }
        Resumed::Unknown => ResumeError::TooFewAnswers { parts: Box::new(parts), votes },
    };
    tracing::warn!(%error, "not resumed");
    Err(error)
}

/// The keys of the lock on the nodes, and its slot if it is the lock of a permit.
fn keys_of(fleet: &Fleet, parts: &LockParts) -> Result<(Resources, Option<Slot>), ResourceError> {
    let keys = fleet.keys(parts.resources())?;
    let Some((slot, permits)) = parts.permit() else { return Ok((keys, None)) };
    let semaphore = PermitKeys::new(keys.first(), permits)?;
    let permits = PermitSlots::new(semaphore.count().clone(), permits, slot);
    let keys = Resources::from(semaphore.slot(slot)?);
    Ok((keys, Some(Slot::new(slot, Resources::from(semaphore.queue()), permits))))
}

/// Queries all nodes for all keys.
///
/// One key after the other is enough. A key that holds the token when it is read holds it for as long as the node says,
/// since only a process that has the token could shorten that.
fn ask_for(fleet: &Arc<Fleet>, keys: &Resources, parts: &LockParts, terms: &Terms) -> Exchange<TokenState> {
    let requests = Requests::new(fleet, |member| {
        let (fleet, keys, token, is_shared) = (Arc::clone(fleet), keys.clone(), *parts.token(), parts.is_shared());
        Box::pin(async move {
            let looks = keys.iter().map(|key| fleet.look(member, key, Some(token).filter(|_| is_shared)));
            TokenState::of(join_all(looks).await, &token, is_shared)
        })
    });
    let patience = fleet.patience(terms.node_timeout, terms.first_answer_within());
    Exchange::new(requests, patience, terms.node_timeout, LATE_LIMIT)
}
