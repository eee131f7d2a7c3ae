//! Records of the locks that a registry has dropped: the last of them, in bounded memory.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::Key;

/// Records of the locks that a registry has dropped: the last of them, in bounded memory, about 100 bytes each.
#[derive(Default)]
pub(crate) struct Departures {
    /// By the hashes of their keys: names may be long.
    notes: HashMap<u64, (u64, Departure)>,
    /// The hashes, the oldest record first.
    order: BTreeMap<u64, u64>,
    numbers: u64,
    hasher: RandomState,
}

/// A lock that its registry has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Departure {
    /// When its validity ends or has ended, on the fleet's clock.
    pub(crate) deadline: Duration,
    /// Whether it was valid when it was dropped.
    pub(crate) was_valid: bool,
}

impl Departures {
    const MOST: usize = 65_536;

    /// Adds a record, and replaces the one under the same key. Forgets the oldest.
    pub(crate) fn note(&mut self, key: &Key, departure: Departure) {
        self.take(key);
        self.numbers += 1;
        let hash = self.hasher.hash_one(key);
        self.order.insert(self.numbers, hash);
        self.notes.insert(hash, (self.numbers, departure));
        if self.notes.len() > Self::MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.notes.remove(&oldest);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.notes.len()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Departure> {
        self.notes.get(&self.hasher.hash_one(key)).map(|(_, departure)| *departure)
    }

    /// Removes and returns a record.
    pub(crate) fn take(&mut self, key: &Key) -> Option<Departure> {
        let (number, departure) = self.notes.remove(&self.hasher.hash_one(key))?;
        self.order.remove(&number);
        Some(departure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{named::key::Caller, names::Resource};

    fn key(name: impl AsRef<str>) -> Key {
        Key::new(Resource::new(name).unwrap(), Caller::current())
    }

    fn departure(seconds: u64) -> Departure {
        Departure { deadline: Duration::from_secs(seconds), was_valid: true }
    }

    #[test]
    fn a_record_is_kept_until_it_is_taken() {
        let mut departures = Departures::default();
        departures.note(&key("a"), departure(1));
        assert_eq!((departures.get(&key("a")), departures.get(&key("b"))), (Some(departure(1)), None));
        assert_eq!(departures.take(&key("a")), Some(departure(1)));
        assert_eq!(departures.take(&key("a")), None);
        assert_eq!((departures.order.len(), departures.len()), (0, 0));
    }

    #[test]
    fn the_latest_records_are_kept_and_a_replaced_record_counts_as_new() {
        let mut departures = Departures::default();
        for number in 0..Departures::MOST {
            departures.note(&key(format!("r{number}")), departure(number as u64));
        }
        departures.note(&key("r0"), departure(7));
        assert_eq!(departures.len(), Departures::MOST);
        departures.note(&key("one more"), departure(8));
        assert_eq!(departures.len(), Departures::MOST);
        assert_eq!(departures.get(&key("r0")), Some(departure(7)));
        assert_eq!(departures.get(&key("r1")), None);
        assert_eq!(departures.get(&key("r2")), Some(departure(2)));
        assert_eq!(departures.order.len(), Departures::MOST);
    }
}
