//! Waiting without polling: notified by a release, queued within a process, and polling if nobody can notify.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireError, AcquireOptions, Event, Lock, LockNode, NodeRequest, Observer, Redlock, Release, Resource, Retry,
    Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest, Enqueue, ListenRequest},
};
use tokio::time::timeout;

use crate::{
    lab::{Lab, eventually},
    servers::{Reply, Server, ServerOptions},
};

const TTL: Duration = Duration::from_secs(30);
/// Far longer than a notification takes.
const PAUSE: Duration = Duration::from_secs(20);

/// The key of the waiters for `r`.
const WAITERS: &str = "r:redlock:waiters";

/// Polls so rarely that only a notified waiter is on time.
fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(3 * PAUSE).fixed(PAUSE).jitter(Duration::ZERO))
}

/// Polls often enough to manage without notifications.
fn polling() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::timeout(PAUSE).fixed(Duration::from_millis(50)))
}

pub(super) async fn a_release_notifies_a_waiter_of_another_process(lab: &Lab) {
    a_release_wakes(&lab.redlock(3), &lab.redlock(3)).await;
}

async fn a_release_wakes(ours: &Redlock, theirs: &Redlock) {
    for _ in 0..3 {
        let lock = ours.acquire("r", TTL).await.unwrap();
        is_notified_by(lock, theirs).await;
    }
}

pub(super) async fn waiters_of_several_processes_take_turns(lab: &Lab) {
    /// This many tasks in this many processes each acquire the lock this many times.
    const EACH: u64 = 3;
    let counter = Arc::new(AtomicU64::new(0));
    let mut work = Vec::new();
    for redlock in (0..EACH).map(|_| lab.redlock(3)).collect::<Vec<_>>() {
        for _ in 0..EACH {
            let (redlock, counter) = (redlock.clone(), Arc::clone(&counter));
            work.push(tokio::spawn(async move {
                for _ in 0..EACH {
                    let lock = redlock.acquire("r", polling()).await.unwrap();
                    let read = counter.load(Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    counter.store(read + 1, Ordering::SeqCst);
                    assert!(lock.check().is_ok());
                    assert_eq!(lock.release().await.unwrap(), Release::Released);
                }
            }));
        }
    }
    for work in work {
        work.await.unwrap();
    }
    assert_eq!(counter.load(Ordering::SeqCst), EACH * EACH * EACH);
    assert!(eventually(async || lab.holding("r").await == 0).await);
}

pub(super) async fn a_waiter_that_gets_the_lock_by_hand_off_holds_all_nodes(lab: &Lab) {
    let redlock = lab.redlock(3);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiter = tokio::spawn({
        let redlock = redlock.clone();
        async move { redlock.acquire("r", patient()).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = lock.token().as_str().to_owned();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let lock = timeout(PAUSE / 2, waiter).await.expect("nobody notified it").unwrap().unwrap();
    assert_ne!(lock.token().as_str(), before);
    for node in 0..3 {
        // The last node may still hold it for the previous holder.
        assert!(eventually(async || lab.value(node, "r").await.as_deref() == Some(lock.token().as_str())).await);
        assert!(lab.remaining(node, "r").await.unwrap() > TTL / 2, "it has its own TTL");
    }
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert!(eventually(async || lab.holding("r").await == 0).await);
}

pub(super) async fn a_waiters_key_of_another_type_disables_only_notifications(lab: &Lab) {
    for node in 0..3 {
        lab.set_list(node, "r:redlock:waiters").await;
    }
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    wait_and_take(&ours, &theirs, "r").await;
    for node in 0..3 {
        assert_eq!(lab.remaining(node, "r:redlock:waiters").await, None, "it belongs to another program, and remains");
    }
}

pub(super) async fn a_release_notifies_the_first_live_waiter_behind_any_number_of_dead_ones(lab: &Lab) {
    const DEAD: u8 = 250;
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let lock = ours.acquire("r", TTL).await.unwrap();
    lab.until_held_by(3, "r").await;
    for node in lab.nodes(3) {
        for dead in 0..DEAD {
            let token = Token::from_bytes([dead; 20]);
            let mut request = AcquireRequest::new(Resource::new("r").unwrap(), token, Ttl::new(TTL).unwrap());
            request.queue = Some(Enqueue::new(Resource::new(WAITERS).unwrap(), format!("dead:{dead}").into()));
            assert!(matches!(node.acquire(&request).await.unwrap().answer, AcquireAnswer::Held { .. }));
        }
    }
    is_notified_by(lock, &theirs).await;
}

pub(super) async fn waiters_with_impossible_scores_block_nobody(lab: &Lab) {
    let (ours, theirs) = (lab.redlock(3), lab.redlock(3));
    let scores = ["-inf", "-1e300", "-9000000000000000", "-1", "1", "9000000000000000", "inf"];
    let lock = ours.acquire("r", TTL).await.unwrap();
    for node in 0..3 {
        for score in scores {
            lab.site(node).command(&["ZADD", WAITERS, score, &format!("planted:{score}")]).await.unwrap();
        }
    }
    is_notified_by(lock, &theirs).await;
}

/// Makes another process wait for the lock, and checks that it gets the lock as soon as it is released.
async fn is_notified_by(lock: Lock, theirs: &Redlock) {
    let waiter = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.acquire("r", patient()).await }
    });
    // Long enough for it to be refused, to subscribe, and to join the waiters.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiter.is_finished());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    let lock = timeout(PAUSE / 2, waiter).await.expect("nobody notified it").unwrap().unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

/// Publishes this many messages on a channel, in one step of the server.
async fn flood(server: &Server, messages: u32, channel: &str, message: &str) {
    const FLOOD: &str = "for _ = 1, ARGV[1] do redis.call('PUBLISH', ARGV[2], ARGV[3]) end";
    server.command(&["EVAL", FLOOD, "0", &messages.to_string(), channel, message]).await.unwrap();
}

pub(super) async fn a_flood_of_messages_costs_a_waiter_few_rounds(lab: &Lab) {
    let asked = Asked::default();
    let (ours, theirs) = (lab.redlock(3), lab.builder(3).observer(asked.clone()).build().unwrap());
    let _lock = ours.acquire("r", TTL).await.unwrap();
    let pause = Duration::from_millis(400);
    let three = AcquireOptions::new(TTL).retry(Retry::attempts(3).fixed(pause).jitter(Duration::ZERO));
    let waiter = tokio::spawn(async move { theirs.acquire("r", three).await });
    while !waiter.is_finished() {
        if let Reply::Array(waiters) = lab.site(0).command(&["ZRANGE", WAITERS, "0", "0"]).await.unwrap() {
            for waiter in waiters {
                flood(lab.site(0), 10, &waiter.text().unwrap(), "r").await;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error, AcquireError::Contended(_)), "it is held all the time: {error}");
    let asked = asked.0.load(Ordering::Relaxed);
    // Three attempts, and in each pause one round after each minimum interval.
    assert!(asked <= 120, "{asked} requests to three nodes");
}

/// Counts how often nodes receive a request for a lock.
#[derive(Debug, Clone, Default)]
struct Asked(Arc<AtomicU64>);

impl Observer for Asked {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event, Event::NodeAsked { request: NodeRequest::Acquire, .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

pub(super) async fn unread_messages_do_not_pile_up(lab: &Lab) {
    let mut messages = lab.node(0).listen(&ListenRequest::new("channel".into())).await.unwrap();
    flood(lab.site(0), 20_000, "channel", "r").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut heard = 0;
    while timeout(Duration::from_millis(500), messages.next()).await.is_ok_and(|message| message.is_some()) {
        heard += 1;
    }
    assert!(heard < 20_000, "all {heard} were kept");
    lab.site(0).command(&["PUBLISH", "channel", "end"]).await.unwrap();
    assert_eq!(messages.next().await.as_deref(), Some(&b"end"[..]), "it still listens");
}

pub(super) async fn a_user_without_permission_to_notify_polls(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    const SCRIPTS: &[&str] = &["+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"];
    for rules in [
        // Neither the key of the waiters nor a channel.
        &["~r", "resetchannels"][..],
        // A channel, but not the key.
        &["~r", "allchannels", "+subscribe"],
        // The key and a channel, but no command for either.
        &["~r*", "allchannels"],
        // Everything but the message.
        &[
            "~r*",
            "allchannels",
            "+subscribe",
            "+time",
            "+zadd",
            "+zcard",
            "+zrange",
            "+zrem",
            "+zremrangebyscore",
            "+pexpire",
        ],
        // Everything but the waiters.
        &["~r*", "allchannels", "+subscribe", "+time", "+publish"],
    ] {
        let (ours, theirs) = (clerk(lab, &server, &[SCRIPTS, rules].concat()).await, clerk_again(lab, &server));
        wait_and_take(&ours, &theirs, "r").await;
    }
}

pub(super) async fn the_permissions_in_the_guide_are_enough_for_notifications(lab: &Lab) {
    let server = lab.server(&ServerOptions::new()).await;
    let rules =
        ["~lock:*", "resetchannels", "&lock:redlock:wake:*", "+eval", "+evalsha", "+set", "+getrange", "+del", "+pttl"];
    let waking =
        ["+subscribe", "+publish", "+time", "+zadd", "+zcard", "+zrange", "+zrem", "+zremrangebyscore", "+pexpire"];
    clerk(lab, &server, &[&rules[..], &waking].concat()).await;
    let redlock = || {
        let node = lab.open(&format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()));
        Redlock::builder().nodes([node]).key_prefix("lock:").build().unwrap()
    };
    a_release_wakes(&redlock(), &redlock()).await;
}

async fn clerk(lab: &Lab, server: &Server, rules: &[&str]) -> Redlock {
    let user = ["ACL", "SETUSER", "clerk", "reset", "on", ">hunter2"];
    server.command(&[&user[..], rules].concat()).await.unwrap();
    clerk_again(lab, server)
}

fn clerk_again(lab: &Lab, server: &Server) -> Redlock {
    let node: Arc<dyn LockNode> = lab.open(&format!("redis://clerk:hunter2@127.0.0.1:{}", server.port()));
    Redlock::builder().nodes([node]).build().unwrap()
}

/// Makes one process hold the lock while a task waits, first in another process and then in the same one.
async fn wait_and_take(ours: &Redlock, theirs: &Redlock, name: &'static str) {
    for waiting in [theirs, ours] {
        let lock = ours.acquire(name, TTL).await.unwrap();
        let waiter = tokio::spawn({
            let waiting = waiting.clone();
            async move { waiting.acquire(name, polling()).await }
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!waiter.is_finished());
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        let lock = waiter.await.unwrap().unwrap();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
    }
}
