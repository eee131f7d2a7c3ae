//! The error for a number of permits that a semaphore cannot have.

use crate::names::{Named, Resource};

/// A number of permits that a semaphore cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermitsError {
    /// There are no permits. Nothing was sent.
    #[error("a semaphore needs at least one permit")]
    Zero,
    /// There are more permits than [`Permit::MAX`](crate::Permit::MAX). Nothing was sent.
    #[error("{permits} permits are too many: a semaphore has at most {}", Self::MAX)]
    TooMany {
        /// The requested number.
        permits: u32,
    },
    /// The options request a shared lock. Nothing was sent.
    #[error("a permit cannot be shared, its slot has one holder: remove `AcquireOptions::shared`")]
    Shared,
    /// A quorum of the nodes has another number of permits for this name, and one of them is held.
    #[error(
        "the permits of {name} are {found}, not {asked}: all callers must use the same number; \
         it can change once nobody holds a permit",
        name = Named(.resource)
    )]
    Different {
        /// The name of the semaphore.
        resource: Resource,
        /// The requested number.
        asked: u32,
        /// The number that is in use.
        found: u32,
    },
}

impl PermitsError {
    /// The greatest number of permits. A node checks all slots in one step, and serves no other client meanwhile.
    pub(crate) const MAX: u32 = 4096;

    /// Returns an error if no semaphore can have this many permits.
    pub(crate) fn check(permits: u32) -> Result<(), Self> {
        match permits {
            0 => Err(Self::Zero),
            1..=Self::MAX => Ok(()),
            permits => Err(Self::TooMany { permits }),
        }
    }
}
