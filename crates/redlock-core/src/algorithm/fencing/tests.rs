//! Tests of fencing with chosen answers.

use super::*;

pub(super) const MAX: u64 = FencingToken::MAX.get();

pub(super) fn quorum(nodes: usize) -> Quorum {
    Quorum::of(nodes.try_into().unwrap())
}

/// Returns a `Fencing` with these grants of the first nodes.
pub(super) fn granted(nodes: usize, counters: &[u64]) -> Fencing {
    let mut fencing = Fencing::new(quorum(nodes));
    counters.iter().enumerate().for_each(|(node, counter)| fencing.granted(node, *counter));
    fencing
}

/// Returns a `Fencing` with these grants, the greatest of which is being raised to.
fn raising(nodes: usize, counters: &[u64]) -> Fencing {
    let mut fencing = granted(nodes, counters);
    let candidate = *counters.iter().max().unwrap();
    assert_eq!(fencing.decision(), Some(Fence::Raise(candidate)));
    fencing.raising(candidate);
    fencing
}

pub(super) fn issued(number: u64) -> Option<Fence> {
    FencingToken::new(number).map(Fence::Issued)
}

const CONTENDED: Option<Fence> = Some(Fence::Lost(RoundFailure::Contended));
const NO_QUORUM: Option<Fence> = Some(Fence::Lost(RoundFailure::NoQuorum));

pub(super) fn to_raise(fencing: &Fencing, candidate: u64) -> Vec<usize> {
    fencing.to_raise(candidate).collect()
}

#[test]
fn equal_counters_of_a_quorum_are_the_token_at_once() {
    assert_eq!(granted(1, &[7]).decision(), issued(7));
    assert_eq!(granted(3, &[7, 7]).decision(), issued(7));
    assert_eq!(granted(4, &[7, 7, 7]).decision(), issued(7));
    assert_eq!(granted(5, &[7, 7, 7]).decision(), issued(7));
    // Half of the nodes are not a quorum.
    assert_eq!(granted(4, &[7, 7]).decision(), Some(Fence::Raise(7)));
}

#[test]
fn a_counter_far_above_the_others_is_no_candidate() {
    let far = 7 + Fencing::AHEAD + 1;
    assert_eq!(granted(3, &[far, 7, 7]).decision(), issued(7));
    let mut fencing = granted(3, &[far, 7]);
    assert_eq!((fencing.decision(), to_raise(&fencing, 7)), (Some(Fence::Raise(7)), vec![2]));
    fencing.raising(7);
    fencing.raised(2, 7, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(7));
    let mut failed = granted(3, &[far, 7]);
    failed.raising(7);
    failed.raised(2, 7, Raised::Failed);
    assert_eq!(failed.decision(), NO_QUORUM);
    // A counter that still counts as close is a candidate.
    assert_eq!(granted(3, &[far - 1, 7]).decision(), Some(Fence::Raise(far - 1)));
}

#[test]
fn without_a_grant_there_is_nothing_to_decide() {
    assert_eq!(Fencing::new(quorum(3)).decision(), None);
}

#[test]
fn nodes_below_the_greatest_and_silent_ones_are_raised_to_it() {
    let mut fencing = granted(5, &[5, 7, 6]);
    fencing.refused(4);
    assert_eq!(fencing.decision(), Some(Fence::Raise(7)));
    assert_eq!(to_raise(&fencing, 7), [0, 2, 3]);
    fencing.raising(7);
    assert_eq!(to_raise(&fencing, 7), [0, 2, 3]);
    fencing.raised(3, 7, Raised::Confirmed);
    assert_eq!(to_raise(&fencing, 7), [0, 2]);
    assert_eq!(fencing.decision(), None);
    fencing.raised(0, 7, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(7));
}

#[test]
fn a_higher_counter_does_no_harm_to_a_quorum_without_it() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.raised(2, 7, Raised::Higher(9));
    assert_eq!(fencing.decision(), None);
    fencing.raised(0, 7, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(7));
}

#[test]
fn a_higher_counter_is_the_next_candidate_when_the_last_is_impossible() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.raised(0, 7, Raised::NotHeld);
    assert_eq!(fencing.decision(), None);
    fencing.raised(2, 7, Raised::Higher(9));
    assert_eq!(fencing.decision(), Some(Fence::Raise(9)));
    assert_eq!(to_raise(&fencing, 9), [1]);
    fencing.raising(9);
    assert_eq!(fencing.decision(), None);
    fencing.raised(1, 9, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(9));
}

#[test]
fn the_next_candidate_is_the_greatest_that_is_known() {
    let mut fencing = raising(5, &[5, 6, 7]);
    fencing.raised(0, 7, Raised::Failed);
    fencing.raised(3, 7, Raised::Higher(11));
    assert_eq!(fencing.decision(), None);
    fencing.raised(4, 7, Raised::Higher(9));
    assert_eq!(fencing.decision(), Some(Fence::Raise(11)));
    assert_eq!(to_raise(&fencing, 11), [1, 2, 4]);
}

#[test]
fn two_nodes_at_the_same_higher_counter_confirm_it_without_another_raise() {
    let mut fencing = raising(5, &[5, 6, 7]);
    for node in [0, 3] {
        fencing.raised(node, 7, Raised::Higher(9));
    }
    assert_eq!(fencing.decision(), None);
    fencing.raised(4, 7, Raised::Higher(9));
    assert_eq!(fencing.decision(), issued(9));
}

#[test]
fn a_node_that_confirms_one_candidate_has_not_confirmed_the_next() {
    let mut fencing = raising(5, &[5, 6, 7]);
    fencing.raised(0, 7, Raised::NotHeld);
    fencing.raised(3, 7, Raised::Higher(9));
    fencing.raised(4, 7, Raised::Higher(9));
    assert_eq!(fencing.decision(), Some(Fence::Raise(9)));
    fencing.raising(9);
    // Late answers to the first raise. The answers to the second are still missing.
    fencing.raised(1, 7, Raised::Confirmed);
    fencing.raised(2, 7, Raised::Confirmed);
    assert_eq!(fencing.decision(), None);
    assert_eq!(to_raise(&fencing, 9), [1, 2]);
    fencing.raised(1, 9, Raised::NotHeld);
    assert_eq!(fencing.decision(), None);
    fencing.raised(2, 9, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(9));
}

#[test]
fn answers_may_overtake_each_other() {
    let mut fencing = raising(5, &[5, 6, 7]);
    fencing.raised(0, 7, Raised::NotHeld);
    fencing.raised(3, 7, Raised::Higher(9));
    fencing.raised(4, 7, Raised::Higher(9));
    fencing.raising(9);
    fencing.raised(1, 9, Raised::Confirmed);
    let before = fencing.clone();
    fencing.raised(1, 7, Raised::Confirmed);
    assert_eq!((fencing.decision(), &fencing), (issued(9), &before));
    // The same before there is a decision.
    let mut fencing = raising(5, &[5, 6, 7]);
    fencing.raised(0, 7, Raised::Confirmed);
    fencing.granted(0, 5);
    fencing.raised(3, 7, Raised::Confirmed);
    assert_eq!(fencing.decision(), issued(7));
}

#[test]
fn a_node_that_lost_the_key_or_failed_never_confirms_again() {
    for lost in [Raised::NotHeld, Raised::Failed] {
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(2, 7, lost);
        for again in [Raised::Confirmed, Raised::Higher(7), Raised::Higher(9)] {
            fencing.raised(2, 7, again);
            assert_eq!(fencing.decision(), None);
        }
        fencing.granted(2, 7);
        assert_eq!(fencing.decision(), None);
        assert_eq!(to_raise(&fencing, 7), [0]);
        fencing.raised(0, 7, lost);
        let blamed = if lost == Raised::Failed { NO_QUORUM } else { CONTENDED };
        assert_eq!(fencing.decision(), blamed);
    }
}

#[test]
fn a_late_grant_confirms_or_shows_a_higher_counter() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.granted(2, 6);
    assert_eq!((fencing.decision(), to_raise(&fencing, 7)), (None, vec![0, 2]));
    let mut equal = raising(3, &[5, 7]);
    equal.granted(2, 7);
    assert_eq!(equal.decision(), issued(7));
    let mut higher = raising(3, &[5, 7]);
    higher.granted(2, 8);
    assert_eq!((higher.decision(), to_raise(&higher, 7)), (None, vec![0]));
    higher.raised(0, 7, Raised::Failed);
    assert_eq!(higher.decision(), Some(Fence::Raise(8)));
}

#[test]
fn failures_are_blamed_only_when_they_alone_prevent_a_quorum() {
    let lost = |answers: [Raised; 3]| {
        let mut fencing = raising(5, &[5, 7]);
        (2..).zip(answers).for_each(|(node, answer)| fencing.raised(node, 7, answer));
        fencing.decision()
    };
    use Raised::{Failed, NotHeld};
    assert_eq!(lost([Failed; 3]), NO_QUORUM);
    assert_eq!(lost([Failed, NotHeld, Failed]), CONTENDED);
    assert_eq!(lost([NotHeld; 3]), CONTENDED);
    let mut refused = Fencing::new(quorum(3));
    refused.refused(0);
    assert_eq!(refused.decision(), None);
    refused.refused(1);
    assert_eq!(refused.decision(), CONTENDED);
}

#[test]
fn a_counter_that_cannot_be_a_token_is_a_failure() {
    for wrong in [0, MAX + 1, u64::MAX] {
        assert_eq!(granted(3, &[wrong, wrong]).decision(), NO_QUORUM);
        assert_eq!(granted(3, &[wrong, 7, 7]).decision(), issued(7));
        let mut fencing = raising(3, &[5, 7]);
        fencing.raised(2, 7, Raised::Higher(wrong));
        assert_eq!(fencing.decision(), None);
        fencing.raised(0, 7, Raised::Failed);
        assert_eq!(fencing.decision(), NO_QUORUM);
    }
    assert_eq!(granted(3, &[MAX, MAX]).decision(), issued(MAX));
    assert_eq!(granted(3, &[1, 1]).decision(), issued(1));
}

#[test]
fn a_node_that_falsely_reports_a_higher_counter_counts_as_failed() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.raised(0, 7, Raised::Higher(6));
    assert_eq!(fencing.decision(), None);
    fencing.raised(2, 7, Raised::Higher(6));
    assert_eq!(fencing.decision(), CONTENDED);
}

#[test]
fn raises_without_an_answer_have_failed_when_patience_ends() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.give_up();
    assert_eq!(fencing.decision(), NO_QUORUM);
    let mut higher = raising(3, &[5, 7]);
    higher.raised(2, 7, Raised::Higher(9));
    higher.give_up();
    // A raise to 9 might have succeeded, but its answer is not waited for.
    assert_eq!(higher.decision(), CONTENDED);
    let mut silent = Fencing::new(quorum(3));
    silent.give_up();
    assert_eq!(silent.decision(), NO_QUORUM);
    let mut unasked = granted(3, &[5, 7]);
    unasked.give_up();
    assert_eq!(unasked.decision(), CONTENDED);
    let mut done = granted(3, &[7, 7]);
    done.give_up();
    assert_eq!(done.decision(), issued(7));
}

#[test]
fn a_node_whose_counter_grows_forever_is_not_followed_forever() {
    let mut fencing = raising(3, &[5, 7]);
    fencing.raised(0, 7, Raised::NotHeld);
    for counter in [9, 11] {
        fencing.raised(2, counter - 2, Raised::Higher(counter));
        assert_eq!(fencing.decision(), Some(Fence::Raise(counter)));
        fencing.raising(counter);
        assert_eq!(fencing.decision(), None);
    }
    let mut last = fencing.clone();
    last.raised(1, 11, Raised::Confirmed);
    assert_eq!(last.decision(), issued(11));
    fencing.raised(2, 11, Raised::Higher(13));
    assert_eq!(fencing.decision(), CONTENDED);
}

#[test]
fn answers_from_unknown_nodes_are_ignored() {
    let mut fencing = raising(3, &[5, 7]);
    let before = fencing.clone();
    fencing.granted(3, 7);
    fencing.refused(usize::MAX);
    fencing.raised(3, 7, Raised::Confirmed);
    assert_eq!(fencing, before);
}
