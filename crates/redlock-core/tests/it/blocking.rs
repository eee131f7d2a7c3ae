//! The lock for code without async.

use std::{panic, thread, time::Duration};

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, BuildError, CloseError, ExtendError, LockLost, LockParts, NodesError,
    Release, ReleaseError, ResumeError, Retry, Severity, UnlockError, UsingError,
    blocking::{Lock, Permit, Redlock},
};
use redlock_mock::MockNode;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{self, LocalSet},
};

use crate::support::is_free;

const TTL: Duration = Duration::from_secs(10);

fn fleet() -> (Vec<MockNode>, Redlock) {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::new(nodes.clone()).unwrap();
    (nodes, redlock)
}

#[test]
fn a_lock_is_acquired_extended_and_released() {
    let (nodes, redlock) = fleet();
    let mut lock = redlock.acquire("r", TTL).unwrap();
    assert!(redlock.try_acquire("r", TTL).unwrap().is_none());
    assert!(lock.extend(2 * TTL).unwrap() > TTL);
    assert_eq!((lock.resource(), lock.check().is_ok()), ("r", true));
    assert!(format!("{lock:?}").starts_with("Lock { resource: "), "{lock:?}");
    assert_eq!(lock.release().unwrap(), Release::Released);
    let both = redlock.acquire(["a", "b"], TTL).unwrap();
    assert!(redlock.try_acquire(["b", "c"], TTL).unwrap().is_none());
    drop(both);
    redlock.close().unwrap();
    assert!(is_free(&nodes));
}

#[test]
fn a_lock_is_extended_automatically_between_calls() {
    let (_, redlock) = fleet();
    let ttl = Duration::from_secs(3);
    let lock = redlock.acquire("r", AcquireOptions::new(ttl).auto_extend(AutoExtend::default())).unwrap();
    thread::sleep(ttl * 3 / 2);
    lock.check().unwrap();
    assert_eq!(lock.release().unwrap(), Release::Released);
}

#[test]
fn using_runs_work_under_a_lock() {
    let (nodes, redlock) = fleet();
    assert_eq!(redlock.using("r", TTL, |lock| Ok::<_, UsingError>(lock.resource().len())).unwrap(), 1);
    let taken = redlock.acquire("r", TTL).unwrap();
    let once = AcquireOptions::new(TTL).retry(Retry::never());
    let error = redlock.using("r", once, |_| Ok(())).unwrap_err();
    assert!(matches!(error, UsingError::Acquire(error) if error.is_contended()));
    let _ = taken.release().unwrap();
    let forgets = |_: &Lock| {
        nodes.iter().for_each(|node| node.remove("r"));
        Ok(())
    };
    let error = redlock.using("r", TTL, forgets).unwrap_err();
    assert!(matches!(error, UsingError::Lost(LockLost::NotHeld { .. })), "{error}");
    let panics = |_: &Lock| -> Result<(), UsingError> { panic!("at work") };
    let panicked = panic::catch_unwind(panic::AssertUnwindSafe(|| redlock.using("r", TTL, panics)));
    assert!(panicked.is_err());
    redlock.close().unwrap();
    assert!(is_free(&nodes));
}

#[test]
fn lost_waits_until_the_lock_is_lost() {
    let (_, redlock) = fleet();
    let lock = redlock.acquire("r", Duration::from_millis(200)).unwrap();
    assert!(matches!(lock.lost(), Ok(LockLost::Expired { .. })));
    assert!(lock.check().is_err());
}

#[test]
fn a_permit_is_held_without_async() {
    let (nodes, redlock) = fleet();
    let mut one = redlock.acquire_permit("s", 2, TTL).unwrap();
    let two = redlock.try_acquire_permit("s", 2, TTL).unwrap().unwrap();
    assert_eq!(one.slot() + two.slot(), 1);
    assert!(redlock.try_acquire_permit("s", 2, TTL).unwrap().is_none());
    assert_eq!(redlock.inspect_permits("s").unwrap().holders().count(), 2);
    assert!(one.extend(2 * TTL).is_ok() && one.check().is_ok());
    let slot = two.slot();
    let two = Permit::try_from(redlock.resume(two.into_parts().unwrap()).unwrap()).unwrap();
    assert_eq!(two.slot(), slot);
    for permit in [one, two] {
        assert_eq!(permit.release().unwrap(), Release::Released);
    }
    redlock.close().unwrap();
    assert!(nodes.iter().all(|node| node.resources() == ["{s}:permits"]));
}

#[test]
fn within_async_code_every_call_is_an_error_and_nothing_panics() {
    let (nodes, redlock) = fleet();
    let held: Vec<Lock> = ["a", "b"].map(|name| redlock.acquire(name, TTL).unwrap()).into();
    for builder in [Builder::new_current_thread, Builder::new_multi_thread] {
        let sent = nodes[0].requests();
        builder().enable_all().build().unwrap().block_on(async {
            let error = redlock.acquire("r", TTL).unwrap_err();
            assert!(matches!(error, AcquireError::WithinAsync(_)), "{error}");
            assert!(error.to_string().contains("within async code"), "{error}");
            assert!(matches!(
                redlock.using("r", TTL, |_| Ok(())),
                Err(UsingError::Acquire(AcquireError::WithinAsync(_)))
            ));
        });
        assert_eq!(nodes[0].requests(), sent);
    }
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut held = held.into_iter();
        let mut lock = held.next().unwrap();
        assert!(matches!(lock.extend(TTL), Err(ExtendError::WithinAsync(_))));
        assert!(lock.lost().is_err());
        assert!(matches!(redlock.check_nodes(), Err(NodesError::WithinAsync(_))));
        assert!(matches!(redlock.close(), Err(CloseError::WithinAsync(_))));
        let parts = LockParts::new(["c"], &"5".repeat(40), TTL).unwrap();
        let error = redlock.resume(parts).unwrap_err();
        assert!(matches!(error, ResumeError::WithinAsync { .. }) && error.into_parts().is_some());
        assert!(matches!(lock.release(), Err(ReleaseError::WithinAsync(_))));
        drop(held);
        // This also drops the runtime behind it.
        let (_, other) = fleet();
        drop(other);
    });
    redlock.close().unwrap();
    assert!(is_free(&nodes));
}

/// Checks that a blocking call works here.
fn works(redlock: &Redlock) {
    let lock = redlock.acquire("r", TTL).unwrap();
    assert!(redlock.try_acquire("r", TTL).unwrap().is_none());
    assert_eq!(lock.release().unwrap(), Release::Released);
}

fn refuses(redlock: &Redlock) {
    assert!(matches!(redlock.acquire("r", TTL), Err(AcquireError::WithinAsync(_))));
}

fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()]
        .map(|mut builder| builder.enable_all().build().unwrap())
}

#[test]
fn a_blocking_call_works_wherever_tokio_lets_a_thread_block() {
    let (_, redlock) = fleet();
    for runtime in runtimes() {
        let here = redlock.clone();
        runtime.block_on(async { task::spawn_blocking(move || works(&here)).await }).unwrap();
        let _guard = runtime.enter();
        works(&redlock);
    }
    let [_, multi_thread] = runtimes();
    multi_thread.block_on(async {
        task::block_in_place(|| works(&redlock));
        let here = redlock.clone();
        multi_thread.spawn(async move { task::block_in_place(|| works(&here)) }).await.unwrap();
        // `block_in_place` on a thread that is not a worker lets that thread block until the current poll ends.
        task::yield_now().await;
        refuses(&redlock);
    });
}

#[test]
fn a_blocking_call_is_refused_wherever_it_would_stop_a_runtime() {
    let (nodes, redlock) = fleet();
    for runtime in runtimes() {
        runtime.block_on(async {
            let here = redlock.clone();
            task::spawn(async move { refuses(&here) }).await.unwrap();
            // At any depth, and whatever was polled before.
            tokio::select! {
                () = async { (0..300).for_each(|_| refuses(&redlock)) } => {}
                () = std::future::pending() => {}
            }
            let local = LocalSet::new();
            let here = redlock.clone();
            local.spawn_local(async move { refuses(&here) });
            local.run_until(async { refuses(&redlock) }).await;
            local.await;
            // A thread of `spawn_blocking` that drives its own runtime.
            let here = redlock.clone();
            task::spawn_blocking(move || {
                Handle::current().block_on(async { refuses(&here) });
                runtimes().iter().for_each(|runtime| runtime.block_on(async { refuses(&here) }));
                LocalSet::new().block_on(&runtimes()[0], async { refuses(&here) });
                works(&here);
            })
            .await
            .unwrap();
        });
    }
    assert!(is_free(&nodes));
}

#[test]
fn a_blocking_call_never_panics_where_async_code_cannot_be_detected() {
    let (_, redlock) = fleet();
    for runtime in runtimes() {
        runtime.block_on(task::unconstrained(async { works(&redlock) }));
    }
    // Acquires a lock when it is dropped, which the runtime does as it ends, outside any poll.
    struct Leaves(Redlock);
    impl Drop for Leaves {
        fn drop(&mut self) {
            let _ = self.0.acquire("r", TTL).map(|lock| lock.release().is_ok());
        }
    }
    for runtime in runtimes() {
        let leaves = Leaves(redlock.clone());
        runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(leaves);
        });
        runtime.block_on(task::yield_now());
    }
}

#[test]
fn an_async_redlock_can_be_converted_into_a_blocking_one() {
    let async_one = redlock_core::Redlock::builder().nodes(MockNode::fleet(5)).retry(Retry::never()).build().unwrap();
    let redlock: Result<Redlock, BuildError> = async_one.try_into();
    let _ = redlock.unwrap().acquire("r", TTL).unwrap().release().unwrap();
}

#[test]
fn a_name_is_unlocked_by_the_thread_that_locked_it() {
    let (nodes, redlock) = fleet();
    let named = redlock.named();
    assert!(named.lock("r", TTL).unwrap() > TTL / 2);
    let elsewhere = named.clone();
    let error = thread::spawn(move || elsewhere.unlock("r").unwrap_err()).join().unwrap();
    assert!(matches!(error, UnlockError::HeldByAnother { .. }), "{error}");
    assert_eq!(named.unlock("r").unwrap(), Release::Released);
    named.lock("a", TTL).unwrap();
    named.lock("b", TTL).unwrap();
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(matches!(named.unlock("a"), Err(UnlockError::WithinAsync(_))));
        assert!(named.release_all().is_err());
    });
    assert_eq!((named.count(), named.release_all().unwrap().len()), (2, 2));
    assert!(is_free(&nodes));
}

#[test]
fn a_lock_can_be_inspected() {
    let (_, redlock) = fleet();
    assert_eq!((redlock.is_locked("r").unwrap(), redlock.remaining("r").unwrap()), (false, None));
    let lock = redlock.acquire("r", TTL).unwrap();
    let inspection = redlock.inspect("r").unwrap();
    assert_eq!(inspection.holder().unwrap().value(), lock.token().as_bytes());
    assert!(redlock.is_locked("r").unwrap() && redlock.remaining("r").unwrap() > Some(TTL / 2));
}

#[test]
fn nodes_can_be_checked() {
    let (nodes, redlock) = fleet();
    assert_eq!(redlock.check_nodes().unwrap().findings(), []);
    nodes[0].stop();
    assert!(redlock.check_nodes().unwrap().fail_on(Severity::Error).is_err());
}

#[test]
fn a_lock_can_be_resumed_in_another_process() {
    let (nodes, here) = fleet();
    let there = Redlock::new(nodes.clone()).unwrap();
    let lock = there.resume(here.acquire("r", TTL).unwrap().into_parts().unwrap()).unwrap();
    assert!(lock.validity() > TTL / 2);
    assert_eq!(lock.release().unwrap(), Release::Released);
    assert!(is_free(&nodes));
}
