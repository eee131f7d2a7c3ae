//! Dead processes that nobody has waited for: they are still in their group, and no longer run.

use std::fs;

use rustix::process::Pid;

/// Returns whether all remaining processes of a group are dead, as far as the system reports.
pub(super) fn are_all_of(group: Pid) -> bool {
    let mut dead = false;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        match is_dead(&stat, group) {
            Some(true) => dead = true,
            Some(false) => return false,
            None => {}
        }
    }
    dead
}

/// Returns whether a process is dead, according to its `stat` text. `None` for a process that is not in the group.
fn is_dead(stat: &str, group: Pid) -> Option<bool> {
    // Its name comes first, in parentheses, and may contain anything.
    let (_, facts) = stat.rsplit_once(") ")?;
    let facts: Vec<_> = facts.split_whitespace().collect();
    let number = |index: usize| facts.get(index)?.parse::<i32>().ok();
    if number(2)? != group.as_raw_nonzero().get() {
        return None;
    }
    // If only the first of several threads has ended, the others run.
    let (state, threads) = (facts.first()?, number(17)?);
    Some(["Z", "X"].contains(state) && threads <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_if_all_of_it_is() {
        let group = Pid::from_raw(7).unwrap();
        let stat = |state, group, threads| {
            format!("9 (a name) Z 1) {state} 1 {group} 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 5 0 0")
        };
        for (state, group_there, threads, dead) in [
            ("Z", 7, 1, Some(true)),
            ("X", 7, 0, Some(true)),
            ("Z", 7, 2, Some(false)),
            ("S", 7, 1, Some(false)),
            ("T", 7, 1, Some(false)),
            ("Z", 8, 1, None),
        ] {
            assert_eq!(is_dead(&stat(state, group_there, threads), group), dead, "{state} {group_there} {threads}");
        }
        assert_eq!((is_dead("", group), is_dead("9 (x) Z 1", group)), (None, None));
    }

    #[test]
    fn a_group_with_one_that_runs_is_not_dead() {
        assert!(!are_all_of(rustix::process::getpgrp()));
    }
}
