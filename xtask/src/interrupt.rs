//! Handles interrupts: they end the running commands, so that the main thread can clean up, print the summary and exit.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
};

use anyhow::Result;
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
static LISTENS: AtomicBool = AtomicBool::new(true);

/// From now on SIGINT, SIGTERM and SIGHUP end the process groups of the running commands instead of this program:
/// gently the first time, at once the second time.
pub(crate) fn listen() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        for signal in signals.forever().filter(|_| LISTENS.load(Ordering::SeqCst)) {
            let first = RECEIVED.swap(signal, Ordering::SeqCst) == 0;
            if first {
                eprintln!("\ninterrupted: ending all commands and cleaning up; interrupt again to end them at once");
            }
            end_groups(if first { Signal::TERM } else { Signal::KILL });
        }
    })?;
    Ok(())
}

/// Returns whether there was an interrupt.
pub(crate) fn is_set() -> bool {
    RECEIVED.load(Ordering::SeqCst) != 0
}

/// Returns 128 plus the signal's number, as in a shell.
pub(crate) fn exit_code() -> ExitCode {
    ExitCode::from(u8::try_from(128 + RECEIVED.load(Ordering::SeqCst)).unwrap_or(u8::MAX))
}

/// Leaves interrupts to a program in the foreground that shares the terminal.
pub(crate) fn leave_to_child() {
    LISTENS.store(false, Ordering::SeqCst);
}

/// As long as this exists, an interrupt ends the process group.
pub(crate) struct Covers(i32);

impl Covers {
    pub(crate) fn group(leader: u32) -> Self {
        let group = i32::try_from(leader).unwrap_or(0);
        groups(|groups| groups.insert(group));
        if is_set() {
            end_groups(Signal::TERM);
        }
        Self(group)
    }
}

impl Drop for Covers {
    fn drop(&mut self) {
        groups(|groups| groups.remove(&self.0));
    }
}

fn end_groups(signal: Signal) {
    for group in groups(|groups| groups.clone()).into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, signal);
    }
}

fn groups<T>(work: impl FnOnce(&mut BTreeSet<i32>) -> T) -> T {
    work(&mut GROUPS.lock().unwrap_or_else(PoisonError::into_inner))
}
