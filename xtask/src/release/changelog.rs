//! The step `changelog`: the changelog describes the release, in the format of Keep a Changelog.

use std::cmp::Ordering;

use anyhow::{Result, bail};

use super::none;

pub(super) const FILE: &str = "CHANGELOG.md";

const UNRELEASED: &str = "Unreleased";

const GROUPS: &[&str] = &["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];

/// A section `## [1.2.3] - 2026-01-31`, or `## [Unreleased]`.
#[derive(Debug)]
struct Section<'a> {
    line: usize,
    name: &'a str,
    date: Option<&'a str>,
    groups: Vec<Group<'a>>,
}

/// A group `### Added`.
#[derive(Debug)]
struct Group<'a> {
    line: usize,
    name: &'a str,
    entries: usize,
}

/// Returns where the entries for `version` are.
///
/// # Errors
///
/// If there are none, or the file has another format.
pub(super) fn judge(text: &str, version: &str) -> Result<String> {
    let (sections, mut violations) = read(text);
    for section in &sections {
        shape(section, &mut violations);
    }
    for pair in sections.windows(2) {
        let [newer, older] = pair else { continue };
        order(newer, older, &mut violations);
    }
    none(&violations)?;
    let entries = |name| sections.iter().find(|section| section.name == name).map_or(0, Section::entries);
    match (entries(version), entries(UNRELEASED)) {
        (0, 0) => bail!("{FILE} says nothing of {version}"),
        (0, new) => Ok(format!("{version} is still `{UNRELEASED}`, {new} entries")),
        (told, 0) => Ok(format!("{version} has {told} entries")),
        (_, new) => {
            bail!("{new} entries are `{UNRELEASED}` beside those of {version}: move them, or raise the version")
        }
    }
}

/// Returns the sections, and the lines that are not allowed where they are.
fn read(text: &str) -> (Vec<Section<'_>>, Vec<String>) {
    let (mut sections, mut violations) = (Vec::<Section<'_>>::new(), Vec::new());
    if text.lines().next() != Some("# Changelog") {
        violations.push(at(1, "does not begin with `# Changelog`"));
    }
    for (line, text) in text.lines().enumerate().map(|(index, text)| (index + 1, text)) {
        if let Some(heading) = text.strip_prefix("## ") {
            let named = heading.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((name, rest)) = named else {
                violations.push(at(line, "write `## [version] - date`"));
                continue;
            };
            let date = rest.strip_prefix(" - ").map(str::trim_end);
            if date.is_none() && !rest.trim().is_empty() {
                violations.push(at(line, "write `## [version] - date`"));
            }
            sections.push(Section { line, name, date, groups: Vec::new() });
        } else if let Some(name) = text.strip_prefix("### ") {
            match sections.last_mut() {
                Some(section) => section.groups.push(Group { line, name, entries: 0 }),
                None => violations.push(at(line, "is before the first version")),
            }
        } else if text.starts_with("- ") {
            match sections.last_mut().and_then(|section| section.groups.last_mut()) {
                Some(group) => group.entries += 1,
                None => violations.push(at(line, "is under none of Added, Changed and so on")),
            }
        }
    }
    (sections, violations)
}

fn shape(section: &Section<'_>, violations: &mut Vec<String>) {
    if section.name != UNRELEASED {
        if Version::parse(section.name).is_none() {
            violations.push(at(section.line, "is not a version"));
        }
        if !section.date.is_some_and(is_date) {
            violations.push(at(section.line, "has no date as 2026-01-31"));
        }
        if section.entries() == 0 {
            violations.push(at(section.line, "tells nothing"));
        }
    }
    for (index, group) in section.groups.iter().enumerate() {
        if !GROUPS.contains(&group.name) {
            violations.push(at(group.line, &format!("is none of {}", GROUPS.join(", "))));
        }
        if group.entries == 0 {
            violations.push(at(group.line, "has no entry: leave it out"));
        }
        if section.groups.iter().take(index).any(|before| before.name == group.name) {
            violations.push(at(group.line, "is here twice"));
        }
    }
}

/// Checks that the newest comes first.
fn order(newer: &Section<'_>, older: &Section<'_>, violations: &mut Vec<String>) {
    if older.name == UNRELEASED {
        violations.push(at(older.line, "is below a version"));
    }
    if let (Some(a), Some(b)) = (Version::parse(newer.name), Version::parse(older.name)) {
        if a <= b {
            violations.push(at(older.line, "is not older than the version above"));
        }
        if newer.date < older.date {
            violations.push(at(older.line, "has a later date than the version above"));
        }
    }
}

impl Section<'_> {
    fn entries(&self) -> usize {
        self.groups.iter().map(|group| group.entries).sum()
    }
}

fn at(line: usize, what: &str) -> String {
    format!("{FILE}:{line}: {what}")
}

fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([4, 2, 2])
        && parts.concat().bytes().all(|digit| digit.is_ascii_digit())
        && matches!(parts.get(1).and_then(|month| month.parse().ok()), Some(1..=12))
        && matches!(parts.get(2).and_then(|day| day.parse().ok()), Some(1..=31))
}

/// `1.2.3` or `1.2.3-rc.1`; the latter is older.
#[derive(Debug, PartialEq, Eq)]
struct Version<'a> {
    numbers: [u64; 3],
    pre: Option<&'a str>,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let numbers: Vec<u64> = numbers.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { numbers: numbers.try_into().ok()?, pre })
    }
}

impl PartialOrd for Version<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let numbers = self.numbers.cmp(&other.numbers);
        Some(numbers.then_with(|| match (self.pre, other.pre) {
            (a, b) if a.is_some() != b.is_some() => b.is_some().cmp(&a.is_some()),
            (a, b) => a.cmp(&b),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judges a changelog with these lines after its beginning, for 0.2.0.
    fn judged(lines: &[&str]) -> Result<String> {
        judge(&format!("# Changelog\n\nThe format.\n\n{}\n", lines.join("\n")), "0.2.0")
    }

    fn complaint(lines: &[&str]) -> String {
        judged(lines).unwrap_err().to_string()
    }

    const FIRST: &str = "## [0.1.0] - 2026-01-31\n\n### Added\n\n- A lock.";
    const SECOND: &str = "## [0.2.0] - 2026-03-01\n### Fixed\n- A leak,\n  on two lines.\n- Another.";

    #[test]
    fn the_entries_of_the_version_are_found_and_their_place_is_reported() {
        assert_eq!(judged(&[SECOND, FIRST]).unwrap(), "0.2.0 has 2 entries");
        assert_eq!(judged(&["## [Unreleased]", SECOND, FIRST]).unwrap(), "0.2.0 has 2 entries");
        let unreleased = "## [Unreleased]\nAll new.\n### Added\n- One.\n### Removed\n- Another.";
        assert_eq!(judged(&[unreleased, FIRST]).unwrap(), "0.2.0 is still `Unreleased`, 2 entries");
    }

    #[test]
    fn a_version_without_entries_is_found() {
        assert_eq!(complaint(&[FIRST]), "CHANGELOG.md says nothing of 0.2.0");
        assert_eq!(complaint(&["## [Unreleased]", FIRST]), "CHANGELOG.md says nothing of 0.2.0");
        assert!(complaint(&["## [Unreleased]\n### Added\n- Late.", SECOND]).contains("beside those of 0.2.0"));
    }

    #[test]
    fn another_format_is_found_with_its_line() {
        assert!(judge(SECOND, "0.2.0").unwrap_err().to_string().starts_with("CHANGELOG.md:1: "));
        for (line, text) in [
            (5, "## 0.2.0 - 2026-03-01\n### Added\n- A."),
            (5, "## [0.2.0], 2026-03-01\n### Added\n- A."),
            (5, "## [Unreleased], soon\n### Added\n- A."),
            (5, "## [0.2.0]\n### Added\n- A."),
            (5, "## [0.2.0] - 1 March\n### Added\n- A."),
            (5, "## [0.2.0] - 2026-13-01\n### Added\n- A."),
            (5, "## [0.2] - 2026-03-01\n### Added\n- A."),
            (5, "## [0.2.0] - 2026-03-01\nNothing."),
            (5, "### Added\n- A."),
            (6, "## [0.2.0] - 2026-03-01\n- A.\n### Added\n- A."),
            (6, "## [0.2.0] - 2026-03-01\n### New\n- A."),
            (6, "## [0.2.0] - 2026-03-01\n### Added\n### Fixed\n- A."),
            (8, "## [0.2.0] - 2026-03-01\n### Added\n- A.\n### Added\n- B."),
        ] {
            let complaint = complaint(&[text, FIRST]);
            assert!(complaint.starts_with(&format!("CHANGELOG.md:{line}: ")), "{text}\n{complaint}");
        }
    }

    #[test]
    fn the_newest_version_comes_first() {
        assert!(complaint(&[FIRST, SECOND]).contains("is not older"));
        assert!(complaint(&[SECOND, SECOND]).contains("is not older"));
        assert!(complaint(&[SECOND, "## [Unreleased]"]).contains("below a version"));
        assert!(complaint(&[SECOND, "## [0.1.0] - 2026-03-02\n### Added\n- A."]).contains("later date"));
        assert!(Version::parse("0.2.0-rc.1") < Version::parse("0.2.0"));
        assert!(Version::parse("0.10.0") > Version::parse("0.9.9"));
    }
}
