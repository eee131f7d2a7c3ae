//! The way between one process and one node: the line, the batches in the socket, and requests in old sockets.

use std::{collections::VecDeque, time::Duration};

use super::node::Node;
use crate::{
    engine::{
        ask::{Answered, Ask},
        line::{Line, Next, Report},
    },
    node::NodeErrorKind,
};

/// The way from one process to one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) line: Line<u8>,
    /// The oldest first.
    pipes: VecDeque<Pipe>,
    /// Requests that set keys in the socket of a connection that broke. The node may carry each of them out at any
    /// time.
    strays: Vec<Ask<u8>>,
    /// Which leases have sent a release.
    released: Vec<u8>,
    /// Whether a connection is being made. Nothing if it is there as soon as it is wanted.
    connecting: Option<bool>,
}

/// A batch in flight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Pipe {
    asks: Vec<Ask<u8>>,
    /// Once the node has carried it out.
    answers: Option<Vec<Answered>>,
}

impl Link {
    pub(super) fn new(line: Line<u8>, connects_at_once: bool) -> Self {
        let connecting = (!connects_at_once).then_some(false);
        Self { line, pipes: VecDeque::new(), strays: Vec::new(), released: Vec::new(), connecting }
    }

    /// Takes the actions of the line, until there are none. Returns the requests that were not sent in time. `Err` if a
    /// rule is broken.
    pub(super) fn flush(&mut self, now: Duration) -> Result<Vec<Ask<u8>>, &'static str> {
        let mut expired = Vec::new();
        while let Some(next) = self.line.next(now) {
            match next {
                Next::Connect => match &mut self.connecting {
                    Some(connecting) => *connecting = true,
                    None => self.line.connected(),
                },
                Next::Expired(asks) => expired.extend(asks),
                Next::Send(asks) => {
                    for ask in &asks {
                        if ask.request.lives().is_some() {
                            self.released.push(ask.lease);
                            self.released.sort_unstable();
                            self.released.dedup();
                        } else if self.released.contains(&ask.lease) {
                            return Err("a request that sets a key was sent after the release");
                        }
                    }
                    self.pipes.push_back(Pipe { asks, answers: None });
                }
            }
        }
        Ok(expired)
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.connecting == Some(true)
    }

    /// The connection is made, or is refused.
    pub(super) fn connects(&mut self, is_refused: bool, now: Duration) -> Vec<Report<u8>> {
        self.connecting = Some(false);
        if is_refused {
            return self.line.broken(NodeErrorKind::Unreachable, now);
        }
        self.line.connected();
        Vec::new()
    }

    /// Whether there is a batch that the node has not carried out.
    pub(super) fn can_execute(&self) -> bool {
        self.pipes.iter().any(|pipe| pipe.answers.is_none())
    }

    /// Whether the node has carried out the oldest batch.
    pub(super) fn can_reply(&self) -> bool {
        self.pipes.front().is_some_and(|pipe| pipe.answers.is_some())
    }

    pub(super) fn has_flight(&self) -> bool {
        !self.pipes.is_empty()
    }

    /// The node carries out the next batch.
    pub(super) fn execute(&mut self, node: &mut Node, now: Duration) {
        if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.answers.is_none()) {
            pipe.answers = Some(pipe.asks.iter().map(|ask| node.execute(ask, now)).collect());
        }
    }

    /// The answers to the oldest batch arrive.
    pub(super) fn reply(&mut self, now: Duration) -> Vec<Report<u8>> {
        let answers = self.pipes.pop_front().and_then(|pipe| pipe.answers);
        self.line.answered(answers.unwrap_or_default(), now)
    }

    /// The connection breaks. Requests in its socket may be carried out later.
    pub(super) fn breaks(&mut self, now: Duration) -> Vec<Report<u8>> {
        self.spill();
        self.line.broken(NodeErrorKind::Unreachable, now)
    }

    /// Time has passed. The line may give the connection up.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<Report<u8>> {
        let reports = self.line.tick(now);
        if self.line.in_flight() == 0 {
            self.spill();
        }
        reports
    }

    fn spill(&mut self) {
        for Pipe { asks, answers } in self.pipes.drain(..) {
            let is_lost = |ask: &Ask<u8>| answers.is_none() && ask.request.sets_for().is_some();
            self.strays.extend(asks.into_iter().filter(is_lost));
        }
    }

    pub(super) fn strays(&self) -> usize {
        self.strays.len()
    }

    /// The node carries out what lies in an old socket.
    pub(super) fn stray(&mut self, number: usize, node: &mut Node, now: Duration) {
        let ask = self.strays.remove(number);
        let _ = node.execute(&ask, now);
    }

    /// The node has restarted: its old sockets are gone.
    pub(super) fn restarted(&mut self, now: Duration) -> Vec<Report<u8>> {
        self.pipes.clear();
        self.strays.clear();
        self.line.broken(NodeErrorKind::Unreachable, now)
    }
}
