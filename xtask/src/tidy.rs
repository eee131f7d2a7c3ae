//! The invariants of the workspace that a program can see in its text.
//!
//! Each rule is a function from text to violations, and has a test with a violation.

mod arrows;
mod imports;
mod links;
mod modules;
mod rules;
mod source;
mod test_list;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use self::source::{Source, Sources};
use crate::workspace::Workspace;

/// Checks all rules. The error has a line `file:line: rule: what to do` for each violation.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let sources = Sources::read(workspace)?;
    let read = |path: &&str| Source::read(&workspace.root, &workspace.root.join(path));
    let pages = links::PAGES.iter().map(read).collect::<Result<Vec<_>>>()?;
    let all_pages = Source::pages(workspace)?;
    let lists = pages.iter().filter(|page| test_list::LISTS.contains(&page.path.as_str()));
    let rules = [
        rules::pure_algorithm(&sources.files),
        rules::every_backend_in_the_matrix(&sources.files),
        rules::every_backend_in_every_list(&sources.files),
        rules::no_wall_clock(&sources.files),
        rules::drop_neither_blocks_nor_varies(&sources.files),
        rules::nothing_unfinished(&sources.files),
        rules::a_header_on_every_file(&sources.files),
        rules::short_files(&sources.files),
        rules::shared_lints(&sources.manifests),
        lists.flat_map(|list| test_list::every_named_test_exists(list, &sources.files)).collect(),
        links::every_link_leads_somewhere(&pages, |path| workspace.root.join(path).exists()),
        imports::no_cycles(&sources.files),
        imports::rooms_import_downwards(&sources.files),
        links::published_pages_link_to_no_file(&all_pages, &sources.manifests),
        words::plain_words(&all_pages, &sources.files),
        arrows::one_way(&workspace.packages, &sources.manifests),
    ];
    let checked = rules.len();
    let violations: Vec<_> = rules.into_iter().flatten().map(|violation| violation.to_string()).collect();
    if !violations.is_empty() {
        bail!("{}", violations.join("\n"));
    }
    Ok(format!("{checked} rules, {} files", sources.files.len() + sources.manifests.len()))
}

/// A broken rule: where, and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.what)
    }
}
