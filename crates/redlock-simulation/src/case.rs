//! A case: a history of faults, and the programs of the processes. Plain data, so that a failing case can be shrunk,
//! printed, saved and played again.

use std::{collections::BTreeSet, fmt, time::Duration};

use redlock_core::{AcquireOptions, AutoExtend};
use redlock_mock::History;
use serde::{Deserialize, Serialize};

/// How long a round waits for a node.
pub(crate) const NODE_TIMEOUT: Duration = Duration::from_millis(60);

/// A history of faults, and the programs of the processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The faults that happen to the fleet.
    pub history: History,
    /// Whether locks get fencing tokens.
    #[serde(default)]
    pub fencing: bool,
    /// The number of permits, if the processes acquire permits instead of locks.
    #[serde(default)]
    pub permits: Option<u32>,
    /// The holds of each process, one after the other.
    pub programs: Vec<Vec<Hold>>,
}

/// One lock to acquire, hold and release. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The index of the resource. There are only a few.
    pub resource: usize,
    /// Another resource that is locked together with it.
    #[serde(default)]
    pub with: Option<usize>,
    /// The TTL.
    pub ttl: u64,
    /// How a lost round is retried.
    pub retry: Retry,
    /// The time after which the call is dropped, if ever.
    pub patience: Option<u64>,
    /// When the lock is extended, and to which TTL. The first number is a percentage of the remaining validity.
    pub extends: Vec<(u64, u64)>,
    /// Whether it is extended automatically, and for how long beyond its TTL at most.
    #[serde(default)]
    pub kept: Option<u64>,
    /// Whether it is a shared lock.
    #[serde(default)]
    pub shared: bool,
    /// When a writer becomes a reader, after all extends, if ever: a percentage of the remaining validity.
    #[serde(default)]
    pub downgrades: Option<u64>,
    /// How it ends.
    pub end: End,
}

/// How a lost round is retried: after a pause of this many milliseconds, plus or minus up to as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// Up to this many attempts in all.
    Attempts(u32, u64),
    /// Until this long after the call began.
    Until(u64, u64),
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Released at the last moment of its validity, or when it is known to be lost.
    Last,
    /// Released after this many milliseconds.
    After(u64),
    /// Dropped at the last moment of its validity.
    Dropped,
    /// Not only held: at this interval in milliseconds, the process checks whether its lock is valid, and then acts. It
    /// releases the lock at the last moment of its validity.
    Acts(u64),
}

impl Retry {
    /// Returns the retry policy as the driver's type.
    pub fn policy(self) -> redlock_core::Retry {
        let millis = Duration::from_millis;
        match self {
            Self::Attempts(attempts, pause) => {
                redlock_core::Retry::attempts(attempts).fixed(millis(pause)).jitter(millis(pause))
            }
            Self::Until(until, pause) => {
                redlock_core::Retry::timeout(millis(until)).fixed(millis(pause)).jitter(millis(pause))
            }
        }
    }
}

impl Case {
    /// Returns the longest TTL in use.
    pub fn longest_ttl(&self) -> Duration {
        let ttls = self.programs.iter().flatten().flat_map(|hold| {
            let extended = hold.extends.iter().map(|(_, ttl)| *ttl);
            extended.chain([hold.ttl])
        });
        Duration::from_millis(ttls.max().unwrap_or(1_000))
    }
}

impl Hold {
    /// Returns all locked resources, in order.
    pub fn resources(&self) -> BTreeSet<usize> {
        self.with.into_iter().chain([self.resource]).collect()
    }

    /// Returns the options for the driver.
    pub fn options(&self) -> AcquireOptions {
        let options = AcquireOptions::new(Duration::from_millis(self.ttl)).retry(self.retry.policy());
        let options = if self.shared { options.shared() } else { options };
        match self.lifetime() {
            Some(lifetime) => options.auto_extend(AutoExtend::default().max_lifetime(lifetime)),
            None => options,
        }
    }

    /// Returns how long the lock is extended at most, if auto-extend is on.
    pub fn lifetime(&self) -> Option<Duration> {
        self.kept.map(|kept| Duration::from_millis(self.ttl + kept))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.history)?;
        if self.fencing {
            writeln!(f, "locks have fencing tokens")?;
        }
        if let Some(permits) = self.permits {
            writeln!(f, "each lock is one of {permits} permits")?;
        }
        for (process, holds) in self.programs.iter().enumerate() {
            writeln!(f, "process-{}", process + 1)?;
            holds.iter().try_for_each(|hold| writeln!(f, "           {hold}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, with, ttl, retry, patience, extends, kept, shared, downgrades, end } = self;
        write!(f, "{} r{resource}", if *shared { "shares" } else { "locks" })?;
        if let Some(with) = with {
            write!(f, " and r{with} at once")?;
        }
        write!(f, " for {ttl} ms")?;
        match retry {
            Retry::Attempts(1, _) => f.write_str(", once")?,
            Retry::Attempts(attempts, pause) => write!(f, ", up to {attempts} attempts, 0-{} ms apart", 2 * pause)?,
            Retry::Until(until, pause) => write!(f, ", for up to {until} ms, attempts 0-{} ms apart", 2 * pause)?,
        }
        if let Some(patience) = patience {
            write!(f, ", drops the call after {patience} ms")?;
        }
        for (after, ttl) in extends {
            write!(f, ", extends to {ttl} ms after {after} % of what is left")?;
        }
        if let Some(kept) = kept {
            write!(f, ", keeps it for {kept} ms more")?;
        }
        if let Some(after) = downgrades.filter(|_| !shared) {
            write!(f, ", shares it after {after} % of what is left")?;
        }
        match end {
            End::Last => f.write_str(", releases at the last moment"),
            End::After(millis) => write!(f, ", releases after {millis} ms"),
            End::Dropped => f.write_str(", drops the lock at the last moment"),
            End::Acts(every) => write!(f, ", looks and acts every {every} ms"),
        }
    }
}
