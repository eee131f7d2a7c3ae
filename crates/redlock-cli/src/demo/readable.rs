//! Formats durations for people.

use std::time::Duration;

/// Formats a duration for people: `4.1 ms`, `180 ms`, `1.02 s`.
pub(crate) fn readable(duration: Duration) -> String {
    let millis = duration.as_secs_f64() * 1e3;
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        ..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.2} s", millis / 1e3),
    }
}
