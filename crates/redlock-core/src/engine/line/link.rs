//! The connection of a line: whether there is one, and when the next is tried.

use std::time::Duration;

/// The connection to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// There is none. The next is tried from this time on; `pause` was the last pause between two tries.
    Down { again: Duration, pause: Duration },
    /// It is being made, since this time.
    Connecting { since: Duration, pause: Duration },
    /// It is there.
    Up,
}

impl Link {
    /// There never was a connection.
    pub(crate) const DOWN: Self = Self::Down { again: Duration::ZERO, pause: Duration::ZERO };

    /// The pause after a try that failed. It doubles up to the second.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

    /// Whether a connection is to be made now. From here on it is being made.
    pub(crate) fn connects(&mut self, now: Duration) -> bool {
        match *self {
            Self::Down { again, pause } if again <= now => {
                *self = Self::Connecting { since: now, pause };
                true
            }
            Self::Down { .. } | Self::Connecting { .. } | Self::Up => false,
        }
    }

    /// The connection broke, or was not made. When the next is tried: at once, if it was there before.
    pub(crate) fn broken(&mut self, now: Duration) -> Duration {
        let pause = match *self {
            Self::Up => Duration::ZERO,
            Self::Down { pause, .. } | Self::Connecting { pause, .. } => {
                (pause * 2).clamp(Self::PAUSES.0, Self::PAUSES.1)
            }
        };
        *self = Self::Down { again: now + pause, pause };
        now + pause
    }

    /// When a release is sent again that the node has refused to carry out.
    pub(crate) fn retries(now: Duration) -> Duration {
        now + Self::PAUSES.1
    }

    /// Since when it is being made.
    pub(crate) fn connecting_since(&self) -> Option<Duration> {
        match self {
            Self::Connecting { since, .. } => Some(*since),
            Self::Down { .. } | Self::Up => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_breaks_is_made_again_at_once_and_then_after_ever_longer_pauses() {
        let (mut link, mut now) = (Link::DOWN, Duration::from_secs(1));
        assert!(link.connects(now) && !link.connects(now));
        link = Link::Up;
        assert_eq!(link.broken(now), now);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            assert!(link.connects(now));
            let again = link.broken(now);
            assert!(!link.connects(now));
            pauses.push((again - now).as_millis());
            now = again;
        }
        assert_eq!(pauses, [50, 100, 200, 400, 400]);
    }
}
