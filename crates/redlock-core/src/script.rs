//! The Lua scripts that make each operation atomic on a Redis node: one copy, for every Redis client.
//!
//! For authors of backends. Send `EVALSHA` with [`Script::sha1`]; on `NOSCRIPT` send `EVAL` with [`Script::source`].
//! `KEYS` are the resources, one at least, and all of them fare alike; [`INSPECT`] takes one. [`AcquireAnswer`], [`ExtendAnswer`] and [`ReleaseAnswer`] are read from the integer
//! that a script answers by their `from_script`.

use std::time::Duration;

use crate::{
    node::{AcquireAnswer, ExtendAnswer, ReleaseAnswer},
    node_error::{NodeError, NodeErrorKind},
};

/// Takes all keys or none: `ARGV` is the token and the ttl in milliseconds.
pub const ACQUIRE: Script =
    Script { source: include_str!("script/acquire.lua"), sha1: "7cfd061e8a717975994b09357795611e1317d0b2" };

/// Prolongs all keys or none, never shortens one: `ARGV` is the token and the ttl in milliseconds.
pub const EXTEND: Script =
    Script { source: include_str!("script/extend.lua"), sha1: "57d720ece9b63c501db676d1146c75338685bc7a" };

/// Gives all keys back that are ours: `ARGV` is the token.
pub const RELEASE: Script =
    Script { source: include_str!("script/release.lua"), sha1: "586bc9283fa6f7febb8032196c0b8d4b1696b742" };

/// Looks at one key: no `ARGV`. Answers nil, or an array of the value (bytes) and the `PTTL`.
pub const INSPECT: Script =
    Script { source: include_str!("script/inspect.lua"), sha1: "5b56d0082d995c0f56ee8d7f3e9dc1366235555b" };

/// A Lua script and its hash.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    source: &'static str,
    sha1: &'static str,
}

impl Script {
    /// The script's text, for `EVAL`.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// The hash of the text in hex, for `EVALSHA`.
    #[must_use]
    pub const fn sha1(&self) -> &'static str {
        self.sha1
    }
}

/// The keys hold our token. PTTL never answers so: it says -1 for no expiry and -2 for no key.
const OURS: i64 = -3;
/// The keys hold our token, some of them again.
const OURS_AGAIN: i64 = -4;

impl AcquireAnswer {
    /// Reads what [`ACQUIRE`] answered.
    #[must_use]
    pub fn from_script(answer: i64) -> Self {
        match answer {
            OURS => Self::granted(),
            pttl => Self::held(remaining(pttl)),
        }
    }
}

impl ExtendAnswer {
    /// Reads what [`EXTEND`] answered.
    #[must_use]
    pub fn from_script(answer: i64) -> Self {
        match answer {
            OURS => Self::Extended,
            OURS_AGAIN => Self::Healed,
            pttl => Self::held(remaining(pttl)),
        }
    }
}

impl ReleaseAnswer {
    /// Reads what [`RELEASE`] answered; `sent_again` if it was sent before on a connection that broke.
    ///
    /// # Errors
    ///
    /// If the answer is none that the script can give. And if the lock is gone after the release was sent again: the
    /// first one may have deleted it, so "not held" would be a false alarm.
    pub fn from_script(answer: i64, sent_again: bool) -> Result<Self, NodeError> {
        match answer {
            1 => Ok(Self::Released),
            0 if sent_again => {
                Err(NodeError::new(NodeErrorKind::Unreachable, "the connection broke before the release was answered"))
            }
            0 => Ok(Self::NotHeld),
            other => Err(NodeError::new(NodeErrorKind::Other, format!("unexpected answer {other} to a release"))),
        }
    }
}

/// What `PTTL` says, as a duration: nothing for a key without expiry.
#[must_use]
pub fn remaining(pttl: i64) -> Option<Duration> {
    u64::try_from(pttl).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_is_its_scripts() {
        for script in [ACQUIRE, EXTEND, RELEASE, INSPECT] {
            let sha1 = sha1_smol::Sha1::from(script.source()).digest().to_string();
            assert_eq!(script.sha1(), sha1, "{}", script.source());
        }
    }

    #[test]
    fn what_a_script_says_of_our_own_key_is_nothing_that_pttl_says() {
        assert_eq!(AcquireAnswer::from_script(-3), AcquireAnswer::granted());
        assert_eq!(ExtendAnswer::from_script(-3), ExtendAnswer::Extended);
        assert_eq!(ExtendAnswer::from_script(-4), ExtendAnswer::Healed);
        for pttl in [-2, -1, 0, 1, 3, 4, i64::MAX] {
            assert_eq!(AcquireAnswer::from_script(pttl), AcquireAnswer::held(remaining(pttl)));
            assert_eq!(ExtendAnswer::from_script(pttl), ExtendAnswer::held(remaining(pttl)));
        }
    }

    #[test]
    fn a_holder_without_expiry_has_no_remaining_time() {
        assert_eq!(AcquireAnswer::from_script(-1), AcquireAnswer::held(None));
        assert_eq!(AcquireAnswer::from_script(7), AcquireAnswer::held(Some(Duration::from_millis(7))));
    }

    #[test]
    fn a_key_that_vanished_is_not_taken_for_ours() {
        assert_eq!(AcquireAnswer::from_script(-2), AcquireAnswer::held(None));
        assert_eq!(ExtendAnswer::from_script(-2), ExtendAnswer::held(None));
    }

    #[test]
    fn an_answer_that_no_script_gives_is_an_error() {
        assert!(ReleaseAnswer::from_script(2, false).is_err());
    }

    #[test]
    fn a_release_that_was_sent_again_and_finds_nothing_cannot_tell() {
        assert_eq!(ReleaseAnswer::from_script(0, false).unwrap(), ReleaseAnswer::NotHeld);
        assert_eq!(ReleaseAnswer::from_script(0, true).unwrap_err().kind(), NodeErrorKind::Unreachable);
        assert_eq!(ReleaseAnswer::from_script(1, true).unwrap(), ReleaseAnswer::Released);
    }
}
