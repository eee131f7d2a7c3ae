//! The keys of one semaphore: its slots, the number of its permits, and its wait queue.

use super::{
    hash_slot::hash_tag,
    resource::{Resource, ResourceError},
};

/// The keys of one semaphore on the nodes. All but the wait queue are in one hash slot of a Redis Cluster.
#[derive(Debug, Clone)]
pub(crate) struct PermitKeys {
    /// Holds the number of permits.
    count: Resource,
    /// The name of the wait queue. It is not a key itself; only the key of its waiters exists.
    queue: Resource,
    /// The keys of the slots, without the number of the slot.
    slots: Box<str>,
}

impl PermitKeys {
    /// Creates the keys of the semaphore with this key and this many permits.
    pub(crate) fn new(key: &Resource, permits: u32) -> Result<Self, ResourceError> {
        let key = key.as_str();
        let too_long = |_| ResourceError::PermitsTooLong { len: key.len() };
        let tagged = if hash_tag(key).is_some() { key.to_owned() } else { format!("{{{key}}}") };
        let keys = Self {
            count: Resource::new(format!("{tagged}{}", Resource::PERMITS)).map_err(too_long)?,
            queue: Resource::new(format!("{key}{}", Resource::PERMIT_QUEUE)).map_err(too_long)?,
            slots: format!("{tagged}{}", Resource::PERMIT).into(),
        };
        // The longest key. A slot without room for its fencing counter cannot be used.
        keys.slot(permits.saturating_sub(1)).and_then(|slot| slot.counter()).map_err(too_long)?;
        Ok(keys)
    }

    pub(crate) fn slot(&self, slot: u32) -> Result<Resource, ResourceError> {
        Resource::new(format!("{}{slot}", self.slots))
    }

    pub(crate) fn count(&self) -> &Resource {
        &self.count
    }

    pub(crate) fn queue(&self) -> &Resource {
        &self.queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::hash_slot;

    fn keys(name: &str) -> PermitKeys {
        PermitKeys::new(&Resource::new(name).unwrap(), 4096).unwrap()
    }

    #[test]
    fn all_keys_of_a_semaphore_are_in_one_hash_slot() {
        for name in ["workers", "{tenant}:workers", "{workers}", "a}b", "{", "{}x", "app:{7}:w"] {
            let keys = keys(name);
            let slots = [0, 7, 4095].map(|slot| keys.slot(slot).unwrap());
            let counters = slots.clone().map(|slot| slot.counter().unwrap());
            let all: Vec<_> = slots.iter().chain(&counters).chain([keys.count()]).collect();
            assert!(all.iter().all(|key| hash_slot(key.as_str()) == hash_slot(all[0].as_str())), "{name}: {all:?}");
            assert!(all.iter().all(|key| key.is_reserved()) && keys.queue().is_reserved(), "{name}: {all:?}");
        }
        for name in ["workers", "{tenant}:workers", "a}b", "{", "{}x", "app:{7}:w"] {
            assert_eq!(keys(name).slot(12).unwrap().semaphore(), Some(name));
        }
        assert_eq!(keys("workers").slot(3).unwrap().as_str(), "{workers}:permit:3");
        assert_eq!(keys("{tenant}:workers").count().as_str(), "{tenant}:workers:permits");
    }

    #[test]
    fn a_name_without_room_for_its_slots_is_refused() {
        // "{", "}:permit:4095" and ":fence".
        let longest = Resource::MAX_LEN - 20;
        let new = |len, permits| PermitKeys::new(&Resource::new("n".repeat(len)).unwrap(), permits);
        assert!(new(longest, 4096).is_ok() && new(longest + 1, 1000).is_ok());
        let error = new(longest + 1, 4096).unwrap_err();
        assert_eq!(error, ResourceError::PermitsTooLong { len: longest + 1 });
        assert!(error.to_string().contains("no room for its permits"), "{error}");
    }

    #[test]
    fn names_like_those_of_permits_stay_free_without_a_hash_tag() {
        for name in ["parking:permits", "a:permit:1", "{a}:permit:", "{a}:permit:x", "{a}:permit:-1", "permits"] {
            assert!(!Resource::new(name).unwrap().is_reserved(), "{name}");
        }
        for name in ["{a}:permits", "{a}:permit:1", "a:redlock:permits"] {
            assert!(Resource::new(name).unwrap().is_reserved(), "{name}");
        }
    }
}
