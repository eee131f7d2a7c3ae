//! Releases, transfers to another process, and locks that are left to expire.

use super::*;
use crate::engine::{
    command::{NotExtended, QueueNote},
    event::{Timer, Why},
    validity::End,
};

#[test]
fn a_release_goes_to_every_node_that_may_hold_the_key_and_once() {
    for why in [Why::Caller, Why::Dropped, Why::TakenOver] {
        let mut bench = Bench::holding();
        let commands = bench.on(Event::Release(why));
        assert_eq!(commands[0], Command::Ended(End::Released));
        assert_eq!(commands[1], Command::Queue(QueueNote::Releasing { notifies: why != Why::TakenOver }));
        assert_eq!(releases(&commands), [0, 1, 2], "also to the node that has not answered");
        assert_eq!(bench.on(Event::Release(Why::Dropped)), []);
    }
}

#[test]
fn a_release_is_over_when_a_quorum_has_confirmed_it() {
    let mut bench = Bench::holding();
    let commands = bench.on(Event::Release(Why::Caller));
    assert!(commands.contains(&Command::Arm { timer: Timer::Release, at: bench.now + TIMEOUT }));
    assert_eq!(resolved(bench.answer(0, released())).len(), 0);
    assert_eq!(resolved(bench.answer(2, released())), [(Question::Release, Outcome::Released)]);
    assert_eq!(resolved(bench.answer(1, released())).len(), 0);
    assert_eq!(
        bench.keys(),
        [KeyState::Gone, KeyState::Gone, KeyState::Perhaps],
        "the acquire of node 2 is still unsettled"
    );
}

#[test]
fn a_lock_that_a_quorum_did_not_hold_any_more_was_already_gone() {
    let mut bench = Bench::holding();
    bench.on(Event::Release(Why::Caller));
    bench.answer(0, not_held());
    let outcomes = resolved(bench.answer(1, not_held()));
    assert!(matches!(outcomes[..], [(Question::Release, Outcome::NotHeld { .. })]));
}

#[test]
fn a_release_that_too_few_nodes_have_answered_is_unknown_and_goes_on() {
    let mut bench = Bench::holding();
    bench.on(Event::Release(Why::Caller));
    bench.answer(0, released());
    let outcomes = resolved(bench.on(Event::Timer(Timer::Release)));
    assert!(matches!(outcomes[..], [(Question::Release, Outcome::ReleaseUnknown { .. })]));
    assert_eq!(bench.answer(1, released()), [Command::Queue(QueueNote::ReleasedOn { node: 1, has_failed: false })]);
    assert_eq!(bench.keys()[1], KeyState::Gone);
}

#[test]
fn a_release_that_was_sent_again_and_finds_nothing_cannot_tell() {
    let mut bench = Bench::holding();
    bench.on(Event::Release(Why::Caller));
    let (_, ask) = bench.asked[4].clone();
    let again = Ask { again: true, ..ask };
    for node in [0, 1] {
        bench.on(Event::Answer { node, ask: again.clone(), answer: not_held(), is_trusted: true });
    }
    let outcomes = resolved(bench.answer(2, released()));
    assert!(matches!(outcomes[..], [(Question::Release, Outcome::ReleaseUnknown { .. })]));
}

#[test]
fn nodes_that_have_refused_are_spared() {
    let mut bench = Bench::holding();
    bench.answer(2, held());
    let commands = bench.on(Event::Release(Why::Caller));
    assert_eq!(releases(&commands), [0, 1]);
    bench.answer(0, released());
    assert_eq!(resolved(bench.answer(1, released())), [(Question::Release, Outcome::Released)]);
}

#[test]
fn nothing_is_set_after_a_release_an_offer_a_reservation_or_a_transfer() {
    let ends = [
        Event::Release(Why::Dropped),
        Event::Offer { within: TIMEOUT },
        Event::Reserve,
        Event::Detach,
        Event::LeaveToExpire,
    ];
    for end in ends {
        let mut bench = Bench::holding();
        bench.on(Event::Extend { ttl: ttl() });
        let is_release = matches!(end, Event::Release(_));
        let commands = bench.on(end);
        assert!(is_release || commands.contains(&Command::Withdraw), "a release takes them with it in the line");
        let [(Question::Extend(1), Outcome::NotExtended(NotExtended::Ended))] = resolved(commands)[..] else {
            panic!("the extend is not answered")
        };
        let commands = bench.on(Event::Extend { ttl: ttl() });
        assert!(matches!(
            commands[..],
            [Command::Resolve(Question::Extend(2), Outcome::NotExtended(NotExtended::Ended))]
        ));
    }
}

#[test]
fn a_reservation_stays_valid_until_its_successor_has_its_name() {
    let mut bench = Bench::holding();
    assert_eq!(bench.on(Event::Reserve), [Command::Withdraw]);
    assert_eq!(bench.left(), VALIDITY);
    assert_eq!(releases(&bench.on(Event::Release(Why::TakenOver))), [0, 1, 2]);
}

#[test]
fn a_transfer_waits_until_nothing_is_out() {
    let mut bench = Bench::holding();
    let at = bench.now + TIMEOUT;
    assert_eq!(bench.on(Event::Detach), [Command::Withdraw, Command::Arm { timer: Timer::Detach, at }]);
    assert_eq!(
        bench.answer(2, granted()),
        [
            Command::Ended(End::Transferred),
            Command::Queue(QueueNote::Left),
            Command::Resolve(Question::Detach, Outcome::Transferred),
        ]
    );
    assert_eq!(bench.on(Event::Release(Why::Dropped)), [], "the other process releases it");
}

#[test]
fn a_transfer_waits_no_longer_than_for_the_node_timeout() {
    let mut bench = Bench::holding();
    bench.on(Event::Detach);
    let (_, ask) = bench.asked[2].clone();
    let late = Event::Answer { node: 2, ask, answer: Err(Failure::LATE), is_trusted: true };
    assert_eq!(bench.on(late), [], "its answer may still come");
    assert!(bench.on(Event::Timer(Timer::Detach)).contains(&Command::Resolve(Question::Detach, Outcome::Transferred)));
}

#[test]
fn a_lock_that_expires_before_its_transfer_is_released() {
    let mut bench = Bench::holding();
    bench.on(Event::Detach);
    let commands = bench.pass(9).answer(2, granted());
    assert_eq!(releases(&commands), [0, 1, 2]);
    assert_eq!(resolved(commands), [(Question::Detach, Outcome::NotTransferred(End::Expired))]);
    let commands = bench.on(Event::Detach);
    assert_eq!(commands, [Command::Resolve(Question::Detach, Outcome::NotTransferred(End::Expired))]);
}

#[test]
fn a_transfer_whose_caller_is_gone_is_a_release() {
    let mut bench = Bench::holding();
    bench.on(Event::Detach);
    assert_eq!(releases(&bench.on(Event::CallerGone(Question::Detach))), [0, 1, 2]);
}

#[test]
fn a_lock_that_is_left_to_expire_stays_valid_and_is_not_released() {
    let mut bench = Bench::holding();
    assert_eq!(bench.on(Event::LeaveToExpire), [Command::Withdraw, Command::Queue(QueueNote::Left)]);
    assert_eq!((bench.left(), bench.on(Event::Release(Why::Dropped))), (VALIDITY, vec![]));
}

#[test]
fn a_lock_of_another_process_may_be_on_any_node() {
    let mut bench = Bench::new(1);
    let (terms, started) = (bench.rules.terms(ttl()).unwrap(), bench.now);
    let validity = Duration::from_secs(4);
    let commands = bench.on(Event::Resume { terms, started, validity, fence: None });
    assert_eq!(commands, [Command::Arm { timer: Timer::Validity, at: started + validity }]);
    assert_eq!((bench.left(), bench.keys()), (validity, [KeyState::Perhaps; 3]));
    bench.on(Event::Extend { ttl: ttl() });
    bench.answer(0, extended(ExtendAnswer::held(None)));
    assert_eq!(bench.keys()[0], KeyState::Perhaps, "an extend of the other process may be unanswered");
    assert_eq!(releases(&bench.on(Event::Release(Why::Dropped))), [0, 1, 2]);
}
