//! A second process that ends the command if redlock itself is killed, or stops for too long.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
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

/// The maximum time for a message to the other process, and for the other process to end.
const PATIENCE: Duration = Duration::from_millis(200);

/// The longest wait without checking the clock, for which suspended time counts.
const LOOK: Duration = Duration::from_millis(250);

/// The number of searches for a command that is about to start, one every 10 ms.
const STARTING: u32 = 100;

/// The change of a deadline up to which it counts as unchanged.
const SAME: Duration = Duration::from_millis(10);

/// The other process. If this is dropped without [`Backstop::done`], for example because this process dies, it kills
/// the command.
#[derive(Debug)]
pub(super) struct Backstop {
    process: Child,
    words: ChildStdin,
    /// The deadline that was last sent for the command.
    until: Duration,
}

impl Backstop {
    /// Starts the other process. It knows no command yet.
    pub(super) fn start() -> io::Result<Self> {
        let mut process = Process::new(this_program()?);
        process.arg("backstop").env_clear().current_dir("/").process_group(0);
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = process.spawn()?;
        let words = process.stdin.take().ok_or_else(|| io::Error::other("it takes no words"))?;
        Ok(Self { process, words, until: Duration::ZERO })
    }

    /// Announces a command that is about to start with this token in its environment. This process may die before it
    /// can name the command.
    pub(super) async fn expect(&mut self, token: &str) {
        self.say(&format!("token {token}\n")).await;
    }

    /// Names the command, for the other process to kill it.
    pub(super) async fn guard(&mut self, command: &Command) {
        let what = if command.leads() { "group" } else { "process" };
        self.say(&format!("{what} {}\n", command.pid().as_raw_nonzero())).await;
    }

    /// Allows the command to run for this time from now.
    pub(super) async fn allow(&mut self, time: Duration) {
        let until = clock() + time;
        // Do not repeat a deadline that has hardly changed: a process that is stopped does not read for a long time.
        if until.abs_diff(self.until) >= SAME {
            self.until = until;
            self.say(&format!("until {}\n", until.as_nanos())).await;
        }
    }

    /// Returns its process ID, until it was waited for.
    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.process.id()?).ok()?)
    }

    /// Reports that the command has ended.
    pub(super) async fn done(mut self) {
        self.say("done\n").await;
        let Self { mut process, words, .. } = self;
        drop(words);
        let _ = timeout(PATIENCE, process.wait()).await;
    }

    /// If the other process is gone, the command continues without it.
    async fn say(&mut self, word: &str) {
        // A message is written completely or not at all. If it does not fit, it is never read, and earlier messages
        // must not count any more.
        if timeout(PATIENCE, self.words.write_all(word.as_bytes())).await.is_err() {
            let _ = self.process.start_kill();
        }
    }
}

/// Runs the other process.
pub(crate) fn run() -> Exit {
    // Signals that end redlock must not end this process before: it ends when its standard input does.
    let _deaf = Signals::listen();
    // The name that `ps` shows by default; otherwise it would be the file name `exe`.
    let _ = fs::write("/proc/self/comm", "redlock-watch");
    let mut inbox = Inbox { bytes: Vec::new() };
    if let Some(victim) = watch(|patience| inbox.next(patience), clock) {
        match victim {
            Victim::Started(token) => started(&token),
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

/// Kills the command that has this token in its environment. It may be about to start.
fn started(token: &str) {
    let variable = format!("REDLOCK_TOKEN={token}");
    let has_it = |process: &PathBuf| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|there| there == variable.as_bytes())
    };
    let mut killed = false;
    for _ in 0..STARTING {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()).filter(has_it) {
            let name = process.file_name().unwrap_or_default().to_string_lossy();
            if let Some(pid) = name.parse().ok().and_then(Pid::from_raw) {
                killed |= kill_process(pid, Signal::KILL).is_ok();
            }
        }
        if killed {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until the command has to be killed, and returns it, or `None` if there is nothing to kill. `next` returns the
/// next message of the other process within a time.
fn watch(mut next: impl FnMut(Duration) -> Said, clock: impl Fn() -> Duration) -> Option<Victim> {
    let (mut victim, mut until) = (None, Duration::MAX);
    loop {
        // All messages count before the deadline does: this process may have been stopped.
        match next(until.saturating_sub(clock()).min(LOOK)) {
            Said::Word(Word::Guard(whom)) => victim = Some(whom),
            Said::Word(Word::Until(time)) => until = time,
            Said::Word(Word::Done) => return None,
            Said::Nothing if clock() < until => {}
            Said::Nothing | Said::Closed => return victim,
        }
    }
}

/// A message of the other process, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Word(Word),
    /// No message within the time.
    Nothing,
    /// The other process has ended, or has sent a message that cannot be parsed.
    Closed,
}

/// Messages on standard input, of which the last may be incomplete.
#[derive(Debug)]
struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    fn next(&mut self, patience: Duration) -> Said {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.bytes.drain(..=end).collect();
                let word = str::from_utf8(&line).ok().and_then(|line| Word::read(line.trim_end()));
                return word.map_or(Said::Closed, Said::Word);
            }
            let stdin = io::stdin();
            let mut polled = [PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut polled, Timespec::try_from(patience).ok().as_ref()) {
                Ok(0) => return Said::Nothing,
                Err(Errno::INTR) => continue,
                Ok(_) | Err(_) => {}
            }
            let mut bytes = [0; 1024];
            match rustix::io::read(&stdin, &mut bytes) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                Ok(0) | Err(_) => return Said::Closed,
                Ok(count) => self.bytes.extend(bytes.iter().take(count)),
            }
        }
    }
}

/// The messages of one process to the other.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Guard(Victim),
    /// A time on the clock that both processes read.
    Until(Duration),
    Done,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Victim {
    /// Not known yet: the process that has this token in its environment.
    Started(String),
    Group(Pid),
    Process(Pid),
}

impl Word {
    fn read(word: &str) -> Option<Self> {
        let pid = |digits: &str| Pid::from_raw(digits.parse().ok().filter(|pid| *pid > 1)?);
        match word.split_once(' ') {
            Some(("group", digits)) => Some(Self::Guard(Victim::Group(pid(digits)?))),
            Some(("token", token)) if !token.is_empty() => Some(Self::Guard(Victim::Started(token.to_owned()))),
            Some(("process", digits)) => Some(Self::Guard(Victim::Process(pid(digits)?))),
            Some(("until", digits)) => Some(Self::Until(Duration::from_nanos(digits.parse().ok()?))),
            None if word == "done" => Some(Self::Done),
            _ => None,
        }
    }
}

/// Reads a clock that all processes of this machine share, and that never jumps; it includes suspended time if the
/// system has such a clock.
fn clock() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    Duration::try_from(clock_gettime(CLOCK)).unwrap_or_default()
}

/// Returns the path of this program, even if its file was replaced meanwhile.
fn this_program() -> io::Result<PathBuf> {
    let of_linux = Path::new("/proc/self/exe");
    if of_linux.exists() { Ok(of_linux.to_owned()) } else { env::current_exe() }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::VecDeque};

    use super::*;

    /// Returns these messages, one after the other, and then the end if there is one.
    fn saying(words: &[&str], is_closed: bool) -> impl FnMut(Duration) -> Said {
        let mut words: VecDeque<_> = words.iter().map(|word| Said::Word(Word::read(word).unwrap())).collect();
        move |_| words.pop_front().unwrap_or(if is_closed { Said::Closed } else { Said::Nothing })
    }

    fn watched(words: &[&str], now: u64) -> Option<Victim> {
        watch(saying(words, true), || Duration::from_nanos(now))
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
        // One nanosecond passes with each reading: the deadline is over at 12, and no message reports the end of the
        // command.
        let now = Cell::new(0);
        let clock = || {
            now.set(now.get() + 1);
            Duration::from_nanos(now.get())
        };
        assert_eq!(watch(saying(&["group 7", "until 5", "until 12"], false), clock), Some(Victim::Group(pid(7))));
        assert!((12..=13).contains(&now.get()), "{now:?}");
    }

    #[test]
    fn what_was_said_while_this_process_was_stopped_counts_before_the_time_does() {
        assert_eq!(watched(&["group 7", "until 5", "until 70", "done"], 60), None);
    }

    #[test]
    fn a_command_that_has_started_without_a_name_is_found_by_its_token() {
        let token = format!("test-{}", std::process::id());
        assert_eq!(watched(&[&format!("token {token}")], 0), Some(Victim::Started(token.clone())));
        assert_eq!(watched(&[&format!("token {token}"), "group 7"], 0), Some(Victim::Group(pid(7))));
        let sleeping = |token: &str| {
            let mut sleep = std::process::Command::new("sleep");
            sleep.arg("60").env("REDLOCK_TOKEN", token).spawn().unwrap()
        };
        let (mut command, mut other) = (sleeping(&token), sleeping(&format!("{token}-of-another")));
        started(&token);
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&command.wait().unwrap()), Some(9));
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn no_word_names_everybody() {
        for word in ["group 0", "group 1", "group -1", "process -7", "group", "token ", "until x", "done 1", ""] {
            assert_eq!(Word::read(word), None, "{word}");
        }
    }
}
