//! Nodes whose clocks jump while locks are acquired: the jump is logged, the node may be distrusted, and fencing tokens
//! stay in order.

use std::time::{Duration, Instant};

use redlock_core::{AcquireOptions, FencingToken, LockNode as _, Redlock, RedlockBuilder, Release};
use redlock_tests::{
    backend::Backend,
    lab::once,
    log::Log,
    servers::{Server, ServerClock, ServerOptions, Servers},
};

const TTL: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = HOUR.saturating_mul(24);

/// How long a node is not trusted: short enough for a test to wait for it.
const DISTRUST: Duration = Duration::from_secs(3);

/// Starts three servers; the clocks of the first `with_clocks` can be set.
async fn servers(with_clocks: usize) -> Vec<Server> {
    let servers = Servers::from_env().await.unwrap();
    assert!(servers.can_fail(), "this test sets clocks and stops servers: {} cannot do that", servers.describe());
    let mut all = servers.start(with_clocks, &ServerOptions::new().fake_clock()).await.unwrap();
    all.extend(servers.start(3 - with_clocks, &ServerOptions::new()).await.unwrap());
    all
}

fn redlock(backend: Backend, servers: &[Server], with: impl Fn(RedlockBuilder) -> RedlockBuilder) -> Redlock {
    let nodes = servers.iter().enumerate().map(|(index, server)| backend.open(index, &server.url()));
    with(Redlock::builder().nodes(nodes)).build().unwrap()
}

/// Uses the fleet, makes the clock of its first node jump an hour, and stops the second node, so that the first is
/// needed.
async fn jump(redlock: &Redlock, servers: &[Server]) {
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    servers[0].set_clock(ServerClock::Ahead(HOUR)).await.unwrap();
    servers[1].stop().await.unwrap();
}

async fn is_distrusted(backend: Backend) {
    let servers = servers(1).await;
    let redlock = redlock(backend, &servers, |builder| builder.distrust_jumped_clocks(DISTRUST));
    jump(&redlock, &servers).await;

    // The jump is seen in the very answer that would have completed the quorum.
    let error = redlock.acquire("r", once(TTL)).await.unwrap_err().to_string();
    let seen = Instant::now();
    assert!(error.contains("the clock has jumped: it has jumped by +") && error.contains("time service"), "{error}");
    // The round may not have waited for the third node, because two failures decide it.
    assert!(error.contains("of 3 granted, 2 needed"), "{error}");
    // The stopped server may be owed a release, and the test does not wait for it.
    let _ = tokio::time::timeout(Duration::from_millis(300), redlock.close()).await;

    // With the second node up again, the fleet does without the first one at once.
    servers[1].start().await.unwrap();
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    assert!(seen.elapsed() < DISTRUST, "this test was too slow to decide");
    servers[1].stop().await.unwrap();

    // The node counts again once every lock that the jump may have ended early has expired.
    let in_time = AcquireOptions::new(TTL).timeout(Duration::from_secs(30));
    let lock = redlock.acquire("r", in_time).await.unwrap();
    assert!(seen.elapsed() > DISTRUST - Duration::from_millis(500), "{:?}", seen.elapsed());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

async fn is_told(backend: Backend) {
    // All tests write to this log, and the names of the nodes distinguish them.
    let log = Log::of_this_process();
    let servers = servers(1).await;
    let name = backend.open(0, &servers[0].url()).name().to_owned();
    let warnings = || {
        let lines: Vec<_> = log.text().lines().filter(|line| line.contains(&name)).map(str::to_owned).collect();
        lines.into_iter().filter(|line| line.contains("the node's clock has jumped")).collect::<Vec<_>>()
    };
    let redlock = redlock(backend, &servers, |builder| builder);
    jump(&redlock, &servers).await;
    assert_eq!(warnings(), [""; 0]);
    // If a jump costs no grants, the clocks are read once a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
    }
    let warnings = warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("jump=+3"), "{warnings:?}");
}

/// Returns the token of a holder whose keys expired because a majority of clocks jumped, and that of the next holder,
/// which acquires the lock while the first still relies on it.
async fn two_holders(backend: Backend, servers: &[Server], clock: ServerClock) -> (FencingToken, FencingToken) {
    let fleet = || redlock(backend, servers, |builder| builder.fencing(true));
    let (ours, theirs) = (fleet(), fleet());
    let first = ours.acquire("r", TTL).await.unwrap();
    ours.close().await.unwrap();
    for server in &servers[..2] {
        server.set_clock(clock).await.unwrap();
    }
    let second = theirs.try_acquire("r", TTL).await.unwrap().unwrap();
    assert!(first.check().is_ok() && second.check().is_ok());
    let tokens = (first.fencing_token().unwrap(), second.fencing_token().unwrap());
    assert_eq!(first.release().await.unwrap(), Release::NotHeld);
    assert_eq!(second.release().await.unwrap(), Release::Released);
    ours.close().await.unwrap();
    theirs.close().await.unwrap();
    tokens
}

async fn tokens_grow(backend: Backend) {
    let servers = servers(2).await;
    let mut before = None;
    // First only the key expires, then also the counter, which nodes retain for a week.
    for ahead in [HOUR, 9 * DAY] {
        let (first, second) = two_holders(backend, &servers, ServerClock::Ahead(ahead)).await;
        assert!(before < Some(first) && first < second, "{before:?}, {first}, {second} with {ahead:?}");
        before = Some(second);
    }
    for clock in [ServerClock::Right, ServerClock::Behind(HOUR), ServerClock::Right] {
        for server in &servers[..2] {
            server.set_clock(clock).await.unwrap();
        }
        let redlock = redlock(backend, &servers, |builder| builder.fencing(true));
        let lock = redlock.acquire("r", TTL).await.unwrap();
        let token = lock.fencing_token();
        assert!(before < token, "{before:?}, {token:?} with {clock:?}");
        before = token;
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        redlock.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_can_ignore_grants_of_a_node_whose_clock_has_jumped() {
    is_distrusted(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_can_ignore_grants_of_a_node_whose_clock_has_jumped() {
    is_distrusted(Backend::Fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_logs_a_clock_jump_once() {
    is_told(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_logs_a_clock_jump_once() {
    is_told(Backend::Fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_issues_greater_tokens_after_each_jump_of_a_majority() {
    tokens_grow(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_issues_greater_tokens_after_each_jump_of_a_majority() {
    tokens_grow(Backend::Fred).await;
}
