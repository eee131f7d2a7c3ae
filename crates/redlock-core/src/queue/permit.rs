//! The permit of a waiter to send requests to the nodes, and the reason for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{algorithm::Cause, names::Token};

/// The permit to send requests to the nodes, and the reason for it.
#[derive(Debug)]
pub(crate) enum Permit<O> {
    /// The call has arrived and no other call waits before it, or a lock of this process was released.
    Arrived,
    /// A node has notified this process.
    Woken,
    /// The pause of the call is over.
    Due,
    /// The holder hands the lock off to the call.
    Follows(Predecessor<O>),
    /// The first names of the call are reserved for it, by locks with these tokens.
    Reserved(Arc<[Token]>),
}

impl<O> Permit<O> {
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Arrived | Self::Reserved(_) => Cause::Arrived,
            Self::Woken => Cause::Woken,
            Self::Due => Cause::Due,
            Self::Follows(_) => Cause::Follows,
        }
    }
}

/// A holder that hands its lock off to the next waiter. The holder waits until this is dropped.
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

    /// Returns the lock that it hands off.
    pub(crate) fn offer(&self) -> &O {
        &self.offer
    }
}
