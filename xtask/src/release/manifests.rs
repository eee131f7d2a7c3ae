//! The step `manifests`: published crates contain what crates.io and docs.rs show, and depend on nothing that is not
//! published.

use anyhow::Result;

use super::{
    PUBLISHED,
    manifest::{Manifest, NO_VERSION},
    none,
};

/// The limit of crates.io.
const MOST_KEYWORDS: usize = 5;

/// The host of the addresses in Cargo.toml until the real ones are known.
const PLACEHOLDER: &str = "https://example.com/";

/// The note contains the repository, which readers of crates.io see.
pub(super) fn check(members: &[Manifest]) -> Result<String> {
    let mut violations = Vec::new();
    for name in PUBLISHED {
        if !members.iter().any(|member| member.name == *name) {
            violations.push(format!("{name}: is to be published and is not there"));
        }
    }
    for member in members {
        let mut add = |what: String| violations.push(format!("{}: {what}", member.name));
        if !PUBLISHED.contains(&member.name.as_str()) {
            if member.publishable {
                add("say `publish = false`, or name it in xtask/src/release.rs".to_owned());
            }
            continue;
        }
        described(member, &mut add);
        alike(member, members, &mut add);
        dependencies(member, members, &mut add);
    }
    none(&violations)?;
    let repository = members.iter().find_map(|member| member.repository.as_deref());
    Ok(format!("{} crates, repository: {}", PUBLISHED.len(), repository.unwrap_or_default()))
}

fn described(member: &Manifest, add: &mut impl FnMut(String)) {
    let Manifest { description, license, readme, rust_version, categories, keywords, .. } = member;
    let Manifest { repository, homepage, documentation, .. } = member;
    let addresses = [("repository", repository), ("homepage", homepage), ("documentation", documentation)];
    if !member.publishable {
        add("is to be published and says `publish = false`".to_owned());
    }
    let texts =
        [("description", description), ("license", license), ("readme", readme), ("rust-version", rust_version)];
    for (key, _) in
        texts.iter().chain(&addresses).filter(|(_, text)| text.as_ref().is_none_or(|text| text.trim().is_empty()))
    {
        add(format!("has no `{key}`"));
    }
    for (key, address) in addresses.iter().filter_map(|(key, address)| Some((key, address.as_ref()?))) {
        if address.starts_with(PLACEHOLDER) {
            add(format!("has the placeholder {address} as `{key}`: write the real address into Cargo.toml"));
        }
    }
    for (key, words) in [("categories", categories), ("keywords", keywords)] {
        match words.len() {
            0 => add(format!("has no `{key}`")),
            1..=MOST_KEYWORDS => {}
            more => add(format!("has {more} `{key}`: crates.io takes {MOST_KEYWORDS}")),
        }
    }
    if member.has_library && !member.documents_all_features {
        add("has no `all-features = true` in `[package.metadata.docs.rs]`".to_owned());
    }
}

/// Checks what all published crates have in common.
fn alike(member: &Manifest, members: &[Manifest], add: &mut impl FnMut(String)) {
    let Some(first) = members.iter().find(|other| PUBLISHED.contains(&other.name.as_str())) else { return };
    let of = |member: &Manifest| {
        let Manifest { version, license, repository, rust_version, .. } = member;
        [
            ("version", Some(version.clone())),
            ("license", license.clone()),
            ("repository", repository.clone()),
            ("rust-version", rust_version.clone()),
        ]
    };
    for ((key, text), (_, other)) in of(member).into_iter().zip(of(first)).filter(|((_, a), (_, b))| a != b) {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
        add(format!("has `{key}` {}, and {} has {}", or_none(text), first.name, or_none(other)));
    }
}

fn dependencies(member: &Manifest, members: &[Manifest], add: &mut impl FnMut(String)) {
    for dependency in &member.dependencies {
        let Some(other) = members.iter().find(|other| other.name == dependency.name) else { continue };
        let has_version = dependency.requirement != NO_VERSION;
        if PUBLISHED.contains(&other.name.as_str()) {
            if has_version && dependency.requirement != format!("^{}", other.version) {
                add(format!("asks for {} {}, whose version is {}", other.name, dependency.requirement, other.version));
            }
            if !has_version && !dependency.for_tests_only {
                add(format!("asks for no version of {}", other.name));
            }
        } else if !dependency.for_tests_only {
            add(format!("depends on {}, which is not published", other.name));
        } else if has_version {
            add(format!("asks for a version of {}, which is not published: name its path only", other.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::manifest::Dependency, *};

    fn members() -> Vec<Manifest> {
        let mut members: Vec<_> = PUBLISHED.iter().map(|name| published(name)).collect();
        let unpublished =
            Manifest { name: "redlock-tests".to_owned(), version: "0.1.0".to_owned(), ..Default::default() };
        members.insert(0, unpublished);
        depend(&mut members, "redlock-tests", "redlock-core", "^0.1.0", false);
        depend(&mut members, "redlock-fred", "redlock-core", "^0.1.0", false);
        depend(&mut members, "redlock-fred", "fred", "^10", false);
        depend(&mut members, "redlock-core", "redlock-mock", NO_VERSION, true);
        depend(&mut members, "redlock-cli", "redlock-tests", NO_VERSION, true);
        members
    }

    fn published(name: &str) -> Manifest {
        let text = |text: &str| Some(text.to_owned());
        Manifest {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            publishable: true,
            has_library: true,
            description: text("A lock."),
            license: text("MIT"),
            repository: text("https://redlock.example/repository"),
            homepage: text("https://redlock.example"),
            documentation: text("https://docs.rs/redlock-core"),
            readme: text("README.md"),
            rust_version: text("1.88"),
            categories: vec!["concurrency".to_owned()],
            keywords: vec!["lock".to_owned()],
            documents_all_features: true,
            ..Manifest::default()
        }
    }

    fn depend(members: &mut [Manifest], from: &str, to: &str, requirement: &str, for_tests_only: bool) {
        let (name, requirement) = (to.to_owned(), requirement.to_owned());
        member(members, from).dependencies.push(Dependency { name, requirement, for_tests_only });
    }

    fn member<'a>(members: &'a mut [Manifest], name: &str) -> &'a mut Manifest {
        members.iter_mut().find(|member| member.name == name).unwrap()
    }

    /// Returns what is found after `plant` has changed something.
    fn found(plant: impl FnOnce(&mut Vec<Manifest>)) -> String {
        let mut members = members();
        plant(&mut members);
        check(&members).unwrap_err().to_string()
    }

    #[test]
    fn complete_manifests_pass_and_the_note_names_the_repository() {
        assert_eq!(
            check(&members()).unwrap(),
            format!("{} crates, repository: https://redlock.example/repository", PUBLISHED.len())
        );
    }

    #[test]
    fn an_address_that_is_missing_or_still_a_placeholder_is_found() {
        let text = found(|members| {
            let placeholder = Some("https://example.com/redlock".to_owned());
            for member in members.iter_mut() {
                (member.repository, member.homepage) = (placeholder.clone(), placeholder.clone());
            }
            member(members, "redlock-fred").documentation = None;
        });
        assert_eq!(
            text.matches("has the placeholder https://example.com/redlock as `repository`").count(),
            PUBLISHED.len(),
            "{text}"
        );
        assert_eq!(
            text.matches("has the placeholder https://example.com/redlock as `homepage`").count(),
            PUBLISHED.len(),
            "{text}"
        );
        assert!(text.contains("redlock-fred: has no `documentation`"), "{text}");
    }

    #[test]
    fn the_addresses_of_this_workspace_are_in_one_place() {
        let members = Manifest::all().unwrap();
        let published = || members.iter().filter(|member| PUBLISHED.contains(&member.name.as_str()));
        let repositories: BTreeSet<_> = published().map(|member| member.repository.as_deref()).collect();
        assert!(repositories.len() == 1 && !repositories.contains(&None), "{repositories:?}");
        assert!(published().all(|member| member.homepage.is_some() && member.documentation.is_some()));
    }

    #[test]
    fn missing_keys_of_a_crate_are_named() {
        let text = found(|members| {
            let core = member(members, "redlock-core");
            core.description = Some(" ".to_owned());
            core.readme = None;
            core.categories.clear();
            core.keywords = vec!["lock".to_owned(); 6];
            core.documents_all_features = false;
        });
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "redlock-core: has no `description`",
                "redlock-core: has no `readme`",
                "redlock-core: has no `categories`",
                "redlock-core: has 6 `keywords`: crates.io takes 5",
                "redlock-core: has no `all-features = true` in `[package.metadata.docs.rs]`",
            ]
        );
    }

    #[test]
    fn a_program_has_no_page_on_docs_rs() {
        let mut members = members();
        let program = member(&mut members, "redlock-cli");
        (program.has_library, program.documents_all_features) = (false, false);
        check(&members).unwrap();
    }

    #[test]
    fn crates_that_differ_in_a_common_key_are_found() {
        assert_eq!(
            found(|members| member(members, "redlock-cli").repository = Some("https://example.org".to_owned())),
            "redlock-cli: has `repository` https://example.org, and redlock-core has https://redlock.example/repository"
        );
        assert!(
            found(|members| member(members, "redlock-cli").rust_version = Some("1.90".to_owned())).contains("1.88")
        );
        assert!(found(|members| member(members, "redlock-cli").license = Some("MIT-0".to_owned())).contains("MIT-0"));
    }

    #[test]
    fn a_crate_is_published_or_says_that_it_is_not() {
        assert!(found(|members| member(members, "redlock-tests").publishable = true).contains("publish = false"));
        assert!(found(|members| member(members, "redlock-mock").publishable = false).contains("is to be published"));
        assert!(
            found(|members| members.retain(|member| member.name != "redlock-mock")).contains("redlock-mock: is to be")
        );
    }

    #[test]
    fn versions_that_do_not_agree_are_found() {
        let text = found(|members| member(members, "redlock-core").version = "0.2.0".to_owned());
        assert!(text.contains("redlock-fred: asks for redlock-core ^0.1.0, whose version is 0.2.0"), "{text}");
        assert!(text.contains("redlock-fred: has `version` 0.1.0, and redlock-core has 0.2.0"), "{text}");
        assert_eq!(
            found(|members| depend(members, "redlock-cli", "redlock-fred", NO_VERSION, false)),
            "redlock-cli: asks for no version of redlock-fred"
        );
    }

    #[test]
    fn no_published_crate_depends_on_an_unpublished_one() {
        assert_eq!(
            found(|members| depend(members, "redlock-fred", "redlock-tests", NO_VERSION, false)),
            "redlock-fred: depends on redlock-tests, which is not published"
        );
        assert!(
            found(|members| depend(members, "redlock-fred", "redlock-tests", "^0.1.0", true)).contains("path only")
        );
    }
}
