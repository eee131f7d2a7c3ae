//! When a waiter asks the nodes, and why.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{algorithm::Cause, names::Token};

/// When to ask the nodes, and why.
#[derive(Debug)]
pub(crate) enum Turn<O> {
    /// It has come, or the lock was given back beside it.
    Arrived,
    /// It was woken.
    Woken,
    /// Its pause is over.
    Due,
    /// The holder leaves the lock to it.
    Follows(Predecessor<O>),
    /// The first of its names are reserved for it, by locks with these tokens.
    Reserved(Arc<[Token]>),
}

impl<O> Turn<O> {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Arrived | Self::Reserved(_) => Cause::Arrived,
            Self::Woken => Cause::Woken,
            Self::Due => Cause::Due,
            Self::Follows(_) => Cause::Follows,
        }
    }
}

/// A holder that leaves its lock to the next in line. It waits until this is dropped.
#[derive(Debug)]
pub(crate) struct Predecessor<O> {
    offer: O,
    _asked: oneshot::Sender<()>,
}

impl<O> Predecessor<O> {
    pub(super) fn new(offer: O) -> (Self, oneshot::Receiver<()>) {
        let (asked, is_asked) = oneshot::channel();
        (Self { offer, _asked: asked }, is_asked)
    }

    /// What it leaves.
    pub(crate) fn offer(&self) -> &O {
        &self.offer
    }
}
