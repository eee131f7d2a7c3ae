//! A call is fed steps, and its answers are compared.

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Acquisition = super::Acquisition<()>;
type Step = super::Step<()>;
type Do = super::Do<()>;

/// A call that waits in the queue of its process, with pauses of 100 ms.
fn queued(retry: Retry) -> Acquisition {
    let retry = retry.fixed(ms(100)).jitter(ms(0));
    let call = Call { retry, called: ms(0), has_ticket: true, reserves: false, is_reservation: false };
    Acquisition::new(call, 1, None)
}

/// A call that waits in no queue.
fn alone(retry: Retry) -> Acquisition {
    let mut call = queued(retry);
    call.call.has_ticket = false;
    call
}

fn failure(lost: RoundFailure) -> Failure<()> {
    Failure { lost, is_hopeless: false, votes: () }
}

fn round(lost: RoundFailure) -> LostRound<()> {
    LostRound { failure: failure(lost), free_after: None, is_free: false, is_cut: false }
}

fn lost(lost: RoundFailure) -> Step {
    Step::Lost(round(lost))
}

fn hopeless() -> Step {
    let mut round = round(RoundFailure::NoQuorum);
    round.failure.is_hopeless = true;
    Step::Lost(round)
}

const RELEASED: Step = Step::Released { is_notified: None };

fn ask(cause: Cause) -> Option<Do> {
    Some(Do::Ask { cause, gives_way: true })
}

fn ask_last(cause: Cause) -> Option<Do> {
    Some(Do::Ask { cause, gives_way: false })
}

fn fail(stop: Stop, lost: RoundFailure) -> Option<Do> {
    Some(Do::Fail { stop, failure: failure(lost) })
}

fn fail_hopeless() -> Option<Do> {
    let failure = Failure { is_hopeless: true, ..failure(RoundFailure::NoQuorum) };
    Some(Do::Fail { stop: Stop::Attempts, failure })
}

/// Releases a lost round within a pause that ends at `until`, and notifies nobody.
fn release(until: u64) -> Option<Do> {
    Some(Do::Release { until: Some(ms(until)), due: Some(ms(until)), passes_on: false })
}

fn await_permit(not_before: u64, until: u64) -> Option<Do> {
    Some(Do::AwaitPermit { not_before: ms(not_before), until: Some(ms(until)) })
}

fn pause(until: u64) -> Option<Do> {
    Some(Do::Sleep { until: Some(ms(until)) })
}

#[test]
fn a_call_whose_round_is_won_holds_the_lock() {
    let mut call = queued(Retry::attempts(3));
    assert_eq!(call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0), ask(Cause::Arrived));
    assert_eq!(call.step(Step::Won, ms(1), 0), Some(Do::Hold));
    assert_eq!((call.attempts(), call.step(Step::Won, ms(2), 0)), (1, None), "and expects nothing more");
}

#[test]
fn a_lost_round_is_released_before_the_pause_and_the_last_one_is_reported() {
    let mut call = alone(Retry::attempts(2));
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    assert_eq!(call.step(lost(RoundFailure::Contended), ms(10), 0), release(110));
    assert_eq!(call.step(RELEASED, ms(20), 0), pause(110));
    assert_eq!(call.step(Step::Due, ms(110), 0), ask_last(Cause::Due));
    let failed = fail(Stop::Attempts, RoundFailure::NoQuorum);
    assert_eq!(call.step(lost(RoundFailure::NoQuorum), ms(120), 0), failed);
    assert_eq!(call.attempts(), 2);
}

#[test]
fn a_pause_ends_when_the_holders_have_expired() {
    let mut call = alone(Retry::attempts(2));
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    let free_soon = Step::Lost(LostRound { free_after: Some(ms(30)), ..round(RoundFailure::Contended) });
    // The nodes have 50 ms to release what was lost.
    let released = Do::Release { until: Some(ms(60)), due: Some(ms(40)), passes_on: false };
    assert_eq!(call.step(free_soon, ms(10), 0), Some(released));
    assert_eq!(call.step(RELEASED, ms(20), 0), pause(40));
}

#[test]
fn a_call_that_gets_its_turn_in_a_pause_asks_within_the_same_attempt() {
    let mut call = queued(Retry::attempts(2));
    assert_eq!(call.step(Step::Begin(None), ms(0), 0), await_permit(0, 100));
    assert_eq!(call.step(Step::Permit(Cause::Woken), ms(40), 0), ask(Cause::Woken));
    assert_eq!(call.step(lost(RoundFailure::Contended), ms(50), 0), release(100));
    assert_eq!(call.step(RELEASED, ms(60), 0), await_permit(80, 100), "it rests after a notification in vain");
    assert_eq!((call.step(Step::Permit(Cause::Follows), ms(80), 0), call.attempts()), (ask(Cause::Follows), 1));
}

#[test]
fn a_turn_at_the_end_of_a_pause_begins_the_next_attempt() {
    let mut call = queued(Retry::attempts(3));
    call.step(Step::Begin(None), ms(0), 0);
    assert_eq!(call.step(Step::Permit(Cause::Woken), ms(100), 0), ask(Cause::Woken));
    assert_eq!(call.attempts(), 2);
    let mut due = queued(Retry::attempts(3));
    due.step(Step::Begin(None), ms(0), 0);
    assert_eq!((due.step(Step::Permit(Cause::Due), ms(100), 0), due.attempts()), (ask(Cause::Due), 2));
}

#[test]
fn attempts_pass_while_others_of_the_process_come_first_and_the_last_asks_all_the_same() {
    let mut call = queued(Retry::attempts(2));
    call.step(Step::Begin(None), ms(0), 0);
    assert_eq!(call.step(Step::Due, ms(100), 0), ask_last(Cause::Due));
    let failed = fail(Stop::Attempts, RoundFailure::Contended);
    assert_eq!(call.step(lost(RoundFailure::Contended), ms(110), 0), failed);
}

#[test]
fn the_last_attempt_does_not_yield() {
    let mut call = queued(Retry::never());
    assert_eq!(call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0), ask_last(Cause::Due));
    let mut alone = alone(Retry::never());
    assert_eq!(alone.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0), ask_last(Cause::Arrived));
}

#[test]
fn a_call_that_nobody_will_notify_asks_once_more_and_three_times_at_most() {
    let mut call = queued(Retry::attempts(2));
    call.step(Step::Begin(Some(Cause::Due)), ms(0), 0);
    let mut asked = 0;
    loop {
        call.step(lost(RoundFailure::Contended), ms(10), 0);
        match call.step(Step::Released { is_notified: Some(false) }, ms(10), 0) {
            Some(Do::Sleep { until: Some(until) }) => {
                assert_eq!(call.step(Step::Due, until, 0), ask(Cause::Arrived));
                asked += 1;
            }
            waits => break assert_eq!(waits, await_permit(10, 110)),
        }
    }
    assert_eq!(asked, Asking::MOST);
    let mut heard = queued(Retry::attempts(2));
    heard.step(Step::Begin(Some(Cause::Due)), ms(0), 0);
    heard.step(lost(RoundFailure::Contended), ms(10), 0);
    assert_eq!(heard.step(Step::Released { is_notified: Some(true) }, ms(10), 0), await_permit(10, 110));
}

#[test]
fn a_call_ends_at_its_deadline() {
    let mut call = alone(Retry::timeout(ms(120)));
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    assert_eq!(call.step(lost(RoundFailure::Contended), ms(10), 0), release(70), "a last round fits in");
    call.step(RELEASED, ms(20), 0);
    let failed = fail(Stop::TimedOut, RoundFailure::Contended);
    assert_eq!(call.step(Step::Due, ms(130), 0), failed);
}

#[test]
fn a_call_whose_deadline_passes_before_it_has_asked_asks_once() {
    let mut call = queued(Retry::timeout(ms(120)));
    call.step(Step::Begin(None), ms(0), 0);
    assert_eq!(call.step(Step::Due, ms(500), 0), ask_last(Cause::Due));
    let failed = fail(Stop::TimedOut, RoundFailure::NoQuorum);
    assert_eq!(call.step(lost(RoundFailure::NoQuorum), ms(510), 0), failed);
}

#[test]
fn a_failure_that_no_retry_can_cure_ends_the_call_after_a_second() {
    let mut call = alone(Retry::attempts(99));
    let mut now = ms(0);
    call.step(Step::Begin(Some(Cause::Arrived)), now, 0);
    let failed = loop {
        match call.step(hopeless(), now, 0) {
            Some(Do::Release { .. }) => {}
            other => break other,
        }
        call.step(RELEASED, now, 0);
        now += ms(100);
        call.step(Step::Due, now, 0);
    };
    assert_eq!(failed, fail_hopeless());
    assert_eq!((now, call.attempts()), (ms(1_000), 11));
}

#[test]
fn a_round_within_a_pause_does_not_make_a_call_hopeful_again() {
    let mut call = queued(Retry::attempts(99));
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    call.step(hopeless(), ms(0), 0);
    call.step(RELEASED, ms(0), 0);
    assert_eq!(call.step(Step::Permit(Cause::Follows), ms(50), 0), ask(Cause::Follows));
    call.step(lost(RoundFailure::NoQuorum), ms(50), 0);
    call.step(RELEASED, ms(50), 0);
    assert_eq!(call.step(Step::Permit(Cause::Due), ms(1_000), 0), ask(Cause::Due));
    assert_eq!(call.step(hopeless(), ms(1_000), 0), fail_hopeless());
}

#[test]
fn a_round_that_was_cut_short_does_not_hide_why_an_earlier_one_was_lost() {
    let mut call = alone(Retry::attempts(2));
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    call.step(lost(RoundFailure::Contended), ms(10), 0);
    call.step(RELEASED, ms(20), 0);
    call.step(Step::Due, ms(110), 0);
    let cut = Step::Lost(LostRound { is_cut: true, ..round(RoundFailure::NoQuorum) });
    let failed = fail(Stop::Attempts, RoundFailure::Contended);
    assert_eq!(call.step(cut, ms(120), 0), failed);
}

#[test]
fn a_call_for_several_names_reserves_them_and_asks_for_all_three_times() {
    let mut call = alone(Retry::attempts(3));
    (call.call.reserves, call.may_reserve) = (true, true);
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    assert_eq!(call.step(lost(RoundFailure::Contended), ms(10), 0), release(60));
    let contended = Some(failure(RoundFailure::Contended));
    let reserve = |attempt| Some(Do::Reserve { attempt, failure: contended.clone() });
    assert_eq!(call.step(RELEASED, ms(20), 0), reserve(1));
    let reserved = Step::Reserved { any: true, attempt: 1, failure: contended.clone() };
    assert_eq!(call.step(reserved, ms(30), 0), ask(Cause::Arrived));
    for _ in 0..2 {
        assert_eq!(call.step(lost(RoundFailure::Contended), ms(40), 0), release(90));
        assert_eq!(call.step(RELEASED, ms(50), 1_000_000), pause(51));
        assert_eq!(call.step(Step::Due, ms(51), 0), ask(Cause::Arrived));
    }
    call.step(lost(RoundFailure::Contended), ms(60), 0);
    assert_eq!(call.step(RELEASED, ms(70), 0), Some(Do::ReleaseReserved { until: ms(120) }));
    assert_eq!(call.step(Step::Due, ms(80), 0), pause(180));
    assert_eq!((call.step(Step::Due, ms(180), 0), call.attempts()), (ask(Cause::Due), 2));
    call.step(lost(RoundFailure::Contended), ms(190), 0);
    assert_eq!(call.step(RELEASED, ms(190), 0), reserve(2), "once in each attempt");
}

#[test]
fn a_reservation_makes_no_last_attempt_and_reports_nothing() {
    let mut call = queued(Retry::attempts(2));
    call.call.is_reservation = true;
    call.step(Step::Begin(Some(Cause::Arrived)), ms(0), 0);
    call.step(lost(RoundFailure::Contended), ms(10), 0);
    call.step(RELEASED, ms(20), 0);
    let gives_up = Do::GiveUp(Some(failure(RoundFailure::Contended)));
    assert_eq!(call.step(Step::Due, ms(110), 0), Some(gives_up), "the call for several names reports the failure");
}

#[test]
fn a_permit_that_did_not_win_a_free_lock_goes_to_another_process() {
    let passes_on = |permit, round| {
        let mut call = queued(Retry::attempts(3));
        call.step(Step::Begin(Some(permit)), ms(0), 0);
        match call.step(Step::Lost(round), ms(10), 0) {
            Some(Do::Release { passes_on, .. }) => passes_on,
            other => panic!("{other:?}"),
        }
    };
    use Cause::{Arrived, Due, Follows, Woken};
    use RoundFailure::{Contended, NoQuorum, TooLate};
    let always = [(Woken, NoQuorum), (Woken, TooLate), (Follows, Contended), (Arrived, TooLate), (Due, TooLate)];
    assert!(always.into_iter().all(|(permit, lost)| passes_on(permit, round(lost))));
    let never = [(Woken, Contended), (Arrived, Contended), (Arrived, NoQuorum), (Due, Contended), (Due, NoQuorum)];
    assert!(!never.into_iter().any(|(permit, lost)| passes_on(permit, round(lost))));
    assert!(
        passes_on(Woken, LostRound { is_free: true, ..round(Contended) }),
        "it was refused for a writer that waits"
    );
}

#[test]
fn a_rest_after_a_notification_in_vain_outlasts_the_rounds_that_follow_it() {
    let mut call = queued(Retry::attempts(2));
    call.step(Step::Begin(None), ms(0), 0);
    assert_eq!(call.step(Step::Permit(Cause::Woken), ms(10), 0), ask(Cause::Woken));
    call.step(lost(RoundFailure::Contended), ms(20), 0);
    assert_eq!(call.step(Step::Released { is_notified: Some(false) }, ms(30), 0), pause(30));
    assert_eq!(call.step(Step::Due, ms(30), 0), ask(Cause::Arrived));
    call.step(lost(RoundFailure::Contended), ms(40), 0);
    let waits = call.step(Step::Released { is_notified: Some(true) }, ms(40), 0);
    assert_eq!(waits, await_permit(60, 100), "the holder may still be releasing on other nodes");
}
