//! The program in its two builds, and the pages that it prints about itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::Dist;
use crate::command::{cargo_behind, complete, output};

/// The shells for which there are completions, and how their files are called.
const SHELLS: [(&str, &str); 3] = [("bash", "redlock"), ("zsh", "_redlock"), ("fish", "redlock.fish")];

/// Builds the program for this system, and next to it the folder `pages`: a manual page for each command, completions.
pub(super) fn with_pages(dist: &Dist<'_>) -> Result<PathBuf> {
    let program = build(dist, None)?;
    let pages = program.with_file_name("pages");
    if pages.exists() {
        fs::remove_dir_all(&pages)?;
    }
    fs::create_dir(&pages)?;
    let print = |arguments: &[&str], file: &str| -> Result<()> {
        Ok(fs::write(pages.join(file), output(Command::new(&program).args(arguments))?)?)
    };
    print(&["man"], "redlock.1")?;
    for command in commands(&program)? {
        print(&["man", &command], &format!("redlock-{command}.1"))?;
    }
    let manuals = fs::read_dir(&pages)?.map(|page| Ok(page?.path())).collect::<Result<Vec<_>>>()?;
    output(Command::new("gzip").args(["-9n", "--"]).args(manuals))?;
    for (shell, file) in SHELLS {
        print(&["completions", shell], file)?;
    }
    Ok(program)
}

/// Returns the commands of a program, as its help lists them.
pub(super) fn commands(program: &Path) -> Result<Vec<String>> {
    let help = output(Command::new(program).arg("--help"))?;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
    let commands: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    ensure!(!commands.is_empty(), "the help lists no commands");
    Ok(commands)
}

/// Builds the program without any library of the system, with musl if that is installed.
pub(super) fn without_libraries(dist: &Dist<'_>) -> Result<PathBuf> {
    let rustc = output(Command::new("rustc").arg("-vV"))?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc names no host")?;
    ensure!(host.contains("-linux-"), "a static program needs Linux, and this is {host}");
    let musl = host.replace("-gnu", "-musl");
    let library = output(Command::new("rustc").args(["--print", "target-libdir", "--target", &musl]));
    let has_musl = library.is_ok_and(|folder| Path::new(folder.trim()).is_dir());
    let target = if has_musl { &musl } else { host };
    if !has_musl {
        println!(
            "The target {musl} is missing: `rustup target add {musl}`, and Debian's package musl-tools. \
             The static program uses glibc instead."
        );
    }
    build(dist, Some(target))
}

/// Builds the program; for a named `target`, with all libraries in it.
fn build(dist: &Dist<'_>, target: Option<&str>) -> Result<PathBuf> {
    let mut build = cargo_behind(dist.workspace);
    build.args(["build", "--release", "--locked", "--package", "redlock-cli"]);
    let mut folder = dist.workspace.target.clone();
    if let Some(target) = target {
        build.args(["--target", target]);
        // The build scripts run here and stay as they are.
        let target_flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.replace('-', "_").to_uppercase());
        build.env(target_flags, "-C target-feature=+crt-static");
        folder.push(target);
    }
    complete(&mut build)?;
    Ok(folder.join("release/redlock"))
}
