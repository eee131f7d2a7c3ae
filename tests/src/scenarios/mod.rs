//! The one list of scenarios. Adding one is a line here; every backend then runs it.

mod acquire;
mod bad_input;
mod bad_node;
mod check;
mod connection;
mod contract;
mod extend;
mod fencing;
mod guard;
mod hand_over;
mod hung;
mod inspect;
mod list;
mod many;
mod named;
mod quorum;
mod release;
mod restart;
mod shared;
mod waiting;
mod work;

use std::{future::Future, pin::Pin};

use crate::lab::Lab;

/// One promise, checked on the nodes of a lab.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// `module::promise`.
    pub name: &'static str,
    /// Whether it is about what only real servers have: passwords, roles, sockets.
    pub only_on_servers: bool,
    /// Checks it; panics if it does not hold.
    pub run: for<'a> fn(&'a Lab) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

macro_rules! scenarios {
    ($name:ident, $only_on_servers:literal: $($module:ident { $($scenario:ident,)+ })+) => {
        const $name: &[Scenario] = &[$($(Scenario {
            name: concat!(stringify!($module), "::", stringify!($scenario)),
            only_on_servers: $only_on_servers,
            run: |lab| Box::pin($module::$scenario(lab)),
        },)+)+];
    };
}

/// Every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    EVERYWHERE.iter().chain(ON_SERVERS)
}

scenarios! { EVERYWHERE, false:
    contract {
        an_acquire_sets_the_token_for_the_ttl,
        an_acquire_that_need_not_tell_the_time_is_the_same,
        an_acquire_is_refused_while_another_holds,
        an_acquire_that_finds_its_own_token_is_granted,
        an_extend_renews_the_expiry,
        an_extend_never_shortens_the_expiry,
        an_extend_sets_a_lost_key_again,
        an_extend_leaves_another_holder_alone,
        a_release_deletes_its_own_key_once,
        a_release_leaves_another_holder_alone,
        an_inspect_tells_and_changes_nothing,
        a_holder_without_expiry_is_told_as_such,
        a_key_of_another_type_is_an_error_and_stays,
        any_name_is_a_key,
        a_token_may_name_its_owner,
        the_shortest_and_the_longest_ttl_are_taken,
        many_keys_are_set_all_or_none,
        many_keys_of_which_some_hold_the_token_are_granted,
        many_keys_are_refused_for_as_long_as_any_is_held,
        many_keys_are_extended_all_or_none,
        many_keys_are_released_as_far_as_they_are_ours,
        a_key_of_another_type_among_many_is_an_error,
    }
    acquire {
        a_free_lock_is_taken_on_all_nodes,
        a_held_lock_is_contended,
        a_waiter_gets_the_lock_after_its_release,
        a_waiter_gets_the_lock_after_its_holder_crashed,
        other_resources_are_free,
        every_lock_has_a_token_of_its_own,
        a_lock_names_its_owner_on_the_nodes,
        a_prefix_stands_before_every_key,
        a_lost_round_leaves_nothing_behind,
        a_cancelled_call_leaves_nothing_behind,
        work_under_the_lock_is_exclusive,
    }
    waiting {
        a_release_wakes_a_waiter_of_another_process,
        waiters_of_many_processes_take_turns,
        who_takes_over_from_the_holder_before_holds_all_nodes,
        a_waiters_key_of_another_type_costs_only_the_wake_up,
        a_release_reaches_the_first_waiter_that_is_alive_behind_any_number_of_dead_ones,
    }
    extend {
        an_extended_lock_outlives_its_first_ttl,
        an_expired_lock_is_not_revived,
        a_lock_that_another_took_is_told_lost,
        a_failed_extend_keeps_the_lock,
    }
    work {
        a_kept_lock_follows_its_work,
        a_kept_lock_survives_the_restart_of_every_node_in_turn,
        a_lock_that_nobody_confirms_is_told_lost_before_its_keys_expire,
        a_kept_lock_that_another_took_is_told_lost,
        work_is_done_under_its_lock_and_the_lock_given_back,
        work_whose_lock_is_lost_is_dropped,
    }
    many {
        many_locks_are_taken_and_given_back_as_one,
        overlapping_locks_exclude_each_other,
        many_locks_are_extended_as_one,
        a_lost_round_over_many_leaves_nothing_behind,
        names_in_any_order_never_deadlock,
        several_names_are_locked_in_time_next_to_queued_locks_of_each,
        duplicates_count_once,
    }
    inspect {
        a_held_lock_names_its_holder,
        a_free_lock_is_told_free,
        a_lock_is_held_for_as_long_as_a_quorum_holds_it,
        what_another_library_has_set_is_told_and_escaped,
        a_split_is_told_from_a_lock,
        with_a_quorum_of_answers_there_is_no_doubt,
        with_too_few_answers_nothing_is_guessed,
        a_key_of_another_type_is_told,
    }
    list {
        all_locks_are_named_and_nothing_else_is,
        a_list_says_whether_too_many_nodes_are_missing,
    }
    check {
        nodes_tell_what_they_are_and_nothing_changes,
        one_server_behind_two_names_is_an_error,
        nodes_that_are_down_or_hang_are_told_and_hold_nobody_up,
    }
    hand_over {
        a_lock_goes_on_in_another_process,
        many_locks_go_on_as_one,
        an_expired_lock_is_not_resumed,
        a_lock_that_another_took_is_not_resumed,
        a_lock_that_half_of_the_nodes_forgot_is_not_resumed,
        a_minority_may_have_forgotten_it,
        with_too_few_answers_it_can_be_resumed_again,
        a_hung_minority_is_not_waited_for,
        a_resumed_lock_is_kept,
        nothing_of_the_first_process_sets_a_key_that_the_second_released,
    }
    release {
        a_released_lock_is_free_at_once,
        a_dropped_lock_is_given_back,
        many_locks_dropped_at_once_leave_nothing_behind,
        a_lock_that_expired_is_told_gone,
        the_next_holder_is_not_released,
        a_release_without_a_quorum_is_told_unknown,
    }
    named {
        a_name_is_locked_and_unlocked,
        another_task_cannot_unlock,
        a_newer_lock_of_another_task_is_never_deleted,
        an_expired_lock_is_told,
        release_all_leaves_nothing_behind,
    }
    quorum {
        every_subset_of_stopped_nodes_is_decided,
        every_subset_of_hung_nodes_is_decided,
        every_split_of_nodes_held_by_another_is_decided,
        a_lock_is_taken_with_two_of_five_stopped_and_one_slow,
        with_three_of_five_stopped_the_error_names_each,
    }
    restart {
        a_lock_survives_the_restart_of_a_minority,
        an_extended_lock_survives_the_restart_of_every_node_in_turn,
        beyond_the_promise_one_node_that_restarts_empty_makes_two_holders,
        a_node_that_was_down_at_the_start_is_used_once_it_is_up,
        a_node_that_restarts_is_used_again,
    }
    fencing {
        each_token_is_greater_than_the_one_before,
        contenders_get_tokens_in_the_order_of_their_locks,
        without_fencing_there_is_no_token_and_no_counter,
        a_counter_stands_beside_its_lock_and_outlives_it,
        an_extend_and_a_hand_over_keep_the_token,
        work_is_told_its_token,
        a_node_that_forgot_its_counter_does_not_lower_the_next_token,
        nodes_that_have_counted_apart_agree_on_the_greatest,
        many_locks_have_one_token_above_those_of_each,
        a_counter_far_ahead_of_the_clock_counts_against_its_node,
        a_minority_is_not_needed_for_a_token,
        a_counter_that_is_none_is_an_error_and_stays,
    }
    guard {
        a_new_fleet_is_opened_once,
        a_new_fleet_that_nobody_opened_opens_by_itself,
        a_node_that_restarts_empty_makes_no_second_holder,
        a_holder_may_extend_on_a_node_in_quarantine,
        a_minority_in_quarantine_is_not_needed,
        the_quarantine_ends_after_the_longest_ttl,
        a_fleet_of_which_one_node_is_in_use_is_not_opened,
        a_fleet_of_which_one_node_is_down_is_not_opened,
        a_ttl_above_the_longest_is_refused,
        another_longest_ttl_is_refused_by_the_nodes,
        a_marker_that_is_none_is_an_error_and_stays,
        fencing_and_guard_go_together,
    }
    hung {
        a_hung_minority_is_not_waited_for,
        a_node_that_hung_is_given_its_release,
        a_node_that_hung_is_used_again,
        nodes_that_hang_one_after_the_other_never_cost_the_quorum,
        what_lay_in_the_socket_of_a_hung_node_is_released_again,
    }
    shared {
        an_absent_key_gets_a_reader_and_expires_with_it,
        a_writers_key_refuses_readers_but_its_own,
        readers_join_readers_and_the_key_expires_with_the_last,
        a_writer_is_refused_by_readers_for_as_long_as_the_last,
        an_extend_of_a_reader_never_shortens_and_sets_a_lost_reader_again,
        a_release_takes_one_reader_out_and_the_last_one_deletes_the_key,
        a_downgrade_makes_a_reader_of_its_own_writer_and_keeps_the_ttl,
        a_sorted_set_of_something_else_is_an_error_and_stays,
        readers_that_have_ended_are_removed,
        many_keys_are_shared_all_or_none,
        an_intent_of_a_writer_keeps_new_readers_out,
        readers_are_told_and_one_is_asked_for,
        readers_and_writers_exclude_each_other,
        a_writer_that_waits_comes_before_readers_that_come_later,
        a_lock_is_downgraded_while_readers_wait,
        a_shared_lock_is_extended_resumed_listed_and_inspected,
        readers_never_see_a_write_and_writers_never_a_reader,
    }
    bad_input {
        a_ttl_of_zero_is_refused,
        a_ttl_over_the_bound_is_refused,
        a_ttl_too_short_for_the_node_timeout_is_refused,
        an_empty_name_is_refused,
        a_huge_name_is_refused,
        a_prefix_that_makes_keys_too_long_is_refused,
        no_names_and_too_many_are_refused,
        an_extend_with_a_bad_ttl_keeps_the_lock,
        no_nodes_are_refused,
        one_node_given_twice_is_refused,
    }
    bad_node {
        a_key_of_another_type_is_told_and_stays,
    }
}

scenarios! { ON_SERVERS, true:
    bad_node {
        a_wrong_password_is_told,
        a_missing_password_is_told,
        a_user_who_may_not_run_scripts_is_told,
        a_read_only_replica_is_told,
        a_replica_does_not_grant_what_was_copied_to_it,
        a_full_node_is_told,
        beyond_the_promise_a_node_that_evicts_forgets_a_lock,
        a_loading_node_is_told,
        an_unknown_host_is_told,
        a_server_that_is_not_redis_is_told,
        a_server_with_too_many_clients_is_told,
        a_server_in_protected_mode_is_told,
        a_database_that_does_not_exist_is_told,
        a_port_without_tls_is_told,
        what_no_retry_can_cure_is_not_tried_until_the_end,
        no_message_of_a_server_shows_a_token_or_a_password,
        a_message_of_a_server_is_cut_at_500_characters,
    }
    inspect {
        a_huge_value_is_neither_fetched_nor_compared,
    }
    waiting {
        a_user_who_may_not_wake_polls,
        a_user_may_wake_with_no_more_than_the_guide_says,
        scores_that_no_clock_gives_block_nobody,
        a_flood_of_messages_costs_a_waiter_few_rounds,
        messages_that_nobody_reads_do_not_pile_up,
    }
    shared {
        a_user_without_the_time_is_told_for_shared_locks_only,
        a_user_may_share_with_no_more_than_the_guide_says,
        a_replica_grants_no_reader_that_was_copied_to_it,
    }
    list {
        locks_are_found_among_many_other_keys,
        a_user_hears_of_the_locks_that_it_may_read_or_that_it_may_not_look,
    }
    release {
        a_release_that_a_dead_node_missed_is_delivered_once_it_is_back,
    }
    guard {
        a_node_that_kept_its_data_is_quarantined_as_well,
    }
    check {
        a_replica_is_told_with_its_primary,
        a_node_that_may_evict_locks_is_told,
        what_a_restart_forgets_is_told,
        snapshots_alone_are_told,
        a_wrong_password_is_told,
        what_a_user_may_not_ask_is_told_as_unknown,
        members_of_one_cluster_are_told,
    }
    connection {
        user_password_and_database_are_used,
        a_redlock_go_url_is_used,
        a_unix_socket_is_used,
        scripts_that_the_server_forgot_are_sent_again,
        a_broken_connection_is_made_anew,
        a_lost_answer_raises_no_false_alarm,
        no_password_is_ever_printed,
        a_user_without_a_password_never_becomes_another_user,
        a_password_for_a_server_without_one_is_no_error,
        idle_connections_are_kept_alive,
        a_path_that_forgot_an_idle_connection_costs_no_vote,
        a_name_that_leads_to_another_server_is_followed,
        a_node_far_away_grants_the_first_attempt,
        a_node_outlives_the_runtime_that_connected_it,
    }
}
