//! The machine and the versions of the libraries, to which the figures belong.

use std::{
    fs, thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// Returns the model of the CPU, and how many there are.
pub(crate) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    let count = thread::available_parallelism().map_or(1, usize::from);
    format!("{model}, {count} CPU{}", if count == 1 { "" } else { "s" })
}

pub(crate) fn kernel() -> String {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    let kernel = format!("{} {}", read("ostype").trim(), read("osrelease").trim());
    if kernel.trim().is_empty() { "unknown".to_owned() } else { kernel }
}

/// Returns today's date in UTC: `2026-01-31`.
pub(crate) fn date() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(now.as_secs() / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// Returns the contenders and the crates that they are built on, with their versions from the lock file.
pub(crate) fn libraries() -> String {
    const NAMES: [&str; 5] = ["redis", "fred", "tokio", "rslock", "redlock"];
    let locked =
        NAMES.map(|name| format!("{name} {}", versions(include_str!("../../../Cargo.lock"), name).join(" and ")));
    locked.join(", ")
}

fn versions<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let wanted = format!("name = \"{name}\"");
    let after = lock.lines().zip(lock.lines().skip(1)).filter(|(line, _)| *line == wanted);
    after.filter_map(|(_, line)| Some(line.strip_prefix("version = \"")?.trim_end_matches('"'))).collect()
}

/// Converts days after 1970-01-01 to year, month and day.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(20_453), (2025, 12, 31));
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "[[package]]\nname = \"redis\"\nversion = \"0.23.5\"\n\n[[package]]\nname = \"redis\"\n\
                    version = \"1.8.1\"\n\n[[package]]\nname = \"redis-protocol\"\nversion = \"6.0.0\"\n";
        assert_eq!(versions(lock, "redis"), ["0.23.5", "1.8.1"]);
        assert!(libraries().contains("rslock 0."));
    }
}
