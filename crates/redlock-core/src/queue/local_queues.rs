//! The wait queues of one process, one for each key, in order of arrival.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{
    local_queue::{LocalQueue, Waiter},
    permit::{Permit, Predecessor},
};
use crate::{algorithm::Cause, names::Resource};

/// The wait queues of one process. A holder can hand its lock off to the first waiter, as an `O`.
#[derive(Debug)]
pub(crate) struct LocalQueues<O> {
    queues: Mutex<Map<O>>,
}

impl<O> Default for LocalQueues<O> {
    fn default() -> Self {
        let (queues, freed) = (HashMap::new(), HashMap::new());
        let map = Map { queues, freed, sweep_at: Default::default(), passed_on: Default::default() };
        Self { queues: Mutex::new(map) }
    }
}

#[derive(Debug)]
struct Map<O> {
    queues: HashMap<Resource, LocalQueue<O>>,
    /// The slots of semaphores that this process has released most recently, by wait queue. They are likely free.
    freed: HashMap<Resource, Vec<u32>>,
    /// When unused queues are removed: at this number of queues, or at this time.
    sweep_at: (usize, Duration),
    /// The number of messages without a local waiter that were passed on, and the start of the period in which they are
    /// counted.
    passed_on: (usize, Duration),
}

impl<O> LocalQueues<O> {
    /// How long a key counts as contended after a call was refused.
    const CONTENDED_FOR: Duration = Duration::from_secs(1);

    /// Fewer queues than this are never swept.
    const FEW: usize = 64;

    /// The maximum time for which unused queues are kept while others are used.
    const SWEPT_EVERY: Duration = Duration::from_secs(10);

    /// Takes a ticket at the end of the queue. Returns its number, and whether it has a permit immediately: if it is
    /// the first, and no release in flight will show whether another process comes first.
    ///
    /// Readers without a writer before them get a permit immediately, because they do not wait for each other.
    pub(super) fn join(&self, key: &Resource, is_shared: bool, now: Duration) -> (u64, bool) {
        let mut map = self.map();
        let queue = map.queue(key, now);
        queue.arrived += 1;
        queue.waiters.insert(queue.arrived, Waiter { is_shared, permit: None, notify: None });
        if queue.waiters.len() == 1 {
            queue.asked = now;
        }
        let is_first = queue.waiters.len() == 1 || queue.waiters.values().all(|waiter| waiter.is_shared);
        // The slot that is being released may not be the only free one.
        (queue.arrived, is_first && (queue.releasing == 0 || key.is_permit_queue()))
    }

    /// Takes the permit of this ticket, if it has one. Otherwise `notify` is notified later.
    pub(super) fn permit(&self, key: &Resource, number: u64, notify: &Arc<Notify>, now: Duration) -> Option<Permit<O>> {
        let mut map = self.map();
        let queue = map.queues.get_mut(key)?;
        let waiter = queue.waiters.get_mut(&number)?;
        let permit = waiter.permit.take();
        waiter.notify = permit.is_none().then(|| Arc::clone(notify));
        if permit.is_some() {
            queue.asked = now;
        }
        permit
    }

    /// Ends the wait of this ticket, since its pause is over. Returns its permit, if it has one.
    ///
    /// The first ticket gets a permit at the end of its pause. So does any other ticket if the first has sent no
    /// request for several pauses: its task may not be running, and must not keep all others from a lock that is free.
    pub(super) fn due(&self, key: &Resource, number: u64, pause: Duration, now: Duration) -> Option<Permit<O>> {
        const PASSED: u32 = 3;
        let mut map = self.map();
        let queue = map.queues.get_mut(key)?;
        let is_first = queue.waiters.keys().next() == Some(&number);
        let waiter = queue.waiters.get_mut(&number)?;
        waiter.notify = None;
        let is_due = is_first || now.saturating_sub(queue.asked) >= pause.saturating_mul(PASSED);
        let permit = waiter.permit.take().or(is_due.then_some(Permit::Due));
        if permit.is_some() {
            queue.asked = now;
        }
        permit
    }

    /// Leaves the queue. If the ticket was the first, the next one gets the permit that it did not take or did not use.
    /// Returns the nodes whose queues this process has to leave, if it has no more waiters.
    pub(super) fn leave(&self, key: &Resource, number: u64, unused: Option<Cause>) -> Vec<usize> {
        let mut map = self.map();
        let Some(queue) = map.queues.get_mut(key) else { return Vec::new() };
        let was_first = queue.waiters.keys().next() == Some(&number);
        let mut left = queue.waiters.remove(&number);
        let permit = left.as_mut().and_then(|waiter| waiter.permit.take());
        let cause = permit.as_ref().map(Permit::cause).or(unused);
        if was_first {
            // Even if the ticket has no permit: it may have been about to send requests.
            queue.grant_first(if cause == Some(Cause::Woken) { Permit::Woken } else { Permit::Arrived });
        }
        let to_leave = if queue.waiters.is_empty() { queue.joined.iter().copied().collect() } else { Vec::new() };
        map.forget(key);
        drop(map);
        // A holder waits for the drop of a permit, which must not happen under the lock.
        drop((permit, left));
        to_leave
    }

    /// Records that this process may be in the wait queue of a node from now on.
    pub(crate) fn joins(&self, key: &Resource, node: usize) {
        if let Some(queue) = self.map().queues.get_mut(key) {
            queue.joined.insert(node);
        }
    }

    /// Returns whether this process has to leave the wait queue of a node. Returns true once after it has joined the
    /// queue. While calls of this process wait, returns true only if the process leaves `anyway`.
    pub(crate) fn leaves_node(&self, key: &Resource, node: usize, anyway: bool) -> bool {
        let mut map = self.map();
        let Some(queue) = map.queues.get_mut(key) else { return false };
        let leaves = (anyway || queue.waiters.is_empty()) && queue.joined.remove(&node);
        map.forget(key);
        leaves
    }

    /// Removes a ticket that has won the lock. Its call holds the key until the holding is dropped. Returns the number
    /// of the holder.
    pub(super) fn won(&self, key: &Resource, number: u64, cause: Cause, is_shared: bool) -> u64 {
        let mut map = self.map();
        let queue = map.queues.entry(key.clone()).or_default();
        queue.waiters.remove(&number);
        if cause != Cause::Follows {
            queue.succession.begins();
        }
        if key.is_permit_queue() {
            queue.free = queue.free.map(|free| free.saturating_sub(1));
            // The next ticket sends requests if another slot may be free. It also joins the wait queue of the node that
            // has notified this process, because this process is no longer in that queue.
            if queue.free != Some(0) || cause == Cause::Woken {
                queue.grant_first(Permit::Arrived);
            }
        }
        if is_shared {
            queue.grant_readers();
        }
        queue.hold(is_shared)
    }

    /// Returns a slot of the semaphore with this wait queue that is likely free. Each slot is returned once.
    pub(crate) fn freed_slot(&self, key: &Resource) -> Option<u32> {
        self.map().freed.get_mut(key)?.pop()
    }

    /// Adds a holder that has won the lock without a ticket. Returns its number.
    pub(super) fn hold(&self, key: &Resource, is_shared: bool, now: Duration) -> u64 {
        self.map().queue(key, now).hold(is_shared)
    }

    /// Notifies the readers that come first, because a lock of this process is now a shared one.
    pub(crate) fn shared(&self, key: &Resource) {
        if let Some(queue) = self.map().queues.get_mut(key) {
            queue.grant_readers();
        }
    }

    /// Records that a lock is being released. Calls that arrive now are notified when it is released.
    pub(super) fn begin_release(&self, key: &Resource) {
        if let Some(queue) = self.map().queues.get_mut(key) {
            queue.releasing += 1;
        }
    }

    /// Removes a holder that has released the lock or lost it. Notifies the first waiter.
    pub(super) fn released(&self, key: &Resource, holder: u64, was_releasing: bool, slot: Option<u32>) {
        let mut map = self.map();
        if let Some(slot) = slot {
            map.freed(key, slot);
        }
        if let Some(queue) = map.queues.get_mut(key) {
            queue.holders = queue.holders.saturating_sub(1);
            queue.releasing = queue.releasing.saturating_sub(usize::from(was_releasing));
            queue.free = queue.free.map(|free| free + 1);
            // Exclusive holders before the last one have lost the lock, although they may not know it. This does not
            // apply to a semaphore.
            if queue.holders == 0 || queue.last == holder || slot.is_some() {
                queue.grant_first(Permit::Arrived);
            } else {
                // The readers that arrived during the release of another reader.
                queue.grant_readers();
            }
        }
        map.forget(key);
    }

    /// Handles a message from a node: the lock is free, and this process is next. Returns whether the notification has
    /// to be passed on, because no call of this process waits.
    ///
    /// The number of messages that are passed on is bounded, because any user of the node may publish them. The message
    /// may be correct even if this process has left the queue: an earlier request to join may have arrived after that.
    pub(super) fn notified(&self, key: &str, now: Duration) -> bool {
        let mut map = self.map();
        if let Some(queue) = map.queues.get_mut(key).filter(|queue| !queue.waiters.is_empty()) {
            // Several slots may be free, of which only the first release has notified this process.
            queue.free = None;
            queue.grant_first(Permit::Woken);
            return false;
        }
        map.passes_on(now)
    }

    /// Gives the first ticket of each queue a permit, because subscriptions have changed: a ticket that was refused
    /// before sends its requests again.
    pub(super) fn ask_again(&self) {
        for queue in self.map().queues.values_mut() {
            // A ticket that does not wait checks the subscriptions itself.
            if let Some(first) = queue.waiters.values_mut().next().filter(|first| first.notify.is_some()) {
                first.grant(Permit::Arrived);
            }
        }
    }

    /// Hands a held lock off to the first ticket, if that ticket waits and it is not the turn of other processes. The
    /// receiver completes when the ticket's call has requested the lock.
    pub(crate) fn hand_off(&self, key: &Resource, offer: impl FnOnce() -> O) -> Option<oneshot::Receiver<()>> {
        let mut map = self.map();
        let queue = map.queues.get_mut(key)?;
        let first = queue.waiters.values_mut().next()?;
        // A ticket that does not wait has requests in flight already, and a reader sends its requests independently of
        // others.
        if first.is_shared || first.notify.is_none() || first.permit.is_some() || !queue.succession.goes_on() {
            return None;
        }
        let (predecessor, asked) = Predecessor::new(offer());
        first.grant(Permit::Follows(predecessor));
        Some(asked)
    }

    /// Records that a call was refused. Returns whether another process has the lock, as far as is known. With
    /// `surely`, a holder of this process does not count.
    pub(crate) fn contended(&self, key: &Resource, surely: bool, now: Duration) -> bool {
        let mut map = self.map();
        // The holders in this process may keep their slots for longer than those of other processes.
        let surely = surely || key.is_permit_queue();
        let Some(queue) = map.queues.get_mut(key).filter(|queue| surely || queue.holders == 0) else { return false };
        queue.free = Some(0);
        queue.contended_until = now + Self::CONTENDED_FOR;
        true
    }

    /// Records that a release was answered. If it has notified another process, local waiters come after that one.
    pub(crate) fn released_on_node(&self, key: &Resource, notified: bool, now: Duration) {
        if let Some(queue) = self.map().queues.get_mut(key) {
            queue.contended_until = if notified { now + Self::CONTENDED_FOR } else { Duration::ZERO };
        }
    }

    /// Returns whether a call was refused recently.
    pub(crate) fn is_contended(&self, key: &Resource, now: Duration) -> bool {
        self.map().queues.get(key).is_some_and(|queue| queue.is_contended(now))
    }

    /// Gives the first ticket a permit, because this process has left the wait queue on the node that notifies it. The
    /// ticket may have started to wait in the meantime.
    pub(crate) fn left_node(&self, key: &Resource) {
        let is_free = |queue: &&mut LocalQueue<O>| queue.holders == 0 || key.is_permit_queue();
        if let Some(queue) = self.map().queues.get_mut(key).filter(is_free) {
            queue.grant_first(Permit::Arrived);
        }
    }

    /// Returns whether there are no waiters.
    pub(super) fn is_idle(&self) -> bool {
        self.map().queues.values().all(|queue| queue.waiters.is_empty())
    }

    fn map(&self) -> MutexGuard<'_, Map<O>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Map<O> {
    /// The maximum number of messages without a local waiter that are passed on in a period, and the period.
    const PASSES: (usize, Duration) = (8, Duration::from_millis(100));

    fn passes_on(&mut self, now: Duration) -> bool {
        let (most, within) = Self::PASSES;
        if now.saturating_sub(self.passed_on.1) >= within {
            self.passed_on = (0, now);
        }
        self.passed_on.0 += 1;
        self.passed_on.0 <= most
    }

    /// Remembers a slot that was released, for a limited number of semaphores.
    fn freed(&mut self, key: &Resource, slot: u32) {
        const SLOTS: usize = 64;
        if self.freed.len() >= LocalQueues::<O>::FEW && !self.freed.contains_key(key) {
            self.freed.clear();
        }
        let slots = self.freed.entry(key.clone()).or_default();
        if slots.len() >= SLOTS {
            slots.remove(0);
        }
        slots.push(slot);
    }

    /// Returns the queue for this key. Removes unused queues first.
    fn queue(&mut self, key: &Resource, now: Duration) -> &mut LocalQueue<O> {
        self.sweep(now);
        self.queues.entry(key.clone()).or_default()
    }

    /// Removes a queue if it is unused and not contended.
    fn forget(&mut self, key: &Resource) {
        if self.queues.get(key).is_some_and(LocalQueue::<O>::is_forgettable) {
            self.queues.remove(key);
        }
    }

    /// Removes all unused queues from time to time.
    fn sweep(&mut self, now: Duration) {
        let (queues, time) = self.sweep_at;
        if self.queues.len() >= LocalQueues::<O>::FEW && (self.queues.len() >= queues || now >= time) {
            self.queues.retain(|_, queue| !queue.is_empty() || queue.is_contended(now));
            self.sweep_at = (LocalQueues::<O>::FEW.max(2 * self.queues.len()), now + LocalQueues::<O>::SWEPT_EVERY);
            self.queues.shrink_to(self.sweep_at.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::holding::Holding;

    fn key(number: u32) -> Resource {
        Resource::new(format!("r{number}")).unwrap()
    }

    /// Acquires a lock without waiting, and releases it. Another process waits for it, and is notified.
    fn hold_and_release(queues: &Arc<LocalQueues<()>>, number: u32, now: Duration) {
        let holding = Holding::at_once(queues, &key(number), false, now);
        queues.released_on_node(&key(number), true, now);
        drop(holding);
    }

    #[test]
    fn a_process_that_never_waits_keeps_no_queues() {
        let queues = Arc::new(LocalQueues::<()>::default());
        for number in 0..10_000 {
            hold_and_release(&queues, number, number * Duration::from_millis(20));
        }
        // 50 of them were contended within the last second.
        let kept = queues.map().queues.len();
        assert!(kept <= 2 * LocalQueues::<()>::FEW, "{kept} queues");
    }

    #[test]
    fn queues_are_removed_after_a_peak_too() {
        let queues = Arc::new(LocalQueues::<()>::default());
        let all: Vec<_> =
            (0..10_000).map(|number| Holding::at_once(&queues, &key(number), false, Duration::ZERO)).collect();
        (0..10_000).for_each(|number| queues.released_on_node(&key(number), true, Duration::ZERO));
        drop(all);
        hold_and_release(&queues, 10_001, 2 * LocalQueues::<()>::SWEPT_EVERY);
        let map = queues.map();
        assert!(
            map.queues.len() <= LocalQueues::<()>::FEW && map.queues.capacity() <= 4 * LocalQueues::<()>::FEW,
            "{} queues",
            map.queues.len()
        );
    }

    #[test]
    fn a_message_without_a_waiter_is_passed_on_but_not_without_bound() {
        let queues = LocalQueues::<()>::default();
        let now = Duration::ZERO;
        let (number, _) = queues.join(&key(1), false, now);
        let permit = |queues: &LocalQueues<()>| queues.permit(&key(1), number, &Arc::default(), now).is_some();
        assert_eq!((queues.notified("r1", now), permit(&queues)), (false, true));
        queues.joins(&key(1), 0);
        assert_eq!(queues.leave(&key(1), number, None), [0]);
        let passed_on = |now| (0..1_000).filter(|_| queues.notified("r1", now)).count();
        assert_eq!((passed_on(now), passed_on(now), passed_on(now + Map::<()>::PASSES.1)), (8, 0, 8));
    }
}
