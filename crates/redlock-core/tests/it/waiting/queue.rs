//! The wait queue: the order of waiters, and how they leave it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireError, AcquireOptions, Release, Retry};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

use super::{PAUSE, Rounds, TTL, patient, requests, wait_in_order, waits, with_latencies};
use crate::support::{builder, ms, redlock};

#[tokio::test(start_paused = true)]
async fn waiters_of_several_processes_get_the_lock_in_the_order_of_arrival() {
    let nodes = MockNode::fleet(3);
    let processes: Vec<_> = (0..5).map(|_| redlock(&nodes)).collect();
    let mut lock = processes[0].acquire("r", TTL).await.unwrap();
    let waiting = wait_in_order(&processes[1..].iter().collect::<Vec<_>>()).await;
    for next in waiting {
        assert!(!next.is_finished());
        let released = Instant::now();
        let _ = lock.release().await.unwrap();
        let taken;
        (lock, taken) = next.await.unwrap();
        assert_eq!(taken, released);
        sleep(ms(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_of_one_process_get_the_lock_in_order_and_only_one_sends_requests() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let waiting = wait_in_order(&[&redlock; 4]).await;
    // The first one sends a round: its own process has the lock and will notify it. All nodes have refused, so that
    // there is nothing to release.
    assert_eq!(requests(&nodes), nodes.len() * (1 + 1));
    for next in waiting {
        let before = requests(&nodes);
        assert!(!next.is_finished());
        let released = Instant::now();
        assert_eq!(lock.release().await.unwrap(), Release::Released);
        let taken;
        (lock, taken) = next.await.unwrap();
        assert_eq!(taken, released);
        assert_eq!(requests(&nodes) - before, nodes.len(), "one round trip: the lock is handed off to the next");
    }
    let _ = lock.release().await.unwrap();
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
            let _ = lock.release().await.unwrap();
            sleep(ms(20)).await;
            assert!(of_other.is_finished() && !next.is_finished());
            break;
        }
        let _ = lock.release().await.unwrap();
        (lock, _) = next.await.unwrap();
    }
    let _ = of_other.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_died_is_skipped() {
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
    // With everything that it holds, and its connections.
    dies.abort();
    sleep(ms(20)).await;
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gave_up_does_not_delay_the_next() {
    let nodes = MockNode::fleet(3);
    let [first, second, third] = [(); 3].map(|()| redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let impatient = patient().timeout(ms(500));
    let gives_up = tokio::spawn({
        let second = second.clone();
        async move { second.acquire("r", impatient).await }
    });
    sleep(ms(20)).await;
    let waiting = waits(&third);
    assert!(matches!(gives_up.await.unwrap(), Err(AcquireError::TimedOut(_))));
    // Its last requests are released.
    sleep(ms(20)).await;
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    assert_eq!(waiting.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_waiter_is_replaced_by_the_next_of_its_process() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let mut waiting = wait_in_order(&[&second, &second]).await;
    let next = waiting.pop().unwrap();
    waiting.pop().unwrap().abort();
    sleep(ms(20)).await;
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    assert_eq!(next.await.unwrap().1, released);
}

#[tokio::test(start_paused = true)]
async fn an_unpolled_waiter_at_the_head_of_the_queue_does_not_block_a_free_lock() {
    let nodes = MockNode::fleet(3);
    let (ours, theirs) = (redlock(&nodes), redlock(&nodes));
    let lock = theirs.acquire("r", TTL).await.unwrap();
    let sleeps = ours.acquire("r", patient());
    tokio::pin!(sleeps);
    // It is polled until it waits, and then no more.
    assert!(tokio::time::timeout(ms(20), &mut sleeps).await.is_err());
    let waiting = waits(&ours);
    sleep(ms(20)).await;
    let _ = lock.release().await.unwrap();
    let released = Instant::now();
    let (lock, taken) = waiting.await.unwrap();
    assert!(taken - released <= 4 * PAUSE, "{:?}", taken - released);
    let _ = lock.release().await.unwrap();
    drop(sleeps.await.unwrap());
}

/// Counts how often one process acquires the lock again and again, at about a millisecond from the nodes, while another
/// process waits for it.
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
            let _ = lock.release().await.unwrap();
        }
    });
    sleep(ms(25)).await;
    let before = taken.load(Ordering::SeqCst);
    let _ = waiter.acquire("r", patient()).await.unwrap().release().await.unwrap();
    greedy.abort();
    taken.load(Ordering::SeqCst) - before
}

#[tokio::test(start_paused = true)]
async fn a_process_that_reacquires_at_once_does_not_starve_a_waiter_farther_away() {
    for near in [[1, 1, 1], [5, 1, 1], [1, 5, 5]] {
        let passed_by = passed_by(near, [8, 8, 8]).await;
        assert!(passed_by <= 6, "{passed_by} times, {near:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_majority_that_is_down_is_queried_no_more_often_than_the_policy_allows() {
    let nodes = with_latencies(&MockNode::fleet(3), [1; 3]);
    let (in_first, in_second) = (Rounds::default(), Rounds::default());
    let [first, second] =
        [&in_first, &in_second].map(|rounds| builder(&nodes).observer(rounds.clone()).build().unwrap());
    // Both can be notified, and have waited recently.
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(ms(100)).await;
    let _ = lock.release().await.unwrap();
    let _ = waiting.await.unwrap().0.release().await.unwrap();
    nodes[1..].iter().for_each(MockNode::stop);
    let policy = AcquireOptions::new(TTL).retry(Retry::attempts(4).fixed(ms(300)).jitter(Duration::ZERO));
    let before = [in_first.count(), in_second.count()];
    let (one, other) = tokio::join!(first.acquire("r", policy.clone()), second.acquire("r", policy));
    // The last answers of the remaining node arrive.
    sleep(ms(10)).await;
    for (acquired, made) in [(one, in_first.count() - before[0]), (other, in_second.count() - before[1])] {
        assert!(acquired.is_err(), "two of three nodes are down");
        // One round per attempt, and those that a round of the other process cost it on the remaining node.
        assert!((4..=8).contains(&made), "{made} rounds");
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_that_gave_up_are_forgotten() {
    let nodes = MockNode::fleet(3);
    let holder = redlock(&nodes);
    let lock = holder.acquire("r", Duration::from_secs(4 * 3600)).await.unwrap();
    for _ in 0..100 {
        let gives_up = redlock(&nodes);
        assert!(gives_up.acquire("r", AcquireOptions::new(TTL).timeout(ms(900))).await.is_err());
        gives_up.close().await.unwrap();
        sleep(ms(80_000)).await;
    }
    for node in &nodes {
        let waiters = node.waiters("r").len();
        assert!(waiters <= 45, "only the waiters of the last hour: {waiters}");
    }
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn processes_that_waited_in_vain_leave_the_waiters_of_every_node() {
    let nodes = MockNode::fleet(3);
    let lock = redlock(&nodes).acquire("r", Duration::from_secs(3600)).await.unwrap();
    for _ in 0..150 {
        let gives_up = redlock(&nodes);
        // Longer than a pause: it has polled, and joined the waiters of every node.
        assert!(gives_up.acquire("r", AcquireOptions::new(TTL).timeout(ms(900))).await.is_err());
        gives_up.close().await.unwrap();
    }
    assert_eq!(nodes.iter().map(|node| node.waiters("r").len()).collect::<Vec<_>>(), [0; 3]);
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_leaves_the_waiters_of_every_node() {
    let nodes = with_latencies(&MockNode::fleet(3), [1; 3]);
    let lock = redlock(&nodes).acquire("r", Duration::from_secs(3600)).await.unwrap();
    // At any time: within a round, while the round is released, and in a pause.
    for cancelled in (0..40).map(|step| PAUSE + ms(step / 4)).chain([ms(100)]) {
        let waiter = redlock(&nodes);
        let call = waiter.acquire("r", AcquireOptions::new(TTL).retry(Retry::default().unlimited().fixed(PAUSE)));
        assert!(tokio::time::timeout(cancelled, call).await.is_err());
        waiter.close().await.unwrap();
        let waiting: Vec<_> = nodes.iter().map(|node| node.waiters("r").len()).collect();
        assert_eq!(waiting, [0; 3], "cancelled after {cancelled:?}");
    }
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_wins_after_polling_leaves_the_waiters_of_every_node() {
    let nodes = MockNode::fleet(3);
    let (first, second) = (redlock(&nodes), redlock(&nodes));
    let lock = first.acquire("r", TTL).await.unwrap();
    let waiting = waits(&second);
    sleep(PAUSE + ms(100)).await;
    let _ = lock.release().await.unwrap();
    let _ = waiting.await.unwrap().0.release().await.unwrap();
    second.close().await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.waiters("r").len()).collect::<Vec<_>>(), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_goes_back_blocks_no_waiter() {
    let nodes = MockNode::fleet(3);
    let [first, second, third] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let lock = first.acquire("r", TTL).await.unwrap();
    let dies = waits(&second);
    sleep(ms(20)).await;
    // It is notified, and gone before it can try. Then the clock goes back by a day.
    dies.abort();
    nodes[0].set_waiter("r", "notified", -(1_800_000_000_000_000));
    nodes[0].jump_clock(-86_400_000);
    let waiting = waits(&third);
    sleep(ms(20)).await;
    let released = Instant::now();
    let _ = lock.release().await.unwrap();
    let (lock, taken) = waiting.await.unwrap();
    assert_eq!(taken, released);
    let _ = lock.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_arrived_before_the_clock_went_back_is_still_the_first() {
    let nodes = MockNode::fleet(3);
    let [first, second, third] = [redlock(&nodes), redlock(&nodes), redlock(&nodes)];
    let lock = first.acquire("r", Duration::from_secs(60)).await.unwrap();
    let early = waits(&second);
    sleep(ms(20)).await;
    nodes.iter().for_each(|node| node.jump_clock(-3_600_000));
    // It polls.
    sleep(PAUSE).await;
    let late = waits(&third);
    sleep(ms(20)).await;
    let _ = lock.release().await.unwrap();
    sleep(ms(20)).await;
    assert!(early.is_finished() && !late.is_finished());
    let _ = early.await.unwrap().0.release().await.unwrap();
    let _ = late.await.unwrap().0.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_split_vote_next_to_a_hung_node_is_released_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    nodes[0].hang();
    // By then the node is known to fail.
    let _ = redlock.acquire("other", TTL).await.unwrap().release().await.unwrap();
    sleep(ms(3_000)).await;
    let rival = crate::support::redlock(&nodes[2..]).acquire("r", TTL).await.unwrap();
    let waiting = waits(&redlock);
    sleep(ms(60)).await;
    assert!(nodes[1].resources().is_empty(), "it holds a node that others need for a quorum");
    let _ = rival.release().await.unwrap();
    let (lock, _) = waiting.await.unwrap();
    let _ = lock.release().await.unwrap();
    // A call with a single attempt waits for the node anyway.
    let _rival = crate::support::redlock(&nodes[2..]).acquire("r", TTL).await.unwrap();
    let start = Instant::now();
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
    assert!(start.elapsed() >= ms(90), "{:?}", start.elapsed());
}
