//! Nodes whose clocks jump while locks are taken: they are told, may be distrusted, and disorder no fencing tokens.

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

/// For how long a node is not trusted: so short that it can be waited for.
const DISTRUST: Duration = Duration::from_secs(3);

/// Three servers, of which so many have clocks that can be set.
async fn servers(with_clocks: usize) -> Vec<Server> {
    let servers = Servers::from_env().await.unwrap();
    assert!(servers.can_fail(), "this test sets clocks and stops servers: {} does not let it", servers.describe());
    let mut all = servers.start(with_clocks, &ServerOptions::new().fake_clock()).await.unwrap();
    all.extend(servers.start(3 - with_clocks, &ServerOptions::new()).await.unwrap());
    all
}

fn redlock(backend: Backend, servers: &[Server], with: impl Fn(RedlockBuilder) -> RedlockBuilder) -> Redlock {
    let nodes = servers.iter().enumerate().map(|(index, server)| backend.open(index, &server.url()));
    with(Redlock::builder().nodes(nodes)).build().unwrap()
}

/// The fleet is in use, the clock of its first node jumps an hour, and the second one stops: the first one is needed.
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

    // Seen in the very answer that would have made the quorum.
    let error = redlock.acquire("r", once(TTL)).await.unwrap_err().to_string();
    let seen = Instant::now();
    assert!(error.contains("the clock has jumped: it has jumped by +") && error.contains("time service"), "{error}");
    // The third one may not have been waited for: two failures decide the round.
    assert!(error.contains("of 3 granted, 2 needed"), "{error}");
    // The server that is stopped may be owed a release: it is not waited for.
    let _ = tokio::time::timeout(Duration::from_millis(300), redlock.close()).await;

    // Others do without it at once.
    servers[1].start().await.unwrap();
    let _ = redlock.acquire("r", TTL).await.unwrap().release().await.unwrap();
    redlock.close().await.unwrap();
    assert!(seen.elapsed() < DISTRUST, "this test was too slow to tell");
    servers[1].stop().await.unwrap();

    // And it counts again when all has expired that the jump has cut short.
    let in_time = AcquireOptions::new(TTL).timeout(Duration::from_secs(30));
    let lock = redlock.acquire("r", in_time).await.unwrap();
    assert!(seen.elapsed() > DISTRUST - Duration::from_millis(500), "{:?}", seen.elapsed());
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

async fn is_told(backend: Backend) {
    // All tests log to it: the names of the nodes tell which.
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
    // Where a jump costs no grants, clocks are looked at once a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(redlock.try_acquire("r", TTL).await.unwrap().unwrap().release().await.unwrap(), Release::Released);
    }
    let warnings = warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("WARN") && warnings[0].contains("jump=+3"), "{warnings:?}");
}

/// The token of a holder whose keys a jump of a majority has ended, and that of the next one while the first believes in
/// its lock.
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
    // First the key expires, then the counter too, which the nodes keep for a week.
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
async fn redis_rs_counts_no_grant_of_a_node_whose_clock_has_jumped_where_that_is_wanted() {
    is_distrusted(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_counts_no_grant_of_a_node_whose_clock_has_jumped_where_that_is_wanted() {
    is_distrusted(Backend::Fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_tells_once_that_a_clock_has_jumped() {
    is_told(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_tells_once_that_a_clock_has_jumped() {
    is_told(Backend::Fred).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_rs_gives_greater_tokens_after_each_jump_of_a_majority() {
    tokens_grow(Backend::RedisRs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fred_gives_greater_tokens_after_each_jump_of_a_majority() {
    tokens_grow(Backend::Fred).await;
}
