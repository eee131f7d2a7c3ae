//! The parts of a lock that is being transferred to another process.

use std::time::Duration;

use super::permits_error::PermitsError;
use crate::{
    algorithm::{FencingToken, Ttl, TtlError},
    names::{Owner, ResourceError, Resources, Token},
};

/// A lock that is being transferred from one process to another: [`Lock::into_parts`](crate::Lock::into_parts) returns
/// it, and [`Redlock::resume`](crate::Redlock::resume) accepts it.
///
/// **A secret**: anyone who has it can extend and release the lock. `Debug` shows only the beginning of the token.
/// Nothing extends the lock during the transfer. It ends with its TTL on the nodes, even if the parts are dropped.
///
/// Resume it only once. Otherwise two handles with one token rely on the lock at the same time, and the first one that
/// is released takes the lock away from the other.
///
/// With the feature `serde` it can be serialized, for example as
/// `{"resources":["invoice:42"],"token":"5f0c...","ttl_ms":10000}`, and is checked when it is deserialized. A shared
/// lock has `"shared":true` as well, and a permit has `"permit":[3,5]`: its slot and the number of permits. For any
/// other format, send its parts one by one, and combine them with [`LockParts::new`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "nobody extends or releases the lock meanwhile: resume it elsewhere"]
pub struct LockParts {
    resources: Resources,
    token: Token,
    ttl: Ttl,
    fencing_token: Option<FencingToken>,
    is_shared: bool,
    /// The slot and the number of permits, if it is the lock of a permit.
    permit: Option<(u32, u32)>,
}

impl LockParts {
    /// Combines the parts that another process has sent: the names, [`Token::as_str`] and the TTL.
    ///
    /// # Errors
    ///
    /// If the names or the TTL cannot be those of a lock, or the token was not made by this library.
    pub fn new(
        resources: impl IntoIterator<Item = impl AsRef<str>>,
        token: &str,
        ttl: Duration,
    ) -> Result<Self, LockPartsError> {
        let (resources, ttl) = (Resources::new(resources)?, Ttl::new(ttl)?);
        Ok(Self::of(resources, parse(token).ok_or(LockPartsError::Token)?, ttl, None))
    }

    /// Adds the lock's fencing token. Always add it if the lock has one: otherwise the lock continues without it, and
    /// extends do not keep its counter alive. Nodes do not compare it, so add no other token.
    pub fn with_fencing_token(self, fencing_token: FencingToken) -> Self {
        Self { fencing_token: Some(fencing_token), ..self }
    }

    /// Marks the lock as shared. Always call it if the lock [is shared](crate::Lock::is_shared) and its parts were sent
    /// one by one: the nodes keep a shared lock in another form, so the lock is not found otherwise.
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Marks the lock as that of a [permit](crate::Permit), with its slot and the number of permits. Call it whenever
    /// the parts of a permit were sent one by one: otherwise a lock on the name of the semaphore is looked for.
    ///
    /// # Errors
    ///
    /// If no semaphore has such a slot, or the lock is shared or has several names.
    pub fn of_permit(self, slot: u32, permits: u32) -> Result<Self, LockPartsError> {
        let is_possible = slot < permits && PermitsError::check(permits).is_ok();
        if !is_possible || self.is_shared || self.resources.len() > 1 {
            return Err(LockPartsError::Permit { slot, permits });
        }
        Ok(Self { permit: Some((slot, permits)), ..self })
    }

    pub(crate) fn with_permit(self, permit: Option<(u32, u32)>) -> Self {
        Self { permit, ..self }
    }

    pub(crate) fn of(resources: Resources, token: Token, ttl: Ttl, fencing_token: Option<FencingToken>) -> Self {
        // In whole milliseconds, as it is sent.
        Self {
            resources,
            token,
            ttl: Ttl::new(ttl.trusted()).unwrap_or(ttl),
            fencing_token,
            is_shared: false,
            permit: None,
        }
    }

    /// Returns the locked resources.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Returns the value of the keys on the nodes.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Returns the TTL with which the lock was acquired, in whole milliseconds. Only the nodes know the remaining time.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl.trusted()
    }

    /// Returns the fencing token, if the lock has one.
    #[must_use]
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.fencing_token
    }

    /// Returns whether the lock is shared.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns the slot and the number of permits, if it is the lock of a permit.
    #[must_use]
    pub fn permit(&self) -> Option<(u32, u32)> {
        self.permit
    }

    pub(crate) fn into_resources(self) -> Resources {
        self.resources
    }
}

/// Parses what [`Token::as_str`] writes.
fn parse(token: &str) -> Option<Token> {
    let (digits, label) = token.as_bytes().split_at_checked(Token::DIGITS)?;
    let mut bytes = [0; 20];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.as_bytes().iter().all(is_digit))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    let plain = Token::from_bytes(bytes);
    if label.is_empty() {
        return Some(plain);
    }
    Some(plain.with_owner(&Owner::new(Owner::of_value(token.as_bytes())?).ok()?))
}

/// Parts that do not make a lock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockPartsError {
    /// A resource name cannot be locked, or there are too many names.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The token was not made by this library.
    #[error("the token was not made by this library: pass the result of `Token::as_str` unchanged")]
    Token,
    /// The TTL cannot be that of a lock.
    #[error(transparent)]
    Ttl(#[from] TtlError),
    /// The lock cannot be that of a permit.
    #[error("a lock on one name can be slot 0 to K - 1 of K permits, not slot {slot} of {permits}")]
    Permit {
        /// The slot.
        slot: u32,
        /// The number of permits.
        permits: u32,
    },
}

#[cfg(feature = "serde")]
mod wire {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::{Duration, FencingToken, LockParts};
    use crate::names::Resource;

    /// The lock in its serialized form.
    #[derive(Serialize, Deserialize)]
    struct Wire<S> {
        resources: Vec<S>,
        token: S,
        ttl_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fencing_token: Option<FencingToken>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permit: Option<(u32, u32)>,
    }

    impl Serialize for LockParts {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let resources = self.resources.iter().map(Resource::as_str).collect();
            let (ttl_ms, fencing_token) = (self.ttl.sent_millis(), self.fencing_token);
            let (token, shared, permit) = (self.token.as_str(), self.is_shared, self.permit);
            Wire { resources, token, ttl_ms, fencing_token, shared, permit }.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for LockParts {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let Wire { resources, token, ttl_ms, fencing_token, shared, permit } =
                Wire::<String>::deserialize(deserializer)?;
            let parts = LockParts::new(resources, &token, Duration::from_millis(ttl_ms)).map_err(D::Error::custom)?;
            let parts = LockParts { fencing_token, is_shared: shared, ..parts };
            match permit {
                None => Ok(parts),
                Some((slot, permits)) => parts.of_permit(slot, permits).map_err(D::Error::custom),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Resource;

    const DIGITS: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";
    const TTL: Duration = Duration::from_secs(10);

    #[test]
    fn the_parts_of_a_lock_can_be_combined_again() {
        let parts = LockParts::new(["b", "a"], DIGITS, TTL).unwrap();
        let names: Vec<_> = parts.resources().iter().map(Resource::as_str).collect();
        assert_eq!((names.as_slice(), parts.token().as_str(), parts.ttl()), (&["a", "b"][..], DIGITS, TTL));
        assert_eq!(LockParts::new(names, parts.token().as_str(), parts.ttl()), Ok(parts));
    }

    #[test]
    fn the_owner_is_part_of_the_token() {
        let token = Token::from_bytes([7; 20]).with_owner(&Owner::new("web-3:4711").unwrap());
        assert_eq!(LockParts::new(["a"], token.as_str(), TTL).unwrap().token(), &token);
        assert_eq!(LockParts::new(["a"], &format!("{DIGITS}:"), TTL), Err(LockPartsError::Token));
    }

    #[test]
    fn parts_that_do_not_make_a_lock_are_refused() {
        let new = |name: &str, token: &str, ttl| LockParts::new([name], token, ttl).unwrap_err();
        assert_eq!(new("", DIGITS, TTL), LockPartsError::Resource(ResourceError::Empty));
        assert_eq!(new("a", DIGITS, Duration::ZERO), LockPartsError::Ttl(TtlError::Zero));
        for token in ["", &DIGITS[1..], &DIGITS.to_uppercase(), &format!("{DIGITS}0"), &DIGITS.replace('5', "g")] {
            assert_eq!(new("a", token, TTL), LockPartsError::Token);
        }
        assert_eq!(new("a", &"\u{e9}".repeat(20), TTL), LockPartsError::Token);
    }

    #[test]
    fn a_slot_that_no_permit_has_is_refused() {
        let parts = |names: &[&str]| LockParts::new(names, DIGITS, TTL).unwrap();
        assert_eq!(parts(&["s"]).of_permit(4, 5).unwrap().permit(), Some((4, 5)));
        for (parts, slot, permits) in [
            (parts(&["s"]), 5, 5),
            (parts(&["s"]), 0, 0),
            (parts(&["s"]), 0, 4097),
            (parts(&["s", "t"]), 0, 5),
            (parts(&["s"]).shared(), 0, 5),
        ] {
            assert_eq!(parts.of_permit(slot, permits), Err(LockPartsError::Permit { slot, permits }));
        }
    }

    #[test]
    fn a_ttl_is_rounded_down_to_whole_milliseconds() {
        let parts = LockParts::new(["a"], DIGITS, Duration::from_micros(10_900)).unwrap();
        assert_eq!(parts.ttl(), Duration::from_millis(10));
    }

    #[test]
    fn debug_output_does_not_reveal_the_token() {
        let parts = LockParts::new(["a"], DIGITS, TTL).unwrap();
        let printed = format!("{parts:?} {parts:#?} {}", new_error());
        assert!(printed.contains("5f0c6c1b...") && !printed.contains(&DIGITS[..9]), "{printed}");
    }

    fn new_error() -> LockPartsError {
        LockParts::new(["a"], &DIGITS[..39], TTL).unwrap_err()
    }
}
