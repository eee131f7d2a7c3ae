//! Ends a command that is silent for too long, since it hangs: a run of all tests must end by itself.

use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a test, or the compilation of a crate, may be silent.
pub(crate) const BOUND: Duration = Duration::from_secs(600);

/// Watches the output of one command.
pub(crate) struct Silence {
    heard: Sender<()>,
    watch: JoinHandle<bool>,
}

impl Silence {
    /// Ends the process group of `leader` after this much silence.
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

    /// Records that the command has printed something.
    pub(crate) fn is_broken(&self) {
        // If nobody receives it, the command is being ended.
        let _ = self.heard.send(());
    }

    /// Returns whether the silence was too long.
    pub(crate) fn was_too_long(self) -> bool {
        drop(self.heard);
        self.watch.join().unwrap_or(false)
    }
}
