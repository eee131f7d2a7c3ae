//! The judge: finds violations in the holds. A pure function.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use crate::hold::Hold;

/// Something that must never happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Two holders relied on one resource at the same time.
    Overlap { first: Hold, second: Hold },
    /// Nodes lost a lock while it was valid: no other task had it yet, or it was not noticed.
    GoneEarly { hold: Hold },
    /// Two holds have the same token: a late release of one would end the other.
    SameToken { first: Hold, second: Hold },
}

/// Finds all violations, in the order of time.
pub(crate) fn judge(holds: &[Hold]) -> Vec<Violation> {
    let mut violations: Vec<_> = overlaps(holds).chain(same_tokens(holds)).collect();
    let gone_early = holds.iter().filter(|hold| hold.gone_early.is_some());
    violations.extend(gone_early.map(|hold| Violation::GoneEarly { hold: hold.clone() }));
    violations.sort_by_key(|violation| violation.span().0);
    violations
}

/// Finds holds of one resource that overlap. Each hold is compared with the earlier one that lasts longest, so that a
/// long hold is found with each of many short ones within it.
fn overlaps(holds: &[Hold]) -> impl Iterator<Item = Violation> {
    let mut resources: BTreeMap<usize, Vec<&Hold>> = BTreeMap::new();
    // A task that learned of its lock after it had expired never relied on it.
    for hold in holds.iter().filter(|hold| hold.end() > hold.from) {
        resources.entry(hold.resource).or_default().push(hold);
    }
    resources.into_values().flat_map(|mut holds| {
        holds.sort_by_key(|hold| hold.from);
        let mut longest: Option<&Hold> = None;
        let mut found = Vec::new();
        for hold in holds {
            if let Some(before) = longest.filter(|before| hold.from < before.end()) {
                found.push(Violation::Overlap { first: before.clone(), second: hold.clone() });
            }
            longest = longest.filter(|before| before.end() >= hold.end()).or(Some(hold));
        }
        found
    })
}

fn same_tokens(holds: &[Hold]) -> impl Iterator<Item = Violation> {
    let mut tokens: HashMap<&str, &Hold> = HashMap::new();
    holds.iter().filter_map(move |hold| {
        let first = tokens.insert(&hold.token, hold)?;
        Some(Violation::SameToken { first: first.clone(), second: hold.clone() })
    })
}

/// Returns the shortest time between the end of one hold's validity and the next hold of the resource. It shows how
/// close the run came to a violation, and so how much a run without one proves. It is about the allowance for drift.
pub(crate) fn closest(holds: &[Hold]) -> Option<Duration> {
    let mut ended: BTreeMap<usize, Duration> = BTreeMap::new();
    let mut in_order: Vec<_> = holds.iter().filter(|hold| hold.end() > hold.from).collect();
    in_order.sort_by_key(|hold| hold.from);
    let gaps = in_order.into_iter().filter_map(|hold| {
        let gap = ended.remove(&hold.resource).and_then(|ended| hold.from.checked_sub(ended));
        if hold.to_the_very_end() {
            ended.insert(hold.resource, hold.end());
        }
        gap
    });
    gaps.min()
}

impl Violation {
    /// Returns the holds that are part of it.
    pub(crate) fn holds(&self) -> Vec<&Hold> {
        match self {
            Self::Overlap { first, second } | Self::SameToken { first, second } => vec![first, second],
            Self::GoneEarly { hold } => vec![hold],
        }
    }

    /// Returns the start and the end of the violation.
    pub(crate) fn span(&self) -> (Duration, Duration) {
        match self {
            Self::Overlap { first, second } => (second.from, first.end().min(second.end())),
            Self::SameToken { second, .. } => (second.from, second.end()),
            Self::GoneEarly { hold } => {
                let at = hold.gone_early.as_ref().map_or(hold.from, |(at, _)| *at);
                (at, at)
            }
        }
    }

    /// Formats it with times from the start of the run.
    pub(crate) fn told_from(&self, start: Duration) -> impl fmt::Display {
        let (from, to) = self.span();
        let since = |at: Duration| format!("{:.6} s", at.saturating_sub(start).as_secs_f64());
        let hold = |hold: &Hold| {
            format!(
                "{} with token {}... from {} to {}",
                hold.who,
                hold.brief_token(),
                since(hold.from),
                since(hold.end())
            )
        };
        match self {
            Self::Overlap { first, second } => format!(
                "resource {} was held twice for {:.3} ms: by {}, and by {}",
                first.resource,
                (to - from).as_secs_f64() * 1e3,
                hold(first),
                hold(second)
            ),
            Self::SameToken { first, second } => {
                format!("one token for two holds: {}, and {}", hold(first), hold(second))
            }
            Self::GoneEarly { hold: gone } => {
                let how = gone.gone_early.as_ref().map_or("", |(_, how)| how);
                format!("resource {}: the lock of {} was {how} at {}", gone.resource, hold(gone), since(from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Who;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Returns a hold of this process, valid until `until`, and released at `ended`, if at all.
    fn hold(process: usize, resource: usize, from: u64, until: u64, ended: Option<u64>) -> Hold {
        Hold {
            who: Who::Task { process, task: 0 },
            resource,
            token: format!("{process}-{from}"),
            from: at(from),
            until: at(until),
            ended: ended.map(at),
            gone_early: None,
            extended: 0,
        }
    }

    #[test]
    fn consecutive_holds_are_no_violation() {
        let holds = [
            hold(1, 0, 0, 100, Some(50)),
            hold(2, 0, 50, 150, None),
            hold(3, 0, 150, 300, Some(900)),
            hold(1, 0, 300, 400, None),
            hold(4, 1, 0, 1_000, None),
        ];
        assert_eq!(judge(&holds), []);
    }

    #[test]
    fn an_overlap_of_one_nanosecond_is_found() {
        let mut late = hold(1, 0, 0, 100, None);
        late.until += Duration::from_nanos(1);
        let found = judge(&[hold(2, 0, 100, 200, None), late]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].span(), (at(100), at(100) + Duration::from_nanos(1)));
    }

    #[test]
    fn a_hold_of_a_killed_process_counts_until_its_deadline() {
        assert_eq!(judge(&[hold(1, 0, 0, 100, None), hold(2, 0, 99, 200, Some(120))]).len(), 1);
        assert_eq!(judge(&[hold(1, 0, 0, 100, Some(98)), hold(2, 0, 99, 200, Some(120))]).len(), 0);
    }

    #[test]
    fn a_long_hold_is_compared_with_all_holds_within_it() {
        let mut holds = vec![hold(1, 0, 0, 1_000, None)];
        holds.extend((1..6).map(|step| hold(2, 0, step * 100, step * 100 + 50, None)));
        assert_eq!(judge(&holds).len(), 5);
    }

    #[test]
    fn a_lock_that_had_expired_before_its_task_knew_of_it_was_never_relied_on() {
        assert_eq!(judge(&[hold(1, 0, 0, 100, None), hold(2, 0, 50, 50, Some(60))]), []);
    }

    #[test]
    fn the_closest_call_follows_a_hold_that_lasted_until_its_deadline() {
        let holds = [
            hold(1, 0, 0, 100, None),
            hold(2, 0, 107, 200, Some(150)),
            hold(3, 0, 151, 300, None),
            hold(3, 1, 301, 400, None),
            hold(1, 0, 312, 400, None),
        ];
        assert_eq!(closest(&holds), Some(at(7)));
        assert_eq!(closest(&holds[1..3]), None);
    }

    #[test]
    fn holds_of_different_resources_are_no_violation() {
        assert_eq!(judge(&[hold(1, 0, 0, 100, None), hold(2, 1, 0, 100, None)]), []);
    }

    #[test]
    fn a_token_that_is_used_twice_is_found() {
        let again = Hold { token: "1-0".into(), ..hold(2, 0, 200, 300, None) };
        let found = judge(&[hold(1, 0, 0, 100, None), again]);
        assert!(matches!(found.as_slice(), [Violation::SameToken { .. }]), "{found:?}");
    }

    #[test]
    fn a_lock_that_nodes_lost_while_it_was_valid_is_found() {
        let gone = Hold { gone_early: Some((at(40), "lost".into())), ..hold(1, 0, 0, 100, Some(40)) };
        let found = judge(&[gone]);
        assert!(matches!(found.as_slice(), [Violation::GoneEarly { .. }]), "{found:?}");
        assert!(found[0].told_from(Duration::ZERO).to_string().contains("p1.0"), "{found:?}");
    }
}
