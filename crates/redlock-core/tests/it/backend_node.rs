//! A node over any Redis client: what it sends for each operation, and how it reads the answers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use redlock_core::{
    FencingToken, LockNode, NodeError, NodeErrorKind, NodeUrlError, Resource, Resources, Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, Answered, Call, Enqueue, ExtendAnswer, ExtendRequest, FencingCounters,
        InspectAnswer, InspectRequest, Node, NodeUrl, OpenAnswer, OpenRequest, RaiseAnswer, RaiseRequest, RedisClient,
        ReleaseAnswer, ReleaseRequest, Reply, RestartGuard, Timed, WakeNext, script,
    },
};
use tokio::time::{Instant, sleep};

use crate::support::ms;

/// A client with a prepared answer that records what it was sent.
#[derive(Debug, Clone, Default)]
struct Fake {
    name: String,
    /// `None` means that no connection is made in time, and no answer arrives.
    answer: Option<Answered>,
    /// The error for every call that touches waiters.
    refuses_waiters: Option<(NodeErrorKind, &'static str)>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    /// `None` means the plain command.
    script: Option<&'static str>,
    keys: Vec<String>,
    token: Option<Token>,
    numbers: Vec<u64>,
    texts: Vec<String>,
    timeouts: (Duration, Duration),
}

impl RedisClient for Fake {
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        if url.db > 255 { Err(url.rejected("no such database")) } else { Ok(Self::default()) }
    }

    fn name(&self) -> &str {
        &self.name
    }

    async fn call(&self, call: &Call<'_>, connect: Duration, response: Duration) -> Result<Answered, NodeError> {
        self.sent.lock().unwrap().push(Sent {
            script: call.script().map(|script| script.sha1()),
            keys: call.keys().map(ToString::to_string).collect(),
            token: call.token().copied(),
            numbers: call.numbers().to_vec(),
            texts: call.texts().map(str::to_owned).collect(),
            timeouts: (connect, response),
        });
        let touches_waiters = call.keys().any(|key| key.as_str().ends_with(":waiters"));
        if let Some((kind, text)) = self.refuses_waiters.filter(|_| touches_waiters) {
            return Err(NodeError::new(kind, text));
        }
        match &self.answer {
            Some(answered) => Ok(answered.clone()),
            None => {
                sleep(connect + response).await;
                Err(NodeError::no_answer(response))
            }
        }
    }
}

impl Fake {
    fn answering(reply: Reply) -> Self {
        Self { name: "fake".to_owned(), answer: Some(Answered { reply, sent_again: false }), ..Self::default() }
    }
}

fn answering(reply: Reply) -> Node<Fake> {
    Node::new(Fake::answering(reply))
}

const TOKEN: [u8; 20] = [7; 20];

fn resource() -> Resource {
    Resource::new("r").unwrap()
}

fn acquire() -> AcquireRequest {
    AcquireRequest::new(resource(), Token::from_bytes(TOKEN), Ttl::new(Duration::from_micros(1_500)).unwrap())
}

fn extend() -> ExtendRequest {
    ExtendRequest::new(resource(), Token::from_bytes(TOKEN), Ttl::new(ms(30)).unwrap())
}

fn release() -> ReleaseRequest {
    ReleaseRequest::new(resource(), Token::from_bytes(TOKEN))
}

fn guard() -> RestartGuard {
    RestartGuard::new(Resource::new("m").unwrap(), Ttl::new(ms(7)).unwrap())
}

fn inspect() -> InspectRequest {
    InspectRequest::new(resource())
}

#[tokio::test(start_paused = true)]
async fn each_operation_sends_its_script_with_its_keys_and_arguments() {
    let fake = Fake::answering(Reply::Integer(1));
    let sent = fake.sent.clone();
    let node = Node::<Fake>::new(fake).with_connect_timeout(ms(70)).with_response_timeout(ms(80));
    let (counters, guard) = (FencingCounters::new(Resource::new("c").unwrap(), ms(5)), guard());
    let fence = FencingToken::new(9).unwrap();
    let _ = node.acquire(&acquire()).await;
    let _ = node.extend(&extend()).await;
    let _ = node.release(&release()).await;
    let _ = node.inspect(&inspect()).await;
    let mut fenced = acquire();
    fenced.fencing = Some(counters.clone());
    let _ = node.acquire(&fenced).await;
    let mut guarded = acquire();
    guarded.guard = Some(guard.clone());
    let _ = node.acquire(&guarded).await;
    guarded.fencing = fenced.fencing;
    let _ = node.acquire(&guarded).await;
    let mut extend = extend();
    extend.fencing = Some((counters.clone(), fence));
    let _ = node.extend(&extend).await;
    let _ = node.raise(&RaiseRequest::new(resource(), Token::from_bytes(TOKEN), counters, 8)).await;
    let _ = node.open(&OpenRequest::new(guard.clone(), None)).await;
    let _ = node.open(&OpenRequest::new(guard, Some("run".to_owned()))).await;
    let waiters = Resource::new("w").unwrap();
    let mut queued = acquire();
    queued.queue = Some(Enqueue::new(waiters.clone(), "channel".into()).yielding(true));
    let _ = node.acquire(&queued).await;
    queued.queue = queued.queue.map(|queue| queue.yielding(false).staying(true));
    let _ = node.acquire(&queued).await;
    let mut following = acquire();
    following.predecessors = [Token::from_bytes([8; 20])].into();
    let _ = node.acquire(&following).await;
    let mut shared = acquire();
    shared.shared = true;
    let _ = node.acquire(&shared).await;
    (shared.shared, shared.intent) = (false, Some(ms(400)));
    let _ = node.acquire(&shared).await;
    (extend.shared, extend.fencing) = (true, None);
    let _ = node.extend(&extend).await;
    let mut look = inspect();
    look.token = Some(Token::from_bytes(TOKEN));
    let _ = node.inspect(&look).await;
    let mut waking = release();
    waking.wake = Some(WakeNext::new([waiters.clone()], None));
    let _ = node.release(&waking).await;
    waking.wake = Some(WakeNext::new([waiters], Some("channel".into())).if_free());
    let _ = node.release(&waking).await;
    let with = |script: script::Script, keys: &[&str], token: Option<[u8; 20]>, numbers: &[u64]| Sent {
        script: Some(script.sha1()),
        keys: keys.iter().map(ToString::to_string).collect(),
        token: token.map(Token::from_bytes),
        numbers: numbers.to_vec(),
        texts: Vec::new(),
        timeouts: (ms(70), ms(80)),
    };
    let waits = |numbers: &[u64]| Sent {
        texts: vec!["channel".to_owned()],
        ..with(script::ACQUIRE, &["r", "w"], Some(TOKEN), numbers)
    };
    let expected = [
        // Rounded up.
        with(script::ACQUIRE, &["r"], Some(TOKEN), &[2]),
        with(script::EXTEND, &["r"], Some(TOKEN), &[30]),
        with(script::RELEASE, &["r"], Some(TOKEN), &[]),
        with(script::INSPECT, &["r"], None, &[]),
        with(script::ACQUIRE, &["r", "c"], Some(TOKEN), &[2, 1, 5, 0]),
        with(script::ACQUIRE, &["r", "m"], Some(TOKEN), &[2, 1, 0, 7]),
        with(script::ACQUIRE, &["r", "c", "m"], Some(TOKEN), &[2, 1, 5, 7]),
        // A counter outlives its lock.
        with(script::EXTEND, &["r", "c"], Some(TOKEN), &[30, 1, 30, 9]),
        with(script::RAISE, &["r", "c"], Some(TOKEN), &[1, 5, 8]),
        with(script::OPEN, &["m"], None, &[7]),
        Sent { texts: vec!["run".to_owned()], ..with(script::OPEN, &["m"], None, &[7]) },
        waits(&[2, 1, 0, 0, 1, 0, 0]),
        waits(&[2, 1, 0, 0, 0, 1, 0]),
        Sent {
            texts: vec![String::new(), Token::from_bytes([8; 20]).as_str().to_owned()],
            ..with(script::ACQUIRE, &["r"], Some(TOKEN), &[2, 1, 0, 0, 0, 0, 0])
        },
        // A reader looks for the intent of a writer, and a writer leaves one.
        Sent {
            texts: vec![String::new()],
            ..with(script::ACQUIRE_SHARED, &["r", "r:redlock:writer"], Some(TOKEN), &[2, 1, 0, 0, 0, 0, 1])
        },
        Sent {
            texts: vec![String::new()],
            ..with(script::ACQUIRE, &["r", "r:redlock:writer"], Some(TOKEN), &[2, 1, 0, 0, 0, 0, 400])
        },
        with(script::EXTEND_SHARED, &["r"], Some(TOKEN), &[30]),
        with(script::INSPECT, &["r"], Some(TOKEN), &[]),
        Sent { texts: vec![String::new()], ..with(script::RELEASE, &["r", "w"], Some(TOKEN), &[1, 0, 0]) },
        Sent { texts: vec!["channel".to_owned()], ..with(script::RELEASE, &["r", "w"], Some(TOKEN), &[1, 1, 0]) },
    ];
    assert_eq!(*sent.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_without_further_options_is_a_plain_command() {
    let mut plain = acquire();
    plain.wants_clock = false;
    let fake = Fake::answering(Reply::Done);
    let (sent, node) = (fake.sent.clone(), Node::<Fake>::new(fake));
    assert_eq!(node.acquire(&plain).await.unwrap(), AcquireAnswer::granted().into());
    let scripts = |sent: &Mutex<Vec<Sent>>| sent.lock().unwrap().drain(..).map(|sent| sent.script).collect::<Vec<_>>();
    let set = sent.lock().unwrap().remove(0);
    assert_eq!(
        (set.script, set.token, set.keys, set.numbers),
        (None, Some(plain.token), vec!["r".to_owned()], vec![2])
    );
    assert_eq!(scripts(&sent), []);

    // If the plain command is not granted, the script finds out why.
    let fake = Fake::answering(Reply::Nothing);
    let (sent, node) = (fake.sent.clone(), Node::<Fake>::new(fake));
    node.acquire(&plain).await.unwrap_err();
    assert_eq!(scripts(&sent), [None, Some(script::ACQUIRE.sha1())]);

    let [mut fenced, mut guarded, mut several] = [plain.clone(), plain.clone(), plain];
    fenced.fencing = Some(FencingCounters::new(Resource::new("c").unwrap(), ms(5)));
    guarded.guard = Some(guard());
    several.keys = Resources::new(["a", "b"]).unwrap();
    for request in [fenced, guarded, several] {
        node.acquire(&request).await.unwrap_err();
        assert_eq!(scripts(&sent), [Some(script::ACQUIRE.sha1())], "{request:?}");
    }
    // A script never answers `Done`.
    assert!(answering(Reply::Done).acquire(&acquire()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_retention_is_never_zero_and_is_bounded() {
    let fake = Fake::answering(Reply::Nothing);
    let (sent, node) = (fake.sent.clone(), Node::<Fake>::new(fake));
    for retention in [Duration::ZERO, Duration::MAX] {
        let mut fenced = acquire();
        fenced.fencing = Some(FencingCounters::new(resource(), retention));
        node.acquire(&fenced).await.unwrap_err();
    }
    let retentions: Vec<_> = sent.lock().unwrap().iter().map(|sent| sent.numbers[2]).collect();
    assert_eq!(retentions, [1, (1 << 53) - 1]);
}

#[test]
fn a_node_over_a_cluster_client_is_a_cluster() {
    struct Cluster;

    impl RedisClient for Cluster {
        fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
            Err(url.rejected("a cluster has no URL"))
        }

        fn name(&self) -> &str {
            "cluster"
        }

        fn is_cluster(&self) -> bool {
            true
        }

        async fn call(&self, _: &Call<'_>, _: Duration, _: Duration) -> Result<Answered, NodeError> {
            Err(NodeErrorKind::Unsupported.into())
        }
    }

    assert!(Node::<Cluster>::new(Cluster).is_cluster());
    assert!(!Node::<Fake>::new(Fake::default()).is_cluster());
}

#[tokio::test(start_paused = true)]
async fn all_keys_are_sent_in_order() {
    let fake = Fake::answering(Reply::Integer(1));
    let sent = fake.sent.clone();
    let node = Node::<Fake>::new(fake);
    node.release(&ReleaseRequest::new(Resources::new(["b", "c", "a"]).unwrap(), Token::from_bytes(TOKEN)))
        .await
        .unwrap();
    assert_eq!(sent.lock().unwrap()[0].keys, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn replies_are_decoded_into_answers() {
    let integer = |integer| answering(Reply::Integer(integer));
    let acquired = async |integers| answering(Reply::Integers(integers)).acquire(&acquire()).await.unwrap();
    let extended = async |integers| answering(Reply::Integers(integers)).extend(&extend()).await.unwrap();
    assert_eq!(acquired([-3, 0, 0]).await, AcquireAnswer::granted().into());
    let clock = Some(Duration::from_micros(5));
    assert_eq!(acquired([-3, 5, 7]).await, Timed { answer: AcquireAnswer::counted(7), clock, sent_again: false });
    assert_eq!(
        acquired([-5, 5, 7]).await,
        Timed { answer: AcquireAnswer::quarantined(ms(7)), clock, sent_again: false }
    );
    assert_eq!(acquired([9, 0, 0]).await, AcquireAnswer::held(Some(ms(9))).into());
    assert_eq!(extended([-4, 5, 0]).await, Timed { answer: ExtendAnswer::Healed, clock, sent_again: false });
    assert_eq!(extended([9, 0, 0]).await, ExtendAnswer::held(Some(ms(9))).into());
    let raise = RaiseRequest::new(resource(), Token::from_bytes(TOKEN), FencingCounters::new(resource(), ms(5)), 8);
    assert_eq!(integer(-3).raise(&raise).await.unwrap(), RaiseAnswer::Confirmed);
    assert_eq!(integer(9).raise(&raise).await.unwrap(), RaiseAnswer::Higher(9));
    let open = OpenRequest::new(guard(), None);
    let new = OpenAnswer::New { run: "run".to_owned() };
    assert_eq!(answering(Reply::Holder(b"run".to_vec(), 1)).open(&open).await.unwrap(), new);
    assert_eq!(answering(Reply::Holder(b"run".to_vec(), 0)).open(&open).await.unwrap(), OpenAnswer::InUse);
    assert!(integer(1).open(&open).await.is_err());
    assert_eq!(integer(1).release(&release()).await.unwrap(), ReleaseAnswer::Released);
    assert_eq!(integer(0).release(&release()).await.unwrap(), ReleaseAnswer::NotHeld);
    assert_eq!(answering(Reply::Nothing).inspect(&inspect()).await.unwrap(), InspectAnswer::Absent);
    let held = answering(Reply::Holder(b"token".to_vec(), 9)).inspect(&inspect()).await.unwrap();
    assert_eq!(held, InspectAnswer::held("token", Some(ms(9))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_wrong_type_is_an_error_that_shows_it() {
    let node = answering(Reply::Nothing);
    for error in [
        node.acquire(&acquire()).await.unwrap_err(),
        node.extend(&extend()).await.unwrap_err(),
        node.release(&release()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), NodeErrorKind::Other);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unexpected answer Nothing");
    }
    let error = answering(Reply::Integer(5)).inspect(&inspect()).await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unexpected answer Integer(5)");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_was_sent_again_and_finds_no_key_has_an_unknown_outcome() {
    let answer = Some(Answered { reply: Reply::Integer(0), sent_again: true });
    let node = Node::<Fake>::new(Fake { answer, ..Fake::default() });
    assert_eq!(node.release(&release()).await.unwrap_err().kind(), NodeErrorKind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn the_timeouts_of_a_node_bound_its_operations() {
    let hung = Node::<Fake>::new(Fake::default());
    for (node, bound) in [
        (hung.clone(), ms(2_000)),
        (hung.clone().with_connect_timeout(ms(70)), ms(1_070)),
        (hung.clone().with_response_timeout(ms(80)), ms(1_080)),
    ] {
        let start = Instant::now();
        assert_eq!(node.acquire(&acquire()).await.unwrap_err().kind(), NodeErrorKind::Timeout);
        assert_eq!(start.elapsed(), bound);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_named_after_its_client_unless_it_is_given_a_name() {
    let node = answering(Reply::Nothing);
    assert_eq!((node.name(), node.clone().name()), ("fake", "fake"));
    assert_eq!(format!("{node:?}"), r#"RedisNode { name: "fake", .. }"#);
    assert_eq!(node.with_name("rack 3").clone().name(), "rack 3");
}

#[tokio::test(start_paused = true)]
async fn a_url_sets_the_timeouts() {
    let url = "redis://a?connect_timeout=70ms&response_timeout=80ms";
    let fleet = Node::<Fake>::open_all([url, "redis://b"]).unwrap();
    for (node, bound) in [(&Node::open(url).unwrap(), ms(150)), (&fleet[0], ms(150)), (&fleet[1], ms(2_000))] {
        let start = Instant::now();
        node.acquire(&acquire()).await.unwrap_err();
        assert_eq!(start.elapsed(), bound);
    }
}

#[test]
fn a_url_that_cannot_be_used_is_an_error() {
    let error = |url: &str| Node::<Fake>::open(url).unwrap_err().to_string();
    assert!(error("http://a").contains("the scheme is not one of"));
    assert!(error("redis://a/300").contains("no such database"));
    let twice = Node::<Fake>::open_all(["redis://a", "redis://a/1"]).unwrap_err().to_string();
    assert!(twice.contains("given twice"), "{twice}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_refuses_waiters_is_tried_again_after_a_minute() {
    let fake =
        Fake { refuses_waiters: Some((NodeErrorKind::Permission, "NOPERM")), ..Fake::answering(Reply::Integer(1)) };
    let sent = Arc::clone(&fake.sent);
    let node: Node<Fake> = Node::new(fake);
    let mut request = release();
    request.wake = Some(WakeNext::new([Resource::new("r:redlock:waiters").unwrap()], None));
    for _ in 0..3 {
        let _ = node.release(&request).await.unwrap();
        sleep(ms(30_000)).await;
    }
    let keys: Vec<_> = sent.lock().unwrap().iter().map(|sent| sent.keys.len()).collect();
    assert_eq!(keys, [2, 1, 1, 2, 1]);
}

#[tokio::test]
async fn no_error_shows_a_token_that_was_sent() {
    /// Repeats the token in its error.
    struct Echo;

    impl RedisClient for Echo {
        fn open(url: &NodeUrl) -> Result<Self, NodeUrlError> {
            Err(url.rejected("not needed"))
        }

        fn name(&self) -> &str {
            "echo"
        }

        fn secrets(&self) -> Vec<String> {
            vec!["correct horse".to_owned()]
        }

        async fn call(&self, call: &Call<'_>, _: Duration, _: Duration) -> Result<Answered, NodeError> {
            let sent: String = call.token().map(|token| token.as_str()[..40].to_owned()).into_iter().collect();
            Err(NodeError::new(NodeErrorKind::Other, format!("ERR what is '{sent}' and AUTH correct horse")))
        }
    }

    let node = Node::<Echo>::new(Echo);
    for error in [node.acquire(&acquire()).await.unwrap_err(), node.extend(&extend()).await.unwrap_err()] {
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(text, "ERR what is '...' and AUTH ...");
        assert!(!format!("{error:?}").contains("0707"), "{error:?}");
    }
    let value = Reply::Holder(TOKEN.repeat(2), 7).unexpected();
    assert!(!format!("{value:?}").contains("7, 7"), "{value:?}");
}

#[tokio::test]
async fn a_node_that_refuses_waiters_still_grants_locks() {
    let key = Resource::new("r").unwrap();
    let waiters = Resource::new("r:redlock:waiters").unwrap();
    let token = Token::from_bytes([1; 20]);
    // Keys that the same member of a cluster does not have; a user without permission for one of them; a condition that
    // may pass.
    for (kind, text, tried) in [
        (NodeErrorKind::Other, "CROSSSLOT Keys in request don't hash to the same slot", [2, 1, 1, 1].as_slice()),
        (NodeErrorKind::Permission, "NOPERM No permissions to access a key", &[2, 1, 1, 1]),
        (NodeErrorKind::Other, "TRYAGAIN Multiple keys request during rehashing of slot", &[2, 1, 2, 1, 2, 1]),
    ] {
        let fake = Fake { refuses_waiters: Some((kind, text)), ..Fake::answering(Reply::Integer(1)) };
        let sent = Arc::clone(&fake.sent);
        let node: Node<Fake> = Node::new(fake);
        let mut request = ReleaseRequest::new(key.clone(), token);
        request.wake = Some(WakeNext::new([waiters.clone()], None));
        for _ in 0..3 {
            assert_eq!(node.release(&request).await.unwrap(), ReleaseAnswer::Released);
        }
        let keys: Vec<_> = sent.lock().unwrap().iter().map(|sent| sent.keys.len()).collect();
        assert_eq!(keys, tried, "{text}");

        let fake = Fake { refuses_waiters: Some((kind, text)), ..Fake::answering(Reply::Integers([-3, 0, 0])) };
        let node: Node<Fake> = Node::new(fake);
        let mut request = AcquireRequest::new(key.clone(), token, Ttl::new(ms(100)).unwrap());
        request.queue = Some(Enqueue::new(waiters.clone(), "channel".into()));
        assert_eq!(node.acquire(&request).await.unwrap().answer, AcquireAnswer::granted());
    }
    // An error that may also happen without waiters says nothing about them.
    let fake = Fake { refuses_waiters: Some((NodeErrorKind::Timeout, "silent")), ..Fake::answering(Reply::Integer(1)) };
    let mut request = ReleaseRequest::new(key, token);
    request.wake = Some(WakeNext::new([waiters], None));
    assert_eq!(Node::<Fake>::new(fake).release(&request).await.unwrap_err().kind(), NodeErrorKind::Timeout);
}

#[tokio::test]
async fn a_node_that_refuses_waiters_and_intents_still_guards_and_counts() {
    let fake = Fake {
        refuses_waiters: Some((NodeErrorKind::Permission, "NOPERM")),
        ..Fake::answering(Reply::Integers([-3, 5, 8]))
    };
    let sent = Arc::clone(&fake.sent);
    let mut request = acquire();
    request.fencing = Some(FencingCounters::new(Resource::new("c").unwrap(), ms(5)));
    request.guard = Some(guard());
    request.queue = Some(Enqueue::new(Resource::new("r:redlock:waiters").unwrap(), "channel".into()));
    request.intent = Some(ms(400));
    assert_eq!(Node::<Fake>::new(fake).acquire(&request).await.unwrap().answer, AcquireAnswer::counted(8));
    let sent = sent.lock().unwrap();
    let sent: Vec<_> = sent.iter().map(|sent| (sent.keys.join(" "), &*sent.numbers, sent.texts.concat())).collect();
    let expected = [
        ("r c m r:redlock:waiters r:redlock:writer".to_owned(), &[2, 1, 5, 7, 0, 0, 400][..], "channel".to_owned()),
        ("r c m".to_owned(), &[2, 1, 5, 7, 0, 0, 0], String::new()),
    ];
    assert_eq!(sent, expected);
}
