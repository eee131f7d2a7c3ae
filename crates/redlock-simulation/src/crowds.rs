//! Cases in which several processes want the same lock or the same permits at the same time.

use proptest::prelude::*;
use redlock_mock::{Event, History, Weather, What};

use crate::case::{Case, End, Hold, Retry};

/// Half the longest pause of waiters in the queue, in milliseconds: long enough to detect polling.
const PATIENT_PAUSE: u64 = 2_000;

/// Generates cases in which three processes want one of two permits at the same time.
pub(crate) fn crowds() -> impl Strategy<Value = Case> {
    const PROCESSES: usize = 3;
    let way = || (0..3_u16, 1..20_u16).prop_map(|(least, more)| (least, least + more));
    let weather = (way(), way()).prop_map(|(request, answer)| {
        let weather = Weather { request, answer, lost_requests: 0, lost_answers: 0, duplicates: 0 };
        Event { at: 0, what: What::Weather { process: None, node: None, weather } }
    });
    let hold = (20..200_u64).prop_map(|after| Hold {
        resource: 0,
        with: None,
        ttl: 1_000,
        retry: Retry::Attempts(1, 1),
        patience: None,
        extends: Vec::new(),
        kept: None,
        shared: false,
        downgrades: None,
        end: End::After(after),
    });
    let programs = prop::collection::vec(prop::collection::vec(hold, 1..2), PROCESSES);
    (any::<u64>(), weather, programs).prop_map(|(seed, weather, programs)| {
        let history = History { nodes: 3, processes: PROCESSES, seed, events: vec![weather] };
        Case { history, fencing: false, permits: Some(2), programs }
    })
}

/// Generates cases in which several processes want one lock again and again, and wait for a long time: some of them
/// drop their call.
pub(crate) fn queues() -> impl Strategy<Value = Case> {
    let way = || (0..5_u16, 0..5_u16).prop_map(|(least, more)| (least, least + more));
    let weather = (way(), way()).prop_map(|(request, answer)| {
        let weather = Weather { request, answer, lost_requests: 0, lost_answers: 0, duplicates: 0 };
        Event { at: 0, what: What::Weather { process: None, node: None, weather } }
    });
    let hold = (prop::option::weighted(0.2, 1..300_u64), 0..50_u64).prop_map(|(patience, after)| Hold {
        resource: 0,
        with: None,
        ttl: 10_000,
        retry: Retry::Until(120_000, PATIENT_PAUSE),
        patience,
        extends: Vec::new(),
        kept: None,
        shared: false,
        downgrades: None,
        end: End::After(after),
    });
    let programs = prop::collection::vec(prop::collection::vec(hold, 2..8), 2..=4);
    (prop_oneof![3 => Just(3_usize), 1 => 1..=5_usize], any::<u64>(), weather, prop::bool::weighted(0.25), programs)
        .prop_map(|(nodes, seed, weather, fencing, programs)| {
            let history = History { nodes, processes: programs.len(), seed, events: vec![weather] };
            Case { history, fencing, permits: None, programs }
        })
}
