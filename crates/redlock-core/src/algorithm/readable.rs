//! Prints durations in errors and logs.

use std::{fmt, time::Duration};

/// Prints a measured duration as a person writes it, with one decimal at most: `1.2s`, `45.6ms`, `200ms`, `7s`.
///
/// A duration that a caller has set is printed exactly, by its `Debug`.
pub(crate) struct Readable(pub(crate) Duration);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        // The unit is chosen after rounding: 999.96 ms are 1 s.
        let (unit, name) = match nanos {
            0 => return f.write_str("0s"),
            1..950 => (1, "ns"),
            950..999_500 => (1_000, "us"),
            999_500..999_500_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        // In whole units from 100 on, otherwise in tenths.
        let whole = (nanos + unit / 2) / unit;
        let tenths = (nanos + unit / 20) * 10 / unit;
        match tenths {
            tenths if tenths < 1_000 && tenths % 10 > 0 => write!(f, "{}.{}{name}", tenths / 10, tenths % 10),
            _ => write!(f, "{whole}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5us"),
            (999_700, "1ms"),
            (1_500_000, "1.5ms"),
            (4_949_000, "4.9ms"),
            (45_600_000, "45.6ms"),
            (99_960_000, "100ms"),
            (200_000_000, "200ms"),
            (999_960_000, "1s"),
            (1_234_000_000, "1.2s"),
            (7_000_000_000, "7s"),
            (600_000_000_000, "600s"),
        ] {
            assert_eq!(Readable(Duration::from_nanos(nanos)).to_string(), text, "{nanos}");
        }
    }
}
