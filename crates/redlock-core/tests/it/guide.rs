//! Checks that the numbers in the guide follow from the rules, and that each of its pages is compiled and listed.

use std::{fs, path::Path, time::Duration};

use redlock_core::{
    AutoExtend, Drift, NodeTimeout, Ttl,
    algorithm::{Schedule, Upkeep},
};

const TTL_PAGE: &str = include_str!("../../src/guide/ttl.md");

/// Formats a row of the table: durations as a person writes them, and the number of tries.
fn row(ttl: Duration) -> String {
    let drift = Drift::default();
    let checked = Ttl::new(ttl).unwrap();
    let node_timeout = NodeTimeout::Auto.of(checked, &drift).unwrap();
    let validity = drift.validity(checked, Duration::ZERO);
    let after_slow_round = drift.validity(checked, node_timeout);
    let schedule = AutoExtend::default().schedule(checked, drift, node_timeout).unwrap();
    let (first, tries) = outage(&schedule, validity, node_timeout);
    let cells = [ttl, drift.of(checked), validity, after_slow_round, node_timeout, first, validity - first];
    format!("| {} | {tries} |", cells.map(written).join(" | "))
}

/// Returns when the first extend begins, and how many begin before the validity ends if none is answered.
fn outage(schedule: &Schedule, validity: Duration, node_timeout: Duration) -> (Duration, u32) {
    // A jitter of 0 gives the longest pauses.
    let Upkeep::After(first) = schedule.first(Duration::ZERO, validity, 0) else { panic!("no extend") };
    let (mut begins, mut tries) = (first, 0);
    while begins < validity {
        tries += 1;
        let failed = begins + node_timeout;
        match schedule.next(failed, validity.saturating_sub(failed), false, 0) {
            Upkeep::After(pause) => begins = failed + pause,
            Upkeep::Over => break,
        }
    }
    (first, tries)
}

/// Formats whole seconds as seconds, and everything else as whole milliseconds, rounded down.
fn written(duration: Duration) -> String {
    match duration.as_millis() {
        millis if millis >= 1000 && millis.is_multiple_of(1000) => format!("{} s", millis / 1000),
        millis => format!("{millis} ms"),
    }
}

#[test]
fn the_table_of_ttls_follows_from_the_rules() {
    let begins_with_a_number = |row: &&str| row.strip_prefix("| ").is_some_and(|row| row.starts_with(char::is_numeric));
    let numbers: Vec<_> = TTL_PAGE.lines().filter(begins_with_a_number).collect();
    assert_eq!(numbers.len(), 9, "{numbers:#?}");
    for told in numbers {
        let ttl = told.trim_matches(['|', ' ']).split(" | ").next().unwrap();
        let (count, unit) = ttl.split_once(' ').unwrap();
        let unit = if unit == "s" { 1000 } else { 1 };
        assert_eq!(told, row(Duration::from_millis(count.parse::<u64>().unwrap() * unit)));
    }
}

#[test]
fn every_page_of_the_guide_is_compiled_and_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/guide");
    let guide = fs::read_to_string(folder.join("mod.rs")).unwrap();
    let mut pages = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let page = file.unwrap().file_name().into_string().unwrap();
        if page == "mod.rs" {
            continue;
        }
        let name = page.strip_suffix(".md").unwrap();
        let text = fs::read_to_string(folder.join(&page)).unwrap();
        assert!(text.lines().next().unwrap().ends_with('?'), "{page} does not begin with the question that it answers");
        assert!(guide.contains(&format!("include_str!(\"{page}\")")), "{page} is not compiled");
        assert!(guide.contains(&format!("//! | [`{name}`] | ")), "{page} is not in the table");
        pages += 1;
    }
    assert_eq!(pages, guide.matches("\npub mod ").count());
}
