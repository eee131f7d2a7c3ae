//! Tests of fencing with random answers.

use proptest::{prelude::*, sample::Index};

use super::{
    tests::{MAX, granted, issued, quorum, to_raise},
    *,
};

/// An event for a [`Fencing`], on a node.
#[derive(Debug, Clone)]
enum Told {
    Granted(Index, u64),
    Refused(Index),
    /// An answer to one of the raises that were sent.
    Raised(Index, Index, Raised),
    GiveUp,
}

fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1_u64..6, 1 => Just(0), 1 => MAX - 1..=MAX + 1]
}

fn answer() -> impl Strategy<Value = Raised> {
    prop_oneof![
        4 => Just(Raised::Confirmed),
        4 => counter().prop_map(Raised::Higher),
        1 => Just(Raised::NotHeld),
        1 => Just(Raised::Failed),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        30 => (any::<Index>(), counter()).prop_map(|(node, counter)| Told::Granted(node, counter)),
        5 => any::<Index>().prop_map(Told::Refused),
        60 => (any::<Index>(), any::<Index>(), answer()).prop_map(|(node, to, answer)| Told::Raised(node, to, answer)),
        1 => Just(Told::GiveUp),
    ]
}

proptest! {
    /// Whatever nodes answer, including answers that make no sense.
    #[test]
    fn a_token_is_issued_only_by_a_quorum_that_was_at_it_and_is_final(
        nodes in 1_usize..8, told in prop::collection::vec(told(), 0..40),
    ) {
        let mut fencing = Fencing::new(quorum(nodes));
        let mut seen = std::collections::BTreeSet::new();
        let mut candidates: Vec<u64> = Vec::new();
        for told in told {
            let before = fencing.decision();
            match told {
                Told::Granted(node, counter) => {
                    seen.insert((node.index(nodes), counter));
                    fencing.granted(node.index(nodes), counter);
                }
                Told::Refused(node) => fencing.refused(node.index(nodes)),
                Told::Raised(node, to, answer) if !candidates.is_empty() => {
                    let (node, to) = (node.index(nodes), candidates[to.index(candidates.len())]);
                    match answer {
                        Raised::Confirmed => _ = seen.insert((node, to)),
                        Raised::Higher(counter) => _ = seen.insert((node, counter)),
                        Raised::NotHeld | Raised::Failed => {}
                    }
                    fencing.raised(node, to, answer);
                }
                Told::Raised(..) => {}
                Told::GiveUp => fencing.give_up(),
            }
            match (before, fencing.decision()) {
                (Some(Fence::Issued(_) | Fence::Lost(_)), now) => prop_assert_eq!(before, now),
                (_, Some(Fence::Issued(token))) => {
                    let confirmed = (0..nodes).filter(|node| seen.contains(&(*node, token.get()))).count();
                    prop_assert!(2 * confirmed > nodes, "{confirmed} of {nodes} were at {token}");
                }
                (_, Some(Fence::Raise(candidate))) => {
                    prop_assert!(candidates.iter().all(|before| *before < candidate));
                    prop_assert!(seen.iter().any(|(_, counter)| *counter == candidate));
                    prop_assert!(FencingToken::new(candidate).is_some());
                    candidates.push(candidate);
                    prop_assert!(candidates.len() <= nodes);
                    prop_assert_ne!(fencing.to_raise(candidate).count(), 0);
                    fencing.raising(candidate);
                    prop_assert_eq!(fencing.decision(), None);
                }
                (_, Some(Fence::Lost(_)) | None) => {}
            }
        }
        // It waits only for answers that can still issue the token, and the end of patience ends it.
        let mut confirmed = fencing.clone();
        if let (None, Some(candidate)) = (fencing.decision(), candidates.last()) {
            (0..nodes).for_each(|node| confirmed.raised(node, *candidate, Raised::Confirmed));
            prop_assert_eq!(confirmed.decision(), issued(*candidate));
        }
        fencing.give_up();
        prop_assert!(matches!(fencing.decision(), Some(Fence::Issued(_) | Fence::Lost(_))));
    }

    /// As long as nodes keep the key, whatever their counters are, and whichever nodes are slow.
    #[test]
    fn nodes_that_keep_the_key_issue_the_greatest_counter_of_the_grants_in_any_order(
        counters in prop::collection::vec(1_u64..6, 1..8),
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
        answers in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let nodes = counters.len();
        let quorum = quorum(nodes);
        let winners: Vec<_> = order.into_iter().filter(|node| *node < nodes).take(quorum.needed()).collect();
        let greatest = winners.iter().map(|node| counters[*node]).max().unwrap();
        let mut fencing = Fencing::new(quorum);
        winners.iter().for_each(|node| fencing.granted(*node, counters[*node]));
        if fencing.decision() == Some(Fence::Raise(greatest)) {
            let asked = to_raise(&fencing, greatest);
            fencing.raising(greatest);
            for node in answers.into_iter().filter(|node| asked.contains(node)) {
                let answer = match counters[node] {
                    counter if counter > greatest => Raised::Higher(counter),
                    _ => Raised::Confirmed,
                };
                fencing.raised(node, greatest, answer);
            }
        }
        prop_assert_eq!(fencing.decision(), issued(greatest));
    }

    /// The order of the answers to a raise does not change which tokens are issued, and whether one is. It may only
    /// change the next candidate.
    #[test]
    fn the_order_of_answers_does_not_matter(
        nodes in 1_usize..8,
        grants in prop::collection::vec(1_u64..6, 7),
        answers in prop::collection::vec(answer(), 7),
        order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let decision = |order: &mut dyn Iterator<Item = usize>| {
            let mut fencing = granted(nodes, &grants[..quorum(nodes).needed()]);
            let Some(Fence::Raise(candidate)) = fencing.decision() else { return fencing.decision() };
            let asked = to_raise(&fencing, candidate);
            fencing.raising(candidate);
            for node in order.filter(|node| asked.contains(node)) {
                fencing.raised(node, candidate, answers[node]);
                // Skip such a token: its quorum may be complete before that of the candidate.
                if let Some(Fence::Issued(token)) = fencing.decision() && token.get() != candidate {
                    return None;
                }
            }
            fencing.decision()
        };
        let (one, other) = (decision(&mut (0..7)), decision(&mut order.into_iter()));
        match (one, other) {
            (None, _) | (_, None) => {}
            (Some(Fence::Issued(_)), _) | (_, Some(Fence::Issued(_))) => prop_assert_eq!(one, other),
            // More nodes may fail, and then the reason changes.
            (Some(_), Some(_)) => {}
        }
    }
}
