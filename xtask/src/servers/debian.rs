//! Gets files from Debian's packages of any release, without touching this machine's packages.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::command::output;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Downloads the packages with the libraries they depend on, and unpacks them all into one tree under `work`.
///
/// Signatures are checked with Debian's keys. The lists of packages are kept under `shelf` for the next time.
pub(crate) fn unpack(shelf: &Path, work: &Path, release: &str, packages: &[String]) -> Result<PathBuf> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        output(Command::new(tool).arg("--version")).with_context(|| {
            format!("needs {tool}, which Debian and its relatives have; elsewhere give it a registry")
        })?;
    }
    ensure!(Path::new(KEYRING).exists(), "needs {KEYRING}: apt install debian-archive-keyring");
    let view = View::open(&shelf.join("apt").join(release), release)?;
    let wanted = view.with_libraries(packages)?;
    let archives = work.join("archives");
    fs::create_dir_all(&archives)?;
    output(view.command("apt-get").current_dir(&archives).arg("download").args(&wanted))?;
    let tree = work.join("unpacked");
    for archive in fs::read_dir(&archives)? {
        output(Command::new("dpkg-deb").arg("--extract").arg(archive?.path()).arg(&tree))?;
    }
    Ok(tree)
}

/// Makes apt see another release instead of this machine's own.
struct View {
    configuration: PathBuf,
}

impl View {
    fn open(folder: &Path, release: &str) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        fs::write(folder.join("status"), "")?;
        let mirrors = Mirrors::of_this_machine();
        let signed = format!("[signed-by={KEYRING}]");
        fs::write(
            folder.join("sources.list"),
            format!(
                "deb {signed} {} {release} main\ndeb {signed} {} {release}-security main\n",
                mirrors.main, mirrors.security
            ),
        )?;
        let at = folder.display();
        let configuration = folder.join("apt.conf");
        fs::write(
            &configuration,
            format!(
                "#clear APT::Update;\n\
                 #clear DPkg::Pre-Invoke;\n\
                 #clear DPkg::Post-Invoke;\n\
                 Dir::State::lists \"{at}/lists\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 Dir::Etc::sourcelist \"{at}/sources.list\";\n\
                 Dir::Etc::sourceparts \"-\";\n\
                 Dir::Etc::preferences \"-\";\n\
                 Dir::Etc::preferencesparts \"-\";\n\
                 APT::Default-Release \"\";\n\
                 APT::Sandbox::User \"root\";\n\
                 Acquire::Languages \"none\";\n\
                 Acquire::Retries \"3\";\n\
                 Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n"
            ),
        )?;
        let view = Self { configuration };
        output(view.command("apt-get").args(["update", "--quiet", "--error-on=any"]))
            .with_context(|| format!("reading Debian {release} from {}", mirrors.main))?;
        Ok(view)
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.arg("--config-file").arg(&self.configuration).env("LC_ALL", "C");
        command
    }

    /// Returns the packages and, of all their dependencies, those that contain libraries.
    fn with_libraries(&self, packages: &[String]) -> Result<BTreeSet<String>> {
        let mut depends = self.command("apt-cache");
        depends.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"]);
        depends.args(["--no-replaces", "--no-enhances"]).args(packages);
        let listed = output(&mut depends)?;
        let is_library = |name: &&str| (name.starts_with("lib") && !name.ends_with("-perl")) || *name == "zlib1g";
        // A name at the start of a line is a package. Indented names are its dependencies, and virtual packages.
        let libraries = listed.lines().filter(is_library).map(str::to_owned);
        Ok(libraries.chain(packages.iter().cloned()).collect())
    }
}

/// Where this machine gets its packages, if it is Debian; otherwise Debian's own mirrors.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    fn of_this_machine() -> Self {
        let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
        let files = [PathBuf::from("/etc/apt/sources.list")].into_iter().chain(parts);
        Self::of(&files.filter_map(|file| fs::read_to_string(file).ok()).collect::<String>())
    }

    fn of(sources: &str) -> Self {
        let active = sources.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let urls: Vec<_> = active.flat_map(str::split_whitespace).filter(|word| word.starts_with("http")).collect();
        let ending = |end: &str| urls.iter().map(|url| url.trim_end_matches('/')).find(|url| url.ends_with(end));
        Self {
            main: ending("/debian").unwrap_or("http://deb.debian.org/debian").to_owned(),
            security: ending("/debian-security").unwrap_or("http://deb.debian.org/debian-security").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machines_mirror_is_found_in_either_notation() {
        let own = Mirrors::of("# http://old.example/debian\nURIs: http://mirror.example/debian/\nSuites: bookworm\n");
        assert_eq!(own.main, "http://mirror.example/debian");
        assert_eq!(own.security, "http://deb.debian.org/debian-security");
        let own = Mirrors::of("deb [arch=amd64] https://m.example/debian-security bookworm-security main");
        assert_eq!(own.security, "https://m.example/debian-security");
    }

    #[test]
    fn the_mirror_of_another_distribution_is_not_used() {
        assert_eq!(Mirrors::of("deb http://archive.ubuntu.com/ubuntu noble main").main, "http://deb.debian.org/debian");
    }
}
