//! Generates random histories, as a proptest strategy that shrinks a failing one.

use std::{ops::RangeInclusive, time::Duration};

use proptest::prelude::*;
use redlock_core::NodeErrorKind;

use crate::{Cut, Event, Fault, History, Memory, Weather, What};

/// The assumptions that random histories do not break. By default these are all assumptions on which Redlock's safety
/// depends: nodes keep their keys, no clock jumps, and each clock runs fast or slow by half a percent at most, so that
/// two differ by the percent that the drift allowance covers. Everything else may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumptions {
    /// A node that was down remembers its keys.
    pub memory_is_kept: bool,
    /// No node's clock jumps.
    pub clocks_do_not_jump: bool,
    /// The maximum by which a clock runs fast or slow, in millionths.
    pub drift_ppm: i32,
    /// All nodes but a minority answer, within 20 ms, and processes are neither paused nor cancelled.
    pub a_majority_is_healthy: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { memory_is_kept: true, clocks_do_not_jump: true, drift_ppm: 5_000, a_majority_is_healthy: false }
    }
}

impl Assumptions {
    /// Generates histories with these numbers of nodes and processes.
    pub fn histories(
        self,
        nodes: RangeInclusive<usize>,
        processes: RangeInclusive<usize>,
    ) -> impl Strategy<Value = History> {
        let clocks = prop::collection::vec(self.clock(), 0..8);
        let events = prop::collection::vec(self.event(), 0..16);
        (nodes, processes, any::<u64>(), clocks, events).prop_map(move |(nodes, processes, seed, clocks, events)| {
            let events = clocks.into_iter().map(|what| Event { at: 0, what }).chain(events);
            let events =
                events.filter_map(|Event { at, what }| Some(Event { at, what: self.fit(what, nodes, processes)? }));
            History { nodes, processes, seed, events: events.collect() }
        })
    }

    /// Generates the rate of a clock, from the start.
    fn clock(self) -> impl Strategy<Value = What> {
        let most = self.drift_ppm.saturating_abs();
        let ppm = || prop_oneof![Just(-most), Just(most), -most..=most];
        prop_oneof![
            (0..8_usize, ppm()).prop_map(|(node, ppm)| What::ClockRate { node, ppm }),
            (0..8_usize, ppm()).prop_map(|(process, ppm)| What::ProcessClockRate { process, ppm }),
        ]
    }

    fn event(self) -> impl Strategy<Value = Event> {
        let node = || 0..8_usize;
        let process = || 0..8_usize;
        let millis = || prop_oneof![0..100_u64, 0..2_500_u64];
        let polls = || 0..12_u32;
        let memory = match self.memory_is_kept {
            true => Just(Memory::Kept).boxed(),
            false => prop_oneof![Just(Memory::Kept), Just(Memory::LastSecondLost), Just(Memory::Lost)].boxed(),
        };
        let jump = match self.clocks_do_not_jump {
            true => Just(0).boxed(),
            false => prop_oneof![-3_000..3_000_i64, Just(1_000_000)].boxed(),
        };
        let faults = prop::collection::vec(fault(), 1..6);
        let cut = || prop_oneof![Just(Cut::Lost), Just(Cut::Held)];
        let cuts = prop_oneof![
            cut().prop_map(|requests| (Some(requests), None)),
            cut().prop_map(|answers| (None, Some(answers))),
            (cut(), cut()).prop_map(|(requests, answers)| (Some(requests), Some(answers))),
        ];
        let cut = (prop::option::of(process()), prop::option::of(node()), cuts, millis());
        let what = prop_oneof![
            3 => (node(), millis()).prop_map(|(node, millis)| What::Hang { node, millis }),
            3 => (node(), millis(), memory).prop_map(|(node, millis, memory)| What::Down { node, millis, memory }),
            1 => (node(), jump).prop_map(|(node, millis)| What::ClockJump { node, millis }),
            2 => (node(), faults).prop_map(|(node, faults)| What::Faults { node, faults }),
            3 => (prop::option::of(process()), prop::option::of(node()), self.weather())
                .prop_map(|(process, node, weather)| What::Weather { process, node, weather }),
            2 => cut.prop_map(|(process, node, (requests, answers), millis)| What::Cut {
                process, node, requests, answers, millis
            }),
            2 => (process(), polls(), millis())
                .prop_map(|(process, polls, millis)| What::Pause { process, polls, millis }),
            2 => (process(), polls()).prop_map(|(process, polls)| What::Cancel { process, polls }),
        ];
        (prop_oneof![Just(0), 0..500_u64, 0..6_000_u64], what).prop_map(|(at, what)| Event { at, what })
    }

    fn weather(self) -> impl Strategy<Value = Weather> {
        let healthy = self.a_majority_is_healthy;
        let longest =
            move || if healthy { (0..10_u16).boxed() } else { prop_oneof![5 => 0..30_u16, 1 => 0..1_500_u16].boxed() };
        let way = move || (0..10_u16, longest()).prop_map(|(least, more)| (least, least.max(more)));
        let per_mille =
            move || if healthy { Just(0).boxed() } else { prop_oneof![2 => Just(0_u16), 1 => 0..400_u16].boxed() };
        (way(), way(), per_mille(), per_mille(), prop_oneof![2 => Just(0_u16), 1 => 0..400_u16]).prop_map(
            |(request, answer, lost_requests, lost_answers, duplicates)| Weather {
                request,
                answer,
                lost_requests,
                lost_answers,
                duplicates,
            },
        )
    }

    /// Restricts an event to nodes and processes that exist and may be disturbed. Returns `None` if there are none.
    fn fit(self, mut what: What, nodes: usize, processes: usize) -> Option<What> {
        let disturbed = if self.a_majority_is_healthy { nodes.saturating_sub(1) / 2 } else { nodes };
        match &mut what {
            What::ClockJump { millis: 0, .. } => return None,
            What::Hang { node, .. }
            | What::Down { node, .. }
            | What::ClockJump { node, .. }
            | What::Faults { node, .. } => *node = node.checked_rem(disturbed)?,
            What::ClockRate { node, .. } => *node = node.checked_rem(nodes)?,
            What::ProcessClockRate { process, .. } => *process = process.checked_rem(processes)?,
            What::Weather { process, node, .. } | What::CutConnection { process, node, .. } => {
                *process = process.map(|process| process % processes.max(1));
                *node = node.map(|node| node % nodes.max(1));
            }
            What::Cut { process, node, .. } => {
                *process = process.map(|process| process % processes.max(1));
                *node = match *node {
                    None if self.a_majority_is_healthy => Some(0_usize.checked_rem(disturbed)?),
                    None => None,
                    Some(node) => Some(node.checked_rem(disturbed)?),
                };
            }
            What::Pause { process, .. } | What::Cancel { process, .. } => {
                if self.a_majority_is_healthy {
                    return None;
                }
                *process = process.checked_rem(processes)?;
            }
        }
        Some(what)
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let delay = || (1..1_500_u64).prop_map(Duration::from_millis);
    prop_oneof![
        Just(Fault::None),
        Just(Fault::Refuse),
        Just(Fault::LoseRequest),
        Just(Fault::LoseAnswer),
        delay().prop_map(Fault::DelayRequest),
        delay().prop_map(Fault::DelayAnswer),
        prop_oneof![Just(Duration::ZERO), delay()].prop_map(Fault::SendAgain),
        Just(Fault::Restart(Memory::Kept)),
        prop_oneof![Just(NodeErrorKind::OutOfMemory), Just(NodeErrorKind::Loading), Just(NodeErrorKind::ReadOnly)]
            .prop_map(Fault::Fail),
    ]
}
