//! Within the assumptions nothing is found, and the same number makes the same history.

use std::sync::atomic::Ordering;

use redlock_mock::What;
use redlock_simulation::{Case, Sabotage, Scope, Search, Tally, case, play};

#[test]
fn no_history_makes_two_holders_or_leaves_anything_behind() {
    let tally = Tally::default();
    let found = Search { scope: None, seed: 1, cases: 1_000, sabotage: Sabotage::None, oracle: None }.run(&tally);
    assert!(found.is_none(), "{}", found.unwrap());
    let locks = tally.locks.load(Ordering::Relaxed);
    assert!(locks > 2_000, "only {locks} locks were taken: the histories prove little");
}

#[test]
fn fencing_tokens_order_holders_whatever_clocks_do_and_nodes_forget() {
    finds_nothing(Scope::Fenced);
}

#[test]
fn no_writer_is_together_with_anybody_among_readers_and_downgrades() {
    finds_nothing(Scope::Shared);
}

#[test]
fn a_restart_guard_makes_up_for_nodes_that_forget_at_any_time() {
    finds_nothing(Scope::Guarded);
}

#[test]
fn each_waiter_is_notified_and_served_in_its_turn() {
    finds_nothing(Scope::Waiting);
}

#[test]
fn there_are_never_more_holders_than_permits_and_never_two_of_one_slot() {
    finds_nothing(Scope::Permits);
}

fn finds_nothing(scope: Scope) {
    let tally = Tally::default();
    let search = Search { scope: Some(scope), seed: 1, cases: 1_000, sabotage: Sabotage::None, oracle: None };
    if let Some(found) = search.run(&tally) {
        panic!("{found}");
    }
    let locks = tally.locks.load(Ordering::Relaxed);
    assert!(locks > 1_500, "only {locks} locks were taken: the histories prove little");
}

#[test]
fn one_number_makes_one_history_to_the_last_message() {
    for (seed, scope) in [
        (1, Scope::Promised),
        (2, Scope::Promised),
        (3, Scope::Restarts),
        (4, Scope::Healthy),
        (5, Scope::Fenced),
        (6, Scope::Guarded),
        (7, Scope::Waiting),
        (8, Scope::Orphans),
        (9, Scope::Permits),
        (10, Scope::Shared),
    ] {
        let (first, second) = (case(scope, seed), case(scope, seed));
        assert_eq!(first, second);
        assert_eq!(play(&first, scope, Sabotage::None), play(&second, scope, Sabotage::None), "seed {seed}");
    }
}

#[test]
fn a_saved_case_is_the_same_when_it_is_loaded() {
    for seed in 1..50 {
        let case = case(Scope::Restarts, seed);
        let saved = serde_json::to_string(&case).unwrap();
        assert_eq!(serde_json::from_str::<Case>(&saved).unwrap(), case);
    }
}

#[test]
fn every_random_cut_cuts_something() {
    let cuts = |seed| {
        case(Scope::Promised, seed).history.events.into_iter().filter_map(|event| match event.what {
            What::Cut { requests, answers, .. } => Some((requests, answers)),
            _ => None,
        })
    };
    let cuts: Vec<_> = (0..300).flat_map(cuts).collect();
    assert!(cuts.len() > 100 && !cuts.contains(&(None, None)), "{cuts:?}");
}

#[test]
fn no_key_without_an_owner_remains_on_a_node_that_answers_again() {
    finds_nothing(Scope::Orphans);
}
