//! A line is fed requests and answers, and what it sends is compared.

use super::*;
use crate::{
    algorithm::Ttl,
    engine::ask::Request,
    node::{AcquireAnswer, ExtendAnswer},
};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const TTL: Duration = secs(10);

fn limits() -> Limits {
    Limits { batches: 2, calls: 3, requests: 6, bytes: 1 << 20, gives_up: secs(5), weakness: None }
}

/// A line with a connection.
fn line() -> Line<u8> {
    let mut line = Line::new(limits());
    line.link = Link::Up;
    line
}

fn ask(lease: u8, request: Request<u8>) -> Ask<u8> {
    let until = if request.lives().is_some() { Duration::MAX } else { secs(30) };
    Ask { lease, request, until, node_timeout: secs(1), again: false }
}

fn ttl() -> Ttl {
    Ttl::new(TTL).unwrap()
}

fn acquire(lease: u8) -> Ask<u8> {
    ask(lease, Request::Acquire { ttl: ttl(), predecessors: Box::default() })
}

fn extend(lease: u8) -> Ask<u8> {
    ask(lease, Request::Extend { number: 1, ttl: ttl(), fence: None })
}

fn release(lease: u8) -> Ask<u8> {
    ask(lease, Request::Release { lives: TTL })
}

fn again(ask: Ask<u8>) -> Ask<u8> {
    Ask { again: true, ..ask }
}

fn granted() -> Answered {
    Ok(Answer::Acquire(AcquireAnswer::granted()))
}

fn released() -> Answered {
    Ok(Answer::Release(ReleaseAnswer::Released))
}

fn failed(kind: NodeErrorKind, fate: Fate) -> Answered {
    Err(Failure { kind, fate })
}

/// Submits these, of which nothing is known yet.
fn submit(line: &mut Line<u8>, asks: impl IntoIterator<Item = Ask<u8>>) {
    asks.into_iter().for_each(|ask| assert_eq!(line.submit(ask, secs(0)), Ok(vec![])));
}

/// The batch that the line sends now.
fn sends(line: &mut Line<u8>, now: Duration) -> Vec<Ask<u8>> {
    match line.next(now) {
        Some(Next::Send(asks)) => asks,
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idle_node_is_sent_to_at_once_and_what_comes_meanwhile_goes_out_together() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    assert_eq!(sends(&mut line, secs(0)), [acquire(1)]);
    submit(&mut line, [acquire(2)]);
    assert_eq!(sends(&mut line, secs(0)), [acquire(2)]);
    submit(&mut line, [acquire(3), release(1)]);
    assert_eq!(line.next(secs(0)), None, "two batches are in flight");
    assert_eq!(line.answered(vec![granted()], secs(0)), [(acquire(1), granted())]);
    assert_eq!(sends(&mut line, secs(0)), [acquire(3), release(1)]);
    assert_eq!(line.in_flight(), 2);
}

#[test]
fn requests_arrive_in_the_order_in_which_they_were_submitted() {
    let mut line = line();
    submit(&mut line, [acquire(1), extend(1), acquire(2), extend(2)]);
    assert_eq!(sends(&mut line, secs(0)), [acquire(1), extend(1), acquire(2)]);
    submit(&mut line, [release(1), acquire(3)]);
    assert_eq!(sends(&mut line, secs(0)), [extend(2), release(1), acquire(3)]);
}

#[test]
fn a_release_takes_unsent_requests_of_its_lease_with_it() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    submit(&mut line, [extend(1), acquire(2)]);
    let unsent = (extend(1), Err(Failure::NOT_SENT));
    assert_eq!(line.submit(release(1), secs(0)), Ok(vec![unsent]));
    assert_eq!(sends(&mut line, secs(0)), [acquire(2), release(1)]);
}

#[test]
fn an_unsent_acquire_and_its_release_cancel_out() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    let nothing = Ok(Answer::Release(ReleaseAnswer::NotHeld));
    let reports = [(acquire(1), Err(Failure::NOT_SENT)), (release(1), nothing)];
    assert_eq!(line.submit(release(1), secs(0)), Ok(reports.into()));
    assert_eq!((line.next(secs(0)), line.is_idle(), line.owed()), (None, true, 0));
}

#[test]
fn a_node_that_owes_too_many_answers_is_sent_no_acquire_but_every_release() {
    let mut line = line();
    submit(&mut line, (1..=3).map(acquire));
    sends(&mut line, secs(0));
    submit(&mut line, (4..=6).map(acquire));
    assert_eq!(line.submit(acquire(7), secs(0)), Err(Overloaded));
    submit(&mut line, [release(1)]);
    assert_eq!(line.owed(), 1);
}

#[test]
fn a_release_is_kept_when_the_connection_breaks_and_sent_first_over_the_next() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    line.answered(vec![granted()], secs(0));
    submit(&mut line, [release(1)]);
    sends(&mut line, secs(1));
    submit(&mut line, [acquire(2)]);
    assert_eq!(line.broken(NodeErrorKind::Unreachable, secs(1)), [], "the lease hears of the second failure");
    assert_eq!((line.next(secs(1)), line.next(secs(1))), (Some(Next::Connect), None));
    line.connected();
    assert_eq!(sends(&mut line, secs(1)), [again(release(1)), acquire(2)]);
    let reports = line.answered(vec![released(), granted()], secs(1));
    assert_eq!(reports, [(again(release(1)), released()), (acquire(2), granted())]);
    assert_eq!((line.owed(), line.is_idle()), (0, true), "the acquire was answered: there is no ghost");
}

#[test]
fn a_request_that_was_lost_is_a_ghost_and_its_release_is_repeated() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    submit(&mut line, [release(1)]);
    let lost = failed(NodeErrorKind::Unreachable, Fate::Unknown);
    assert_eq!(line.broken(NodeErrorKind::Unreachable, secs(1)), [(acquire(1), lost)], "it was released meanwhile");
    line.next(secs(1));
    line.connected();
    let mut sent = Vec::new();
    for now in (0..140).map(|halves| secs(1) + Duration::from_millis(500 * halves)) {
        for ask in sends(&mut line, now) {
            sent.push((now.as_millis(), ask.lease));
            line.answered(vec![released()], now);
        }
        assert_eq!(line.owed(), usize::from(sent.len() < 2));
    }
    let times = [1_000, 1_500, 2_500, 4_500, 8_500, 16_500, 32_500, 64_500];
    assert_eq!(sent, times.map(|time| (time, 1)));
    assert!(line.is_idle() && line.ghosts.is_empty());
}

#[test]
fn a_ghost_is_remembered_until_the_lease_ends() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    line.answered(vec![granted()], secs(0));
    submit(&mut line, [Ask { until: secs(1), ..extend(1) }]);
    sends(&mut line, secs(0));
    line.broken(NodeErrorKind::Unreachable, secs(1));
    assert_eq!(line.submit(release(1), secs(500)), Ok(vec![]));
    assert_eq!(line.next(secs(500)), Some(Next::Connect));
    line.connected();
    sends(&mut line, secs(500));
    line.answered(vec![released()], secs(500));
    assert_eq!((line.owed(), line.owes(&1)), (1, true));
}

#[test]
fn an_acquire_that_is_still_wanted_goes_out_once_more_before_what_waits() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    submit(&mut line, [acquire(2)]);
    assert_eq!(line.broken(NodeErrorKind::Unreachable, secs(1)), []);
    line.next(secs(1));
    line.connected();
    assert_eq!(sends(&mut line, secs(1)), [again(acquire(1)), acquire(2)]);
    let reports = line.broken(NodeErrorKind::Unreachable, secs(2));
    assert_eq!(reports, [(again(acquire(1)), failed(NodeErrorKind::Unreachable, Fate::Unknown))]);
}

#[test]
fn a_sealed_lease_sets_nothing_any_more() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    submit(&mut line, [extend(1), acquire(2)]);
    assert_eq!(line.withdraw(&1), [(extend(1), Err(Failure::NOT_SENT))]);
    let lost = failed(NodeErrorKind::Unreachable, Fate::Unknown);
    assert_eq!(line.broken(NodeErrorKind::Unreachable, secs(0)), [(acquire(1), lost)], "it does not go out again");
    line.next(secs(0));
    line.connected();
    assert_eq!(sends(&mut line, secs(0)), [acquire(2)]);
}

#[test]
fn without_a_connection_requests_fail_at_once_and_releases_wait() {
    let mut line = Line::new(limits());
    submit(&mut line, [acquire(1), release(2)]);
    assert_eq!(line.next(secs(1)), Some(Next::Connect));
    let refused = || failed(NodeErrorKind::Unreachable, Fate::NotDone);
    let reports = line.broken(NodeErrorKind::Unreachable, secs(1));
    assert_eq!(reports, [(acquire(1), refused()), (release(2), refused())]);
    assert_eq!((line.next(secs(1)), line.owed()), (None, 1), "it pauses");
    assert_eq!(line.next(secs(2)), Some(Next::Connect));
    line.connected();
    assert_eq!(sends(&mut line, secs(2)), [release(2)]);
}

#[test]
fn an_answer_is_late_counted_from_when_the_request_was_written() {
    let mut line = line();
    submit(&mut line, [acquire(1), release(2)]);
    assert_eq!(sends(&mut line, secs(3)).len(), 2);
    assert_eq!(line.tick(secs(3)), []);
    let late = [(acquire(1), Err(Failure::LATE)), (release(2), Err(Failure::LATE))];
    assert_eq!((line.tick(secs(4)), line.tick(secs(5))), (late.into(), vec![]));
    assert_eq!(line.answered(vec![granted(), released()], secs(6)).len(), 2, "they are reports of the late answers");
}

#[test]
fn a_link_that_owes_an_answer_for_too_long_is_given_up() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    assert_eq!(line.tick(secs(4)), [(acquire(1), Err(Failure::LATE))]);
    let lost = failed(NodeErrorKind::Timeout, Fate::Unknown);
    assert_eq!(line.tick(secs(5)), [(acquire(1), lost)]);
    submit(&mut line, [acquire(2)]);
    assert_eq!(line.next(secs(5)), Some(Next::Connect));
    assert_eq!(line.tick(secs(9)), []);
    assert_eq!(line.tick(secs(10)).len(), 1, "so is a connection that is not made");
    line.connected();
    submit(&mut line, [acquire(3)]);
    assert_eq!(line.next(secs(10)), None, "and it is of no use when it is made later");
}

#[test]
fn a_request_whose_time_is_over_is_not_sent() {
    let mut line = line();
    submit(&mut line, [Ask { until: secs(2), ..acquire(1) }, acquire(2), Ask { until: secs(2), ..acquire(3) }]);
    assert_eq!(line.next(secs(2)), Some(Next::Expired(vec![Ask { until: secs(2), ..acquire(1) }])));
    assert_eq!(sends(&mut line, secs(2)), [acquire(2)]);
    assert_eq!(line.tick(secs(2)), [(Ask { until: secs(2), ..acquire(3) }, Err(Failure::NOT_SENT))]);
}

#[test]
fn a_release_is_forgotten_once_its_keys_have_expired() {
    let mut line = Line::new(limits());
    submit(&mut line, [release(1)]);
    line.next(secs(0));
    line.broken(NodeErrorKind::Unreachable, secs(0));
    line.tick(secs(9));
    assert!(line.owes(&1));
    line.tick(secs(10));
    assert!(line.is_idle() && !line.owes(&1));
}

#[test]
fn a_release_behind_a_request_that_is_carried_out_late_outlives_what_that_sets() {
    let mut line = line();
    submit(&mut line, [acquire(1)]);
    sends(&mut line, secs(0));
    submit(&mut line, [acquire(2)]);
    sends(&mut line, secs(0));
    submit(&mut line, [release(1)]);
    line.forget(secs(10));
    assert!(line.owes(&1), "the acquire is still out");
    line.answered(vec![granted()], secs(15));
    line.forget(secs(24));
    assert!(line.owes(&1));
    assert_eq!(sends(&mut line, secs(24)), [release(1)]);
}

#[test]
fn a_release_that_the_node_refuses_is_sent_again_later_unless_the_key_is_no_lock() {
    let mut line = line();
    submit(&mut line, [release(1), release(2)]);
    sends(&mut line, secs(0));
    let loading = || failed(NodeErrorKind::Loading, Fate::NotDone);
    let no_lock = || failed(NodeErrorKind::WrongType, Fate::NotDone);
    let reports = line.answered(vec![loading(), no_lock()], secs(0));
    assert_eq!(reports, [(release(1), loading()), (release(2), no_lock())]);
    assert_eq!((sends(&mut line, secs(0)), line.owes(&2)), (vec![], false));
    assert_eq!(sends(&mut line, secs(1)), [release(1)]);
    assert_eq!(line.answered(vec![loading()], secs(1)), [], "its lease hears of the first failure");
}

#[test]
fn a_node_that_answers_too_little_leaves_ghosts() {
    let mut line = line();
    submit(&mut line, [acquire(1), extend(2)]);
    sends(&mut line, secs(0));
    let reports = line.answered(vec![granted()], secs(0));
    assert_eq!(reports[1], (extend(2), failed(NodeErrorKind::Other, Fate::Unknown)));
    assert!(line.ghosts.until(&2, secs(0)).is_some() && line.ghosts.until(&1, secs(0)).is_none());
    let extended = Ok(Answer::Extend(ExtendAnswer::Extended));
    assert_eq!(line.answered(vec![extended], secs(0)), [], "nothing is out");
}

#[test]
fn what_is_owed_is_bounded_and_the_oldest_make_room() {
    let mut line = Line::new(limits());
    submit(&mut line, [release(1)]);
    line.limits.bytes = 2 * line.owed_bytes();
    line.debts = Debts::new(line.limits.bytes);
    line.queue.clear();
    submit(&mut line, (1..=5).map(release));
    assert_eq!((line.owed(), line.owes(&3), line.owes(&4)), (2, false, true));
    line.link = Link::Up;
    assert_eq!(sends(&mut line, secs(0)), [release(4), release(5)]);
}
