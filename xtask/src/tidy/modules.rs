//! The module tree of a crate, and which of its files imports from which.

use super::{Violation, source::Source};

/// How many re-exports of a name are followed to the file that defines it.
const MOST_RE_EXPORTS: usize = 8;

/// The files of a library or a program, in the order in which they are declared.
#[derive(Debug)]
pub(super) struct Modules<'a> {
    pub(super) files: Vec<Module<'a>>,
}

/// A file, and the paths that it names.
#[derive(Debug)]
pub(super) struct Module<'a> {
    source: &'a Source,
    /// Its path in the tree: `["tidy", "rules"]`, and empty for the root.
    path: Vec<String>,
    /// The modules that it declares in separate files, except for tests.
    children: Vec<String>,
    named: Vec<Named>,
}

/// A path that the code of a file names.
#[derive(Debug)]
struct Named {
    line: usize,
    /// From the root of the crate, or from elsewhere if the first part is no module here.
    path: Vec<String>,
    /// The name that a `use` gives it here.
    alias: Option<String>,
}

/// The file `from` names something that is defined in the file `to`. Both are indices of [`Modules::files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: usize,
}

impl<'a> Modules<'a> {
    /// Returns the tree of modules under `root`: the `lib.rs`, the `main.rs` or a similar file of a crate.
    pub(super) fn of(root: &Source, files: &'a [Source]) -> Self {
        let folder = root.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut modules = Self { files: Vec::new() };
        modules.add(&root.path, folder, Vec::new(), files);
        modules
    }

    fn add(&mut self, file: &str, folder: &str, path: Vec<String>, files: &'a [Source]) {
        let Some(source) = files.iter().find(|source| source.path == file) else { return };
        let module = Module::read(source, path.clone());
        let children = module.children.clone();
        self.files.push(module);
        for child in children {
            let folder = format!("{folder}/{child}");
            let path = path.iter().cloned().chain([child]).collect::<Vec<_>>();
            self.add(&format!("{folder}.rs"), &folder, path.clone(), files);
            self.add(&format!("{folder}/mod.rs"), &folder, path, files);
        }
    }

    /// Returns every import between two files.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for (from, module) in self.files.iter().enumerate() {
            for Named { line, path, .. } in &module.named {
                let to = self.defines(path, 0).filter(|to| *to != from);
                imports.extend(to.map(|to| Import { from, to, line: *line }));
            }
        }
        imports
    }

    /// Returns the path of a file from the workspace's root.
    pub(super) fn path(&self, file: usize) -> &'a str {
        self.files.get(file).map_or("", |module| &module.source.path)
    }

    pub(super) fn violation(&self, import: Import, rule: &'static str, what: String) -> Violation {
        Violation { file: self.path(import.from).to_owned(), line: import.line, rule, what }
    }

    /// Returns the file that defines the item at this path, or that imports it from another crate.
    fn defines(&self, path: &[String], followed: usize) -> Option<usize> {
        let is_prefix = |module: &&Module<'_>| path.starts_with(&module.path);
        let module = self.files.iter().filter(is_prefix).max_by_key(|module| module.path.len())?;
        let rest = path.get(module.path.len()..).unwrap_or_default();
        // The file may only have imported this name itself.
        if let Some((name, rest)) = rest.split_first()
            && let Some(import) = module.named.iter().find(|named| named.alias.as_ref() == Some(name))
            && followed < MOST_RE_EXPORTS
            && let Some(to) = self.defines(&[&import.path[..], rest].concat(), followed + 1)
        {
            return Some(to);
        }
        self.files.iter().position(|file| file.path == module.path)
    }
}

impl<'a> Module<'a> {
    fn read(source: &'a Source, path: Vec<String>) -> Self {
        let code = source.code_without_tests();
        let tokens = tokens(&code);
        let mut module = Self { source, path, children: Vec::new(), named: Vec::new() };
        module.children = declared(&tokens);
        // Modules in braces are part of the file: `super` in them may be the file itself.
        let (mut depth, mut inline) = (0, Vec::new());
        let mut at = 0;
        while let Some(&Token { text, line }) = tokens.get(at) {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before)).map_or("", |token| token.text);
            match text {
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    inline.pop_if(|opened| *opened == depth);
                }
                "mod" if word(&tokens, at + 2) == "{" => inline.push(depth),
                "use" if word(&tokens, at + 1) != "<" => {
                    let mut found = Vec::new();
                    at = use_tree(&tokens, at + 1, &[], &mut found);
                    for (line, path, alias) in found {
                        module.name(line, &path, Some(alias), inline.len());
                    }
                    continue;
                }
                "crate" | "self" | "super" if before != "::" && word(&tokens, at + 1) == "::" => {
                    let mut path = vec![text];
                    while word(&tokens, at + 1) == "::" && word(&tokens, at + 2).starts_with(is_word) {
                        path.push(word(&tokens, at + 2));
                        at += 2;
                    }
                    module.name(line, &path, None, inline.len());
                }
                _ => {}
            }
            at += 1;
        }
        module
    }

    /// Keeps a path that is named here, if it belongs to this crate. `inline` is the number of modules in braces around
    /// it.
    fn name(&mut self, line: usize, path: &[&str], alias: Option<&str>, inline: usize) {
        let supers = path.iter().take_while(|part| **part == "super").count();
        let (outer, rest) = match path {
            ["crate", rest @ ..] => (0, rest),
            ["self", rest @ ..] => (self.path.len(), rest),
            ["super", ..] => {
                (self.path.len().saturating_sub(supers.saturating_sub(inline)), path.get(supers..).unwrap_or_default())
            }
            [child, ..] if self.children.iter().any(|own| own == child) => (self.path.len(), path),
            _ => return,
        };
        let path = self.path.iter().take(outer).cloned().chain(rest.iter().map(|part| (*part).to_owned()));
        self.named.push(Named { line, path: path.collect(), alias: alias.map(str::to_owned) });
    }
}

/// Returns the modules that are declared here and have their own files.
fn declared(tokens: &[Token<'_>]) -> Vec<String> {
    let declared = tokens.windows(3).filter_map(|tokens| match tokens {
        [Token { text: "mod", .. }, Token { text: name, .. }, Token { text: ";", .. }] => Some((*name).to_owned()),
        _ => None,
    });
    declared.collect()
}

/// Reads the text between `use` and `;`: each path with its line and its new name. Returns the index after it.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    start: usize,
    prefix: &[&'a str],
    found: &mut Vec<(usize, Vec<&'a str>, &'a str)>,
) -> usize {
    let (mut at, mut path, mut alias) = (start, prefix.to_vec(), None);
    let mut line = 0;
    while let Some(token) = tokens.get(at) {
        match token.text {
            "::" => {}
            "{" => {
                at += 1;
                while !matches!(word(tokens, at), "}" | "") {
                    at = use_tree(tokens, at, &path, found);
                    at += usize::from(word(tokens, at) == ",");
                }
                // The names in braces are found, and there are no other names next to them.
                return at + 1;
            }
            "as" => {
                alias = Some(word(tokens, at + 1));
                at += 1;
            }
            "self" if !path.is_empty() => line = token.line,
            text if text.starts_with(is_word) => {
                path.push(text);
                line = token.line;
            }
            "*" => line = token.line,
            _ => break,
        }
        at += 1;
    }
    let name = alias.or_else(|| path.last().copied()).unwrap_or_default();
    found.push((line, path, name));
    at
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word<'a>(tokens: &[Token<'a>], at: usize) -> &'a str {
    tokens.get(at).map_or("", |token| token.text)
}

/// Returns the words, each `::`, and each other character by itself.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (line, mut rest) in code.lines().enumerate() {
        while let Some(first) = rest.chars().next() {
            let length = match first {
                first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                first => first.len_utf8(),
            };
            let (text, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
            if !first.is_whitespace() {
                tokens.push(Token { text, line: line + 1 });
            }
            rest = after;
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// Returns each import as `from:line to`.
    fn imports(files: &[Source]) -> Vec<String> {
        let modules = Modules::of(&files[0], files);
        let name = |file: usize| modules.files[file].source.path.trim_end_matches(".rs");
        modules.imports().iter().map(|i| format!("{}:{} {}", name(i.from), i.line, name(i.to))).collect()
    }

    #[test]
    fn every_way_to_name_another_file_is_found() {
        let root = "mod a;\nmod b;\n";
        for (names, line) in [
            ("use crate::b::B;", 1),
            ("use super::b::B;", 1),
            ("use super::b;", 1),
            ("use super::{\n b::{self, C},\n};", 2),
            ("use crate::{b as c};", 1),
            ("use super::b::*;", 1),
            ("\nfn f() { crate::b::g() }", 2),
            ("fn f(b: &super::b::B<u8>) {}", 1),
            ("macro_rules! m { () => { $crate::b::g() } }", 1),
            ("mod inner {\n use super::super::b::B;\n}", 2),
        ] {
            let files = [source("lib.rs", root), source("/a.rs", names), source("/b.rs", "")];
            let found = imports(&files);
            assert!(found.contains(&format!("/a:{line} /b")), "{names}: {found:?}");
            assert!(found.iter().all(|import| import == &format!("/a:{line} /b")), "{names}: {found:?}");
        }
    }

    #[test]
    fn paths_within_a_file_are_no_imports() {
        let root = "mod a;\nmod b;\n#[cfg(test)]\nmod t;\n";
        let names = "use std::b::B;\nuse serde::{self, b};\nfn f(self) { self.b }\n// crate::b\n\
            #[cfg(test)]\nuse crate::b;\nfn f() -> impl Iterator + use<'_> { b::f() }\nmod inner { use super::f; }\n\
            pub(crate) struct S;\nfn g() -> &'static str { \"crate::b\" }\n";
        let files =
            [source("lib.rs", root), source("/a.rs", names), source("/b.rs", ""), source("/t.rs", "use crate::b;")];
        assert_eq!(imports(&files), [""; 0]);
    }

    #[test]
    fn a_re_exported_name_is_an_import_of_the_file_that_defines_it() {
        let files = [
            source("lib.rs", "mod a;\nmod b;\nmod c;\npub use self::b::B;\npub(crate) use b::deep::D as E;\n"),
            source("/a.rs", "use crate::{B, E};\nuse crate::c::B as F;\n"),
            source("/b/mod.rs", "mod deep;\npub use deep::{D, B};\n"),
            source("/b/deep.rs", "pub struct D;\npub struct B;\n"),
            source("/c.rs", "use super::B;\n"),
        ];
        let from_a: Vec<_> = imports(&files).into_iter().filter(|import| import.starts_with("/a")).collect();
        assert_eq!(from_a, ["/a:1 /b/deep", "/a:1 /b/deep", "/a:2 /b/deep"]);
        assert!(imports(&files).contains(&"/b/mod:2 /b/deep".to_owned()));
    }

    #[test]
    fn a_name_that_two_files_import_from_each_other_ends_the_search() {
        let files = [
            source("lib.rs", "mod a;\nmod b;\n"),
            source("/a.rs", "use super::b::X;\n"),
            source("/b.rs", "use super::a::X;\n"),
        ];
        assert_eq!(imports(&files).len(), 2);
    }
}
