//! The rules on imports: no cycle between the files of a crate, and the rooms of the core import downwards only.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Violation,
    modules::{Import, Modules},
    source::Source,
};

const CORE: &str = "crates/redlock-core/src/";

/// The rooms of the core and the floor of each. A room is a folder of `src`, or a single file.
const ROOMS: &[(&str, usize)] = &[
    ("lib", 8),
    ("guide", 8),
    ("blocking", 7),
    ("doctor", 6),
    ("inspect", 6),
    ("named", 6),
    ("api", 5),
    ("driver", 4),
    ("engine", 3),
    ("queue", 3),
    ("backend", 3),
    ("report", 3),
    ("node", 2),
    ("algorithm", 1),
    ("names", 1),
];

/// The longest chain of rooms in which each imports from the next.
const MOST_LEVELS: usize = 8;

/// Files that import from each other can only be read together.
pub(super) fn no_cycles(files: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for root in files.iter().filter(|file| is_root(&file.path)) {
        let modules = Modules::of(root, files);
        let what = |chain: &str| format!("{chain}: move what both ends need to a file that imports from neither");
        violations.extend(cycles(&modules, &modules.imports(), "import-cycle", |file| modules.path(file), what));
    }
    violations
}

/// Returns whether this file is the root of a crate.
fn is_root(path: &str) -> bool {
    let in_crate = path.strip_prefix("crates/").and_then(|path| path.split_once('/')).map(|(_, path)| path);
    let path = in_crate.or_else(|| path.strip_prefix("xtask/")).unwrap_or_default();
    matches!(path, "src/lib.rs" | "src/main.rs") || path.starts_with("src/bin/")
}

/// Every file of the core is in a room, and a room imports only from rooms on lower floors, or from one on the same
/// floor that does not import from it.
pub(super) fn rooms_import_downwards(files: &[Source]) -> Vec<Violation> {
    let is_core = |file: &&Source| file.path.strip_prefix(CORE) == Some("lib.rs");
    let Some(root) = files.iter().find(is_core) else { return Vec::new() };
    let modules = Modules::of(root, files);
    let floor = |file| ROOMS.iter().find(|(name, _)| *name == room(modules.path(file)));
    let (mut violations, mut between) = (Vec::new(), Vec::new());
    for file in (0..modules.files.len()).filter(|file| floor(*file).is_none()) {
        let what = format!("{} is not a room: move the file into one, or list the new room", room(modules.path(file)));
        violations.push(modules.violation(Import { from: file, to: file, line: 1 }, "rooms", what));
    }
    for import in modules.imports() {
        match (floor(import.from), floor(import.to)) {
            (Some((from, low)), Some((to, high))) if high > low => {
                let what = format!("{from} (floor {low}) imports from {to} (floor {high}): imports only point down");
                violations.push(modules.violation(import, "rooms", what));
            }
            (Some((from, _)), Some((to, _))) if from != to => between.push(import),
            _ => {}
        }
    }
    let what = |chain: &str| format!("{chain}: rooms of one floor must not import from each other");
    let cycles = cycles(&modules, &between, "rooms", |file| room(modules.path(file)), what);
    let is_in_order = cycles.is_empty();
    violations.extend(cycles);
    let levels = levels(between.iter().map(|import| (room(modules.path(import.from)), room(modules.path(import.to)))));
    if is_in_order && levels > MOST_LEVELS {
        let what = format!("{levels} levels of rooms, {MOST_LEVELS} at most: merge two, or cut an import");
        violations.push(Violation { file: root.path.clone(), line: 1, rule: "rooms", what });
    }
    violations
}

/// Returns how many rooms the longest chain of imports has.
fn levels<'a>(between: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> usize {
    let mut levels = BTreeMap::new();
    for _ in ROOMS {
        for (from, to) in between.clone() {
            let below = *levels.entry(to).or_insert(1);
            let own = levels.entry(from).or_insert(1);
            *own = (below + 1).max(*own);
        }
    }
    levels.into_values().max().unwrap_or_default()
}

/// Returns the folder of the core's `src` that contains a file, or the file's own name.
fn room(path: &str) -> &str {
    let path = path.strip_prefix(CORE).unwrap_or(path);
    path.split_once('/').map_or_else(|| path.trim_end_matches(".rs"), |(room, _)| room)
}

/// Finds the cycles between the places that `place` assigns to files; one violation for each.
fn cycles<'a>(
    modules: &Modules<'_>,
    imports: &[Import],
    rule: &'static str,
    place: impl Fn(usize) -> &'a str,
    what: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let mut known = BTreeSet::new();
    let mut violations = Vec::new();
    for import in imports {
        if known.contains(place(import.from)) {
            continue;
        }
        let Some(way) = way_back(*import, imports, &place) else { continue };
        known.extend(way.iter().map(|import| place(import.from)));
        let ends: Vec<_> = [import.from].into_iter().chain(way.iter().map(|import| import.to)).map(&place).collect();
        violations.push(modules.violation(*import, rule, what(&ends.join(" -> "))));
    }
    violations
}

/// Returns the shortest chain of imports that begins with this one and ends where it began.
fn way_back<'a>(first: Import, imports: &[Import], place: impl Fn(usize) -> &'a str) -> Option<Vec<Import>> {
    let mut ways = vec![vec![first]];
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while let Some(way) = ways.get(next).cloned() {
        let end = place(way.last()?.to);
        if end == place(first.from) {
            return Some(way);
        }
        if seen.insert(end) {
            let goes_on = imports.iter().filter(|import| place(import.from) == end);
            ways.extend(goes_on.map(|import| [&way[..], &[*import]].concat()));
        }
        next += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the files of `folder`, where a `lib.rs` declares the others, each with its imports on one line.
    fn files(folder: &str, texts: &[(&str, &str)]) -> Vec<Source> {
        let declared: String =
            texts.iter().filter_map(|(path, _)| path.strip_suffix(".rs")).fold(String::new(), |text, path| match path
                .split_once('/')
            {
                None => format!("{text}mod {path};\n"),
                Some(_) => text,
            });
        let source = |path: &str, text: &str| Source { path: format!("{folder}{path}"), text: text.to_owned() };
        [source("lib.rs", &declared)].into_iter().chain(texts.iter().map(|(path, text)| source(path, text))).collect()
    }

    fn told(violations: &[Violation]) -> Vec<String> {
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_chain_of_files_passes_and_files_in_a_cycle_are_named() {
        let line = [("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "")];
        assert_eq!(told(&no_cycles(&files("crates/x/src/", &line))), [""; 0]);
        let cycle =
            [("a.rs", "use crate::b::B;"), ("b.rs", "\nuse crate::c::C;"), ("c.rs", "fn f() { super::b::g() }")];
        assert_eq!(
            told(&no_cycles(&files("crates/x/src/", &cycle))),
            [
                "crates/x/src/b.rs:2: import-cycle: crates/x/src/b.rs -> crates/x/src/c.rs -> crates/x/src/b.rs: move what both \
              ends need to a file that imports from neither"
            ]
        );
        assert_eq!(no_cycles(&files("xtask/src/", &cycle)).len(), 1);
        assert_eq!(no_cycles(&files("crates/x/tests/", &cycle)).len(), 0);
    }

    #[test]
    fn each_cycle_is_found_once_even_one_with_the_root() {
        let two = [
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::a::A;\nuse crate::c::C;"),
            ("c.rs", "use crate::d::D;"),
            ("d.rs", "use crate::c::C;"),
        ];
        assert_eq!(no_cycles(&files("crates/x/src/", &two)).len(), 2);
        let mut with_root = files("crates/x/src/", &[("a.rs", "use crate::helper;")]);
        with_root[0].text += "use crate::a::A;\nfn helper() {}\n";
        assert_eq!(no_cycles(&with_root).len(), 1);
    }

    #[test]
    fn imports_of_tests_close_no_cycle() {
        let tested = [("a.rs", "use crate::b::B;"), ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}")];
        assert_eq!(told(&no_cycles(&files("crates/x/src/", &tested))), [""; 0]);
    }

    fn rooms(texts: &[(&str, &str)]) -> Vec<String> {
        told(&rooms_import_downwards(&files(CORE, texts)))
    }

    #[test]
    fn rooms_that_import_downwards_pass() {
        let down = [("api.rs", "use crate::driver::D;"), ("driver.rs", "use crate::node::N;"), ("node.rs", "")];
        assert_eq!(rooms(&down), [""; 0]);
        let beside = [("queue.rs", "use crate::report::R;"), ("report.rs", "")];
        assert_eq!(rooms(&beside), [""; 0]);
    }

    #[test]
    fn an_import_from_a_room_above_is_found() {
        let up = [("node.rs", "mod url;"), ("node/url.rs", "\nuse crate::driver::D;"), ("driver.rs", "")];
        assert_eq!(
            rooms(&up),
            [
                "crates/redlock-core/src/node/url.rs:2: rooms: node (floor 2) imports from driver (floor 4): imports only \
              point down"
            ]
        );
    }

    #[test]
    fn rooms_of_one_floor_that_import_from_each_other_are_found() {
        let texts = [
            ("queue.rs", "mod ticket;\nmod local;"),
            ("queue/ticket.rs", "use crate::report::R;"),
            ("queue/local.rs", ""),
            ("report.rs", "use crate::queue::local::L;"),
        ];
        assert_eq!(
            rooms(&texts),
            [
                "crates/redlock-core/src/queue/ticket.rs:1: rooms: queue -> report -> queue: rooms of one floor must not import \
              from each other"
            ]
        );
    }

    #[test]
    fn a_file_outside_of_the_rooms_is_found() {
        let texts = [("helpers.rs", "")];
        let found = rooms(&texts);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("helpers is not a room"), "{found:?}");
    }

    #[test]
    fn a_long_chain_of_rooms_is_found() {
        let chain = ["named", "inspect", "doctor", "api", "driver", "engine", "queue", "backend", "node", "names"];
        let import = |next: Option<&&str>| next.map(|next| format!("use crate::{next}::its::own;")).unwrap_or_default();
        let texts: Vec<_> =
            chain.iter().enumerate().map(|(at, name)| (format!("{name}.rs"), import(chain.get(at + 1)))).collect();
        let texts: Vec<_> = texts.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let found = rooms(&texts);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("10 levels of rooms, 8 at most"), "{found:?}");
        assert_eq!(rooms(&texts[3..]), [""; 0]);
    }
}
