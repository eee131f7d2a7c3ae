//! The name that is locked.

use std::{borrow::Borrow, fmt, sync::Arc};

/// The name that is locked, which is also the Redis key: 1 to 65,536 bytes of UTF-8, spaces and NUL included.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The longest name, in bytes. Redis itself would take 512 MiB; a name that long is a mistake, and it would be
    /// sent to every node in every round.
    pub const MAX_LEN: usize = 64 * 1024;

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

/// A name that cannot be locked.
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
