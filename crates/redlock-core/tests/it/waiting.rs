//! Waiting: in line within a process, woken by other processes, and by polling where nobody wakes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{
    AcquireAnswer, AcquireError, AcquireOptions, AcquireRequest, ExtendAnswer, ExtendRequest, Lock, LockNode,
    NodeError, Redlock, Release, ReleaseAnswer, ReleaseRequest, Retry, Timed, TokioClock,
};
use redlock_mock::{Fault, Memory, MockNode};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::support::{ms, redlock};

const TTL: Duration = Duration::from_secs(10);
/// Longer than whatever is not told to anybody.
const PAUSE: Duration = Duration::from_secs(3);

/// Polls so rarely that only who is woken is on time.
fn patient() -> AcquireOptions {
    AcquireOptions::new(TTL).retry(Retry::until(Duration::from_secs(60)).fixed(PAUSE).jitter(Duration::ZERO))
}

/// A call that waits, and when it had the lock.
fn waits(redlock: &Redlock) -> JoinHandle<(Lock, Instant)> {
    let redlock = redlock.clone();
    tokio::spawn(async move {
        let lock = redlock.acquire("r", patient()).await.unwrap();
        (lock, Instant::now())
    })
}

/// Calls that wait, in this order.
async fn wait_in_order(redlocks: &[&Redlock]) -> Vec<JoinHandle<(Lock, Instant)>> {
    let mut waiting = Vec::new();
    for redlock in redlocks {
        waiting.push(waits(redlock));
        sleep(ms(20)).await;
    }
    waiting
}

fn requests(nodes: &[MockNode]) -> usize {
    nodes.iter().map(MockNode::requests).sum()
}

#[tokio::test(start_paused = true)]
async fn a_release_wakes_a_waiter_of_another_process() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    let before = requests(&nodes);
    let released = Instant::now();
    lock.release().await.unwrap();
    let (_lock, taken) = waiting.await.unwrap();
    assert_eq!(taken, released);
    assert_eq!(requests(&nodes) - before, 2 * nodes.len(), "a release and an acquire on each node");
}

#[tokio::test(start_paused = true)]
async fn who_can_be_woken_only_after_a_while_is_woken_all_the_same() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(80))).collect();
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(1500)).await;
    assert!(!waiting.is_finished());
    lock.release().await.unwrap();
    let released = Instant::now();
    let (_, won) = waiting.await.unwrap();
    assert!(won - released < PAUSE / 4, "{:?}", won - released);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_dropped_wakes_a_waiter_too() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    let dropped = Instant::now();
    drop(lock);
    assert_eq!(waiting.await.unwrap().1, dropped);
}

#[tokio::test(start_paused = true)]
async fn waiters_of_several_processes_have_the_lock_in_the_order_in_which_they_came() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..5).map(|_| redlock(&nodes)).collect();
    let mut lock = processes[0].acquire("r", TTL).await.unwrap();
    let waiting = wait_in_order(&processes[1..].iter().collect::<Vec<_>>()).await;
    for next in waiting {
        assert!(!next.is_finished());
        let released = Instant::now();
        lock.release().await.unwrap();
        let taken;
        (lock, taken) = next.await.unwrap();
        assert_eq!(taken, released);
        sleep(ms(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_one_process_follow_each_other_in_order_and_one_of_them_asks() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = wait_in_order(&[&redlock; 4]).await;
    // The first of them asks, and gives back what it has not got: its own process has the lock, and will tell.
    assert_eq!(requests(&nodes), nodes.len() * (1 + 2));
    for next in waiting {
        let before = requests(&nodes);
        assert!(!next.is_finished());
        let released = Instant::now();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        let taken;
        (lock, taken) = next.await.unwrap();
        assert_eq!(taken, released);
        assert_eq!(requests(&nodes) - before, nodes.len(), "one round trip, in which the lock is left to the next");
    }
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn other_processes_have_their_turn_after_four_in_a_row() {
    let nodes = MockNode::fleet(3);
    let (many, other) = (redlock(&nodes), redlock(&nodes));
    let mut lock = many.acquire("r", TTL).await.unwrap();
    let of_other = waits(&other);
    sleep(ms(20)).await;
    let waiting = wait_in_order(&[&many; 6]).await;
    for (number, next) in waiting.into_iter().enumerate() {
        if number == 4 {
            assert!(!of_other.is_finished());
            lock.release().await.unwrap();
            sleep(ms(20)).await;
            assert!(of_other.is_finished() && !next.is_finished());
            break;
        }
        lock.release().await.unwrap();
        (lock, _) = next.await.unwrap();
    }
    of_other.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_died_is_passed_over() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..3).map(|_| redlock(&nodes)).collect();
    let lock = processes[0].acquire("r", TTL).await.unwrap();
    let dies = tokio::spawn({
        let dying = redlock(&nodes);
        async move { dying.acquire("r", patient()).await.map(drop) }
    });
    sleep(ms(20)).await;
    let waiting = waits(&processes[2]);
    sleep(ms(20)).await;
    assert_eq!(nodes[0].waiters("r").len(), 2);
    // With all that it holds, and its connections.
    dies.abort();
    sleep(ms(20)).await;
    let released = Instant::now();
    lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gave_up_passes_its_turn_on() {
    let nodes = MockNode::fleet(3);
    let [first, second, third] = [(); 3].map(|()| redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let impatient = patient().deadline(ms(500));
    let gives_up = tokio::spawn({
        let second = second.clone();
        async move { second.acquire("r", impatient).await }
    });
    sleep(ms(20)).await;
    let waiting = waits(&third);
    assert!(matches!(gives_up.await.unwrap(), Err(AcquireError::Deadline(_))));
    // What it had asked last is given back.
    sleep(ms(20)).await;
    let released = Instant::now();
    lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn the_next_of_the_process_takes_the_place_of_one_that_is_cancelled() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let mut waiting = wait_in_order(&[&second, &second]).await;
    let next = waiting.pop().unwrap();
    waiting.pop().unwrap().abort();
    sleep(ms(20)).await;
    let released = Instant::now();
    lock.release().await.unwrap();
    assert_eq!(next.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn any_minority_may_be_down_and_waiters_are_woken_all_the_same() {
    for down in 0..3 {
        let nodes = MockNode::fleet(3);
        let (first, second) = (redlock(&nodes), redlock(&nodes));
        nodes[down].stop();
        let lock = first.acquire("r", TTL).await.unwrap();
        let waiting = waits(&second);
        sleep(ms(100)).await;
        let released = Instant::now();
        lock.release().await.unwrap();
        assert_eq!(waiting.await.unwrap().1, released, "node {down} is down");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_they_wait_costs_a_pause_at_most() {
    for down in 0..3 {
        let nodes = MockNode::fleet(3);
        let (first, second) = (redlock(&nodes), redlock(&nodes));
        let lock = first.acquire("r", TTL).await.unwrap();
        let waiting = waits(&second);
        sleep(ms(100)).await;
        nodes[down].stop();
        let released = Instant::now();
        lock.release().await.unwrap();
        assert!(waiting.await.unwrap().1 - released < PAUSE, "node {down} died");
        nodes[down].start(Memory::Kept);
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_never_gives_it_back_is_waited_for_until_its_ttl_ends() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(700))));
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let start = Instant::now();
    let mut waiting = wait_in_order(&[&first, &second]).await;
    let last = waiting.pop().unwrap();
    let (lock, taken) = waiting.pop().unwrap().await.unwrap();
    assert!(taken - start < ms(710), "{:?}", taken - start);
    lock.release().await.unwrap();
    last.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_listened_to_before_somebody_waits_nor_after_the_end() {
    let nodes = MockNode::fleet(3);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    assert!(second.try_acquire("r", TTL).await.is_err());
    first.close().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(tasks(), 0);
    let waiting = waits(&second);
    sleep(ms(100)).await;
    assert_eq!(tasks(), 1 + nodes.len());
    lock.release().await.unwrap();
    waiting.await.unwrap().0.release().await.unwrap();
    second.close().await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn fencing_tokens_grow_from_each_holder_to_the_next_of_its_process() {
    let nodes = MockNode::fleet(3);
    let redlock = Arc::new(redlock(&nodes));
    let first = redlock.acquire("r", AcquireOptions::new(TTL).fencing(true)).await.unwrap();
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let redlock = Arc::clone(&redlock);
            tokio::spawn(async move { redlock.acquire("r", patient().fencing(true)).await })
        })
        .collect();
    sleep(ms(20)).await;
    let mut last = first.fencing_token();
    first.release().await.unwrap();
    for next in waiting {
        let lock = next.await.unwrap().unwrap();
        assert!(lock.fencing_token() > last, "{:?} after {last:?}", lock.fencing_token());
        last = lock.fencing_token();
        lock.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn who_sleeps_at_the_head_of_the_line_keeps_nobody_from_a_free_lock() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = theirs.acquire("r", TTL).await.unwrap();
    let sleeps = ours.acquire("r", patient());
    tokio::pin!(sleeps);
    // Polled until it waits, and no more.
    assert!(tokio::time::timeout(ms(20), &mut sleeps).await.is_err());
    let waiting = waits(&ours);
    sleep(ms(20)).await;
    lock.release().await.unwrap();
    let released = Instant::now();
    let (lock, taken) = waiting.await.unwrap();
    assert!(taken - released <= 4 * PAUSE, "{:?}", taken - released);
    lock.release().await.unwrap();
    drop(sleeps.await.unwrap());
}

/// Rounds of a waiter while others hold the lock on these nodes.
async fn rounds_while_held_on(held: &[usize]) -> u32 {
    let nodes = MockNode::fleet(3);
    held.iter().filter_map(|node| nodes.get(*node)).for_each(|node| node.set("r", "other", None));
    match redlock(&nodes).acquire("r", patient().deadline(ms(500))).await {
        Err(AcquireError::Deadline(tried)) => tried.made,
        given => unreachable!("nobody has given it back: {given:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_granted_where_it_is_to_be_woken_asks_once_more() {
    let in_line = rounds_while_held_on(&[0, 1, 2]).await;
    assert_eq!(rounds_while_held_on(&[1, 2]).await, in_line + 2);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_has_expired_beside_its_holder_hides_no_release() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let expired = redlock.acquire("r", ms(200)).await.unwrap();
    sleep(ms(300)).await;
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    let released = Instant::now();
    drop(lock);
    let (_lock, taken) = waiting.await.unwrap();
    assert!(taken - released < PAUSE / 4, "{:?}", taken - released);
    drop(expired);
}

fn with_latencies(nodes: &[MockNode], latencies: [u64; 3]) -> Vec<MockNode> {
    nodes.iter().zip(latencies).map(|(node, latency)| node.clone().with_latency(ms(latency))).collect()
}

/// A process takes the lock over and over, a millisecond from the nodes or so, and another waits for it. How often the
/// first had it meanwhile.
async fn passed_by(near: [u64; 3], far: [u64; 3]) -> u32 {
    let nodes = MockNode::fleet(3);
    let (greedy, waiter) = (redlock(&with_latencies(&nodes, near)), redlock(&with_latencies(&nodes, far)));
    let taken = Arc::new(AtomicU32::new(0));
    let again = Arc::clone(&taken);
    let greedy = tokio::spawn(async move {
        loop {
            let lock = greedy.acquire("r", patient()).await.unwrap();
            again.fetch_add(1, Ordering::SeqCst);
            sleep(ms(10)).await;
            lock.release().await.unwrap();
        }
    });
    sleep(ms(25)).await;
    let before = taken.load(Ordering::SeqCst);
    waiter.acquire("r", patient()).await.unwrap().release().await.unwrap();
    greedy.abort();
    taken.load(Ordering::SeqCst) - before
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_at_once_stands_behind_those_who_wait_farther_away() {
    for near in [[1, 1, 1], [5, 1, 1], [1, 5, 5]] {
        let passed_by = passed_by(near, [8, 8, 8]).await;
        assert!(passed_by <= 6, "{passed_by} times, {near:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_majority_that_is_down_is_asked_no_more_often_than_the_policy_says() {
    let nodes = with_latencies(&MockNode::fleet(3), [1; 3]);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    // Both can be woken, and have waited a short time ago.
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    lock.release().await.unwrap();
    waiting.await.unwrap().0.release().await.unwrap();
    nodes[1..].iter().for_each(MockNode::stop);
    let policy = AcquireOptions::new(TTL).retry(Retry::attempts(4).fixed(ms(300)).jitter(Duration::ZERO));
    let made = |redlock: &Redlock| {
        let (redlock, policy) = (redlock.clone(), policy.clone());
        tokio::spawn(async move {
            match redlock.acquire("r", policy).await {
                Err(AcquireError::NoQuorum(tried) | AcquireError::Contended(tried)) => tried.made,
                given => unreachable!("two of three nodes are down: {given:?}"),
            }
        })
    };
    for made in [made(&first), made(&second)] {
        let made = made.await.unwrap();
        // One of an attempt, and what another process' round cost it on the node that is left.
        assert!((4..=8).contains(&made), "{made} rounds");
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_gave_up_are_forgotten() {
    let nodes = MockNode::fleet(3);
    let holder = redlock(&nodes);
    let lock = holder.acquire("r", Duration::from_secs(4 * 3600)).await.unwrap();
    for _ in 0..100 {
        let gives_up = redlock(&nodes);
        assert!(gives_up.acquire("r", AcquireOptions::new(TTL).deadline(ms(900))).await.is_err());
        gives_up.close().await.unwrap();
        sleep(ms(80_000)).await;
    }
    for node in &nodes {
        let waiters = node.waiters("r").len();
        assert!(waiters <= 45, "those of the last hour and no more: {waiters}");
    }
    lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_not_polled_does_not_hold_up_the_release() {
    let nodes = with_latencies(&MockNode::fleet(3), [5; 3]);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let mut successor = Box::pin(redlock.acquire("r", patient()));
    assert!(tokio::time::timeout(ms(300), &mut successor).await.is_err());
    let released = tokio::spawn(lock.release());
    tokio::task::yield_now().await;
    // It takes its turn and asks, and then something else is more important.
    assert!(tokio::time::timeout(Duration::ZERO, &mut successor).await.is_err());
    assert_eq!(released.await.unwrap().unwrap(), Release::Released);
    successor.await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_went_on_is_told_released_though_nobody_heard_the_answers() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_response_timeout(ms(30))).collect();
    let nodes = with_latencies(&nodes, [1; 3]);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(300)).await;
    nodes[..2].iter().for_each(|node| node.inject(Fault::LoseAnswer));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    drop(waiting.await.unwrap().0);
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_holds_up_the_next_of_the_process_only_once_and_shortly() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // The one that would tell who comes first.
    nodes[0].hang();
    let mut waits = Vec::new();
    for _ in 0..10 {
        lock.release().await.unwrap();
        let released = Instant::now();
        lock = redlock.acquire("r", patient()).await.unwrap();
        waits.push(released.elapsed());
        sleep(ms(100)).await;
    }
    assert!(waits.iter().all(|wait| *wait <= ms(60)), "{waits:?}");
    assert!(waits[6..].iter().all(|wait| *wait <= ms(2)), "{waits:?}");
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_took_is_told_gone_though_the_next_of_the_process_waits() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    nodes.iter().for_each(|node| node.set("r", "another", Some(ms(500))));
    assert_eq!(lock.release().await.unwrap(), Release::AlreadyGone);
    waiting.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_has_expired_and_is_not_dropped_makes_nobody_deaf() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let expired = ours.acquire("r", ms(100)).await.unwrap();
    sleep(ms(200)).await;
    let lock = theirs.acquire("r", Duration::from_secs(3600)).await.unwrap();
    let waiting = waits(&ours);
    // One pause teaches it.
    sleep(PAUSE + ms(100)).await;
    let released = Instant::now();
    lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
    drop(expired);
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_within_a_pause_sleeps_past_no_ttl() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(100)).await;
    // Another has it when its own process gives it back, and is gone.
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(300))));
    drop(lock);
    let dropped = Instant::now();
    let (_lock, taken) = waiting.await.unwrap();
    assert!(taken - dropped < ms(400), "{:?}", taken - dropped);
}

/// A node on which nobody may listen.
#[derive(Debug)]
struct Deaf(MockNode);

#[async_trait::async_trait]
impl LockNode for Deaf {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        self.0.acquire(request).await
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        self.0.extend(request).await
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        self.0.release(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_of_several_keys_is_told_when_all_are_given_back() {
    let deaf = MockNode::fleet(3).into_iter().map(Deaf);
    let deaf = Redlock::builder().nodes(deaf).clock(TokioClock::default()).build().unwrap();
    for redlock in [redlock(&MockNode::fleet(3)), deaf] {
        let all = redlock.acquire_all(["a", "b", "c"], TTL).await.unwrap();
        let waiting = ["a", "b"].map(|key| {
            let redlock = redlock.clone();
            tokio::spawn(async move { redlock.acquire(key, patient()).await.map(|lock| (lock, Instant::now())) })
        });
        sleep(ms(100)).await;
        let released = Instant::now();
        all.release().await.unwrap();
        for waiting in waiting {
            let (_lock, taken) = waiting.await.unwrap().unwrap();
            assert_eq!(taken, released);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_goes_on_within_its_process_was_released_however_slow_the_nodes_are() {
    // So short that the node timeout is not much longer than the nodes take.
    let ttl = ms(3000);
    for latency in (24..40).map(ms) {
        let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(latency)).collect();
        let redlock = redlock(&nodes);
        for _ in 0..5 {
            let lock = redlock.acquire("r", ttl).await.unwrap();
            let next = tokio::spawn({
                let redlock = redlock.clone();
                async move { redlock.acquire("r", ttl).await.map(drop) }
            });
            sleep(ms(300)).await;
            // It may give up waiting for the next one's request, and then comes behind it.
            assert_eq!(lock.release().await.unwrap(), Release::Released, "{latency:?}");
            next.await.unwrap().unwrap();
            sleep(ms(500)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_woken_for_nothing_and_leaves_passes_that_on() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(10))).collect();
    let [first, second, third] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let lock = first.acquire("r", TTL).await.unwrap();
    let mut waiting = wait_in_order(&[&second, &third]).await;
    sleep(ms(200)).await;
    lock.release().await.unwrap();
    // Before the second, which is woken, another has it on a quorum; it wakes nobody when it goes.
    nodes[..2].iter().for_each(|node| node.set("r", "another", None));
    sleep(ms(300)).await;
    nodes.iter().for_each(|node| node.remove("r"));
    waiting.remove(0).abort();
    let left = Instant::now();
    let (_lock, taken) = waiting.remove(0).await.unwrap();
    assert!(taken - left < ms(100), "{:?}", taken - left);
}
