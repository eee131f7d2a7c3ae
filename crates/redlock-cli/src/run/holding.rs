//! `--at-least`: holds the lock after its command has ended, until its time is over.

use std::time::{Duration, Instant};

use redlock_core::{ExtendError, Lock, LockLost, Release};
use serde_json::json;
use tokio::{select, time::sleep};

use super::{
    ending::{Came, Ending},
    orphans,
    signals::Signals,
};
use crate::{args::OnLoss, exit::Exit, failure::chain, say::Say};

/// The shortest TTL of an extend that checks whether the nodes still hold the lock.
const SHORTEST: Duration = Duration::from_secs(1);

/// How a lock is held after its command has ended.
#[derive(Debug)]
pub(super) struct Holding<'a> {
    /// When it is released. `None` if that is beyond what the clock can count.
    pub(super) until: Option<Instant>,
    /// The longest TTL that the nodes accept.
    pub(super) longest_ttl: Duration,
    pub(super) on_loss: OnLoss,
    pub(super) say: &'a Say,
}

impl Holding<'_> {
    /// Holds the lock until its time is over, then releases it. A signal that ended the command ends this wait too.
    pub(super) async fn run(self, mut lock: Lock, ending: &Ending, signals: &mut Signals) -> Came {
        let exit = ending.status.into();
        // Whether the lock was held to the end of the command must be known now: later, the nodes cannot say.
        let confirmed = lock.extend(self.rest().clamp(SHORTEST, self.longest_ttl.max(SHORTEST))).await;
        // If too few nodes answered, it is still extended in the background. A later answer may be about something that
        // happened while the command ran.
        let is_confirmed = confirmed.is_ok();
        if let Err(
            error @ (ExtendError::Expired { .. } | ExtendError::Lost { .. } | ExtendError::ExtendedTooLate { .. }),
        ) = confirmed
        {
            return self.was_lost(lock.resource(), &chain(&error), exit);
        }
        let rest = self.rest();
        if ending.is_interrupted && !rest.is_zero() {
            return self.leave(lock, exit, is_confirmed).await;
        }
        if !rest.is_zero() {
            let text = format!("the command has ended; the lock is held for {} ms more (--at-least)", rest.as_millis());
            self.say.event("holding", &text, json!({ "resource": lock.resource(), "for_ms": millis(rest) }));
        }
        let lost = lock.lost();
        select! {
            biased;
            loss = lost => {
                if !is_confirmed && matches!(loss, LockLost::NotHeld { .. }) {
                    return self.was_lost(lock.resource(), &chain(&loss), exit);
                }
                self.say.warning(&format!("the lock could not be held for --at-least: {}", chain(&loss)));
                Came::well(exit)
            }
            () = self.time_is_over() => self.release(lock, exit, is_confirmed).await,
            _ = signals.next_ending() => self.leave(lock, exit, is_confirmed).await,
        }
    }

    /// Returns the remaining time.
    fn rest(&self) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    async fn time_is_over(&self) {
        loop {
            let rest = self.rest();
            if rest.is_zero() {
                return;
            }
            sleep(rest.min(Duration::from_secs(1))).await;
            orphans::reap(&[]);
        }
    }

    async fn release(&self, lock: Lock, exit: Exit, is_confirmed: bool) -> Came {
        let name = lock.resource().to_owned();
        match lock.release().await {
            Ok(Release::Released) => {
                self.say.event("released", &format!("released {name:?}"), json!({ "resource": name }))
            }
            Ok(_) if !is_confirmed => {
                return self.was_lost(&name, &format!("the lock on {name:?} was gone when it was released"), exit);
            }
            Ok(_) => self.say.warning(&format!("the lock on {name:?} was lost before --at-least was over")),
            Err(error) => self.say.warning(&chain(&error)),
        }
        Came::well(exit)
    }

    /// Leaves the lock to expire, because this process has to end: the nodes keep the lock for the rest of the time. An
    /// extend never shortens the expiry, so they may keep it for up to a TTL after the last one.
    async fn leave(&self, mut lock: Lock, exit: Exit, is_confirmed: bool) -> Came {
        let (name, rest) = (lock.resource().to_owned(), self.rest().min(self.longest_ttl));
        let extended = if lock.validity() < rest { lock.extend(rest).await.map(drop) } else { Ok(()) };
        let for_ms = millis(lock.validity());
        // A lock that could not be extended is still valid, and must not be released either.
        match (lock.into_parts().await, extended) {
            (Ok(_), Ok(())) => {
                let text = format!("a signal came: the lock expires in {for_ms} ms (--at-least)");
                self.say.event("left", &text, json!({ "resource": name, "for_ms": for_ms }));
            }
            (Ok(_), Err(error)) => {
                let what = chain(&error);
                let text = format!("the lock may expire in {for_ms} ms already, before --at-least is over: {what}");
                self.say.warning(&text);
            }
            (Err(loss @ LockLost::NotHeld { .. }), _) if !is_confirmed => {
                return self.was_lost(&name, &chain(&loss), exit);
            }
            (Err(loss), _) => {
                self.say.warning(&format!("the lock could not be held for --at-least: {}", chain(&loss)));
            }
        }
        Came::well(exit)
    }

    /// Reports that the lock was lost before the command had ended, or may have been.
    fn was_lost(&self, name: &str, why: &str, exit: Exit) -> Came {
        let what = format!("{why}: another host may have held it before the command ended");
        if self.on_loss == OnLoss::Warn {
            self.say.warning(&what);
            return Came::lost(exit);
        }
        self.say.notable("lost", &what, json!({ "resource": name, "exit_code": Exit::LOST.0 }));
        Came::lost(Exit::LOST)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
