//! A connection that has been idle for a minute, so that a middlebox on the path may have dropped its state.

use std::sync::Arc;

use redlock_core::{
    NodeErrorKind,
    backend::{Connection, Node},
};
use tokio::time::{Instant, sleep};

use super::{Client, Fake, Fate, call, node};
use crate::support::ms;

/// Returns a node whose connection has been idle for a minute. The first connect of the fake is used up.
async fn idle(fake: &Fake) -> Node<Client> {
    let node = node(fake);
    assert_eq!(call(&node).await, Ok(false));
    sleep(ms(60_000)).await;
    node
}

#[tokio::test(start_paused = true)]
async fn a_command_over_a_silently_dropped_idle_connection_is_sent_again_soon() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Silence, Fate::Silence, Fate::Silence]);
    let started = Instant::now();
    // All three calls share one new connection.
    let calls = tokio::join!(call(&node), call(&node), call(&node));
    assert_eq!(calls, (Ok(true), Ok(true), Ok(true)));
    assert_eq!((started.elapsed(), fake.counts()), (ms(23), (2, 7)));
    assert_eq!(call(&node).await, Ok(false));
    // The task of the old connection ends when it runs the next time.
    sleep(ms(1)).await;
    assert_eq!((fake.counts(), fake.open().len()), ((2, 8), 1));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_answers_is_kept() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    let before = fake.open();
    fake.fates([Fate::Late(ms(2))]);
    assert_eq!(call(&node).await, Ok(false));
    sleep(ms(10)).await;
    assert!(matches!((&fake.open()[..], &before[..]), ([now], [before]) if Arc::ptr_eq(now, before)));
    // It is no longer idle.
    assert_eq!((call(&node).await, fake.counts()), (Ok(false), (2, 3)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_or_without_an_idle_limit_is_not_replaced() {
    let fake = Fake::default();
    let node = node(&fake);
    for _ in 0..5 {
        assert_eq!(call(&node).await, Ok(false));
        sleep(ms(59_999)).await;
    }
    assert_eq!(fake.counts(), (1, 5));
    let node: Node<Client> = Node::new(Connection::new(fake.clone()).with_idle_limit(None));
    for _ in 0..2 {
        assert_eq!(call(&node).await, Ok(false));
        sleep(ms(3_600_000)).await;
    }
    assert_eq!(fake.counts(), (2, 7));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_awaited_if_connecting_again_fails() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(1), false))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Late(ms(900))]);
    assert_eq!((call(&node).await, fake.counts()), (Ok(false), (2, 2)));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_breaks_is_replaced_by_the_one_being_made() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(5), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Break]);
    assert_eq!((call(&node).await, fake.counts()), (Ok(true), (2, 3)));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_answers_keeps_the_connection_for_those_that_still_wait() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Late(ms(90)), Fate::Late(ms(10))]);
    assert_eq!(tokio::join!(call(&node), call(&node)), (Ok(false), Ok(false)));
    sleep(ms(1)).await;
    assert_eq!((fake.counts(), fake.open().len()), ((2, 3), 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_that_no_command_waits_for_is_closed() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Silence]);
    tokio::time::timeout(ms(5), call(&node)).await.unwrap_err();
    sleep(ms(1)).await;
    assert_eq!((fake.counts(), fake.open().len()), ((2, 2), 1));
    // The next command starts another one, which comes too late.
    assert_eq!((call(&node).await, fake.counts()), (Ok(false), (3, 3)));
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_that_failed_is_tried_again_for_the_next_command() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(1), false)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Silence, Fate::Silence]);
    let first = async { call(&node).await };
    let second = async {
        sleep(ms(20)).await;
        call(&node).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first, second), (Err(NodeErrorKind::Timeout), Ok(true)));
    assert_eq!(fake.counts(), (3, 4));
}
