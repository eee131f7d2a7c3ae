//! A command that says nothing for too long hangs, and is ended: a run of all tests must come to its end by itself.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a test, or the compiling of a crate, may be silent.
pub(crate) const BOUND: Duration = Duration::from_secs(600);

/// Listens to one command.
pub(crate) struct Silence {
    heard: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Silence {
    /// Ends the process group of `leader` once nothing was heard of it for so long.
    pub(crate) fn ends(leader: u32, bound: Duration) -> Self {
        let (heard, hears) = channel();
        let watch = thread::spawn(move || {
            loop {
                match hears.recv_timeout(bound) {
                    Ok(()) => {}
                    Err(RecvTimeoutError::Disconnected) => return false,
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
                            let _ = kill_process_group(group, Signal::KILL);
                        }
                        return true;
                    }
                }
            }
        });
        Self { heard, watch }
    }

    /// It has said something.
    pub(crate) fn is_broken(&self) {
        // If nobody hears it, the command is being ended.
        let _ = self.heard.send(());
    }

    /// Whether it was too long.
    pub(crate) fn was_too_long(self) -> bool {
        drop(self.heard);
        self.watch.join().unwrap_or(false)
    }
}
