//! Whether anybody holds a lock, computed from what each node holds.

use std::{collections::BTreeMap, time::Duration};

use super::Quorum;

/// The state of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyView<'a> {
    /// Nothing.
    Absent,
    /// A holder's token.
    Held {
        /// The token.
        by: &'a [u8],
        /// How long the node still holds it. `None`: forever.
        remaining: Option<Duration>,
    },
    /// The tokens of the readers that share the lock, and how long the node still holds it for each.
    Shared(&'a [(&'a [u8], Duration)]),
    /// The node did not answer, or answered with an error.
    Unknown,
}

/// Whether a lock is held, according to the nodes. `H` describes the holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding<H> {
    /// A quorum of the nodes holds the same token: it is locked.
    Held(H),
    /// Readers share it: a quorum of the nodes holds the token of each of them.
    Shared {
        /// The number of readers for which a quorum holds the lock, as far as the nodes list them.
        readers: usize,
        /// How long a quorum still holds one of them.
        remaining: Duration,
    },
    /// Nobody holds it, regardless of the nodes that did not answer.
    Free,
    /// Nobody holds it, and nobody can acquire it now: the nodes without a token are too few for a quorum, and no
    /// quorum holds the same token.
    Split,
    /// Too few nodes answered to decide whether anybody holds it.
    Unknown,
}

impl<'a> Finding<(&'a [u8], Option<Duration>)> {
    /// Computes the finding from the nodes' views: the token that a quorum holds, and for how long a quorum holds it if
    /// its holder does nothing (`None`: forever). Nodes that are missing here count as unknown.
    #[must_use]
    pub fn of(quorum: Quorum, seen: impl IntoIterator<Item = KeyView<'a>>) -> Self {
        let (mut absent, mut holding) = (0, 0);
        let (mut holders, mut sharing) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for seen in seen {
            match seen {
                KeyView::Absent => absent += 1,
                KeyView::Held { by, remaining } => {
                    holding += 1;
                    holders.entry(by).or_default().push(remaining.unwrap_or(Duration::MAX));
                }
                KeyView::Shared(readers) => {
                    holding += 1;
                    readers.iter().for_each(|(by, remaining)| sharing.entry(by).or_default().push(*remaining));
                }
                KeyView::Unknown => {}
            }
        }
        let most = holders.values().chain(sharing.values()).map(Vec::len).max().unwrap_or(0);
        let unknown = quorum.nodes().saturating_sub(absent + holding);
        let held = holders.into_iter().find_map(|(by, remaining)| Some((by, quorum.holds_for(remaining)?)));
        let shared: Vec<_> = sharing.into_values().filter_map(|remaining| quorum.holds_for(remaining)).collect();
        if let Some(remaining) = shared.iter().max() {
            return Self::Shared { readers: shared.len(), remaining: *remaining };
        }
        match held {
            Some((by, remaining)) => Self::Held((by, (remaining < Duration::MAX).then_some(remaining))),
            // Nodes that did not answer may hold the token of other nodes, or another one.
            None if most.saturating_add(unknown) >= quorum.needed() => Self::Unknown,
            None if holding > quorum.tolerated() => Self::Split,
            None => Self::Free,
        }
    }
}

impl<H> Finding<H> {
    /// Converts the description of the holder.
    pub fn map<T>(self, holder: impl FnOnce(H) -> T) -> Finding<T> {
        match self {
            Self::Held(by) => Finding::Held(holder(by)),
            Self::Shared { readers, remaining } => Finding::Shared { readers, remaining },
            Self::Free => Finding::Free,
            Self::Split => Finding::Split,
            Self::Unknown => Finding::Unknown,
        }
    }

    /// Returns whether anybody holds it, or `None` if too few nodes answered to decide.
    #[must_use]
    pub fn is_locked(&self) -> Option<bool> {
        match self {
            Self::Held(_) | Self::Shared { .. } => Some(true),
            Self::Free | Self::Split => Some(false),
            Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    const fn held(by: &'static str, remaining: Option<Duration>) -> KeyView<'static> {
        KeyView::Held { by: by.as_bytes(), remaining }
    }

    fn find<'a>(seen: &[KeyView<'a>]) -> Finding<(&'a [u8], Option<Duration>)> {
        Finding::of(Quorum::of(seen.len().try_into().unwrap()), seen.iter().copied())
    }

    const A: KeyView<'_> = held("a", secs(9));
    const B: KeyView<'_> = held("b", secs(9));
    const C: KeyView<'_> = held("c", secs(9));

    #[test]
    fn the_well_known_findings() {
        use KeyView::{Absent, Unknown};
        let locked: Finding<(&[u8], _)> = Finding::Held((b"a", secs(9)));
        for (seen, finding) in [
            (&[A, A, A][..], locked),
            (&[A, A, B], locked),
            (&[Absent, A, A], locked),
            (&[A, Unknown, A], locked),
            (&[Absent; 3], Finding::Free),
            (&[Absent, Absent, Unknown], Finding::Free),
            // The keys of one crashed caller block nobody.
            (&[A, Absent, Absent], Finding::Free),
            (&[A, B, Absent], Finding::Split),
            (&[A, B, C], Finding::Split),
            (&[A, A, B, B, C], Finding::Split),
            // An even number can be split in halves.
            (&[A, A, B, B], Finding::Split),
            (&[A, A, Absent, Absent], Finding::Split),
            (&[A, Unknown, Absent], Finding::Unknown),
            (&[A, B, Unknown], Finding::Unknown),
            (&[Absent, Unknown, Unknown], Finding::Unknown),
            (&[Unknown], Finding::Unknown),
            (&[A], locked),
            (&[Absent], Finding::Free),
        ] {
            assert_eq!(find(seen), finding, "{seen:?}");
        }
    }

    #[test]
    fn a_quorum_holds_a_lock_until_too_few_of_its_keys_are_left() {
        let remaining = |each: &[Option<Duration>]| {
            let seen: Vec<_> = each.iter().map(|remaining| held("a", *remaining)).collect();
            match find(&seen) {
                Finding::Held((_, remaining)) => remaining,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(remaining(&[secs(1), secs(9), secs(5)]), secs(5));
        assert_eq!(remaining(&[secs(1), None, secs(5)]), secs(5));
        assert_eq!(remaining(&[None, None, secs(5)]), None);
        assert_eq!(remaining(&[secs(7)]), secs(7));
    }

    /// Returns every way in which this many nodes can answer.
    fn all_seen(nodes: u32) -> impl Iterator<Item = Vec<KeyView<'static>>> {
        const SEEN: [KeyView<'_>; 4] = [A, B, KeyView::Absent, KeyView::Unknown];
        let seen = |number: usize, node| SEEN[number / 4_usize.pow(node) % 4];
        (0..4_usize.pow(nodes)).map(move |number| (0..nodes).map(|node| seen(number, node)).collect())
    }

    /// Returns every possible state of the nodes that did not answer.
    fn completions(seen: Vec<KeyView<'static>>) -> Vec<Vec<KeyView<'static>>> {
        let Some(unknown) = seen.iter().position(|seen| *seen == KeyView::Unknown) else { return vec![seen] };
        let complete = |instead| {
            let mut seen = seen.clone();
            seen[unknown] = instead;
            completions(seen)
        };
        [A, B, C, KeyView::Absent].into_iter().flat_map(complete).collect()
    }

    #[test]
    fn a_finding_is_true_whatever_the_silent_nodes_hold() {
        for nodes in 1..=5 {
            for seen in all_seen(nodes) {
                let all = completions(seen.clone());
                let is_held = |seen: &Vec<KeyView<'_>>| {
                    [A, B, C].iter().any(|by| 2 * seen.iter().filter(|seen| *seen == by).count() > seen.len())
                };
                let (some, every) = (all.iter().any(is_held), all.iter().all(is_held));
                match find(&seen).is_locked() {
                    Some(true) => assert!(every, "{seen:?}"),
                    Some(false) => assert!(!some, "{seen:?}"),
                    None => assert!(some && !every, "{seen:?}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn more_remaining_time_is_never_less(
            each in prop::collection::vec(prop::option::of(0_u64..100), 1..8),
            node in any::<prop::sample::Index>(),
            more: u32,
        ) {
            let remaining = |each: &[Option<u64>]| {
                let seen: Vec<_> = each.iter().map(|left| held("a", left.map(Duration::from_secs))).collect();
                match find(&seen) {
                    Finding::Held((_, remaining)) => remaining.unwrap_or(Duration::MAX),
                    other => panic!("{other:?}"),
                }
            };
            let before = remaining(&each);
            let still = each.iter().filter(|left| left.map_or(Duration::MAX, Duration::from_secs) >= before).count();
            prop_assert!(2 * still > each.len());
            let mut longer = each.clone();
            let left = &mut longer[node.index(each.len())];
            *left = left.map(|left| left + u64::from(more));
            prop_assert!(remaining(&longer) >= before);
        }
    }

    #[test]
    fn nodes_that_are_not_mentioned_are_unknown() {
        let three = Quorum::of(3.try_into().unwrap());
        assert_eq!(Finding::of(three, [A]), Finding::Unknown);
        assert_eq!(Finding::of(three, [KeyView::Absent; 2]), Finding::Free);
        assert_eq!(Finding::of(Quorum::of(usize::MAX.try_into().unwrap()), [A, A]), Finding::Unknown);
    }
}
