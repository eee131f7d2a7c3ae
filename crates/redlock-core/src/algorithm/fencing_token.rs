//! The number that orders the holders of a lock.

use std::{fmt, num::NonZeroU64};

/// A number that is greater than that of every earlier holder.
///
/// A lock that ends by a timeout cannot stop a holder that is paused just after it has checked that it still has the
/// lock. That holder resumes and writes while the next holder is at work. The storage can stop it. Send the fencing
/// token with every write, and let the storage keep the greatest token that it has seen and refuse every write with a
/// smaller one.
///
/// Every token of a resource is issued once, and is greater than every token that was issued before the acquire of its
/// lock began, whatever clocks do and whenever keys expire. Two holders that acquire at the same time get two different
/// tokens. This relies on nodes that do not forget their counters, or that start again above all issued tokens. Tokens
/// of different resources are not comparable, and there are gaps between tokens.
///
/// The idea is that of the sequencers of Burrows, "The Chubby lock service for loosely-coupled distributed systems"
/// (2006), and of Kleppmann, ["How to do distributed
/// locking"](https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html) (2016).
///
/// With the feature `serde`, it is serialized as a plain number.
///
/// ```
/// use redlock_core::algorithm::FencingToken;
///
/// /// A register that refuses old writers.
/// #[derive(Default)]
/// struct Register { value: String, seen: Option<FencingToken> }
///
/// impl Register {
///     fn write(&mut self, value: &str, token: FencingToken) -> bool {
///         let is_new = self.seen <= Some(token);
///         if is_new {
///             (self.value, self.seen) = (value.into(), Some(token));
///         }
///         is_new
///     }
/// }
///
/// let (first, second) = (FencingToken::new(33).unwrap(), FencingToken::new(34).unwrap());
/// let mut register = Register::default();
/// assert!(register.write("the first holder's", first));
/// assert!(register.write("the second holder's", second));
/// // The first one resumes, and does not know that it has lost the lock.
/// assert!(!register.write("the first holder's, too late", first));
/// assert_eq!(register.value, "the second holder's");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// The greatest token, 2^53 - 1. Every number up to it is exact in a script of Redis, which counts in doubles, and
    /// in JSON.
    pub const MAX: Self = Self(NonZeroU64::MIN.saturating_add((1 << 53) - 2));

    /// Returns the token with this number, or `None` if it is zero or above [`MAX`](Self::MAX).
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self).filter(|token| *token <= Self::MAX)
    }

    /// Returns the number, from 1 to [`MAX`](Self::MAX).
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> Self {
        token.get()
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FencingToken({})", self.0)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use super::FencingToken;

    impl Serialize for FencingToken {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_u64(self.get())
        }
    }

    impl<'de> Deserialize<'de> for FencingToken {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = u64::deserialize(deserializer)?;
            let what = || D::Error::custom(format_args!("{number} is not a fencing token: 1 to {} are", Self::MAX));
            Self::new(number).ok_or_else(what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = (1 << 53) - 1;

    #[test]
    fn a_token_is_a_number_that_a_script_of_redis_can_count_to() {
        for number in [1, 2, 33, MAX - 1, MAX] {
            let token = FencingToken::new(number).unwrap();
            assert_eq!((token.get(), u64::from(token)), (number, number));
            // As in Lua: the number and the one above it are two different doubles.
            assert_ne!(number as f64, (number + 1) as f64);
        }
        for number in [0, MAX + 1, MAX + 2, u64::MAX] {
            assert_eq!(FencingToken::new(number), None);
        }
        assert_eq!(FencingToken::MAX.get(), MAX);
    }

    #[test]
    fn tokens_are_ordered_like_their_numbers() {
        let token = |number| FencingToken::new(number).unwrap();
        assert!(token(9) < token(10));
        assert!(token(1) < FencingToken::MAX);
        assert_eq!(token(7), token(7));
    }

    #[test]
    fn a_token_is_printed_as_its_number() {
        let token = FencingToken::new(34).unwrap();
        assert_eq!(format!("{token} {token:>4} {token:?}"), "34   34 FencingToken(34)");
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_token_is_serialized_as_a_plain_number_and_checked_when_it_is_read() {
        let read = |text: &str| serde_json::from_str::<FencingToken>(text);
        for number in [1, 34, MAX] {
            let token = FencingToken::new(number).unwrap();
            assert_eq!(serde_json::to_string(&token).unwrap(), number.to_string());
            assert_eq!(read(&number.to_string()).unwrap(), token);
        }
        for wrong in ["0", "9007199254740992", "-1", "1.5", "\"1\"", "null"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let error = read("0").unwrap_err().to_string();
        assert!(error.starts_with("0 is not a fencing token: 1 to 9007199254740991 are"), "{error}");
    }
}
