//! Parses single arguments.

use std::time::Duration;

use redlock_core::Owner;

/// Parses a time, for example `30s`, `5m` or `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a number and a unit, for example 30s, 5m or 500ms".to_owned())
}

/// Parses a label for people.
pub(super) fn owner(text: &str) -> Result<Owner, String> {
    Owner::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["30", "", "s", "-1s", "1 fortnight"] {
            assert!(duration(text).unwrap_err().contains("give a number and a unit"), "{text}");
        }
    }

    #[test]
    fn an_owner_can_be_printed() {
        assert_eq!(owner("web-3").unwrap().as_str(), "web-3");
        assert!(owner("a\nb").is_err() && owner("").is_err());
    }
}
