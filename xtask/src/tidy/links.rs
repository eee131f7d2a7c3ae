//! The rule on links between the pages for people: what they lead to is there.

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

/// A file that moves takes the links to it along. Addresses elsewhere are not looked at, nor is code.
pub(super) fn every_link_leads_somewhere(pages: &[Source], is_there: impl Fn(&str) -> bool) -> Vec<Violation> {
    let mut violations = Vec::new();
    for page in pages {
        let mut in_code = false;
        for (line, text) in page.text.lines().enumerate() {
            in_code ^= text.starts_with("```");
            if in_code {
                continue;
            }
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
            for link in inline.chain(definitions(text).map(|(_, link)| link)) {
                let file = link.split('#').next().unwrap_or_default();
                if file.is_empty() || file.contains("://") || is_there(&resolve(&page.path, file)) {
                    continue;
                }
                violations.push(Violation {
                    file: page.path.clone(),
                    line: line + 1,
                    rule: "links",
                    what: format!("{file} is not there: link to where it is now"),
                });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_what_has_moved_is_found() {
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
}
