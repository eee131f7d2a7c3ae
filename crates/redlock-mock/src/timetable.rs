//! Converts a history to a timetable: the steps at each moment.

use std::collections::BTreeMap;

use crate::{
    event::{Event, What},
    fault::Memory,
    history::History,
    network::{Cut, Way},
};

/// A step at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// An event that does not last.
    Event(&'a What),
    /// A spell begins, and lasts until this many milliseconds after the start of the fleet.
    Begin(Spell, u64),
    /// A spell ends. The memory is that of a node that was down.
    End(Spell, Memory),
}

/// A state that lasts for some time, on one node or between one process and one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Spell {
    Hang { node: usize },
    Down { node: usize },
    Lost { process: usize, node: usize, way: Way },
    Held { process: usize, node: usize, way: Way },
}

/// The time for which it lasts by one event, in milliseconds since the start of the fleet.
struct Span {
    from: u64,
    until: u64,
    memory: Memory,
}

/// Returns all steps in order, for a fleet with these numbers of nodes and processes. Spells of one kind in one place
/// that overlap or touch end together, and the worst of them decides the effect.
pub(crate) fn timetable(history: &History, nodes: usize, processes: usize) -> Vec<(u64, Step<'_>)> {
    let mut steps = Vec::new();
    let mut spells = BTreeMap::<Spell, Vec<Span>>::new();
    for Event { at, what } in &history.events {
        let (millis, memory) = match what {
            What::Down { millis, memory, .. } => (*millis, *memory),
            What::Hang { millis, .. } | What::Cut { millis, .. } => (*millis, Memory::Kept),
            _ => {
                steps.push((*at, Order::Begins, Step::Event(what)));
                continue;
            }
        };
        for spell in spells_of(what, nodes, processes) {
            let span = Span { from: *at, until: at.saturating_add(millis), memory };
            spells.entry(spell).or_default().push(span);
        }
    }
    for (spell, mut spans) in spells {
        spans.sort_by_key(|span| span.from);
        let mut latest = 0;
        for span in &mut spans {
            latest = span.until.max(latest);
            span.until = latest;
        }
        for together in spans.chunk_by(|span, next| next.from <= span.until) {
            let until = together.iter().fold(0, |until, span| span.until.max(until));
            let memory = together.iter().fold(Memory::Kept, |memory, span| span.memory.max(memory));
            // Each of them begins: a node that was restarted meanwhile hangs again.
            steps.extend(together.iter().map(|span| (span.from, Order::Begins, Step::Begin(spell, until))));
            // The end comes after the last begin, which may be at this very moment.
            let order = if together.iter().all(|span| span.from < until) { Order::Ends } else { Order::EndsAtOnce };
            steps.push((until, order, Step::End(spell, memory)));
        }
    }
    // The sort is stable: events at the same moment keep their order.
    steps.sort_by_key(|(at, order, _)| (*at, *order));
    steps.into_iter().map(|(at, _, step)| (at, step)).collect()
}

/// The order of steps at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Ends,
    Begins,
    /// A spell ends that has just begun.
    EndsAtOnce,
}

fn spells_of(what: &What, nodes: usize, processes: usize) -> Vec<Spell> {
    match what {
        What::Hang { node, .. } => vec![Spell::Hang { node: *node }],
        What::Down { node, .. } => vec![Spell::Down { node: *node }],
        What::Cut { process, node, requests, answers, .. } => {
            let of = |number: Option<usize>, all| number.map_or(0..all, |number| number..number.saturating_add(1));
            let links = of(*process, processes).flat_map(|process| of(*node, nodes).map(move |node| (process, node)));
            let ways = [(Way::Requests, *requests), (Way::Answers, *answers)];
            let cut = |(process, node), (way, cut)| match cut {
                None => None,
                Some(Cut::Lost) => Some(Spell::Lost { process, node, way }),
                Some(Cut::Held) => Some(Spell::Held { process, node, way }),
            };
            links.flat_map(|link| ways.into_iter().filter_map(move |way| cut(link, way))).collect()
        }
        _ => Vec::new(),
    }
}
