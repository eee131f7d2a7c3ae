//! The rules on links in pages: their targets exist.

use super::{
    Violation,
    source::Source,
    test_list::{definitions, resolve},
};

/// The pages, from the workspace's root.
pub(super) const PAGES: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "tests/README.md",
    "crates/redlock-cli/README.md",
    "crates/redlock-redis-rs/examples/README.md",
];

/// The links must be updated when a file moves. Does not check addresses elsewhere, nor code.
pub(super) fn every_link_leads_somewhere(pages: &[Source], is_there: impl Fn(&str) -> bool) -> Vec<Violation> {
    let is_broken = |page: &Source, link: &str| {
        let file = link.split('#').next().unwrap_or_default();
        !file.is_empty() && !file.contains("://") && !is_there(&resolve(&page.path, file))
    };
    found(pages, is_broken, |link| {
        format!("{} is not there: link to where it is now", link.split('#').next().unwrap_or(link))
    })
}

/// Readers on docs.rs and crates.io have no files of the workspace, so pages for them link only to addresses, sections
/// and items. `manifests` say which crates are published.
pub(super) fn published_pages_link_to_no_file(pages: &[Source], manifests: &[Source]) -> Vec<Violation> {
    let published = |page: &&Source| {
        let manifest = |folder: &str| manifests.iter().find(|manifest| manifest.path == format!("{folder}/Cargo.toml"));
        let folder = page.path.split_once("/src/").map(|(folder, _)| folder).or(page.path.strip_suffix("/README.md"));
        folder.and_then(manifest).is_some_and(|manifest| !manifest.text.contains("publish = false"))
    };
    let is_file = |_: &Source, link: &str| !link.starts_with('#') && !link.contains("::") && !link.contains("://");
    let pages: Vec<_> = pages.iter().filter(published).collect();
    found(pages, is_file, |link| {
        format!("docs.rs and crates.io have no {link}: link to a page of the guide, or describe it")
    })
}

/// Returns the bad links, and what to do about each.
fn found<'a>(
    pages: impl IntoIterator<Item = &'a Source>,
    is_bad: impl Fn(&Source, &str) -> bool,
    what: impl Fn(&str) -> String,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for page in pages {
        let mut in_code = false;
        for (line, text) in page.text.lines().enumerate() {
            in_code ^= text.starts_with("```");
            if in_code {
                continue;
            }
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
            for link in inline.chain(definitions(text).map(|(_, link)| link)).filter(|link| is_bad(page, link)) {
                violations.push(Violation { file: page.path.clone(), line: line + 1, rule: "links", what: what(link) });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_moved_file_is_found() {
        let text = "See [a](../a.md), [b](b.md#part), [web](https://redis.io) and [below](#below).\n\
            ```rust\nlet x = [y](z.md);\n```\n[c]: ../c.rs\n[gone]: ../gone.rs\nSee [gone](gone.md).\n";
        let page = Source { path: "tests/README.md".into(), text: text.into() };
        let there = ["a.md", "tests/b.md", "c.rs"];
        let found = every_link_leads_somewhere(&[page], |path| there.contains(&path));
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "tests/README.md:6: links: ../gone.rs is not there: link to where it is now",
                "tests/README.md:7: links: gone.md is not there: link to where it is now",
            ]
        );
    }

    #[test]
    fn a_page_that_docs_rs_shows_must_not_link_to_a_file() {
        let page = |path: &str| Source {
            path: path.into(),
            text: "[a](super::ttl), [b](#b), [c](https://docs.rs) and [d](../d.md).\n\n[e]: crate::Lock\n".into(),
        };
        let manifest = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let manifests = [manifest("crates/a/Cargo.toml", ""), manifest("crates/b/Cargo.toml", "publish = false\n")];
        let pages = [
            page("crates/a/src/guide/x.md"),
            page("crates/a/README.md"),
            page("crates/b/README.md"),
            page("README.md"),
        ];
        let found = published_pages_link_to_no_file(&pages, &manifests);
        assert_eq!(
            found.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "crates/a/src/guide/x.md:1: links: docs.rs and crates.io have no ../d.md: link to a page of the guide, or \
                 describe it",
                "crates/a/README.md:1: links: docs.rs and crates.io have no ../d.md: link to a page of the guide, or \
                 describe it",
            ]
        );
    }
}
