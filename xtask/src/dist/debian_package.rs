//! The Debian package: built by cargo-deb, tested by dpkg, which installs and purges it below a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{Dist, program};
use crate::{
    built::Built,
    command::{complete, output, run as run_command},
    report::Done,
    servers::Environment,
    tool::Tool,
};

const DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", built: None };

/// Names the program for the tests, if that is not the one that cargo has built with them.
const PROGRAM: &str = "REDLOCK_TEST_PROGRAM";

/// The tests of the command line that the installed program has to pass.
const TESTS: [&str; 5] = ["run::", "hold::", "status::", "pages::", "packaging::"];

pub(super) fn build(dist: &Dist<'_>) -> Result<Done> {
    let deb = DEB.obtain(dist.workspace)?;
    program::with_pages(dist)?;
    let mut package = Command::new(deb);
    package.current_dir(&dist.workspace.root).args(["deb", "--package", "redlock-cli", "--no-build", "--locked"]);
    complete(package.arg("--output").arg(&dist.folder))?;
    let package = file(dist)?;
    Ok(format!("{}, {} KiB", name(&package), fs::metadata(&package)?.len().div_ceil(1024)).into())
}

/// Installs the package below a folder of its own, as root of a user namespace: nothing of this system changes.
pub(super) fn check(dist: &Dist<'_>, built: &Built, servers: &Environment) -> Result<Done> {
    if output(Command::new("dpkg").arg("--version")).is_err() {
        return Ok(Done::NotRun("this is not Debian: there is no dpkg".to_owned()));
    }
    let root = dist.folder.join("root");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(folder))?;
    }
    // The libraries that the package depends on are those of this system.
    let libraries = output(Command::new("dpkg-query").args(["--status", "libc6", "libgcc-s1"]))?;
    fs::write(root.join("var/lib/dpkg/status"), libraries)?;
    let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
    for library in ["libc6", "libgcc-s1"] {
        fs::write(root.join(format!("var/lib/dpkg/info/{library}:{}.list", architecture.trim())), "")?;
    }
    dpkg(&root, "--install", &file(dist)?)?;

    let installed = root.join("usr/bin/redlock");
    let share = root.join("usr/share");
    for command in program::commands(&installed)? {
        let page = share.join(format!("man/man1/redlock-{command}.1.gz"));
        let page = output(Command::new("zcat").arg(&page))?;
        ensure!(page.contains(&format!(".TH redlock-{command} 1")), "the page of {command} is not its own");
    }
    let script = format!(". {}; complete -p redlock", share.join("bash-completion/completions/redlock").display());
    output(Command::new("bash").args(["--norc", "-c", &script]))?;
    for example in fs::read_dir(dist.packaging())? {
        let example = share.join("doc/redlock/examples").join(example?.file_name());
        ensure!(example.is_file(), "{} is not installed", example.display());
    }
    verify_unit(dist, &share.join("doc/redlock/examples"), &installed)?;

    let mut tests = built.test("redlock-cli", "cli")?.command();
    // The other client is a feature that packages leave out.
    tests.args(TESTS).args(["--skip", "the_other_client"]).envs(servers.iter()).env(PROGRAM, &installed);
    let tests = run_command(&mut tests)?.all_ran()?;

    dpkg(&root, "--purge", Path::new("redlock"))?;
    let left = output(Command::new("find").arg(root.join("usr")).args(["-not", "-type", "d"]));
    ensure!(left.is_ok_and(|left| left.is_empty()) || !root.join("usr").exists(), "files are left after the purge");
    Ok(format!("installed, {tests} passed, purged").into())
}

/// Checks that systemd accepts the example, if there is systemd. It searches for the programs outside of the folder.
fn verify_unit(dist: &Dist<'_>, examples: &Path, program: &Path) -> Result<()> {
    if output(Command::new("systemd-analyze").arg("--version")).is_err() {
        println!("there is no systemd: the unit is not verified");
        return Ok(());
    }
    let unit = fs::read_to_string(examples.join("report.service"))?;
    let unit =
        unit.replace("/usr/bin/redlock", &program.to_string_lossy()).replace("/usr/local/bin/report", "/bin/true");
    let units = dist.folder.join("units");
    fs::create_dir_all(&units)?;
    fs::write(units.join("report.service"), unit)?;
    fs::copy(examples.join("report.timer"), units.join("report.timer"))?;
    let mut verify = Command::new("systemd-analyze");
    verify.current_dir(&units).args(["verify", "./report.service", "./report.timer"]);
    output(&mut verify).map(drop).context("systemd does not accept the unit")
}

fn dpkg(root: &Path, action: &str, package: &Path) -> Result<()> {
    let mut dpkg = Command::new("unshare");
    dpkg.args(["--map-root-user", "dpkg"]).arg(format!("--root={}", root.display())).arg("--force-bad-path");
    complete(dpkg.arg(action).arg(package)).with_context(|| format!("dpkg {action}"))
}

/// Returns the package in the folder.
fn file(dist: &Dist<'_>) -> Result<PathBuf> {
    let files = fs::read_dir(&dist.folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "deb"));
    package.context("cargo-deb has built no package")
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}
