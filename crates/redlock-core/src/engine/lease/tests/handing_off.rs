//! Hand-offs: the successor asks for the keys, and the holder releases what the successor does not take.

use super::*;
use crate::engine::{
    command::QueueNote,
    event::{Peer, Timer, Why},
    validity::End,
};

/// A holder that is offered to lease 2.
fn offered() -> Bench {
    let mut bench = Bench::holding();
    bench.answer(2, granted());
    let at = bench.now + TIMEOUT / 4;
    assert_eq!(
        bench.on(Event::Offer { within: TIMEOUT / 4 }),
        [
            Command::Withdraw,
            Command::Ended(End::Released),
            Command::Arm { timer: Timer::Offer, at },
            Command::Queue(QueueNote::Offered),
        ]
    );
    assert_eq!(bench.left(), Duration::ZERO, "nobody relies on it while the successor asks");
    bench
}

fn took(node: usize, follows: bool, is_unclear: bool) -> Event<u8> {
    Event::Peer(Peer::Took { node, follows, is_unclear })
}

#[test]
fn what_the_successor_takes_is_not_released() {
    let mut bench = offered();
    let commands = bench.on(Event::Peer(Peer::Asks));
    assert_eq!((releases(&commands), bench.keys()), (vec![], [KeyState::Offered; 3]));
    assert_eq!(bench.on(took(0, true, false)), []);
    assert_eq!(bench.on(took(2, true, false)), [Command::Resolve(Question::Release, Outcome::Released)]);
    assert_eq!(bench.on(took(1, true, false)), []);
    assert_eq!((bench.keys(), bench.asked.len()), ([KeyState::Successors; 3], 3));
}

#[test]
fn what_the_successor_does_not_take_is_released_behind_its_request() {
    let mut bench = offered();
    bench.on(Event::Peer(Peer::Asks));
    assert_eq!(releases(&bench.on(took(0, false, false))), [0], "its request found another token, or was not sent");
    assert_eq!(releases(&bench.on(Event::Peer(Peer::Unanswered { node: 1 }))), [1]);
    assert_eq!(releases(&bench.on(Event::Peer(Peer::Unanswered { node: 1 }))), [0_usize; 0], "once");
    bench.answer(0, released());
    let outcomes = resolved(bench.answer(1, not_held()));
    assert_eq!(outcomes, [(Question::Release, Outcome::Released)], "the successor may have it, whose answer is out");
}

#[test]
fn a_lost_answer_of_the_successor_leaves_it_unknown_whose_the_key_is() {
    let mut bench = offered();
    bench.on(Event::Peer(Peer::Asks));
    for node in [0, 1] {
        assert_eq!(releases(&bench.on(took(node, false, true))), [node]);
        assert_eq!(bench.keys()[node], KeyState::Unclear);
        assert_eq!(resolved(bench.answer(node, not_held())).len(), 0);
    }
    let outcomes = resolved(bench.on(took(2, true, false)));
    assert!(matches!(outcomes[..], [(Question::Release, Outcome::ReleaseUnknown { .. })]));
}

#[test]
fn an_offer_that_nobody_takes_is_released() {
    let mut bench = offered();
    let commands = bench.on(Event::Timer(Timer::Offer));
    assert_eq!(releases(&commands), [0, 1, 2]);
    assert_eq!(bench.on(Event::Peer(Peer::Asks)), [], "the release is before what the successor sends");
    assert_eq!(bench.on(took(0, false, false)), []);
    bench.answer(0, released());
    assert_eq!(resolved(bench.answer(1, released())), [(Question::Release, Outcome::Released)]);
}

#[test]
fn an_offer_whose_caller_is_gone_is_released() {
    let mut bench = offered();
    assert_eq!(releases(&bench.on(Event::CallerGone(Question::Release))), [0, 1, 2]);
    let mut taken = offered();
    taken.on(Event::Peer(Peer::Asks));
    assert_eq!(taken.on(Event::CallerGone(Question::Release)), []);
    assert_eq!(releases(&taken.on(took(0, false, false))), [0]);
}

#[test]
fn a_lock_that_cannot_be_handed_off_is_released_at_once() {
    let mut guarded = Bench::holding();
    guarded.rules.may_hand_off = false;
    assert_eq!(releases(&guarded.on(Event::Offer { within: TIMEOUT })), [0, 1, 2]);
    let mut expired = Bench::holding();
    let commands = expired.pass(9).on(Event::Offer { within: TIMEOUT });
    assert_eq!((&commands[0], releases(&commands)), (&Command::Ended(End::Expired), vec![0, 1, 2]));
    assert_eq!(expired.lease.phase(), Phase::Releasing(Why::Caller));
}

#[test]
fn a_successor_tells_the_holder_whose_the_keys_are() {
    let mut bench = Bench::new(2);
    let acquire = Acquire { follows: Some(1), reserved: [7].into(), ..bench.acquire() };
    let commands = bench.on(Event::Acquire(acquire));
    assert_eq!(commands.last(), Some(&Command::ToPeer(1, Peer::Asks)));
    let Request::Acquire { predecessors, .. } = &bench.asked[0].1.request else { panic!("not asked") };
    assert_eq!(**predecessors, [1, 7]);

    let said = |bench: &mut Bench, node: usize, again, answer| {
        let (_, ask) = bench.asked[node].clone();
        let commands = bench.on(Event::Answer { node, ask: Ask { again, ..ask }, answer, is_trusted: true });
        commands.into_iter().find(|command| matches!(command, Command::ToPeer(..)))
    };
    let peer = |peer| Some(Command::ToPeer(1, peer));
    let following = || Ok(Answer::Acquire(AcquireAnswer::granted().following()));
    let took = |node, follows, is_unclear| peer(Peer::Took { node, follows, is_unclear });
    assert_eq!(said(&mut bench, 0, false, Err(Failure::LATE)), peer(Peer::Unanswered { node: 0 }));
    assert_eq!(said(&mut bench, 0, false, following()), took(0, true, false));
    assert_eq!(said(&mut bench, 1, true, granted()), took(1, false, true));
    assert_eq!(said(&mut bench, 2, false, held()), took(2, false, false));
    let mut unsent = Bench::new(2);
    unsent.on(Event::Acquire(Acquire { follows: Some(1), ..unsent.acquire() }));
    assert_eq!(said(&mut unsent, 0, false, Err(Failure::NOT_SENT)), took(0, false, false));
    assert_eq!(said(&mut unsent, 1, true, Err(Failure::NOT_SENT)), peer(Peer::Unanswered { node: 1 }));
}
