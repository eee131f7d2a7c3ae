//! The search: visits every reachable world, the nearest first.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    protocol::{Protocol, Step},
    world::World,
};

/// The result of a search.
pub(crate) struct Found<const R: usize> {
    /// How many different worlds were reached, and by how many steps that changed something.
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The shortest way to a wanted world, if there is one.
    pub(crate) way: Option<Way<R>>,
}

/// A starting world and the steps from it, each with the world after it.
pub(crate) struct Way<const R: usize>(Vec<(Option<Step>, World<R>)>);

impl<const R: usize> Protocol<R> {
    /// Searches all reachable worlds for the nearest one that is `wanted`.
    pub(crate) fn search(&self, mut wanted: impl FnMut(&World<R>) -> bool) -> Found<R> {
        let mut seen = HashSet::<u128, BuildHasherDefault<Low>>::default();
        // The worlds still to visit. For those already visited, only the way is kept: the step, and the number of the
        // world before.
        let mut open: VecDeque<World<R>> = self.beginnings().collect();
        let beginnings: Vec<_> = open.iter().cloned().collect();
        let mut reached: Vec<Option<(Step, u32)>> = vec![None; open.len()];
        seen.extend(open.iter().map(World::code));
        let (mut steps, mut next, mut found) = (0, 0, false);
        while let Some(before) = open.pop_front() {
            self.steps(&before, |step, world| {
                if found || world == before {
                    return;
                }
                steps += 1;
                if seen.insert(world.code()) {
                    reached.push(Some((step, next)));
                    found = wanted(&world);
                    open.push_back(world);
                }
            });
            if found {
                break;
            }
            next += 1;
        }
        let way = found.then(|| self.way_to_last(&beginnings, &reached));
        Found { states: reached.len(), steps, way }
    }

    /// Repeats the steps to the last world.
    fn way_to_last(&self, beginnings: &[World<R>], reached: &[Option<(Step, u32)>]) -> Way<R> {
        let (mut taken, mut at) = (Vec::new(), reached.len() - 1);
        while let Some((step, before)) = reached[at] {
            taken.push(step);
            at = before as usize;
        }
        let mut way = vec![(None, beginnings[at].clone())];
        for wanted in taken.into_iter().rev() {
            let mut after = None;
            self.steps(&way[way.len() - 1].1, |step, world| {
                if step == wanted {
                    after = Some(world);
                }
            });
            way.push((Some(wanted), after.expect("the step was taken before")));
        }
        Way(way)
    }
}

impl<const R: usize> fmt::Display for Way<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (step, world)) in self.0.iter().enumerate() {
            let step = step.map_or("the beginning".to_owned(), |step| step.describe::<R>());
            writeln!(f, "{number:4}. {step:58}{world}")?;
        }
        Ok(())
    }
}

/// The low half of a number that is already a hash.
#[derive(Default)]
struct Low(u64);

impl Hasher for Low {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the code of a world is one number");
    }

    fn write_u128(&mut self, code: u128) {
        self.0 = code as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
