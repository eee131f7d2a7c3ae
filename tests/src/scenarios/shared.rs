//! Shared locks: how a node answers in each state of a key, and how readers and writers exclude each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, Finding, LockNode, NodeErrorKind, Redlock, Release, Resource, Resources, Retry,
    Token, Ttl,
    backend::{
        AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, ListRequest,
        ReleaseAnswer, ReleaseRequest,
    },
};

use crate::{
    lab::{Lab, eventually, once},
    servers::ServerOptions,
};

const TTL: Duration = Duration::from_secs(30);
const KEY: &str = "shared";

fn token(number: u8) -> Token {
    Token::from_bytes([number; 20])
}

fn tokens(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|number| token(*number).as_str().to_owned()).collect()
}

fn key() -> Resource {
    Resource::new(KEY).unwrap()
}

fn request(number: u8, ttl: Duration, shared: bool) -> AcquireRequest {
    let mut request = AcquireRequest::new(key(), token(number), Ttl::new(ttl).unwrap());
    request.shared = shared;
    request
}

async fn acquire(node: &dyn LockNode, number: u8, ttl: Duration) -> AcquireAnswer {
    node.acquire(&request(number, ttl, false)).await.unwrap().answer
}

async fn share(node: &dyn LockNode, number: u8, ttl: Duration) -> AcquireAnswer {
    node.acquire(&request(number, ttl, true)).await.unwrap().answer
}

/// Extends a reader, or downgrades a writer.
async fn extend(node: &dyn LockNode, number: u8, ttl: Duration) -> ExtendAnswer {
    let mut request = ExtendRequest::new(key(), token(number), Ttl::new(ttl).unwrap());
    request.shared = true;
    node.extend(&request).await.unwrap().answer
}

async fn release(node: &dyn LockNode, number: u8) -> ReleaseAnswer {
    node.release(&ReleaseRequest::new(key(), token(number))).await.unwrap()
}

/// Returns whether a remaining TTL is that of a key that was just set.
fn is_fresh(remaining: Option<Duration>, ttl: Duration) -> bool {
    remaining.is_some_and(|remaining| remaining <= ttl + Duration::from_millis(1) && remaining > ttl.mul_f64(0.8))
}

pub(super) async fn an_absent_key_gets_a_reader_and_expires_with_it(lab: &Lab) {
    let node = lab.node(0);
    let timed = node.acquire(&request(1, TTL, true)).await.unwrap();
    assert!(timed.answer == AcquireAnswer::granted() && timed.clock.is_some());
    assert_eq!(lab.readers(0, KEY).await, tokens(&[1]));
    assert!(is_fresh(lab.remaining(0, KEY).await, TTL));
    assert_eq!(release(&node, 1).await, ReleaseAnswer::Released);
    // An extend sets the key again, and so does a downgrade.
    assert_eq!(extend(&node, 2, TTL).await, ExtendAnswer::Healed);
    assert_eq!(lab.readers(0, KEY).await, tokens(&[2]));
    assert!(is_fresh(lab.remaining(0, KEY).await, TTL));
    assert_eq!(release(&node, 2).await, ReleaseAnswer::Released);
    assert_eq!(release(&node, 2).await, ReleaseAnswer::NotHeld);
    assert_eq!(lab.remaining(0, KEY).await, None);
}

pub(super) async fn a_writers_key_refuses_readers_but_its_own(lab: &Lab) {
    let node = lab.node(0);
    assert_eq!(acquire(&node, 1, TTL).await, AcquireAnswer::granted());
    let AcquireAnswer::Held { remaining, shared: false, .. } = share(&node, 2, TTL).await else { panic!("granted") };
    assert!(is_fresh(remaining, TTL), "{remaining:?}");
    let ExtendAnswer::Held { remaining, .. } = extend(&node, 2, TTL).await else { panic!("extended") };
    assert!(is_fresh(remaining, TTL), "{remaining:?}");
    assert_eq!(release(&node, 2).await, ReleaseAnswer::NotHeld);
    // The same token: the lock is granted unchanged, and its release as a reader deletes the key.
    assert_eq!(share(&node, 1, 2 * TTL).await, AcquireAnswer::granted());
    assert_eq!(lab.value(0, KEY).await.as_deref(), Some(token(1).as_str()));
    assert_eq!(release(&node, 1).await, ReleaseAnswer::Released);
    // A key of another library, without an expiry.
    lab.set(0, KEY, "another", None).await;
    assert_eq!(share(&node, 1, TTL).await, AcquireAnswer::held(None));
    assert_eq!(extend(&node, 1, TTL).await, ExtendAnswer::held(None));
}

pub(super) async fn readers_join_readers_and_the_key_expires_with_the_last(lab: &Lab) {
    let node = lab.node(0);
    assert_eq!(share(&node, 1, 4 * TTL).await, AcquireAnswer::granted());
    assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::granted());
    assert_eq!(lab.readers(0, KEY).await, tokens(&[2, 1]));
    assert!(is_fresh(lab.remaining(0, KEY).await, 4 * TTL));
    assert_eq!(share(&node, 3, 8 * TTL).await, AcquireAnswer::granted());
    assert!(is_fresh(lab.remaining(0, KEY).await, 8 * TTL));
    // The same request again changes nothing.
    assert_eq!(share(&node, 2, 16 * TTL).await, AcquireAnswer::granted());
    assert_eq!(lab.readers(0, KEY).await, tokens(&[2, 1, 3]));
    assert!(is_fresh(lab.remaining(0, KEY).await, 8 * TTL));
}

pub(super) async fn a_writer_is_refused_by_readers_for_as_long_as_the_last(lab: &Lab) {
    let node = lab.node(0);
    share(&node, 1, 4 * TTL).await;
    share(&node, 2, TTL).await;
    for wants_clock in [true, false] {
        let mut writes = request(3, TTL, false);
        writes.wants_clock = wants_clock;
        let answer = node.acquire(&writes).await.unwrap().answer;
        let AcquireAnswer::Held { remaining, shared: true, .. } = answer else { panic!("{answer:?}") };
        assert!(is_fresh(remaining, 4 * TTL), "{remaining:?}");
    }
    // A reader that requests the lock as a writer, and a late extend of a writer that was downgraded.
    assert!(matches!(acquire(&node, 1, TTL).await, AcquireAnswer::Held { shared: true, .. }));
    let extended = node.extend(&ExtendRequest::new(key(), token(1), Ttl::new(TTL).unwrap())).await.unwrap().answer;
    let ExtendAnswer::Held { remaining, .. } = extended else { panic!("{extended:?}") };
    assert!(is_fresh(remaining, 4 * TTL), "{remaining:?}");
    assert_eq!(lab.readers(0, KEY).await, tokens(&[2, 1]));
}

pub(super) async fn an_extend_of_a_reader_never_shortens_and_sets_a_lost_reader_again(lab: &Lab) {
    let node = lab.node(0);
    share(&node, 1, 2 * TTL).await;
    assert_eq!(extend(&node, 1, TTL).await, ExtendAnswer::Extended);
    assert!(is_fresh(lab.remaining(0, KEY).await, 2 * TTL));
    assert_eq!(extend(&node, 2, 4 * TTL).await, ExtendAnswer::Healed, "added next to the other reader");
    assert!(is_fresh(lab.remaining(0, KEY).await, 4 * TTL));
    assert_eq!(extend(&node, 1, 8 * TTL).await, ExtendAnswer::Extended);
    assert_eq!(lab.readers(0, KEY).await, tokens(&[2, 1]));
    assert!(is_fresh(lab.remaining(0, KEY).await, 8 * TTL));
}

pub(super) async fn a_release_takes_one_reader_out_and_the_last_one_deletes_the_key(lab: &Lab) {
    let node = lab.node(0);
    share(&node, 1, TTL).await;
    share(&node, 2, 4 * TTL).await;
    assert_eq!(release(&node, 3).await, ReleaseAnswer::NotHeld);
    assert_eq!(release(&node, 2).await, ReleaseAnswer::Released);
    assert_eq!(lab.readers(0, KEY).await, tokens(&[1]));
    assert!(is_fresh(lab.remaining(0, KEY).await, TTL), "it expires with the remaining reader");
    assert_eq!(release(&node, 1).await, ReleaseAnswer::Released);
    assert_eq!(acquire(&node, 3, TTL).await, AcquireAnswer::granted());
}

pub(super) async fn a_downgrade_makes_a_reader_of_its_own_writer_and_keeps_the_ttl(lab: &Lab) {
    let node = lab.node(0);
    acquire(&node, 1, 4 * TTL).await;
    assert_eq!(extend(&node, 1, TTL).await, ExtendAnswer::Extended);
    assert_eq!(lab.readers(0, KEY).await, tokens(&[1]));
    assert!(is_fresh(lab.remaining(0, KEY).await, 4 * TTL));
    assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::granted());
    assert_eq!(extend(&node, 1, TTL).await, ExtendAnswer::Extended, "once more");
    assert!(is_fresh(lab.remaining(0, KEY).await, 4 * TTL));
}

pub(super) async fn a_sorted_set_of_something_else_is_an_error_and_stays(lab: &Lab) {
    let node = lab.node(0);
    for members in [
        &["a job", "another"][..],
        &["DEADBEEFdeadbeefdeadbeefdeadbeefdeadbeef"],
        // Like a token, but the key never expires.
        &["deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"],
    ] {
        lab.remove(0, KEY).await;
        lab.set_members(0, KEY, members).await;
        let kind = |error: redlock_core::NodeError| error.kind();
        for shared in [true, false] {
            let error = node.acquire(&request(1, TTL, shared)).await.unwrap_err();
            assert_eq!(kind(error), NodeErrorKind::WrongType);
            let mut extend = ExtendRequest::new(key(), token(1), Ttl::new(TTL).unwrap());
            extend.shared = shared;
            assert_eq!(kind(node.extend(&extend).await.unwrap_err()), NodeErrorKind::WrongType);
        }
        let released = node.release(&ReleaseRequest::new(key(), token(1))).await;
        assert_eq!(kind(released.unwrap_err()), NodeErrorKind::WrongType);
        let inspected = node.inspect(&InspectRequest::new(key())).await;
        assert_eq!(kind(inspected.unwrap_err()), NodeErrorKind::WrongType);
        let listed = node.list(&ListRequest::new("", 10, TTL)).await.unwrap();
        assert!(listed.keys.is_empty(), "{listed:?}");
    }
    lab.set_list(0, "shared:list").await;
    let mut lists = request(1, TTL, true);
    lists.keys = Resource::new("shared:list").unwrap().into();
    assert_eq!(node.acquire(&lists).await.unwrap_err().kind(), NodeErrorKind::WrongType);
}

pub(super) async fn readers_that_have_ended_are_removed(lab: &Lab) {
    let node = lab.node(0);
    share(&node, 1, 4 * TTL).await;
    share(&node, 2, Duration::from_millis(20)).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(extend(&node, 2, TTL).await, ExtendAnswer::Healed, "it had ended");
    share(&node, 3, Duration::from_millis(20)).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(release(&node, 3).await, ReleaseAnswer::NotHeld);
    share(&node, 4, Duration::from_millis(20)).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    share(&node, 5, TTL).await;
    let mut left = lab.readers(0, KEY).await;
    left.sort_unstable();
    assert_eq!(left, tokens(&[1, 2, 5]));
    // If all readers have ended, the key is free.
    for number in [1, 2, 5] {
        release(&node, number).await;
    }
    share(&node, 6, Duration::from_millis(20)).await;
    assert!(eventually(async || acquire(&node, 7, TTL).await == AcquireAnswer::granted()).await);
}

pub(super) async fn many_keys_are_shared_all_or_none(lab: &Lab) {
    const MANY: [&str; 3] = ["shared:a", "shared:b", "shared:c"];
    let node = lab.node(0);
    let many = |number, shared| {
        let keys = Resources::new(MANY).unwrap();
        let mut request = AcquireRequest::new(keys, token(number), Ttl::new(TTL).unwrap());
        request.shared = shared;
        request
    };
    let acquire = async |request: AcquireRequest| node.acquire(&request).await.unwrap().answer;
    assert_eq!(acquire(many(1, true)).await, AcquireAnswer::granted());
    assert_eq!(acquire(many(2, true)).await, AcquireAnswer::granted());
    for name in MANY {
        assert_eq!(lab.readers(0, name).await, tokens(&[1, 2]));
    }
    assert!(matches!(acquire(many(3, false)).await, AcquireAnswer::Held { shared: true, .. }));
    for number in [1, 2] {
        let release = ReleaseRequest::new(Resources::new(MANY).unwrap(), token(number));
        assert_eq!(node.release(&release).await.unwrap(), ReleaseAnswer::Released);
    }
    lab.set(0, MANY[2], "another", Some(TTL)).await;
    assert!(matches!(acquire(many(1, true)).await, AcquireAnswer::Held { .. }));
    assert!(lab.readers(0, MANY[0]).await.is_empty(), "none of them");
}

pub(super) async fn an_intent_of_a_writer_keeps_new_readers_out(lab: &Lab) {
    let node = lab.node(0);
    let brief = Duration::from_millis(300);
    let waiting = |number| {
        let mut request = request(number, TTL, false);
        (request.intent, request.wants_clock) = (Some(brief), number % 2 == 0);
        request
    };
    // If a writer holds the key, the refused writer leaves no intent.
    acquire(&node, 9, TTL).await;
    assert!(matches!(node.acquire(&waiting(8)).await.unwrap().answer, AcquireAnswer::Held { shared: false, .. }));
    release(&node, 9).await;
    share(&node, 1, TTL).await;
    for number in [6, 7] {
        assert!(matches!(
            node.acquire(&waiting(number)).await.unwrap().answer,
            AcquireAnswer::Held { shared: true, .. }
        ));
        assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::Queued);
        assert_eq!(share(&node, 1, TTL).await, AcquireAnswer::granted(), "it is a reader already");
        assert_eq!(extend(&node, 1, TTL).await, ExtendAnswer::Extended);
        assert!(eventually(async || share(&node, 2, TTL).await == AcquireAnswer::granted()).await, "it gave up");
        release(&node, 2).await;
    }
    // A writer that gives up takes its own intent back, and no other.
    assert!(matches!(node.acquire(&waiting(8)).await.unwrap().answer, AcquireAnswer::Held { .. }));
    for number in [6, 8] {
        assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::Queued);
        let mut gives_up = ReleaseRequest::new(key(), token(number));
        gives_up.intent = true;
        assert_eq!(node.release(&gives_up).await.unwrap(), ReleaseAnswer::NotHeld);
    }
    assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::granted());
    release(&node, 2).await;
    assert!(matches!(node.acquire(&waiting(8)).await.unwrap().answer, AcquireAnswer::Held { .. }));
    release(&node, 1).await;
    // The intent also keeps readers out between the last reader and the writer. A granted writer removes its intent.
    assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::Queued);
    assert_eq!(node.acquire(&waiting(8)).await.unwrap().answer, AcquireAnswer::granted());
    release(&node, 8).await;
    assert_eq!(share(&node, 2, TTL).await, AcquireAnswer::granted());
}

pub(super) async fn readers_are_told_and_one_is_asked_for(lab: &Lab) {
    let node = lab.node(0);
    for number in 1..=150 {
        share(&node, number, TTL + Duration::from_secs(number.into())).await;
    }
    let told = async |number: Option<u8>| {
        let mut look = InspectRequest::new(key());
        look.token = number.map(token);
        match node.inspect(&look).await.unwrap() {
            InspectAnswer::Shared { readers, count, remaining, .. } => {
                assert!(is_fresh(remaining, TTL + Duration::from_secs(150)));
                assert_eq!(count, 150);
                readers
            }
            other => panic!("{other:?}"),
        }
    };
    let readers = told(None).await;
    assert_eq!((readers.len(), &*readers[0].token), (100, token(150).as_bytes()));
    assert!(is_fresh(Some(readers[99].remaining), TTL + Duration::from_secs(51)));
    let readers = told(Some(7)).await;
    assert_eq!((readers.len(), &*readers[0].token), (101, token(7).as_bytes()));
    assert!(is_fresh(Some(readers[0].remaining), TTL + Duration::from_secs(7)));
    assert_eq!(told(Some(150)).await.len(), 100);
    assert_eq!(told(Some(151)).await[0].token, token(150).as_bytes());
}

pub(super) async fn readers_and_writers_exclude_each_other(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let one = ours.acquire_shared(KEY, TTL).await.unwrap();
    let other = theirs.acquire_shared(KEY, TTL).await.unwrap();
    assert!(eventually(async || lab.readers(2, KEY).await.len() == 2).await);
    let error = theirs.acquire(KEY, once(TTL)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Contended(_)), "{error}");
    assert_eq!(one.release().await.unwrap(), Release::Released);
    ours.close().await.unwrap();
    assert!(ours.try_acquire(KEY, TTL).await.unwrap().is_none());
    assert_eq!(other.release().await.unwrap(), Release::Released);
    theirs.close().await.unwrap();
    ours.close().await.unwrap();
    let writer = ours.acquire(KEY, TTL).await.unwrap();
    assert!(theirs.try_acquire_shared(KEY, TTL).await.unwrap().is_none());
    assert_eq!(writer.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_writer_that_waits_comes_before_readers_that_come_later(lab: &Lab) {
    const PAUSE: Duration = Duration::from_secs(20);
    let patient = || AcquireOptions::new(TTL).retry(Retry::timeout(3 * PAUSE).fixed(PAUSE).jitter(Duration::ZERO));
    let waits = |redlock: Redlock, options: AcquireOptions| {
        tokio::spawn(async move { redlock.acquire(KEY, options).await.unwrap() })
    };
    let first = lab.redlock(3).acquire_shared(KEY, TTL).await.unwrap();
    let writer = waits(lab.redlock(3), patient());
    lab.until_waiting(1).await;
    assert!(lab.redlock(3).try_acquire_shared(KEY, TTL).await.unwrap().is_none());
    let readers = [waits(lab.redlock(3), patient().shared()), waits(lab.redlock(3), patient().shared())];
    lab.until_waiting(3).await;
    assert!(!writer.is_finished() && !readers[0].is_finished() && !readers[1].is_finished());
    assert_eq!(first.release().await.unwrap(), Release::Released);
    let writer = tokio::time::timeout(PAUSE / 2, writer).await.expect("nobody notified it").unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!readers[0].is_finished() && !readers[1].is_finished());
    assert_eq!(writer.release().await.unwrap(), Release::Released);
    for reader in readers {
        let reader = tokio::time::timeout(PAUSE / 2, reader).await.expect("nobody notified it").unwrap();
        assert!(reader.check().is_ok());
    }
}

pub(super) async fn a_lock_is_downgraded_while_readers_wait(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let mut lock = ours.acquire(KEY, TTL).await.unwrap();
    let reader = tokio::spawn(async move { theirs.acquire_shared(KEY, TTL).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!reader.is_finished());
    lock.downgrade().await.unwrap();
    let reader = reader.await.unwrap();
    assert!(lock.check().is_ok() && lock.is_shared() && reader.is_shared());
    assert!(lab.redlock(3).try_acquire(KEY, TTL).await.unwrap().is_none());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(reader.release().await.unwrap(), Release::Released);
}

pub(super) async fn a_shared_lock_is_extended_resumed_listed_and_inspected(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let mut one = ours.acquire_shared(KEY, TTL).await.unwrap();
    let other = ours.acquire_shared(KEY, TTL).await.unwrap();
    one.extend(2 * TTL).await.unwrap();
    ours.close().await.unwrap();
    let inspection = theirs.inspect(KEY).await.unwrap();
    assert!(matches!(inspection.finding(), Finding::Shared { readers: 2, .. }), "{inspection}");
    assert!(is_fresh(theirs.remaining(KEY).await.unwrap(), 2 * TTL));
    assert!(theirs.list().await.unwrap().names().eq([KEY]));
    let resumed = theirs.resume(one.into_parts().await.unwrap()).await.unwrap();
    assert!(resumed.is_shared() && resumed.validity() > TTL);
    assert_eq!(resumed.release().await.unwrap(), Release::Released);
    assert_eq!(other.release().await.unwrap(), Release::Released);
}

pub(super) async fn readers_never_see_a_write_and_writers_never_a_reader(lab: &Lab) {
    const TURNS: u32 = 10;
    let brief = || {
        let retry = Retry::timeout(2 * TTL).fixed(Duration::from_millis(10)).jitter(Duration::from_millis(10));
        AcquireOptions::new(TTL).retry(retry)
    };
    let (readers, writers) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let (redlock, is_reader) = (lab.redlock(3), number % 4 != 0);
            let (readers, writers) = (Arc::clone(&readers), Arc::clone(&writers));
            tokio::spawn(async move {
                for _ in 0..TURNS {
                    let options = if is_reader { brief().shared() } else { brief() };
                    let lock = redlock.acquire(KEY, options).await.unwrap();
                    let inside = if is_reader { &readers } else { &writers };
                    let before = inside.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(if is_reader { 0 } else { before + readers.load(Ordering::SeqCst) }, 0);
                    assert_eq!(if is_reader { writers.load(Ordering::SeqCst) } else { 0 }, 0);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    let _ = lock.release().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Returns a node whose user has these permissions, and its separate server.
async fn user(lab: &Lab, permissions: &[&str]) -> (crate::servers::Server, Arc<dyn LockNode>) {
    let server = lab.server(&ServerOptions::new()).await;
    let user = ["ACL", "SETUSER", "locker", "on", ">hunter2", "~lock:*"];
    server.command(&[&user[..], permissions].concat()).await.unwrap();
    let node = lab.open(&format!("redis://locker:hunter2@127.0.0.1:{}", server.port()));
    (server, node)
}

/// The permissions that the guide lists for all users.
const PLAIN: [&str; 6] = ["+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"];

/// The permissions that the guide adds for shared locks.
const SHARING: [&str; 9] =
    ["+time", "+exists", "+zadd", "+zcount", "+zrange", "+zrem", "+zremrangebyscore", "+zscore", "+pexpireat"];

pub(super) async fn a_user_without_the_time_is_told_for_shared_locks_only(lab: &Lab) {
    let without: Vec<_> = SHARING.into_iter().filter(|permission| *permission != "+time").collect();
    let (_server, node) = user(lab, &[&PLAIN[..], &without].concat()).await;
    let redlock = Redlock::builder().nodes([node]).key_prefix("lock:").build().unwrap();
    let lock = redlock.acquire(KEY, TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let error = redlock.acquire_shared(KEY, once(TTL)).await.unwrap_err();
    let AcquireError::NoQuorum(tried) = &error else { panic!("{error}") };
    let kind = tried.last_round.nodes().iter().find_map(|node| match &node.answer {
        redlock_core::NodeAnswer::Failed(error) => Some(error.kind()),
        _ => None,
    });
    assert_eq!(kind, Some(NodeErrorKind::Permission), "{error}");
    let mut lock = redlock.acquire(KEY, TTL).await.unwrap();
    assert!(lock.downgrade().await.is_err());
    assert!(lock.check().is_ok());
}

pub(super) async fn a_user_may_share_with_no_more_than_the_guide_says(lab: &Lab) {
    let (server, node) = user(lab, &[&PLAIN[..], &SHARING].concat()).await;
    let redlock = Redlock::builder().nodes([node]).key_prefix("lock:").build().unwrap();
    let one = redlock.acquire_shared(KEY, TTL).await.unwrap();
    let mut other = redlock.acquire_shared(KEY, TTL).await.unwrap();
    other.extend(2 * TTL).await.unwrap();
    assert!(redlock.try_acquire(KEY, TTL).await.unwrap().is_none());
    assert_eq!(redlock.inspect(KEY).await.unwrap().readers(), 2);
    // A writer that waits and leaves an intent.
    let brief = AcquireOptions::new(TTL).retry(Retry::attempts(3).fixed(Duration::from_millis(400)));
    let is_kept_out = async || {
        tokio::time::sleep(Duration::from_millis(600)).await;
        redlock.try_acquire_shared(KEY, TTL).await.unwrap().is_none()
    };
    let (writer, is_kept_out) = tokio::join!(redlock.acquire(KEY, brief), is_kept_out());
    assert!(writer.unwrap_err().is_contended() && is_kept_out);
    assert!(eventually(async || redlock.try_acquire_shared(KEY, TTL).await.unwrap().is_some()).await, "it gave up");
    for lock in [one, other] {
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
    let mut lock = redlock.acquire(KEY, TTL).await.unwrap();
    lock.downgrade().await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);

    // If one permission is missing, no key without an expiry is left.
    for missing in SHARING {
        server.command(&["ACL", "SETUSER", "locker", &missing.replace('+', "-")]).await.unwrap();
        let _ = redlock.try_acquire_shared("left", TTL).await;
        // Without ZREM, the release stays owed.
        let _ = redlock.close_within(Duration::from_millis(300)).await;
        let pttl = server.command(&["PTTL", "lock:left"]).await.unwrap();
        assert!(!matches!(pttl, crate::servers::Reply::Integer(-1)), "without {missing}");
        server.command(&["ACL", "SETUSER", "locker", missing]).await.unwrap();
        server.command(&["DEL", "lock:left"]).await.unwrap();
    }
}

pub(super) async fn a_replica_grants_no_reader_that_was_copied_to_it(lab: &Lab) {
    let primary = lab.site(4).port().to_string();
    let replica = lab.server(&ServerOptions::new().args(["--replicaof", "127.0.0.1", &primary])).await;
    let node = lab.node(4);
    assert_eq!(share(&node, 1, TTL).await, AcquireAnswer::granted());
    let copied = async || {
        let reply = replica.command(&["ZCARD", KEY]).await;
        matches!(reply, Ok(crate::servers::Reply::Integer(1)))
    };
    assert!(eventually(copied).await);
    let node = lab.open(&replica.url());
    for number in [1, 2] {
        let error = node.acquire(&request(number, TTL, true)).await.unwrap_err();
        assert_eq!(error.kind(), NodeErrorKind::ReadOnly);
    }
}
