//! An exhaustive search of the actual machines: two leases of one key, the lines, and everything that may happen
//! between them and the nodes.
//!
//! The search visits **every** world that a [`Scenario`] can reach, the nearest first, and checks in each of them:
//!
//! * two leases are never valid at the same time, and a lock that has ended is never valid again;
//! * no request that sets a key is sent after the release of its lease;
//! * as long as a node holds the key of a lease that has ended, its line owes the node a release;
//! * each caller is answered once, and at the end of its time at the latest; the end of a lock is reported once;
//! * what is owed takes no more memory than allowed.
//!
//! Then it gives up one rule at a time ([`Weakness`]), and has to find the shortest way to a world that breaks a
//! promise. `cargo test -p redlock-core --lib -- engine::search --nocapture` prints them, step by step.
//!
//! # What may happen
//!
//! A node carries out a batch at any time, and its answers arrive at any later time, in the order of one connection. A
//! connection breaks: what the node had carried out loses its answers, and what it had not carried out may be carried
//! out at any later time, or never, while the line sends it again. A connection is refused. Time passes in seconds, of
//! a TTL of three. Timers fire at any moment, or from when on they are due. Callers release, drop, extend, transfer or
//! offer their locks, or go away. A node restarts without its memory and grants nothing for a TTL.
//!
//! # What is left out
//!
//! Fencing rounds (`tests/it/fencing_model` searches them) and clocks that run fast (`tests/it/model`). Worlds that
//! differ only in the names of nodes count as one.

#![expect(clippy::print_stdout, reason = "the shortest way to a broken promise is worth reading")]

mod node;
mod link;
mod caller;
mod scenario;
mod world;
mod steps;
mod explore;

use std::time::Duration;

use self::{scenario::Scenario, world::World};
use crate::engine::{event::Question, keys_on_node::KeyState, lease::phase::Phase, rules::Weakness};

/// Two leases compete. Timers fire when they are due.
fn competing() -> Scenario {
    Scenario { is_punctual: true, ..Scenario::new() }
}

/// One lease. Its caller may go away.
fn alone() -> Scenario {
    Scenario { has_second: false, cancels: true, ..Scenario::new() }
}

/// The first lease may hand the lock off to the second.
fn handing_off() -> Scenario {
    Scenario { hands_off: true, cancels: true, ..Scenario::new() }
}

#[test]
fn leases_that_compete_exclude_each_other_whenever_timers_fire() {
    holds(&Scenario { cancels: true, ..Scenario::new() });
}

#[test]
fn leases_that_compete_exclude_each_other_while_time_passes() {
    holds(&Scenario { seconds: 2, ..competing() });
}

#[test]
fn leases_of_two_processes_exclude_each_other() {
    holds(&Scenario { is_apart: true, ..competing() });
}

#[test]
fn leases_exclude_each_other_when_a_node_restarts() {
    holds(&Scenario { restarts: 1, ..competing() });
}

#[test]
fn a_hand_off_keeps_all_promises_at_any_moment() {
    holds(&handing_off());
}

#[test]
fn a_hand_off_keeps_all_promises_when_a_connection_breaks() {
    holds(&Scenario { breaks: 1, is_punctual: true, ..handing_off() });
}

#[test]
fn a_lease_is_released_when_a_connection_breaks() {
    holds(&Scenario { breaks: 1, seconds: 1, ..alone() });
}

#[test]
fn a_lease_is_released_when_a_connection_is_refused() {
    holds(&Scenario { refusals: 2, breaks: 1, seconds: 1, cancels: false, is_punctual: true, ..alone() });
}

#[test]
fn a_lease_is_released_behind_a_node_that_hangs() {
    holds(&hung());
}

#[test]
fn an_extend_keeps_all_promises() {
    holds(&Scenario { extends: 1, seconds: 2, cancels: false, is_punctual: true, ..alone() });
}

#[test]
fn an_extend_keeps_all_promises_when_a_node_restarts() {
    holds(&Scenario { extends: 1, restarts: 1, is_punctual: true, ..alone() });
}

#[test]
fn a_transfer_keeps_all_promises_when_a_connection_breaks() {
    holds(&Scenario { detaches: true, extends: 1, breaks: 1, is_punctual: true, ..alone() });
}

#[test]
fn what_is_owed_is_bounded() {
    holds(&Scenario::new().with_one_debt());
}

#[test]
fn the_search_reaches_what_it_is_about() {
    reaches("a hand-off without a release", &handing_off(), |world| {
        let is_taken = |node| world.leases[0].key(node) == Some(KeyState::Successors);
        let is_over = !world.callers[0].waits_for(Question::Release) && world.leases[1].phase() == Phase::Held;
        is_over && (0..3).all(is_taken)
    });
    reaches("a hand-off of which the answer was lost", &Scenario { breaks: 1, ..handing_off() }, |world| {
        (0..3).any(|node| world.leases[0].key(node) == Some(KeyState::Unclear))
    });
    reaches("a key that a lost request sets after the release", &Scenario { breaks: 1, ..alone() }, |world| {
        let is_over = matches!(world.leases[0].phase(), Phase::Releasing(_));
        is_over
            && world.leases[0].key(0) == Some(KeyState::Perhaps)
            && world.links[0].line.in_flight() == 0
            && world.nodes[0].holder() == Some(0)
    });
    reaches("a lock that is valid for longer", &Scenario { extends: 1, seconds: 1, ..alone() }, |world| {
        world.leases[0].left(world.now) == scenario::TTL && world.now > Duration::ZERO
    });
    reaches("a transfer", &Scenario { detaches: true, ..alone() }, |world| world.leases[0].phase() == Phase::Left);
}

#[test]
fn one_vote_fewer_is_too_few() {
    breaks(Weakness::OneVoteFewer, Scenario { is_apart: true, ..Scenario::new() });
}

#[test]
fn validity_that_counts_from_the_answer_is_too_long() {
    breaks(Weakness::ValidityFromTheAnswer, Scenario { seconds: 3, is_punctual: true, ..Scenario::of(1) });
}

#[test]
fn an_extend_that_counts_too_late_revives_a_lock() {
    breaks(Weakness::ExtendCountsLate, Scenario { seconds: 3, extends: 1, is_punctual: true, ..alone() });
}

#[test]
fn a_late_grant_that_wins_revives_a_lock() {
    breaks(Weakness::LateGrantWins, alone());
}

#[test]
fn a_silent_node_that_is_spared_keeps_a_key() {
    breaks(Weakness::SilentNodesAreSpared, alone());
}

#[test]
fn a_holder_that_relies_on_what_it_has_offered_is_not_alone() {
    breaks(Weakness::OfferedStaysValid, handing_off());
}

#[test]
fn a_node_that_the_successor_has_only_asked_keeps_a_key_if_it_is_spared() {
    breaks(Weakness::OfferedNodesAreSpared, Scenario { breaks: 1, ..handing_off() });
}

#[test]
fn a_request_that_goes_out_again_after_the_release_sets_a_key() {
    breaks(Weakness::SetsAfterRelease, Scenario { breaks: 1, ..alone() });
}

#[test]
fn a_release_that_is_forgotten_with_its_connection_leaves_a_key() {
    breaks(Weakness::BreakDropsReleases, Scenario { breaks: 1, ..alone() });
}

#[test]
fn a_lost_request_that_is_forgotten_leaves_a_key() {
    breaks(Weakness::NoGhosts, Scenario { breaks: 1, ..alone() });
}

#[test]
fn a_release_that_expires_behind_its_acquire_leaves_a_key() {
    breaks(Weakness::ExpiresBehindRequests, hung());
}

#[test]
fn a_question_that_stays_open_is_answered_twice() {
    breaks(Weakness::AnswersTwice, alone());
}

#[test]
fn without_a_bound_more_is_owed_than_allowed() {
    breaks(Weakness::OwedWithoutBound, Scenario::new().with_one_debt());
}

/// A node may hang for longer than a TTL, with one batch in its socket.
fn hung() -> Scenario {
    let mut hung = Scenario { seconds: 4, ..alone() };
    (hung.limits.batches, hung.limits.gives_up) = (1, Duration::from_secs(9));
    Scenario { is_punctual: true, ..hung }
}

/// Visits all worlds: in none is a promise broken.
fn holds(scenario: &Scenario) {
    let found = scenario.search(|world| world.broken.is_some());
    println!("{} worlds", found.worlds);
    if let Some(way) = found.way {
        panic!("{way}");
    }
}

/// Finds the nearest world in which a promise is broken.
fn breaks(weakness: Weakness, scenario: Scenario) {
    let found = scenario.but(weakness).search(|world| world.broken.is_some());
    let way = found.way.unwrap_or_else(|| panic!("{weakness:?}: nothing is broken in {} worlds", found.worlds));
    println!("{weakness:?}: {way}");
}

/// Finds the nearest world of this kind.
fn reaches(what: &str, scenario: &Scenario, is_one: impl Fn(&World) -> bool) {
    let found = scenario.search(is_one);
    assert!(found.way.is_some(), "not found in {} worlds: {what}", found.worlds);
}
