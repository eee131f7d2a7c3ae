//! Computes the hash slot of a key in a Redis Cluster.

use crc::{CRC_16_XMODEM, Crc};

/// Returns the hash slot of a key in a Redis Cluster, from 0 to 16383. Keys in one slot can be set in one step.
///
/// In a key with a hash tag, for example `{account}:from`, only the text between the first `{` and the next `}` counts,
/// unless that is empty.
#[must_use]
pub fn hash_slot(key: &str) -> u16 {
    const SLOTS: u16 = 16384;
    const CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    CRC.checksum(hash_tag(key).unwrap_or(key).as_bytes()) % SLOTS
}

pub(crate) fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As reported by `CLUSTER KEYSLOT`.
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("123456789", 12739)] {
            assert_eq!(hash_slot(key), slot, "{key}");
        }
    }

    #[test]
    fn only_the_first_tag_counts_and_only_if_it_is_not_empty() {
        assert_eq!(hash_slot("{user1000}.following"), hash_slot("user1000"));
        assert_eq!(hash_slot("{user1000}.followers"), hash_slot("user1000"));
        assert_eq!(hash_slot("foo{bar}{zap}"), hash_slot("bar"));
        assert_eq!(hash_slot("foo{{bar}}zap"), hash_slot("{bar"));
        // An empty tag does not count, and neither does a later one.
        assert_eq!(hash_tag("foo{}{bar}"), None);
        assert_eq!(hash_tag("foo{bar"), None);
        assert_eq!(hash_tag("}foo{"), None);
    }

    proptest! {
        #[test]
        fn every_key_has_a_slot_and_a_tag_alone_decides_it(tag in "[^}]{1,20}", rest in ".{0,20}") {
            let slot = hash_slot(&format!("{{{tag}}}{rest}"));
            prop_assert!(slot < 16384);
            prop_assert_eq!(slot, hash_slot(&format!("{{{tag}}}")));
        }
    }
}
