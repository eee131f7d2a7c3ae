//! Removes what dead test runs have left behind, and nothing else.
//!
//! The tests mark what they start with their host and process ID. Anything that belongs to a living process is in use.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Result, bail};
use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
    system::uname,
};

use crate::command::RUN;

/// As in the package `redlock-tests`: the label of its containers, whose value is `host/process id`, and the beginning
/// of the names of its temporary folders, `redlock-test-<process id>-`.
const LABEL: &str = "redlock.test";
const FOLDER: &str = "redlock-test-";

/// Removes leftovers. Returns what there was.
pub(crate) fn sweep() -> Vec<String> {
    let mut swept = Vec::new();
    for (id, owner) in containers() {
        if owner.is_some_and(is_gone)
            && Command::new("docker").args(["rm", "--force", "--volumes", &id]).output().is_ok()
        {
            swept.push(format!("container {id}"));
        }
    }
    for folder in folders() {
        if fs::remove_dir_all(&folder).is_ok() {
            swept.push(format!("folder {}", folder.display()));
        }
    }
    swept
}

/// Checks, as the last step, that nothing is left of what the tests of this run have started.
pub(crate) fn check() -> Result<String> {
    let mut left = sweep();
    left.extend(processes());
    if !left.is_empty() {
        bail!("the tests have left behind: {}", left.join(", "));
    }
    Ok("none".to_owned())
}

/// Returns our containers, with the process ID of their owner if it is on this host.
fn containers() -> Vec<(String, Option<i32>)> {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{LABEL}\"}}}}");
    let mut list = Command::new("docker");
    list.args(["ps", "--all", "--filter", &format!("label={LABEL}"), "--format", &format]);
    // Not through `command`: this also has to work after an interrupt.
    let Ok(listed) = list.output() else { return Vec::new() };
    let host = uname().nodename().to_string_lossy().into_owned();
    let container = |line: &str| {
        let (id, owner) = line.split_once(' ')?;
        let (of, pid) = owner.rsplit_once('/')?;
        Some((id.to_owned(), pid.parse().ok().filter(|_| of == host)))
    };
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(container).collect()
}

fn folders() -> Vec<PathBuf> {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let owner = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next()?.parse().ok());
        owner.is_some_and(is_gone)
    };
    let entries = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_left).collect()
}

/// Returns servers, and processes of the soak, that this run has started and that still run. Only Linux shows another
/// process's environment.
fn processes() -> Vec<String> {
    let mark = format!("{RUN}={}", std::process::id()).into_bytes();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if !environment.split(|&byte| byte == 0).any(|variable| variable == mark) {
            continue;
        }
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if ["redis-server", "valkey-server", "soak worker"].iter().any(|program| command.contains(program)) {
            left.push(format!("process {}: {command}", entry.file_name().to_string_lossy()));
        }
    }
    left
}

fn is_gone(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_a_living_owner_are_left_alone() {
        assert!(!is_gone(i32::try_from(std::process::id()).unwrap()));
        assert!(!is_gone(0));
    }

    #[test]
    fn the_folder_of_a_dead_owner_is_removed_and_that_of_a_living_one_is_not() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let [dead, living] =
            [child.id(), std::process::id()].map(|pid| env::temp_dir().join(format!("{FOLDER}{pid}-sweep")));
        fs::create_dir_all(&dead).unwrap();
        fs::create_dir_all(&living).unwrap();
        let found = folders();
        assert!(found.contains(&dead) && !found.contains(&living));
        fs::remove_dir_all(living).unwrap();
        fs::remove_dir_all(dead).unwrap();
    }
}
