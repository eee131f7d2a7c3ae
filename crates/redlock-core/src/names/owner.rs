//! The label that shows people who owns a lock.

use std::{fmt, process, str, sync::Arc};

/// A label that shows who owns a lock: 1 to 64 bytes of printable text. It follows the token in the key's value, so
/// that anyone who looks at the key sees the owner:
///
/// ```text
/// > GET invoice:42
/// "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a:web-3:4711"
/// ```
///
/// It is not secret and proves nothing: any client can write any label.
///
/// ```
/// use redlock_core::{Owner, Redlock};
/// use redlock_mock::MockNode;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ours = Redlock::builder().nodes(MockNode::fleet(3)).owner(Owner::this_process()).build()?;
/// let theirs = Redlock::builder().nodes(MockNode::fleet(3)).owner(Owner::new("nightly report")?).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Owner(Arc<str>);

impl Owner {
    /// The longest label, in bytes.
    pub const MAX_LEN: usize = 64;

    /// The number of hex digits of a token, which precede the label in a key's value.
    pub(crate) const TOKEN_DIGITS: usize = 40;

    /// The byte between a token's digits and the label.
    pub(crate) const SEPARATOR: u8 = b':';

    /// Creates an owner from a label.
    ///
    /// # Errors
    ///
    /// If it is empty, longer than [`Owner::MAX_LEN`], or contains something that cannot be printed: control
    /// characters, line ends, spaces other than the plain one, marks that change the direction of writing.
    pub fn new(label: impl AsRef<str>) -> Result<Self, OwnerError> {
        match label.as_ref() {
            "" => Err(OwnerError::Empty),
            label if label.len() > Self::MAX_LEN => Err(OwnerError::TooLong { len: label.len() }),
            label if !is_printable(label) => Err(OwnerError::NotPrintable),
            label => Ok(Self(label.into())),
        }
    }

    /// Returns this machine's name and this process's ID, for example `web-3:4711`. A name that is too long is cut.
    #[must_use]
    pub fn this_process() -> Self {
        Self::process(&gethostname::gethostname().to_string_lossy(), process::id())
    }

    fn process(host: &str, id: u32) -> Self {
        let id = format!(":{id}");
        let mut label = String::new();
        for char in host.chars().map(|char| if is_printable(char.encode_utf8(&mut [0; 4])) { char } else { '?' }) {
            if label.len() + char.len_utf8() + id.len() > Self::MAX_LEN {
                break;
            }
            label.push(char);
        }
        Self((label + &id).into())
    }

    /// Returns the owner in a key's value, if the value is a token that this library has written with an owner. Returns
    /// `None` for the values of other libraries, and for our own without an owner.
    ///
    /// ```
    /// use redlock_core::Owner;
    ///
    /// let value = b"5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a:web-3:4711";
    /// assert_eq!(Owner::of_value(value), Some("web-3:4711"));
    /// assert_eq!(Owner::of_value(b"5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a"), None);
    /// ```
    #[must_use]
    pub fn of_value(value: &[u8]) -> Option<&str> {
        let (digits, label) = value.split_at_checked(Self::TOKEN_DIGITS)?;
        if !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let label = str::from_utf8(label.strip_prefix(&[Self::SEPARATOR])?).ok()?;
        (!label.is_empty() && label.len() <= Self::MAX_LEN && is_printable(label)).then_some(label)
    }

    /// Returns the label.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Returns whether text prints unchanged, and only in its own place.
fn is_printable(text: &str) -> bool {
    // These are escaped although they can be printed.
    let text = text.replace(['"', '\'', '\\'], "_");
    text.escape_debug().eq(text.chars())
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A label that cannot name an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnerError {
    /// The label is empty.
    #[error("the owner's label is empty: leave the owner out, or name it")]
    Empty,
    /// The label is longer than [`Owner::MAX_LEN`].
    #[error("the owner's label has {len} bytes, at most {} are allowed", Owner::MAX_LEN)]
    TooLong {
        /// The label's length in bytes.
        len: usize,
    },
    /// The label contains something that cannot be printed.
    #[error("the owner's label contains unprintable characters: remove control characters and line ends")]
    NotPrintable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_printable() {
        for label in ["web-3:4711", "a b", "caf\u{e9} \u{8ba2}\u{5355}", "\"'\\", "x", &"x".repeat(64)] {
            assert_eq!(Owner::new(label).unwrap().as_str(), label);
        }
        assert_eq!(Owner::new(""), Err(OwnerError::Empty));
        assert_eq!(Owner::new("x".repeat(65)), Err(OwnerError::TooLong { len: 65 }));
        for label in ["a\nb", "a\0", "\u{1b}[31m", "a\u{202e}b", "a\u{200b}b", "a\u{a0}b", "\u{7f}", "\u{301}"] {
            assert_eq!(Owner::new(label), Err(OwnerError::NotPrintable), "{label:?}");
        }
    }

    #[test]
    fn a_label_is_printed_as_it_is_and_quoted_in_debug_output() {
        let owner = Owner::new("web-3").unwrap();
        assert_eq!(format!("{owner} {owner:?}"), r#"web-3 "web-3""#);
    }

    #[test]
    fn this_process_is_a_host_and_an_id() {
        let owner = Owner::this_process();
        let id = owner.as_str().rsplit_once(':').unwrap().1;
        assert_eq!(id, process::id().to_string());
        assert_eq!(Owner::new(owner.as_str()), Ok(owner));
    }

    #[test]
    fn a_host_is_cut_and_made_printable() {
        assert_eq!(Owner::process("web-3", 7).as_str(), "web-3:7");
        assert_eq!(Owner::process("a\nb\u{202e}", 7).as_str(), "a?b?:7");
        assert_eq!(Owner::process("", 7).as_str(), ":7");
        let cut = Owner::process(&"x".repeat(200), u32::MAX);
        assert_eq!((cut.as_str().len(), cut.as_str().ends_with("x:4294967295")), (64, true));
        // Never in the middle of a character.
        assert_eq!(Owner::process(&"\u{8ba2}".repeat(200), 7).as_str().len(), 62);
    }

    #[test]
    fn an_owner_is_found_only_in_a_value_of_our_format() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        let of = |text: &str| Owner::of_value(text.as_bytes()).map(str::to_owned);
        assert_eq!(of(&format!("{digits}:web-3")).as_deref(), Some("web-3"));
        assert_eq!(of(&format!("{digits}::")).as_deref(), Some(":"));
        let foreign = [
            String::new(),
            digits.to_owned(),
            format!("{digits}:"),
            format!("{digits}-web-3"),
            format!("{digits}0:web-3"),
            format!("{}:web-3", digits.to_uppercase()),
            format!("{}g:web-3", &digits[..39]),
            format!("{digits}:a\nb"),
            format!("{digits}:{}", "x".repeat(65)),
        ];
        for value in foreign {
            assert_eq!(of(&value), None, "{value:?}");
        }
        let garbled = [digits.as_bytes(), b":\xff"].concat();
        assert_eq!(Owner::of_value(&garbled), None);
        assert_eq!(Owner::of_value(&[0xff; 50]), None);
    }
}
