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
mod permits;
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
    /// Whether it is about something that only real servers have: passwords, roles, sockets.
    pub only_on_servers: bool,
    /// Checks the promise; panics if it is broken.
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

/// Returns every scenario.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    EVERYWHERE.iter().chain(ON_SERVERS)
}

scenarios! { EVERYWHERE, false:
    contract {
        an_acquire_sets_the_token_for_the_ttl,
        an_acquire_without_the_clock_gets_the_same_answer,
        an_acquire_is_refused_while_another_token_holds_the_key,
        an_acquire_that_finds_its_own_token_is_granted,
        an_extend_renews_the_expiry,
        an_extend_never_shortens_the_expiry,
        an_extend_sets_a_lost_key_again,
        an_extend_does_not_change_the_key_of_another_holder,
        a_release_deletes_its_own_key_once,
        a_release_does_not_delete_the_key_of_another_holder,
        an_inspect_reports_the_holder_and_changes_nothing,
        a_holder_without_expiry_is_reported_as_such,
        a_key_of_another_type_is_an_error_and_not_deleted,
        any_name_can_be_a_key,
        a_token_may_name_its_owner,
        the_shortest_and_the_longest_ttl_are_accepted,
        either_all_of_several_keys_are_set_or_none,
        several_keys_of_which_some_hold_the_token_are_granted,
        several_keys_are_refused_while_any_is_held,
        either_all_of_several_keys_are_extended_or_none,
        a_release_deletes_those_of_several_keys_that_hold_its_token,
        a_key_of_another_type_among_several_is_an_error,
    }
    acquire {
        a_free_lock_is_acquired_on_all_nodes,
        a_held_lock_is_contended,
        a_waiter_gets_the_lock_after_its_release,
        a_waiter_gets_the_lock_after_its_holder_crashed,
        locks_on_different_resources_are_independent,
        every_lock_has_its_own_token,
        a_lock_names_its_owner_on_the_nodes,
        every_key_begins_with_the_prefix,
        a_lost_round_leaves_nothing_behind,
        a_cancelled_call_leaves_nothing_behind,
        work_under_the_lock_is_exclusive,
    }
    waiting {
        a_release_notifies_a_waiter_of_another_process,
        waiters_of_several_processes_take_turns,
        a_waiter_that_gets_the_lock_by_hand_off_holds_all_nodes,
        a_waiters_key_of_another_type_disables_only_notifications,
        a_release_notifies_the_first_live_waiter_behind_any_number_of_dead_ones,
    }
    extend {
        an_extended_lock_outlives_its_first_ttl,
        an_expired_lock_is_not_revived,
        extending_a_lock_that_another_holder_took_reports_it_lost,
        a_failed_extend_does_not_lose_the_lock,
    }
    work {
        an_auto_extended_lock_lasts_as_long_as_its_work,
        an_auto_extended_lock_survives_the_restart_of_every_node_in_turn,
        a_lock_that_no_quorum_confirms_is_reported_lost_before_its_keys_expire,
        an_auto_extended_lock_that_another_holder_took_is_reported_lost,
        using_runs_work_under_the_lock_and_releases_it,
        work_whose_lock_is_lost_is_dropped,
    }
    many {
        several_locks_are_acquired_and_released_as_one,
        overlapping_locks_exclude_each_other,
        several_locks_are_extended_as_one,
        a_lost_round_over_several_names_leaves_nothing_behind,
        names_in_different_orders_never_deadlock,
        several_names_are_locked_in_time_next_to_queued_locks_of_each,
        duplicate_names_count_once,
    }
    inspect {
        a_held_lock_names_its_holder,
        a_free_lock_is_reported_free,
        a_lock_is_held_for_as_long_as_a_quorum_holds_it,
        a_value_of_another_library_is_reported_and_escaped,
        a_split_vote_is_distinguished_from_a_lock,
        an_inspection_is_certain_with_a_quorum_of_answers,
        with_too_few_answers_an_inspection_does_not_guess,
        a_key_of_another_type_is_reported,
    }
    list {
        a_listing_names_all_locks_and_nothing_else,
        a_listing_is_incomplete_without_a_quorum_of_answers,
    }
    check {
        nodes_describe_themselves_and_nothing_changes,
        one_server_behind_two_names_is_an_error,
        nodes_that_are_down_or_hung_are_reported_without_delay,
    }
    hand_over {
        a_lock_continues_in_another_process,
        several_names_are_resumed_as_one_lock,
        an_expired_lock_is_not_resumed,
        a_lock_that_another_holder_took_is_not_resumed,
        a_lock_that_half_of_the_nodes_forgot_is_not_resumed,
        a_minority_may_have_forgotten_the_lock,
        with_too_few_answers_a_lock_can_be_resumed_again,
        a_hung_minority_is_not_waited_for,
        a_resumed_lock_can_be_extended_automatically,
        the_first_process_sets_no_key_that_the_second_released,
    }
    release {
        a_released_lock_is_free_at_once,
        a_dropped_lock_is_released,
        many_locks_dropped_at_once_leave_nothing_behind,
        releasing_an_expired_lock_returns_not_held,
        a_late_release_does_not_release_the_next_holder,
        a_release_without_a_quorum_has_an_unknown_outcome,
    }
    named {
        a_name_is_locked_and_unlocked,
        another_task_cannot_unlock,
        a_newer_lock_of_another_task_is_never_deleted,
        unlocking_an_expired_lock_is_an_error,
        release_all_leaves_nothing_behind,
    }
    permits {
        there_are_as_many_holders_as_permits,
        the_only_free_slot_is_found,
        a_release_notifies_a_waiter_of_another_process,
        many_tasks_of_many_processes_share_few_permits,
        another_number_of_permits_is_refused_while_one_is_held,
        a_permit_is_extended_and_restored_with_its_number,
        a_permit_whose_slot_another_took_is_told_gone,
        a_cancelled_call_leaves_no_slot_behind,
        a_minority_that_hangs_costs_no_permit,
        a_slot_counts_its_fencing_tokens,
        permits_and_the_restart_guard_go_together,
        an_inspection_names_the_holders_of_permits,
        work_with_a_permit_knows_its_slot,
        a_node_lists_the_slots_that_are_free,
        a_node_restores_no_slot_beside_another_number_of_permits,
        permits_that_no_semaphore_can_have_are_refused,
    }
    quorum {
        every_subset_of_stopped_nodes_is_decided,
        every_subset_of_hung_nodes_is_decided,
        every_split_of_nodes_held_by_another_is_decided,
        a_lock_is_acquired_with_two_of_five_nodes_stopped_and_one_slow,
        with_three_of_five_nodes_stopped_the_error_names_each_node,
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
        a_counter_is_a_separate_key_that_outlives_its_lock,
        an_extend_and_a_transfer_keep_the_fencing_token,
        work_under_a_lock_can_read_its_fencing_token,
        a_node_that_forgot_its_counter_does_not_lower_the_next_token,
        nodes_with_different_counters_agree_on_the_greatest,
        a_lock_with_several_names_has_one_token_above_those_of_each_name,
        a_counter_far_ahead_of_the_clock_counts_against_its_node,
        a_minority_is_not_needed_for_a_token,
        a_counter_that_is_no_number_is_an_error_and_not_changed,
    }
    guard {
        a_new_fleet_is_opened_once,
        a_new_fleet_opens_by_itself_after_the_longest_ttl,
        a_node_that_restarts_empty_makes_no_second_holder,
        a_holder_may_extend_on_a_node_in_quarantine,
        a_minority_in_quarantine_is_not_needed,
        the_quarantine_ends_after_the_longest_ttl,
        a_fleet_with_a_node_in_use_is_not_opened,
        a_fleet_with_a_node_that_is_down_is_not_opened,
        a_ttl_above_the_longest_is_rejected,
        nodes_reject_a_different_longest_ttl,
        a_marker_that_cannot_be_read_is_an_error_and_not_changed,
        fencing_and_the_restart_guard_work_together,
    }
    hung {
        a_hung_minority_is_not_waited_for,
        a_node_that_hung_receives_its_release,
        a_node_that_hung_is_used_again,
        nodes_that_hang_one_after_the_other_never_cost_the_quorum,
        requests_in_the_socket_of_a_hung_node_are_released_again,
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
        a_ttl_of_zero_is_rejected,
        a_ttl_over_the_limit_is_rejected,
        a_ttl_too_short_for_the_node_timeout_is_rejected,
        an_empty_name_is_rejected,
        a_huge_name_is_rejected,
        a_prefix_that_makes_keys_too_long_is_rejected,
        no_names_and_too_many_names_are_rejected,
        an_extend_with_a_bad_ttl_keeps_the_lock,
        a_fleet_without_nodes_is_rejected,
        a_duplicate_node_is_rejected,
    }
    bad_node {
        a_key_of_another_type_is_reported_and_not_deleted,
    }
}

scenarios! { ON_SERVERS, true:
    bad_node {
        a_wrong_password_is_reported,
        a_missing_password_is_reported,
        a_user_without_permission_for_scripts_is_reported,
        a_read_only_replica_is_reported,
        a_replica_does_not_grant_a_lock_that_was_copied_to_it,
        a_node_out_of_memory_is_reported,
        beyond_the_promise_a_node_that_evicts_forgets_a_lock,
        a_loading_node_is_reported,
        an_unknown_host_is_reported,
        a_server_that_is_not_redis_is_an_error,
        a_server_with_too_many_clients_is_reported,
        a_server_in_protected_mode_is_reported,
        a_database_that_does_not_exist_is_reported,
        a_port_without_tls_is_reported,
        errors_that_no_retry_can_cure_end_the_call_early,
        no_message_of_a_server_shows_a_token_or_a_password,
        a_message_of_a_server_is_truncated_to_500_characters,
    }
    inspect {
        a_huge_value_is_neither_fetched_nor_compared,
    }
    permits {
        a_user_may_use_permits_with_no_more_than_the_guide_says,
    }
    waiting {
        a_user_without_permission_to_notify_polls,
        the_permissions_in_the_guide_are_enough_for_notifications,
        waiters_with_impossible_scores_block_nobody,
        a_flood_of_messages_costs_a_waiter_few_rounds,
        unread_messages_do_not_pile_up,
    }
    shared {
        a_user_without_the_time_is_told_for_shared_locks_only,
        a_user_may_share_with_no_more_than_the_guide_says,
        a_replica_grants_no_reader_that_was_copied_to_it,
    }
    list {
        locks_are_found_among_many_other_keys,
        a_listing_names_the_locks_that_its_user_may_read_or_reports_missing_permissions,
    }
    release {
        a_release_that_a_stopped_node_missed_is_delivered_once_it_is_up_again,
    }
    guard {
        a_restarted_node_that_kept_its_data_is_quarantined_as_well,
    }
    check {
        a_replica_is_reported_with_its_primary,
        a_node_that_may_evict_locks_is_reported,
        missing_persistence_is_reported,
        persistence_by_snapshots_alone_is_reported,
        a_wrong_password_is_reported,
        facts_that_a_user_may_not_query_are_reported_as_unknown,
        members_of_one_cluster_are_reported,
    }
    connection {
        user_password_and_database_are_used,
        a_redlock_go_url_is_used,
        a_unix_socket_is_used,
        scripts_that_the_server_no_longer_has_are_sent_again,
        a_broken_connection_is_made_again,
        a_lost_answer_is_not_reported_as_a_lost_lock,
        no_password_is_ever_printed,
        a_user_without_a_password_never_becomes_another_user,
        a_password_for_a_server_without_one_is_no_error,
        idle_connections_are_kept_alive,
        a_silently_dropped_idle_connection_costs_no_vote,
        a_host_name_that_leads_to_another_server_is_followed,
        a_node_far_away_grants_the_first_attempt,
        a_node_outlives_the_runtime_that_connected_it,
    }
}
