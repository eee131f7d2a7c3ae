//! A client's connection to a node, made when it is first used and replaced when the node leaves everything unanswered.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redlock_core::{NodeError, NodeErrorKind};
use tokio::time::Instant;

use crate::clock::later;

/// How a client's connection to a node behaves, for [`MockNode::with_connection`](crate::MockNode::with_connection) and
/// [`Fleet::with_connections`](crate::Fleet::with_connections). By default it behaves as in the Redis backends.
///
/// All requests of one client share a connection. While the node hangs, requests wait in the socket, and the node
/// carries them out when it resumes. Once the client has given the connection up, the next request needs a new one. A
/// node that hangs or is cut off accepts none: the request fails after the connect timeout, and never reaches the node.
/// The node still carries out the requests in the socket of the old connection. So a release can be lost although the
/// acquire before it takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// How long the node may leave every request unanswered before the client gives the connection up. The client does
    /// so when a request times out, as the backends do. Default: 2 s.
    pub silence: Duration,
    /// The maximum time that a request waits for a new connection. Its response timeout starts once it has one.
    /// Default: 1 s.
    pub connect_timeout: Duration,
    /// The number of requests that fit into the socket of a node that hangs. The others wait in the client while their
    /// response timeout runs, and never reach the node if their callers give up there. Default: no limit.
    pub socket: usize,
    /// How late the node carries out the requests in the socket of a connection that was given up, counted from when it
    /// resumes or can be reached again: requests over the new connection may overtake them. In a
    /// [`Fleet`](crate::Fleet) it is a random time of at most this length for each connection. Default: no time.
    pub late: Duration,
}

impl Default for Connection {
    fn default() -> Self {
        let (silence, connect_timeout) = (Duration::from_secs(2), Duration::from_secs(1));
        Self { silence, connect_timeout, socket: usize::MAX, late: Duration::ZERO }
    }
}

/// One client, and its current connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) behavior: Connection,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    attempt: Option<Attempt>,
}

#[derive(Debug)]
struct Current {
    /// The server's number of the connection.
    number: u64,
    /// When the first request was written that has timed out since the last answer.
    silent_since: Option<Instant>,
    route: Route,
}

/// The fate of requests that are written to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// They arrive.
    Open,
    /// Something in the network has forgotten the connection. They arrive at this time, if ever, and no answer comes
    /// back.
    Cut(Option<Instant>),
}

/// A connection attempt in progress, which all requests share that are sent meanwhile; or one that has failed.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    fails_at: Instant,
    why: NodeErrorKind,
}

impl Client {
    /// How long after a failed connect no request tries another, as in the backends.
    const PAUSE: Duration = Duration::from_millis(10);

    pub(crate) fn new(behavior: Connection) -> Self {
        Self { behavior, state: Mutex::default() }
    }

    /// Returns the connection in use, unless it is broken.
    pub(crate) fn current(&self, is_open: impl Fn(u64) -> bool) -> Option<u64> {
        let mut state = self.state();
        state.current.take_if(|current| !is_open(current.number));
        state.current.as_ref().map(|current| current.number)
    }

    /// Returns until when to wait for a new connection. Fails during the pause after a failed connect.
    pub(crate) fn attempt(&self, now: Instant) -> Result<Instant, NodeError> {
        let mut state = self.state();
        match state.attempt {
            Some(Attempt { fails_at, .. }) if now < fails_at => Ok(fails_at),
            Some(Attempt { fails_at, why }) if now < later(fails_at, Self::PAUSE) => {
                Err(NodeError::from(why).never_sent())
            }
            _ => {
                let fails_at = later(now, self.behavior.connect_timeout);
                state.attempt = Some(Attempt { fails_at, why: NodeErrorKind::Timeout });
                Ok(fails_at)
            }
        }
    }

    /// Notes that the server has refused the connection.
    pub(crate) fn refused(&self, now: Instant) {
        self.state().attempt = Some(Attempt { fails_at: now, why: NodeErrorKind::Unreachable });
    }

    /// Notes that the connection was made. All requests that waited for it share it.
    pub(crate) fn connected(&self, connect: impl FnOnce() -> u64) -> u64 {
        let mut state = self.state();
        state.attempt = None;
        let made = || Current { number: connect(), silent_since: None, route: Route::Open };
        state.current.get_or_insert_with(made).number
    }

    /// Returns the fate of a request that is written now.
    pub(crate) fn route(&self, number: u64) -> Route {
        self.state()
            .current
            .as_ref()
            .filter(|current| current.number == number)
            .map_or(Route::Open, |current| current.route)
    }

    /// Cuts the connection in use, if there is one. Neither side notices.
    pub(crate) fn cut(&self, arrives: Option<Instant>) {
        if let Some(current) = &mut self.state().current {
            current.route = Route::Cut(arrives);
        }
    }

    /// Returns whether the connection in use was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.state().current.as_ref().is_some_and(|current| current.route != Route::Open)
    }

    pub(crate) fn answered(&self, number: u64) {
        if let Some(current) = self.state().current.as_mut().filter(|current| current.number == number) {
            current.silent_since = None;
        }
    }

    /// Notes that a request timed out. Returns whether the connection is given up now.
    pub(crate) fn unanswered(&self, number: u64, written: Instant) -> bool {
        let silence = self.behavior.silence;
        let is_silent = |current: &mut Current| {
            current.number == number && current.silent_since.get_or_insert(written).elapsed() >= silence
        };
        self.state().current.take_if(is_silent).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
