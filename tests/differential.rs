//! The mock is a Redis: the same random operations get the same answers from a mock node and from a real server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redlock_core::{
    AcquireAnswer, AcquireRequest, Counters, ExtendAnswer, ExtendRequest, FencingToken, Guard, InspectAnswer,
    InspectRequest, ListenRequest, LockNode, NodeErrorKind, OpenAnswer, OpenRequest, Owner, Queue, RaiseAnswer,
    RaiseRequest, ReleaseRequest, Resource, Resources, Token, Ttl, Wake, WakeUps,
};
use redlock_mock::MockNode;
use redlock_tests::servers::{Reply, Server, ServerOptions, Servers};

/// What is done to a node: through its backend, or behind its back.
#[derive(Debug, Clone)]
enum Operation {
    Acquire {
        keys: Vec<u8>,
        token: u8,
        ttl: Duration,
        retention: Option<Duration>,
        longest: Option<Duration>,
        /// The process that asks, whether it yields, and whether it stands in line also when it is granted.
        waiter: Option<(u8, bool, bool)>,
        predecessor: Option<u8>,
    },
    Extend {
        keys: Vec<u8>,
        token: u8,
        ttl: Duration,
        fencing: Option<(Duration, Number)>,
    },
    Raise {
        keys: Vec<u8>,
        token: u8,
        retention: Duration,
        candidate: Number,
    },
    /// With who waits no more, if somebody is to be woken.
    Release {
        keys: Vec<u8>,
        token: u8,
        wake: Option<Option<u8>>,
    },
    Open {
        longest: Duration,
        right: Option<bool>,
    },
    Inspect {
        place: Place,
    },
    /// Who waits for a key.
    Line {
        key: u8,
    },
    Set {
        place: Place,
        content: Content,
        ttl: Option<Duration>,
    },
    SetList {
        place: Place,
    },
    Remove {
        place: Place,
    },
}

/// A key on the node.
#[derive(Debug, Clone, Copy)]
enum Place {
    Lock(u8),
    Counter(u8),
    Marker,
}

impl Place {
    const ALL: [Self; 7] = [
        Self::Lock(0),
        Self::Lock(1),
        Self::Lock(2),
        Self::Counter(0),
        Self::Counter(1),
        Self::Counter(2),
        Self::Marker,
    ];

    fn name(self) -> String {
        match self {
            Self::Lock(key) => format!("differential:{key}"),
            Self::Counter(key) => format!("{{differential:{key}}}:fence"),
            Self::Marker => "redlock:restart-guard".to_owned(),
        }
    }

    fn key(self) -> Resource {
        Resource::new(self.name()).unwrap()
    }
}

/// The key of those who wait for a lock.
fn line(key: u8) -> Resource {
    Resource::new(format!("{}:redlock:waiters", Place::Lock(key).name())).unwrap()
}

/// On which a process is woken. The last of the three does not listen.
fn channel(process: u8) -> Arc<str> {
    format!("differential:channel:{process}").into()
}

const LISTENING: [u8; 2] = [0, 1];

/// For how long one who was woken is expected to ask.
const WOKEN_FOR: Duration = Duration::from_millis(100);

/// A number, given so that it is the same on two nodes whose clocks differ.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Exactly(u64),
    /// So many microseconds after the node's clock at the start.
    Ahead(i64),
    /// Began with the node's clock since then.
    OfTheClock,
}

/// What is put under a key.
#[derive(Debug, Clone, Copy)]
enum Content {
    Text(&'static str),
    Number(Number),
    /// The marker as it is, if it is one; the quarantine of this run began so many microseconds after the start.
    Since(i64),
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR_MICROS: i64 = 3_600_000_000;

/// Whole minutes, so long that nothing expires meanwhile: expiry is a matter of clocks, which the scenarios check.
fn some_minutes() -> impl Strategy<Value = Duration> + Clone {
    (2..10_u32).prop_map(|minutes| minutes * MINUTE)
}

fn number() -> impl Strategy<Value = Number> {
    const MAX: u64 = FencingToken::MAX.get();
    prop_oneof![
        6 => (0..6_u64).prop_map(Number::Exactly),
        2 => (HOUR_MICROS..HOUR_MICROS + 4).prop_map(Number::Ahead),
        1 => (MAX - 1..=MAX + 1).prop_map(Number::Exactly),
    ]
}

fn content(place: Place) -> BoxedStrategy<Content> {
    match place {
        Place::Lock(_) => Just(Content::Text("another")).boxed(),
        Place::Counter(_) => prop_oneof![
            4 => number().prop_map(Content::Number),
            1 => prop::sample::select(vec!["garbage", "", "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x1"]).prop_map(Content::Text),
            1 => Just(Content::Text("007")),
        ]
        .boxed(),
        Place::Marker => prop_oneof![
            3 => prop::sample::select(vec![-HOUR_MICROS, -HOUR_MICROS / 180, HOUR_MICROS]).prop_map(Content::Since),
            1 => prop::sample::select(vec![
                // Of other runs: short, long, with a leading zero, and with times beyond all bounds.
                "0 600000 0",
                "01 600000 0",
                "0123456789abcdef0123456789abcdef01234567 600000 0",
                "0123456789ABCDEF0123456789abcdef01234567 600000 99999999999999999999999",
                "0 0600000 0",
                "0 99999999999999999999999 0",
            ])
            .prop_map(Content::Text),
            1 => prop::sample::select(vec![
                "garbage", "", "1 600000", "1 600000 0 ", "1  600000 0", "+1 600000 0", "1 +600000 0", "x 600000 0", " 600000 0",
            ])
            .prop_map(Content::Text),
        ]
        .boxed(),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let (token, ttl, retention) = (0..3_u8, some_minutes(), some_minutes());
    let keys = prop::sample::subsequence(vec![0, 1, 2], 1..=3);
    let longest = prop_oneof![4 => Just(10 * MINUTE), 1 => Just(11 * MINUTE)];
    let holder = (keys, token);
    let place = || prop::sample::select(Place::ALL.to_vec());
    let waiter = prop::option::of((0..3_u8, any::<bool>(), any::<bool>()));
    let options = (
        prop::option::of(retention.clone()),
        prop::option::weighted(0.3, longest.clone()),
        waiter,
        prop::option::weighted(0.3, 0..3_u8),
    );
    let wake = prop::option::of(prop::option::weighted(0.3, 0..3_u8));
    prop_oneof![
        6 => (holder.clone(), ttl.clone(), options)
            .prop_map(|((keys, token), ttl, (retention, longest, waiter, predecessor))| {
                // Who asks for several keys does not wait in line.
                let waiter = waiter.filter(|_| keys.len() == 1);
                Operation::Acquire { keys, token, ttl, retention, longest, waiter, predecessor }
            }),
        5 => (holder.clone(), ttl.clone(), prop::option::of((retention.clone(), number())))
            .prop_map(|((keys, token), ttl, fencing)| Operation::Extend { keys, token, ttl, fencing }),
        4 => (holder.clone(), retention, number())
            .prop_map(|((keys, token), retention, candidate)| Operation::Raise { keys, token, retention, candidate }),
        4 => (holder, wake).prop_map(|((keys, token), wake)| Operation::Release { keys, token, wake }),
        2 => (longest, prop::option::of(any::<bool>())).prop_map(|(longest, right)| Operation::Open { longest, right }),
        1 => place().prop_map(|place| Operation::Inspect { place }),
        4 => place()
            .prop_flat_map(move |place| (content(place), prop::option::of(some_minutes())).prop_map(move |both| (place, both)))
            .prop_map(|(place, (content, ttl))| Operation::Set { place, content, ttl }),
        1 => place().prop_map(|place| Operation::SetList { place }),
        2 => place().prop_map(|place| Operation::Remove { place }),
    ]
}

/// An answer, without what differs between two clocks: the remaining ttl is only there or not, and about as long.
#[derive(Debug, PartialEq)]
enum Answer {
    Done(String),
    /// So far, and whether it follows the predecessor.
    Counted(Number, bool),
    Held {
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

/// To the nearest, and all times are whole minutes: a few seconds of difference do not matter.
fn minutes(remaining: Option<Duration>) -> Option<u64> {
    remaining.map(|remaining| (remaining + MINUTE / 2).as_secs() / 60)
}

fn token(number: u8) -> Token {
    match number {
        0 => Token::from_bytes([0; 20]),
        // The same digits are another token if the owner differs.
        1 => Token::from_bytes([0; 20]).with_owner(&Owner::new("one").unwrap()),
        _ => Token::from_bytes([2; 20]).with_owner(&Owner::new("x".repeat(Owner::MAX_LEN)).unwrap()),
    }
}

fn resources(keys: &[u8], place: fn(u8) -> Place) -> Resources {
    Resources::new(keys.iter().map(|key| place(*key).name())).unwrap()
}

fn counters(keys: &[u8], retention: Duration) -> Counters {
    Counters::new(resources(keys, Place::Counter), retention)
}

fn guard(longest: Duration) -> Guard {
    Guard::new(Place::Marker.key(), Ttl::new(longest).unwrap())
}

/// A node, and what lies behind it.
struct Side<'a> {
    node: &'a dyn LockNode,
    behind: Behind<'a>,
    /// What its clock read at the start, in microseconds.
    start: u64,
    /// Which run of the server this is, as markers say.
    run: String,
}

enum Behind<'a> {
    Mock(&'a MockNode),
    Server(&'a Server),
}

impl<'a> Side<'a> {
    async fn new(node: &'a dyn LockNode, behind: Behind<'a>) -> Self {
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

    /// Does it, and tells what the node answered.
    async fn carry_out(&self, operation: &Operation) -> Answer {
        let node = self.node;
        let answer = match operation {
            Operation::Acquire { keys, token: holder, ttl, retention, longest, waiter, predecessor } => {
                let mut request =
                    AcquireRequest::new(resources(keys, Place::Lock), token(*holder), Ttl::new(*ttl).unwrap());
                request.fencing = retention.map(|retention| counters(keys, retention));
                request.guard = longest.map(guard);
                let process = waiter.iter().zip(keys).next();
                request.queue = process.map(|((process, yields, stays), key)| {
                    Queue::new(line(*key), channel(*process)).yielding(*yields).staying(*stays)
                });
                request.predecessor = predecessor.map(token);
                // As likely as not: a plain command does what the script does.
                request.wants_clock = ttl.as_secs() % 120 == 0;
                node.acquire(&request).await.map(|timed| match timed.answer {
                    AcquireAnswer::Held { remaining, .. } => Answer::Held { minutes: minutes(remaining) },
                    AcquireAnswer::Quarantined { remaining, .. } => {
                        Answer::Quarantined { minutes: minutes(Some(remaining)) }
                    }
                    AcquireAnswer::Granted { counter: Some(counter), follows, .. } => {
                        Answer::Counted(self.told(counter), follows)
                    }
                    done => Answer::Done(format!("{done:?}")),
                })
            }
            Operation::Extend { keys, token: holder, ttl, fencing } => {
                let mut request =
                    ExtendRequest::new(resources(keys, Place::Lock), token(*holder), Ttl::new(*ttl).unwrap());
                request.fencing = fencing.map(|(retention, number)| {
                    let fence = self.number(number).clamp(1, FencingToken::MAX.get());
                    (counters(keys, retention), FencingToken::new(fence).unwrap())
                });
                node.extend(&request).await.map(|timed| match timed.answer {
                    ExtendAnswer::Held { remaining, .. } => Answer::Held { minutes: minutes(remaining) },
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
            Operation::Release { keys, token: holder, wake } => {
                let mut request = ReleaseRequest::new(resources(keys, Place::Lock), token(*holder));
                let lines: Vec<_> = keys.iter().map(|key| line(*key)).collect();
                request.wake = wake.map(|leaving| Wake::new(lines, leaving.map(channel)));
                node.release(&request).await.map(|answer| Answer::Done(format!("{answer:?}")))
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
            Operation::Remove { place } => {
                self.remove(&place.key()).await;
                Ok(Answer::Nothing)
            }
        };
        answer.unwrap_or_else(|error| Answer::Error(error.kind()))
    }

    /// What a key holds, without what differs between two nodes.
    fn read(&self, place: Place, value: &[u8]) -> String {
        let text = String::from_utf8_lossy(value).into_owned();
        match (place, text.parse(), &text.split(' ').collect::<Vec<_>>()[..]) {
            // As it was written, without a sign or a zero before it.
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

    /// What is to be put under a key.
    async fn text(&self, content: Content) -> Option<String> {
        match content {
            Content::Text(text) => Some(text.to_owned()),
            Content::Number(number) => Some(self.number(number).to_string()),
            Content::Since(after) => {
                let marker = self.held(Place::Marker).await.filter(|marker| marker.starts_with(&self.run))?;
                Some(format!("{} {}", marker.rsplit_once(' ')?.0, self.number(Number::Ahead(after))))
            }
        }
    }

    async fn held(&self, place: Place) -> Option<String> {
        match self.node.inspect(&InspectRequest::new(place.key())).await {
            Ok(InspectAnswer::Held { token: value, .. }) => String::from_utf8(value).ok(),
            _ => None,
        }
    }

    fn number(&self, number: Number) -> u64 {
        match number {
            Number::Exactly(number) => number,
            Number::Ahead(micros) => self.start.saturating_add_signed(micros),
            Number::OfTheClock => self.start,
        }
    }

    /// The other way round.
    fn told(&self, number: u64) -> Number {
        let ahead = number as i64 - self.start as i64;
        match ahead.abs() {
            0..60_000_000 => Number::OfTheClock,
            60_000_000..36_000_000_000 => Number::Ahead(ahead),
            _ => Number::Exactly(number),
        }
    }

    /// Who waits for a key, the first first.
    async fn waiters(&self, key: u8) -> Vec<String> {
        match &self.behind {
            Behind::Mock(mock) => mock.waiters(&Place::Lock(key).name()),
            Behind::Server(server) => match server.command(&["ZRANGE", line(key).as_str(), "0", "-1"]).await.unwrap() {
                Reply::Array(waiters) => waiters.iter().map(|waiter| waiter.text().unwrap()).collect(),
                other => panic!("{other:?}"),
            },
        }
    }

    async fn set(&self, key: &Resource, text: &str, ttl: Option<Duration>) {
        match (&self.behind, ttl) {
            (Behind::Mock(mock), _) => mock.set(key.as_str(), text, ttl),
            (Behind::Server(server), Some(ttl)) => {
                let millis = ttl.as_millis().to_string();
                server.command(&["SET", key.as_str(), text, "PX", &millis]).await.map(drop).unwrap();
            }
            (Behind::Server(server), None) => server.command(&["SET", key.as_str(), text]).await.map(drop).unwrap(),
        }
    }

    async fn set_list(&self, key: &Resource) {
        match &self.behind {
            Behind::Mock(mock) => mock.set_list(key.as_str()),
            Behind::Server(server) => server.command(&["RPUSH", key.as_str(), "x"]).await.map(drop).unwrap(),
        }
    }

    async fn remove(&self, key: &Resource) {
        match &self.behind {
            Behind::Mock(mock) => mock.remove(key.as_str()),
            Behind::Server(server) => server.command(&["DEL", key.as_str()]).await.map(drop).unwrap(),
        }
    }
}

/// What processes hear.
struct Ears(Vec<Box<dyn WakeUps>>);

impl Ears {
    async fn new(node: &dyn LockNode) -> Self {
        let mut ears = Vec::new();
        for process in LISTENING {
            ears.push(node.listen(&ListenRequest::new(channel(process))).await.unwrap());
        }
        Self(ears)
    }

    /// What each of them has heard by now.
    async fn heard(&mut self, behind: &Behind<'_>) -> Vec<Vec<String>> {
        const END: &str = "that is all";
        let mut all = Vec::new();
        for (process, ear) in LISTENING.into_iter().zip(&mut self.0) {
            if let Behind::Server(server) = behind {
                server.command(&["PUBLISH", &channel(process), END]).await.unwrap();
            }
            let patience = if let Behind::Mock(_) = behind { Duration::ZERO } else { MINUTE };
            let mut heard = Vec::new();
            while let Ok(message) = tokio::time::timeout(patience, ear.next()).await {
                match String::from_utf8(message.unwrap()).unwrap() {
                    message if message == END => break,
                    message => heard.push(message),
                }
            }
            all.push(heard);
        }
        all
    }
}

/// Runs random operations on a mock node and on a real one, and compares every answer, what is left and who was woken.
fn compare(open: impl Fn(&str) -> Arc<dyn LockNode>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        let servers = Servers::from_env().await?;
        servers.start_one(&ServerOptions::new()).await
    });
    let server = server.unwrap_or_else(|error| panic!("{error:#}"));
    let node = open(&server.url());
    let ears = tokio::sync::Mutex::new(runtime.block_on(Ears::new(&node)));
    let mut runner = TestRunner::new(Config { cases: 120, failure_persistence: None, ..Config::default() });
    let result = runner.run(&prop::collection::vec(operation(), 1..40), |operations| {
        let mock = MockNode::new("mock");
        runtime.block_on(async {
            server.command(&["FLUSHALL"]).await.unwrap();
            let mocked = Side::new(&mock, Behind::Mock(&mock)).await;
            let real = Side::new(&node, Behind::Server(&server)).await;
            let (mut mocked_ears, mut real_ears) = (Ears::new(&mock).await, ears.lock().await);
            let started = Instant::now();
            // And in the end, what is left.
            let left = Place::ALL.map(|place| Operation::Inspect { place });
            let lines = [0, 1, 2].map(|key| Operation::Line { key });
            let mut differs = None;
            for operation in operations.iter().chain(&left).chain(&lines) {
                let (mocked, real) = (mocked.carry_out(operation).await, real.carry_out(operation).await);
                if mocked != real {
                    differs = Some(format!("{operation:?}: {mocked:?}, and in truth {real:?}"));
                    break;
                }
            }
            let took = started.elapsed();
            let (mocked, real) = (mocked_ears.heard(&mocked.behind).await, real_ears.heard(&real.behind).await);
            if mocked != real {
                differs.get_or_insert_with(|| format!("woken were {mocked:?}, and in truth {real:?}"));
            }
            match differs {
                None => Ok(()),
                // Who was woken is waited for, by two clocks.
                Some(_) if took >= WOKEN_FOR => Err(TestCaseError::reject("it took too long to be compared")),
                Some(how) => Err(TestCaseError::fail(how)),
            }
        })
    });
    drop(ears);
    drop(node);
    runtime.block_on(async { drop(server) });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_mock_node_answers_as_redis_does_through_redis_rs() {
    compare(|url| Arc::new(redlock_redis_rs::RedisNode::open(url).unwrap()));
}

#[test]
fn a_mock_node_answers_as_redis_does_through_fred() {
    compare(|url| Arc::new(redlock_fred::RedisNode::open(url).unwrap()));
}
