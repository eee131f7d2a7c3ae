//! Decides when a waiter sends requests to the nodes, how often it retries, and how many holders of one process follow
//! each other.

use std::time::Duration;

/// The reason why a waiter sends requests to the nodes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has arrived, or a lock of this process was released: calls that have waited longer come first.
    Arrived,
    /// It was notified, so it is the first.
    Woken,
    /// It was not notified for a whole pause. The process that should have notified it may be gone, so it sends its
    /// requests without a notification.
    Due,
    /// The holder hands the lock off to it.
    Follows,
}

impl Cause {
    /// Returns whether it waits behind earlier waiters even if the lock is free.
    #[must_use]
    pub fn yields(self) -> bool {
        self == Self::Arrived
    }
}

/// Decides whether a waiter that was refused now waits for a message, or tries once more.
///
/// It tries once more if the node that is to notify it has granted. Then it is possible that nobody holds the lock,
/// because several callers have split the nodes among them. That node has granted to only one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asking {
    in_vain: u32,
}

impl Asking {
    /// The number of times that a waiter tries once more within one pause.
    pub const MOST: u32 = 3;

    /// Records a lost round. Returns the pause before another round, or `None` if the waiter waits for a message
    /// (`waits`) or has retried often enough. The first pause is zero, and the next are random, up to 2 ms and up to 4
    /// ms, since contenders that collided once collide again.
    pub fn lost(&mut self, waits: bool, random: u64) -> Option<Duration> {
        if waits || self.in_vain == Self::MOST {
            return None;
        }
        let longest = Duration::from_millis(2) * self.in_vain;
        self.in_vain += 1;
        Some(Duration::from_nanos(random % (longest.as_nanos() as u64 + 1)))
    }
}

/// Decides how long a waiter that was notified but refused ignores further notifications.
///
/// The lock may have gone to another waiter, or somebody else may have published the message. Rounds must not follow
/// notifications one by one, whatever is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Notified {
    in_vain: u32,
}

impl Notified {
    /// The rest after the first notification that was in vain.
    pub const FIRST_REST: Duration = Duration::from_millis(20);

    /// The longest rest. A waiter that is notified during a rest still sends its requests within 100 ms, as the nodes
    /// expect: later, it would lose its place in the queue.
    pub const LONGEST_REST: Duration = Duration::from_millis(80);

    /// Records a notification that was in vain. Returns the rest after it, which doubles each time up to the longest.
    pub fn in_vain(&mut self) -> Duration {
        let rest = Self::FIRST_REST.saturating_mul(2_u32.saturating_pow(self.in_vain)).min(Self::LONGEST_REST);
        self.in_vain = self.in_vain.saturating_add(1);
        rest
    }
}

/// Counts how many holders of one process have followed each other directly.
///
/// Bounded, so that other processes get their turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Succession {
    in_a_row: u32,
}

impl Succession {
    /// The number of holders that may follow a holder that has competed with all other callers.
    pub const MOST: u32 = 4;

    /// Returns whether another one may follow directly. If so, counts it.
    pub fn goes_on(&mut self) -> bool {
        let goes_on = self.in_a_row < Self::MOST;
        if goes_on {
            self.in_a_row += 1;
        }
        goes_on
    }

    /// Records that a holder has won the lock against all other callers.
    pub fn begins(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_caller_that_arrives_yields_to_waiters() {
        let yields = [Cause::Arrived, Cause::Woken, Cause::Due, Cause::Follows].map(Cause::yields);
        assert_eq!(yields, [true, false, false, false]);
    }

    #[test]
    fn a_waiter_in_the_queue_waits_for_a_notification() {
        assert_eq!(Asking::default().lost(true, 7), None);
    }

    #[test]
    fn a_waiter_outside_the_queue_asks_again_a_few_times() {
        let mut asking = Asking::default();
        let again: Vec<_> = (0..5).map(|_| asking.lost(false, 4_000_000)).collect();
        let nanos = |nanos| Some(Duration::from_nanos(nanos));
        // At once, within 2 ms, within 4 ms.
        assert_eq!(again, [nanos(0), nanos(1_999_999), nanos(4_000_000), None, None]);
    }

    #[test]
    fn the_rest_after_notifications_in_vain_doubles_up_to_a_bound() {
        let mut notified = Notified::default();
        let rests: Vec<_> = (0..40).map(|_| notified.in_vain()).collect();
        assert_eq!(rests[..4], [20, 40, 80, 80].map(Duration::from_millis));
        assert_eq!(rests[39], Notified::LONGEST_REST);
    }

    #[test]
    fn four_holders_follow_directly_and_then_other_processes_have_their_turn() {
        let mut succession = Succession::default();
        for _ in 0..3 {
            let follow: Vec<_> = (0..6).map(|_| succession.goes_on()).collect();
            assert_eq!(follow, [true, true, true, true, false, false]);
            succession.begins();
        }
    }
}
