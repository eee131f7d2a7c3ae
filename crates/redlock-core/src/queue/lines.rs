//! The lines of one process, one for each key, first come, first served.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

use super::{
    line::{Line, Waiter},
    turn::{Predecessor, Turn},
};
use crate::{algorithm::Cause, names::Resource};

/// The lines of one process. A holder can leave its lock to the first who waits, as an `O`.
#[derive(Debug)]
pub(crate) struct Lines<O> {
    lines: Mutex<Map<O>>,
}

impl<O> Default for Lines<O> {
    fn default() -> Self {
        let map = Map { lines: HashMap::new(), sweep_at: Default::default(), passed_on: Default::default() };
        Self { lines: Mutex::new(map) }
    }
}

#[derive(Debug)]
struct Map<O> {
    lines: HashMap<Resource, Line<O>>,
    /// When lines that nobody uses are removed: with so many lines, or at this time.
    sweep_at: (usize, Duration),
    /// How many messages were passed on that nobody here waited for, and since when that is counted.
    passed_on: (usize, Duration),
}

impl<O> Lines<O> {
    /// For how long a key counts as contended after somebody was refused.
    const CONTENDED_FOR: Duration = Duration::from_secs(1);

    /// How few lines are never swept.
    const FEW: usize = 64;

    /// How long lines that nobody uses are kept at most, if others are used.
    const SWEPT_EVERY: Duration = Duration::from_secs(10);

    /// Takes a place at the end of the line. Returns its number, and whether its turn has come: if it is the first, and
    /// need not wait for what a release tells.
    pub(super) fn join(&self, key: &Resource, now: Duration) -> (u64, bool) {
        let mut map = self.map();
        let line = map.line(key, now);
        line.arrived += 1;
        line.waiters.insert(line.arrived, Waiter { turn: None, bell: None });
        if line.waiters.len() == 1 {
            line.asked = now;
        }
        (line.arrived, line.waiters.len() == 1 && line.leaving == 0)
    }

    /// Takes the turn of this place, if it has come; else `bell` will ring.
    pub(super) fn turn(&self, key: &Resource, number: u64, bell: &Arc<Notify>, now: Duration) -> Option<Turn<O>> {
        let mut map = self.map();
        let line = map.lines.get_mut(key)?;
        let waiter = line.waiters.get_mut(&number)?;
        let turn = waiter.turn.take();
        waiter.bell = turn.is_none().then(|| Arc::clone(bell));
        if turn.is_some() {
            line.asked = now;
        }
        turn
    }

    /// The pause of this place is over, and it does not wait any more for now. Its turn, if it has come.
    ///
    /// It has with the pause for the first. And for any other, if the first has let so many pauses pass: its task may not
    /// run, and must not keep all others from a lock that is free.
    pub(super) fn due(&self, key: &Resource, number: u64, pause: Duration, now: Duration) -> Option<Turn<O>> {
        const PASSED: u32 = 3;
        let mut map = self.map();
        let line = map.lines.get_mut(key)?;
        let is_first = line.waiters.keys().next() == Some(&number);
        let waiter = line.waiters.get_mut(&number)?;
        waiter.bell = None;
        let is_due = is_first || now.saturating_sub(line.asked) >= pause.saturating_mul(PASSED);
        let turn = waiter.turn.take().or(is_due.then_some(Turn::Due));
        if turn.is_some() {
            line.asked = now;
        }
        turn
    }

    /// Leaves the line. The next is the first then, and has the turn that this one did not take, or did not use.
    /// Returns the nodes that have to be told if nobody here waits any more.
    pub(super) fn leave(&self, key: &Resource, number: u64, unused: Option<Cause>) -> Vec<usize> {
        let mut map = self.map();
        let Some(line) = map.lines.get_mut(key) else { return Vec::new() };
        let was_first = line.waiters.keys().next() == Some(&number);
        let mut left = line.waiters.remove(&number);
        let turn = left.as_mut().and_then(|waiter| waiter.turn.take());
        let cause = turn.as_ref().map(Turn::cause).or(unused);
        if was_first && let Some(next) = line.waiters.values_mut().next() {
            // Whether or not this one was told: it may have been about to ask.
            next.ring(if cause == Some(Cause::Woken) { Turn::Woken } else { Turn::Arrived });
        }
        let to_leave = if line.waiters.is_empty() { line.joined.iter().copied().collect() } else { Vec::new() };
        map.forget(key);
        drop(map);
        // A holder waits for this: not within the lines.
        drop((turn, left));
        to_leave
    }

    /// This process may be among the waiters of a node from now on.
    pub(crate) fn joins(&self, key: &Resource, node: usize) {
        if let Some(line) = self.map().lines.get_mut(key) {
            line.joined.insert(node);
        }
    }

    /// Whether this process has to leave the waiters of a node. True once after it has joined them. While somebody
    /// here waits, it is true only if the process leaves `anyway`.
    pub(crate) fn leaves_node(&self, key: &Resource, node: usize, anyway: bool) -> bool {
        let mut map = self.map();
        let Some(line) = map.lines.get_mut(key) else { return false };
        let leaves = (anyway || line.waiters.is_empty()) && line.joined.remove(&node);
        map.forget(key);
        leaves
    }

    /// This place has won the lock: it leaves the line, and holds the key until the holding is dropped. Returns the number
    /// of the holder.
    pub(super) fn won(&self, key: &Resource, number: u64, follows: bool) -> u64 {
        let mut map = self.map();
        let line = map.lines.entry(key.clone()).or_default();
        line.waiters.remove(&number);
        if !follows {
            line.succession.begins();
        }
        line.hold()
    }

    /// Who waits for no lock has taken it. Returns the number of the holder.
    pub(super) fn hold(&self, key: &Resource, now: Duration) -> u64 {
        self.map().line(key, now).hold()
    }

    /// A lock is being given back. Who comes now is told when it has been.
    pub(super) fn leaves(&self, key: &Resource) {
        if let Some(line) = self.map().lines.get_mut(key) {
            line.leaving += 1;
        }
    }

    /// A lock was given back, or nobody cares for it any more.
    pub(super) fn let_go(&self, key: &Resource, holder: u64, was_leaving: bool) {
        let mut map = self.map();
        if let Some(line) = map.lines.get_mut(key) {
            line.holders = line.holders.saturating_sub(1);
            line.leaving = line.leaving.saturating_sub(usize::from(was_leaving));
            // Those before the last have lost it, though they may not know.
            if (line.holders == 0 || line.last == holder)
                && let Some(first) = line.waiters.values_mut().next()
            {
                first.ring(Turn::Arrived);
            }
        }
        map.forget(key);
    }

    /// A message came from a node: the lock is free, and this process is the next. Returns whether nobody here wants
    /// it and the node has to be told.
    ///
    /// Anybody may publish anything, so a node is told only so often. The message may be right although this process
    /// has left the waiters: what it had sent before that may have arrived later.
    pub(super) fn woken(&self, key: &str, now: Duration) -> bool {
        let mut map = self.map();
        if let Some(first) = map.lines.get_mut(key).and_then(|line| line.waiters.values_mut().next()) {
            first.ring(Turn::Woken);
            return false;
        }
        map.passes_on(now)
    }

    /// From now on this process can be woken, or can no longer be: the first of each line, which was refused before, asks
    /// once more.
    pub(super) fn look_again(&self) {
        for line in self.map().lines.values_mut() {
            // Who asks just now looks at that itself.
            if let Some(first) = line.waiters.values_mut().next().filter(|first| first.bell.is_some()) {
                first.ring(Turn::Arrived);
            }
        }
    }

    /// Leaves a lock that is held to the next in line, if there is one that waits and it is not the turn of others. Ends
    /// when that one has asked.
    pub(crate) fn succeed(&self, key: &Resource, offer: impl FnOnce() -> O) -> Option<oneshot::Receiver<()>> {
        let mut map = self.map();
        let line = map.lines.get_mut(key)?;
        let first = line.waiters.values_mut().next()?;
        // One that asks just now must not be asked to begin again.
        if first.bell.is_none() || first.turn.is_some() || !line.succession.goes_on() {
            return None;
        }
        let (predecessor, asked) = Predecessor::new(offer());
        first.ring(Turn::Follows(predecessor));
        Some(asked)
    }

    /// Somebody was refused. Whether it was for another process, as far as is known here; or surely, though a lock of this
    /// process stands as the holder.
    pub(crate) fn contended(&self, key: &Resource, surely: bool, now: Duration) -> bool {
        let mut map = self.map();
        let Some(line) = map.lines.get_mut(key).filter(|line| surely || line.holders == 0) else { return false };
        line.contended_until = now + Self::CONTENDED_FOR;
        true
    }

    /// A lock was given back, and another process has been woken then, or none: those here stand behind it.
    pub(crate) fn given_back(&self, key: &Resource, woken: bool, now: Duration) {
        if let Some(line) = self.map().lines.get_mut(key) {
            line.contended_until = if woken { now + Self::CONTENDED_FOR } else { Duration::ZERO };
        }
    }

    /// Whether somebody was refused a short time ago.
    pub(crate) fn is_contended(&self, key: &Resource, now: Duration) -> bool {
        self.map().lines.get(key).is_some_and(|line| line.is_contended(now))
    }

    /// This process has left the line on the node that wakes, and with it whoever began to wait here meanwhile.
    pub(crate) fn left(&self, key: &Resource) {
        if let Some(line) = self.map().lines.get_mut(key).filter(|line| line.holders == 0)
            && let Some(first) = line.waiters.values_mut().next()
        {
            first.ring(Turn::Arrived);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.map().lines.values().all(|line| line.waiters.is_empty())
    }

    fn map(&self) -> MutexGuard<'_, Map<O>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O> Map<O> {
    /// How many messages are passed on that nobody here waits for, and in which time.
    const PASSES: (usize, Duration) = (8, Duration::from_millis(100));

    fn passes_on(&mut self, now: Duration) -> bool {
        let (most, within) = Self::PASSES;
        if now.saturating_sub(self.passed_on.1) >= within {
            self.passed_on = (0, now);
        }
        self.passed_on.0 += 1;
        self.passed_on.0 <= most
    }

    /// The line for this key. Before one is made, those are removed that nobody uses.
    fn line(&mut self, key: &Resource, now: Duration) -> &mut Line<O> {
        self.sweep(now);
        self.lines.entry(key.clone()).or_default()
    }

    /// Forgets a line in which nobody stands and which nobody wanted.
    fn forget(&mut self, key: &Resource) {
        if self.lines.get(key).is_some_and(Line::<O>::is_forgettable) {
            self.lines.remove(key);
        }
    }

    /// Forgets the lines in which nobody stands any more, now and then.
    fn sweep(&mut self, now: Duration) {
        let (lines, time) = self.sweep_at;
        if self.lines.len() >= Lines::<O>::FEW && (self.lines.len() >= lines || now >= time) {
            self.lines.retain(|_, line| !line.is_empty() || line.is_contended(now));
            self.sweep_at = (Lines::<O>::FEW.max(2 * self.lines.len()), now + Lines::<O>::SWEPT_EVERY);
            self.lines.shrink_to(self.sweep_at.0);
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

    /// Takes a lock without waiting, and releases it. Another process waits for it, and is notified.
    fn hold_and_release(lines: &Arc<Lines<()>>, number: u32, now: Duration) {
        let holding = Holding::at_once(lines, &key(number), now);
        lines.given_back(&key(number), true, now);
        drop(holding);
    }

    #[test]
    fn a_process_that_never_waits_keeps_no_lines() {
        let lines = Arc::new(Lines::<()>::default());
        for number in 0..10_000 {
            hold_and_release(&lines, number, number * Duration::from_millis(20));
        }
        // 50 of them were contended within the last second.
        let kept = lines.map().lines.len();
        assert!(kept <= 2 * Lines::<()>::FEW, "{kept} lines");
    }

    #[test]
    fn lines_are_removed_after_a_peak_too() {
        let lines = Arc::new(Lines::<()>::default());
        let all: Vec<_> = (0..10_000).map(|number| Holding::at_once(&lines, &key(number), Duration::ZERO)).collect();
        (0..10_000).for_each(|number| lines.given_back(&key(number), true, Duration::ZERO));
        drop(all);
        hold_and_release(&lines, 10_001, 2 * Lines::<()>::SWEPT_EVERY);
        let map = lines.map();
        assert!(
            map.lines.len() <= Lines::<()>::FEW && map.lines.capacity() <= 4 * Lines::<()>::FEW,
            "{} lines",
            map.lines.len()
        );
    }

    #[test]
    fn a_message_that_nobody_waits_for_is_passed_on_but_not_without_bound() {
        let lines = Lines::<()>::default();
        let now = Duration::ZERO;
        let (number, _) = lines.join(&key(1), now);
        let turn = |lines: &Lines<()>| lines.turn(&key(1), number, &Arc::default(), now).is_some();
        assert_eq!((lines.woken("r1", now), turn(&lines)), (false, true));
        lines.joins(&key(1), 0);
        assert_eq!(lines.leave(&key(1), number, None), [0]);
        let passed_on = |now| (0..1_000).filter(|_| lines.woken("r1", now)).count();
        assert_eq!((passed_on(now), passed_on(now), passed_on(now + Map::<()>::PASSES.1)), (8, 0, 8));
    }
}
