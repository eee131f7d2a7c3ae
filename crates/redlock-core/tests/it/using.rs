//! Work under a lock: what `using` returns, and that the lock is released in every case.

use std::{error::Error, time::Duration};

use redlock_core::{AcquireOptions, AutoExtend, Lock, LockLost, OnLoss, Retry, UsingError, UsingOptions};
use redlock_mock::MockNode;
use tokio::time::{Instant, sleep};

use crate::support::{
    is_free,
    log::{Log, capture},
    redlock,
};

const TTL: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn the_lock_is_extended_while_the_work_runs_and_released_after_it() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let value = redlock
        .using("r", TTL, async |lock| {
            sleep(20 * TTL).await;
            assert!(lock.check().is_ok());
            assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
            Ok::<_, UsingError>(42)
        })
        .await;
    assert_eq!(value.unwrap(), 42);
    assert!(is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn a_future_that_uses_a_lock_can_be_spawned() {
    let redlock = redlock(&MockNode::fleet(3));
    let name = String::from("r");
    let work = async move {
        let mut seen = 0;
        let used = redlock.using(&name, TTL, async |lock| {
            sleep(TTL).await;
            seen += lock.resource().len();
            Ok::<_, UsingError>(seen)
        });
        used.await
    };
    assert_eq!(tokio::spawn(work).await.unwrap().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_can_hold_several_locks_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let worked = redlock.using(["a", "b"], TTL, async |lock| {
        sleep(5 * TTL).await;
        assert!(redlock.try_acquire("b", TTL).await.unwrap().is_none());
        Ok::<_, UsingError>(lock.resources().len())
    });
    assert_eq!(worked.await.unwrap(), 2);
    assert!(is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn work_does_not_start_without_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let _held = redlock.acquire("r", TTL).await.unwrap();
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    let error = redlock.using("r", once, async |_| -> Result<(), _> { panic!("begun") }).await.unwrap_err();
    assert!(matches!(error, UsingError::Acquire(error) if error.is_contended()));
}

#[tokio::test(start_paused = true)]
async fn when_the_lock_is_lost_the_work_is_dropped() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut ran_until = Instant::now();
    let start = Instant::now();
    let error = redlock
        .using("r", TTL, async |_| {
            nodes[0].stop();
            nodes[1].stop();
            loop {
                ran_until = Instant::now();
                sleep(Duration::from_millis(1)).await;
            }
            #[expect(unreachable_code, reason = "it gives the loop its type")]
            Ok(())
        })
        .await
        .unwrap_err();
    let UsingError::Lost(loss @ LockLost::Expired { last_extend: Some(_), .. }) = error else { panic!("{error}") };
    assert_eq!(loss.to_string(), "the lock on \"r\" is lost: its validity has ended; no quorum extended it");
    assert!(ran_until - start < TTL);
}

#[tokio::test(start_paused = true)]
async fn work_that_is_only_notified_of_the_loss_ends_by_itself() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut told = None;
    let options = UsingOptions::new(TTL).on_loss(OnLoss::Notify);
    let error = redlock
        .using("r", options, async |lock| {
            for node in &nodes {
                node.set("r", "another", None);
            }
            told = Some(lock.lost().await);
            sleep(TTL).await;
            Ok(())
        })
        .await
        .unwrap_err();
    assert!(matches!(told, Some(LockLost::NotHeld { .. })), "{told:?}");
    assert!(matches!(error, UsingError::Lost(LockLost::NotHeld { .. })), "{error}");
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("r").as_deref() == Some(b"another")));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_no_longer_held_when_the_work_ends_is_an_error() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let work = redlock.using("r", TTL, async |_| {
        nodes.iter().for_each(|node| node.remove("r"));
        Ok(())
    });
    let error = work.await.unwrap_err();
    assert!(matches!(error, UsingError::Lost(LockLost::NotHeld { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn work_that_never_ends_loses_its_lock_at_the_maximum_lifetime() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let start = Instant::now();
    let lifetime = Duration::from_secs(60);
    let acquire = AcquireOptions::new(TTL).auto_extend(AutoExtend::default().max_lifetime(lifetime));
    let error = redlock.using("r", acquire, async |_| std::future::pending::<Result<(), _>>().await).await.unwrap_err();
    assert!(matches!(error, UsingError::Lost(LockLost::LifetimeOver { .. })), "{error}");
    assert!(start.elapsed() <= lifetime && start.elapsed() > lifetime - TTL / 10, "{:?}", start.elapsed());
    redlock.close().await.unwrap();
    assert!(is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn work_that_panics_releases_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let works = redlock.clone();
    let work =
        tokio::spawn(
            async move { works.using("r", TTL, async |_| -> Result<(), UsingError> { panic!("at work") }).await },
        );
    assert!(work.await.unwrap_err().is_panic());
    redlock.close().await.unwrap();
    assert!(is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_releases_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let work = redlock.using("r", TTL, async |_| {
        sleep(20 * TTL).await;
        Ok::<_, UsingError>(())
    });
    assert!(tokio::time::timeout(5 * TTL, work).await.is_err());
    redlock.close().await.unwrap();
    assert!(is_free(&nodes));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_too_few_nodes_answer_does_not_discard_the_value() {
    let nodes = MockNode::fleet(3);
    let value = redlock(&nodes)
        .using("r", TTL, async |_| {
            nodes[0].stop();
            nodes[1].stop();
            Ok::<_, UsingError>(42)
        })
        .await;
    assert_eq!(value.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_held_for_the_minimum_time_and_no_longer_whatever_the_ttl() {
    for ttl in [TTL / 10, 6 * TTL] {
        let nodes = MockNode::fleet(3);
        let redlock = redlock(&nodes);
        let began = Instant::now();
        let used = redlock.using("r", UsingOptions::new(ttl).at_least(2 * TTL), async |_| Ok::<_, UsingError>(42));
        let rival = async {
            sleep(2 * TTL - TTL / 10).await;
            redlock.try_acquire("r", TTL).await.unwrap()
        };
        let (value, rival) = tokio::join!(used, rival);
        assert!(value.unwrap() == 42 && rival.is_none());
        assert!(began.elapsed() >= 2 * TTL && began.elapsed() < 2 * TTL + TTL / 10, "{:?}", began.elapsed());
        assert!(is_free(&nodes), "{ttl:?}");

        // Work that takes longer is not delayed.
        let used = redlock.using("r", UsingOptions::new(ttl).at_least(TTL), async |_| {
            sleep(3 * TTL).await;
            Ok::<_, UsingError>(())
        });
        used.await.unwrap();
        assert!(is_free(&nodes) && began.elapsed() < 5 * TTL + TTL / 5, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_counts_only_if_it_happened_before_the_work_ended() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let forget = || {
        nodes.iter().for_each(|node| node.set("r", "another", None));
        Ok(())
    };
    let options = UsingOptions::new(TTL).at_least(9 * TTL);
    let lost = redlock.using("r", options.clone(), async |_| forget()).await;
    assert!(matches!(lost, Err(UsingError::Lost(LockLost::NotHeld { .. }))), "{lost:?}");

    nodes.iter().for_each(|node| node.remove("r"));
    let used = redlock.using("r", options, async |_| Ok::<_, UsingError>(42));
    let later = async {
        sleep(2 * TTL).await;
        forget()
    };
    let (value, _) = tokio::join!(used, later);
    assert_eq!(value.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_may_have_happened_before_the_work_ended_counts() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let used = redlock.using("r", UsingOptions::new(TTL).at_least(9 * TTL), async |_| {
        // Nobody can know anymore whether the lock was held until the end of the work.
        for node in &nodes[1..] {
            node.set("r", "another", None);
            node.hang();
        }
        Ok(())
    });
    let later = async {
        sleep(TTL / 3).await;
        nodes.iter().for_each(MockNode::resume);
    };
    let (used, ()) = tokio::join!(used, later);
    assert!(matches!(used, Err(UsingError::Lost(LockLost::NotHeld { .. }))), "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn the_minimum_hold_time_may_exceed_one_hour() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let at_least = Duration::from_secs(2 * 60 * 60);
    let used = redlock.using("r", UsingOptions::new(TTL).at_least(at_least), async |_| Ok::<_, UsingError>(()));
    let rival = async {
        sleep(at_least - TTL / 10).await;
        redlock.try_acquire("r", TTL).await.unwrap()
    };
    let (used, rival) = tokio::join!(used, rival);
    assert!(used.is_ok() && rival.is_none(), "{used:?}: {rival:?}");
}

#[tokio::test(start_paused = true)]
async fn the_error_of_the_work_is_returned_and_the_lock_released() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let work = async |_: &Lock| -> Result<(), Box<dyn Error>> { Err("the printer is on fire".into()) };
    let error = redlock.using("r", TTL, work).await.unwrap_err();
    assert_eq!(error.to_string(), "the printer is on fire");
    assert!(is_free(&nodes));

    // An error of the lock is returned as the work's error type.
    let _held = redlock.acquire("r", TTL).await.unwrap();
    let error = redlock.using("r", AcquireOptions::new(TTL).retry(Retry::never()), work).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(UsingError::Acquire(error)) if error.is_contended()), "{error}");
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_because_the_lock_is_lost_reports_the_loss() {
    let nodes = MockNode::fleet(3);
    let options = UsingOptions::new(TTL).on_loss(OnLoss::Notify);
    let work = async |lock: &Lock| -> Result<(), UsingError> {
        nodes.iter().for_each(|node| node.remove("r"));
        lock.lost().await;
        lock.check()?;
        Ok(())
    };
    let error = redlock(&nodes).using("r", options, work).await.unwrap_err();
    assert!(matches!(error, UsingError::Lost(LockLost::NotHeld { .. })), "{error}");
}

#[tokio::test(start_paused = true)]
async fn work_that_fails_after_a_loss_reports_its_own_error_and_the_loss_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _log = capture(subscriber);

    let nodes = MockNode::fleet(3);
    let options = UsingOptions::new(TTL).on_loss(OnLoss::Notify);
    let work = async |lock: &Lock| -> Result<(), Box<dyn Error>> {
        nodes.iter().for_each(|node| node.remove("r"));
        lock.lost().await;
        Err("the disk is full".into())
    };
    let error = redlock(&nodes).using("r", options, work).await.unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    assert!(log.text().contains("the work failed, and its lock was lost"), "{}", log.text());
}
