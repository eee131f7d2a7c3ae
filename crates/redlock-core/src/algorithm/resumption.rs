//! Decides whether a lock that another process held is still held, and until when.

use std::time::Duration;

use super::{Drift, Quorum, Ttl};

/// The answer of one node about a token under a set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenView {
    /// All keys hold it.
    Held {
        /// How long all keys still hold it. `None`: forever.
        remaining: Option<Duration>,
    },
    /// At least one key does not hold it.
    Gone,
    /// The node did not answer, or answered with an error.
    Unknown,
}

/// The state of a lock that is to be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// A quorum holds it: you may rely on it for this time, counted from before the first request.
    Valid {
        /// The validity.
        validity: Duration,
    },
    /// A quorum holds it, but its validity is over.
    Expired,
    /// No quorum holds it, regardless of the nodes that did not answer.
    Lost,
    /// Too few nodes answered to decide.
    Unknown,
}

/// Counts the nodes that hold a lock of another process, as their answers arrive.
///
/// Clocks of different processes cannot be compared, so all that is known is what the nodes hold *now*. A node that was
/// queried at `start` or later and returns a key's remaining time holds it at least until `start` plus that time, by
/// its own clock. So does a quorum, until the key expires on the first node of the quorum that holds it longest.
#[derive(Debug, Clone)]
pub struct Resumption {
    quorum: Quorum,
    drift: Drift,
    ttl: Ttl,
    /// The remaining time on each node that holds it.
    held: Vec<Duration>,
    gone: usize,
    unknown: usize,
}

impl Resumption {
    /// Starts with nothing known. The lock was acquired for this `ttl`.
    #[must_use]
    pub fn new(quorum: Quorum, drift: Drift, ttl: Ttl) -> Self {
        Self { quorum, drift, ttl, held: Vec::new(), gone: 0, unknown: 0 }
    }

    /// Counts the answer of one node. Each node is counted once.
    pub fn count(&mut self, view: TokenView) {
        match view {
            // A key without expiry is held forever, but somebody has removed its expiry, and may add it again.
            TokenView::Held { remaining } => self.held.push(remaining.unwrap_or(self.ttl.trusted())),
            TokenView::Gone => self.gone += 1,
            TokenView::Unknown => self.unknown += 1,
        }
    }

    /// Counts every node that has not answered as unknown: the time for answers is over.
    pub fn close(&mut self) {
        self.unknown = self.quorum.nodes().saturating_sub(self.held.len() + self.gone);
    }

    /// Returns how long you may rely on the lock, counted from before the first request. `None` if no quorum is known
    /// to hold it.
    #[must_use]
    pub fn validity(&self) -> Option<Duration> {
        let remaining = self.quorum.holds_for(self.held.iter().copied())?;
        // Redis does not count below one millisecond.
        let validity = |remaining| self.drift.validity(remaining, Duration::ZERO);
        Some(Ttl::new(remaining.min(Ttl::MAX)).map_or(Duration::ZERO, validity))
    }

    /// Returns the state of the lock, this long after the first request, or `None` while more answers have to be waited
    /// for.
    ///
    /// A quorum that holds it decides at once if at least half of what the TTL gives is left: then the call does not
    /// wait for a slow node. With less, a node that missed the last extend may be in the quorum, and the next answer
    /// may report more.
    #[must_use]
    pub fn decision(&self, elapsed: Duration) -> Option<Resumed> {
        let out = self.quorum.nodes().saturating_sub(self.held.len() + self.gone + self.unknown);
        if let Some(validity) = self.validity() {
            let left = validity.saturating_sub(elapsed);
            let enough = self.drift.validity(self.ttl, Duration::ZERO) / 2;
            return match left {
                Duration::ZERO if out == 0 => Some(Resumed::Expired),
                left if out == 0 || (left >= enough && !left.is_zero()) => Some(Resumed::Valid { validity }),
                _ => None,
            };
        }
        if self.gone > self.quorum.tolerated() {
            Some(Resumed::Lost)
        } else if self.unknown > self.quorum.tolerated() || out == 0 {
            Some(Resumed::Unknown)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn held(millis: u64) -> TokenView {
        TokenView::Held { remaining: Some(ms(millis)) }
    }

    fn resumption(nodes: usize, views: &[TokenView]) -> Resumption {
        let quorum = Quorum::of(nodes.try_into().unwrap());
        let mut resumption = Resumption::new(quorum, Drift::default(), Ttl::new(TTL).unwrap());
        views.iter().for_each(|view| resumption.count(*view));
        resumption
    }

    /// Returns the decision when all nodes have answered.
    fn found(views: &[TokenView]) -> Resumed {
        resumption(views.len(), views).decision(Duration::ZERO).unwrap()
    }

    #[test]
    fn a_resumed_lock_is_valid_for_as_long_as_a_quorum_holds_it_less_drift() {
        // The second to last of three, less one percent and 2 ms.
        assert_eq!(found(&[held(9_000), held(5_000), held(1_000)]), Resumed::Valid { validity: ms(4_948) });
        assert_eq!(found(&[TokenView::Gone, held(5_000), held(1_000)]), Resumed::Valid { validity: ms(988) });
        assert_eq!(found(&[TokenView::Unknown, held(1_000), held(5_000)]), Resumed::Valid { validity: ms(988) });
        assert_eq!(found(&[held(2), held(2), held(9_000)]), Resumed::Expired);
        assert_eq!(found(&[held(0), held(0), held(9_000)]), Resumed::Expired);
        // Extended to more than the TTL.
        assert_eq!(found(&[held(100_000)]), Resumed::Valid { validity: ms(98_998) });
    }

    #[test]
    fn a_key_without_expiry_counts_for_no_more_than_the_ttl() {
        const ENDLESS: TokenView = TokenView::Held { remaining: None };
        assert_eq!(found(&[ENDLESS; 3]), Resumed::Valid { validity: ms(9_898) });
        assert_eq!(found(&[ENDLESS, held(5_000), held(1_000)]), Resumed::Valid { validity: ms(4_948) });
    }

    #[test]
    fn without_a_quorum_a_resumed_lock_is_lost_or_unknown() {
        use TokenView::{Gone, Unknown};
        assert_eq!(found(&[Gone, Gone, held(9_000)]), Resumed::Lost);
        assert_eq!(found(&[Gone, Gone, Unknown]), Resumed::Lost);
        assert_eq!(found(&[Unknown, Gone, held(9_000)]), Resumed::Unknown);
        assert_eq!(found(&[Unknown; 3]), Resumed::Unknown);
        // Half of an even number is not a quorum, and neither is the other half.
        assert_eq!(found(&[Gone, Gone, held(9_000), held(9_000)]), Resumed::Lost);
        assert_eq!(found(&[Unknown, Unknown, held(9_000), held(9_000)]), Resumed::Unknown);
    }

    #[test]
    fn a_slow_node_is_waited_for_only_if_it_may_add_validity() {
        let after = |millis, views: &[TokenView]| resumption(5, views).decision(ms(millis));
        let enough = [held(6_000), held(9_000), held(9_000)];
        assert_eq!(after(0, &enough), Some(Resumed::Valid { validity: ms(5_938) }));
        assert_eq!(after(2_000, &enough), None);
        let one_missed_an_extend = [held(10), held(9_000), held(9_000)];
        assert_eq!(after(0, &one_missed_an_extend), None);
        let [a, b, c] = one_missed_an_extend;
        assert_eq!(after(0, &[a, b, c, held(8_000)]), Some(Resumed::Valid { validity: ms(7_918) }));
        let mut closed = resumption(5, &one_missed_an_extend);
        closed.close();
        assert_eq!(closed.decision(ms(7)), Some(Resumed::Valid { validity: ms(7) + Duration::from_micros(900) }));
        assert_eq!(closed.decision(ms(8)), Some(Resumed::Expired));
        // A lock that is certainly lost or unknown needs no more answers.
        assert_eq!(after(0, &[TokenView::Gone; 2]), None);
        assert_eq!(after(0, &[TokenView::Gone; 3]), Some(Resumed::Lost));
        assert_eq!(after(0, &[TokenView::Unknown; 3]), Some(Resumed::Unknown));
    }

    fn view() -> impl Strategy<Value = TokenView> {
        prop_oneof![
            6 => (0_u64..20_000).prop_map(held),
            1 => Just(TokenView::Held { remaining: None }),
            2 => Just(TokenView::Gone),
            2 => Just(TokenView::Unknown),
        ]
    }

    proptest! {
        /// Clocks of nodes may run fast, within the allowance for drift.
        #[test]
        fn the_validity_is_over_before_the_keys_of_a_quorum_expire(
            views in prop::collection::vec(view(), 1..10), counted in any::<prop::sample::Index>(),
            elapsed in 0_u64..20_000, fast in 0.0..0.01_f64,
        ) {
            let resumption = resumption(views.len(), &views[..=counted.index(views.len())]);
            if let Some(Resumed::Valid { validity }) = resumption.decision(ms(elapsed)) {
                prop_assert!(validity > ms(elapsed));
                let holds = |view: &&TokenView| match view {
                    TokenView::Held { remaining } => {
                        remaining.is_none_or(|remaining| remaining.mul_f64(1.0 - fast) >= validity + ms(1))
                    }
                    TokenView::Gone | TokenView::Unknown => false,
                };
                prop_assert!(2 * views.iter().filter(holds).count() > views.len());
            }
        }

        #[test]
        fn more_time_and_more_holding_nodes_are_never_less(
            views in prop::collection::vec(view(), 1..10), node in any::<prop::sample::Index>(), more in 0_u64..20_000,
        ) {
            let mut better = views.clone();
            let view = &mut better[node.index(views.len())];
            *view = match *view {
                TokenView::Held { remaining } => TokenView::Held { remaining: remaining.map(|remaining| remaining + ms(more)) },
                TokenView::Gone | TokenView::Unknown => held(more),
            };
            let validity = |views: &[TokenView]| resumption(views.len(), views).validity();
            prop_assert!(validity(&better) >= validity(&views));
        }

        #[test]
        fn a_later_decision_is_never_better(views in prop::collection::vec(view(), 1..10), early in 0_u64..20_000, more: u16) {
            let resumption = resumption(views.len(), &views);
            let at = |millis| resumption.decision(ms(millis)).unwrap();
            let (before, after) = (at(early), at(early + u64::from(more)));
            let has_expired = matches!(before, Resumed::Valid { .. }) && after == Resumed::Expired;
            prop_assert!(before == after || has_expired);
        }

        #[test]
        fn an_early_decision_is_the_full_decision_or_a_more_careful_one(views in prop::collection::vec(view(), 1..10)) {
            let decision = |counted| resumption(views.len(), &views[..counted]).decision(Duration::ZERO);
            let full = decision(views.len()).unwrap();
            match (0..views.len()).find_map(decision) {
                None => {}
                Some(Resumed::Valid { validity: early }) => {
                    let Resumed::Valid { validity } = full else { panic!("{full:?}") };
                    prop_assert!(early <= validity);
                }
                // More nodes may answer, and then the lock is known to be lost.
                Some(Resumed::Unknown) => prop_assert!(matches!(full, Resumed::Unknown | Resumed::Lost)),
                Some(early) => prop_assert_eq!(early, full),
            }
        }

        #[test]
        fn the_order_of_answers_does_not_matter(views in prop::collection::vec(view(), 1..10)) {
            let reversed: Vec<_> = views.iter().rev().copied().collect();
            prop_assert_eq!(found(&views), found(&reversed));
        }
    }

    #[test]
    fn extreme_remaining_times_do_not_overflow() {
        let forever = TokenView::Held { remaining: Some(Duration::MAX) };
        assert_eq!(
            found(&[forever]),
            Resumed::Valid { validity: Drift::default().validity(Ttl::new(Ttl::MAX).unwrap(), ms(0)) }
        );
        assert_eq!(resumption(1, &[forever]).decision(Duration::MAX), Some(Resumed::Expired));
        let mut silent = resumption(usize::MAX, &[held(1), TokenView::Gone]);
        assert_eq!(silent.decision(ms(0)), None);
        silent.close();
        assert_eq!(silent.decision(ms(0)), Some(Resumed::Unknown));
    }
}
