//! How long a round waits for one node.

use std::time::Duration;

use super::{Drift, Ttl, TtlError};

/// How long a round waits for one node before it counts the node as failed.
///
/// The default is a fiftieth of the TTL, at least 50 ms and at most 500 ms (200 ms at a TTL of 10 s):
///
/// * a *small fraction* of the TTL, as the Redis page requires, so that a round that has to wait for a hung node leaves
///   nearly the whole TTL as validity;
/// * not below 50 ms, since a first answer may include a connect with TLS to another zone;
/// * not above 500 ms, since no healthy node takes that long, and a lost round should end.
///
/// It bounds only rounds that need a silent node's vote. A round that has its quorum never waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeTimeout {
    /// A fiftieth of the TTL, at least 50 ms and at most 500 ms.
    #[default]
    Auto,
    /// Always this time.
    Fixed(Duration),
}

impl NodeTimeout {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(500);

    /// Returns the timeout of a call that acquires nothing, and so has no TTL to derive it from.
    #[must_use]
    pub fn without_ttl(self) -> Duration {
        match self {
            Self::Auto => Self::LONGEST,
            Self::Fixed(timeout) => timeout,
        }
    }

    /// Returns the timeout at this TTL.
    ///
    /// # Errors
    ///
    /// If the TTL would leave no validity after waiting for this time.
    pub fn of(self, ttl: Ttl, drift: &Drift) -> Result<Duration, TtlError> {
        let node_timeout = match self {
            Self::Auto => (ttl.trusted() / 50).clamp(Self::SHORTEST, Self::LONGEST),
            Self::Fixed(timeout) => timeout,
        };
        if drift.validity(ttl, node_timeout).is_zero() {
            return Err(TtlError::TooShort { ttl: ttl.given(), node_timeout, drift: drift.of(ttl) });
        }
        Ok(node_timeout)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn of(timeout: NodeTimeout, ttl: Duration) -> Result<Duration, TtlError> {
        timeout.of(Ttl::new(ttl).unwrap(), &Drift::default())
    }

    #[test]
    fn the_default_is_a_fiftieth_of_the_ttl_within_bounds() {
        for (ttl, timeout) in [(100, 50), (2_500, 50), (10_000, 200), (25_000, 500), (3_600_000, 500)] {
            assert_eq!(of(NodeTimeout::Auto, ms(ttl)), Ok(ms(timeout)), "ttl {ttl} ms");
        }
    }

    #[test]
    fn without_a_ttl_the_node_timeout_is_the_longest() {
        assert_eq!(NodeTimeout::Auto.without_ttl(), ms(500));
        assert_eq!(NodeTimeout::Fixed(ms(7)).without_ttl(), ms(7));
    }

    proptest! {
        #[test]
        fn a_round_that_waits_for_a_slow_node_has_validity_left(
            nanos in 1_000_000..=Ttl::MAX.as_nanos() as u64,
            fixed in prop::option::of(prop_oneof![any::<u64>().prop_map(Duration::from_nanos), Just(Duration::MAX)]),
        ) {
            let ttl = Ttl::new(Duration::from_nanos(nanos)).unwrap();
            let timeout = fixed.map_or(NodeTimeout::Auto, NodeTimeout::Fixed);
            if let Ok(timeout) = timeout.of(ttl, &Drift::default()) {
                prop_assert!(Drift::default().validity(ttl, timeout) > Duration::ZERO);
                prop_assert!(fixed.is_some() || (ms(50)..=ms(500)).contains(&timeout));
            }
        }
    }

    #[test]
    fn a_ttl_must_outlast_a_slow_answer() {
        // 50 ms for the node, 2 ms and 1 percent for drift.
        assert!(of(NodeTimeout::Auto, ms(52)).is_err());
        assert!(of(NodeTimeout::Auto, ms(53)).is_ok());
        let short = TtlError::TooShort { ttl: ms(1000), node_timeout: ms(988), drift: ms(12) };
        assert_eq!(of(NodeTimeout::Fixed(ms(988)), ms(1000)), Err(short));
        assert_eq!(of(NodeTimeout::Fixed(ms(987)), ms(1000)), Ok(ms(987)));
    }
}
