//! An exhaustive model of fencing tokens: every order of messages, decided by the crate's own rules.
//!
//! The search visits **every** world that a few rounds can reach on three nodes, and checks that
//!
//! * no token is issued twice;
//! * every token is greater than every token that was issued before its round started.
//!
//! Then it drops one rule or assumption at a time ([`Departure`]), and must find the shortest way to a wrong token.
//! `cargo test -p redlock-core --test it -- fencing_model:: --nocapture` prints these ways, step by step.
//!
//! # What is modeled
//!
//! * **Nodes**: a key, and its counter. An acquire that finds no key sets it and increments the counter in the same
//!   step. One that finds its own key gets the counter unchanged. A raise does what `Raised` says, and nothing if the
//!   counter is lost. An extend sets the key again if it is gone, and sets the counter to the token if it is lower.
//! * **Time**: none. Every key may expire or be released at every moment, so the next request finds none. Therefore
//!   neither expiry nor release is a step, and nothing depends on a clock.
//! * **Messages**: each arrives at its node at any later time, in any order, or never; also after its round is over. A
//!   raise and an extend may arrive any number of times. An acquire may find its own key any number of times; a test
//!   sets how often one may set it for the second time.
//! * **Answers**: received, late or lost. A round may give up on a node at any time.
//! * **Counters**: nodes start with different ones. A node may lose its counter, alone or with all its data. The
//!   counter then starts again above all counters that ever existed, as a clock would make it.
//! * **Decisions**: `Fencing`, `Round` and `Quorum` of the crate, so that the search finds a mistake in them.
//!
//! # What is left out
//!
//! Refusals: they are like lost requests. Validity: a token may be issued when the lock is already lost, and extends
//! may arrive forever; that is more than a driver does. More than three nodes: late answers to an earlier candidate
//! need five, and are in the unit tests of `fencing`.
//!
//! # How large it is
//!
//! | what happens | worlds |
//! |---|---|
//! | late and lost messages and answers | 71,046 |
//! | acquires sent again, one of which finds its key gone | 141,389 |
//! | a node loses its counter | 279,934 |
//! | ... twice | 128,811 |
//! | holders extend, including an earlier one | 255,938 |
//! | the earlier one extends, a node loses its counter, an extend leaves it alone | 453,859 |
//! | ... or starts it again | 680,027 |
//!
//! Each has two rounds, and all take 46 seconds of one core in a debug build. Tried once, and too slow for every day:
//! three rounds (8,433,704 worlds, if nothing arrives after its round is over), the fifth and sixth rows together
//! (2,745,009), and the second with answers that are as late as possible (562,637). These find nothing wrong either.

#![expect(clippy::print_stdout, reason = "the shortest way to two equal tokens is worth reading")]

mod world;
mod protocol;
mod search;

use self::protocol::{Departure, Extend, Protocol};

/// The counters that nodes start with: equal, one behind, all different.
const COUNTERS: [[u8; 3]; 3] = [[1, 1, 1], [1, 1, 2], [1, 2, 3]];

#[test]
fn tokens_are_ordered_whatever_is_late_or_lost_and_whenever_keys_expire() {
    orders(&Protocol::<2>::new(COUNTERS), 70_000);
}

#[test]
fn tokens_are_ordered_when_acquires_are_sent_again() {
    orders(&Protocol::<2>::new([[1, 1, 2]]).with_prompt_answers().with_repeats(1), 140_000);
}

#[test]
fn tokens_are_ordered_when_a_node_loses_its_counter() {
    orders(&Protocol::<2>::new([[1, 2, 1], [2, 1, 1]]).with_losses(1), 250_000);
}

#[test]
fn tokens_are_ordered_when_a_node_loses_its_counter_again() {
    orders(&Protocol::<2>::new([[1, 1, 2]]).with_prompt_answers().with_losses(2), 120_000);
}

#[test]
fn tokens_are_ordered_when_holders_extend_forever() {
    orders(&Protocol::<2>::new([[2, 2, 1]]).after(2).with_extends(Extend::LeavesLost), 250_000);
}

#[test]
fn an_extend_may_leave_a_lost_counter_alone() {
    let protocol = Protocol::<2>::new([[2, 2, 1]]).after(2).with_prompt_answers().without_stragglers();
    orders(&protocol.with_extends(Extend::LeavesLost).with_losses(1), 450_000);
}

#[test]
fn an_extend_may_start_a_lost_counter_again() {
    let protocol = Protocol::<2>::new([[2, 2, 1]]).after(2).with_prompt_answers().without_stragglers();
    orders(&protocol.with_extends(Extend::Seeds).with_losses(1), 650_000);
}

#[test]
fn an_extend_that_sets_a_lost_counter_to_its_token_lowers_it() {
    let protocol = Protocol::<2>::new([[2, 2, 1]]).after(2).with_prompt_answers().with_losses(1);
    breaks(&protocol.with_extends(Extend::LeavesLost).but(Departure::ExtendRestoresTheLost));
}

#[test]
fn a_raise_that_does_not_compare_the_key_takes_the_token_of_another_round() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).but(Departure::RaiseWithoutComparing));
}

#[test]
fn a_raise_that_lowers_a_counter_issues_a_token_twice() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).but(Departure::RaiseLowers));
}

#[test]
fn a_raise_that_confirms_a_higher_counter_issues_a_token_twice() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).but(Departure::RaiseConfirmsTheHigher));
}

#[test]
fn a_raise_that_restores_a_lost_counter_issues_a_token_twice() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).with_losses(1).but(Departure::RaiseRestoresTheLost));
}

#[test]
fn a_lost_counter_that_starts_from_one_issues_smaller_tokens() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).with_losses(1).but(Departure::CountsFromOne));
}

#[test]
fn a_node_that_restarts_with_an_old_counter_issues_a_token_twice() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).with_losses(1).but(Departure::ComesBackWithOldCounter));
}

#[test]
fn an_acquire_that_sets_its_key_again_without_counting_issues_a_token_twice() {
    breaks(&Protocol::<2>::new([[1, 1, 2]]).with_repeats(1).but(Departure::SetsAgainWithoutCounting));
}

/// Visits all worlds, at least this many, and checks that no token is wrong in any.
fn orders<const R: usize>(protocol: &Protocol<R>, at_least: usize) {
    let found = protocol.search(|world| world.wrong.is_some());
    println!("{protocol}: {} worlds, {} steps between them", found.states, found.steps);
    if let Some(way) = found.way {
        panic!("{protocol}: a token is wrong:\n{way}");
    }
    assert!(found.states >= at_least, "{protocol}: only {} worlds", found.states);
}

/// Finds the nearest world in which a token is wrong.
fn breaks<const R: usize>(protocol: &Protocol<R>) {
    let found = protocol.search(|world| world.wrong.is_some());
    let way = found.way.unwrap_or_else(|| panic!("{protocol}: no token is wrong in {} worlds", found.states));
    println!("{protocol}: found in {} worlds\n{way}", found.states);
}
