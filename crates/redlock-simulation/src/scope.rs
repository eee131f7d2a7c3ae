//! Scopes: which assumptions hold, and random cases that keep them.

use std::ops::Range;

use proptest::prelude::*;
use redlock_mock::{Assumptions, Cut, Event, History, Memory, Weather, What};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, End, Hold, NODE_TIMEOUT, Retry},
    crowds::{crowds, queues},
    sabotage::Sabotage,
};

/// Which of the assumptions hold on which safety depends, and what else is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All conditions for which the library gives its promises: any fault, but nodes keep their keys and clocks drift
    /// within the allowance.
    Promised,
    /// The same, with readers among the writers, and writers that become readers.
    Shared,
    /// Like [`Scope::Promised`], and a majority of the nodes is healthy, so that there is progress, too.
    Healthy,
    /// One node after the other restarts and forgets all keys; locks with auto-extend must survive that. Each process
    /// has its own resource, and a node has the time for an extend before the next one restarts.
    RollingRestarts,
    /// The conditions for fencing tokens: any fault, and then one of two. Either clocks of nodes jump, by any amount
    /// and in both directions, and nodes keep their keys. Or any node forgets all keys at any time, as many as there
    /// are, and is then down for longer than the clocks of the nodes are apart.
    ///
    /// Not both: a counter that is lost begins again with the node's clock, and is above all earlier values only if
    /// that clock is beyond what any clock read when the node stopped. And a node that comes back with an *older* state
    /// (its last second lost, a snapshot) has a counter, so it does not begin again: then tokens are issued twice.
    Fenced,
    /// The conditions for the restart guard: any fault, and any node restarts at any time, as many as there are, and
    /// has forgotten all keys, or the latest, or none. Clocks drift within the allowance.
    Guarded,
    /// Messages take their time, and no faults happen, while several processes want one lock again and again: each
    /// waiter is notified, long before its pause is over.
    Waiting,
    /// Nodes hang for seconds, one after the other or several at once, or are cut off, so that processes abandon their
    /// connections, while locks with long TTLs are acquired: no key remains without an owner.
    Orphans,
    /// Any fault that the library promises for, while processes acquire permits of one semaphore.
    Permits,
    /// Beyond: each node counts the holders of a semaphore, and grants as long as there are fewer than permits. Nothing
    /// but delays happens to the fleet.
    CountedSemaphore,
    /// Beyond: nodes forget keys when they restart.
    Restarts,
    /// Beyond: nodes forget the last second when they restart, and with it the last values of their fencing counters.
    StaleCounters,
    /// Beyond: the clocks of nodes jump.
    ClockJumps,
    /// Beyond: a process acts a moment after it has checked its lock, and may be paused just then.
    Pauses,
}

impl Scope {
    /// Returns random cases.
    pub fn cases(self) -> BoxedStrategy<Case> {
        const PROCESSES: usize = 4;
        match self {
            Self::RollingRestarts => return rolling_restarts().boxed(),
            Self::Waiting => return queues().boxed(),
            Self::Orphans => return outages().boxed(),
            Self::CountedSemaphore => return crowds().boxed(),
            _ => {}
        }
        let kept = Assumptions::default();
        let jumps = Assumptions { clocks_do_not_jump: false, ..kept };
        let restarts = Assumptions { memory_is_kept: false, ..kept };
        let histories = |assumptions: Assumptions| assumptions.histories(1..=5, 1..=PROCESSES);
        let histories = match self {
            Self::Promised
            | Self::Shared
            | Self::Pauses
            | Self::RollingRestarts
            | Self::Waiting
            | Self::Orphans
            | Self::Permits
            | Self::CountedSemaphore => histories(kept).boxed(),
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
            Self::Promised | Self::Healthy | Self::Guarded | Self::Permits => prop::bool::weighted(0.25).boxed(),
            _ => Just(false).boxed(),
        };
        let program = match self {
            Self::Shared => prop::collection::vec(readers(self.hold()), 1..5).boxed(),
            _ => prop::collection::vec(self.hold(), 1..5).boxed(),
        };
        let programs = prop::collection::vec(program, PROCESSES);
        let permits = match self {
            Self::Permits => (1..=3_u32).prop_map(Some).boxed(),
            _ => Just(None).boxed(),
        };
        let cases = (histories, fencing, permits, programs).prop_map(|(history, fencing, permits, mut programs)| {
            programs.truncate(history.processes);
            Case { history, fencing, permits, programs }
        });
        match self {
            Self::Fenced => prop_oneof![2 => cases, 1 => duels()].boxed(),
            _ => cases.boxed(),
        }
    }

    /// Returns the part that is broken in this scope: none, unless the scope is about a protocol that this library does
    /// not use.
    pub fn sabotage(self) -> Sabotage {
        if self == Self::CountedSemaphore { Sabotage::CountsHolders } else { Sabotage::None }
    }

    /// Returns whether fencing tokens are in order, as far as counters are concerned: nodes keep them, or begin above
    /// all others.
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
                shared: false,
                downgrades: None,
                end,
            },
        )
    }
}

/// Makes some of the holds shared, and some of the others exclusive at first and shared later.
fn readers(holds: impl Strategy<Value = Hold>) -> impl Strategy<Value = Hold> {
    (holds, prop::bool::weighted(0.5), prop::option::weighted(0.5, 0..101_u64))
        .prop_map(|(hold, shared, downgrades)| Hold { shared, downgrades, ..hold })
}

/// Makes nodes forget again and again.
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

/// Changes a history so that nodes forget all keys or none, and are down until their clocks read more than any clock
/// had read when they stopped.
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

/// Generates cases in which several processes want one lock again and again for a moment, and keys disappear at any
/// time, even while nodes agree on tokens.
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
        shared: false,
        downgrades: None,
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
            Case {
                history: History { nodes, processes: programs.len(), seed, events },
                fencing: true,
                permits: None,
                programs,
            }
        },
    )
}

/// Generates cases in which nodes hang or are cut off for seconds, one after the other or a majority at once, and
/// connections are cut.
fn outages() -> impl Strategy<Value = Case> {
    let lasts = || 1_000..8_000_u64;
    let begins = || 0..15_000_u64;
    let hangs = prop::collection::vec((begins(), 0..5_usize, lasts()), 1..4).prop_map(|hangs| {
        let hang = |(at, node, millis)| Event { at, what: What::Hang { node, millis } };
        hangs.into_iter().map(hang).collect::<Vec<_>>()
    });
    let rolling = (begins(), lasts(), 200..9_000_u64, 2..6_usize).prop_map(|(at, millis, step, nodes)| {
        let hang = |node| Event { at: at + node as u64 * step, what: What::Hang { node, millis } };
        (0..nodes).map(hang).collect()
    });
    let cut = || prop_oneof![Just(Cut::Lost), Just(Cut::Held)];
    let process = || prop::option::of(0..3_usize);
    let partition = (begins(), process(), 1..4_usize, cut(), cut(), lasts()).prop_map(
        |(at, process, nodes, requests, answers, millis)| {
            let (requests, answers) = (Some(requests), Some(answers));
            let cut = |node| Event { at, what: What::Cut { process, node: Some(node), requests, answers, millis } };
            (0..nodes).map(cut).collect()
        },
    );
    // A driver cannot know of a request that arrives seconds after the new connection works.
    let forgotten = (begins(), process(), prop::option::of(0..5_usize)).prop_map(|(at, process, node)| {
        let what = What::CutConnection { process, node, arrives: None };
        vec![Event { at, what }]
    });
    let outage = prop_oneof![3 => hangs, 3 => rolling, 2 => partition, 1 => forgotten];
    let way = || (0..5_u16, 0..5_u16).prop_map(|(least, more)| (least, least + more));
    let weather = (way(), way(), 0..100_u16).prop_map(|(request, answer, duplicates)| {
        let weather = Weather { request, answer, lost_requests: 0, lost_answers: 0, duplicates };
        Event { at: 0, what: What::Weather { process: None, node: None, weather } }
    });
    let ttl = || prop_oneof![1_000..5_000_u64, 5_000..60_000_u64];
    let retry = prop_oneof![
        (1..20_u32, 20..500_u64).prop_map(|(attempts, pause)| Retry::Attempts(attempts, pause)),
        (1_000..10_000_u64, 20..500_u64).prop_map(|(until, pause)| Retry::Until(until, pause)),
    ];
    let extends = prop_oneof![3 => Just(0), 1 => 1..3_usize]
        .prop_flat_map(move |times| prop::collection::vec((0..20_u64, ttl()), times));
    let patience = prop::option::weighted(0.3, 50..4_000_u64);
    let kept = prop::option::weighted(0.2, 0..10_000_u64);
    let hold = (0..2_usize, ttl(), retry, patience, extends, kept, 0..3_000_u64).prop_map(
        |(resource, ttl, retry, patience, extends, kept, after)| Hold {
            resource,
            with: None,
            ttl,
            retry,
            patience,
            extends,
            kept,
            shared: false,
            downgrades: None,
            end: End::After(after),
        },
    );
    let programs = prop::collection::vec(prop::collection::vec(hold, 2..8), 1..=3);
    let outages = (outage.clone(), prop::option::of(outage));
    (prop_oneof![3 => Just(3_usize), 1 => 1..=5_usize], any::<u64>(), weather, outages, programs).prop_map(
        |(nodes, seed, weather, (outage, another), programs)| {
            let outages = outage.into_iter().chain(another.into_iter().flatten());
            let events = [weather].into_iter().chain(outages.filter(|event| exists(&event.what, nodes)));
            let history = History { nodes, processes: programs.len(), seed, events: events.collect() };
            Case { history, fencing: false, permits: None, programs }
        },
    )
}

/// Returns whether the event affects an existing node or process.
fn exists(what: &What, nodes: usize) -> bool {
    match what {
        What::Hang { node, .. } => *node < nodes,
        What::Cut { node, .. } | What::CutConnection { node, .. } => node.is_none_or(|node| node < nodes),
        _ => true,
    }
}

/// Generates cases in which every node restarts, one after the other and in any order, while locks with auto-extend are
/// held.
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
                    shared: false,
                    downgrades: None,
                    end: End::After(at),
                }]
            };
            let programs = (0..processes).map(program).collect();
            Case { history: History { nodes, processes, seed, events }, fencing, permits: None, programs }
        },
    )
}

/// Generates retry policies, never without a pause: in virtual time a round may take no time at all, and then nothing
/// would end the call.
fn retry() -> impl Strategy<Value = Retry> {
    prop_oneof![
        3 => (1..20_u32, 1..80_u64).prop_map(|(attempts, pause)| Retry::Attempts(attempts, pause)),
        1 => (1..4_000_u64, 1..80_u64).prop_map(|(until, pause)| Retry::Until(until, pause)),
    ]
}
