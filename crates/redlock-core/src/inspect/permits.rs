//! Finds out who holds the permits of a semaphore, with numbered steps.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::runtime::Handle;

use super::{holder::Holder, inspection::Inspection, one_lock::InspectError};
use crate::{
    api::{Permit, Redlock},
    driver::{Exchange, Fleet, Requests},
    names::{Named, PermitKeys, Resource, Resources},
    node::{InspectAnswer, LATE_LIMIT, NodeError},
};

/// The number of slots that are queried at the same time on each node.
const AT_ONCE: usize = 64;

/// The holders of the permits of a semaphore at the time when [`Redlock::inspect_permits`] queried the nodes.
///
/// It may be out of date when you read it. Its `Display` prints a summary line and one line for each slot that is held:
///
/// ```text
/// 2 of 5 permits of "reports" are held
///   slot 0  5f0c6c1b... of "web-3:4711" (8.2s left)
///   slot 3  90a1b2c3... of "web-4:512" (3.1s left)
/// ```
#[derive(Debug, Clone)]
pub struct PermitsInspection {
    resource: Resource,
    slots: Vec<Inspection>,
}

impl PermitsInspection {
    /// Returns the name of the semaphore.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.resource.as_str()
    }

    /// Returns the number of permits: 0 if nobody holds one, and nobody has since the TTL of the last permit ended.
    #[must_use]
    pub fn permits(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Returns what the nodes hold for each slot, from slot 0.
    #[must_use]
    pub fn slots(&self) -> &[Inspection] {
        &self.slots
    }

    /// Returns the slots for which a quorum of the nodes holds the same token, and their holders.
    pub fn holders(&self) -> impl Iterator<Item = (u32, &Holder)> {
        (0..).zip(&self.slots).filter_map(|(slot, inspection)| Some((slot, inspection.holder()?)))
    }

    /// Returns the number of slots for which too few nodes answered to decide whether they are held.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.slots.iter().filter(|inspection| inspection.is_locked().is_none()).count()
    }
}

impl fmt::Display for PermitsInspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, permits, held) = (Named(&self.resource), self.permits(), self.holders().count());
        match permits {
            0 => write!(f, "no permits of {name} are held")?,
            _ => write!(f, "{held} of {permits} permits of {name} are held")?,
        }
        if self.unknown() > 0 {
            write!(f, ", {} unknown: too few nodes answered", self.unknown())?;
        }
        let width = permits.saturating_sub(1).to_string().len();
        for (slot, holder) in self.holders() {
            write!(f, "\n  slot {slot:width$}  {}", super::inspection::Remaining(holder))?;
        }
        Ok(())
    }
}

impl Redlock {
    /// Queries all nodes for the holders of a semaphore's permits, and changes nothing. For people and metrics, like
    /// [`Redlock::inspect`].
    ///
    /// Waits for all nodes, at most for twice the builder's [node timeout](crate::RedlockBuilder::node_timeout), or a
    /// second if none is set; longer for more than 64 permits.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::inspect`], and [`InspectError::TooFewAnswers`] if too few nodes report the number of
    /// permits.
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::inspect`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::inspect`].
    pub async fn inspect_permits(&self, name: impl AsRef<str>) -> Result<PermitsInspection, InspectError> {
        let resource = Resource::new(name)?;
        Handle::try_current().map_err(|_| InspectError::NoRuntime)?;
        let fleet = &self.fleet;
        let keys = PermitKeys::new(fleet.keys(&Resources::from(resource.clone()))?.first(), 1)?;

        // 1. Query the number of permits.
        let (answers, took, patience) = look_at(fleet, [keys.count().clone()].into()).await;
        let answers: Vec<_> =
            answers.into_iter().map(|looks| looks.and_then(|looks| looks.into_iter().next())).collect();
        let permits = most_common(answers.iter().filter_map(|answer| permits_of(answer.as_ref()?.as_ref().ok()?)));
        let count = Inspection::new(fleet, keys.count().clone(), answers, took, patience);
        if permits.is_none() && count.is_locked().is_none() {
            return Err(InspectError::TooFewAnswers(Box::new(count)));
        }

        // 2. Query all slots. A slot without room for its name cannot be held.
        let slots: Vec<_> = (0..permits.unwrap_or(0)).map_while(|slot| keys.slot(slot).ok()).collect();
        let (answers, took, patience) = look_at(fleet, slots.clone().into()).await;
        let mut nodes: Vec<_> = answers.into_iter().map(|looks| looks.map(Vec::into_iter)).collect();

        // 3. Compute what the nodes hold now.
        let slots = slots.into_iter().map(|slot| {
            let answers: Vec<_> = nodes.iter_mut().map(|looks| looks.as_mut().and_then(Iterator::next)).collect();
            Inspection::new(fleet, slot, answers, took, patience)
        });
        Ok(PermitsInspection { resource, slots: slots.collect() })
    }
}

/// A node's answers for several keys.
type Looks = Vec<Result<InspectAnswer, NodeError>>;

/// Queries all nodes for all keys. Returns the answers of each node, how long that took, and how long it could take.
async fn look_at(fleet: &Arc<Fleet>, keys: Arc<[Resource]>) -> (Vec<Option<Looks>>, Duration, Duration) {
    let started = fleet.clock.now();
    let node_timeout = fleet.node_timeout.without_ttl();
    let turns = u32::try_from(keys.len().div_ceil(AT_ONCE)).unwrap_or(u32::MAX).max(1);
    let patience = fleet.patience(node_timeout, LATE_LIMIT).saturating_mul(turns);
    let requests = Requests::new(fleet, |member| {
        let (fleet, keys) = (Arc::clone(fleet), Arc::clone(&keys));
        Box::pin(async move {
            let looks = (0..keys.len()).filter_map(|key| Some(keys.get(key)?.clone()));
            let looks = looks.map(|key| {
                let fleet = Arc::clone(&fleet);
                async move { fleet.look(member, &key, None).await }
            });
            Ok(stream::iter(looks).buffered(AT_ONCE).collect::<Looks>().await)
        })
    });
    let answers = Exchange::new(requests, patience, patience, LATE_LIMIT).all().await;
    let answers = answers.into_iter().map(|answer| answer.and_then(Result::ok)).collect();
    (answers, fleet.clock.now().saturating_sub(started), patience)
}

/// Returns the number that most nodes have, or the greatest of them: a node may have kept another one for a while.
fn most_common(numbers: impl Iterator<Item = u32> + Clone) -> Option<u32> {
    numbers.clone().max_by_key(|number| (numbers.clone().filter(|other| other == number).count(), *number))
}

/// The number of permits in this answer, if it contains one.
fn permits_of(answer: &InspectAnswer) -> Option<u32> {
    let InspectAnswer::Held { token, .. } = answer else { return None };
    let permits = str::from_utf8(token).ok()?.parse().ok()?;
    (1..=Permit::MAX).contains(&permits).then_some(permits)
}
