//! The name of what is locked, and the keys that belong to it.

use std::{borrow::Borrow, convert::Infallible, fmt, sync::Arc};

use super::hash_slot::hash_tag;

/// The name that is locked, which is also the Redis key, behind a [prefix](crate::RedlockBuilder::key_prefix) if there is
/// one: 1 to 65,536 bytes of UTF-8, spaces and NUL included.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The longest name, in bytes. Redis itself would take 512 MiB; a name that long is a mistake, and it would be
    /// sent to every node in every round.
    pub const MAX_LEN: usize = 64 * 1024;

    /// How many names can be locked together.
    pub(crate) const MAX_TOGETHER: usize = 256;

    /// What is behind the name in the key of its fencing counter.
    const FENCE: &str = ":fence";

    /// What is behind the name in the key of those who wait for it.
    const WAITERS: &str = ":redlock:waiters";

    /// What is behind the name in the key of a writer's intent, which keeps new readers out.
    const INTENT: &str = ":redlock:writer";

    /// Takes a name.
    ///
    /// # Errors
    ///
    /// If the name is empty or longer than [`Resource::MAX_LEN`].
    pub fn new(name: impl AsRef<str>) -> Result<Self, ResourceError> {
        match name.as_ref() {
            "" => Err(ResourceError::Empty),
            name if name.len() > Self::MAX_LEN => Err(ResourceError::TooLong { len: name.len() }),
            name => Ok(Self(name.into())),
        }
    }

    /// The key of this name: with a prefix.
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Self, ResourceError> {
        let len = prefix.len() + self.0.len();
        if len > Self::MAX_LEN {
            return Err(ResourceError::KeyTooLong { len, prefix: prefix.len() });
        }
        Ok(Self([prefix, &self.0].concat().into()))
    }

    /// The key of the fencing counter beside this key, in the same hash slot of a Redis Cluster, wherever there can be one.
    pub(crate) fn counter(&self) -> Result<Self, ResourceError> {
        // Two keys that differ in the braces alone share a counter, which is no harm: it only ever counts up.
        let counter = self.in_its_slot(Self::FENCE);
        if counter.len() > Self::MAX_LEN {
            return Err(ResourceError::CounterTooLong { len: self.0.len() });
        }
        Ok(Self(counter.into()))
    }

    /// The key of those who wait for this key, if there is room for it. Not in the same hash slot: nobody waits so on a
    /// Redis Cluster. It begins as the key does, so that a user who may touch the one may touch the other.
    pub(crate) fn waiters(&self) -> Option<Self> {
        let has_room = self.0.len() + Self::WAITERS.len() <= Self::MAX_LEN;
        has_room.then(|| Self([&self.0, Self::WAITERS].concat().into()))
    }

    /// The key of a writer's intent beside this key, if there is room for it: on a cluster in the same hash slot, elsewhere
    /// with the same beginning, so that a user who may touch the one may touch the other.
    pub(crate) fn intent(&self, is_cluster: bool) -> Option<Self> {
        let intent = if is_cluster { self.in_its_slot(Self::INTENT) } else { [&self.0, Self::INTENT].concat() };
        (intent.len() <= Self::MAX_LEN).then(|| Self(intent.into()))
    }

    /// A key with this behind the name, in the same hash slot of a Redis Cluster, wherever there can be one.
    fn in_its_slot(&self, suffix: &str) -> String {
        match hash_tag(&self.0) {
            Some(_) => [&self.0, suffix].concat(),
            None => ["{", &self.0, "}", suffix].concat(),
        }
    }

    /// Whether the library may use this key itself, for the waiters, a writer's intent or the fencing counter of another
    /// name. A lock with that name would block the other one.
    pub(crate) fn is_reserved(&self) -> bool {
        [Self::WAITERS, Self::INTENT, Self::FENCE].iter().any(|suffix| self.0.ends_with(suffix))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Resource {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name in quotes and escaped, cut to a readable length: safe to print.
pub(crate) struct Named<'a>(pub(crate) &'a Resource);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const READABLE: usize = 200;
        let name = self.0.as_str();
        match name.char_indices().nth(READABLE) {
            Some((cut, _)) => write!(f, "{:?}... ({} bytes)", name.get(..cut).unwrap_or_default(), name.len()),
            None => write!(f, "{name:?}"),
        }
    }
}

/// A name, or a set of names, that cannot be locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// The name is empty.
    #[error("the resource name is empty")]
    Empty,
    /// The name is longer than [`Resource::MAX_LEN`].
    #[error("the resource name has {len} bytes, at most {} are allowed", Resource::MAX_LEN)]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The name and the [key prefix](crate::RedlockBuilder::key_prefix) are longer together than [`Resource::MAX_LEN`].
    #[error(
        "the key of the resource has {len} bytes, {prefix} of them its prefix; at most {} are allowed: shorten the name",
        Resource::MAX_LEN
    )]
    KeyTooLong {
        /// The key's length in bytes.
        len: usize,
        /// The prefix' length in bytes.
        prefix: usize,
    },
    /// The key leaves no room for that of its fencing counter.
    #[error("the key of the resource has {len} bytes, which leaves no room for its fencing counter: shorten the name")]
    CounterTooLong {
        /// The key's length in bytes.
        len: usize,
    },
    /// The key is that of a fencing counter, of the restart guard, or of those who wait for a lock: names that end in
    /// `:fence`, `:redlock:waiters` or `:redlock:writer`.
    #[error("the key {key:?} is used for a fencing counter, the restart guard or waiters: choose another name")]
    Reserved {
        /// The key.
        key: String,
    },
    /// No name was given.
    #[error("there are no resources: give at least one name")]
    None,
    /// More names were given than [`Resources::MAX`](crate::Resources::MAX).
    #[error(
        "more than {} resources cannot be locked together: lock a name that stands for all of them",
        Resource::MAX_TOGETHER
    )]
    TooMany,
}

impl From<Infallible> for ResourceError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything_but_nothing() {
        assert_eq!(Resource::new(""), Err(ResourceError::Empty));
        assert_eq!(Resource::new("a b\0c").unwrap().as_str(), "a b\0c");
    }

    #[test]
    fn a_name_is_printed_as_it_is_and_for_debugging_quoted() {
        let resource = Resource::new("invoice\n42").unwrap();
        assert_eq!(resource.to_string(), "invoice\n42");
        assert_eq!(format!("{resource:?}"), r#""invoice\n42""#);
    }

    #[test]
    fn a_map_by_resource_is_asked_by_name() {
        let map = std::collections::HashMap::from([(Resource::new("a").unwrap(), 1), (Resource::new("b").unwrap(), 2)]);
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (Some(&1), Some(&2), None));
    }

    #[test]
    fn a_name_has_a_greatest_length() {
        assert!(Resource::new("x".repeat(65_536)).is_ok());
        let len = 65_536 + 1;
        assert_eq!(Resource::new("x".repeat(len)), Err(ResourceError::TooLong { len }));
    }
}
