//! The holder of a key, printed without its secret.

use std::{fmt, time::Duration};

use crate::names::{Owner, Token};

/// The value of a key: a token of this library, or what another program has set.
///
/// Its `Display` shortens tokens and escapes other values, because anybody who knows a token can release the lock.
#[derive(Clone, PartialEq, Eq)]
pub struct Holder {
    value: Vec<u8>,
    remaining: Option<Duration>,
}

impl Holder {
    pub(crate) fn new(value: impl Into<Vec<u8>>, remaining: Option<Duration>) -> Self {
        Self { value: value.into(), remaining }
    }

    /// Returns the key's value: the holder's secret, to be compared with [`Token::as_bytes`](crate::Token::as_bytes)
    /// and not to be printed. Of a value that is longer than any token of this library, returns the first 106 bytes.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Returns the owner of the lock, if this library has set the key and its holder names an owner.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        Owner::of_value(&self.value)
    }

    /// Returns the minimum time for which the key is still held, counted from the end of the inspection, if nobody
    /// changes it. `None` if it has no expiry. For the holder of a quorum: how long a quorum still holds it.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The maximum number of bytes that are shown.
        const SHOWN: usize = 8;
        let (value, len) = (&self.value, self.value.len());
        let beginning = |shown| value.get(..shown).unwrap_or(value).escape_ascii();
        let owner = self.owner();
        if Token::is_one(value) {
            write!(f, "{}...", beginning(SHOWN))?;
            return owner.map_or(Ok(()), |owner| write!(f, " of {owner:?}"));
        }
        // Another library's token may be shorter than ours. A value that is no longer than the part that is shown is
        // not a secret.
        match len {
            ..=SHOWN => write!(f, "\"{}\"", beginning(len)),
            _ if len > Token::MAX_LEN => write!(f, "\"{}\"... (more than {} bytes)", beginning(SHOWN), Token::MAX_LEN),
            _ => write!(f, "\"{}\"... ({len} bytes)", beginning(SHOWN.min(len / 2))),
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({self}, {:?} left)", self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";

    fn shown(value: impl AsRef<[u8]>) -> String {
        Holder::new(value.as_ref(), None).to_string()
    }

    #[test]
    fn only_the_beginning_and_the_owner_of_a_token_are_shown() {
        assert_eq!(shown(DIGITS), "5f0c6c1b...");
        assert_eq!(shown(format!("{DIGITS}:web-3:4711")), r#"5f0c6c1b... of "web-3:4711""#);
        let holder = Holder::new(format!("{DIGITS}:web-3"), Some(Duration::from_secs(7)));
        assert_eq!(format!("{holder:?}"), r#"Holder(5f0c6c1b... of "web-3", Some(7s) left)"#);
    }

    #[test]
    fn a_foreign_value_is_escaped_and_never_shown_whole_if_it_may_be_a_secret() {
        for (value, text) in [
            ("", r#""""#),
            ("1", r#""1""#),
            ("another", r#""another""#),
            ("\u{1b}[31m\n", r#""\x1b[31m\n""#),
            ("a\"b\\", r#""a\"b\\""#),
            ("nine byte", r#""nine"... (9 bytes)"#),
            ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", r#""f81d4fae"... (36 bytes)"#),
        ] {
            assert_eq!(shown(value), text);
        }
        assert_eq!(shown([0xff, 0]), r#""\xff\x00""#);
        assert_eq!(shown([b'x'; 106]), r#""xxxxxxxx"... (more than 105 bytes)"#);
        // As long as one of our tokens, but not one.
        assert_eq!(shown(DIGITS.to_uppercase()), r#""5F0C6C1B"... (40 bytes)"#);
        assert_eq!(shown(format!("{DIGITS}:a\nb")), r#""5f0c6c1b"... (44 bytes)"#);
    }
}
