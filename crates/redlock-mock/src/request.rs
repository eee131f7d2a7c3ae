//! A request on its way: over the client's connection, through the network, to the server and back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redlock_core::{NodeError, NodeErrorKind, Resources, Token, algorithm::Vote};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

use crate::{
    connection::{Client, Route},
    fault::Fault,
    keys::Keys,
    link::Link,
    network::Journey,
    node::MockNode,
    record::{Entry, Operation},
    server::{self, State},
};

impl MockNode {
    /// Notes that a request is sent, for the records of the fleet.
    pub(crate) fn note(&self, operation: Operation, keys: &Resources, token: &Token, is_shared: bool) -> Option<Entry> {
        let link = self.link.as_ref()?;
        Some(link.log.sent(link.process, link.node, (operation, keys.clone(), *token, is_shared)))
    }

    /// Sends a request and waits for its answer. Also returns whether it was sent twice, which is passed to `vote`,
    /// too.
    pub(crate) async fn request<A: Send + 'static>(
        &self,
        entry: Option<Entry>,
        operation: impl Fn(&mut Keys, Instant) -> Result<A, NodeError> + Send + Sync + 'static,
        vote: impl Fn(&A, bool) -> Vote,
    ) -> Result<(A, bool), NodeError> {
        let answered = self.request_once(entry.clone(), operation);
        let answer = match &self.link {
            Some(link) => link.gate.follow(answered).await,
            None => answered.await,
        };
        if let Some(entry) = entry {
            entry.learned(match &answer {
                Ok((answer, sent_again)) => vote(answer, *sent_again),
                Err(_) => Vote::Failed,
            });
        }
        answer
    }

    async fn request_once<A: Send + 'static>(
        &self,
        entry: Option<Entry>,
        operation: impl Fn(&mut Keys, Instant) -> Result<A, NodeError> + Send + Sync + 'static,
    ) -> Result<(A, bool), NodeError> {
        let connection = match &self.client {
            Some(client) => Some((client, self.connect(client).await?)),
            None => None,
        };
        let written = Instant::now();
        let answer = timeout(self.response_timeout, self.send(connection, entry, operation)).await;
        match connection {
            Some((client, number)) if answer.is_ok() => client.answered(number),
            Some((client, number)) if client.unanswered(number, written) => {
                let late = client.behavior.late;
                let late = self.link.as_ref().map_or(late, |link| link.network().random_delay(late));
                self.server().abandon(number, late, Instant::now());
            }
            _ => {}
        }
        answer.unwrap_or_else(|_| Err(NodeErrorKind::Timeout.into()))
    }

    /// Returns the number of the connection in use, or of a new one.
    async fn connect(&self, client: &Client) -> Result<u64, NodeError> {
        if let Some(number) = client.current(|number| self.server().is_open(number)) {
            return Ok(number);
        }
        let fails_at = client.attempt(Instant::now())?;
        match timeout_at(fails_at, self.accepts()).await {
            Ok(true) => Ok(client.connected(|| self.server().connect())),
            Ok(false) => {
                client.refused(Instant::now());
                Err(NodeError::from(NodeErrorKind::Unreachable).never_sent())
            }
            Err(_) => Err(NodeError::from(NodeErrorKind::Timeout).never_sent()),
        }
    }

    /// Waits until the server accepts a connection or refuses it. A server that hangs or is cut off does neither.
    async fn accepts(&self) -> bool {
        loop {
            let hang_ends = Arc::clone(&self.server().hang_ends);
            let hang_ends = hang_ends.notified();
            if let Some(until) = self.cut_until() {
                sleep_until(until).await;
                continue;
            }
            let state = self.server().state;
            match state {
                State::Running => return true,
                State::Stopped => return false,
                State::Hung => hang_ends.await,
            }
        }
    }

    /// Waits in the client's queue until the request fits into the socket.
    async fn fits(&self, client: &Client, connection: u64) {
        loop {
            let hang_ends = Arc::clone(&self.server().hang_ends);
            let hang_ends = hang_ends.notified();
            if self.server().has_room(connection, client.behavior.socket) {
                return;
            }
            hang_ends.await;
        }
    }

    pub(crate) fn cut_until(&self) -> Option<Instant> {
        self.link.as_ref().and_then(|link| link.network().cut_until(link.process, link.node))
    }

    async fn send<A: Send + 'static>(
        &self,
        connection: Option<(&Arc<Client>, u64)>,
        entry: Option<Entry>,
        operation: impl Fn(&mut Keys, Instant) -> Result<A, NodeError> + Send + Sync + 'static,
    ) -> Result<(A, bool), NodeError> {
        if let Some((client, number)) = connection {
            self.fits(client, number).await;
        }
        let now = Instant::now();
        let mut journey = self.link.as_ref().map_or(Journey::NONE, Link::journey);
        journey.delay_request(self.latency);
        let (answer, sent_again) = {
            let mut server = self.server();
            server.requests += 1;
            let fault = server.faults.pop_front().unwrap_or(Fault::None);
            match fault {
                Fault::Stop => server.stop(now),
                // A node that is down already stays down.
                Fault::Restart(memory) if server.state != State::Stopped => server.restart(memory, now),
                _ => {}
            }
            if server.state == State::Stopped || matches!(fault, Fault::Refuse | Fault::Restart(_)) {
                return Err(NodeError::from(NodeErrorKind::Unreachable).never_sent());
            }
            journey.meet(&fault);
            let sent_again = journey.is_sent_again() || matches!(fault, Fault::SendAgain(_));
            if let Some((client, number)) = connection
                && let Route::Cut(arrives) = client.route(number)
            {
                journey.cut(arrives.map(|arrives| arrives.saturating_duration_since(now)));
            }
            if let Some(entry) = &entry {
                entry.on_its_way(journey.arrivals(now).count());
            }
            let (sender, answer) = oneshot::channel();
            let sender = Mutex::new(Some(sender));
            let carry_out: server::Operation = Arc::new(move |keys, true_time, node_time| {
                let answer = match fault {
                    Fault::Fail(kind) => Err(kind.into()),
                    Fault::SendAgain(Duration::ZERO) => {
                        operation(keys, node_time).and_then(|_| operation(keys, node_time))
                    }
                    _ => operation(keys, node_time),
                };
                match (&entry, &answer) {
                    (Some(entry), Ok(_)) => entry.carried_out(true_time),
                    (Some(entry), Err(_)) => entry.rejected(),
                    (None, _) => {}
                }
                // The caller may have given up, and a request may arrive twice. It is carried out anyway.
                if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = sender.send(answer);
                }
            });
            server.receive(journey.arrivals(now), connection.map(|(_, number)| number), &carry_out);
            server.settle(now);
            (answer, sent_again)
        };
        match journey.arrivals(now).min() {
            None => std::future::pending().await,
            Some(arrives) if arrives > now => {
                sleep_until(arrives).await;
                drop(self.server());
            }
            Some(_) => {}
        }
        // If the sender was dropped, the node stopped with the request on its way.
        let answer = answer.await.unwrap_or_else(|_| Err(NodeErrorKind::Unreachable.into()));
        match journey.back() {
            None => std::future::pending().await,
            Some(Duration::ZERO) => {}
            Some(back) => sleep(back).await,
        }
        if let Some(link) = &self.link {
            link.answer_arrives().await;
        }
        match answer {
            Ok(answer) => Ok((answer, sent_again)),
            Err(error) if sent_again => Err(error.perhaps_sent()),
            Err(error) => Err(error),
        }
    }
}
