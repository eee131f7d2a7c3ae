//! A round: votes, early decisions, late answers, the fencing token.

use super::*;
use crate::{
    algorithm::{Cause, RoundFailure},
    engine::{
        command::QueueNote,
        event::{Timer, Why},
    },
    node::RaiseAnswer,
};

#[test]
fn all_nodes_are_asked_before_any_answer_is_looked_at() {
    let mut bench = Bench::new(1);
    let commands = bench.on(Event::Acquire(bench.acquire()));
    assert_eq!(commands[0], Command::Arm { timer: Timer::Round, at: bench.now + TIMEOUT });
    assert_eq!(asked(&commands), [0, 1, 2]);
    let ask = Ask {
        lease: 1,
        request: Request::Acquire { ttl: ttl(), predecessors: Box::default() },
        until: bench.now + TIMEOUT,
        node_timeout: TIMEOUT,
        again: false,
    };
    assert_eq!(commands[3], Command::Enqueue { node: 2, ask });
    assert_eq!((commands.len(), bench.keys()), (4, [KeyState::Perhaps; 3]));
}

#[test]
fn a_quorum_wins_at_once_and_the_validity_counts_from_before_the_first_byte() {
    let mut bench = Bench::asking();
    let deadline = bench.now + VALIDITY;
    assert_eq!(bench.pass(2).answer(2, granted()), []);
    assert_eq!(
        bench.answer(0, granted()),
        [
            Command::Arm { timer: Timer::Validity, at: deadline },
            Command::Resolve(Question::Acquire, Outcome::Acquired { deadline, fence: None }),
        ]
    );
    assert_eq!(bench.left(), VALIDITY - Duration::from_secs(2));
}

#[test]
fn a_caller_is_answered_once() {
    let mut bench = Bench::holding();
    assert_eq!(bench.answer(2, granted()), []);
    assert_eq!(bench.on(Event::Timer(Timer::Round)), []);
    assert_eq!(bench.keys(), [KeyState::Ours; 3]);
}

#[test]
fn a_lost_round_is_released_on_every_node_that_may_hold_it() {
    let mut bench = Bench::asking();
    assert_eq!(bench.answer(0, held()), []);
    let commands = bench.answer(1, held());
    assert_eq!(releases(&commands), [2], "the others refused");
    assert!(commands.contains(&Command::Queue(QueueNote::Releasing { notifies: false })));
    let [(Question::Acquire, Outcome::NotAcquired { lost: RoundFailure::Contended, .. })] = &resolved(commands)[..]
    else {
        panic!("the caller is not answered")
    };
}

#[test]
fn a_late_grant_changes_what_is_known_and_never_the_decision() {
    let mut bench = Bench::asking();
    let lost = bench.pass(1).on(Event::Timer(Timer::Round));
    assert_eq!(releases(&lost), [0, 1, 2]);
    assert_eq!(bench.answer_first(0, granted()), []);
    assert_eq!(bench.answer_first(1, granted()), []);
    assert_eq!((bench.keys(), bench.left()), ([KeyState::Ours, KeyState::Ours, KeyState::Perhaps], Duration::ZERO));
    bench.answer(0, released());
    assert_eq!(bench.keys(), [KeyState::Gone, KeyState::Ours, KeyState::Perhaps]);
}

#[test]
fn a_round_that_is_won_too_late_is_lost() {
    let mut bench = Bench::asking();
    bench.answer(0, granted());
    let commands = bench.pass(9).answer(1, granted());
    assert_eq!(releases(&commands), [0, 1, 2]);
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotAcquired { lost: RoundFailure::TooLate, .. })]));
}

#[test]
fn nodes_that_fail_are_counted_and_one_that_was_never_asked_is_spared() {
    let mut bench = Bench::asking();
    bench.answer(0, failed(Fate::NotDone));
    let commands = bench.answer(1, failed(Fate::Unknown));
    assert_eq!(releases(&commands), [1, 2]);
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotAcquired { lost: RoundFailure::NoQuorum, .. })]));
    assert_eq!(bench.keys(), [KeyState::Untouched, KeyState::Perhaps, KeyState::Perhaps]);
}

#[test]
fn a_grant_that_was_sent_again_leaves_the_first_copy_unsettled() {
    let mut bench = Bench::asking();
    let (_, ask) = bench.asked[0].clone();
    let again = Ask { again: true, ..ask };
    bench.on(Event::Answer { node: 0, ask: again, answer: granted(), is_trusted: true });
    bench.on(Event::CallerGone(Question::Acquire));
    bench.answer(0, released());
    assert_eq!(bench.keys()[0], KeyState::Perhaps, "the first copy may still be carried out");
}

#[test]
fn a_cancelled_call_is_released_and_not_answered() {
    let mut bench = Bench::asking();
    let commands = bench.on(Event::CallerGone(Question::Acquire));
    assert_eq!((releases(&commands), resolved(commands).len()), (vec![0, 1, 2], 0));
    assert_eq!(bench.answer_first(0, granted()), []);
    assert_eq!(bench.answer_first(1, granted()), []);
    assert_eq!(bench.lease.phase(), Phase::Releasing(Why::Dropped));
}

#[test]
fn a_grant_of_a_node_that_is_not_trusted_does_not_count_but_is_released() {
    let mut bench = Bench::asking();
    let (_, ask) = bench.asked[0].clone();
    bench.on(Event::Answer { node: 0, ask, answer: granted(), is_trusted: false });
    assert_eq!(bench.answer(1, granted()), []);
    let commands = bench.answer(2, held());
    assert_eq!(releases(&commands), [0, 1]);
}

#[test]
fn slow_nodes_are_not_waited_for_if_the_others_are_split() {
    for (slow, is_decided) in [(Some(vec![2].into()), true), (Some(vec![].into()), false), (None, false)] {
        let mut bench = Bench::new(1);
        bench.on(Event::Acquire(Acquire { slow, ..bench.acquire() }));
        bench.answer(0, granted());
        assert_eq!(resolved(bench.answer(1, held())).len(), usize::from(is_decided));
    }
}

#[test]
fn the_node_that_is_asked_first_decides_alone_if_it_refuses() {
    let first = |bench: &Bench| Acquire { first: Some((1, TIMEOUT / 2)), ..bench.acquire() };
    let mut refused = Bench::new(1);
    assert_eq!(asked(&refused.on(Event::Acquire(first(&refused)))), [1]);
    let commands = refused.answer(1, held());
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotAcquired { lost: RoundFailure::Contended, .. })]));
    assert_eq!(refused.keys(), [KeyState::Untouched, KeyState::Gone, KeyState::Untouched]);

    let mut granting = Bench::new(1);
    granting.on(Event::Acquire(first(&granting)));
    assert_eq!(asked(&granting.answer(1, granted())), [0, 2]);
    assert_eq!(resolved(granting.answer(0, granted())).len(), 1);

    let mut silent = Bench::new(1);
    silent.on(Event::Acquire(first(&silent)));
    assert_eq!(asked(&silent.on(Event::Timer(Timer::First))), [0, 2]);
    assert_eq!(silent.on(Event::Timer(Timer::First)), []);
}

#[test]
fn a_turn_that_was_of_no_use_is_passed_on() {
    let passes_on = |cause, answer: Answered| {
        let mut bench = Bench::new(1);
        bench.on(Event::Acquire(Acquire { cause, ..bench.acquire() }));
        bench.answer(0, answer.clone());
        bench.answer(1, answer).contains(&Command::Queue(QueueNote::Releasing { notifies: true }))
    };
    let no_quorum = || failed(Fate::NotDone);
    assert!(passes_on(Some(Cause::Follows), held()) && passes_on(Some(Cause::Woken), no_quorum()));
    assert!(!passes_on(Some(Cause::Woken), held()) && !passes_on(Some(Cause::Due), held()));
    assert!(!passes_on(Some(Cause::Arrived), no_quorum()) && !passes_on(None, no_quorum()));
}

#[test]
fn nodes_below_the_greatest_counter_are_raised_before_the_lock_is_held() {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    bench.answer(0, counted(5));
    let commands = bench.answer(1, counted(7));
    assert_eq!(commands[0], Command::Arm { timer: Timer::Raise(7), at: bench.now + TIMEOUT });
    assert_eq!((asked(&commands), bench.lease.phase()), (vec![0, 2], Phase::Asking));
    assert!(matches!(bench.asked[3].1.request, Request::Raise { candidate: 7 }));
    let commands = bench.answer(0, Ok(Answer::Raise(RaiseAnswer::Confirmed)));
    let [(_, Outcome::Acquired { fence: Some(fence), .. })] = resolved(commands)[..] else { panic!("not acquired") };
    assert_eq!(fence.get(), 7);
}

#[test]
fn a_round_without_a_fencing_token_is_lost() {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    bench.answer(0, counted(5));
    bench.answer(1, counted(7));
    assert_eq!(bench.on(Event::Timer(Timer::Raise(6))), []);
    assert_eq!(bench.on(Event::Timer(Timer::Round)), [], "the raise has a time of its own");
    let commands = bench.on(Event::Timer(Timer::Raise(7)));
    assert_eq!(releases(&commands), [0, 1, 2]);
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotAcquired { .. })]));
}

#[test]
fn a_raise_that_no_quorum_can_confirm_ends_the_round_at_once() {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    bench.answer(0, counted(5));
    bench.answer(1, counted(7));
    bench.answer(0, Ok(Answer::Raise(RaiseAnswer::NotHeld)));
    let outcomes = resolved(bench.answer(2, Ok(Answer::Raise(RaiseAnswer::NotHeld))));
    assert!(matches!(outcomes[..], [(_, Outcome::NotAcquired { lost: RoundFailure::Contended, .. })]));
}

#[test]
fn a_higher_counter_is_the_next_candidate() {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    bench.answer(0, counted(5));
    bench.answer(1, counted(7));
    bench.answer(0, failed(Fate::Unknown));
    let commands = bench.answer(2, Ok(Answer::Raise(RaiseAnswer::Higher(9))));
    assert_eq!((asked(&commands), &bench.asked[5].1.request), (vec![1], &Request::Raise { candidate: 9 }));
    let outcomes = resolved(bench.answer(1, Ok(Answer::Raise(RaiseAnswer::Confirmed))));
    assert!(matches!(outcomes[..], [(_, Outcome::Acquired { fence: Some(fence), .. })] if fence.get() == 9));
}

/// A fenced round with these counters of the first nodes, and the commands of the last answer.
fn fenced(answers: &[Answered]) -> (Bench, Vec<Command<u8>>) {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    let mut commands = Vec::new();
    for (node, answer) in answers.iter().enumerate() {
        commands = bench.answer(node, answer.clone());
    }
    (bench, commands)
}

#[test]
fn a_late_grant_confirms_the_fencing_token_without_a_raise() {
    let (mut bench, _) = fenced(&[counted(5), counted(7)]);
    let outcomes = resolved(bench.answer_first(2, counted(7)));
    assert!(matches!(outcomes[..], [(_, Outcome::Acquired { fence: Some(fence), .. })] if fence.get() == 7));
}

#[test]
fn a_node_that_has_refused_is_not_raised() {
    let (_, commands) = fenced(&[held(), counted(5), counted(7)]);
    assert_eq!(asked(&commands), [1]);
}

#[test]
fn a_fencing_token_that_comes_too_late_is_a_lost_round() {
    let (mut bench, _) = fenced(&[counted(5), counted(7)]);
    let commands = bench.pass(9).answer(0, Ok(Answer::Raise(RaiseAnswer::Confirmed)));
    assert_eq!(releases(&commands), [0, 1, 2]);
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotAcquired { lost: RoundFailure::TooLate, .. })]));
}

#[test]
fn a_node_that_counts_no_fencing_tokens_is_no_part_of_the_quorum() {
    let mut bench = Bench::new(1);
    bench.on(Event::Acquire(Acquire { is_fenced: true, ..bench.acquire() }));
    bench.answer(0, counted(7));
    assert_eq!(bench.answer(1, granted()), []);
    assert_eq!(resolved(bench.answer(2, counted(7))).len(), 1);
    assert_eq!(bench.keys(), [KeyState::Ours; 3]);
}
