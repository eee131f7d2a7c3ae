//! One thread with its own runtime, for all work that must outlive a test's runtime.
//!
//! Tests run on runtimes that come and go, some with a paused clock. The client of the container engine, the spawning
//! of processes and the clean-up after an interrupt run here instead, for as long as the program runs.

use std::{
    process,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    runtime::{Builder, Handle},
    signal::unix::{SignalKind, signal},
};

use super::{containers, folder::Folder, processes};

static RUNTIME: OnceLock<Result<Handle, String>> = OnceLock::new();
static AT_WORK: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Carries out `work` in the background and waits for its result.
///
/// After an interrupt it never returns: a test that failed because its servers are gone would end the program before
/// all of them are removed.
pub(super) async fn run<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let handle = runtime()?;
    AT_WORK.fetch_add(1, Ordering::SeqCst);
    let done = handle.spawn(async {
        let result = work.await;
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
        result
    });
    let result = done.await.context("work in the background panicked")?;
    if is_interrupted() {
        std::future::pending::<()>().await;
    }
    result
}

/// Returns whether the program is ending, so that nothing new may be started.
pub(super) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Carries out `work` in the background and blocks until it is done, for use in `Drop`.
pub(super) fn run_to_its_end(work: impl Future<Output = ()> + Send + 'static) {
    let Ok(handle) = runtime() else { return };
    let (done, wait) = mpsc::sync_channel(1);
    AT_WORK.fetch_add(1, Ordering::SeqCst);
    handle.spawn(async move {
        work.await;
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
        let _ = done.send(());
    });
    let _ = wait.recv();
    while is_interrupted() {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Sleeps in real time, whatever the clock of the caller's runtime does.
pub(super) async fn sleep(duration: Duration) -> Result<()> {
    let asleep = runtime()?.spawn(tokio::time::sleep(duration));
    Ok(asleep.await?)
}

fn runtime() -> Result<&'static Handle> {
    let runtime = RUNTIME.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    runtime.as_ref().map_err(|error| anyhow!("the background runtime does not start: {error}"))
}

fn start() -> Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let (ready, wait) = mpsc::sync_channel(1);
    thread::Builder::new().name("test servers".to_owned()).spawn(move || {
        runtime.block_on(async move {
            let signals =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()));
            let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = signals else {
                let _ = ready.send(false);
                return;
            };
            let _ = ready.send(true);
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                _ = hangup.recv() => 1,
            };
            INTERRUPTED.store(true, Ordering::SeqCst);
            clean_up().await;
            process::exit(128 + number);
        });
    })?;
    if wait.recv()? { Ok(handle) } else { Err(anyhow!("signals cannot be listened to")) }
}

/// Removes everything that this process has started. Something that is just being created may appear later, so it
/// repeats this until nothing is in progress and nothing was found twice in a row.
async fn clean_up() {
    let mut quiet = 0;
    for _ in 0..100 {
        let at_work = AT_WORK.load(Ordering::SeqCst);
        processes::kill_own();
        let containers = containers::remove_own().await.unwrap_or_default();
        let folders = Folder::remove_own();
        quiet = if at_work + containers + folders == 0 { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
