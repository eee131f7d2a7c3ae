//! A case: a history of faults, and what the processes do meanwhile. Plain data, so that a failing one is shrunk,
//! printed, saved and played again.

use std::{collections::BTreeSet, fmt, ops::Range, time::Duration};

use proptest::prelude::*;
use redlock_core::{AcquireOptions, AutoExtend};
use redlock_mock::{Assumptions, Event, History, Memory, Weather, What};
use serde::{Deserialize, Serialize};

use crate::stage::NODE_TIMEOUT;

/// A history of faults, and what the processes do meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What befalls the fleet.
    pub history: History,
    /// Whether locks get fencing tokens.
    #[serde(default)]
    pub fencing: bool,
    /// What each process does, one thing after the other.
    pub programs: Vec<Vec<Hold>>,
}

/// One lock to be taken, held and given back. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Which resource, of a few.
    pub resource: usize,
    /// Another that is locked together with it.
    #[serde(default)]
    pub with: Option<usize>,
    /// The ttl.
    pub ttl: u64,
    /// How a lost round is retried.
    pub retry: Retry,
    /// After how long the call is dropped, if ever.
    pub patience: Option<u64>,
    /// When the lock is extended, and to which ttl: each after so many hundredths of the validity that is left then.
    pub extends: Vec<(u64, u64)>,
    /// Whether it is extended automatically, and for how long beyond its ttl at most.
    #[serde(default)]
    pub kept: Option<u64>,
    /// How it ends.
    pub end: End,
}

/// How a lost round is retried: after a pause of so many milliseconds, give or take up to as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// Up to so many attempts in all.
    Attempts(u32, u64),
    /// Until so long after the call.
    Until(u64, u64),
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// Released at the last moment of its validity, or when it is known to be lost.
    Last,
    /// Released after so many milliseconds.
    After(u64),
    /// Dropped at the last moment of its validity.
    Dropped,
    /// Not just held: every so many milliseconds the process looks whether its lock is valid, and then acts. At the
    /// last moment of the validity it is released.
    Acts(u64),
}

/// Which of the assumptions that safety rests on are kept, and what else is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All that the library promises for: any fault, but nodes keep their keys and clocks drift within the allowance.
    Promised,
    /// A majority of the nodes is healthy besides: now there is progress, too.
    Healthy,
    /// One node after the other restarts, and forgets all keys; locks that are kept must outlive that. Each process has a
    /// resource of its own, and a node has the time for an extend before the next restarts.
    RollingRestarts,
    /// What fencing tokens promise for: any fault, and then either clocks of nodes jump, by any amount and in both
    /// directions, and nodes keep their keys; or any node forgets all keys at any time, as many as there are, and is
    /// down then for longer than the clocks of the nodes are apart.
    ///
    /// Not both: a counter that is lost begins again with the node's clock, and is above all that came before only if
    /// that clock is beyond what any clock read when the node stopped. And a node that comes back with an *older* state
    /// (its last second lost, a snapshot) has a counter, so it does not begin again: then tokens are issued twice.
    Fenced,
    /// What the restart guard promises for: any fault, and any node restarts at any time, as many as there are, and has
    /// forgotten all keys, or the latest, or none. Clocks drift within the allowance.
    Guarded,
    /// Beyond: nodes forget keys when they restart.
    Restarts,
    /// Beyond: nodes forget the last second when they restart, and with it to what their fencing counters had come.
    StaleCounters,
    /// Beyond: the clocks of nodes jump.
    ClockJumps,
    /// Beyond: a process acts a moment after it has looked at its lock, and may be paused just then.
    Pauses,
}

impl Scope {
    /// Random cases.
    pub fn cases(self) -> BoxedStrategy<Case> {
        const PROCESSES: usize = 4;
        if self == Self::RollingRestarts {
            return rolling_restarts().boxed();
        }
        let kept = Assumptions::default();
        let jumps = Assumptions { clocks_do_not_jump: false, ..kept };
        let restarts = Assumptions { memory_is_kept: false, ..kept };
        let histories = |assumptions: Assumptions| assumptions.histories(1..=5, 1..=PROCESSES);
        let histories = match self {
            Self::Promised | Self::Pauses | Self::RollingRestarts => histories(kept).boxed(),
            Self::Healthy => histories(Assumptions { a_majority_is_healthy: true, ..kept }).boxed(),
            Self::Restarts | Self::StaleCounters => histories(restarts).boxed(),
            Self::Guarded => forgetful(histories(restarts)).boxed(),
            Self::ClockJumps => histories(jumps).boxed(),
            Self::Fenced => {
                prop_oneof![histories(jumps), forgetful(histories(restarts)).prop_map(down_until_clocks_are_beyond)]
                    .boxed()
            }
        };
        let fencing = match self {
            Self::Fenced | Self::StaleCounters => Just(true).boxed(),
            Self::Promised | Self::Healthy | Self::Guarded => prop::bool::weighted(0.25).boxed(),
            Self::RollingRestarts | Self::Restarts | Self::ClockJumps | Self::Pauses => Just(false).boxed(),
        };
        let program = prop::collection::vec(self.hold(), 1..5);
        let programs = prop::collection::vec(program, PROCESSES);
        let cases = (histories, fencing, programs).prop_map(|(history, fencing, mut programs)| {
            programs.truncate(history.processes);
            Case { history, fencing, programs }
        });
        match self {
            Self::Fenced => prop_oneof![2 => cases, 1 => duels()].boxed(),
            _ => cases.boxed(),
        }
    }

    /// Whether fencing tokens are in order, as far as counters go: nodes keep them, or begin above all others.
    pub(crate) fn keeps_counters(self) -> bool {
        !matches!(self, Self::Guarded | Self::Restarts)
    }

    fn hold(self) -> impl Strategy<Value = Hold> {
        let end = match self {
            Self::Pauses => (1..200_u64).prop_map(End::Acts).boxed(),
            _ => prop_oneof![
                3 => Just(End::Last),
                2 => (0..1_000_u64).prop_map(End::After),
                1 => Just(End::Dropped),
            ]
            .boxed(),
        };
        let (retry, patience, resources) = match self {
            Self::Healthy => (Just(Retry::Until(120_000, 60)).boxed(), Just(None).boxed(), 1_usize),
            _ => (retry().boxed(), prop::option::weighted(0.3, 1..3_000_u64).boxed(), 2),
        };
        let resource = prop_oneof![3 => Just(0), 1 => 0..resources];
        let extends = prop_oneof![2 => Just(0), 1 => 1..4_usize];
        let extends = extends.prop_flat_map(|times| prop::collection::vec((0..101_u64, 100..2_000_u64), times));
        let kept = prop::option::weighted(0.3, 0..4_000_u64);
        let with = prop::option::weighted(0.2, 0..resources);
        ((resource, with), 100..2_000_u64, retry, patience, extends, kept, end).prop_map(
            |((resource, with), ttl, retry, patience, extends, kept, end)| Hold {
                resource,
                with,
                ttl,
                retry,
                patience,
                extends,
                kept,
                end,
            },
        )
    }
}

/// Nodes forget again and again.
fn forgetful(histories: impl Strategy<Value = History>) -> impl Strategy<Value = History> {
    let memory = prop_oneof![Just(Memory::Lost), Just(Memory::LastSecondLost)];
    let down = (0..2_000_u64, 0..5_usize, 0..50_u64, memory)
        .prop_map(|(at, node, millis, memory)| Event { at, what: What::Down { node, millis, memory } });
    (histories, prop::collection::vec(down, 0..8)).prop_map(|(mut history, downs)| {
        history.events.extend(downs.into_iter().map(|mut event| {
            if let What::Down { node, .. } = &mut event.what {
                *node %= history.nodes;
            }
            event
        }));
        history
    })
}

/// The history in which nodes forget all keys or none, and are down for so long then that their clocks read more than
/// any clock had read when they stopped.
fn down_until_clocks_are_beyond(mut history: History) -> History {
    for Event { at, what } in &mut history.events {
        if let What::Down { millis, memory, .. } = what
            && *memory != Memory::Kept
        {
            // Clocks run fast or slow by half a percent, and tokens grow by a microsecond with each grant.
            (*memory, *millis) = (Memory::Lost, (*millis).max(*at / 99 + 2));
        }
    }
    history
}

/// Several want one lock again and again for a moment, and keys are gone at any time, also while tokens are agreed upon.
fn duels() -> impl Strategy<Value = Case> {
    let way = || {
        prop_oneof![
            (0..10_u16, 0..40_u16).prop_map(|(least, more)| (least, least + more)),
            (0..3_u16, 0..6_u16).prop_map(|(least, more)| (least, least + more)),
        ]
    };
    let weather = |lost: Range<u16>| {
        (way(), way(), lost, 0..600_u16).prop_map(|(request, answer, lost_requests, duplicates)| Weather {
            request,
            answer,
            lost_requests,
            lost_answers: 0,
            duplicates,
        })
    };
    let everywhere = weather(0..50).prop_map(|weather| What::Weather { process: None, node: None, weather });
    let lagging = weather(200..700).prop_map(|weather| What::Weather { process: None, node: Some(0), weather });
    let jump = (0..5_usize, 500..3_000_i64).prop_map(|(node, millis)| What::ClockJump { node, millis });
    let slow = (0..4_usize, 0..5_usize, 15..60_u16).prop_map(|(process, node, least)| {
        let request = (least, least + 10);
        let weather = Weather { request, answer: (0, 3), lost_requests: 0, lost_answers: 0, duplicates: 0 };
        What::Weather { process: Some(process), node: Some(node), weather }
    });
    let at_once = (everywhere, prop::option::of(lagging), prop::collection::vec(slow, 0..4));
    let at_once = at_once.prop_map(|(everywhere, lagging, slow)| {
        [everywhere].into_iter().chain(lagging).chain(slow).collect::<Vec<_>>()
    });
    let jumps = prop::collection::vec((0..1_000_u64, jump), 0..30);
    let hold = (500..2_000_u64, 5..30_u32, 1..10_u64, 0..30_u64).prop_map(|(ttl, attempts, pause, after)| Hold {
        resource: 0,
        with: None,
        ttl,
        retry: Retry::Attempts(attempts, pause),
        patience: None,
        extends: Vec::new(),
        kept: None,
        end: End::After(after),
    });
    let programs = prop::collection::vec(prop::collection::vec(hold, 1..6), 2..=4);
    (prop_oneof![3 => Just(3_usize), 1 => 2..=5_usize], any::<u64>(), at_once, jumps, programs).prop_map(
        |(nodes, seed, at_once, jumps, programs)| {
            let at_once = at_once.into_iter().map(|what| Event { at: 0, what });
            let jumps = jumps.into_iter().map(|(at, mut what)| {
                if let What::ClockJump { node, .. } = &mut what {
                    *node %= nodes;
                }
                Event { at, what }
            });
            let events = at_once.chain(jumps).collect();
            Case { history: History { nodes, processes: programs.len(), seed, events }, fencing: true, programs }
        },
    )
}

/// Every node restarts, one after the other and in any order, while locks are held that are extended.
fn rolling_restarts() -> impl Strategy<Value = Case> {
    let order = (1..=2_usize).prop_map(|tolerated| (0..2 * tolerated + 1).collect::<Vec<_>>()).prop_shuffle();
    let downs = prop::collection::vec((0..500_u64, 0..300_u64), 5);
    let processes = (1..=3_usize, prop::bool::weighted(0.25));
    (order, downs, processes, any::<u64>(), 200..1_500_u64).prop_map(
        |(order, downs, (processes, fencing), seed, ttl)| {
            // Time for the extend that is due, and for one that waits for a node that was down when it began.
            let recovery = ttl / 3 + 2 * NODE_TIMEOUT.as_millis() as u64;
            let (nodes, mut at, mut events) = (order.len(), 100, Vec::new());
            for (node, (millis, pause)) in order.into_iter().zip(downs) {
                events.push(Event { at, what: What::Down { node, millis, memory: Memory::Lost } });
                at += millis + recovery + pause;
            }
            let program = |resource| {
                let retry = Retry::Attempts(1, 1);
                vec![Hold {
                    resource,
                    with: None,
                    ttl,
                    retry,
                    patience: None,
                    extends: Vec::new(),
                    kept: Some(at),
                    end: End::After(at),
                }]
            };
            let programs = (0..processes).map(program).collect();
            Case { history: History { nodes, processes, seed, events }, fencing, programs }
        },
    )
}

/// Never without a pause: in virtual time a round may take no time at all, and then nothing would end the call.
fn retry() -> impl Strategy<Value = Retry> {
    prop_oneof![
        3 => (1..20_u32, 1..80_u64).prop_map(|(attempts, pause)| Retry::Attempts(attempts, pause)),
        1 => (1..4_000_u64, 1..80_u64).prop_map(|(until, pause)| Retry::Until(until, pause)),
    ]
}

impl Retry {
    /// The policy, as the driver knows it.
    pub fn policy(self) -> redlock_core::Retry {
        let millis = Duration::from_millis;
        match self {
            Self::Attempts(attempts, pause) => {
                redlock_core::Retry::attempts(attempts).fixed(millis(pause)).jitter(millis(pause))
            }
            Self::Until(until, pause) => {
                redlock_core::Retry::until(millis(until)).fixed(millis(pause)).jitter(millis(pause))
            }
        }
    }
}

impl Case {
    /// The longest ttl in use.
    pub fn longest_ttl(&self) -> Duration {
        let ttls = self.programs.iter().flatten().flat_map(|hold| {
            let extended = hold.extends.iter().map(|(_, ttl)| *ttl);
            extended.chain([hold.ttl])
        });
        Duration::from_millis(ttls.max().unwrap_or(1_000))
    }
}

impl Hold {
    /// All that is locked, in order.
    pub fn resources(&self) -> BTreeSet<usize> {
        self.with.into_iter().chain([self.resource]).collect()
    }

    /// What the driver is asked for.
    pub fn options(&self) -> AcquireOptions {
        let options = AcquireOptions::new(Duration::from_millis(self.ttl)).retry(self.retry.policy());
        match self.lifetime() {
            Some(lifetime) => options.auto_extend(AutoExtend::default().max_lifetime(lifetime)),
            None => options,
        }
    }

    /// For how long a lock is kept at most that is extended automatically.
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
        for (process, holds) in self.programs.iter().enumerate() {
            writeln!(f, "process-{}", process + 1)?;
            holds.iter().try_for_each(|hold| writeln!(f, "           {hold}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, with, ttl, retry, patience, extends, kept, end } = self;
        write!(f, "locks r{resource}")?;
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
        match end {
            End::Last => f.write_str(", releases at the last moment"),
            End::After(millis) => write!(f, ", releases after {millis} ms"),
            End::Dropped => f.write_str(", drops the lock at the last moment"),
            End::Acts(every) => write!(f, ", looks and acts every {every} ms"),
        }
    }
}
