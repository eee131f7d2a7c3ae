//! The beliefs of the processes, as they report them, and two invariant checkers: no two processes may believe in one
//! lock at the same time, and fencing tokens must be in order.

use std::{collections::BTreeSet, fmt, time::Duration};

use redlock_core::{FencingToken, Token};

/// The beliefs and acts of the processes. Times are true times, counted from the start of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Every lock that was acquired.
    pub holdings: Vec<Holding>,
    /// Every permit that was acquired.
    pub permits: Vec<PermitHolding>,
    /// Every call to acquire.
    pub calls: Vec<Call>,
    /// Every act under a lock, right after a check of it.
    pub acts: Vec<Act>,
    /// Every fencing token, in the order in which they became known.
    pub issued: Vec<Issued>,
    /// Keys that were seen on nodes, in scopes that look for [orphans](Ledger::orphans).
    pub sightings: Vec<Sighting>,
    /// The processes that have closed.
    pub closed: BTreeSet<usize>,
}

/// A permit that a process believes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitHolding {
    /// The process.
    pub process: usize,
    /// The semaphore.
    pub semaphore: usize,
    /// The number of its permits.
    pub permits: u32,
    /// The slot.
    pub slot: u32,
    /// Its token.
    pub token: Token,
    /// When the process learned of it.
    pub from: Duration,
    /// Until when it believes.
    pub until: Duration,
}

/// A fencing token that a call to acquire has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The process.
    pub process: usize,
    /// The resources.
    pub resources: BTreeSet<usize>,
    /// The token.
    pub token: FencingToken,
    /// How many tokens were known when the call was made. This is finer than time, which may not advance meanwhile.
    pub before: usize,
    /// When the call was made.
    pub from: Duration,
    /// When it became known.
    pub known: Duration,
}

/// Two fencing tokens of one resource whose order is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disorder {
    /// They are equal.
    Twice(Issued, Issued),
    /// The first was known before the call for the second began, and is greater.
    Backwards(Issued, Issued),
}

/// A lock in which a process believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The process.
    pub process: usize,
    /// The resource.
    pub resource: usize,
    /// Its token.
    pub token: Token,
    /// Whether it shares the lock with other readers.
    pub is_shared: bool,
    /// Since when the process believes.
    pub from: Duration,
    /// Until when it believes.
    pub until: Duration,
}

/// A key that was seen on a node all the time, while the process whose token it holds could reach the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The process whose token it holds.
    pub process: usize,
    /// The node.
    pub node: usize,
    /// The key.
    pub key: String,
    /// The token that it holds.
    pub token: Token,
    /// When it was seen first.
    pub from: Duration,
    /// When it was seen last.
    pub until: Duration,
}

/// A call to acquire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The process.
    pub process: usize,
    /// The resource.
    pub resource: usize,
    /// When it was made.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a call to acquire ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With the lock.
    Acquired,
    /// With an error.
    Refused,
    /// Dropped before it ended.
    Dropped,
}

/// An act under a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// The process.
    pub process: usize,
    /// The resource.
    pub resource: usize,
    /// The time.
    pub at: Duration,
}

/// Two processes that believe in one lock, or one that acts while another believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Two hold it at the same time.
    Holders(Holding, Holding),
    /// One acts while the other holds it.
    Actor(Act, Holding),
}

impl Ledger {
    /// Returns every overlap between two processes, at least one of which is a writer.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut holdings: Vec<_> = self.holdings.iter().filter(|holding| holding.from < holding.until).collect();
        holdings.sort_by_key(|holding| (holding.resource, holding.from));
        let mut overlaps = Vec::new();
        // The writer and the reader whose validity ends last so far.
        let mut longest: [Option<&Holding>; 2] = [None; 2];
        for holding in holdings {
            longest = longest.map(|before| before.filter(|before| before.resource == holding.resource));
            let [writer, reader] = longest;
            let in_the_way = [writer, reader.filter(|_| !holding.is_shared)];
            let overlapping = in_the_way.into_iter().flatten().filter(|before| before.until > holding.from);
            overlaps.extend(
                overlapping.max_by_key(|before| before.until).map(|before| Overlap::Holders(*before, *holding)),
            );
            let [writer, reader] = &mut longest;
            let of_its_kind = if holding.is_shared { reader } else { writer };
            if of_its_kind.is_none_or(|before| before.until < holding.until) {
                *of_its_kind = Some(holding);
            }
        }
        for act in &self.acts {
            let others = self.holdings.iter().filter(|holding| {
                (holding.resource, holding.process != act.process) == (act.resource, true)
                    && (holding.from..holding.until).contains(&act.at)
            });
            overlaps.extend(others.map(|holding| Overlap::Actor(*act, *holding)));
        }
        overlaps
    }

    /// Returns every two fencing tokens that do not show which of the two came later.
    #[must_use]
    pub fn disorders(&self) -> Vec<Disorder> {
        let mut disorders = Vec::new();
        for (number, second) in self.issued.iter().enumerate() {
            let of_the_same = |first: &&Issued| !first.resources.is_disjoint(&second.resources);
            for (before, first) in self.issued.iter().take(number).enumerate().filter(|(_, first)| of_the_same(first)) {
                if first.token == second.token {
                    disorders.push(Disorder::Twice(first.clone(), second.clone()));
                } else if before < second.before && first.token > second.token {
                    disorders.push(Disorder::Backwards(first.clone(), second.clone()));
                }
            }
        }
        disorders
    }
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(first, second) => write!(f, "a fencing token was issued twice: {first}, and {second}"),
            Self::Backwards(first, second) => write!(f, "fencing tokens went back: {first}, then {second}"),
        }
    }
}

impl fmt::Display for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, resources, token, from, known, .. } = self;
        let process = process + 1;
        write!(f, "{token} to process-{process} for {resources:?}, requested at {from:?}, known at {known:?}")
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holders(first, second) => write!(f, "two hold r{}: {first}, and {second}", first.resource),
            Self::Actor(act, holder) => {
                write!(f, "process-{} acts under r{} at {:?}, while {holder}", act.process + 1, act.resource, act.at)
            }
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_shared { "shares" } else { "holds" };
        write!(f, "process-{} {verb} it from {:?} to {:?}", self.process + 1, self.from, self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(process: usize, from: u64, until: u64) -> Holding {
        let (from, until) = (Duration::from_millis(from), Duration::from_millis(until));
        Holding { process, resource: 0, token: Token::from_bytes([0; 20]), is_shared: false, from, until }
    }

    fn overlaps(holdings: &[Holding]) -> usize {
        Ledger { holdings: holdings.to_vec(), ..Ledger::default() }.overlaps().len()
    }

    #[test]
    fn locks_that_follow_each_other_do_not_overlap() {
        assert_eq!(overlaps(&[holding(0, 5, 10), holding(1, 0, 5), holding(0, 10, 11)]), 0);
        let elsewhere = Holding { resource: 1, ..holding(1, 0, 10) };
        assert_eq!(overlaps(&[holding(0, 0, 10), elsewhere]), 0);
    }

    #[test]
    fn every_overlap_is_found_even_under_a_long_hold() {
        assert_eq!(overlaps(&[holding(0, 0, 10), holding(1, 9, 20)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 100), holding(1, 1, 2), holding(2, 50, 60)]), 2);
        // Also of one process: a lock is not reentrant.
        assert_eq!(overlaps(&[holding(0, 0, 10), holding(0, 3, 4)]), 1);
    }

    #[test]
    fn readers_may_overlap_each_other_but_no_writer() {
        let reader = |process, from, until| Holding { is_shared: true, ..holding(process, from, until) };
        assert_eq!(overlaps(&[reader(0, 0, 10), reader(1, 5, 15), holding(2, 15, 20)]), 0);
        assert_eq!(overlaps(&[reader(0, 0, 10), holding(1, 9, 20)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 10), reader(1, 9, 20), reader(2, 9, 30)]), 2);
        // A short reader after a long one, and a writer after both.
        assert_eq!(overlaps(&[reader(0, 0, 100), reader(1, 1, 2), holding(2, 50, 60)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 100), reader(1, 1, 2), reader(2, 50, 60), holding(3, 55, 57)]), 3);
    }

    #[test]
    fn a_lock_that_was_over_when_it_became_known_does_not_count() {
        assert_eq!(overlaps(&[holding(0, 0, 10), holding(1, 5, 5)]), 0);
    }

    fn issued(token: u64, before: usize, resources: &[usize]) -> Issued {
        let (token, from, known) = (FencingToken::new(token).unwrap(), Duration::ZERO, Duration::ZERO);
        Issued { process: 0, resources: resources.iter().copied().collect(), token, before, from, known }
    }

    fn disorders(issued: Vec<Issued>) -> Vec<Disorder> {
        Ledger { issued, ..Ledger::default() }.disorders()
    }

    #[test]
    fn tokens_grow_with_the_calls_that_follow_each_other() {
        assert_eq!(disorders(vec![issued(5, 0, &[0]), issued(6, 1, &[0]), issued(9, 2, &[0, 1])]), []);
        let back = [issued(6, 0, &[0]), issued(5, 1, &[0, 1])];
        assert_eq!(disorders(back.to_vec()), [Disorder::Backwards(back[0].clone(), back[1].clone())]);
        // Concurrent calls come in any order, and other resources have other tokens.
        assert_eq!(disorders(vec![issued(6, 0, &[0]), issued(5, 0, &[0])]), []);
        assert_eq!(disorders(vec![issued(6, 0, &[0]), issued(5, 1, &[1])]), []);
    }

    #[test]
    fn no_token_is_issued_twice_for_one_resource() {
        let twice = [issued(6, 0, &[0]), issued(6, 0, &[1, 0])];
        assert_eq!(disorders(twice.to_vec()), [Disorder::Twice(twice[0].clone(), twice[1].clone())]);
        assert_eq!(disorders(vec![issued(6, 0, &[0]), issued(6, 0, &[1])]), []);
    }

    #[test]
    fn an_act_conflicts_only_with_other_processes() {
        let ms = Duration::from_millis;
        let act = |process, at| Act { process, resource: 0, at: ms(at) };
        let overlaps =
            |acts: Vec<Act>| Ledger { holdings: vec![holding(0, 5, 10)], acts, ..Ledger::default() }.overlaps();
        assert_eq!(overlaps(vec![act(0, 7), act(1, 4), act(1, 10)]), []);
        assert_eq!(overlaps(vec![act(1, 5)]).len(), 1);
    }
}
