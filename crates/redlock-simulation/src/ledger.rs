//! What the processes believe, kept as they tell it, and two oracles: two must never believe at once, and
//! fencing tokens order them.

use std::{collections::BTreeSet, fmt, time::Duration};

use redlock_core::{FencingToken, Token};

/// What the processes believe and do. Times are true ones, counted from the start of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Every lock that was taken.
    pub holdings: Vec<Holding>,
    /// Every call to acquire.
    pub calls: Vec<Call>,
    /// What was done under a lock, right after a look at it.
    pub acts: Vec<Act>,
    /// Every fencing token, in the order in which they became known.
    pub issued: Vec<Issued>,
    /// Keys that were seen on nodes, where the scope asks for [orphans](Ledger::orphans).
    pub sightings: Vec<Sighting>,
    /// The processes that have closed.
    pub closed: BTreeSet<usize>,
}

/// A fencing token that a call to acquire has returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// To which process.
    pub process: usize,
    /// For which resources.
    pub resources: BTreeSet<usize>,
    /// Which.
    pub token: FencingToken,
    /// How many were known when the call was made: finer than time, which may stand still meanwhile.
    pub before: usize,
    /// When the call was made.
    pub from: Duration,
    /// When it became known.
    pub known: Duration,
}

/// Two fencing tokens of one resource that do not tell who came later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disorder {
    /// They are one.
    Twice(Issued, Issued),
    /// The first was known before the call for the second began, and is greater.
    Backwards(Issued, Issued),
}

/// A lock that a process believes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Which process.
    pub process: usize,
    /// Which resource.
    pub resource: usize,
    /// Its token.
    pub token: Token,
    /// Whether it shares the lock with other readers.
    pub is_shared: bool,
    /// Since when the process knows.
    pub from: Duration,
    /// Until when it believes.
    pub until: Duration,
}

/// A key that was seen on a node all the time, while the process whose token it holds could reach the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The process whose token it holds.
    pub process: usize,
    /// On which node.
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
    /// Which process.
    pub process: usize,
    /// Which resource.
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
    /// Dropped half-way.
    Dropped,
}

/// Something done under a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Act {
    /// By which process.
    pub process: usize,
    /// Under which lock.
    pub resource: usize,
    /// When.
    pub at: Duration,
}

/// Two that believe in one lock, or one that acts while another believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// Two hold it at once.
    Holders(Holding, Holding),
    /// One acts while the other holds it.
    Actor(Act, Holding),
}

impl Ledger {
    /// Every place where two processes are in each other's way: a writer together with anybody.
    #[must_use]
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut holdings: Vec<_> = self.holdings.iter().filter(|holding| holding.from < holding.until).collect();
        holdings.sort_by_key(|holding| (holding.resource, holding.from));
        let mut overlaps = Vec::new();
        // Of writers, and of readers, the one that stays longest.
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

    /// Every two fencing tokens that do not tell who came later.
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
        write!(f, "{token} to process-{process} for {resources:?}, asked for at {from:?}, known at {known:?}")
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
    fn every_overlap_is_found_also_under_a_long_one() {
        assert_eq!(overlaps(&[holding(0, 0, 10), holding(1, 9, 20)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 100), holding(1, 1, 2), holding(2, 50, 60)]), 2);
        // Also of one process: a lock is not reentrant.
        assert_eq!(overlaps(&[holding(0, 0, 10), holding(0, 3, 4)]), 1);
    }

    #[test]
    fn readers_overlap_each_other_and_no_writer_overlaps_anybody() {
        let reader = |process, from, until| Holding { is_shared: true, ..holding(process, from, until) };
        assert_eq!(overlaps(&[reader(0, 0, 10), reader(1, 5, 15), holding(2, 15, 20)]), 0);
        assert_eq!(overlaps(&[reader(0, 0, 10), holding(1, 9, 20)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 10), reader(1, 9, 20), reader(2, 9, 30)]), 2);
        // A short reader behind a long one, and a writer behind both.
        assert_eq!(overlaps(&[reader(0, 0, 100), reader(1, 1, 2), holding(2, 50, 60)]), 1);
        assert_eq!(overlaps(&[holding(0, 0, 100), reader(1, 1, 2), reader(2, 50, 60), holding(3, 55, 57)]), 3);
    }

    #[test]
    fn a_lock_that_was_over_when_it_was_known_is_none() {
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
        // Calls at the same time come in any order, and other resources have other tokens.
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
    fn an_act_counts_against_others_only() {
        let ms = Duration::from_millis;
        let act = |process, at| Act { process, resource: 0, at: ms(at) };
        let overlaps =
            |acts: Vec<Act>| Ledger { holdings: vec![holding(0, 5, 10)], acts, ..Ledger::default() }.overlaps();
        assert_eq!(overlaps(vec![act(0, 7), act(1, 4), act(1, 10)]), []);
        assert_eq!(overlaps(vec![act(1, 5)]).len(), 1);
    }
}
