//! The name of a resource that is locked, and the keys that belong to it.

use std::{borrow::Borrow, convert::Infallible, fmt, sync::Arc};

use super::hash_slot::hash_tag;

/// The name that is locked. It is also the Redis key, after a [prefix](crate::RedlockBuilder::key_prefix) if there is
/// one: 1 to 65,536 bytes of UTF-8, including spaces and NUL.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The longest name, in bytes. Redis itself would accept 512 MiB; a name that long is a mistake, and it would be
    /// sent to every node in every round.
    pub const MAX_LEN: usize = 64 * 1024;

    /// Maximum number of names that can be locked together.
    pub(crate) const MAX_TOGETHER: usize = 256;

    /// The text after the name in the key of its fencing counter.
    const FENCE: &str = ":fence";

    /// The text after the name in the key of its wait queue.
    const WAITERS: &str = ":redlock:waiters";

    /// The text after the name in the key of the number of permits, before the number of a slot, and in the name of the
    /// wait queue for all slots.
    pub(super) const PERMITS: &str = ":permits";
    pub(super) const PERMIT: &str = ":permit:";
    pub(super) const PERMIT_QUEUE: &str = ":redlock:permits";

    /// The text after the name in the key of a writer's intent, which keeps new readers out.
    const INTENT: &str = ":redlock:writer";

    /// Creates a resource from a name.
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

    /// Returns the key of this name: the name with a prefix.
    pub(crate) fn prefixed(&self, prefix: &str) -> Result<Self, ResourceError> {
        let len = prefix.len() + self.0.len();
        if len > Self::MAX_LEN {
            return Err(ResourceError::KeyTooLong { len, prefix: prefix.len() });
        }
        Ok(Self([prefix, &self.0].concat().into()))
    }

    /// Returns the key of the fencing counter of this key, in the same hash slot of a Redis Cluster if possible.
    pub(crate) fn counter(&self) -> Result<Self, ResourceError> {
        // Two keys that differ only in the braces share a counter, which is harmless: it only increases.
        let counter = self.in_its_slot(Self::FENCE);
        if counter.len() > Self::MAX_LEN {
            return Err(ResourceError::CounterTooLong { len: self.0.len() });
        }
        Ok(Self(counter.into()))
    }

    /// Returns the key of the wait queue of this key, if there is room for it. It is not in the same hash slot, because
    /// a Redis Cluster has no wait queues. It begins like the key, so that a user who may access the key may access the
    /// queue.
    pub(crate) fn waiters(&self) -> Option<Self> {
        let has_room = self.0.len() + Self::WAITERS.len() <= Self::MAX_LEN;
        has_room.then(|| Self([&self.0, Self::WAITERS].concat().into()))
    }

    /// Returns the key of a writer's intent for this key, if there is room for it. On a cluster it is in the same hash
    /// slot. Elsewhere it begins like the key, so that a user who may access the key may access the intent.
    pub(crate) fn intent(&self, is_cluster: bool) -> Option<Self> {
        let intent = if is_cluster { self.in_its_slot(Self::INTENT) } else { [&self.0, Self::INTENT].concat() };
        (intent.len() <= Self::MAX_LEN).then(|| Self(intent.into()))
    }

    /// Returns a key with this suffix, in the same hash slot of a Redis Cluster if possible.
    fn in_its_slot(&self, suffix: &str) -> String {
        match hash_tag(&self.0) {
            Some(_) => [&self.0, suffix].concat(),
            None => ["{", &self.0, "}", suffix].concat(),
        }
    }

    /// Returns whether this is the wait queue of a semaphore, which several callers can hold at the same time.
    pub(crate) fn is_permit_queue(&self) -> bool {
        self.0.ends_with(Self::PERMIT_QUEUE)
    }

    /// Returns whether the library may use this key itself, for the wait queue, a writer's intent, the fencing counter
    /// or the permits of another name. A lock with that name would block the other one.
    pub(crate) fn is_reserved(&self) -> bool {
        let suffixes = [Self::WAITERS, Self::INTENT, Self::FENCE, Self::PERMIT_QUEUE];
        suffixes.iter().any(|suffix| self.0.ends_with(suffix)) || self.is_permit()
    }

    /// Returns whether this is the key of a slot or of the number of permits. All of these have braces.
    fn is_permit(&self) -> bool {
        self.0.contains('{') && self.0.ends_with(Self::PERMITS) || self.semaphore().is_some()
    }

    /// Returns the name of the semaphore, if this is the key of one of its slots.
    pub(crate) fn semaphore(&self) -> Option<&str> {
        let is_slot = |slot: &str| !slot.is_empty() && slot.bytes().all(|digit| digit.is_ascii_digit());
        let (tagged, _) = self.0.rsplit_once(Self::PERMIT).filter(|(_, slot)| is_slot(slot))?;
        let name = tagged.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        name.filter(|name| hash_tag(name).is_none()).or_else(|| tagged.contains('{').then_some(tagged))
    }

    /// Returns the name.
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

/// A name, quoted, escaped and cut to a readable length: safe to print.
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
        /// The name's length in bytes.
        len: usize,
    },
    /// The name and the [key prefix](crate::RedlockBuilder::key_prefix) together are longer than [`Resource::MAX_LEN`].
    #[error(
        "the key of the resource has {len} bytes, {prefix} of them its prefix; at most {} are allowed: shorten the name",
        Resource::MAX_LEN
    )]
    KeyTooLong {
        /// The key's length in bytes.
        len: usize,
        /// The prefix's length in bytes.
        prefix: usize,
    },
    /// The key leaves no room for the key of its fencing counter.
    #[error("the key of the resource has {len} bytes, which leaves no room for its fencing counter: shorten the name")]
    CounterTooLong {
        /// The key's length in bytes.
        len: usize,
    },
    /// The key leaves no room for the keys of its permits.
    #[error("the key of the resource has {len} bytes, which leaves no room for its permits: shorten the name")]
    PermitsTooLong {
        /// The key's length in bytes.
        len: usize,
    },
    /// The key is reserved for a fencing counter, the restart guard, a wait queue or permits: names that end in
    /// `:fence`, `:redlock:waiters`, `:redlock:writer` or `:redlock:permits`, and names with a brace that end in
    /// `:permits`, or in `:permit:` and a number.
    #[error(
        "the key {key:?} is used for a fencing counter, the restart guard, waiters or permits: choose another name"
    )]
    Reserved {
        /// The key.
        key: String,
    },
    /// No name was given.
    #[error("there are no resources: give at least one name")]
    None,
    /// More names were given than [`Resources::MAX`](crate::Resources::MAX).
    #[error(
        "more than {} resources cannot be locked together: lock one name that represents all of them",
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
    fn a_name_may_contain_anything_but_must_not_be_empty() {
        assert_eq!(Resource::new(""), Err(ResourceError::Empty));
        assert_eq!(Resource::new("a b\0c").unwrap().as_str(), "a b\0c");
    }

    #[test]
    fn a_name_is_printed_as_it_is_and_quoted_in_debug_output() {
        let resource = Resource::new("invoice\n42").unwrap();
        assert_eq!(resource.to_string(), "invoice\n42");
        assert_eq!(format!("{resource:?}"), r#""invoice\n42""#);
    }

    #[test]
    fn a_map_keyed_by_resource_can_be_queried_by_name() {
        let map = std::collections::HashMap::from([(Resource::new("a").unwrap(), 1), (Resource::new("b").unwrap(), 2)]);
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (Some(&1), Some(&2), None));
    }

    #[test]
    fn a_name_has_a_maximum_length() {
        assert!(Resource::new("x".repeat(65_536)).is_ok());
        let len = 65_536 + 1;
        assert_eq!(Resource::new("x".repeat(len)), Err(ResourceError::TooLong { len }));
    }
}
