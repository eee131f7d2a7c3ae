//! The thread behind blocking calls.

use std::{
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::{
    runtime::{Builder, Handle},
    task::consume_budget,
};

use super::running::Running;

/// A runtime with one thread. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Worker(Arc<Running>);

impl Worker {
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("redlock").enable_all().build()?;
        Ok(Self(Arc::new(Running::new(runtime))))
    }

    /// Waits for `work`. Returns `None` if this thread must not block.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        Some(block_on(self.may_wait()?, work))
    }

    /// Returns the runtime on which this thread can wait, or `None` if it polls an async task.
    pub(super) fn may_wait(&self) -> Option<&Handle> {
        self.0.handle().filter(|_| !polls_async_code())
    }
}

/// Drives `work` on this thread, and its timers and connections on the runtime.
///
/// Tokio's own `block_on` panics on every thread that drives a runtime, and [`polls_async_code`] does not recognize all
/// of them.
pub(super) fn block_on<T>(runtime: &Handle, work: impl Future<Output = T>) -> T {
    let _guard = runtime.enter();
    let wake_up = Arc::new(WakeUp { is_due: AtomicBool::new(false), thread: thread::current() });
    let waker = Waker::from(Arc::clone(&wake_up));
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(value) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while !wake_up.is_due.swap(false, Ordering::AcqRel) {
            thread::park();
        }
    }
}

/// Unparks the thread of a blocking call.
struct WakeUp {
    /// The thread may be unparked, and its token used up, for other reasons.
    is_due: AtomicBool,
    thread: Thread,
}

impl Wake for WakeUp {
    fn wake(self: Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Returns whether a Tokio task is being polled on this thread, which would keep other tasks from running.
///
/// Tokio gives each poll of a task a budget, and gives none to a thread that may block, for example in
/// `spawn_blocking`. A task that opted out by `unconstrained` looks like such a thread: there the call blocks, as any
/// blocking code does.
fn polls_async_code() -> bool {
    /// Above every budget of Tokio: 128 in all its versions so far.
    const ABOVE_BUDGET: usize = 1024;
    let mut context = Context::from_waker(Waker::noop());
    Handle::try_current().is_ok() && (0..ABOVE_BUDGET).any(|_| pin!(consume_budget()).poll(&mut context).is_pending())
}
