//! What names one lease to its nodes: the keys and the token.

use std::{cmp::Ordering, fmt::Debug, hash::Hash, sync::Arc};

use crate::names::{Resources, Token};

/// Names one lease, and nothing else. The exhaustive search names leases by numbers.
pub(crate) trait Name: Clone + Ord + Hash + Debug {
    /// How many bytes of memory it takes to remember it.
    fn bytes(&self) -> usize;
}

/// The keys of a lock and the token that they hold on the nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct KeysAndToken {
    pub(crate) keys: Resources,
    pub(crate) token: Token,
}

impl Ord for KeysAndToken {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_keys = || self.keys.iter().cmp(&other.keys);
        self.token.as_bytes().cmp(other.token.as_bytes()).then_with(by_keys)
    }
}

impl PartialOrd for KeysAndToken {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Name for Arc<KeysAndToken> {
    fn bytes(&self) -> usize {
        let names: usize = self.keys.iter().map(|key| key.as_str().len()).sum();
        // With the allocations of the names.
        size_of::<KeysAndToken>() + names + 48 * self.keys.len()
    }
}

/// In tests, leases have numbers.
#[cfg(test)]
impl Name for u8 {
    fn bytes(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_name_takes_more_memory() {
        assert_eq!(name("a key of 24 characters..", 1).bytes() - name("key", 1).bytes(), 21);
        assert!(name("key", 1).bytes() > size_of::<Token>());
    }

    #[test]
    fn names_are_ordered_by_token_and_key() {
        assert!(name("b", 1) < name("a", 2) && name("a", 1) < name("b", 1));
        assert_eq!(name("a", 1).cmp(&name("a", 1)), Ordering::Equal);
    }

    fn name(key: &str, token: u8) -> Arc<KeysAndToken> {
        Arc::new(KeysAndToken { keys: Resources::new([key]).unwrap(), token: Token::from_bytes([token; 20]) })
    }
}
