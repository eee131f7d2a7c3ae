//! Tests a client's connection: requests that wait in its socket, that never reach the node, and that overtake others.

use std::time::Duration;

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, Resource, Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest, ReleaseAnswer, ReleaseRequest},
};
use redlock_mock::{Connection, Cut, Event, Fleet, History, Memory, MockNode, What};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

const TTL: Duration = Duration::from_secs(60);
const FAILED: Result<(), NodeErrorKind> = Err(NodeErrorKind::Timeout);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn token() -> Token {
    Token::from_bytes([1; 20])
}

fn node() -> MockNode {
    MockNode::new("node").with_connection(Connection::default())
}

async fn acquire(node: &MockNode, resource: &str) -> Result<AcquireAnswer, NodeError> {
    let resource = Resource::new(resource).unwrap();
    node.acquire(&AcquireRequest::new(resource, token(), Ttl::new(TTL).unwrap())).await.map(|timed| timed.answer)
}

async fn release(node: &MockNode, resource: &str) -> Result<ReleaseAnswer, NodeError> {
    node.release(&ReleaseRequest::new(Resource::new(resource).unwrap(), token())).await
}

/// Acquires at this time. Returns the result, and when it came. All times are counted from `start`.
fn acquires_at(
    node: &MockNode,
    resource: &'static str,
    start: Instant,
    at: Duration,
) -> JoinHandle<(Result<(), NodeErrorKind>, Duration)> {
    let node = node.clone();
    tokio::spawn(async move {
        sleep_until(start + at).await;
        let answer = acquire(&node, resource).await.map(drop).map_err(|error| error.kind());
        (answer, start.elapsed())
    })
}

/// Lets the node hang from now on, with the connection in use. The first request is written at once, and the last one
/// that the connection accepts 1.1 s later.
async fn hang_until_the_connection_is_given_up(node: &MockNode) -> Instant {
    acquire(node, "before").await.unwrap();
    node.hang();
    let start = Instant::now();
    let first = acquires_at(node, "first", start, ms(0));
    let last = acquires_at(node, "last", start, ms(1_100));
    assert_eq!(first.await.unwrap(), (FAILED, ms(1_000)));
    assert_eq!(last.await.unwrap(), (FAILED, ms(2_100)));
    start
}

#[tokio::test(start_paused = true)]
async fn a_release_over_a_new_connection_is_lost_and_the_acquire_in_the_old_socket_is_carried_out() {
    let node = node();
    let start = hang_until_the_connection_is_given_up(&node).await;
    let sent = node.requests();
    assert_eq!(release(&node, "last").await.unwrap_err().kind(), NodeErrorKind::Timeout);
    assert_eq!((start.elapsed(), node.requests()), (ms(3_100), sent), "it never reached the node");
    sleep(ms(900)).await;
    node.resume();
    assert_eq!(node.resources(), ["before", "first", "last"]);
    assert_eq!(node.remaining("last"), Some(TTL), "nobody owns it");
    assert_eq!(release(&node, "last").await.unwrap(), ReleaseAnswer::Released, "the new connection works");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_given_up_only_after_its_silence() {
    let node = node();
    acquire(&node, "before").await.unwrap();
    node.hang();
    let start = Instant::now();
    let first = acquires_at(&node, "first", start, ms(0));
    let second = acquires_at(&node, "second", start, ms(900));
    let third = acquires_at(&node, "third", start, ms(1_950));
    assert_eq!(second.await.unwrap(), (FAILED, ms(1_900)));
    first.await.unwrap().0.unwrap_err();
    sleep_until(start + ms(2_000)).await;
    node.resume();
    assert_eq!(third.await.unwrap(), (Ok(()), ms(2_000)), "it was in the socket, and its caller still waited");
    assert_eq!(node.resources(), ["before", "first", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_the_silence() {
    let node = node();
    acquire(&node, "a").await.unwrap();
    for _ in 0..3 {
        node.hang();
        acquire(&node, "b").await.unwrap_err();
        node.resume();
        acquire(&node, "c").await.unwrap();
    }
    node.hang();
    let sent = node.requests();
    acquire(&node, "d").await.unwrap_err();
    assert_eq!(node.requests(), sent + 1, "it is still the same connection");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_a_connection_are_sent_when_the_node_resumes_and_fail_together_if_it_does_not() {
    let node = node();
    node.hang();
    let start = Instant::now();
    let [first, second] = [0, 600].map(|at| acquires_at(&node, "late", start, ms(at)));
    assert_eq!(first.await.unwrap(), (FAILED, ms(1_000)));
    assert_eq!(second.await.unwrap(), (FAILED, ms(1_000)));
    let at_once = acquires_at(&node, "late", start, ms(1_005)).await.unwrap();
    assert_eq!(at_once, (FAILED, ms(1_005)), "no other attempt is made within 10 ms");
    let [third, fourth] = [1_010, 1_500].map(|at| acquires_at(&node, "in time", start, ms(at)));
    sleep_until(start + ms(1_800)).await;
    assert_eq!(node.requests(), 0);
    node.resume();
    assert_eq!(third.await.unwrap(), (Ok(()), ms(1_800)));
    assert_eq!(fourth.await.unwrap(), (Ok(()), ms(1_800)));
    assert_eq!(node.resources(), ["in time"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_before_it_was_written_never_reaches_the_node() {
    let node = MockNode::new("node").with_connection(Connection { socket: 2, ..Connection::default() });
    acquire(&node, "before").await.unwrap();
    node.hang();
    let start = Instant::now();
    let written = ["a", "b"].map(|resource| acquires_at(&node, resource, start, ms(0)));
    let queued = acquires_at(&node, "queued", start, ms(10));
    let resumed = acquires_at(&node, "resumed", start, ms(1_100));
    assert_eq!(queued.await.unwrap(), (FAILED, ms(1_010)), "the response timeout runs in the queue");
    for written in written {
        written.await.unwrap().0.unwrap_err();
    }
    sleep_until(start + ms(1_500)).await;
    node.resume();
    assert_eq!(resumed.await.unwrap(), (Ok(()), ms(1_500)));
    assert_eq!(node.resources(), ["a", "b", "before", "resumed"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_in_an_old_socket_may_be_carried_out_after_one_over_the_new_connection() {
    let node = MockNode::new("node").with_connection(Connection { late: ms(30), ..Connection::default() });
    let start = hang_until_the_connection_is_given_up(&node).await;
    sleep_until(start + ms(4_000)).await;
    node.resume();
    assert_eq!(release(&node, "last").await.unwrap(), ReleaseAnswer::NotHeld);
    sleep(ms(29)).await;
    assert_eq!(node.peek("last"), None);
    sleep(ms(1)).await;
    assert_eq!(node.remaining("last"), Some(TTL), "it came after its release");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_silently_cut_is_replaced_after_its_silence() {
    for arrives in [None, Some(ms(5_000))] {
        let node = node();
        acquire(&node, "before").await.unwrap();
        node.cut_connection(arrives);
        assert!(!node.is_reachable());
        let start = Instant::now();
        for at in [1_000, 2_000] {
            assert_eq!(acquire(&node, "cut").await.unwrap_err().kind(), NodeErrorKind::Timeout);
            assert_eq!(start.elapsed(), ms(at));
        }
        assert!(node.is_reachable());
        acquire(&node, "new").await.unwrap();
        assert_eq!((start.elapsed(), node.resources()), (ms(2_000), ["before", "new"].map(str::to_owned).to_vec()));
        sleep(ms(2_999)).await;
        assert_eq!(node.peek("cut"), None);
        sleep(ms(1)).await;
        assert_eq!(node.peek("cut").is_some(), arrives.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_all_connections_and_loses_the_requests_in_their_sockets() {
    let node = node();
    let start = hang_until_the_connection_is_given_up(&node).await;
    let waiting = acquires_at(&node, "waiting", start, ms(2_200));
    sleep_until(start + ms(2_300)).await;
    node.stop();
    assert_eq!(waiting.await.unwrap(), (Err(NodeErrorKind::Unreachable), ms(2_300)));
    node.start(Memory::Kept);
    sleep(ms(10)).await;
    acquire(&node, "after").await.unwrap();
    assert_eq!(node.resources(), ["after", "before"]);
}

#[tokio::test(start_paused = true)]
async fn each_client_has_its_own_connection() {
    let (one, start) = (node(), Instant::now());
    let other = one.clone().with_connection(Connection::default());
    acquire(&other, "before").await.unwrap();
    hang_until_the_connection_is_given_up(&one).await;
    let sent = one.requests();
    acquire(&one, "one").await.unwrap_err();
    assert_eq!(one.requests(), sent);
    acquire(&other, "other").await.unwrap_err();
    assert_eq!((one.requests(), start.elapsed()), (sent + 1, ms(4_100)));
}

/// Returns whether a key is left behind by an acquire that the network holds up, and by its release 25 ms after the cut
/// has ended.
async fn leaves_a_key_behind(seed: u64) -> bool {
    let cut = What::Cut { process: None, node: None, requests: Some(Cut::Held), answers: None, millis: 4_000 };
    let history = History { nodes: 1, processes: 1, seed, events: vec![Event { at: 100, what: cut }] };
    let fleet = Fleet::of(&history).with_connections(Connection { late: ms(50), ..Connection::default() });
    let node = fleet.processes().first().and_then(|process| process.nodes().first()).unwrap();
    let work = async {
        acquire(node, "before").await.unwrap();
        sleep(ms(200)).await;
        for resource in ["first", "last"] {
            acquire(node, resource).await.unwrap_err();
            sleep(ms(100)).await;
        }
        let (sent, start) = (node.requests(), Instant::now());
        release(node, "last").await.unwrap_err();
        assert_eq!((node.requests(), start.elapsed(), node.is_reachable()), (sent, ms(1_000), false));
        sleep(ms(700)).await;
        assert!(node.is_reachable());
        sleep(ms(25)).await;
        release(node, "last").await.unwrap();
        sleep(ms(50)).await;
        node.peek("last").is_some()
    };
    tokio::join!(work, fleet.befall(&history)).0
}

#[tokio::test(start_paused = true)]
async fn no_client_connects_across_a_cut_and_a_request_that_was_held_up_may_come_last() {
    let mut late = 0;
    for seed in 0..20 {
        let is_late = leaves_a_key_behind(seed).await;
        assert_eq!(is_late, leaves_a_key_behind(seed).await, "one seed makes one history");
        late += usize::from(is_late);
    }
    assert!((1..20).contains(&late), "{late} of 20 were carried out after their release");
}

#[tokio::test(start_paused = true)]
async fn a_history_cuts_connections() {
    let cut = |node, arrives| What::CutConnection { process: None, node, arrives };
    let events = vec![Event { at: 100, what: cut(Some(0), None) }, Event { at: 100, what: cut(Some(7), Some(1)) }];
    let history = History { nodes: 2, processes: 1, seed: 1, events };
    let fleet = Fleet::of(&history).with_connections(Connection::default());
    let nodes = fleet.processes()[0].nodes();
    for node in nodes {
        acquire(node, "before").await.unwrap();
    }
    fleet.befall(&history).await;
    acquire(&nodes[0], "after").await.unwrap_err();
    acquire(&nodes[1], "after").await.unwrap();
    assert_eq!((fleet.nodes()[0].resources().len(), fleet.nodes()[1].resources().len()), (1, 2));
}
