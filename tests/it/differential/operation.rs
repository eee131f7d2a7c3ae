//! Random operations on a node, the same for both sides.

use super::*;

/// An operation on a node: through its backend, or directly on its keys.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Acquire {
        keys: Vec<u8>,
        token: u8,
        ttl: Duration,
        retention: Option<Duration>,
        longest: Option<Duration>,
        /// The process that sends the request, whether it yields, and whether it joins the wait queue even if it is
        /// granted.
        waiter: Option<(u8, bool, bool)>,
        predecessors: Vec<u8>,
        /// Whether it is a reader, or a writer that leaves an intent.
        shared: bool,
        intent: bool,
    },
    Extend {
        keys: Vec<u8>,
        token: u8,
        ttl: Duration,
        shared: bool,
        fencing: Option<(Duration, Number)>,
    },
    Raise {
        keys: Vec<u8>,
        token: u8,
        retention: Duration,
        candidate: Number,
    },
    /// The process that stops waiting, if the release notifies a waiter, and whether it notifies only for keys that
    /// were free.
    Release {
        keys: Vec<u8>,
        token: u8,
        wake: Option<(Option<u8>, bool)>,
        /// Whether the token takes its intent back.
        intent: bool,
    },
    /// Adds a waiter with a score that no script sets.
    Plant {
        key: u8,
        process: u8,
        score: Score,
    },
    Open {
        longest: Duration,
        right: Option<bool>,
    },
    Inspect {
        place: Place,
    },
    /// Lists the waiters for a key.
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
    /// Sets a lock's key to a sorted set of these readers, or of members that are not tokens.
    SetMembers {
        key: u8,
        readers: Vec<u8>,
        others: bool,
        expires: bool,
    },
    Remove {
        place: Place,
    },
}

/// A key on the node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Lock(u8),
    Counter(u8),
    Intent(u8),
    Marker,
}

impl Place {
    pub(super) const ALL: [Self; 10] = [
        Self::Lock(0),
        Self::Lock(1),
        Self::Lock(2),
        Self::Counter(0),
        Self::Counter(1),
        Self::Counter(2),
        Self::Intent(0),
        Self::Intent(1),
        Self::Intent(2),
        Self::Marker,
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::Lock(key) => format!("differential:{key}"),
            Self::Counter(key) => format!("{{differential:{key}}}:fence"),
            Self::Intent(key) => format!("differential:{key}:redlock:writer"),
            Self::Marker => "redlock:restart-guard".to_owned(),
        }
    }

    pub(super) fn key(self) -> Resource {
        Resource::new(self.name()).unwrap()
    }
}

/// Returns the key of the wait queue of a lock.
pub(super) fn line(key: u8) -> Resource {
    Resource::new(format!("{}:redlock:waiters", Place::Lock(key).name())).unwrap()
}

/// Returns the channel on which a process is notified. The last of the three processes does not listen.
pub(super) fn channel(process: u8) -> Arc<str> {
    format!("differential:channel:{process}").into()
}

pub(super) const LISTENING: [u8; 2] = [0, 1];

/// How long a notified waiter is expected to take until it tries.
pub(super) const WOKEN_FOR: Duration = Duration::from_millis(100);

/// A number in a form that is the same for two nodes whose clocks differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Exactly(u64),
    /// This many microseconds after the node's clock at the start.
    Ahead(i64),
    /// A counter that started from the node's clock during this run.
    OfTheClock,
}

/// The score of a waiter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Score {
    Exactly(i64),
    /// It arrived this many microseconds after the node's clock at the start.
    Came(i64),
    /// It was notified, and is expected to try this many microseconds after the node's clock at the start.
    Notified(i64),
}

/// The value that is set under a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Text(&'static str),
    Number(Number),
    /// The marker of this run if there is one, with a quarantine that began this many microseconds after the start.
    Since(i64),
}

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR_MICROS: i64 = 3_600_000_000;

/// Whole minutes, long enough that nothing expires meanwhile: expiry depends on clocks, and the scenarios test it.
pub(super) fn some_minutes() -> impl Strategy<Value = Duration> + Clone {
    (2..10_u32).prop_map(|minutes| minutes * MINUTE)
}

pub(super) fn number() -> impl Strategy<Value = Number> {
    pub(super) const MAX: u64 = FencingToken::MAX.get();
    prop_oneof![
        6 => (0..6_u64).prop_map(Number::Exactly),
        2 => (HOUR_MICROS..HOUR_MICROS + 4).prop_map(Number::Ahead),
        1 => (MAX - 1..=MAX + 1).prop_map(Number::Exactly),
    ]
}

pub(super) fn content(place: Place) -> BoxedStrategy<Content> {
    match place {
        Place::Lock(_) | Place::Intent(_) => Just(Content::Text("another")).boxed(),
        Place::Counter(_) => prop_oneof![
            4 => number().prop_map(Content::Number),
            1 => prop::sample::select(vec!["garbage", "", "-1", "+1", "1.5", "1e3", " 1", "1 ", "0x1"]).prop_map(Content::Text),
            1 => Just(Content::Text("007")),
        ]
        .boxed(),
        Place::Marker => prop_oneof![
            3 => prop::sample::select(vec![-HOUR_MICROS, -HOUR_MICROS / 180, HOUR_MICROS]).prop_map(Content::Since),
            1 => prop::sample::select(vec![
                // Markers of other runs: short, long, with a leading zero, and with times beyond all bounds.
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

pub(super) fn operation() -> impl Strategy<Value = Operation> {
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
        prop::option::weighted(0.3, [0..3_u8, 0..3_u8, 0..3_u8]),
        (any::<bool>(), any::<bool>()),
    );
    let wake = prop::option::of((prop::option::weighted(0.3, 0..3_u8), any::<bool>()));
    let score = prop_oneof![
        prop::sample::select(vec![-9_000_000_000_000_000, -1, 0, 1, 2, 9_000_000_000_000_000]).prop_map(Score::Exactly),
        prop::sample::select(vec![-2 * HOUR_MICROS, -HOUR_MICROS / 2, HOUR_MICROS]).prop_map(Score::Came),
        prop::sample::select(vec![-HOUR_MICROS, HOUR_MICROS]).prop_map(Score::Notified),
    ];
    prop_oneof![
        6 => (holder.clone(), ttl.clone(), options)
            .prop_map(|((keys, token), ttl, (retention, longest, waiter, predecessors, (shared, intent)))| {
                // A request for several keys does not join a wait queue.
                let waiter = waiter.filter(|_| keys.len() == 1);
                // One for each key, or none.
                let predecessors = predecessors.iter().flatten().copied().take(keys.len()).collect();
                let retention = retention.filter(|_| !shared);
                let intent = intent && !shared && keys.len() == 1;
                Operation::Acquire { keys, token, ttl, retention, longest, waiter, predecessors, shared, intent }
            }),
        5 => (holder.clone(), ttl.clone(), prop::option::of((retention.clone(), number())), any::<bool>())
            .prop_map(|((keys, token), ttl, fencing, shared)| {
                let fencing = fencing.filter(|_| !shared);
                Operation::Extend { keys, token, ttl, shared, fencing }
            }),
        4 => (holder.clone(), retention, number())
            .prop_map(|((keys, token), retention, candidate)| Operation::Raise { keys, token, retention, candidate }),
        4 => (holder, wake, any::<bool>())
            .prop_map(|((keys, token), wake, intent)| Operation::Release { keys, token, wake, intent }),
        2 => (0..3_u8, 0..3_u8, score).prop_map(|(key, process, score)| Operation::Plant { key, process, score }),
        2 => (longest, prop::option::of(any::<bool>())).prop_map(|(longest, right)| Operation::Open { longest, right }),
        1 => place().prop_map(|place| Operation::Inspect { place }),
        4 => place()
            .prop_flat_map(move |place| (content(place), prop::option::of(some_minutes())).prop_map(move |both| (place, both)))
            .prop_map(|(place, (content, ttl))| Operation::Set { place, content, ttl }),
        1 => place().prop_map(|place| Operation::SetList { place }),
        1 => (0..3_u8, prop::sample::subsequence(vec![0, 1, 2], 1..=3), prop::bool::weighted(0.2), prop::bool::weighted(0.8))
            .prop_map(|(key, readers, others, expires)| Operation::SetMembers { key, readers, others, expires }),
        2 => place().prop_map(|place| Operation::Remove { place }),
    ]
}
