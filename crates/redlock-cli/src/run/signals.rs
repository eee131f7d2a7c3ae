//! The signals that redlock receives and forwards to the command.

use std::{fs, future::poll_fn, io, task::Poll};

use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::yield_now,
};

/// The signals that have arrived. Signals that were ignored when redlock was started remain ignored, as under nohup(1).
#[derive(Debug)]
pub(crate) struct Signals {
    /// Each stream remembers whether its signal arrived, however many others did. The signals that end redlock are
    /// first.
    streams: Vec<(Signal, tokio::signal::unix::Signal)>,
    ignored: u64,
}

impl Signals {
    /// The signals that end redlock while it waits for the lock.
    pub(crate) const ENDING: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];
    /// The other signals that are forwarded to the command, once it runs.
    const OF_THE_COMMAND: [Signal; 4] = [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::TSTP];

    /// Starts to listen to the signals that end redlock.
    pub(crate) fn listen() -> io::Result<Self> {
        let mut signals = Self { streams: Vec::new(), ignored: ignored() };
        signals.add(&Self::ENDING)?;
        Ok(signals)
    }

    /// Also listens to the other signals that are forwarded to the command.
    pub(crate) fn listen_to_all(&mut self) -> io::Result<()> {
        self.add(&Self::OF_THE_COMMAND)
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.streams {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for the next signal that ends redlock. Others are dropped.
    pub(crate) async fn next_ending(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if Self::ENDING.contains(&signal) {
                return signal;
            }
        }
    }

    /// Returns a signal that ends redlock, if one has arrived.
    pub(crate) async fn pending_ending(&mut self) -> Option<Signal> {
        // The runtime checks for signals only when a task waits.
        yield_now().await;
        poll_fn(|context| {
            let mut ending = self.streams.iter_mut().filter(|(signal, _)| Self::ENDING.contains(signal));
            Poll::Ready(ending.find_map(|(signal, stream)| stream.poll_recv(context).is_ready().then_some(*signal)))
        })
        .await
    }

    fn add(&mut self, wanted: &[Signal]) -> io::Result<()> {
        for wanted in wanted.iter().copied().filter(|wanted| !is_in(self.ignored, *wanted)) {
            self.streams.push((wanted, signal(SignalKind::from_raw(wanted.as_raw()))?));
        }
        Ok(())
    }
}

/// Returns the signals that this process ignores, as far as the system reports them: one bit for each.
fn ignored() -> u64 {
    ignored_by(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Parses the same from a process's `status` in `/proc`.
fn ignored_by(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: Signal) -> bool {
    u32::try_from(signal.as_raw() - 1).is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1))
}

#[cfg(test)]
mod tests {
    use std::{iter, process::Command, time::Duration};

    use rustix::process::{getpid, kill_process};
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_ends_redlock_is_never_dropped_because_of_others() {
        let mut signals = Signals::listen().unwrap();
        signals.listen_to_all().unwrap();
        for signal in iter::repeat_n(Signal::WINCH, 200).chain([Signal::TERM]) {
            kill_process(getpid(), signal).unwrap();
            // Signals with the same number that nobody has received yet are merged.
            sleep(Duration::from_millis(1)).await;
        }
        let ended = timeout(Duration::from_secs(20), async { while signals.next().await != Signal::TERM {} }).await;
        ended.expect("SIGTERM was dropped");
    }

    #[tokio::test]
    async fn a_signal_that_ends_redlock_is_seen_without_waiting_and_others_stay() {
        let mut signals = Signals::listen().unwrap();
        signals.listen_to_all().unwrap();
        for signal in [Signal::USR2, Signal::QUIT] {
            kill_process(getpid(), signal).unwrap();
        }
        let seen = timeout(Duration::from_secs(20), async { while signals.pending_ending().await.is_none() {} }).await;
        seen.expect("the signal was not seen");
        let stays = timeout(Duration::from_secs(20), async { while signals.next().await != Signal::USR2 {} }).await;
        stays.expect("the other signal was dropped");
    }

    #[test]
    fn a_signal_has_its_bit() {
        assert!(is_in(1, Signal::HUP) && !is_in(1, Signal::INT));
        assert!(is_in(0x4000, Signal::TERM) && !is_in(!0x4000, Signal::TERM));
    }

    /// Returns the status of a process whose caller has run this line of shell before it.
    fn status_after(prelude: &str) -> String {
        let line = format!("{prelude}; exec cat /proc/self/status");
        let mut command = Command::new("env");
        let output = command.args(["--default-signal", "sh", "-c", &line]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_signals_that_the_caller_ignores_are_known_and_no_others() {
        let ignored = ignored_by(&status_after("trap '' HUP QUIT"));
        let ignored: Vec<_> = Signals::ENDING.into_iter().filter(|signal| is_in(ignored, *signal)).collect();
        assert_eq!(ignored, [Signal::HUP, Signal::QUIT]);
        assert!(Signals::ENDING.iter().all(|signal| !is_in(ignored_by(&status_after(":")), *signal)));
    }
}
