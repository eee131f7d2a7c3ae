//! A second process that ends the command should redlock itself be killed, or stand still for too long.

use std::{
    env,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use rustix::{
    process::{Pid, Signal, kill_process, kill_process_group},
    time::{ClockId, clock_gettime},
};
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, ChildStdin, Command as Process},
    time::timeout,
};

use super::{
    command::{Command, has_left},
    signals::Signals,
};
use crate::exit::Exit;

/// How long a word to the other process may take, and the other process to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// The longest wait without a look at the clock, for which suspended time counts.
const LOOK: Duration = Duration::from_millis(250);

/// The other process. Dropped without [`Backstop::done`], as when this process dies, it kills the command.
#[derive(Debug)]
pub(super) struct Backstop {
    process: Child,
    words: ChildStdin,
}

impl Backstop {
    /// Starts it. It knows of no command yet.
    pub(super) fn start() -> io::Result<Self> {
        let mut process = Process::new(this_program()?);
        process.arg("backstop").env_clear().current_dir("/").process_group(0);
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = process.spawn()?;
        let words = process.stdin.take().ok_or_else(|| io::Error::other("it takes no words"))?;
        Ok(Self { process, words })
    }

    /// Tells it what to kill.
    pub(super) async fn guard(&mut self, command: &Command) {
        let what = if command.leads() { "group" } else { "process" };
        self.say(&format!("{what} {}\n", command.pid().as_raw_nonzero())).await;
    }

    /// Tells it that the command may run for so long from now.
    pub(super) async fn allow(&mut self, time: Duration) {
        self.say(&format!("until {}\n", (clock() + time).as_nanos())).await;
    }

    /// Tells it that the command has ended.
    pub(super) async fn done(mut self) {
        self.say("done\n").await;
        let Self { mut process, words } = self;
        drop(words);
        let _ = timeout(PATIENCE, process.wait()).await;
    }

    /// If it is gone, the command goes on without it.
    async fn say(&mut self, word: &str) {
        let _ = timeout(PATIENCE, self.words.write_all(word.as_bytes())).await;
    }
}

/// What the other process does.
pub(crate) fn run() -> Exit {
    // What ends redlock must not end this one before: it ends when its standard input does.
    let _deaf = Signals::listen();
    let (tell, told) = channel();
    thread::spawn(move || {
        let words = io::stdin().lock().lines().map_while(Result::ok);
        words.map_while(|word| Word::read(&word)).try_for_each(|word| tell.send(word))
    });
    if let Some(victim) = watch(&told, clock) {
        match victim {
            Victim::Group(leader) => {
                let _ = kill_process_group(leader, Signal::KILL);
                if has_left(leader) {
                    let _ = kill_process(leader, Signal::KILL);
                }
            }
            Victim::Process(process) => {
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }
    Exit::SUCCESS
}

/// What is to be killed, if anything is, once it is.
fn watch(told: &Receiver<Word>, clock: impl Fn() -> Duration) -> Option<Victim> {
    let (mut victim, mut until) = (None, Duration::MAX);
    loop {
        let left = until.saturating_sub(clock());
        if left.is_zero() {
            return victim;
        }
        match told.recv_timeout(left.min(LOOK)) {
            Ok(Word::Guard(whom)) => victim = Some(whom),
            Ok(Word::Until(time)) => until = time,
            Ok(Word::Done) => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return victim,
        }
    }
}

/// What one process tells the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Guard(Victim),
    /// By the clock that both read.
    Until(Duration),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Group(Pid),
    Process(Pid),
}

impl Word {
    fn read(word: &str) -> Option<Self> {
        let pid = |digits: &str| Pid::from_raw(digits.parse().ok().filter(|pid| *pid > 1)?);
        match word.split_once(' ') {
            Some(("group", digits)) => Some(Self::Guard(Victim::Group(pid(digits)?))),
            Some(("process", digits)) => Some(Self::Guard(Victim::Process(pid(digits)?))),
            Some(("until", digits)) => Some(Self::Until(Duration::from_nanos(digits.parse().ok()?))),
            None if word == "done" => Some(Self::Done),
            _ => None,
        }
    }
}

/// A clock that all processes of this machine share, and that never jumps; suspended time counts where there is such a one.
fn clock() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
}

/// This program, also if its file was replaced meanwhile.
fn this_program() -> io::Result<PathBuf> {
    let of_linux = Path::new("/proc/self/exe");
    if of_linux.exists() { Ok(of_linux.to_owned()) } else { env::current_exe() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(words: &[&str], now: u64) -> Option<Victim> {
        let (tell, told) = channel();
        for word in words {
            tell.send(Word::read(word).unwrap()).unwrap();
        }
        drop(tell);
        watch(&told, || Duration::from_nanos(now))
    }

    fn pid(number: i32) -> Pid {
        Pid::from_raw(number).unwrap()
    }

    #[test]
    fn a_redlock_that_dies_has_its_command_killed_and_one_that_is_done_has_not() {
        assert_eq!(watched(&["group 7"], 0), Some(Victim::Group(pid(7))));
        assert_eq!(watched(&["process 7", "until 9"], 0), Some(Victim::Process(pid(7))));
        assert_eq!(watched(&["group 7", "until 9", "done"], 0), None);
        assert_eq!(watched(&[], 0), None);
    }

    #[test]
    fn the_last_word_counts_and_when_it_is_over_the_command_is_killed() {
        let (tell, told) = channel();
        for word in ["group 7", "until 5", "until 12"] {
            tell.send(Word::read(word).unwrap()).unwrap();
        }
        // One nanosecond passes with each look: it is over at 12, and nobody says that it is done.
        let now = std::cell::Cell::new(0);
        let clock = || {
            now.set(now.get() + 1);
            Duration::from_nanos(now.get())
        };
        assert_eq!(watch(&told, clock), Some(Victim::Group(pid(7))));
        assert_eq!(now.get(), 12);
    }

    #[test]
    fn no_word_names_everybody() {
        for word in ["group 0", "group 1", "group -1", "process -7", "group", "until x", "done 1", ""] {
            assert_eq!(Word::read(word), None, "{word}");
        }
    }
}
