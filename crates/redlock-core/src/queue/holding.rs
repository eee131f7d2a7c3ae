//! A lock of this process as the wait queue sees it: the next waiter is notified when it is released.

use std::{sync::Arc, time::Duration};

use super::lines::Lines;
use crate::names::Resource;

/// A lock of this process has the key, until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding<O> {
    lines: Arc<Lines<O>>,
    key: Resource,
    number: u64,
    is_leaving: bool,
}

impl<O> Holding<O> {
    /// The lock has been taken, and stands in the lines as the holder of this number.
    pub(super) fn new(lines: &Arc<Lines<O>>, key: &Resource, number: u64) -> Self {
        Self { lines: Arc::clone(lines), key: key.clone(), number, is_leaving: false }
    }

    /// Who waits for no lock has taken it.
    pub(crate) fn at_once(lines: &Arc<Lines<O>>, key: &Resource, now: Duration) -> Self {
        Self::new(lines, key, lines.hold(key, now))
    }

    /// The lock is being given back.
    pub(crate) fn leaves(&mut self) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.lines.leaves(&self.key);
        }
    }
}

impl<O> Drop for Holding<O> {
    fn drop(&mut self) {
        self.lines.let_go(&self.key, self.number, self.is_leaving);
    }
}
