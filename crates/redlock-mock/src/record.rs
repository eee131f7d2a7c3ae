//! Records the requests that were sent, their fate, and the answers that the senders received.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redlock_core::{Resources, Token, algorithm::Vote};
use tokio::time::Instant;

/// One request of a process to a node, and its fate. Times are counted from the start of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The process that sent it.
    pub process: usize,
    /// The node that it was sent to.
    pub node: usize,
    /// The kind of request.
    pub operation: Operation,
    /// The keys.
    pub keys: Resources,
    /// The token.
    pub token: Token,
    /// Whether an acquire or an extend is for a reader.
    pub is_shared: bool,
    /// When it was sent.
    pub sent: Duration,
    /// The number of copies that were sent: none if the request was lost, two if the network doubled it. Copies are
    /// lost if the node stops before they arrive.
    pub copies: usize,
    /// When the node carried it out: empty if never, and several times if more than once.
    pub carried_out: Vec<Duration>,
    /// The number of copies that the node has answered with an error.
    pub rejected: usize,
    /// The answer that the sender received, and when; `None` if it gave up waiting, or still waits.
    pub learned: Option<(Duration, Vote)>,
}

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Set the keys.
    Acquire,
    /// Extend their expiry.
    Extend,
    /// Raise their fencing counters.
    Raise,
    /// Delete them.
    Release,
}

/// The records of one fleet.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    start: Instant,
    records: Arc<Mutex<Vec<Record>>>,
}

/// The position of one record in the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    log: Log,
    place: usize,
}

impl Log {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, records: Arc::default() }
    }

    pub(crate) fn sent(
        &self,
        process: usize,
        node: usize,
        (operation, keys, token, is_shared): (Operation, Resources, Token, bool),
    ) -> Entry {
        let sent = self.start.elapsed();
        let record = Record {
            process,
            node,
            operation,
            keys,
            token,
            is_shared,
            sent,
            copies: 0,
            carried_out: Vec::new(),
            rejected: 0,
            learned: None,
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
        Entry { log: self.clone(), place: records.len() - 1 }
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&[Record]) -> R) -> R {
        read(&self.records.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entry {
    pub(crate) fn on_its_way(&self, copies: usize) {
        self.change(|record| record.copies = copies);
    }

    pub(crate) fn carried_out(&self, at: Instant) {
        self.change(|record| record.carried_out.push(at.saturating_duration_since(self.log.start)));
    }

    pub(crate) fn rejected(&self) {
        self.change(|record| record.rejected += 1);
    }

    pub(crate) fn learned(&self, vote: Vote) {
        self.change(|record| record.learned = Some((self.log.start.elapsed(), vote)));
    }

    fn change(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.log.records.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.place) {
            change(record);
        }
    }
}
