//! The command: a process, and all processes in its group.

use std::{ffi::OsString, fs::File, io, process::ExitStatus, time::Duration};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, kill_process, kill_process_group,
        test_kill_process_group, waitid,
    },
    termios::tcgetpgrp,
};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use super::{dead, signals::Signals, start::start};
use crate::{exit::Exit, failure::Failure};

/// A command that runs.
#[derive(Debug)]
pub(super) struct Command {
    child: Child,
    pid: Pid,
    /// Whether it leads a process group of its own.
    leads: bool,
    /// The terminal, if this process has one and the command is in the same group: then the terminal sends its signals
    /// to both.
    terminal: Option<File>,
}

impl Command {
    /// Starts a command with the standard input, output and error of this process.
    pub(super) fn start(
        words: &[OsString],
        environment: &[(&str, Option<String>)],
        leads: bool,
    ) -> Result<Self, Failure> {
        let started = start(words, environment, leads)?;
        let pid = started.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new(Exit::FAILED, "the command has no process id"))?;
        // Regardless of standard input, the keys of a terminal reach all processes in its foreground group.
        let terminal = if leads { None } else { File::open("/dev/tty").ok() };
        Ok(Self { child: started, pid, leads, terminal })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Returns whether it leads a process group of its own.
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Waits until the command has ended. Processes that it has started may continue.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Sends a signal to the command, and to its process group if it leads one. Returns whether that is permitted; a
    /// command that has ended is not an error.
    #[must_use]
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let mut is_permitted = !self.leads || kill_process_group(self.pid, signal) != Err(Errno::PERM);
        // Once it was waited for, its process ID may belong to another process.
        let is_there = self.child.id().is_some();
        if is_there && (!self.leads || has_left(self.pid)) {
            is_permitted &= kill_process(self.pid, signal) != Err(Errno::PERM);
        }
        is_permitted
    }

    /// Forwards a signal that this process got. Returns whether that is permitted.
    #[must_use]
    pub(super) fn pass_on(&self, signal: Signal) -> bool {
        // For the keys Ctrl-C and Ctrl-\ and a new window size, the terminal has sent the signal to the command
        // already.
        let of_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal);
        match signal {
            _ if of_terminal && self.is_in_foreground() => true,
            _ if Signals::ENDING.contains(&signal) => self.tell_to_end(signal),
            _ => self.signal(signal),
        }
    }

    /// Returns whether the terminal sends its signals to this process and to the command alike.
    fn is_in_foreground(&self) -> bool {
        let foreground = self.terminal.as_ref().and_then(|terminal| tcgetpgrp(terminal).ok());
        foreground == Some(getpgrp())
    }

    /// Sends a signal that ends the command. A command that is stopped has to continue to handle it.
    #[must_use]
    pub(super) fn tell_to_end(&self, signal: Signal) -> bool {
        let is_permitted = self.signal(signal);
        self.signal(Signal::CONT) && is_permitted
    }

    /// Returns whether the command is stopped because it wants to use the terminal, which is reserved for the
    /// foreground group.
    pub(super) fn wants_terminal(&self) -> bool {
        // Peek: the status remains available to later calls.
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let by = waitid(WaitId::Pid(self.pid), look).ok().flatten().and_then(|status| status.stopping_signal());
        by.is_some_and(|by| [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&by))
    }

    /// Ends what the command has left in its group: by SIGTERM, and by SIGKILL after this time.
    pub(super) async fn sweep(&self, grace: Duration) -> Swept {
        if !self.leads || !self.has_members() {
            return Swept::Clean;
        }
        if !self.tell_to_end(Signal::TERM) {
            return Swept::Left;
        }
        if self.gone_within(grace).await {
            return Swept::Ended;
        }
        if self.signal(Signal::KILL) && self.gone_within(Duration::from_secs(1)).await {
            Swept::Killed
        } else {
            Swept::Left
        }
    }

    async fn gone_within(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        while self.has_members() {
            if Instant::now() >= until {
                return false;
            }
            sleep(pause.min(until.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        true
    }

    fn has_members(&self) -> bool {
        // Dead processes count until their parent has waited for them, and some parents never do.
        test_kill_process_group(self.pid) != Err(Errno::SRCH) && !dead::are_all_of(self.pid)
    }
}

/// Returns whether a process that has led a group has moved to another one.
pub(super) fn has_left(leader: Pid) -> bool {
    getpgid(Some(leader)).is_ok_and(|group| group != leader)
}

/// The processes that were left in the command's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    /// No processes.
    Clean,
    /// Processes that ended after SIGTERM.
    Ended,
    /// Processes that had to be killed.
    Killed,
    /// Processes that this one may not signal.
    Left,
}
