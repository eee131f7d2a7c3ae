//! A node's server: its keys, its clock, and the requests that are on their way to it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};

use crate::{
    clock::{DriftingClock, later},
    fault::{Fault, Memory},
    keys::Keys,
};

#[derive(Default)]
pub(crate) struct Server {
    pub(crate) keys: Keys,
    pub(crate) state: State,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) requests: usize,
    clock: DriftingClock,
    /// The reading of the node's clock when the node stopped: writes from shortly before may be lost.
    stopped_at: Option<Instant>,
    /// Requests that are on their way, in the order of arrival. Requests that arrive at the same time keep the order in
    /// which they were sent.
    inbox: VecDeque<Message>,
    /// Notified when a hang ends, by a resume or a stop.
    pub(crate) hang_ends: Arc<Notify>,
    /// The number of connections that were made, and the number of them that a stop of the server has ended.
    connections: u64,
    ended: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    Running,
    Hung,
    Stopped,
}

/// A request on its way: carried out when it is due, whether or not its caller still waits.
struct Message {
    due: Instant,
    /// The connection that it came over, if the client models one.
    connection: Option<u64>,
    /// How late it is carried out when the node resumes.
    late: Duration,
    carry_out: Operation,
}

/// The effect of a request on the keys, at this true time and this time of the node's clock.
pub(crate) type Operation = Arc<dyn Fn(&mut Keys, Instant, Instant) + Send + Sync>;

impl Server {
    pub(crate) fn receive(
        &mut self,
        due: impl Iterator<Item = Instant>,
        connection: Option<u64>,
        carry_out: &Operation,
    ) {
        for due in due {
            let place = self.inbox.partition_point(|message| message.due <= due);
            let (late, carry_out) = (Duration::ZERO, Arc::clone(carry_out));
            self.inbox.insert(place, Message { due, connection, late, carry_out });
        }
    }

    /// Carries out all requests that are due.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.state != State::Running {
            return;
        }
        let due = self.inbox.partition_point(|message| message.due <= now);
        for message in self.inbox.drain(..due) {
            (message.carry_out)(&mut self.keys, message.due, self.clock.at(message.due));
        }
    }

    pub(crate) fn hang(&mut self) {
        if self.state == State::Running {
            self.state = State::Hung;
        }
    }

    /// Ends a hang. Every request that arrived meanwhile is carried out now, in order, unless it is late.
    pub(crate) fn resume(&mut self, now: Instant) {
        if self.state == State::Hung {
            self.state = State::Running;
            for message in self.inbox.iter_mut().filter(|message| message.due <= now) {
                message.due = later(now, std::mem::take(&mut message.late));
            }
            self.sort();
            self.settle(now);
            self.hang_ends.notify_waiters();
        }
    }

    /// Makes a connection, and numbers it.
    pub(crate) fn connect(&mut self) -> u64 {
        self.connections += 1;
        self.connections
    }

    /// Returns whether the server has not stopped since the connection was made.
    pub(crate) fn is_open(&self, connection: u64) -> bool {
        connection > self.ended
    }

    /// Notes that the client has given the connection up. The requests in its socket are carried out this much later.
    pub(crate) fn abandon(&mut self, connection: u64, late: Duration, now: Instant) {
        for message in self.inbox.iter_mut().filter(|message| message.connection == Some(connection)) {
            if message.due > now {
                message.due = later(message.due, late);
            } else {
                message.late = late;
            }
        }
        self.sort();
    }

    /// Returns whether another request over the connection fits into its socket.
    pub(crate) fn has_room(&self, connection: u64, socket: usize) -> bool {
        let unread = || self.inbox.iter().filter(|message| message.connection == Some(connection)).count();
        self.state != State::Hung || unread() < socket
    }

    fn sort(&mut self) {
        self.inbox.make_contiguous().sort_by_key(|message| message.due);
    }

    pub(crate) fn stop(&mut self, now: Instant) {
        self.state = State::Stopped;
        self.inbox.clear();
        self.ended = self.connections;
        self.hang_ends.notify_waiters();
        self.keys.waiters.hang_up();
        self.stopped_at.get_or_insert(self.clock.at(now));
    }

    pub(crate) fn start(&mut self, memory: Memory, now: Instant) {
        if self.state == State::Stopped {
            self.state = State::Running;
            let stopped_at = self.stopped_at.take().unwrap_or(self.clock.at(now));
            self.keys.restart(memory, stopped_at);
        }
    }

    pub(crate) fn restart(&mut self, memory: Memory, now: Instant) {
        self.stop(now);
        self.start(memory, now);
    }

    /// Returns the reading of the node's clock.
    pub(crate) fn time(&self, now: Instant) -> Instant {
        self.clock.at(now)
    }

    pub(crate) fn set_clock_rate(&mut self, ppm: i32, now: Instant) {
        self.clock.set_rate(ppm, now);
    }

    pub(crate) fn jump_clock(&mut self, millis: i64, now: Instant) {
        self.clock.jump(millis, now);
    }
}
