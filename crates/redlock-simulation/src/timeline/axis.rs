//! The time axis: converts moments to pixels, and places the ticks.

use std::time::Duration;

/// Where moments are in the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    from: Duration,
    until: Duration,
    left: f64,
    width: f64,
}

/// About how far ticks are apart.
const BETWEEN_TICKS: f64 = 90.0;

impl Axis {
    pub(super) fn new(from: Duration, until: Duration, left: f64, width: f64) -> Self {
        // A picture without a length still has a scale.
        Self { from, until: until.max(from + Duration::from_nanos(1)), left, width }
    }

    /// Returns the pixel of a moment, or the picture's edge for a moment outside.
    pub(super) fn x(&self, at: Duration) -> f64 {
        let part = at.saturating_sub(self.from).as_secs_f64() / (self.until - self.from).as_secs_f64();
        self.left + part.min(1.0) * self.width
    }

    pub(super) fn shows(&self, from: Duration, to: Duration) -> bool {
        // A span that ends where the picture begins is not in it, unless it has no length.
        (to > self.from || from >= self.from) && from <= self.until
    }

    pub(super) fn left(&self) -> f64 {
        self.left
    }

    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Returns round moments at equal distances, with their labels.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let span = (self.until - self.from).as_nanos();
        let step = round_step(span as f64 / (self.width / BETWEEN_TICKS).max(1.0));
        let first = self.from.as_nanos().div_ceil(step);
        let last = self.until.as_nanos() / step;
        (first..=last)
            .map(|index| {
                let nanos = index * step;
                (self.x(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))), tick_text(nanos, step))
            })
            .collect()
    }
}

const SECOND: u128 = 1_000_000_000;

/// Returns the first round number of nanoseconds that is not smaller.
fn round_step(least: f64) -> u128 {
    const FACES_OF_A_CLOCK: [u128; 11] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800];
    let below_a_second = (0..9).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u128.pow(power)));
    let from_a_second = FACES_OF_A_CLOCK.map(|seconds| seconds * SECOND);
    let hours = (0..7).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u128.pow(power) * 3_600 * SECOND));
    let mut steps = below_a_second.chain(from_a_second).chain(hours);
    steps.find(|&step| step as f64 >= least).unwrap_or(u128::MAX / 4)
}

fn tick_text(nanos: u128, step: u128) -> String {
    let seconds = nanos / SECOND;
    match step {
        _ if step >= 60 * SECOND => match (seconds / 3_600, seconds / 60 % 60) {
            (0, minutes) => format!("{minutes} min"),
            (hours, minutes) => format!("{hours}:{minutes:02} h"),
        },
        _ if step >= SECOND && seconds >= 120 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ if step >= SECOND => format!("{seconds} s"),
        // As many decimals as are needed to distinguish neighboring ticks.
        _ if nanos >= SECOND => {
            let decimals = (1..=9_u32).find(|&decimals| step.is_multiple_of(SECOND / 10_u128.pow(decimals)));
            format!("{:.*} s", decimals.unwrap_or(9) as usize, nanos as f64 / 1e9)
        }
        _ if step >= 1_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} us", nanos as f64 / 1e3),
    }
}

/// Prints a moment or a length for people: `3.2 us`, `4.10 ms`, `180.0 ms`, `1.020 s`, `2:05.3 min`.
pub(super) fn readable(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        0.0 => "0 s".to_owned(),
        ..1e-3 => format!("{:.1} us", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        ..120.0 => format!("{seconds:.3} s"),
        _ => format!("{}:{:04.1} min", time.as_secs() / 60, seconds % 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(from_millis: u64, until_millis: u64) -> Vec<String> {
        let at = Duration::from_millis;
        Axis::new(at(from_millis), at(until_millis), 0.0, 450.0).ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn moments_are_to_scale() {
        let at = Duration::from_secs;
        let axis = Axis::new(at(10), at(20), 100.0, 1_000.0);
        assert_eq!([10, 15, 20].map(|seconds| axis.x(at(seconds))), [100.0, 600.0, 1_100.0]);
        assert_eq!([0, 99].map(|seconds| axis.x(at(seconds))), [100.0, 1_100.0], "cut off at the edges");
        assert!(
            axis.shows(at(5), at(11))
                && axis.shows(at(10), at(10))
                && !axis.shows(at(5), at(10))
                && !axis.shows(at(21), at(22))
        );
    }

    #[test]
    fn ticks_are_round_whatever_the_length() {
        assert_eq!(texts(0, 4), ["0 ms", "1 ms", "2 ms", "3 ms", "4 ms"]);
        assert_eq!(texts(0, 900), ["0 ms", "200 ms", "400 ms", "600 ms", "800 ms"]);
        assert_eq!(texts(900, 1_900), ["1.0 s", "1.2 s", "1.4 s", "1.6 s", "1.8 s"]);
        assert_eq!(texts(0, 20_000), ["0 s", "5 s", "10 s", "15 s", "20 s"]);
        assert_eq!(texts(118_000, 123_000), ["118 s", "119 s", "2:00 min", "2:01 min", "2:02 min", "2:03 min"]);
        assert_eq!(texts(0, 300_000), ["0 min", "1 min", "2 min", "3 min", "4 min", "5 min"]);
        assert_eq!(texts(0, 7_200_000), ["0 min", "30 min", "1:00 h", "1:30 h", "2:00 h"]);
    }

    #[test]
    fn a_picture_of_no_length_has_an_axis() {
        let axis = Axis::new(Duration::ZERO, Duration::ZERO, 0.0, 100.0);
        assert_eq!(axis.x(Duration::ZERO), 0.0);
        assert!(axis.ticks().len() < 10);
    }

    #[test]
    fn lengths_are_readable() {
        let read = |micros| readable(Duration::from_micros(micros));
        assert_eq!(
            [0, 3, 4_100, 1_020_000, 125_300_000].map(read),
            ["0 s", "3.0 us", "4.1 ms", "1.020 s", "2:05.3 min"]
        );
    }
}
