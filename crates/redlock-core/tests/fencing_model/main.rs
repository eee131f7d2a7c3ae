//! Fencing model.
#![expect(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "the shortest way to two equal tokens is worth reading")]

mod world;
mod protocol;
mod search;

use self::{
    protocol::{Departure, Extend, Protocol},
    search::Way,
};

#[test]
fn two_plain() {
    holds(&Protocol::<2>::new([[1, 1, 1], [1, 2, 3]]), 1000);
}
#[test]
fn two_repeats() {
    holds(&Protocol::<2>::new([[1, 2, 3]]).with_repeats(), 1000);
}
#[test]
fn two_repeats_after() {
    holds(&Protocol::<2>::new([[1, 2, 2]]).after(2).with_prompt_answers().with_extends(Extend::LeavesLost).with_losses(1), 1000);
}
#[test]
fn three_plain() {
    holds(&Protocol::<3>::new([[1, 1, 1]]).with_prompt_answers(), 1000);
}

fn holds<const R: usize>(protocol: &Protocol<R>, at_least: usize) {
    let t = std::time::Instant::now();
    let found = protocol.search(|world| world.wrong.is_some());
    println!("{protocol:?}: {} worlds, {} steps between them {:?}", found.states, found.steps, t.elapsed());
    if let Some(way) = found.way {
        panic!("{way}");
    }
    assert!(found.states >= at_least);
}
fn breaks<const R: usize>(protocol: &Protocol<R>) -> Way<R> {
    let found = protocol.search(|world| world.wrong.is_some());
    let way = found.way.unwrap_or_else(|| panic!("{protocol:?}: not broken in {} worlds", found.states));
    println!("{protocol:?}: {} worlds\n{way}", found.states);
    way
}
#[test]
fn b1() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).but(Departure::RaiseWithoutComparing)); }
#[test]
fn b2() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).but(Departure::RaiseLowers)); }
#[test]
fn b3() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).but(Departure::RaiseConfirmsTheHigher)); }
#[test]
fn b4() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).with_losses(1).but(Departure::RaiseRestoresTheLost)); }
#[test]
fn b5() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 2],[2,2,2]]).after(2).with_losses(1).with_extends(Extend::LeavesLost).but(Departure::ExtendRestoresTheLost)); }
#[test]
fn b6() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).with_losses(1).but(Departure::CountsFromOne)); }
#[test]
fn b7() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).with_losses(1).but(Departure::ComesBackWithOldCounter)); }
#[test]
fn b8() { breaks(&Protocol::<2>::new([[1, 1, 2], [1, 2, 3]]).with_repeats().but(Departure::SetsAgainWithoutCounting)); }
