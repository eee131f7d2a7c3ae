//! The search: every world that can be reached, the nearest first.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::{BuildHasherDefault, Hash as _, Hasher},
};

use super::{scenario::Scenario, steps::Step, world::World};

/// The result of a search.
pub(super) struct Found {
    /// How many different worlds were reached.
    pub(super) worlds: usize,
    /// The shortest way to a world that was wanted, if there is one.
    pub(super) way: Option<Way>,
}

/// The steps from the beginning to some world.
pub(super) struct Way {
    pub(super) steps: Vec<Step>,
    pub(super) end: Box<World>,
}

impl Scenario {
    /// Looks for the nearest world that is `wanted`, in all that can be reached.
    pub(super) fn search(&self, wanted: impl Fn(&World) -> bool) -> Found {
        let first = World::new(self);
        let mut seen = HashSet::<u64, BuildHasherDefault<Same>>::default();
        seen.insert(fingerprint(&first));
        // Each with the step to it and the number of the world before.
        let mut reached = vec![(Step::Tick, 0_u32)];
        let mut next = VecDeque::from([(0_u32, first)]);
        let mut end = None;
        while let Some((before, world)) = next.pop_front() {
            world.steps(self, |step, world| {
                if end.is_none() && seen.insert(fingerprint(&world)) {
                    let number = reached.len() as u32;
                    reached.push((step, before));
                    if wanted(&world) {
                        end = Some(Box::new(world));
                    } else {
                        next.push_back((number, world));
                    }
                }
            });
            if end.is_some() {
                break;
            }
        }
        let way = end.map(|end| Way { steps: steps_to_last(&reached), end });
        Found { worlds: reached.len(), way }
    }
}

fn steps_to_last(reached: &[(Step, u32)]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = reached.len() - 1;
    while at > 0 {
        let (step, before) = reached[at];
        steps.push(step);
        at = before as usize;
    }
    steps.reverse();
    steps
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.end.broken.unwrap_or("found"))?;
        (1..).zip(&self.steps).try_for_each(|(number, step)| writeln!(f, "{number:4}. {step:?}"))
    }
}

/// Worlds that differ only in the names of the nodes count as one.
fn fingerprint(world: &World) -> u64 {
    let mut nodes: Vec<_> = (0..world.nodes.len()).map(|node| hash(|mix| world.hash_node(node, mix))).collect();
    nodes.sort_unstable();
    hash(|mix| {
        world.hash_rest(mix);
        nodes.hash(mix);
    })
}

fn hash(add: impl FnOnce(&mut Mix)) -> u64 {
    let mut mix = Mix(0x9e37_79b9_7f4a_7c15);
    add(&mut mix);
    mix.finish()
}

/// A hash that takes little time in a debug build.
struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0xd6e8_feb8_6659_fd93_u64 | 1);
        self.0 = ((product >> 64) as u64 ^ product as u64).wrapping_add(0x2545_f491_4f6c_dd1d);
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Fingerprints are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a fingerprint is one number");
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
