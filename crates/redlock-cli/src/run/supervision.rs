//! Watches over a running command: forwards signals to it, and ends it before another holder can get its lock.

use std::{
    io, mem,
    time::{Duration, Instant},
};

use redlock_core::{Lock, LockLost};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{
    backstop::Backstop,
    command::Command,
    deadlines::{Deadlines, Due},
    ending::{Ending, Why},
    orphans,
    signals::Signals,
};
use crate::{args::OnLoss, failure::chain, say::Say};

/// The longest time between two checks of the lock. Timers stop while the machine is suspended; the lock's clock does
/// not.
const LOOK: Duration = Duration::from_millis(250);

/// How much later than this process the backstop acts, if the lock is lost and its validity gives no deadline any more.
const BACKSTOP_LATER: Duration = Duration::from_millis(50);

/// The state that is needed to watch over a command.
#[derive(Debug)]
pub(super) struct Supervision<'a> {
    pub(super) lock: &'a mut Lock,
    pub(super) command: &'a mut Command,
    pub(super) signals: &'a mut Signals,
    /// The process that ends the command if this one cannot.
    pub(super) backstop: Option<&'a mut Backstop>,
    pub(super) deadlines: Deadlines,
    pub(super) on_loss: OnLoss,
    /// When the lock is released at the latest.
    pub(super) lifetime_over: Option<Instant>,
    pub(super) say: &'a Say,
    /// Whether redlock was not permitted to signal the command.
    pub(super) is_foreign: bool,
    /// Whether a signal arrived that ends the command.
    pub(super) is_interrupted: bool,
}

/// The stage of the command.
#[derive(Debug)]
enum Stage {
    /// It works normally.
    Working,
    /// It continues although the lock is lost.
    Warned,
    /// It has got SIGTERM. `kill` is when it is killed at the latest; it is also killed when the validity is nearly
    /// over.
    Told { kill: Option<Instant>, why: Why },
    /// It was killed.
    Killed { why: Why },
}

impl Supervision<'_> {
    /// Waits until the command has ended, by itself or because of the lock.
    pub(super) async fn run(mut self) -> io::Result<Ending> {
        let mut stage = Stage::Working;
        let mut told_of_terminal = false;
        let mut children = signal(SignalKind::child())?;
        loop {
            if !told_of_terminal && self.command.wants_terminal() {
                told_of_terminal = true;
                self.say.warning("the command is stopped, because it wants to use the terminal: use --foreground");
            }
            stage = self.advance(stage);
            if let Some(backstop) = &mut self.backstop {
                let allowed = match &stage {
                    Stage::Told { kill: Some(kill), .. } => {
                        kill.saturating_duration_since(Instant::now()) + BACKSTOP_LATER
                    }
                    _ => self.deadlines.unattended(self.lock.validity()),
                };
                backstop.allow(allowed).await;
            }
            let pause = self.pause(&stage);
            let mut lost = std::pin::pin!(self.lock.lost());
            let works = matches!(stage, Stage::Working);
            select! {
                biased;
                status = self.command.ended() => {
                    let why = match stage {
                        Stage::Working | Stage::Warned => Why::ItsOwn,
                        // No signal reached it, and it ended while the lock was valid.
                        Stage::Told { kill: None, why: Why::Lost(None) }
                            if self.is_foreign && self.lock.check().is_ok() => Why::ItsOwn,
                        Stage::Told { why, .. } | Stage::Killed { why } => why,
                    };
                    let Self { is_foreign, is_interrupted, .. } = self;
                    return Ok(Ending { status: status?, why, is_foreign, is_interrupted });
                }
                signal = self.signals.next() => self.pass_on(signal),
                _ = children.recv() => {
                    orphans::reap(&[Some(self.command.pid()), self.backstop.as_ref().and_then(|backstop| backstop.pid())]);
                }
                // A quorum may report that the lock is gone, long before its validity ends.
                _ = &mut lost, if works => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Does the next step, if one is due.
    fn advance(&mut self, stage: Stage) -> Stage {
        match stage {
            Stage::Working => match self.lock.check() {
                Ok(_) if self.on_loss == OnLoss::Warn => stage,
                Ok(left) => match self.deadlines.of_work(left) {
                    Due::Nothing(_) => stage,
                    Due::Term => self.tell_to_end(left),
                    Due::Kill => self.kill(self.why(None)),
                },
                Err(loss) if self.on_loss == OnLoss::Warn => {
                    let what = format!("{}; the command continues without it (--on-loss warn)", chain(&loss));
                    self.say.warning(&what);
                    Stage::Warned
                }
                Err(loss) => self.lost(loss),
            },
            Stage::Told { kill: None, why: Why::Lost(None) } if self.is_foreign && self.was_extended() => {
                Stage::Working
            }
            Stage::Told { kill, why } => {
                let due = match self.lock.check() {
                    Ok(left) => self.deadlines.of_end(left) == Due::Kill,
                    Err(_) => kill.is_none(),
                };
                if due || kill.is_some_and(|kill| Instant::now() >= kill) {
                    self.kill(why)
                } else {
                    Stage::Told { kill, why }
                }
            }
            Stage::Warned | Stage::Killed { .. } => stage,
        }
    }

    /// Returns the time until the next step may be due.
    fn pause(&self, stage: &Stage) -> Duration {
        let left = self.lock.validity();
        let pause = match stage {
            Stage::Working if self.on_loss == OnLoss::Kill => self.deadlines.of_work(left),
            Stage::Told { kill: None, .. } => self.deadlines.of_end(left),
            Stage::Told { kill: Some(kill), .. } => Due::Nothing(kill.saturating_duration_since(Instant::now())),
            Stage::Working | Stage::Warned | Stage::Killed { .. } => Due::Nothing(LOOK),
        };
        match pause {
            Due::Nothing(pause) => pause.min(LOOK),
            Due::Term | Due::Kill => Duration::ZERO,
        }
    }

    /// Sends SIGTERM: the lock is still valid, but not for long.
    fn tell_to_end(&mut self, left: Duration) -> Stage {
        let why = self.why(None);
        let reason = match why {
            Why::LifetimeOver => "is no longer extended: --max-lifetime is over",
            _ => "could not be extended",
        };
        let text =
            format!("the lock on {:?} {reason}; it is valid for {} ms more", self.lock.resource(), left.as_millis());
        // The rest of the validity is the command's time to end. Nothing extends it: a command that ignores SIGTERM
        // must not continue. If the signal cannot be sent, the command continues in any case, better with the lock than
        // without it.
        if self.end(Signal::TERM, "ending", &text) || matches!(why, Why::LifetimeOver) {
            self.lock.stop_auto_extend();
        }
        Stage::Told { kill: None, why }
    }

    /// Ends the command, because the lock may not be relied on any more.
    fn lost(&mut self, loss: LockLost) -> Stage {
        match loss {
            // The nodes report it, and another holder may have the lock already: the command gets only a moment to end.
            LockLost::NotHeld { .. } => {
                self.end(Signal::TERM, "ending", &chain(&loss));
                Stage::Told { kill: Some(Instant::now() + self.deadlines.margin()), why: Why::Lost(Some(loss)) }
            }
            // This process was stopped, or was late: there is no time left.
            _ => {
                let why = self.why(Some(loss));
                self.kill(why)
            }
        }
    }

    fn kill(&mut self, why: Why) -> Stage {
        let text = format!("the command on {:?} has not ended in time", self.lock.resource());
        self.end(Signal::KILL, "killed", &text);
        Stage::Killed { why }
    }

    /// Returns whether the lock was extended after all, so that the command has time to work.
    fn was_extended(&self) -> bool {
        matches!(self.deadlines.of_work(self.lock.validity()), Due::Nothing(_))
    }

    /// Sends a signal because of the lock, and reports it afterwards, because the reader of the report may be slow.
    /// Returns whether it was sent.
    fn end(&mut self, signal: Signal, event: &str, why: &str) -> bool {
        let is_kill = signal == Signal::KILL;
        let is_sent = if is_kill { self.command.signal(signal) } else { self.command.tell_to_end(signal) };
        if !is_sent {
            self.not_permitted(&format!("{why}: "));
            return false;
        }
        let (name, left) = (if is_kill { "SIGKILL" } else { "SIGTERM" }, millis(self.lock.validity()));
        let data = json!({ "resource": self.lock.resource(), "signal": name, "valid_ms": left });
        self.say.notable(event, &format!("{why}: the command gets {name}"), data);
        true
    }

    fn not_permitted(&mut self, why: &str) {
        if !mem::replace(&mut self.is_foreign, true) {
            let text = format!(
                "{why}redlock is not permitted to signal the command, which runs as another user and may continue without \
                 the lock: write `sudo --preserve-env=REDLOCK_NODES redlock run` instead of `redlock run ... sudo`"
            );
            self.say.notable("not-permitted", &text, json!({ "resource": self.lock.resource() }));
        }
    }

    fn why(&self, loss: Option<LockLost>) -> Why {
        let validity_ends = Instant::now() + self.lock.validity();
        match loss {
            Some(LockLost::LifetimeOver { .. }) => Why::LifetimeOver,
            // The lifetime limits the validity of the lock, so both end at the same time.
            None if self.lifetime_over.is_some_and(|over| validity_ends >= over) => Why::LifetimeOver,
            loss => Why::Lost(loss),
        }
    }

    /// Handles a signal that redlock received.
    fn pass_on(&mut self, signal: Signal) {
        if signal != Signal::TSTP {
            self.is_interrupted |= Signals::ENDING.contains(&signal);
            if !self.command.pass_on(signal) {
                self.not_permitted("");
            }
            return;
        }
        // The command is stopped before this process and for longer, because nobody extends its lock meanwhile.
        if !self.command.signal(Signal::STOP) {
            // The command continues, and needs its lock.
            return self.not_permitted("");
        }
        let _ = kill_process(getpid(), Signal::STOP);
        // This process continues here. A command that has to be ended must not continue first.
        let left = self.lock.check().unwrap_or_default();
        if self.on_loss == OnLoss::Warn || self.deadlines.lets_go_on(left) {
            let _ = self.command.signal(Signal::CONT);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
