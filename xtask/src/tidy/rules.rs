//! The rules on the text of single files.

use super::{Violation, source::Source};

const ALGORITHM: &str = "crates/redlock-core/src/algorithm/";
/// Must be as pure as the algorithm, if it exists.
const AS_PURE: &[&str] = &["crates/redlock-core/src/engine/", "crates/redlock-core/src/queue/local.rs"];
const MATRIX: &str = "tests/src/backend.rs";
const TEST_ALL: &str = "xtask/src/conformance.rs";
const LONGEST: usize = 400;

/// Decisions depend on plain values: no waiting, no clock, no randomness, no node.
pub(super) fn pure_algorithm(files: &[Source]) -> Vec<Violation> {
    const FOREIGN: &[&str] = &[
        "async",
        "await",
        "tokio",
        "futures",
        "Instant",
        "SystemTime",
        "sleep",
        "rand",
        "getrandom",
        "fastrand",
        "LockNode",
    ];
    let mut violations = Vec::new();
    if !files.iter().any(|file| file.path.starts_with(ALGORITHM)) {
        violations.push(Violation {
            file: ALGORITHM.to_owned(),
            line: 1,
            rule: "pure-algorithm",
            what: "does not exist: name the new place of the algorithm in this rule".to_owned(),
        });
    }
    let is_pure = |file: &&Source| [ALGORITHM].iter().chain(AS_PURE).any(|pure| file.path.starts_with(pure));
    for file in files.iter().filter(is_pure) {
        for (line, code) in file.code_without_tests().lines().enumerate() {
            for word in words(code).filter(|word| FOREIGN.contains(word)) {
                violations.push(at(
                    file,
                    line,
                    "pure-algorithm",
                    format!("`{word}`: take it as an argument, or move this to the driver"),
                ));
            }
        }
    }
    violations
}

/// These implement a node, too, but are not backends: the core does it for `Arc`, the demo in the CLI counts the
/// requests that pass through it, and the simulation's node is broken on purpose.
const NO_BACKENDS: &[&str] = &["redlock-cli", "redlock-core", "redlock-simulation"];

/// A crate that implements a node is in the list of backends on which every scenario runs.
pub(super) fn every_backend_in_the_matrix(files: &[Source]) -> Vec<Violation> {
    let matrix = files.iter().find(|file| file.path == MATRIX).map(Source::code).unwrap_or_default();
    let mut violations = Vec::new();
    let mut known = Vec::new();
    for file in files {
        let Some((name, _)) = file.path.strip_prefix("crates/").and_then(|path| path.split_once("/src/")) else {
            continue;
        };
        if NO_BACKENDS.contains(&name) || known.contains(&name) {
            continue;
        }
        let code = file.code_without_tests();
        if let Some(line) =
            code.lines().position(|code| code.contains("LockNode for ") || code.contains("RedisClient for "))
        {
            known.push(name);
            if !words(&matrix).any(|word| word == name.replace('-', "_")) {
                let what = format!("{name} makes nodes and is not in {MATRIX}: add it, so that it is tested");
                violations.push(at(file, line, "matrix", what));
            }
        }
    }
    violations
}

/// The known backends, those on which scenarios run, and those that `test-all` runs are the same.
pub(super) fn every_backend_in_every_list(files: &[Source]) -> Vec<Violation> {
    let code = |path: &str| files.iter().find(|file| file.path == path).map(Source::code).unwrap_or_default();
    let (matrix, test_all) = (code(MATRIX), code(TEST_ALL));
    let known = variants(&matrix);
    let listed: Vec<_> = match matrix.split_once("BACKENDS: ").and_then(|(_, rest)| rest.split_once(';')) {
        // The first part is the array's length, the second its elements.
        Some((_, rest)) => words(rest.split_once(';').map_or("", |(list, _)| list)).collect(),
        None => Vec::new(),
    };
    let mut violations = Vec::new();
    let mut add = |file: &str, what: String| {
        violations.push(Violation { file: file.to_owned(), line: 1, rule: "matrix", what });
    };
    if known.is_empty() {
        add(MATRIX, "has no `enum Backend`: name the new place of the backends in this rule".to_owned());
    }
    for backend in known {
        if !listed.contains(&backend) {
            add(MATRIX, format!("{backend} is not in `BACKENDS`: no scenario runs on it"));
        }
        if !variants(&test_all).contains(&backend) {
            add(TEST_ALL, format!("{backend} is missing: `test-all` does not run it"));
        }
    }
    violations
}

/// Returns the variants of `enum Backend`, which have no fields.
fn variants(code: &str) -> Vec<&str> {
    let body = code.split_once("enum Backend {").and_then(|(_, rest)| rest.split_once('}'));
    body.map(|(body, _)| words(body).collect()).unwrap_or_default()
}

/// Programs of this workspace, to which nobody links.
const NO_LIBRARIES: &[&str] = &["redlock-bench", "redlock-cli", "redlock-simulation"];

/// Returns the code of the libraries, without their tests.
fn libraries(files: &[Source]) -> impl Iterator<Item = (&Source, String)> {
    let is_library = |file: &&Source| {
        let of = file.path.strip_prefix("crates/").and_then(|path| path.split_once("/src/"));
        of.is_some_and(|(name, _)| !NO_LIBRARIES.contains(&name))
    };
    files.iter().filter(is_library).map(|file| (file, file.code_without_tests()))
}

/// Wall clocks jump, so no lock may depend on one.
pub(super) fn no_wall_clock(files: &[Source]) -> Vec<Violation> {
    const WALL_CLOCKS: &[&str] =
        &["SystemTime", "UNIX_EPOCH", "Realtime", "RealtimeCoarse", "chrono", "OffsetDateTime"];
    let mut violations = Vec::new();
    for (file, code) in libraries(files) {
        for (line, code) in code.lines().enumerate() {
            for word in words(code).filter(|word| WALL_CLOCKS.contains(word)) {
                violations.push(at(file, line, "wall-clock", format!("`{word}`: ask the `Clock`, which never jumps")));
            }
        }
    }
    violations
}

/// A drop waits for nothing, and means the same with all features. Only `blocking` blocks, in files without a drop.
pub(super) fn drop_neither_blocks_nor_varies(files: &[Source]) -> Vec<Violation> {
    const BLOCKING: &[&str] = &["block_on", "block_in_place", "blocking_lock", "blocking_recv", "blocking_send"];
    let mut violations = Vec::new();
    for (file, code) in libraries(files) {
        let drops = code.contains("Drop for ");
        let may_block = !drops && file.path.contains("/src/blocking/");
        for (line, code) in code.lines().enumerate() {
            for word in words(code) {
                let what = match word {
                    word if BLOCKING.contains(&word) && !may_block => {
                        "spawn it: a library never blocks its caller's thread"
                    }
                    "feature" if drops => "keep it out of a file with a `Drop`: features only add",
                    _ => continue,
                };
                violations.push(at(file, line, "drop", format!("`{word}`: {what}")));
            }
        }
    }
    violations
}

/// Every test runs, and no code is unfinished.
pub(super) fn nothing_unfinished(files: &[Source]) -> Vec<Violation> {
    const UNFINISHED: &[(&str, &str)] = &[
        ("#[ignore", "make the test run, or delete it"),
        ("todo!", "write it"),
        ("unimplemented!", "write it, or return an error"),
        ("dbg!", "delete it"),
    ];
    let mut violations = Vec::new();
    for file in files {
        for (line, code) in file.code().lines().enumerate() {
            for (mark, what) in UNFINISHED.iter().filter(|(mark, _)| code.contains(mark)) {
                violations.push(at(file, line, "unfinished", format!("`{mark}`: {what}")));
            }
        }
    }
    violations
}

/// The first line of a file says in one sentence what it contains.
pub(super) fn a_header_on_every_file(files: &[Source]) -> Vec<Violation> {
    let has_none = |file: &&Source| {
        let first = file.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|sentence| sentence.trim().is_empty())
    };
    let what = "begin the file with `//! ` and one sentence on what lives here";
    files.iter().filter(has_none).map(|file| at(file, 0, "header", what.to_owned())).collect()
}

/// A file of a library is short enough to read at once.
pub(super) fn short_files(files: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/")) {
        let lines = file.length();
        if lines > LONGEST {
            let what = format!("{lines} lines before its unit tests, {LONGEST} at most: split it by its types");
            violations.push(at(file, LONGEST, "short-files", what));
        }
    }
    violations
}

/// Every member has the workspace's lints.
pub(super) fn shared_lints(manifests: &[Source]) -> Vec<Violation> {
    let inherits = |manifest: &&Source| {
        let mut lines = manifest.text.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
        lines.find(|line| !line.is_empty() && !line.starts_with('#')) == Some("workspace = true")
    };
    let what = "add `[lints]` with `workspace = true`";
    let missing = manifests.iter().filter(|manifest| !inherits(manifest));
    missing.map(|manifest| at(manifest, 0, "shared-lints", what.to_owned())).collect()
}

fn at(file: &Source, index: usize, rule: &'static str, what: String) -> Violation {
    Violation { file: file.path.clone(), line: index + 1, rule, what }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    fn lines(violations: &[Violation]) -> Vec<usize> {
        violations.iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn the_algorithm_must_neither_wait_nor_read_a_clock() {
        let planted = source(
            "crates/redlock-core/src/algorithm/round.rs",
            "//! No `async`.\nuse std::time::Instant;\nfn random_operand() {}\nasync fn f() { g().await }\n\n#[cfg(test)]\nmod tests {\n use tokio;\n}\nfn g() { Instant::now() }\n",
        );
        assert_eq!(lines(&pure_algorithm(&[planted])), [2, 4, 4, 10]);
        for as_pure in ["engine/lease.rs", "queue/local.rs"] {
            let planted = source(&format!("crates/redlock-core/src/{as_pure}"), "async fn f() {}");
            let pure = source("crates/redlock-core/src/algorithm/ttl.rs", "");
            assert_eq!(lines(&pure_algorithm(&[planted, pure])), [1], "{as_pure}");
        }
        let elsewhere = source("crates/redlock-core/src/queue/remote.rs", "async fn f() {}");
        let pure = source("crates/redlock-core/src/algorithm/ttl.rs", "fn f() {}");
        assert!(pure_algorithm(&[elsewhere, pure]).is_empty());
    }

    #[test]
    fn an_algorithm_that_has_moved_is_noticed() {
        assert_eq!(pure_algorithm(&[]).len(), 1);
    }

    #[test]
    fn a_backend_must_be_in_the_matrix() {
        let matrix = source(MATRIX, "use redlock_mock::MockNode; // redlock_other");
        let core = source("crates/redlock-core/src/node.rs", "impl<T: LockNode> LockNode for Arc<T> {}");
        let mock = source("crates/redlock-mock/src/node.rs", "impl LockNode for MockNode {}");
        let other = source("crates/redlock-other/src/node.rs", "\nimpl backend::RedisClient for OtherClient {}");
        let violations = every_backend_in_the_matrix(&[matrix, core, mock, other]);
        assert_eq!(violations.len(), 1);
        assert!(violations[0].to_string().starts_with("crates/redlock-other/src/node.rs:2: matrix: redlock-other"));
    }

    #[test]
    fn a_backend_must_be_run_by_the_suite_and_by_test_all() {
        let matrix = |backends: &str| {
            let text = format!(
                "/// One.\npub enum Backend {{\n    /// It.\n    Mock,\n    Fred,\n}}\n\n\
                 pub const BACKENDS: [Backend; 2] = [{backends}];\n"
            );
            source(MATRIX, &text)
        };
        let both = "Backend::Mock, Backend::Fred";
        let test_all = |variants: &str| source(TEST_ALL, &format!("enum Backend {{ {variants} }}\n"));
        let found = |files: &[Source]| {
            let violations = every_backend_in_every_list(files);
            violations.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found(&[matrix(both), test_all("Mock, Fred")]), [""; 0]);
        assert_eq!(
            found(&[matrix("Backend::Mock, Backend::Mock"), test_all("Mock, Fred")]),
            ["tests/src/backend.rs:1: matrix: Fred is not in `BACKENDS`: no scenario runs on it"]
        );
        assert_eq!(
            found(&[matrix(both), test_all("Mock")]),
            ["xtask/src/conformance.rs:1: matrix: Fred is missing: `test-all` does not run it"]
        );
        assert_eq!(found(&[]).len(), 1);
    }

    #[test]
    fn a_library_that_reads_a_wall_clock_is_found() {
        let planted = source(
            "crates/redlock-core/src/clock.rs",
            "//! No `SystemTime`.\nuse std::time::SystemTime;\nfn f() { g(ClockId::Realtime) }\n\
             #[cfg(test)]\nmod tests {\n    use std::time::SystemTime;\n}\n",
        );
        let demo = source("crates/redlock-cli/src/demo/mod.rs", "use std::time::SystemTime;\n");
        assert_eq!(lines(&no_wall_clock(&[planted, demo])), [2, 3]);
    }

    #[test]
    fn a_drop_that_blocks_or_depends_on_a_feature_is_found() {
        let planted = source(
            "crates/redlock-core/src/claim.rs",
            "//! One.\nimpl Drop for Lease {\n    #[cfg(feature = \"sync\")]\n    fn drop(&mut self) {\n        \
             self.runtime.block_on(self.release());\n    }\n}\n",
        );
        let feature_elsewhere = source("crates/redlock-fred/src/client.rs", "#[cfg(feature = \"tls\")]\nfn tls() {}\n");
        let in_a_test = source("crates/redlock-core/tests/cancel.rs", "fn f() { runtime.block_on(g()) }\n");
        let said_to_block = source("crates/redlock-core/src/blocking/worker.rs", "fn f() { runtime.block_on(g()) }\n");
        let files = [planted, feature_elsewhere, in_a_test, said_to_block];
        assert_eq!(lines(&drop_neither_blocks_nor_varies(&files)), [3, 5]);
        let in_a_drop =
            source("crates/redlock-core/src/blocking/a.rs", "impl Drop for A {\n fn drop() { block_on(g()) }}\n");
        assert_eq!(lines(&drop_neither_blocks_nor_varies(&[in_a_drop])), [2]);
    }

    #[test]
    fn a_test_that_does_not_run_and_unfinished_code_are_found() {
        let planted = source(
            "a.rs",
            "//! A.\n#[ignore = \"slow\"]\nfn f() { todo!() }\n// dbg!\nfn g() { dbg!(1) }\nfn h() { unimplemented!() }",
        );
        assert_eq!(lines(&nothing_unfinished(&[planted])), [2, 3, 5, 6]);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        let files = [
            source("a.rs", "//! What lives here."),
            source("b.rs", "use a;\n"),
            source("c.rs", "//!\n"),
            source("d.rs", ""),
        ];
        let found = a_header_on_every_file(&files);
        assert_eq!(found.iter().map(|violation| violation.file.as_str()).collect::<Vec<_>>(), ["b.rs", "c.rs", "d.rs"]);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = source("crates/a/src/long.rs", &"fn f() {}\n".repeat(LONGEST + 1));
        let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(LONGEST));
        let tested = source("crates/a/src/tested.rs", &tests);
        let elsewhere = source("tests/src/long.rs", &long.text);
        let found = short_files(&[long, tested, elsewhere]);
        assert_eq!(found.iter().map(|violation| violation.file.as_str()).collect::<Vec<_>>(), ["crates/a/src/long.rs"]);
    }

    #[test]
    fn a_member_with_lints_of_its_own_is_found() {
        let shared = source("a/Cargo.toml", "[package]\n\n[lints]\n# All.\nworkspace = true\n");
        let own = source("b/Cargo.toml", "[lints]\nrust.unsafe_code = \"allow\"\n[dependencies.x]\nworkspace = true\n");
        let none = source("c/Cargo.toml", "[package]\nname = \"c\"\n");
        let found = shared_lints(&[shared, own, none]);
        assert_eq!(
            found.iter().map(|violation| violation.file.as_str()).collect::<Vec<_>>(),
            ["b/Cargo.toml", "c/Cargo.toml"]
        );
    }
}
