//! The holds, derived from the log.

use std::{collections::BTreeMap, time::Duration};

use crate::log::{Event, What, Who};

/// One lock that one task had, from when it knew of it until it no longer relied on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) who: Who,
    pub(crate) resource: usize,
    pub(crate) token: String,
    pub(crate) from: Duration,
    /// The end of its validity. Nobody relies on a lock for longer, not even a process that is paused at that time.
    pub(crate) until: Duration,
    /// When the task stopped relying on it. A task that was killed has logged nothing.
    pub(crate) ended: Option<Duration>,
    /// When and how the task learned that nodes had lost the lock although it was still valid.
    pub(crate) gone_early: Option<(Duration, String)>,
    pub(crate) extended: u32,
}

impl Hold {
    /// Returns until when the task relied on the lock.
    pub(crate) fn end(&self) -> Duration {
        self.ended.map_or(self.until, |ended| ended.min(self.until)).max(self.from)
    }

    /// Returns enough of the token to find it in the log.
    pub(crate) fn brief_token(&self) -> &str {
        self.token.get(..8).unwrap_or(&self.token)
    }

    /// Returns whether the task relied on it until the last moment.
    pub(crate) fn to_the_very_end(&self) -> bool {
        self.end() == self.until
    }
}

/// The outcomes in [`What::GivenBack`] and [`What::NotExtended`] for a lock that the nodes no longer have.
pub(crate) const ALREADY_GONE: &str = "already-gone";
pub(crate) const LOST: &str = "lost";

/// Returns all holds of a log, in the order in which they began. The log must be in the order of time.
pub(crate) fn holds(events: &[Event]) -> Vec<Hold> {
    let mut holds: Vec<Hold> = Vec::new();
    // The last hold of each task.
    let mut last: BTreeMap<Who, usize> = BTreeMap::new();
    for Event { at, who, what } in events {
        if let What::Holds { resource, token, until } = what {
            last.insert(*who, holds.len());
            holds.push(Hold {
                who: *who,
                resource: *resource,
                token: token.clone(),
                from: *at,
                until: *until,
                ended: None,
                gone_early: None,
                extended: 0,
            });
            continue;
        }
        let Some(hold) = last.get(who).and_then(|index| holds.get_mut(*index)) else { continue };
        match what {
            What::Extended { until } => {
                hold.until = hold.until.max(*until);
                hold.extended += 1;
            }
            What::NotExtended(why) if why == LOST => {
                hold.gone_early = Some((*at, why.clone())).filter(|_| *at < hold.until);
                hold.ended = Some(*at);
            }
            What::Ends => hold.ended = Some(hold.ended.map_or(*at, |ended| ended.min(*at))),
            What::GivenBack(outcome) if outcome == ALREADY_GONE && *at < hold.until && hold.gone_early.is_none() => {
                hold.gone_early = Some((*at, outcome.clone()));
            }
            // The events that follow are not about this hold.
            What::Wants(_) => drop(last.remove(who)),
            _ => {}
        }
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: Who = Who::Task { process: 1, task: 0 };

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn held(then: impl IntoIterator<Item = (u64, What)>) -> Hold {
        let takes = What::Holds { resource: 2, token: "t".into(), until: at(500) };
        let events = [(0, What::Wants(2)), (100, takes)].into_iter().chain(then);
        let events: Vec<_> = events.map(|(millis, what)| Event { at: at(millis), who: TASK, what }).collect();
        let mut all = holds(&events);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_hold_ends_when_its_task_logs_the_end() {
        let hold = held([(300, What::Ends), (310, What::GivenBack("released".into()))]);
        assert_eq!((hold.from, hold.end(), hold.to_the_very_end()), (at(100), at(300), false));
        assert_eq!(hold.gone_early, None);
    }

    #[test]
    fn a_hold_ends_at_its_deadline_whatever_happens() {
        assert_eq!(held([(900, What::Ends)]).end(), at(500), "the process was paused");
        assert_eq!(held([]).end(), at(500), "the process was killed");
        assert_eq!(held([(700, What::Wants(1)), (800, What::Extended { until: at(999) })]).end(), at(500));
    }

    #[test]
    fn an_extended_hold_lasts_longer_and_never_shorter() {
        assert_eq!(held([(400, What::Extended { until: at(900) })]).end(), at(900));
        assert_eq!(held([(400, What::Extended { until: at(450) })]).end(), at(500));
        assert_eq!(held([(400, What::NotExtended("no-quorum".into()))]).end(), at(500));
    }

    #[test]
    fn a_lock_that_nodes_lost_too_early_is_reported() {
        let gone =
            |millis| held([(millis - 10, What::Ends), (millis, What::GivenBack(ALREADY_GONE.into()))]).gone_early;
        assert!(gone(400).is_some());
        assert_eq!(gone(600), None, "it had expired");
        let lost = held([(300, What::NotExtended(LOST.into())), (450, What::Ends)]);
        assert!(lost.gone_early.is_some());
        assert_eq!(lost.end(), at(300));
        assert_eq!(held([(600, What::NotExtended(LOST.into()))]).gone_early, None);
    }
}
