//! Mutation testing: cargo-mutants changes the code in one place at a time, and the fast tests have to notice.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    command::{cargo, follow, output},
    fast,
    report::Done,
    tool::Tool,
    workspace::Workspace,
};

const MUTANTS: Tool = Tool { name: "cargo-mutants", version: "27.1.0", built: None };

/// The files with mutants: the library, and the part of the mock that replaces Redis. `.cargo/mutants.toml` says what
/// is left out of these files, and why.
const PLANTED_IN: &[&str] = &["crates/redlock-core/src/**/*.rs", "crates/redlock-mock/src/keys/*.rs"];

/// The files of the fixed sample: the code on which mutual exclusion depends.
const SAMPLED_IN: &[&str] = &[
    "crates/redlock-core/src/algorithm/**/*.rs",
    "crates/redlock-core/src/driver/{node_lane,ownership,resume,tally,validity}.rs",
    "crates/redlock-core/src/driver/acquire/*.rs",
    "crates/redlock-core/src/driver/lease/*.rs",
    "crates/redlock-mock/src/keys/*.rs",
];

/// Built without debug information: built hundreds of times, never debugged.
const PROFILE: &str = "mutants";

/// The build folder, so that the dependencies are built once.
const BUILD: &str = "build";

/// Which mutants to try.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Selection {
    /// Mutate only these files; a glob, may be given several times.
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,

    /// Try every N-th mutant, beginning with the K-th; K counts from 0.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,

    /// Try the fixed sample: every twentieth mutant in the files on which mutual exclusion depends.
    #[arg(long, conflicts_with_all = ["file", "shard"])]
    sample: bool,

    /// Try this many at once, each in its own build.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,

    /// Mutate only the lines that this diff adds.
    #[arg(skip)]
    in_diff: Option<PathBuf>,
}

/// Which mutants `test-all` tries.
pub(crate) enum Sample<'a> {
    /// Some in the lines that changed since this revision.
    Change(&'a Option<String>),
    /// Always the same ones for the same code.
    Standing,
}

/// How many mutants of a change are tried at most: each takes some seconds.
const OF_A_CHANGE: usize = 8;

/// Tries a sample.
///
/// # Errors
///
/// If a mutant was missed.
pub(crate) fn sample(workspace: &Workspace, sample: Sample<'_>) -> Result<Done> {
    let base = match sample {
        Sample::Standing => {
            let standing = Selection { sample: true, jobs: 1, ..Selection::default() };
            return Ok(run(workspace, &standing)?.into());
        }
        Sample::Change(base) => base,
    };
    let Some(base) = base.clone().or_else(|| base_of_change(workspace)) else {
        return Ok(Done::NotRun("there is no git history, so no change to test".to_owned()));
    };
    let mut diff = git(workspace);
    let diff = output(diff.args(["diff", &base, "--"]).args(PLANTED_IN.iter().map(|glob| format!(":(glob){glob}"))))?;
    if diff.is_empty() {
        return Ok(Done::NotRun(format!("the change since {base} touches none of the files with mutants")));
    }
    let file = workspace.target.join("change.diff");
    fs::write(&file, diff)?;
    let mut list = Command::new(MUTANTS.obtain(workspace)?);
    list.current_dir(&workspace.root).args(["mutants", "--list", "--all-features", "--in-diff"]).arg(&file);
    let all = output(&mut list)?.lines().filter(|line| !line.trim().is_empty()).count();
    if all == 0 {
        return Ok(Done::NotRun(format!("the change since {base} has no line that can be mutated")));
    }
    let shard = Some(format!("0/{}", all.div_ceil(OF_A_CHANGE)));
    let selection = Selection { in_diff: Some(file), shard, jobs: 1, ..Selection::default() };
    Ok(run(workspace, &selection)?.into())
}

/// Returns where the change under test begins: at the upstream branch, or in a fresh clone before the last commit.
fn base_of_change(workspace: &Workspace) -> Option<String> {
    let ask = |args: &[&str]| output(git(workspace).args(args)).ok().map(|text| text.trim().to_owned());
    let head = ask(&["rev-parse", "HEAD"])?;
    let upstream = ask(&["merge-base", "HEAD", "@{upstream}"]).filter(|base| *base != head);
    let has_changes = ask(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    upstream.or_else(|| has_changes.then_some(head)).or_else(|| ask(&["rev-parse", "--short", "HEAD~1"]))
}

fn git(workspace: &Workspace) -> Command {
    let mut git = Command::new("git");
    git.current_dir(&workspace.root);
    git
}

/// Tries mutants. Prints each verdict as it comes, and returns the sums.
///
/// # Errors
///
/// If a mutant was missed.
pub(crate) fn run(workspace: &Workspace, selection: &Selection) -> Result<String> {
    let program = MUTANTS.obtain(workspace)?;
    let folder = workspace.target.join("planted");
    let (trees, results) = (folder.join("trees"), folder.join("mutants.out"));
    // The leftovers of a run that was killed, and old verdicts, which must not be mistaken for new ones.
    for old in [&trees, &results] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(&trees)?;
    // The copy of the tree has another path each time, so its build results are never used again.
    let mut clean = cargo(workspace);
    clean.args(["clean", "--quiet", "--profile", PROFILE, "--target-dir"]).arg(folder.join(BUILD));
    output(clean.args(fast::PACKAGES.iter().flat_map(|package| ["--package", package])))?;
    let mut command = command(&program, workspace, &folder, selection);
    let mut progress = Progress::default();
    let status = follow(command.env("TMPDIR", &trees), None, |line| {
        let line = String::from_utf8_lossy(line);
        println!("{}", progress.mark(line.trim_end()));
        Ok(())
    });
    fs::remove_dir_all(&trees)?;
    let code = status?.code();
    // 2: a mutant was missed; 3: a test that did not end noticed one.
    ensure!(code != Some(4), "the fast tests fail without a mutant: see {}", results.join("log").display());
    ensure!(matches!(code, Some(0 | 2 | 3)), "cargo-mutants failed, exit code {code:?}");
    let outcomes = fs::read(results.join("outcomes.json")).context("no verdicts")?;
    let outcomes = serde_json::from_slice(&outcomes)?;
    let verdicts = Verdicts::parse(&outcomes).context("the output of cargo-mutants has an unknown form")?;
    println!("\n{verdicts}");
    verdicts.judge()
}

fn command(program: &Path, workspace: &Workspace, folder: &Path, selection: &Selection) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).arg("mutants");
    command.args(["--colors", "never", "--annotations", "none", "--caught", "--unviable", "--profile", PROFILE]);
    // In code that is not compiled, every mutant would be missed.
    command.arg("--all-features");
    command.arg("--output").arg(folder);
    let files = if selection.sample { SAMPLED_IN } else { PLANTED_IN };
    let default = files.iter().copied().map(str::to_owned).collect();
    for file in if selection.file.is_empty() { &default } else { &selection.file } {
        command.args(["--file", file]);
    }
    if let Some(diff) = &selection.in_diff {
        command.arg("--in-diff").arg(diff);
    }
    for package in fast::PACKAGES {
        command.args(["--test-package", package]);
    }
    for target in fast::TARGETS {
        command.arg(format!("--cargo-test-arg={target}"));
    }
    let shard = selection.shard.as_deref().or(selection.sample.then_some("0/20"));
    if let Some(shard) = shard {
        command.args(["--sharding", "round-robin", "--shard", shard]);
    }
    if selection.jobs > 1 {
        // Each builds in its own copy of the tree: in a common folder they would wait for each other.
        command.args(["--jobs", &selection.jobs.to_string()]).env_remove("CARGO_TARGET_DIR");
    } else {
        command.env("CARGO_TARGET_DIR", folder.join(BUILD));
    }
    // Behind the second separator, the arguments are for the test programs.
    command.args(["--", "--"]).args(fast::SKIPPED);
    command
}

/// Numbers the verdicts.
#[derive(Debug, Default)]
struct Progress {
    all: usize,
    done: usize,
}

impl Progress {
    fn mark(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Found") => self.all = words.next().and_then(|number| number.parse().ok()).unwrap_or_default(),
            Some("caught" | "MISSED" | "TIMEOUT" | "unviable") => {
                self.done += 1;
                return format!("[{}/{}] {line}", self.done, self.all);
            }
            _ => {}
        }
        line.to_owned()
    }
}

/// The verdicts, by file.
#[derive(Debug, Default)]
struct Verdicts {
    files: BTreeMap<String, Counts>,
    /// The names of the missed mutants.
    missed: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    planted: u32,
    caught: u32,
    /// Caught as well, by a test that did not end.
    timeouts: u32,
    missed: u32,
    /// Did not compile.
    unviable: u32,
    took: Duration,
}

impl Verdicts {
    fn parse(results: &Value) -> Option<Self> {
        let mut verdicts = Self::default();
        for outcome in results.get("outcomes")?.as_array()? {
            let Some(mutant) = outcome.get("scenario")?.get("Mutant") else { continue };
            let counts = verdicts.files.entry(mutant.get("file")?.as_str()?.to_owned()).or_default();
            counts.planted += 1;
            match outcome.get("summary")?.as_str()? {
                "CaughtMutant" => counts.caught += 1,
                "Timeout" => counts.timeouts += 1,
                "Unviable" => counts.unviable += 1,
                _ => {
                    counts.missed += 1;
                    verdicts.missed.push(mutant.get("name")?.as_str()?.to_owned());
                }
            }
            for phase in outcome.get("phase_results")?.as_array()? {
                counts.took += Duration::try_from_secs_f64(phase.get("duration")?.as_f64()?).ok()?;
            }
        }
        Some(verdicts)
    }

    fn all(&self) -> Counts {
        self.files.values().fold(Counts::default(), |sum, counts| Counts {
            planted: sum.planted + counts.planted,
            caught: sum.caught + counts.caught,
            timeouts: sum.timeouts + counts.timeouts,
            missed: sum.missed + counts.missed,
            unviable: sum.unviable + counts.unviable,
            took: sum.took + counts.took,
        })
    }

    fn judge(&self) -> Result<String> {
        let Counts { planted, caught, timeouts, missed, unviable, .. } = self.all();
        if missed > 0 {
            bail!(
                "{missed} of {planted} mutants were missed: write a test of the promise that each of them breaks, \
                 or list it with its reason in .cargo/mutants.toml\n{}",
                self.missed.join("\n")
            );
        }
        ensure!(caught + timeouts > 0, "not one mutant compiles");
        Ok(format!("{planted} planted, {} caught, {unviable} did not compile", caught + timeouts))
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.files.keys().map(String::len).max().unwrap_or(0);
        writeln!(f, "{:<width$}  planted  caught  hung  MISSED  unviable   each", "")?;
        let all = ("all".to_owned(), self.all());
        for (file, counts) in self.files.iter().chain([(&all.0, &all.1)]) {
            let Counts { planted, caught, timeouts, missed, unviable, took } = counts;
            let each = took.as_secs_f64() / f64::from((*planted).max(1));
            writeln!(
                f,
                "{file:<width$}  {planted:>7}  {caught:>6}  {timeouts:>4}  {missed:>6}  {unviable:>8}  {each:>3.1} s"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(name: &str, summary: &str) -> Value {
        json!({
            "scenario": { "Mutant": { "name": name, "file": name.split(':').next() } },
            "summary": summary,
            "phase_results": [{ "phase": "Build", "duration": 1.5 }, { "phase": "Test", "duration": 0.5 }],
        })
    }

    fn verdicts(outcomes: &[Value]) -> Verdicts {
        Verdicts::parse(&json!({ "outcomes": outcomes })).unwrap()
    }

    #[test]
    fn verdicts_are_counted_by_file_without_the_unchanged_code() {
        let baseline = json!({ "scenario": "Baseline", "summary": "Success", "phase_results": [] });
        let verdicts = verdicts(&[
            baseline,
            outcome("a.rs:1", "CaughtMutant"),
            outcome("a.rs:2", "Timeout"),
            outcome("b.rs:1", "Unviable"),
        ]);
        assert_eq!(
            verdicts.files["a.rs"],
            Counts { planted: 2, caught: 1, timeouts: 1, took: Duration::from_secs(4), ..Counts::default() }
        );
        assert_eq!(verdicts.judge().unwrap(), "3 planted, 2 caught, 1 did not compile");
        assert_eq!(
            verdicts.to_string().lines().last().unwrap(),
            "all         3       1     1       0         1  2.0 s"
        );
    }

    #[test]
    fn a_missed_mutant_is_a_failure_that_names_it() {
        let verdicts = verdicts(&[outcome("a.rs:1", "CaughtMutant"), outcome("a.rs:2: + for -", "MissedMutant")]);
        assert!(verdicts.judge().unwrap_err().to_string().ends_with("\na.rs:2: + for -"));
    }

    #[test]
    fn a_run_without_a_mutant_is_a_failure() {
        assert!(verdicts(&[]).judge().is_err());
        assert!(verdicts(&[outcome("a.rs:1", "Unviable")]).judge().is_err());
    }

    #[test]
    fn progress_numbers_the_verdicts_and_nothing_else() {
        let mut progress = Progress::default();
        assert_eq!(progress.mark("Found 12 mutants to test"), "Found 12 mutants to test");
        assert_eq!(progress.mark("ok       Unmutated baseline"), "ok       Unmutated baseline");
        assert_eq!(progress.mark("caught   a.rs:1"), "[1/12] caught   a.rs:1");
        assert_eq!(progress.mark("MISSED   a.rs:2"), "[2/12] MISSED   a.rs:2");
    }
}
