//! The retry policy: whether and when another round follows a lost one.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

/// Whether and when another round follows a lost one: up to a number of attempts, a timeout, or both, whichever comes
/// first.
///
/// The default makes up to 20 attempts with a pause of 200 ms, plus or minus 100 ms: about four seconds. A waiter never
/// pauses for longer than the holder's remaining TTL, if the nodes return it.
///
/// A call ends earlier if no quorum is possible until somebody changes the configuration: it fails once all attempts
/// for at least one second have met wrong passwords, missing permissions, a database that does not exist or missing
/// commands.
///
/// ```
/// use std::time::Duration;
/// use redlock_core::Retry;
///
/// let patient = Retry::timeout(Duration::from_secs(30)).exponential(Duration::from_millis(50), Duration::from_secs(2));
/// let brief = Retry::attempts(3).fixed(Duration::from_millis(100)).jitter(Duration::from_millis(50));
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Retry {
    attempts: Option<NonZeroU32>,
    timeout: Option<Duration>,
    backoff: Backoff,
    jitter: Duration,
}

#[derive(Clone)]
enum Backoff {
    Fixed(Duration),
    Exponential { first: Duration, longest: Duration },
    Custom(Arc<dyn Fn(u32) -> Duration + Send + Sync>),
}

/// The next step after a lost round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another round, after this pause.
    After(Duration),
    /// No further round.
    Stop(Stop),
}

/// The reason why no round follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All attempts have been made.
    Attempts,
    /// The timeout has passed.
    TimedOut,
}

impl Default for Retry {
    fn default() -> Self {
        Self::attempts(20)
    }
}

impl Retry {
    const DEFAULT_PAUSE: Duration = Duration::from_millis(200);
    const DEFAULT_JITTER: Duration = Duration::from_millis(100);
    /// The time to leave for the last round before a timeout. The timeout cuts off a round that takes longer.
    const LAST_ROUND: Duration = Duration::from_millis(50);

    fn new(attempts: Option<NonZeroU32>, timeout: Option<Duration>) -> Self {
        Self { attempts, timeout, backoff: Backoff::Fixed(Self::DEFAULT_PAUSE), jitter: Self::DEFAULT_JITTER }
    }

    /// Makes one attempt, without a retry.
    pub fn never() -> Self {
        Self::attempts(1)
    }

    /// Makes up to this many attempts in all, including the first. 0 counts as 1.
    ///
    /// Errors, events and metrics count attempts in the same way. An attempt ends with the pause that follows it: a
    /// call that is notified of a release during a pause sends its requests again within the same attempt. A call that
    /// waits behind others of its process sends nothing, but its attempts are counted.
    pub fn attempts(attempts: u32) -> Self {
        Self::new(Some(NonZeroU32::new(attempts).unwrap_or(NonZeroU32::MIN)), None)
    }

    /// Makes attempts until this much time has passed since the call began.
    pub fn timeout(timeout: Duration) -> Self {
        Self::new(None, Some(timeout))
    }

    /// Also ends the call when this much time has passed since it began. A round in flight is cut off then.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Removes the limit on attempts: only a timeout ends the call, or nodes whose [configuration](Retry) makes a
    /// quorum impossible.
    pub fn unlimited(self) -> Self {
        Self { attempts: None, ..self }
    }

    /// Makes the same pause after every attempt. Default: 200 ms.
    pub fn fixed(self, pause: Duration) -> Self {
        Self { backoff: Backoff::Fixed(pause), ..self }
    }

    /// Doubles the pause after every attempt, from `first` to `longest`.
    pub fn exponential(self, first: Duration, longest: Duration) -> Self {
        Self { backoff: Backoff::Exponential { first, longest }, ..self }
    }

    /// Calls `pause` for the pause after each lost attempt, counted from 1.
    pub fn custom(self, pause: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        Self { backoff: Backoff::Custom(Arc::new(pause)), ..self }
    }

    /// Varies each pause at random by up to this much in both directions, never below zero. Default: 100 ms.
    ///
    /// Without jitter, contenders that collided once collide again.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Returns whether there is only one attempt.
    #[must_use]
    pub fn is_once(&self) -> bool {
        self.attempts == Some(NonZeroU32::MIN)
    }

    /// Returns when the call ends at the latest, counted from its start.
    #[must_use]
    pub fn ends_after(&self) -> Option<Duration> {
        self.timeout
    }

    /// Returns whether this attempt (counted from 1) is the last one with enough time for a whole round.
    #[must_use]
    pub fn is_last(&self, attempt: u32, elapsed: Duration) -> bool {
        let leaves_none = |timeout| self.spare(timeout, elapsed).is_zero();
        self.attempts.is_some_and(|attempts| attempt >= attempts.get()) || self.timeout.is_some_and(leaves_none)
    }

    /// Returns what follows the loss of this attempt (counted from 1), `elapsed` after the start of the call.
    ///
    /// A pause before a timeout is cut so that one more round fits in. The call then waits for the rest of the time:
    /// the lock may still be released. `free_after` is when the lock may be free at the latest, if that is known.
    /// `random` decides the jitter.
    #[must_use]
    pub fn next(&self, attempt: u32, elapsed: Duration, free_after: Option<Duration>, random: u64) -> Next {
        if self.attempts.is_some_and(|attempts| attempt >= attempts.get()) {
            return Next::Stop(Stop::Attempts);
        }
        let pause = self.pause(attempt, random).min(free_after.unwrap_or(Duration::MAX));
        let Some(timeout) = self.timeout else { return Next::After(pause) };
        match (timeout.saturating_sub(elapsed), self.spare(timeout, elapsed)) {
            (Duration::ZERO, _) => Next::Stop(Stop::TimedOut),
            (left, Duration::ZERO) => Next::After(pause.min(left)),
            (_, spare) => Next::After(pause.min(spare)),
        }
    }

    /// Returns the longest pause that may follow this attempt.
    #[must_use]
    pub fn longest_pause(&self, attempt: u32) -> Duration {
        self.backoff.pause(attempt).saturating_add(self.jitter)
    }

    /// Returns the time until the last round before a timeout has to begin.
    fn spare(&self, timeout: Duration, elapsed: Duration) -> Duration {
        (timeout - Self::LAST_ROUND.min(timeout / 2)).saturating_sub(elapsed)
    }

    fn pause(&self, attempt: u32, random: u64) -> Duration {
        let pause = self.backoff.pause(attempt);
        // From `pause - jitter` to `pause + jitter`, evenly.
        let jitter = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 2);
        let shift = Duration::from_nanos(random % (2 * jitter + 1));
        pause.saturating_add(shift).saturating_sub(Duration::from_nanos(jitter))
    }
}

impl Backoff {
    /// Returns the pause after this attempt, without jitter.
    fn pause(&self, attempt: u32) -> Duration {
        match self {
            Self::Fixed(pause) => *pause,
            Self::Exponential { first, longest } => {
                let factor = 2_u32.checked_pow(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
                first.saturating_mul(factor).min(*longest)
            }
            Self::Custom(pause) => pause(attempt),
        }
    }
}

impl fmt::Debug for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(pause) => write!(f, "Fixed({pause:?})"),
            Self::Exponential { first, longest } => write!(f, "Exponential({first:?}..={longest:?})"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Returns the pause after an attempt, without timeout and hint.
    fn pause(retry: &Retry, attempt: u32, random: u64) -> Option<Duration> {
        match retry.next(attempt, Duration::ZERO, None, random) {
            Next::After(pause) => Some(pause),
            Next::Stop(_) => None,
        }
    }

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0_u64..5_000).prop_map(Duration::from_millis),
            any::<u64>().prop_map(Duration::from_nanos),
            Just(Duration::ZERO),
            Just(Duration::MAX),
        ]
    }

    #[test]
    fn there_is_no_pause_after_the_last_attempt() {
        let retry = Retry::attempts(3).jitter(Duration::ZERO);
        assert_eq!(pause(&retry, 1, 7), Some(ms(200)));
        assert_eq!(pause(&retry, 2, 7), Some(ms(200)));
        assert_eq!(retry.next(3, Duration::ZERO, None, 7), Next::Stop(Stop::Attempts));
        assert_eq!(pause(&Retry::never(), 1, 0), None);
        assert_eq!(pause(&Retry::attempts(0), 1, 0), None);
    }

    #[test]
    fn a_pause_doubles_up_to_the_longest() {
        let retry = Retry::attempts(u32::MAX).exponential(ms(10), ms(70)).jitter(Duration::ZERO);
        let pauses: Vec<_> = [1, 2, 3, 4, 5, 1000].map(|attempt| pause(&retry, attempt, 0).unwrap()).into();
        assert_eq!(pauses, [10, 20, 40, 70, 70, 70].map(ms));
    }

    #[test]
    fn extreme_schedules_do_not_overflow() {
        let endless = Retry::attempts(u32::MAX).jitter(Duration::MAX);
        let schedules = [
            endless.clone().fixed(Duration::MAX),
            endless.clone().exponential(Duration::MAX, Duration::MAX),
            endless.clone().exponential(Duration::from_nanos(1), Duration::MAX),
            endless.clone().custom(|_| Duration::MAX),
            endless.with_timeout(Duration::MAX),
        ];
        for retry in schedules {
            for attempt in [0, 1, u32::MAX - 1] {
                for random in [0, 1, u64::MAX] {
                    assert!(matches!(retry.next(attempt, Duration::MAX, None, random), Next::After(_) | Next::Stop(_)));
                }
            }
            assert_eq!(retry.next(u32::MAX, Duration::MAX, None, 0), Next::Stop(Stop::Attempts));
        }
        // The first pause that cannot be doubled.
        let doubling =
            Retry::attempts(u32::MAX).exponential(Duration::from_nanos(1), Duration::MAX).jitter(Duration::ZERO);
        assert_eq!(pause(&doubling, 32, 0), Some(Duration::from_nanos(1 << 31)));
        assert_eq!(pause(&doubling, 33, 0), Some(Duration::from_nanos(u32::MAX.into())));
    }

    #[test]
    fn debug_prints_the_schedule() {
        let text = |retry: Retry| format!("{retry:?}");
        assert!(text(Retry::attempts(7).fixed(ms(30))).contains("Fixed(30ms)"));
        assert!(text(Retry::never().exponential(ms(1), ms(9))).contains("Exponential(1ms..=9ms)"));
        assert!(text(Retry::never().custom(|_| ms(1))).contains("Custom"));
    }

    #[test]
    fn a_caller_can_compute_the_pauses() {
        let retry = Retry::attempts(9).custom(|attempt| ms(attempt.into())).jitter(Duration::ZERO);
        assert_eq!(pause(&retry, 4, 0), Some(ms(4)));
    }

    #[test]
    fn the_default_pause_is_200_ms_plus_or_minus_100_ms() {
        assert_eq!(pause(&Retry::default(), 1, 0), Some(ms(100)));
        assert_eq!(pause(&Retry::default(), 1, 100_000_000), Some(ms(200)));
        assert_eq!(pause(&Retry::default(), 1, 200_000_000), Some(ms(300)));
        assert_eq!(pause(&Retry::default(), 1, 200_000_001), Some(ms(100)));
        assert_eq!(pause(&Retry::default(), 20, 0), None);
    }

    #[test]
    fn jitter_reaches_both_ends() {
        let retry = Retry::attempts(2).fixed(ms(3)).jitter(Duration::from_nanos(1));
        let pauses: Vec<_> = (0..3).map(|random| pause(&retry, 1, random).unwrap()).collect();
        let nanos = Duration::from_nanos;
        assert_eq!(pauses, [nanos(2_999_999), nanos(3_000_000), nanos(3_000_001)]);
    }

    #[test]
    fn the_last_pause_leaves_time_for_a_round_and_the_rest_is_waited_for() {
        let retry = Retry::timeout(ms(1000)).jitter(Duration::ZERO);
        let next = |elapsed| retry.next(1, ms(elapsed), None, 0);
        assert_eq!(next(700), Next::After(ms(200)));
        assert_eq!(next(900), Next::After(ms(50)));
        assert_eq!(next(952), Next::After(ms(48)));
        assert_eq!(retry.next(1, ms(952), Some(ms(20)), 0), Next::After(ms(20)));
        assert_eq!(next(1000), Next::Stop(Stop::TimedOut));
        assert_eq!(next(5000), Next::Stop(Stop::TimedOut));
        assert_eq!([949, 950, 1000].map(|elapsed| retry.is_last(1, ms(elapsed))), [false, true, true]);
    }

    #[test]
    fn at_most_half_of_a_short_timeout_is_left_for_the_last_round() {
        let retry = Retry::timeout(ms(60)).jitter(Duration::ZERO);
        assert_eq!(retry.next(1, ms(1), None, 0), Next::After(ms(29)));
        assert_eq!(retry.next(1, ms(30), None, 0), Next::After(ms(30)));
        assert_eq!(retry.next(1, ms(60), None, 0), Next::Stop(Stop::TimedOut));
        assert_eq!(Retry::timeout(Duration::ZERO).next(1, ms(0), None, 0), Next::Stop(Stop::TimedOut));
    }

    #[test]
    fn a_waiter_does_not_sleep_past_the_holders_ttl() {
        let retry = Retry::attempts(2).jitter(Duration::ZERO);
        assert_eq!(retry.next(1, Duration::ZERO, Some(ms(20)), 0), Next::After(ms(20)));
        assert_eq!(retry.next(1, Duration::ZERO, Some(ms(900)), 0), Next::After(ms(200)));
    }

    proptest! {
        #[test]
        fn pauses_keep_their_bounds(
            base in duration(), jitter in duration(), longest in duration(), attempt in 1..u32::MAX, random in any::<u64>(),
        ) {
            let fixed = Retry::attempts(u32::MAX).fixed(base).jitter(jitter);
            let paused = pause(&fixed, attempt, random).unwrap();
            prop_assert!(paused >= base.saturating_sub(jitter));
            prop_assert!(paused <= base.saturating_add(jitter));
            let exponential = fixed.exponential(base, longest);
            prop_assert!(pause(&exponential, attempt, random).unwrap() <= longest.saturating_add(jitter));
        }

        #[test]
        fn a_schedule_keeps_its_attempts_and_its_timeout(
            attempts in prop::option::of(1_u32..40), timeout in prop::option::of(0_u64..3_000),
            base in 0_u64..400, jitter in 0_u64..400,
            rounds in prop::collection::vec((1_u64..300, prop::option::of(0_u64..500), any::<u64>()), 400),
        ) {
            let retry = Retry::default().unlimited().fixed(ms(base)).jitter(ms(jitter));
            let retry = attempts.map_or(retry.clone(), |attempts| Retry { attempts: NonZeroU32::new(attempts), ..retry });
            let retry = timeout.map_or(retry.clone(), |timeout| retry.with_timeout(ms(timeout)));
            let (mut made, mut elapsed) = (0, Duration::ZERO);
            for (took, free_after, random) in rounds {
                made += 1;
                elapsed += ms(took);
                let free_after = free_after.map(ms);
                match retry.next(made, elapsed, free_after, random) {
                    Next::After(pause) => {
                        prop_assert!(attempts.is_none_or(|attempts| made < attempts));
                        prop_assert!(pause <= ms(base + jitter).min(free_after.unwrap_or(Duration::MAX)));
                        elapsed += pause;
                        prop_assert!(timeout.is_none_or(|timeout| elapsed <= ms(timeout)), "the call ends in time");
                    }
                    Next::Stop(Stop::Attempts) => {
                        prop_assert_eq!(Some(made), attempts);
                        return Ok(());
                    }
                    Next::Stop(Stop::TimedOut) => {
                        prop_assert!(timeout.is_some_and(|timeout| elapsed >= ms(timeout)));
                        return Ok(());
                    }
                }
            }
            prop_assert!(attempts.is_none() && timeout.is_none(), "a bounded schedule ends");
        }

        #[test]
        fn no_pause_ends_after_the_timeout(
            timeout in duration(), elapsed in duration(), free_after in prop::option::of(duration()),
            attempt in any::<u32>(), random in any::<u64>(),
        ) {
            let (left, retry) = (timeout.saturating_sub(elapsed), Retry::timeout(timeout));
            match retry.next(attempt, elapsed, free_after, random) {
                Next::After(pause) => {
                    prop_assert!(pause <= left);
                    prop_assert!(pause <= free_after.unwrap_or(Duration::MAX));
                    let leaves_time = left - pause >= ms(50).min(timeout / 2);
                    prop_assert!(leaves_time || retry.is_last(attempt, elapsed), "one more round fits in");
                }
                Next::Stop(stop) => prop_assert_eq!((stop, left), (Stop::TimedOut, Duration::ZERO)),
            }
        }
    }
}
