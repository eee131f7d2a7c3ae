//! Extends: when they count, what they find, and what they never do.

use super::*;
use crate::engine::{command::NotExtended, event::Timer, validity::End};

fn extend() -> Event<u8> {
    Event::Extend { ttl: ttl() }
}

#[test]
fn an_extend_counts_from_before_its_first_byte() {
    let mut bench = Bench::holding();
    let commands = bench.pass(3).on(extend());
    assert_eq!(asked(&commands), [0, 1, 2]);
    let deadline = bench.now + VALIDITY;
    bench.pass(1).answer(0, extended(ExtendAnswer::Extended));
    assert_eq!(
        bench.answer(1, extended(ExtendAnswer::Extended)),
        [
            Command::Arm { timer: Timer::Validity, at: deadline },
            Command::Resolve(Question::Extend(1), Outcome::Extended { deadline }),
        ]
    );
    assert_eq!(bench.answer(2, extended(ExtendAnswer::Extended)), []);
}

#[test]
fn an_extend_counts_only_before_the_deadline() {
    let mut bench = Bench::holding();
    bench.pass(8).on(extend());
    bench.answer(0, extended(ExtendAnswer::Extended));
    let commands = bench.pass(1).answer(1, extended(ExtendAnswer::Extended));
    assert_eq!(commands[0], Command::Ended(End::Expired));
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotExtended(NotExtended::TooLate { .. }))]));
    assert_eq!(bench.left(), Duration::ZERO);
}

#[test]
fn a_lock_that_has_ended_is_not_extended() {
    let mut bench = Bench::holding();
    let commands = bench.pass(9).on(extend());
    assert_eq!(commands[0], Command::Ended(End::Expired));
    assert!(matches!(resolved(commands)[..], [(_, Outcome::NotExtended(NotExtended::Ended))]));
    assert_eq!(bench.on(Event::Timer(Timer::Validity)), [], "the end is reported once");
}

#[test]
fn an_extend_that_fails_changes_nothing() {
    let mut bench = Bench::holding();
    bench.pass(3).on(extend());
    bench.answer(0, failed(Fate::Unknown));
    let outcomes = resolved(bench.answer(1, failed(Fate::Unknown)));
    assert!(matches!(outcomes[..], [(Question::Extend(1), Outcome::NotExtended(NotExtended::NoQuorum { .. }))]));
    assert_eq!((bench.left(), bench.lease.phase()), (VALIDITY - Duration::from_secs(3), Phase::Held));
}

#[test]
fn a_lock_that_a_quorum_does_not_hold_is_lost_once_and_stays_lost() {
    let mut bench = Bench::holding();
    bench.on(extend());
    bench.on(extend());
    let refused = || extended(ExtendAnswer::held(None));
    let (_, first) = bench.asked[3].clone();
    bench.on(Event::Answer { node: 0, ask: first.clone(), answer: refused(), is_trusted: true });
    let commands = bench.on(Event::Answer { node: 1, ask: first, answer: refused(), is_trusted: true });
    assert_eq!(commands.iter().filter(|command| **command == Command::Ended(End::Lost)).count(), 1);
    bench.answer(0, extended(ExtendAnswer::Extended));
    let commands = bench.answer(1, extended(ExtendAnswer::Extended));
    assert!(matches!(commands[..], [Command::Resolve(_, Outcome::NotExtended(NotExtended::TooLate { .. }))]));
    assert_eq!(bench.left(), Duration::ZERO);
}

#[test]
fn a_node_that_had_lost_the_keys_is_no_vote_until_the_extend_that_restored_them_has_counted() {
    let mut bench = Bench::holding();
    bench.on(extend());
    let (_, first) = bench.asked[5].clone();
    bench.answer(0, extended(ExtendAnswer::Healed));
    assert_eq!(bench.answer(1, extended(ExtendAnswer::Extended)), [], "the third node may have lost them, too");
    bench.on(Event::CallerGone(Question::Extend(1)));

    // A later extend hears that the node has the keys: since the first one.
    bench.on(extend());
    bench.answer(0, extended(ExtendAnswer::Extended));
    assert_eq!(bench.answer(1, extended(ExtendAnswer::Extended)), []);
    let outcomes = resolved(bench.answer(2, extended(ExtendAnswer::Extended)));
    assert!(matches!(outcomes[..], [(Question::Extend(2), Outcome::Extended { .. })]), "one such node is too few");

    // That one has counted: the node is as good as one that has held them all the time.
    bench.on(extend());
    bench.answer(0, extended(ExtendAnswer::Extended));
    let outcomes = resolved(bench.answer(1, extended(ExtendAnswer::Extended)));
    assert!(matches!(outcomes[..], [(Question::Extend(3), Outcome::Extended { .. })]));

    // A late answer to the first extend is older than what has counted.
    bench.on(Event::Answer { node: 2, ask: first, answer: extended(ExtendAnswer::Healed), is_trusted: true });
    bench.on(extend());
    bench.answer(2, extended(ExtendAnswer::Extended));
    assert_eq!(resolved(bench.answer(1, extended(ExtendAnswer::Extended))).len(), 1);
}

#[test]
fn a_quorum_that_had_lost_the_keys_is_a_lock_that_is_lost() {
    let mut bench = Bench::holding();
    bench.on(extend());
    bench.answer(0, extended(ExtendAnswer::Healed));
    let commands = bench.answer(1, extended(ExtendAnswer::Healed));
    assert!(commands.contains(&Command::Ended(End::Lost)));
}

#[test]
fn a_quorum_waits_for_the_others_no_longer_than_it_can_count() {
    let mut bench = Bench::holding();
    bench.on(extend());
    assert_eq!(bench.on(Event::Timer(Timer::ExtendInTime(1))), [], "there is no quorum yet");
    bench.answer(0, extended(ExtendAnswer::Healed));
    bench.answer(1, extended(ExtendAnswer::Extended));
    let outcomes = resolved(bench.on(Event::Timer(Timer::ExtendInTime(1))));
    assert!(matches!(outcomes[..], [(_, Outcome::Extended { .. })]));
}

#[test]
fn a_shorter_extend_does_not_shorten_what_nodes_keep_that_have_lost_the_keys() {
    let mut bench = Bench::holding();
    bench.pass(3);
    let commands = bench.on(Event::Extend { ttl: Ttl::new(Duration::from_secs(4)).unwrap() });
    let Some(Command::Enqueue { ask, .. }) = commands.iter().find(|command| matches!(command, Command::Enqueue { .. }))
    else {
        panic!("nobody is asked")
    };
    assert!(matches!(ask.request, Request::Extend { number: 1, ttl, .. } if ttl.given() == Duration::from_secs(7)));
}

#[test]
fn a_ttl_above_that_of_the_restart_guard_is_refused() {
    let mut bench = Bench::holding();
    bench.rules.longest = Some(ttl());
    let commands = bench.on(Event::Extend { ttl: Ttl::new(TTL * 2).unwrap() });
    assert!(matches!(commands[..], [Command::Resolve(_, Outcome::NotExtended(NotExtended::Ttl(_)))]));
}

#[test]
fn an_extend_whose_caller_is_gone_does_not_count() {
    let mut bench = Bench::holding();
    bench.pass(3).on(extend());
    bench.on(Event::CallerGone(Question::Extend(1)));
    bench.answer(0, extended(ExtendAnswer::Extended));
    assert_eq!(bench.answer(1, extended(ExtendAnswer::Extended)), []);
    assert_eq!(bench.left(), VALIDITY - Duration::from_secs(3));
}

#[test]
fn a_lock_whose_lifetime_is_over_says_so_when_it_expires() {
    let mut bench = Bench::holding();
    assert_eq!(bench.on(Event::LifetimeOver), []);
    assert_eq!(bench.pass(9).on(Event::Timer(Timer::Validity)), [Command::Ended(End::LifetimeOver)]);
}
