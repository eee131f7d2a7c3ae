//! The search: visits every reachable world, the nearest first.

use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    protocol::{Protocol, Step},
    world::World,
};

/// The result of a search.
pub(crate) struct Found<const N: usize, const C: usize> {
    /// How many different worlds were reached, and by how many steps that changed something.
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// The shortest way to a wanted world, if there is one.
    pub(crate) way: Option<Way<N, C>>,
}

/// The steps from the beginning to some world, each with the world after it.
pub(crate) struct Way<const N: usize, const C: usize>(Vec<(Step, World<N, C>)>);

impl<const N: usize, const C: usize> Protocol<N, C> {
    /// Searches all reachable worlds for the nearest one that is `wanted`.
    pub(crate) fn search(&self, mut wanted: impl FnMut(Step, &World<N, C>) -> bool) -> Found<N, C> {
        let mut seen = HashSet::<_, BuildHasherDefault<Mix>>::default();
        seen.insert(World::<N, C>::NEW.code());
        // Each with the step that leads to it and the number of the world before.
        let mut reached = vec![(World::NEW, Step::Tick, 0)];
        let (mut steps, mut next, mut found) = (0, 0, false);
        while let Some(&(before, ..)) = reached.get(next) {
            self.steps(&before, |step, world| {
                if found || world == before {
                    return;
                }
                steps += 1;
                if seen.insert(world.code()) {
                    reached.push((world, step, next));
                    found = wanted(step, &world);
                }
            });
            if found {
                break;
            }
            next += 1;
        }
        Found { states: reached.len(), steps, way: found.then(|| Way::to_last(&reached)) }
    }
}

impl<const N: usize, const C: usize> Way<N, C> {
    fn to_last(reached: &[(World<N, C>, Step, usize)]) -> Self {
        let mut way = Vec::new();
        let mut at = reached.len() - 1;
        while at > 0 {
            let (world, step, before) = reached[at];
            way.push((step, world));
            at = before;
        }
        way.reverse();
        Self(way)
    }

    /// Returns the world that it leads to.
    pub(crate) fn end(&self) -> World<N, C> {
        self.0.last().map_or(World::NEW, |(_, world)| *world)
    }
}

impl<const N: usize, const C: usize> fmt::Display for Way<N, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (step, world)) in (1..).zip(&self.0) {
            writeln!(f, "{number:4}. {:50}{world}", step.to_string())?;
        }
        Ok(())
    }
}

/// A hash of one number that is fast even in a debug build.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, _: &[u8]) {
        unreachable!("the code of a world is one number");
    }

    fn write_u64(&mut self, code: u64) {
        self.0 = code.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
