//! Every invariant checker can fail: each one finds a deliberately broken variant.

use redlock_simulation::{Found, Oracle, Sabotage, Scope, Search, Tally, Violation, case, play};

/// Returns what the checker finds in a number of cases from a fixed seed: a case that a person can read.
fn finds(oracle: Oracle, scope: Scope, sabotage: Sabotage) -> Found {
    finds_from(1, oracle, scope, sabotage)
}

/// Like [`finds`], from a seed that has such a case among the first thousand. On average it takes some thousands.
fn finds_from(seed: u64, oracle: Oracle, scope: Scope, sabotage: Sabotage) -> Found {
    const CASES: u64 = 5_000;
    let search = Search { scope: Some(scope), seed, cases: CASES, sabotage, oracle: Some(oracle) };
    let found = search.run(&Tally::default());
    let found = found.unwrap_or_else(|| panic!("{oracle} finds nothing: {scope:?}, {sabotage:?}"));
    assert!(found.played.violations.iter().any(|violation| violation.oracle == oracle), "{found}");
    let (events, holds) = (found.case.history.events.len(), found.case.programs.iter().flatten().count());
    assert!(events + holds <= 24, "not shrunk: {found}");
    found
}

#[test]
fn mutual_exclusion_finds_a_lock_without_the_allowance_for_drift() {
    finds(Oracle::MutualExclusion, Scope::Promised, Sabotage::NoDriftAllowance);
}

#[test]
fn mutual_exclusion_finds_holders_that_hold_too_long() {
    finds(Oracle::MutualExclusion, Scope::Promised, Sabotage::HoldsTooLong);
}

#[test]
fn mutual_exclusion_finds_nodes_that_release_or_take_the_locks_of_others() {
    finds(Oracle::MutualExclusion, Scope::Promised, Sabotage::ReleasesOthers);
    finds(Oracle::MutualExclusion, Scope::Promised, Sabotage::TakesOver);
}

#[test]
fn mutual_exclusion_finds_writers_beside_readers_and_readers_beside_writers() {
    finds(Oracle::MutualExclusion, Scope::Shared, Sabotage::WritesBesideReaders);
    finds(Oracle::MutualExclusion, Scope::Shared, Sabotage::ReadsBesideWriters);
    finds(Oracle::MutualExclusion, Scope::Shared, Sabotage::DowngradesOthers);
}

#[test]
fn honesty_finds_a_node_that_only_pretends_to_grant() {
    finds(Oracle::Honesty, Scope::Promised, Sabotage::GrantsNothing);
}

#[test]
fn mutual_exclusion_finds_a_node_that_only_pretends_to_extend() {
    finds(Oracle::MutualExclusion, Scope::Promised, Sabotage::ExtendsNothing);
}

#[test]
fn honesty_finds_a_loss_that_is_reported_late() {
    finds(Oracle::Honesty, Scope::Promised, Sabotage::TellsLate);
}

#[test]
fn progress_finds_a_rolling_restart_after_which_nodes_are_not_healed() {
    finds(Oracle::Progress, Scope::RollingRestarts, Sabotage::NeverHeals);
}

#[test]
fn honesty_finds_a_node_that_denies_a_release() {
    finds(Oracle::Honesty, Scope::Healthy, Sabotage::DeniesRelease);
}

#[test]
fn no_residue_finds_a_node_that_only_pretends_to_release() {
    finds(Oracle::NoResidue, Scope::Healthy, Sabotage::ReleasesNothing);
}

#[test]
fn no_residue_finds_keys_without_an_expiry() {
    finds(Oracle::NoResidue, Scope::Promised, Sabotage::NeverExpires);
}

#[test]
fn progress_finds_a_dead_majority() {
    finds(Oracle::Progress, Scope::Healthy, Sabotage::DeadMajority);
}

#[test]
fn bounded_work_finds_tasks_that_are_left_behind() {
    finds(Oracle::BoundedWork, Scope::Promised, Sabotage::LeavesTasks);
}

#[test]
fn bounded_work_finds_a_process_that_works_after_it_was_closed() {
    finds(Oracle::BoundedWork, Scope::Promised, Sabotage::WorksOn);
}

#[test]
fn bounded_work_finds_a_panic_in_a_task_that_nobody_waits_for() {
    let found = finds(Oracle::BoundedWork, Scope::Promised, Sabotage::PanicsUnheard);
    assert!(found.violation.what.contains("on purpose"), "{found}");
}

#[test]
fn fencing_finds_grants_that_raise_no_counter() {
    finds(Oracle::Fencing, Scope::Fenced, Sabotage::CountsNothing);
}

#[test]
fn fencing_finds_a_raise_for_the_lock_of_another_holder() {
    finds_from(60_001, Oracle::Fencing, Scope::Fenced, Sabotage::RaisesForOthers);
}

#[test]
fn fencing_finds_lost_counters_that_do_not_begin_with_the_clock() {
    finds_from(60_001, Oracle::Fencing, Scope::Fenced, Sabotage::CountsFromNothing);
    finds(Oracle::Fencing, Scope::Fenced, Sabotage::HealsFromNothing);
}

#[test]
fn mutual_exclusion_finds_a_restart_guard_that_waits_too_briefly_or_takes_any_marker() {
    finds(Oracle::MutualExclusion, Scope::Guarded, Sabotage::HalfQuarantine);
    finds(Oracle::MutualExclusion, Scope::Guarded, Sabotage::AnyMarker);
}

#[test]
fn waiting_finds_nodes_that_notify_nobody_or_grant_out_of_turn() {
    finds(Oracle::Waiting, Scope::Waiting, Sabotage::WakesNobody);
    finds(Oracle::Waiting, Scope::Waiting, Sabotage::GrantsOutOfTurn);
}

#[test]
fn no_orphans_finds_a_failed_release_that_is_forgotten() {
    let found = finds(Oracle::Orphans, Scope::Orphans, Sabotage::ForgetsFailedReleases);
    assert!(!found.played.ledger.orphans(&found.played.records).is_empty(), "{found}");
}

#[test]
fn permits_finds_nodes_that_count_holders_and_nodes_that_take_slots_over() {
    finds(Oracle::Permits, Scope::Permits, Sabotage::CountsHolders);
    finds(Oracle::Permits, Scope::Permits, Sabotage::TakesOver);
}

/// The reason why a permit is a slot: three hold two permits, without any fault.
#[test]
fn beyond_the_promise_a_counted_semaphore_has_three_holders_of_two_permits() {
    let scope = Scope::CountedSemaphore;
    let found = finds(Oracle::Permits, scope, scope.sabotage());
    let too_many = |violation: &Violation| violation.what.contains("3 processes hold 2 permits");
    assert!(found.played.violations.iter().any(too_many), "{found}");
    assert!(found.picture().to_svg().contains("3 processes hold 2 permits"));
}

/// A counter that comes back with an older value does not begin again with the clock.
#[test]
fn beyond_the_promise_counters_with_an_older_value_issue_a_token_twice() {
    finds(Oracle::Fencing, Scope::StaleCounters, Sabotage::None);
}

#[test]
fn progress_finds_a_process_that_cannot_begin() {
    let mut case = case(Scope::Promised, 1);
    case.history.nodes = 0;
    let played = play(&case, Scope::Promised, Sabotage::None);
    let cannot_begin = |violation: &Violation| violation.oracle == Oracle::Progress && violation.what.contains("begin");
    assert!(played.violations.iter().any(cannot_begin), "{:?}", played.violations);
}

/// Demonstrates what the library does not promise: without the assumption, two holders have one lock.
#[test]
fn beyond_the_promise_restarts_clock_jumps_and_pauses_break_mutual_exclusion() {
    for scope in [Scope::Restarts, Scope::ClockJumps, Scope::Pauses] {
        let found = finds(Oracle::MutualExclusion, scope, Sabotage::None);
        assert!(found.picture().to_svg().contains("</svg>"));
    }
}
