//! The rule on the lists of tests, hazards and invariants: the tests that they name exist.

use super::{Violation, source::Source};

/// The lists: tables whose rows link to tests, each as ``[`name`][file]`` or ``[`name`](path)``.
pub(super) const LISTS: &[&str] = &["tests/README.md", "CONTRIBUTING.md"];

const RULE: &str = "test-list";

/// The row must be updated when a test is renamed, moved or deleted.
pub(super) fn every_named_test_exists(list: &Source, files: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut add = |line: usize, what| {
        violations.push(Violation { file: list.path.clone(), line: line + 1, rule: RULE, what });
    };
    let mut named = 0;
    for (line, row) in list.text.lines().enumerate().filter(|(_, text)| text.starts_with('|')) {
        for (name, link) in links(&list.text, row) {
            named += 1;
            let Some(path) = link.map(|link| resolve(&list.path, link)) else {
                add(line, format!("`{name}` links to nothing: link to its file"));
                continue;
            };
            let Some(file) = files.iter().find(|file| file.path == path) else {
                add(line, format!("{path} is not there: link to the file that has `{name}` now"));
                continue;
            };
            if !has_function(&file.code(), name) {
                add(line, format!("there is no `fn {name}` in {path}: name the test that pins this now, or write it"));
            }
        }
    }
    if named == 0 {
        add(0, "names no test: describe the new form of the list in this rule".to_owned());
    }
    violations
}

/// Returns the names in code that are links, without the modules before them, and their targets.
fn links<'a>(text: &'a str, row: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    row.split("[`").skip(1).filter_map(move |rest| {
        let (name, rest) = rest.split_once("`]")?;
        let enclosed = |open, close| rest.strip_prefix(open)?.split_once(close).map(|(link, _)| link);
        let link = enclosed('(', ')').or_else(|| definition(text, enclosed('[', ']')?));
        Some((name.rsplit("::").next().unwrap_or(name), link))
    })
}

fn definition<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    definitions(text).find(|(defined, _)| *defined == label).map(|(_, link)| link)
}

/// Returns the definitions `[label]: link` at the beginning of lines.
pub(super) fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: ")).map(|(label, link)| (label, link.trim()))
}

/// Returns the target of a link in `from`, as a path from the workspace's root.
pub(super) fn resolve(from: &str, link: &str) -> String {
    let mut path: Vec<_> = from.split('/').collect();
    path.pop();
    for part in link.split('/') {
        match part {
            ".." => drop(path.pop()),
            "." => {}
            part => path.push(part),
        }
    }
    path.join("/")
}

fn has_function(code: &str, name: &str) -> bool {
    code.split("fn ").skip(1).any(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '<'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(list: &str) -> Vec<String> {
        let list = Source { path: LISTS[0].into(), text: list.into() };
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let files = [
            source(
                "crates/a/tests/time.rs",
                "async fn a_lock_ends() {}\n// fn a_lock_begins() {}\nfn generic<T>() {}\n",
            ),
            source("tests/src/scenarios/hung.rs", "pub(super) async fn a_minority_hangs(lab: &Lab) {}\n"),
        ];
        every_named_test_exists(&list, &files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tests_that_exist_pass() {
        let list = "| a | b |\n|---|---|\n\
            | x | [`time::a_lock_ends`](../crates/a/tests/time.rs), [`generic`](../crates/a/tests/time.rs) |\n\
            | y | [`hung::a_minority_hangs`][hung] and [words](nowhere.rs) |\n\n[hung]: src/scenarios/hung.rs\n";
        assert_eq!(found(list), [""; 0]);
    }

    #[test]
    fn a_test_that_was_renamed_or_moved_is_found() {
        let list = "[`not_in_a_table`](nowhere.rs)\n\
            | x | [`a_lock_ends`](../crates/a/tests/time.rs), [`a_lock`](../crates/a/tests/time.rs) |\n\
            | y | [`a_lock_begins`](../crates/a/tests/time.rs) |\n\
            | z | [`a_minority_hangs`](scenarios/hung.rs), [`a_minority_hangs`][gone], [`a_minority_hangs`] |\n";
        assert_eq!(
            found(list),
            [
                "tests/README.md:2: test-list: there is no `fn a_lock` in crates/a/tests/time.rs: name the test that pins \
                 this now, or write it",
                "tests/README.md:3: test-list: there is no `fn a_lock_begins` in crates/a/tests/time.rs: name the test \
                 that pins this now, or write it",
                "tests/README.md:4: test-list: tests/scenarios/hung.rs is not there: link to the file that has \
                 `a_minority_hangs` now",
                "tests/README.md:4: test-list: `a_minority_hangs` links to nothing: link to its file",
                "tests/README.md:4: test-list: `a_minority_hangs` links to nothing: link to its file",
            ]
        );
    }

    #[test]
    fn a_list_without_tests_is_found() {
        assert_eq!(found("| x | a_lock_ends |\n").len(), 1);
    }
}
