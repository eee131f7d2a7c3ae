//! `cargo xtask surroundings`: the quick tests must pass whatever their caller ignores, has closed, or has set.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};

use crate::{
    built::{Built, Program},
    command::{output, run as run_command},
    fast,
    report::{Done, Report},
    workspace::Workspace,
};

/// The surroundings that a caller may create before it starts a program, as shell code in front of `"$@"`.
const SURROUNDINGS: &[(&str, &str)] = &[
    ("nohup", r#"trap '' HUP; exec "$@""#),
    // As a shell without job control starts commands in the background.
    ("background of a script", r#"trap '' INT QUIT; exec "$@" </dev/null"#),
    ("closed standard input", r#"exec "$@" <&-"#),
    ("nothing in the environment but PATH", r#"exec env -i PATH="$PATH" "$@""#),
    (
        "settings of users in the environment",
        r#"exec env REDLOCK_NODES=redis://nowhere REDLOCK_CONFIG=/nowhere \
        REDLOCK_TOKEN=x REDLOCK_FENCING_TOKEN=1 REDLOCK_RESOURCE=x RUST_LOG=trace NO_COLOR=1 TERM=dumb TZ=Asia/Kathmandu \
        "$@""#,
    ),
    ("umask 077", r#"umask 077; exec "$@""#),
    ("256 open files", r#"ulimit -n 256; exec "$@""#),
    ("a Turkish locale", r#"LC_ALL=tr_TR.UTF-8 LANG=tr_TR.UTF-8 exec "$@""#),
    ("a home that cannot be written to", r#"HOME=/proc exec "$@""#),
    ("another working directory", r#"cd / && exec "$@""#),
];

/// For root: run as a user with fewer rights.
const NOBODY: &str = r#"exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@""#;

/// `cargo xtask surroundings`.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let built = Built::all(workspace)?;
    println!("{}", run_built(workspace, &built)?);
    Ok(ExitCode::SUCCESS)
}

/// The same for tests that are already built.
///
/// # Errors
///
/// If a test fails in one of the surroundings. All of them are tried.
pub(crate) fn run_built(workspace: &Workspace, built: &Built) -> Result<String> {
    let programs = built.those(|program| program.is_test && is_quick(program))?;
    let mut report = Report::default();
    for (name, prelude) in SURROUNDINGS {
        report.step((*name).to_owned(), || in_surroundings(prelude, &programs));
    }
    report.step("a user who is not root".to_owned(), || as_nobody(workspace, &programs));
    println!("\n{report}");
    match report.failed() {
        0 => Ok(format!("{} surroundings, {} test programs", SURROUNDINGS.len() + 1, programs.len())),
        failed => bail!("the quick tests fail in {failed} of {} surroundings", SURROUNDINGS.len() + 1),
    }
}

/// Unit tests, and the tests of the fast packages: no servers.
fn is_quick(program: &Program) -> bool {
    program.kind != "test" || fast::PACKAGES.contains(&&*program.package)
}

fn in_surroundings(prelude: &str, programs: &[&Program]) -> Result<String> {
    let mut tests = 0;
    for program in programs {
        let test = program.command();
        let mut command = Command::new("sh");
        command.args(["-c", prelude, "sh"]).arg(test.get_program()).args(fast::SKIPPED);
        if let Some(folder) = test.get_current_dir() {
            command.current_dir(folder);
        }
        tests += run_command(&mut command)?.passed;
    }
    Ok(format!("{tests} tests"))
}

/// Runs the tests as another user, who may not read the folder of this one: the programs are copied to where everybody
/// may.
fn as_nobody(workspace: &Workspace, programs: &[&Program]) -> Result<Done> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Done::NotRun("this user is not root already".to_owned()));
    }
    let folder = env::temp_dir().join(format!("redlock-surroundings-{}", std::process::id()));
    let result = copies(&folder, programs).and_then(|copies| {
        let mut tests = 0;
        for (copy, program) in copies.iter().zip(programs) {
            let mut command = Command::new("sh");
            command.args(["-c", NOBODY, "sh"]).arg(copy).args(fast::SKIPPED);
            // The tests of xtask read the workspace, which this user may not see.
            if program.package == "xtask" {
                continue;
            }
            command.current_dir(&folder);
            tests += run_command(&mut command)?.passed;
        }
        Ok(format!("{tests} tests").into())
    });
    let _ = (fs::remove_dir_all(&folder), workspace);
    result
}

fn copies(folder: &Path, programs: &[&Program]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    output(Command::new("chmod").arg("755").arg(folder))?;
    let copy = |(number, program): (usize, &&Program)| {
        let to = folder.join(format!("{number}-{}", program.name));
        output(Command::new("install").args(["-m", "755"]).arg(program.command().get_program()).arg(&to))?;
        Ok(to)
    };
    programs.iter().enumerate().map(copy).collect()
}
