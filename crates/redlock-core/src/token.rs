//! The holder's token: the value of the lock's key. (Not a fencing token.)

use std::fmt;

use crate::entropy::{Entropy, EntropyError};

/// The random value that identifies one holder in one round: 20 random bytes, written as 40 hex digits, so that
/// `redis-cli GET` shows it whole.
///
/// `Debug` shows only its beginning: whoever knows a token can release the lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; 40]);

impl Token {
    /// The number of random bytes, as the Redis documentation suggests.
    const RANDOM_BYTES: usize = 20;

    /// A token that nobody has used before.
    pub(crate) fn random(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; Self::RANDOM_BYTES];
        entropy.fill(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// The token that writes these bytes. Tokens must be unpredictable: outside tests, let the library make them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [b'0'; 40];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
            for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 0xf]) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            }
        }
        Self(hex)
    }

    /// The 40 hex digits: the value of the key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The 40 hex digits as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}...)", self.as_str().get(..8).unwrap_or_default())
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
    fn debug_does_not_give_the_lock_away() {
        assert_eq!(format!("{:?}", Token::from_bytes([0xab; 20])), "Token(abababab...)");
    }
}
