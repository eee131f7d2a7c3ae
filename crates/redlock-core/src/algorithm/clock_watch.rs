//! Detects that a node's clock has jumped: moved against ours by more than clocks drift apart.

use std::{fmt, time::Duration};

use super::{Drift, readable::Readable};

/// A reading of a node's clock, at some time between two readings of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Our clock before the request was sent.
    pub sent: Duration,
    /// Our clock when the answer had arrived.
    pub received: Duration,
    /// The node's clock.
    pub clock: Duration,
}

/// The minimum by which a node's clock has jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// The node's clock moved forwards, so keys expire early by this time.
    Forwards(Duration),
    /// The node's clock moved backwards, so keys expire late by this time.
    Backwards(Duration),
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwards(by) => write!(f, "+{}", Readable(*by)),
            Self::Backwards(by) => write!(f, "-{}", Readable(*by)),
        }
    }
}

/// Watches the clock of one node from reading to reading.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockWatch {
    known: Option<Known>,
}

/// By how many nanoseconds the node's clock was ahead of ours, at least and at most, when ours was between `sent` and
/// `at`.
#[derive(Debug, Clone, Copy)]
struct Known {
    sent: Duration,
    at: Duration,
    least: i128,
    most: i128,
}

impl ClockWatch {
    /// A change up to this much is not a jump, even if the allowance for drift is smaller. A thousandth of the elapsed
    /// time is added, which no working clock gains.
    const LEAST: Duration = Duration::from_millis(2);

    /// Takes a reading, and returns the jump since the last one, if there is one.
    ///
    /// Only certain jumps count: after a slow answer it is unknown when the node read its clock. A clock that creeps
    /// within the allowance has not jumped.
    pub fn read(&mut self, reading: Reading, drift: &Drift) -> Option<Jump> {
        let clock = nanos(reading.clock);
        let (sent, at) = (reading.sent.min(reading.received), reading.received);
        let now = Known { sent, at, least: clock - nanos(at), most: clock - nanos(sent) };
        let before = self.known.replace(now)?;
        // Answers may be late and overtake each other: the node may have read its clock long before the earlier answer,
        // or even before its request was sent.
        let apart = now.at.max(before.at) - now.sent.min(before.sent);
        let allowance = nanos(drift.over(apart).max(apart / 1_000 + Self::LEAST));
        let (least, most) = (before.least - allowance, before.most + allowance);
        if now.least > most {
            return Some(Jump::Forwards(duration(now.least - before.most)));
        }
        if now.most < least {
            return Some(Jump::Backwards(duration(before.least - now.most)));
        }
        // Both bounds are true, so the clock is within both.
        self.known = Some(Known { least: now.least.max(least), most: now.most.min(most), ..now });
        None
    }
}

fn nanos(duration: Duration) -> i128 {
    // Below 2^94.
    duration.as_nanos() as i128
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn reading(sent: u64, received: u64, clock: u64) -> Reading {
        Reading { sent: ms(sent), received: ms(received), clock: START + ms(clock) }
    }

    /// Returns the jumps that these readings show.
    fn jumps(readings: &[(u64, u64, u64)]) -> Vec<Jump> {
        let (mut watch, drift) = (ClockWatch::default(), Drift::default());
        readings
            .iter()
            .filter_map(|(sent, received, clock)| watch.read(reading(*sent, *received, *clock), &drift))
            .collect()
    }

    #[test]
    fn a_clock_that_keeps_pace_with_ours_does_not_jump() {
        assert_eq!(jumps(&[(0, 2, 1), (1_000, 1_002, 1_001), (5_000, 5_002, 5_001)]), []);
    }

    #[test]
    fn a_jump_is_reported_once_with_its_direction_and_its_certain_size() {
        assert_eq!(jumps(&[(0, 2, 1), (10, 12, 5_011), (20, 22, 5_021)]), [Jump::Forwards(ms(4_998))]);
        assert_eq!(jumps(&[(0, 2, 5_001), (10, 12, 11), (20, 22, 21)]), [Jump::Backwards(ms(4_998))]);
    }

    #[test]
    fn a_slow_answer_proves_little_and_the_next_one_proves_the_rest() {
        // The node may have read its clock at any time within a second.
        assert_eq!(jumps(&[(0, 2, 1), (10, 1_010, 900)]), []);
        // It cannot have been that late, as the next reading shows.
        assert_eq!(jumps(&[(0, 2, 1), (10, 1_010, 900), (1_011, 1_012, 1_500)]).len(), 1);
    }

    #[test]
    fn clocks_may_drift_apart_while_an_answer_is_late() {
        // The node read its clock when the request was sent, and was ahead by 5 ms more at the end.
        assert_eq!(jumps(&[(0, 500, 0), (500, 500, 505)]), []);
        // It read its clock before the answer came that overtook this one.
        assert_eq!(jumps(&[(500, 500, 505), (0, 501, 0)]), []);
    }

    #[test]
    fn clocks_may_drift_apart_between_two_readings() {
        // One percent of ten seconds and 2 ms, and what the round trips leave open.
        assert_eq!(jumps(&[(0, 0, 0), (10_000, 10_000, 10_102)]), []);
        assert_eq!(jumps(&[(0, 0, 0), (10_000, 10_000, 10_103)]), [Jump::Forwards(ms(103))]);
        assert_eq!(jumps(&[(0, 0, 200), (10_000, 10_000, 10_098)]), []);
        assert_eq!(jumps(&[(0, 0, 200), (10_000, 10_000, 10_097)]), [Jump::Backwards(ms(103))]);
    }

    proptest! {
        #[test]
        fn no_clock_within_the_allowance_is_reported(
            sent in prop::collection::vec((0_u64..20_000, 0_u64..3_000, 0_u64..3_000), 1..30),
            ppm in -9_900_i64..9_900,
        ) {
            let clock = |looked: i64| (1_000_000 + looked + looked * ppm / 1_000_000) as u64;
            let reading = |(sent, there, back)| (sent, sent + there + back, clock((sent + there) as i64));
            let mut readings: Vec<_> = sent.into_iter().map(reading).collect();
            // Many requests are in flight at once, and each is read when its answer arrives.
            readings.sort_by_key(|(_, received, _)| *received);
            prop_assert_eq!(jumps(&readings), []);
        }

        #[test]
        fn a_jump_beyond_the_round_trips_and_the_allowance_is_found(
            rtts in (0_u64..20, 0_u64..20),
            pause in 0_u64..1_000,
            jump in 60_u64..1_000_000,
        ) {
            let (first, second) = rtts;
            let sent = first + pause;
            let found = jumps(&[(0, first, 0), (sent, sent + second, sent + jump)]);
            prop_assert_eq!(found.len(), 1);
        }
    }

    #[test]
    fn absurd_readings_do_not_panic() {
        let (mut watch, drift) = (ClockWatch::default(), Drift::default());
        let absurd = |sent, received, clock| Reading { sent, received, clock };
        assert_eq!(watch.read(absurd(Duration::MAX, Duration::ZERO, Duration::ZERO), &drift), None);
        assert!(watch.read(absurd(Duration::ZERO, Duration::ZERO, Duration::MAX), &drift).is_some());
        let _ = watch.read(absurd(Duration::ZERO, Duration::MAX, Duration::ZERO), &drift);
    }
}
