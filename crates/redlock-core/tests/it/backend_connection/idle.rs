//! A connection that has been idle for long, and that the path may have forgotten.

use std::sync::Arc;

use redlock_core::backend::{Connection, Node};
use tokio::time::{Instant, sleep};

use super::{Client, Fake, Fate, call, node};
use crate::support::ms;

/// A node whose connection has been idle for a minute. The first connect of the fake is used up.
async fn idle(fake: &Fake) -> Node<Client> {
    let node = node(fake);
    assert_eq!(call(&node).await, Ok(false));
    sleep(ms(60_000)).await;
    node
}

#[tokio::test(start_paused = true)]
async fn a_command_over_a_connection_that_the_path_forgot_is_sent_again_at_once() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Silence, Fate::Silence, Fate::Silence]);
    let started = Instant::now();
    // All of them share one new connection.
    let calls = tokio::join!(call(&node), call(&node), call(&node));
    assert_eq!(calls, (Ok(true), Ok(true), Ok(true)));
    assert_eq!((started.elapsed(), fake.counts()), (ms(3), (2, 7)));
    assert_eq!(call(&node).await, Ok(false));
    // The task of the old connection ends when it runs next.
    sleep(ms(1)).await;
    assert_eq!((fake.counts(), fake.open().len()), ((2, 8), 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_and_answers_is_kept() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(3), true))]);
    let node = idle(&fake).await;
    let before = fake.open();
    fake.fates([Fate::Late(ms(2))]);
    assert_eq!(call(&node).await, Ok(false));
    sleep(ms(10)).await;
    assert!(matches!((&fake.open()[..], &before[..]), ([now], [before]) if Arc::ptr_eq(now, before)));
    // It is idle no longer.
    assert_eq!((call(&node).await, fake.counts()), (Ok(false), (2, 3)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_or_without_an_idle_limit_has_no_successor() {
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
async fn a_connection_that_was_idle_is_waited_for_if_there_is_no_other() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(1), false))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Late(ms(900))]);
    assert_eq!((call(&node).await, fake.counts()), (Ok(false), (2, 2)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_idle_and_broke_is_replaced_by_the_one_that_is_on_its_way() {
    let fake = Fake::default();
    fake.connects([Some((ms(0), true)), Some((ms(5), true))]);
    let node = idle(&fake).await;
    fake.fates([Fate::Break]);
    assert_eq!((call(&node).await, fake.counts()), (Ok(true), (2, 3)));
}
