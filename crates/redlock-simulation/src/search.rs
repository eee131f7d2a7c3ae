//! Plays many cases, each made from one number, and shrinks the first one that breaks a promise.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use proptest::{
    strategy::{BoxedStrategy, Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    case::Case,
    play::{Played, play},
    sabotage::Sabotage,
    scope::Scope,
    shrink::{Tree, shrink},
    violation::{Oracle, Violation},
};

/// Many cases, one after the other, on all cores.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Which assumptions hold. By default every fourth case has a healthy majority, and is checked for progress; every
    /// eighth is [`Scope::Fenced`], every eighth [`Scope::Guarded`], every eighth [`Scope::Shared`], every sixteenth a
    /// rolling restart, every sixteenth [`Scope::Waiting`], every sixteenth [`Scope::Orphans`], every sixteenth
    /// [`Scope::Permits`]; all others are [`Scope::Promised`].
    pub scope: Option<Scope>,
    /// The seed of the first case. Each next case has the next number.
    pub seed: u64,
    /// How many cases to play.
    pub cases: u64,
    /// The part that is broken on purpose.
    pub sabotage: Sabotage,
    /// The only invariant checker to run; `None` for all of them.
    pub oracle: Option<Oracle>,
}

/// A case in which something happened that must never happen.
#[derive(Debug)]
pub struct Found {
    /// The number that it was made from.
    pub seed: u64,
    /// Which assumptions hold in it.
    pub scope: Scope,
    /// The violation that was found before the case was shrunk.
    pub violation: Violation,
    /// The smallest case that was found to break the same promise.
    pub case: Case,
    /// The result of that case.
    pub played: Played,
}

/// Counts what was played.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases.
    pub cases: AtomicU64,
    /// Locks that were acquired.
    pub locks: AtomicU64,
    /// Requests that were sent.
    pub requests: AtomicU64,
    /// Faults that happened to the fleets.
    pub events: AtomicU64,
}

impl Search {
    /// Plays until something is found, or until all cases are played.
    ///
    /// # Panics
    ///
    /// If a check panics.
    #[must_use]
    pub fn run(&self, tally: &Tally) -> Option<Found> {
        let next = AtomicU64::new(0);
        let found = Mutex::new(None::<(u64, Scope, Violation)>);
        let is_found = || found.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        thread::scope(|threads| {
            for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
                threads.spawn(|| {
                    let mut generators = Generators::default();
                    while !is_found() {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.cases {
                            break;
                        }
                        let seed = self.seed.wrapping_add(number);
                        let scope = self.scope_of(seed);
                        let case = generators.tree(scope, seed).current();
                        let played = play(&case, scope, self.sabotage);
                        tally.count(&case, &played);
                        if let Some(violation) = played.violations.into_iter().find(|found| self.asks(found.oracle)) {
                            // Keep the one with the smallest seed, so that the same search finds the same case.
                            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                            if found.as_ref().is_none_or(|(before, ..)| seed < *before) {
                                *found = Some((seed, scope, violation));
                            }
                        }
                    }
                });
            }
        });
        let (seed, scope, violation) = found.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        let tree = Generators::default().tree(scope, seed);
        let guilty = |case: &Case| {
            let played = play(case, scope, self.sabotage);
            played.violations.iter().any(|found| found.oracle == violation.oracle)
        };
        let case = shrink(tree, guilty);
        let played = play(&case, scope, self.sabotage);
        Some(Found { seed, scope, violation, case, played })
    }

    fn asks(&self, oracle: Oracle) -> bool {
        self.oracle.is_none_or(|asked| asked == oracle)
    }

    fn scope_of(&self, seed: u64) -> Scope {
        self.scope.unwrap_or(match seed % 16 {
            0 | 4 | 8 | 12 => Scope::Healthy,
            1 => Scope::RollingRestarts,
            2 | 10 => Scope::Fenced,
            3 => Scope::Waiting,
            5 => Scope::Orphans,
            7 => Scope::Permits,
            11 | 15 => Scope::Shared,
            6 | 14 => Scope::Guarded,
            _ => Scope::Promised,
        })
    }
}

/// Returns the case that is made from this number.
#[must_use]
pub fn case(scope: Scope, seed: u64) -> Case {
    Generators::default().tree(scope, seed).current()
}

/// The strategies, made once.
#[derive(Default)]
struct Generators(Vec<(Scope, BoxedStrategy<Case>)>);

impl Generators {
    fn tree(&mut self, scope: Scope, seed: u64) -> Tree {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(seed.to_le_bytes()).for_each(|(byte, of_seed)| *byte = of_seed);
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random);
        loop {
            if let Some((_, cases)) = self.0.iter().find(|(known, _)| *known == scope) {
                // Only strategies with filters refuse, and ours have none.
                if let Ok(tree) = cases.new_tree(&mut runner) {
                    return tree;
                }
            } else {
                self.0.push((scope, scope.cases()));
            }
        }
    }
}

impl Tally {
    fn count(&self, case: &Case, played: &Played) {
        let add = |counter: &AtomicU64, number: usize| counter.fetch_add(number as u64, Ordering::Relaxed);
        add(&self.cases, 1);
        add(&self.locks, played.ledger.holdings.len() + played.ledger.permits.len());
        add(&self.requests, played.records.len());
        add(&self.events, case.history.events.len());
    }
}
