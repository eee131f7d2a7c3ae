//! The holder's token: the value of the lock's key. (Not a fencing token.)

use std::{fmt, str};

use super::owner::Owner;

/// The random value that identifies one holder in one round: 20 random bytes, written as 40 hex digits, so that
/// `redis-cli GET` shows it whole. A colon and the [owner](Owner) may follow, for people to read.
///
/// `Debug` shows only its beginning and the owner, because anyone who knows a token can release the lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token {
    /// The value of the key, followed by zeros.
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl Token {
    /// The number of random bytes, as the Redis documentation suggests.
    pub(crate) const RANDOM_BYTES: usize = Self::DIGITS / 2;

    /// The number of hex digits.
    pub(crate) const DIGITS: usize = Owner::TOKEN_DIGITS;

    /// The longest value of a key.
    pub(crate) const MAX_LEN: usize = Self::DIGITS + 1 + Owner::MAX_LEN;

    /// Creates the token for these bytes. Tokens must be unpredictable: outside tests, let the library create them.
    #[must_use]
    pub fn from_bytes(random: [u8; 20]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; Self::MAX_LEN];
        for (pair, byte) in bytes.chunks_exact_mut(2).zip(random) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        Self { bytes, len: Self::DIGITS }
    }

    /// Returns the same digits, followed by this owner.
    #[must_use]
    pub fn with_owner(mut self, owner: &Owner) -> Self {
        let label = owner.as_str().as_bytes();
        let (_, behind) = self.bytes.split_at_mut(Self::DIGITS);
        behind.fill(0);
        for (byte, written) in behind.iter_mut().zip([Owner::SEPARATOR].iter().chain(label)) {
            *byte = *written;
        }
        Self { len: Self::DIGITS + 1 + label.len(), ..self }
    }

    /// Returns whether a key with this value is a lock that this library has acquired, with or without an owner.
    #[must_use]
    pub fn is_one(value: &[u8]) -> bool {
        let are_digits = |value: &[u8]| value.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        (value.len() == Self::DIGITS && are_digits(value)) || Owner::of_value(value).is_some()
    }

    /// Returns the owner's label, if there is one.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.as_str().get(Self::DIGITS + 1..)
    }

    /// Returns the value of the key: the 40 hex digits, and the owner if there is one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the value of the key, as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let beginning = self.as_str().get(..8).unwrap_or_default();
        match self.owner() {
            Some(owner) => write!(f, "Token({beginning}... of {owner:?})"),
            None => write!(f, "Token({beginning}...)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_bytes_in_hex() {
        let mut bytes = [0; 20];
        bytes[0] = 0xab;
        bytes[19] = 0x0f;
        let token = Token::from_bytes(bytes);
        assert_eq!(token.as_str(), "ab0000000000000000000000000000000000000f");
        assert_eq!(token.as_bytes(), token.as_str().as_bytes());
    }

    #[test]
    fn only_a_value_of_our_format_is_a_token() {
        let token = Token::from_bytes([0xab; 20]);
        let owned = token.with_owner(&Owner::new("web-3").unwrap());
        assert!(Token::is_one(token.as_bytes()) && Token::is_one(owned.as_bytes()));
        for other in ["", "42", &"AB".repeat(20), &"ab".repeat(21), &format!("{}:", token.as_str())] {
            assert!(!Token::is_one(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn debug_output_does_not_reveal_the_token() {
        assert_eq!(format!("{:?}", Token::from_bytes([0xab; 20])), "Token(abababab...)");
    }

    #[test]
    fn the_owner_follows_the_digits() {
        let plain = Token::from_bytes([0xab; 20]);
        assert_eq!(plain.owner(), None);
        let longest = "x".repeat(64);
        for label in ["a", "web-3:4711", "\u{8ba2}\u{5355}", &longest] {
            let token = plain.with_owner(&Owner::new(label).unwrap());
            assert_eq!(token.as_str(), format!("{}:{label}", plain.as_str()));
            assert_eq!(token.as_bytes(), token.as_str().as_bytes());
            assert_eq!(token.owner(), Some(label));
            assert_eq!(Owner::of_value(token.as_bytes()), Some(label));
            assert_ne!(token, plain);
        }
    }

    #[test]
    fn another_owner_replaces_the_first_one_completely() {
        let token = Token::from_bytes([0xab; 20]);
        let (long, short) = (Owner::new("a long one").unwrap(), Owner::new("b").unwrap());
        assert_eq!(token.with_owner(&long).with_owner(&short), token.with_owner(&short));
    }

    #[test]
    fn debug_shows_the_owner() {
        let token = Token::from_bytes([0xab; 20]).with_owner(&Owner::new("web-3").unwrap());
        assert_eq!(format!("{token:?}"), r#"Token(abababab... of "web-3")"#);
    }
}
