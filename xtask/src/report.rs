//! The results of the steps: the table at the end and its last line.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Tests, counted from the closing lines of test runners.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Tally {
    /// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; ...`. Any other line counts nothing.
    pub(crate) fn read_line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result:") else { return };
        let words: Vec<&str> = counts.split([' ', ';', '.', '\u{1b}']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let &[number, what] = pair else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// # Errors
    ///
    /// If there was no test at all, or one was ignored: both would be mistaken for a success.
    pub(crate) fn all_ran(self) -> Result<String> {
        if self.ignored > 0 {
            bail!("{} tests were ignored: every test runs, or is not there", self.ignored);
        }
        if self.passed + self.failed == 0 {
            bail!("not one test ran");
        }
        Ok(format!("{} tests", self.passed))
    }
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }
}

/// The output of a test program about its failed tests.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    lines: Vec<String>,
    inside: bool,
}

impl Failures {
    /// Further lines are only in the output above.
    const LINES: usize = 120;

    /// Keeps the lines between `failures:` and the closing line.
    pub(crate) fn read_line(&mut self, line: &str) {
        let line = line.trim_end();
        if line == "failures:" {
            self.inside = true;
        } else if line.contains("test result:") {
            self.inside = false;
        } else if self.inside && self.lines.len() < Self::LINES && !line.is_empty() {
            self.lines.push(line.to_owned());
        }
    }
}

/// Prints nothing, or each kept line after a line break.
impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// The outcome of a step that did not fail.
#[derive(Debug)]
pub(crate) enum Done {
    /// The note in the table.
    Passed(String),
    /// Why there was nothing to do.
    NotRun(String),
}

impl From<String> for Done {
    fn from(note: String) -> Self {
        Self::Passed(note)
    }
}

/// Runs a step, with its name above its output and its outcome below. `place` says how far the run has come.
pub(crate) fn announced<D: Into<Done>>(
    step: &str,
    place: &str,
    work: impl FnOnce() -> Result<D>,
) -> (Duration, Result<Done>) {
    println!("\n=== {place}{step} ===");
    let started = Instant::now();
    let result = work().map(Into::into);
    let took = minutes(started.elapsed());
    match &result {
        Ok(Done::Passed(note)) => {
            println!("=== {place}{step}: passed in {took}{}{note} ===", if note.is_empty() { "" } else { ", " });
        }
        Ok(Done::NotRun(reason)) => println!("=== {place}{step}: not run, {reason} ==="),
        // The line before may have been cut off.
        Err(error) => println!("\n=== {place}{step}: FAILED after {took} ===\n{error:#}"),
    }
    (started.elapsed(), result)
}

/// Prints `3.2 s` or `2 min 05 s`.
pub(crate) fn minutes(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

/// The table of steps.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// How long the whole run took, if that is not the sum: steps may run side by side.
    pub(crate) took: Option<Duration>,
}

#[derive(Debug)]
struct Row {
    step: String,
    time: Option<Duration>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Passed(String),
    Failed(String),
    NotRun(String),
}

impl Report {
    /// Runs a step, with its name above its output and its outcome below.
    pub(crate) fn step<D: Into<Done>>(&mut self, step: String, work: impl FnOnce() -> Result<D>) {
        let (time, result) = announced(&step, "", work);
        self.add(step, time, result);
    }

    pub(crate) fn add(&mut self, step: String, time: Duration, result: Result<Done>) {
        let outcome = match result {
            Ok(Done::Passed(note)) => Outcome::Passed(note),
            Ok(Done::NotRun(reason)) => Outcome::NotRun(reason),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        self.rows.push(Row { step, time: Some(time), outcome });
    }

    pub(crate) fn add_not_run(&mut self, step: String, reason: &str) {
        self.rows.push(Row { step, time: None, outcome: Outcome::NotRun(reason.to_owned()) });
    }

    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).count()
    }

    fn passed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Passed(_))).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.step.len()).max().unwrap_or(0);
        for Row { step, time, outcome } in &self.rows {
            let time = time.map_or_else(|| "-".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
            let (outcome, note) = match outcome {
                Outcome::Passed(note) => ("passed", note.clone()),
                // The whole text follows below the table.
                Outcome::Failed(error) => {
                    ("FAILED", error.lines().next().unwrap_or_default().chars().take(80).collect())
                }
                Outcome::NotRun(reason) => ("not run", reason.clone()),
            };
            let row = format!("{step:<width$}  {outcome:<7}  {time:>8}  {note}");
            writeln!(f, "{}", row.trim_end())?;
        }
        let all = self.took.unwrap_or_else(|| self.rows.iter().filter_map(|row| row.time).sum());
        writeln!(f, "{:<width$}  {:<7}  {:>6.1} s", "all", "", all.as_secs_f64())?;
        for Row { step, outcome, .. } in &self.rows {
            if let Outcome::Failed(error) = outcome
                && error.contains('\n')
            {
                writeln!(f, "\n{step}: {error}\n")?;
            }
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn closing_lines_add_up_even_if_they_are_colored() {
        let counted = tally(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.00s",
            "test result: \u{1b}[32mok\u{1b}[0m. 4 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(counted, Tally { passed: 7, failed: 1, ignored: 2 });
    }

    #[test]
    fn no_test_and_an_ignored_test_are_failures() {
        assert!(tally(&["test result: ok. 0 passed; 0 failed; 0 ignored"]).all_ran().is_err());
        assert!(tally(&["test result: ok. 5 passed; 0 failed; 1 ignored"]).all_ran().is_err());
        assert_eq!(tally(&["test result: ok. 5 passed; 0 failed; 0 ignored"]).all_ran().unwrap(), "5 tests");
    }

    #[test]
    fn the_last_line_counts_steps_and_is_on_its_own() {
        let mut report = Report::default();
        report.add("tidy".into(), Duration::from_millis(120), Ok("7 rules".to_owned().into()));
        report.add("clippy".into(), Duration::from_secs(3), Err(anyhow!("no\nmore")));
        report.add_not_run("docs".into(), "");
        assert_eq!(
            report.to_string(),
            "tidy    passed      0.1 s  7 rules\n\
             clippy  FAILED      3.0 s  no\n\
             docs    not run         -\n\
             all                 3.1 s\n\
             \n\
             clippy: no\n\
             more\n\
             \n\
             1 passed, 1 failed"
        );
    }

    #[test]
    fn the_failed_tests_are_named_with_their_panics() {
        let mut failures = Failures::default();
        let printed = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nb panicked\n\nfailures:\n    b\n\n\
                       test result: FAILED. 1 passed; 1 failed; 0 ignored\nnothing more";
        printed.lines().for_each(|line| failures.read_line(line));
        assert_eq!(failures.to_string(), "\n---- b stdout ----\nb panicked\n    b");
    }

    #[test]
    fn a_step_with_nothing_to_do_says_why_and_neither_passes_nor_fails() {
        let mut report = Report::default();
        report.step("semver".into(), || Ok(Done::NotRun("no release".into())));
        report.step("tidy".into(), || Ok(String::new()));
        report.step("docs".into(), || Err::<Done, _>(anyhow!("no more")));
        let table = report.to_string();
        let words: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        assert_eq!(words[0], ["semver", "not", "run", "0.0", "s", "no", "release"]);
        assert_eq!(words.last().unwrap(), &["1", "passed,", "1", "failed"]);
    }
}
