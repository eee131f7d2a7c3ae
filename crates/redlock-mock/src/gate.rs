//! Interrupts a process: pauses everything it does, and drops calls half-way.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker, ready},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use crate::clock::later;

/// Decides before each poll of a process whether it continues.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Instant>,
    /// Pauses that begin after this many more polls of the process.
    pauses: Vec<(u32, Duration)>,
    /// Calls in flight that are dropped after this many more polls.
    cancellations: Vec<u32>,
    caller: Option<Waker>,
}

impl Gate {
    /// Pauses the process for this time, after this many more polls.
    pub(crate) fn pause(&self, polls: u32, pause: Duration) {
        let mut state = self.state();
        if polls == 0 {
            state.pause(pause);
        } else {
            state.pauses.push((polls, pause));
        }
    }

    /// Drops the call that is in flight after this many more polls of it, or the next call if there is none.
    pub(crate) fn cancel(&self, polls: u32) {
        let mut state = self.state();
        state.cancellations.push(polls);
        if let Some(caller) = state.caller.take() {
            caller.wake();
        }
    }

    /// Runs the process, and counts its polls.
    pub(crate) async fn run<F: Future>(&self, program: F) -> F::Output {
        self.pass(program, State::step).await
    }

    /// Runs a part of the process next to its program, which pauses with it.
    pub(crate) async fn follow<F: Future>(&self, part: F) -> F::Output {
        self.pass(part, |state| state.paused()).await
    }

    /// Waits until the process continues, if it is paused.
    pub(crate) async fn goes_on(&self) {
        loop {
            let Some(until) = self.state().paused() else { return };
            sleep_until(until).await;
        }
    }

    async fn pass<F: Future>(&self, future: F, paused: impl Fn(&mut State) -> Option<Instant>) -> F::Output {
        let mut future = pin!(future);
        let mut pause = pin!(None);
        poll_fn(|cx| {
            while let Some(until) = paused(&mut self.state()) {
                pause.set(Some(sleep_until(until)));
                if let Some(pause) = pause.as_mut().as_pin_mut() {
                    ready!(pause.poll(cx));
                }
            }
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Runs a call, unless a cancellation drops it. Returns `None` then.
    pub(crate) async fn cancellable<F: Future>(&self, call: F) -> Option<F::Output> {
        let mut call = pin!(call);
        poll_fn(|cx| {
            if self.state().cancelled(cx.waker()) {
                return Poll::Ready(None);
            }
            call.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, pause: Duration) {
        let until = later(Instant::now(), pause);
        self.paused_until = self.paused_until.max(Some(until));
    }

    fn paused(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// Counts one more poll. If the process is paused, returns until when instead.
    fn step(&mut self) -> Option<Instant> {
        if let Some(until) = self.paused() {
            return Some(until);
        }
        for (_, pause) in count_down(&mut self.pauses, |(polls, _)| polls) {
            self.pause(pause);
        }
        self.paused()
    }

    fn cancelled(&mut self, caller: &Waker) -> bool {
        self.caller = Some(caller.clone());
        // One call at a time.
        !count_down(&mut self.cancellations, |polls| polls).is_empty()
    }
}

/// Removes and returns what is due, and brings everything else one poll closer.
fn count_down<T>(waiting: &mut Vec<T>, polls: impl Fn(&mut T) -> &mut u32) -> Vec<T> {
    if waiting.is_empty() {
        return Vec::new();
    }
    let due = waiting.extract_if(.., |one| *polls(one) == 0).collect();
    waiting.iter_mut().for_each(|one| *polls(one) -= 1);
    due
}
