//! An exhaustive model of the protocol: every order of messages, ticks and decisions, decided by the crate's own rules.
//!
//! The search visits **every** world that a few clients can reach, in any number of rounds, and checks that
//!
//! * two clients never rely on the lock at the same time, and while a client extended its lock, no other client held it
//!   ([`World::is_broken`]);
//! * nothing blocks the lock forever: after a TTL in which no message arrives it is free again, and a round that gets
//!   no more answers is decided.
//!
//! Then it drops one rule or assumption at a time ([`Departure`]), and must find the shortest way to a broken lock.
//! `cargo test -p redlock-core --test it -- model:: --nocapture` prints these ways, step by step.
//!
//! # What is modeled
//!
//! * **Nodes**: a key and its remaining time; acquire, extend and release as `LockNode` defines them.
//! * **Messages**: each arrives at its node at any later time, in any order, any number of times, or never: late, lost,
//!   overtaken and sent again. The driver releases on a node only after the acquire there has ended, but the model does
//!   *not* assume that: exclusion does not depend on it. An acquire that arrives after its release only leaves a key
//!   until its TTL ends.
//! * **Answers**: received, late or lost. They change nothing before the client decides, so it decides at any time, on
//!   any part of the answers that were sent.
//! * **Clients**: a new token for each round, which may be lost or cancelled at any time. Holders stay until the very
//!   end of their validity, or release before. They may extend.
//! * **Time**: ticks, and any number of steps between two of them. A fast clock of a node is a key that lives shorter.
//! * **Decisions**: `Quorum`, `Round`, `Decision`, `Drift` and `Ttl` of the crate, so that the search finds a mistake
//!   in them.
//!
//! # What is left out
//!
//! Retries, pauses and timeouts: a round may start and end at any time. Why a round was lost: its token is released in
//! any case. Other resources: they share nothing. The driver's code: `redlock-simulation` tests it.
//!
//! # How large it is
//!
//! All finished rounds are alike, because their messages may arrive forever. So they need no names, and there are
//! finitely many worlds for any number of rounds. Worlds that differ only in the names of nodes and clients count as
//! one.
//!
//! | nodes | clients | TTL, drift | holders extend | worlds | seconds, debug | release |
//! |---|---|---|---|---|---|---|
//! | 3 | 2 | 3, 1 | yes | 651,768 | 7 | 1 |
//! | 3 | 3 | 2, 0 | no | 431,866 | 5 | 0.6 |
//! | 4 | 2 | 2, 0 | no | 133,299 | 1.3 | 0.2 |
//! | 3 | 2 | 3, 1 | no, but nodes restart empty and stay away for a TTL | 189,392 | 1.6 | 0.2 |
//!
//! Tried once, and too slow for every day: 3 nodes with 3 clients (3, 1: 1,253,153 worlds) and 5 nodes with 2 clients
//! (2, 0: 914,610; 3, 1: 4,477,086). They find nothing broken either.

#![expect(clippy::print_stdout, reason = "the shortest way to two holders is worth reading")]

mod world;
mod protocol;
mod verdicts;
mod search;

use self::{
    protocol::{Departure, Protocol, Step},
    search::Way,
    world::{Owner, World},
};

#[test]
fn holders_that_extend_exclude_each_other_on_nodes_with_fast_clocks() {
    excludes(&Protocol::<3, 2>::with_fast_clocks(3, 1).with_extends());
}

#[test]
fn three_clients_exclude_each_other() {
    excludes(&Protocol::<3, 3>::with_exact_clocks(2));
}

#[test]
fn clients_exclude_each_other_on_an_even_number_of_nodes() {
    excludes(&Protocol::<4, 2>::with_exact_clocks(2));
}

#[test]
fn a_node_without_memory_is_harmless_after_a_ttl_away() {
    excludes(&Protocol::<3, 2>::with_fast_clocks(3, 1).but(Departure::NodeForgetsAndStaysAway));
}

#[test]
fn the_lock_is_won_and_extended_and_reacquired_without_a_release() {
    let protocol = Protocol::<3, 2>::with_fast_clocks(3, 1).with_extends();
    let way = |wanted: &dyn Fn(Step, &World<3, 2>) -> bool| protocol.search(wanted).way.expect("a way");
    way(&|step, world| matches!(step, Step::Win(..)) && world.keys(Owner::Client(0)) == 2);
    way(&|step, world| matches!(step, Step::Extended(..)) && world.keys(Owner::Client(0)) == 3);
    way(&|step, world| matches!(step, Step::Win(..)) && world.keys(Owner::Old) == 1);
}

#[test]
fn an_acquire_that_arrives_after_its_release_blocks_the_lock_for_one_ttl_at_most() {
    let protocol = Protocol::<3, 2>::with_exact_clocks(2);
    let late = |step, world: &World<3, 2>| matches!(step, Step::OldAcquire(_)) && world.keys(Owner::Old) == 3;
    let blocked = protocol.search(late).way.expect("late acquires set the keys on all nodes");
    println!("Nobody holds the lock, and nobody can take it:\n{blocked}");
    assert!(protocol.after_silence(blocked.end()).is_free());
}

#[test]
fn one_vote_fewer_than_a_quorum_is_too_few() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::QuorumMinusOne));
}

#[test]
fn validity_that_counts_from_the_answer_is_too_long() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::ValidityFromTheAnswer));
}

#[test]
fn without_drift_a_fast_node_grants_a_second_lock() {
    breaks(&Protocol::with_fast_clocks(3, 1).but(Departure::NoDrift));
}

#[test]
fn a_release_that_does_not_compare_deletes_the_key_of_another_client() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::ReleaseWithoutComparing));
}

#[test]
fn an_extend_that_does_not_compare_takes_the_key_of_another_client() {
    breaks(&Protocol::with_fast_clocks(3, 1).with_extends().but(Departure::ExtendWithoutComparing));
}

#[test]
fn an_extend_that_counts_after_the_validity_hides_another_holder() {
    let way = breaks(&Protocol::with_fast_clocks(3, 1).with_extends().but(Departure::ExtendTooLate));
    assert!(way.end().clients.iter().any(|client| client.overtaken));
}

#[test]
fn one_token_for_all_rounds_lets_an_earlier_release_delete_the_key_of_a_later_round() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::OneTokenForAllRounds));
}

#[test]
fn a_holder_that_is_paused_beyond_its_validity_overlaps_with_another() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::HolderPauses));
}

#[test]
fn a_node_that_forgets_its_key_grants_a_second_lock() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::NodeForgets));
}

#[test]
fn a_node_whose_clock_jumps_grants_a_second_lock() {
    breaks(&Protocol::with_exact_clocks(2).but(Departure::ClockJumps));
}

/// Visits all worlds, and checks that none breaks the lock or blocks it forever.
fn excludes<const N: usize, const C: usize>(protocol: &Protocol<N, C>) {
    let found = protocol.search(|_, world| world.is_broken() || !protocol.after_silence(*world).is_free());
    println!("{protocol}: {} worlds, {} steps between them", found.states, found.steps);
    if let Some(way) = found.way {
        panic!("broken, or blocked forever:\n{way}");
    }
}

/// Finds the nearest world in which the lock is broken.
fn breaks(protocol: &Protocol<3, 2>) -> Way<3, 2> {
    let found = protocol.search(|_, world| world.is_broken());
    let way = found.way.unwrap_or_else(|| panic!("{protocol}: not broken in {} worlds", found.states));
    println!("{protocol}:\n{way}");
    way
}
