//! The texts to check, and the distinction of code from comments, strings and unit tests.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// All texts of the workspace that the rules check.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Every `.rs` file.
    pub(super) files: Vec<Source>,
    /// Every member's `Cargo.toml`.
    pub(super) manifests: Vec<Source>,
}

/// One file, with its path from the workspace's root.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

impl Sources {
    pub(super) fn read(workspace: &Workspace) -> Result<Self> {
        let mut sources = Self::default();
        for package in &workspace.packages {
            sources.manifests.push(Source::read(&workspace.root, &package.manifest)?);
            let folder = package.manifest.parent().context("a manifest without a folder")?;
            add_folder(&workspace.root, folder, "rs", &mut sources.files)?;
        }
        Ok(sources)
    }
}

/// Adds all files below a folder whose extension is `kind`.
fn add_folder(root: &Path, folder: &Path, kind: &str, files: &mut Vec<Source>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            add_folder(root, &path, kind, files)?;
        } else if path.extension().is_some_and(|extension| extension == kind) {
            files.push(Source::read(root, &path)?);
        }
    }
    Ok(())
}

impl Source {
    /// Returns every page of Markdown in the workspace.
    pub(super) fn pages(workspace: &Workspace) -> Result<Vec<Self>> {
        let mut pages = Vec::new();
        add_folder(&workspace.root, &workspace.root, "md", &mut pages)?;
        Ok(pages)
    }

    pub(super) fn read(root: &Path, path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let path = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        Ok(Self { path, text })
    }

    /// Returns the text with comments, strings and characters blanked out; the lines remain in place.
    pub(super) fn code(&self) -> String {
        mask(&self.text)
    }

    /// Returns [`code`](Self::code) with everything under `#[cfg(test)]` blanked out too.
    pub(super) fn code_without_tests(&self) -> String {
        let mut code = self.code();
        while let Some(start) = code.find(TEST_ONLY) {
            let end = item_end(&code, start + TEST_ONLY.len());
            let lines = "\n".repeat(code.get(start..end).unwrap_or_default().matches('\n').count());
            code.replace_range(start..end, &lines);
        }
        code
    }

    /// Returns how many lines there are, without those of unit tests.
    pub(super) fn length(&self) -> usize {
        let mut code = self.code();
        while let Some(start) = code.find(TEST_ONLY) {
            code.replace_range(start..item_end(&code, start + TEST_ONLY.len()), "");
        }
        code.lines().count()
    }
}

const TEST_ONLY: &str = "#[cfg(test)]";

/// Returns where the item ends that begins at `start`: at its closing brace, or at a semicolon before any brace.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices().skip_while(|(at, _)| *at < start) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(c, '}' | ';') {
            return at + 1;
        }
    }
    code.len()
}

fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let after_word = masked.chars().next_back().is_some_and(|last| last.is_alphanumeric() || last == '_');
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !after_word) {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = rest.find('"').map_or(0, |quote| quote + 1);
            rest.get(start..).and_then(|body| body.find(&end)).map_or(rest.len(), |length| start + length + end.len())
        } else if next == '"' {
            quoted(rest, '"')
        } else if next == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            masked.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (hidden, after) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        masked.extend(hidden.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = after;
    }
    masked
}

/// Returns the length of a comment, which may contain others.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let step = match rest {
            _ if rest.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if rest.starts_with("*/") => {
                depth = depth.saturating_sub(1);
                2
            }
            _ => rest.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the number of hashes if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let body = text.strip_prefix('r').or_else(|| text.strip_prefix("br"))?;
    let hashes = body.chars().take_while(|&c| c == '#').count();
    body.get(hashes..)?.starts_with('"').then_some(hashes)
}

/// Returns whether this is a character and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

/// Returns the length of a literal with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_remains_and_lines_stay_in_place() {
        let text = "let a = \"async // \\\" x\"; // tokio\n/* rand /* Instant */ */ fn f<'a>(c: char) {}\nlet b = 'x'; let c = '\\''; let d = r#\"a \" tokio\"#;\n";
        let code = mask(text);
        assert_eq!(code.lines().count(), text.lines().count());
        for word in ["async", "tokio", "rand", "Instant", "x"] {
            assert!(!code.contains(word), "{word} in {code}");
        }
        for word in ["let a =", "fn f<'a>(c: char) {}", "let b =", "let d ="] {
            assert!(code.contains(word), "{word} not in {code}");
        }
    }

    #[test]
    fn unit_tests_are_not_code_and_the_lines_after_them_are() {
        let text =
            "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() { \"}\"; }\n}\n#[cfg(test)]\nuse a;\nfn h() {}\n";
        let source = Source { path: "a.rs".into(), text: text.into() };
        assert_eq!(source.code_without_tests(), "fn f() {}\n\n\n\n\n\n\n\nfn h() {}\n");
        assert_eq!(source.length(), 5);
    }
}
