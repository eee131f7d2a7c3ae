//! Measures what a child process uses: CPU time, instructions, allocations, system calls.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{process::Command, time::timeout};

use crate::child::Used;

const PATIENCE: Duration = Duration::from_secs(120);

/// The counts of callgrind for a whole run of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) instructions: u64,
    pub(super) allocations: u64,
}

/// Returns the CPU time of a child, in nanoseconds.
pub(super) async fn cpu(child: &[String]) -> Result<u64> {
    let mut command = Command::new(env::current_exe()?);
    let output = output(command.arg("child").args(child)).await?;
    let used: Used = serde_json::from_slice(&output.stdout).context("a child process printed nothing")?;
    Ok(used.cpu_nanos)
}

/// Returns the instructions and allocations of a child, by valgrind's callgrind.
pub(super) async fn counted(child: &[String]) -> Result<Counted> {
    let out = Scratch::new("callgrind");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--error-exitcode=0"]);
    command.arg(format!("--callgrind-out-file={}", out.0.display()));
    output(command.arg(env::current_exe()?).arg("child").args(child)).await?;
    let profile = fs::read_to_string(&out.0).context("callgrind has written no file")?;
    parse_callgrind(&profile).context("the output of callgrind has an unknown form")
}

/// Returns the system calls of a child, by strace.
pub(super) async fn system_calls(child: &[String]) -> Result<u64> {
    let out = Scratch::new("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&out.0).arg(env::current_exe()?).arg("child").args(child);
    output(&mut command).await?;
    let summary = fs::read_to_string(&out.0).context("strace has written no file")?;
    parse_strace(&summary).context("the output of strace has an unknown form")
}

/// Returns whether a program is installed.
pub(super) fn is_installed(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

async fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.context("a child has not ended in time")??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "a child failed ({}): {}", output.status, errors.trim());
    Ok(output)
}

/// The total is in one line of the file. Calls follow the name of the called function, which is written in full once
/// and then replaced by its number.
fn parse_callgrind(profile: &str) -> Option<Counted> {
    const ALLOCATE: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
    let mut numbers = Vec::new();
    let (mut instructions, mut allocations) = (None, 0);
    let mut allocates = false;
    for line in profile.lines() {
        if let Some(total) = line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")) {
            instructions = total.split_whitespace().next()?.parse().ok();
        }
        let function = line.strip_prefix("cfn=").or_else(|| line.strip_prefix("fn="));
        if let Some((number, name)) = function.and_then(|function| function.split_once(") "))
            && ALLOCATE.contains(&name)
        {
            numbers.push(number.to_owned());
        }
        if let Some(called) = line.strip_prefix("cfn=") {
            let number = called.split_once(')').map_or(called, |(number, _)| number);
            allocates = numbers.iter().any(|known| known == number);
        }
        if let Some(calls) = line.strip_prefix("calls=").filter(|_| allocates) {
            allocations += calls.split_whitespace().next()?.parse::<u64>().ok()?;
        }
    }
    Some(Counted { instructions: instructions?, allocations })
}

/// The number of calls is the fourth number in the line of the total.
fn parse_strace(summary: &str) -> Option<u64> {
    let total = summary.lines().rev().find(|line| line.trim_end().ends_with(" total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}

/// A file that is deleted on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(what: &str) -> Self {
        Self(Path::new(&env::temp_dir()).join(format!("redlock-bench-{}-{what}", process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_and_allocations_are_read_from_a_profile() {
        let profile = "version: 1\nevents: Ir\n\nfn=(1) main\n16 4\ncfn=(2) malloc\ncalls=3 20\n16 40\n\
                       cfn=(3) free\ncalls=9 20\n16 40\n\nfn=(4) other\ncfn=(2)\ncalls=4 20\n16 12\n\
                       cfn=(5) realloc\ncalls=1 0\n1 1\n\nfn=(6) calloc\n1 1\n\ntotals: 12345\n";
        assert_eq!(parse_callgrind(profile), Some(Counted { instructions: 12_345, allocations: 8 }));
        assert_eq!(parse_callgrind("nothing"), None);
    }

    #[test]
    fn system_calls_are_read_from_a_summary() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n------ ----------- ----------- \
                       --------- --------- ----------------\n 60.00    0.000600           2       300           \
                       write\n------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.001000           2       412        15 total\n";
        assert_eq!(parse_strace(summary), Some(412));
        assert_eq!(parse_strace(""), None);
    }
}
