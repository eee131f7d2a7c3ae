//! The waiters and listeners of a node: the effect of the scripts on sorted sets and channels.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::Instant,
};

/// The waiters for all keys of a node, and the channels with listeners.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// The wait queues, by their key.
    lines: HashMap<String, Line>,
    channels: HashMap<String, Vec<Sender<Vec<u8>>>>,
}

#[derive(Debug)]
struct Line {
    /// Scores and channels. A score is when the waiter came, in microseconds of the node's clock; once the waiter is
    /// notified, it is negative, and its absolute value is the time by which the waiter is expected to request the
    /// lock.
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
    /// How long a notified waiter is expected to take until it requests the lock, in microseconds.
    const ASKS_WITHIN: i64 = 100_000;

    /// How long waiters are kept after the last of them came.
    const KEPT: Duration = Duration::from_secs(3600);

    /// The number of messages that a connection buffers for a listener.
    const BUFFERED: usize = 1024;

    /// Adds a waiter that was refused to the wait queue, or keeps its place. A waiter that was notified and comes too
    /// late is first again.
    ///
    /// A waiter that does not yield, because it polls, removes those that came at least an hour ago.
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

    /// Adds a waiter, as another program would.
    pub(crate) fn plant(&mut self, line: &str, channel: &str, score: i64, now: Instant) {
        let line = self.lines.entry(line.to_owned());
        let line = line.or_insert_with(|| Line { waiters: BTreeSet::new(), expires: now + Self::KEPT });
        line.put(score, channel);
    }

    /// Notifies the first waiter that listens. Returns whether a waiter is on its way; false if the first is `asking`
    /// itself. Skips waiters for a semaphore that are on their way, because several of its slots may be free.
    pub(crate) fn wake(&mut self, line: &str, asking: Option<&str>, now: Instant, micros: u64) -> bool {
        let key = line.strip_suffix(":redlock:waiters").unwrap_or(line);
        let is_semaphore = key.ends_with(":redlock:permits");
        let mut passed = 0;
        let now_micros = i64::try_from(micros).unwrap_or(i64::MAX);
        let reads = asking.is_some_and(|asking| asking.ends_with(SHARED));
        let Some(line) = self.lines.get_mut(line).filter(|line| line.expires >= now) else { return false };
        while let Some((score, channel)) = line.waiters.iter().nth(passed).cloned() {
            if asking == Some(&channel) {
                return passed > 0;
            }
            if reads && channel.ends_with(SHARED) {
                return false;
            }
            if (-(now_micros + Self::ASKS_WITHIN)..-now_micros).contains(&score) {
                if is_semaphore {
                    passed += 1;
                    continue;
                }
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
        passed > 0
    }

    /// Returns whether the first waiter in the queue is a reader.
    pub(crate) fn is_shared_first(&self, line: &str, now: Instant) -> bool {
        let line = self.lines.get(line).filter(|line| line.expires >= now);
        line.and_then(|line| line.waiters.first()).is_some_and(|(_, waiter)| waiter.ends_with(SHARED))
    }

    /// Publishes a message. Returns whether anybody listens.
    pub(crate) fn publish(&mut self, channel: &str, message: &str) -> bool {
        publish(&mut self.channels, channel, message)
    }

    /// Returns the messages that are published on this channel from now on.
    pub(crate) fn listen(&mut self, channel: &str) -> Receiver<Vec<u8>> {
        let (sender, receiver) = mpsc::channel(Self::BUFFERED);
        self.channels.entry(channel.to_owned()).or_default().push(sender);
        receiver
    }

    /// Breaks all connections, because the server stops.
    pub(crate) fn hang_up(&mut self) {
        self.channels.clear();
    }

    /// Forgets all waiters.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
    }

    /// Returns the channels of the waiters, in order.
    pub(crate) fn of(&self, line: &str) -> Vec<String> {
        let waiters = self.lines.get(line).into_iter().flat_map(|line| &line.waiters);
        waiters.map(|(_, channel)| channel.clone()).collect()
    }
}

/// The text after the channel of a reader.
const SHARED: &str = ":shared";

/// Returns the channel of a waiter.
fn process(waiter: &str) -> &str {
    waiter.strip_suffix(SHARED).unwrap_or(waiter)
}

/// Returns whether anybody listens.
fn publish(channels: &mut HashMap<String, Vec<Sender<Vec<u8>>>>, channel: &str, message: &str) -> bool {
    let Some(listeners) = channels.get_mut(channel) else { return false };
    listeners.retain(|listener| !listener.is_closed());
    for listener in &*listeners {
        // A connection whose buffer is full loses messages.
        let _ = listener.try_send(message.as_bytes().to_vec());
    }
    !listeners.is_empty()
}
