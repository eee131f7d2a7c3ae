//! One side of the comparison: a node, direct access to its keys, and its answers without values that may differ.

use super::{operation::*, *};

/// An answer without values that differ between two clocks: a remaining TTL is compared only in whole minutes.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Done(String),
    /// The counter, and whether it follows the predecessor.
    Counted(Number, bool),
    Held {
        minutes: Option<u64>,
        shared: bool,
    },
    /// The readers, sorted, and the remaining TTL of each of them.
    Shared {
        readers: Vec<(String, Option<u64>)>,
        count: usize,
        minutes: Option<u64>,
    },
    Quarantined {
        minutes: Option<u64>,
    },
    Value {
        text: String,
        minutes: Option<u64>,
    },
    Error(NodeErrorKind),
    Nothing,
}

/// Rounds to the nearest minute. All times are whole minutes, so a few seconds of difference do not matter.
pub(super) fn minutes(remaining: Option<Duration>) -> Option<u64> {
    remaining.map(|remaining| (remaining + MINUTE / 2).as_secs() / 60)
}

pub(super) fn token(number: u8) -> Token {
    match number {
        0 => Token::from_bytes([0; 20]),
        // The same digits are another token if the owner differs.
        1 => Token::from_bytes([0; 20]).with_owner(&Owner::new("one").unwrap()),
        _ => Token::from_bytes([2; 20]).with_owner(&Owner::new("x".repeat(Owner::MAX_LEN)).unwrap()),
    }
}

pub(super) fn resources(keys: &[u8], place: fn(u8) -> Place) -> Resources {
    Resources::new(keys.iter().map(|key| place(*key).name())).unwrap()
}

pub(super) fn counters(keys: &[u8], retention: Duration) -> FencingCounters {
    FencingCounters::new(resources(keys, Place::Counter), retention)
}

pub(super) fn guard(longest: Duration) -> RestartGuard {
    RestartGuard::new(Place::Marker.key(), Ttl::new(longest).unwrap())
}

/// A node, and direct access to its keys.
pub(super) struct Side<'a> {
    node: &'a dyn LockNode,
    pub(super) behind: Behind<'a>,
    /// The reading of its clock at the start, in microseconds.
    start: u64,
    /// The run of the server, as markers name it.
    run: String,
}

pub(super) enum Behind<'a> {
    Mock(&'a MockNode),
    Server(&'a Server),
}

impl<'a> Side<'a> {
    pub(super) async fn new(node: &'a dyn LockNode, behind: Behind<'a>) -> Self {
        let mut side = Self { node, behind, start: 0, run: String::new() };
        let request = AcquireRequest::new(Place::Lock(0).key(), token(0), Ttl::new(MINUTE).unwrap());
        side.start = node.acquire(&request).await.unwrap().clock.unwrap().as_micros() as u64;
        let run = match node.open(&OpenRequest::new(guard(MINUTE), None)).await.unwrap() {
            OpenAnswer::New { run } => run,
            other => panic!("{other:?}"),
        };
        node.open(&OpenRequest::new(guard(MINUTE), Some(run))).await.unwrap();
        side.run = side.held(Place::Marker).await.unwrap().split(' ').next().unwrap().to_owned();
        for place in [Place::Lock(0), Place::Marker] {
            side.remove(&place.key()).await;
        }
        side
    }

    /// Carries out the operation and returns the answer of the node.
    pub(super) async fn carry_out(&self, operation: &Operation) -> Answer {
        let node = self.node;
        let answer = match operation {
            Operation::Acquire {
                keys,
                token: holder,
                ttl,
                retention,
                longest,
                waiter,
                predecessors,
                shared,
                intent,
            } => {
                let mut request =
                    AcquireRequest::new(resources(keys, Place::Lock), token(*holder), Ttl::new(*ttl).unwrap());
                request.fencing = retention.map(|retention| counters(keys, retention));
                request.guard = longest.map(guard);
                let process = waiter.iter().zip(keys).next();
                request.queue = process.map(|((process, yields, stays), key)| {
                    Enqueue::new(line(*key), channel(*process)).yielding(*yields).staying(*stays)
                });
                (request.shared, request.intent) = (*shared, intent.then_some(10 * MINUTE));
                request.predecessors = predecessors.iter().map(|number| token(*number)).collect();
                // Half of the time, because a plain command must do the same as the script.
                request.wants_clock = ttl.as_secs() % 120 == 0;
                node.acquire(&request).await.map(|timed| match timed.answer {
                    AcquireAnswer::Held { remaining, shared, .. } => {
                        Answer::Held { minutes: minutes(remaining), shared }
                    }
                    AcquireAnswer::Quarantined { remaining, .. } => {
                        Answer::Quarantined { minutes: minutes(Some(remaining)) }
                    }
                    AcquireAnswer::Granted { counter: Some(counter), follows, .. } => {
                        Answer::Counted(self.told(counter), follows)
                    }
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Extend { keys, token: holder, ttl, shared, fencing } => {
                let mut request =
                    ExtendRequest::new(resources(keys, Place::Lock), token(*holder), Ttl::new(*ttl).unwrap());
                request.shared = *shared;
                request.fencing = fencing.map(|(retention, number)| {
                    let fence = self.number(number).clamp(1, FencingToken::MAX.get());
                    (counters(keys, retention), FencingToken::new(fence).unwrap())
                });
                node.extend(&request).await.map(|timed| match timed.answer {
                    ExtendAnswer::Held { remaining, .. } => Answer::Held { minutes: minutes(remaining), shared: false },
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Raise { keys, token: holder, retention, candidate } => {
                let (locks, counters) = (resources(keys, Place::Lock), counters(keys, *retention));
                let request = RaiseRequest::new(locks, token(*holder), counters, self.number(*candidate));
                node.raise(&request).await.map(|answer| match answer {
                    RaiseAnswer::Higher(counter) => Answer::Counted(self.told(counter), false),
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Release { keys, token: holder, wake, intent } => {
                let mut request = ReleaseRequest::new(resources(keys, Place::Lock), token(*holder));
                let lines: Vec<_> = keys.iter().map(|key| line(*key)).collect();
                request.intent = *intent;
                request.wake = wake.map(|(leaving, if_free)| {
                    let wake = WakeNext::new(lines, leaving.map(channel));
                    if if_free { wake.if_free() } else { wake }
                });
                node.release(&request).await.map(|answer| Answer::Done(format!("{answer:?}")))
            }
            Operation::Plant { key, process, score } => {
                self.plant(*key, &channel(*process), *score).await;
                Ok(Answer::Nothing)
            }
            Operation::Open { longest, right } => {
                let run = right.map(|right| if right { self.run.clone() } else { "another".to_owned() });
                let request = OpenRequest::new(guard(*longest), run);
                node.open(&request).await.map(|answer| match answer {
                    OpenAnswer::New { run } => Answer::Done(format!("new, and as before: {}", run == self.run)),
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Inspect { place } => {
                node.inspect(&InspectRequest::new(place.key())).await.map(|answer| match answer {
                    InspectAnswer::Shared { readers, count, remaining, .. } => {
                        let mut readers: Vec<_> = readers
                            .iter()
                            .map(|reader| {
                                let text = String::from_utf8(reader.token.clone()).unwrap();
                                (text, minutes(Some(reader.remaining)))
                            })
                            .collect();
                        // Ends that are meant to be equal differ by microseconds.
                        readers.sort_unstable();
                        Answer::Shared { readers, count, minutes: minutes(remaining) }
                    }
                    InspectAnswer::Held { token: value, remaining, .. } => {
                        Answer::Value { text: self.read(*place, &value), minutes: minutes(remaining) }
                    }
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Line { key } => Ok(Answer::Done(format!("{:?}", self.waiters(*key).await))),
            Operation::Set { place, content, ttl } => {
                if let Some(text) = self.text(*content).await {
                    self.set(&place.key(), &text, *ttl).await;
                }
                Ok(Answer::Nothing)
            }
            Operation::SetList { place } => {
                self.remove(&place.key()).await;
                self.set_list(&place.key()).await;
                Ok(Answer::Nothing)
            }
            Operation::SetMembers { key, readers, others, expires } => {
                self.remove(&Place::Lock(*key).key()).await;
                self.set_members(*key, readers, *others, *expires).await;
                Ok(Answer::Nothing)
            }
            Operation::Remove { place } => {
                self.remove(&place.key()).await;
                Ok(Answer::Nothing)
            }
        };
        answer.unwrap_or_else(|error| Answer::Error(error.kind()))
    }

    /// Reads the value of a key, without parts that differ between two nodes.
    pub(super) fn read(&self, place: Place, value: &[u8]) -> String {
        let text = String::from_utf8_lossy(value).into_owned();
        match (place, text.parse(), &text.split(' ').collect::<Vec<_>>()[..]) {
            // A counter as the script writes it, without a sign or a leading zero.
            (Place::Counter(_), Ok(counter), _) if u64::to_string(&counter) == text => {
                format!("{:?}", self.told(counter))
            }
            (Place::Marker, _, [run, longest, opens]) if *run == self.run => {
                let minutes = opens.parse().map(|opens: u64| (opens as f64 - self.start as f64) / 60e6);
                let opens = minutes
                    .map_or((*opens).to_owned(), |minutes| format!("after {} minutes", minutes.round().max(-100.0)));
                format!("this run, {longest}, {opens}")
            }
            _ => text,
        }
    }

    /// Returns the text to set under a key, or `None` if it cannot be set.
    pub(super) async fn text(&self, content: Content) -> Option<String> {
        match content {
            Content::Text(text) => Some(text.to_owned()),
            Content::Number(number) => Some(self.number(number).to_string()),
            Content::Since(after) => {
                let marker = self.held(Place::Marker).await.filter(|marker| marker.starts_with(&self.run))?;
                Some(format!("{} {}", marker.rsplit_once(' ')?.0, self.number(Number::Ahead(after))))
            }
        }
    }

    pub(super) async fn held(&self, place: Place) -> Option<String> {
        match self.node.inspect(&InspectRequest::new(place.key())).await {
            Ok(InspectAnswer::Held { token: value, .. }) => String::from_utf8(value).ok(),
            _ => None,
        }
    }

    pub(super) fn number(&self, number: Number) -> u64 {
        match number {
            Number::Exactly(number) => number,
            Number::Ahead(micros) => self.start.saturating_add_signed(micros),
            Number::OfTheClock => self.start,
        }
    }

    /// Converts a number of this node back into the comparable form.
    pub(super) fn told(&self, number: u64) -> Number {
        let ahead = number as i64 - self.start as i64;
        match ahead.abs() {
            0..60_000_000 => Number::OfTheClock,
            60_000_000..36_000_000_000 => Number::Ahead(ahead),
            _ => Number::Exactly(number),
        }
    }

    /// Adds a waiter directly to the key.
    async fn plant(&self, key: u8, channel: &str, score: Score) {
        let score = match score {
            Score::Exactly(score) => score,
            Score::Came(after) => self.start as i64 + after,
            Score::Notified(after) => -(self.start as i64 + after),
        };
        match &self.behind {
            Behind::Mock(mock) => mock.set_waiter(&Place::Lock(key).name(), channel, score),
            Behind::Server(server) => {
                server.command(&["ZADD", line(key).as_str(), &score.to_string(), channel]).await.map(drop).unwrap();
            }
        }
    }

    /// Lists the waiters for a key, the first one first.
    pub(super) async fn waiters(&self, key: u8) -> Vec<String> {
        match &self.behind {
            Behind::Mock(mock) => mock.waiters(&Place::Lock(key).name()),
            Behind::Server(server) => match server.command(&["ZRANGE", line(key).as_str(), "0", "-1"]).await.unwrap() {
                Reply::Array(waiters) => waiters.iter().map(|waiter| waiter.text().unwrap()).collect(),
                other => panic!("{other:?}"),
            },
        }
    }

    pub(super) async fn set(&self, key: &Resource, text: &str, ttl: Option<Duration>) {
        match (&self.behind, ttl) {
            (Behind::Mock(mock), _) => mock.set(key.as_str(), text, ttl),
            (Behind::Server(server), Some(ttl)) => {
                let millis = ttl.as_millis().to_string();
                server.command(&["SET", key.as_str(), text, "PX", &millis]).await.map(drop).unwrap();
            }
            (Behind::Server(server), None) => server.command(&["SET", key.as_str(), text]).await.map(drop).unwrap(),
        }
    }

    pub(super) async fn set_list(&self, key: &Resource) {
        match &self.behind {
            Behind::Mock(mock) => mock.set_list(key.as_str()),
            Behind::Server(server) => server.command(&["RPUSH", key.as_str(), "x"]).await.map(drop).unwrap(),
        }
    }

    /// Sets a sorted set. The first member ends after two minutes, the next one after four, and so on. The key expires
    /// with the last one, or never.
    async fn set_members(&self, key: u8, readers: &[u8], others: bool, expires: bool) {
        let name = Place::Lock(key).name();
        let members: Vec<_> = readers
            .iter()
            .zip(1..)
            .map(|(number, place)| {
                let member = if others { format!("job {number}") } else { token(*number).as_str().to_owned() };
                (member, place * 2 * MINUTE)
            })
            .collect();
        match &self.behind {
            Behind::Mock(mock) => {
                let members: Vec<_> = members.iter().map(|(member, ttl)| (member.as_str(), *ttl)).collect();
                mock.set_members(&name, &members);
                if !expires {
                    mock.persist(&name);
                }
            }
            Behind::Server(server) => {
                let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
                for (member, ttl) in members {
                    let ends = now + ttl;
                    server.command(&["ZADD", &name, &ends.as_micros().to_string(), &member]).await.unwrap();
                    if expires {
                        server.command(&["PEXPIREAT", &name, &ends.as_millis().to_string()]).await.unwrap();
                    }
                }
            }
        }
    }

    pub(super) async fn remove(&self, key: &Resource) {
        match &self.behind {
            Behind::Mock(mock) => mock.remove(key.as_str()),
            Behind::Server(server) => server.command(&["DEL", key.as_str()]).await.map(drop).unwrap(),
        }
    }
}
