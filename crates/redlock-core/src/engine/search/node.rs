//! One node of the search: the key of the lock, and what it does with a request.

use std::time::Duration;

use crate::{
    engine::ask::{Answer, Answered, Ask, Request},
    node::{AcquireAnswer, ExtendAnswer, RaiseAnswer, ReleaseAnswer},
};

/// A node with one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// The lease whose token the key holds, and when it expires.
    key: Option<(u8, Duration)>,
    /// Until when it grants nothing, after a restart.
    quarantine: Duration,
}

impl Node {
    /// The lease whose token the key holds.
    pub(super) fn holder(&self) -> Option<u8> {
        self.key.map(|(lease, _)| lease)
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Duration) {
        self.key = self.key.filter(|(_, until)| *until > now);
        if self.quarantine <= now {
            self.quarantine = Duration::ZERO;
        }
    }

    /// It restarts without its memory, and grants nothing until `quarantine`.
    pub(super) fn restart(&mut self, quarantine: Duration) {
        *self = Self { key: None, quarantine };
    }

    /// Carries out a request.
    pub(super) fn execute(&mut self, ask: &Ask<u8>, now: Duration) -> Answered {
        let lease = ask.lease;
        Ok(match &ask.request {
            Request::Acquire { ttl, predecessors } => Answer::Acquire(match self.holder() {
                _ if self.quarantine > now => AcquireAnswer::quarantined(self.quarantine - now),
                Some(holder) if holder == lease => AcquireAnswer::granted(),
                Some(holder) if !predecessors.contains(&holder) => AcquireAnswer::held(None),
                before => {
                    self.key = Some((lease, now + ttl.trusted()));
                    let granted = AcquireAnswer::granted();
                    if before.is_some() { granted.following() } else { granted }
                }
            }),
            Request::Extend { ttl, .. } => Answer::Extend(match self.key {
                Some((holder, _)) if holder != lease => ExtendAnswer::held(None),
                before => {
                    let until = before.map_or(Duration::ZERO, |(_, until)| until).max(now + ttl.trusted());
                    self.key = Some((lease, until));
                    if before.is_some() { ExtendAnswer::Extended } else { ExtendAnswer::Healed }
                }
            }),
            Request::Release { .. } if self.holder() == Some(lease) => {
                self.key = None;
                Answer::Release(ReleaseAnswer::Released)
            }
            Request::Release { .. } => Answer::Release(ReleaseAnswer::NotHeld),
            Request::Raise { .. } => Answer::Raise(RaiseAnswer::NotHeld),
        })
    }
}
