//! The TTL: how long a node keeps the lock's key.

use std::time::Duration;

use super::readable::Readable;

/// How long a node keeps the lock's key, unless it is extended or released: 1 ms to 7 days.
///
/// Redis counts whole milliseconds. A fraction is rounded **up** when it is sent ([`Ttl::sent_millis`]), so that a key
/// never expires early, and **down** when it is relied upon ([`Ttl::trusted`]), so that a holder never relies on it for
/// too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

impl Ttl {
    /// The shortest TTL.
    pub const MIN: Duration = Duration::from_millis(1);

    /// The longest TTL. It is also the time for which a crashed holder blocks everyone else. Extend a lock that is
    /// needed for longer.
    pub const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

    /// Checks a duration.
    ///
    /// # Errors
    ///
    /// If it is shorter than [`Ttl::MIN`] or longer than [`Ttl::MAX`].
    pub fn new(ttl: Duration) -> Result<Self, TtlError> {
        match ttl {
            Duration::ZERO => Err(TtlError::Zero),
            ttl if ttl < Self::MIN => Err(TtlError::BelowMillisecond { ttl }),
            ttl if ttl > Self::MAX => Err(TtlError::TooLong { ttl }),
            ttl => Ok(Self(ttl)),
        }
    }

    /// Returns the whole milliseconds that are sent to a node: rounded up.
    #[must_use]
    pub fn sent_millis(self) -> u64 {
        // At most `MAX`: far below u64.
        self.0.as_nanos().div_ceil(1_000_000) as u64
    }

    /// Returns the TTL as the caller set it.
    #[must_use]
    pub fn given(self) -> Duration {
        self.0
    }

    /// Returns the time on which a holder may rely: rounded down to whole milliseconds.
    #[must_use]
    pub fn trusted(self) -> Duration {
        Duration::from_millis(self.0.as_millis() as u64)
    }
}

/// A TTL that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TtlError {
    /// The TTL is zero: the lock would never be held.
    #[error("the TTL is zero")]
    Zero,
    /// The TTL is shorter than Redis can count.
    #[error("the TTL of {ttl:?} is below {:?}, the shortest that Redis supports", Ttl::MIN)]
    BelowMillisecond {
        /// The TTL.
        ttl: Duration,
    },
    /// The TTL is longer than [`Ttl::MAX`].
    #[error(
        "the TTL of {ttl:?} is above {:?}: a crashed holder would block others for that long; extend the lock instead",
        Ttl::MAX
    )]
    TooLong {
        /// The TTL.
        ttl: Duration,
    },
    /// The TTL is longer than the restart guard assumes: a node that was restarted would not wait for it.
    #[error("the TTL of {ttl:?} is above {longest:?}, the longest TTL of the restart guard")]
    AboveGuard {
        /// The TTL.
        ttl: Duration,
        /// The longest TTL of the restart guard.
        longest: Duration,
    },
    /// The TTL does not outlast one slow answer: every round with a slow node in it could end without validity.
    #[error(
        "the TTL of {ttl:?} is too short: a node may take {node_timeout:?} to answer and {drift} are reserved for \
         clock drift; use a longer TTL or a shorter node timeout",
        drift = Readable(*drift)
    )]
    TooShort {
        /// The TTL.
        ttl: Duration,
        /// How long a node may take to answer.
        node_timeout: Duration,
        /// The allowance for clock drift at this TTL.
        drift: Duration,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bounds_are_kept() {
        assert_eq!(Ttl::new(Duration::ZERO), Err(TtlError::Zero));
        let ttl = Ttl::MIN - Duration::from_nanos(1);
        assert_eq!(Ttl::new(ttl), Err(TtlError::BelowMillisecond { ttl }));
        assert_eq!(Ttl::MAX, Duration::from_secs(604_800), "seven days");
        assert!(Ttl::new(Ttl::MIN).is_ok());
        assert!(Ttl::new(Ttl::MAX).is_ok());
        let ttl = Ttl::MAX + Duration::from_nanos(1);
        assert_eq!(Ttl::new(ttl), Err(TtlError::TooLong { ttl }));
        assert_eq!(Ttl::new(Duration::MAX), Err(TtlError::TooLong { ttl: Duration::MAX }));
    }

    proptest! {
        #[test]
        fn a_ttl_is_sent_rounded_up_and_trusted_rounded_down(nanos in 1_000_000..=Ttl::MAX.as_nanos() as u64) {
            let asked = Duration::from_nanos(nanos);
            let ttl = Ttl::new(asked).unwrap();
            let sent = Duration::from_millis(ttl.sent_millis());
            prop_assert!(ttl.trusted() <= asked && asked <= sent);
            prop_assert!(sent - ttl.trusted() <= Duration::from_millis(1));
            prop_assert!(sent - asked < Duration::from_millis(1));
        }
    }
}
