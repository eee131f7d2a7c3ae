//! Who waits for keys on a node, and who listens: what the scripts do with sorted sets and channels.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::Instant,
};

/// The waiters of all keys of a node, and the channels that are listened to.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// By the key of the waiters.
    lines: HashMap<String, Line>,
    channels: HashMap<String, Vec<Sender<Vec<u8>>>>,
}

#[derive(Debug)]
struct Line {
    /// Scores and channels. A score is when the waiter came, in microseconds of the node's clock; or once it was woken, with
    /// a minus, until when it is expected to ask.
    waiters: BTreeSet<(i64, String)>,
    expires: Instant,
}

impl Line {
    fn score(&self, channel: &str) -> Option<i64> {
        self.waiters.iter().find(|(_, waiter)| waiter == channel).map(|(score, _)| *score)
    }

    fn put(&mut self, score: i64, channel: &str) {
        self.remove(channel);
        self.waiters.insert((score, channel.to_owned()));
    }

    fn remove(&mut self, channel: &str) {
        self.waiters.retain(|(_, waiter)| waiter != channel);
    }
}

impl Waiters {
    /// How long one who was woken is expected to take until it asks, in microseconds.
    const ASKS_WITHIN: i64 = 100_000;

    /// For how long waiters are kept after the last of them came.
    const KEPT: Duration = Duration::from_secs(3600);

    /// What a connection buffers for one who listens.
    const BUFFERED: usize = 1024;

    /// Adds a waiter that was refused, or keeps its place. One that was notified and comes too late is the first again.
    ///
    /// Who does not yield, since it polls, takes those out who came an hour ago.
    pub(crate) fn join(&mut self, line: &str, channel: &str, yields: bool, now: Instant, micros: u64) {
        let line = self.lines.entry(line.to_owned());
        let line = line.or_insert_with(|| Line { waiters: BTreeSet::new(), expires: now });
        if line.expires < now {
            line.waiters.clear();
        }
        let micros = i64::try_from(micros).unwrap_or(i64::MAX);
        let oldest = micros.saturating_sub(Self::KEPT.as_micros() as i64);
        if !yields {
            line.waiters.retain(|(score, _)| *score < 2 || *score > oldest);
        }
        match line.score(channel) {
            None => {
                line.put(micros.max(2), channel);
                line.expires = now + Self::KEPT;
                return;
            }
            Some(score) if score < 1 => line.put(1, channel),
            // The clock went back.
            Some(score) if score > micros => line.put(micros.max(2), channel),
            Some(_) => {}
        }
        if !yields {
            line.expires = now + Self::KEPT;
        }
    }

    pub(crate) fn leave(&mut self, line: &str, channel: &str) {
        if let Some(line) = self.lines.get_mut(line) {
            line.remove(channel);
        }
    }

    /// Plants a waiter, as another program would.
    pub(crate) fn plant(&mut self, line: &str, channel: &str, score: i64, now: Instant) {
        let line = self.lines.entry(line.to_owned());
        let line = line.or_insert_with(|| Line { waiters: BTreeSet::new(), expires: now + Self::KEPT });
        line.put(score, channel);
    }

    /// Notifies the first in the queue that listens. Whether one is on its way; not if the first is `asking` itself.
    pub(crate) fn wake(&mut self, line: &str, key: &str, asking: Option<&str>, now: Instant, micros: u64) -> bool {
        let now_micros = i64::try_from(micros).unwrap_or(i64::MAX);
        let Some(line) = self.lines.get_mut(line).filter(|line| line.expires >= now) else { return false };
        let reads = asking.is_some_and(|asking| asking.ends_with(SHARED));
        while let Some((score, channel)) = line.waiters.first().cloned() {
            if asking == Some(&channel) || reads && channel.ends_with(SHARED) {
                return false;
            }
            if (-(now_micros + Self::ASKS_WITHIN)..-now_micros).contains(&score) {
                return true;
            }
            line.remove(&channel);
            if score >= 0 && publish(&mut self.channels, process(&channel), key) {
                let until = -(now_micros + Self::ASKS_WITHIN);
                line.put(until, &channel);
                if channel.ends_with(SHARED) {
                    let waiting = line.waiters.iter().filter(|(score, _)| *score >= 0).take(100);
                    let readers = waiting.map(|(_, waiter)| waiter).take_while(|waiter| waiter.ends_with(SHARED));
                    for reader in readers.cloned().collect::<Vec<_>>() {
                        publish(&mut self.channels, process(&reader), key);
                        line.put(until, &reader);
                    }
                }
                return true;
            }
        }
        false
    }

    /// Whether the first in the queue is a reader.
    pub(crate) fn is_shared_first(&self, line: &str, now: Instant) -> bool {
        let line = self.lines.get(line).filter(|line| line.expires >= now);
        line.and_then(|line| line.waiters.first()).is_some_and(|(_, waiter)| waiter.ends_with(SHARED))
    }

    /// Publishes a message. Whether anybody listens.
    pub(crate) fn publish(&mut self, channel: &str, message: &str) -> bool {
        publish(&mut self.channels, channel, message)
    }

    /// What is published on this channel from now on.
    pub(crate) fn listen(&mut self, channel: &str) -> Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(Self::BUFFERED);
        self.channels.entry(channel.to_owned()).or_default().push(sender);
        receiver
    }

    /// The server stops: connections break.
    pub(crate) fn hang_up(&mut self) {
        self.channels.clear();
    }

    /// Forgets everybody who waits.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }

    /// Who waits, the first first.
    pub(crate) fn of(&self, line: &str) -> Vec<String> {
        let waiters = self.lines.get(line).into_iter().flat_map(|line| &line.waiters);
        waiters.map(|(_, channel)| channel.clone()).collect()
    }
}

/// What follows the channel of a reader.
const SHARED: &str = ":shared";

/// The channel of a waiter.
fn process(waiter: &str) -> &str {
    waiter.strip_suffix(SHARED).unwrap_or(waiter)
}

/// Whether anybody listens.
fn publish(channels: &mut HashMap<String, Vec<Sender<Vec<u8>>>>, channel: &str, message: &str) -> bool {
    let Some(listeners) = channels.get_mut(channel) else { return false };
    listeners.retain(|listener| !listener.is_closed());
    for listener in &*listeners {
        // A connection whose buffer is full loses messages.
        let _ = listener.try_send(message.as_bytes().to_vec());
    }
    !listeners.is_empty()
}
