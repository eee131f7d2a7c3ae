//! Processes that outlive their parents. On Linux they become children of this process, as if it had the process ID 1.

use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Makes processes whose parents have ended children of this one, so that it can wait for them and detect those that
/// are left. Returns the children that it already has, for example those of the shell that became this process.
pub(super) fn adopt() -> Vec<Pid> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    children()
}

/// Waits for children that have ended, so that they do not remain as zombies. Excludes `ours`, which are waited for
/// elsewhere.
pub(super) fn reap(ours: &[Option<Pid>]) {
    for child in children().into_iter().filter(|child| !ours.contains(&Some(*child))) {
        let _ = waitid(WaitId::Pid(child), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }
}

/// Returns the children that still run, except `known`, in the format `name (process ID)`.
pub(super) fn left(known: &[Pid]) -> Vec<String> {
    reap(&[]);
    let name = |child: Pid| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        format!("{} (process {child})", name.trim_end())
    };
    children().into_iter().filter(|child| !known.contains(child)).map(name).collect()
}

fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    children.flat_map(|pids| pids.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

fn pid(digits: &str) -> Option<Pid> {
    Pid::from_raw(digits.parse().ok()?)
}
