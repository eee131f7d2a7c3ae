//! Leader election: one process leads at a time, another takes over when it stops, and a lock that is lost ends the
//! term.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use redlock_core::{AcquireError, AcquireOptions, FencingToken};
use redlock_mock::{Memory, MockNode};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{ms, redlock};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn one_process_leads_at_a_time_and_each_term_has_a_greater_number() {
    let nodes = MockNode::fleet(3);
    let leading = Arc::new(AtomicUsize::new(0));
    let terms: Vec<_> = (0..4)
        .map(|_| {
            let (redlock, leading) = (redlock(&nodes), Arc::clone(&leading));
            tokio::spawn(async move {
                let led = redlock.lead("r", TTL, async |lock| {
                    assert_eq!(leading.fetch_add(1, Ordering::SeqCst), 0, "two leaders");
                    sleep(20 * TTL).await;
                    leading.fetch_sub(1, Ordering::SeqCst);
                    ControlFlow::Break((lock.fencing_token(), Instant::now()))
                });
                led.await.unwrap()
            })
        })
        .collect();
    let mut ended = Vec::new();
    for term in terms {
        ended.push(term.await.unwrap());
    }
    ended.sort_by_key(|(_, at)| *at);
    let numbers: Vec<FencingToken> = ended.iter().map(|(number, _)| number.unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    assert!(nodes.iter().all(|node| node.peek("r").is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_loses_its_lock_stops_and_leads_again_later() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let terms = AtomicUsize::new(0);
    let stopped = redlock.lead("r", TTL, async |lock| {
        if terms.fetch_add(1, Ordering::SeqCst) == 2 {
            return ControlFlow::Break(lock.resource().to_owned());
        }
        nodes.iter().for_each(MockNode::stop);
        let nodes = nodes.clone();
        tokio::spawn(async move {
            sleep(3 * TTL).await;
            nodes.iter().for_each(|node| node.start(Memory::Kept));
        });
        std::future::pending().await
    });
    assert_eq!(stopped.await.unwrap(), "r");
}

#[tokio::test(start_paused = true)]
async fn a_term_that_ends_normally_is_followed_by_another_after_a_pause() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let (begun, terms) = (Instant::now(), AtomicUsize::new(0));
    let stopped = redlock.lead("r", TTL, async |_| match terms.fetch_add(1, Ordering::SeqCst) {
        4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    stopped.await.unwrap();
    assert!(begun.elapsed() >= ms(4_000));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_releases_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let leads = redlock.lead("r", TTL, async |_| -> ControlFlow<()> { std::future::pending().await });
    assert!(timeout(5 * TTL, leads).await.is_err());
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("r").is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_error_that_no_retry_can_cure_ends_the_call() {
    let redlock = redlock(&MockNode::fleet(3));
    let error = redlock.lead("", TTL, async |_| ControlFlow::Break(())).await.unwrap_err();
    assert!(matches!(error, AcquireError::Resource(_)), "{error}");
    let without = AcquireOptions::new(TTL).fencing(false);
    let number = redlock.lead("r", without, async |lock| ControlFlow::Break(lock.fencing_token())).await;
    assert_eq!(number.unwrap(), None);
}
