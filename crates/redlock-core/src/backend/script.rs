//! The Lua scripts that make each operation atomic on a Redis node: one copy, for every Redis client.
//!
//! For authors of backends. Send `EVALSHA` with [`Script::sha1`]; on `NOSCRIPT` send `EVAL` with [`Script::source`].
//! `KEYS` begins with the resources, at least one, and a script changes all of them or none; [`INSPECT`] takes one. The
//! fencing counters, the marker of the restart guard and other keys follow where a script says so. Each answer is
//! parsed by the `from_script` of its type.

use std::time::Duration;

use crate::node::{
    AcquireAnswer, ExtendAnswer, InspectAnswer, NodeError, NodeErrorKind, OpenAnswer, RaiseAnswer, Reader,
    ReleaseAnswer, SlotHeld,
};

/// Sets all keys or none. `ARGV` is the token and the TTL in milliseconds. With fencing or a restart guard, they are
/// followed by the number of resources among `KEYS`, the retention of the counters and the longest TTL, both in
/// milliseconds, 0 for none. With a wait queue, an intent or predecessors, these are followed by whether to yield,
/// whether to stay, the lifetime of the intent in milliseconds (0 for none), the channel, which may be empty, and the
/// tokens of the first keys' predecessors. Returns an array: a verdict, the node's `TIME` in microseconds (0 if there
/// is a predecessor and no other option), and a detail. The detail is the counter, the rest of the quarantine in
/// milliseconds, or 1 if readers hold a key.
pub const ACQUIRE: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/wake.lua"),
        include_str!("script/prepare.lua"),
        include_str!("script/acquire.lua"),
        include_str!("script/wait.lua"),
        include_str!("script/grant.lua")
    ),
    sha1: "97bdd3444528cd3795df4df0ca400e4e73040649",
};

/// Adds a reader to all keys or to none. Same arguments and results as [`ACQUIRE`], without fencing.
pub const ACQUIRE_SHARED: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/readers.lua"),
        include_str!("script/wake.lua"),
        include_str!("script/prepare.lua"),
        include_str!("script/acquire_shared.lua"),
        include_str!("script/wait.lua"),
        include_str!("script/grant_shared.lua")
    ),
    sha1: "6165b70d7a2db7dfd03c311a42577d7c3e97a71e",
};

/// Extends a reader on all keys or on none, like [`EXTEND`] without fencing. A writer with this token becomes a reader.
pub const EXTEND_SHARED: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/readers.lua"),
        include_str!("script/extend_shared.lua")
    ),
    sha1: "8c21c5128fb3020bba59d5340d29e2649204bc42",
};

/// Extends all keys or none, and never shortens one. `ARGV` is the token and the TTL in milliseconds. With fencing,
/// they are followed by the number of resources among `KEYS`, the retention in milliseconds and the fencing token.
/// Returns an array of a verdict and the node's `TIME` in microseconds.
pub const EXTEND: Script = Script {
    source: concat!(include_str!("script/read.lua"), include_str!("script/extend.lua")),
    sha1: "7e17af2db0bee88ec5894fd3a6ee07ccb1f71625",
};

/// Acquires a slot of a semaphore like [`ACQUIRE`] does a lock. The key of the number of permits is the last one, and
/// `ARGV` is that of [`ACQUIRE`] with the number of permits and an offset before the channel. Returns what [`ACQUIRE`]
/// returns, or the free slots: see [`SlotHeld::from_script`].
pub const PERMIT: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/wake.lua"),
        include_str!("script/permits.lua"),
        "local function acquire(KEYS, ARGV)\n",
        include_str!("script/prepare.lua"),
        include_str!("script/acquire.lua"),
        include_str!("script/wait.lua"),
        include_str!("script/grant.lua"),
        "end\n",
        include_str!("script/permit.lua")
    ),
    sha1: "323bd1b18cb12d09aba57046f589121b15b18acd",
};

/// Extends a slot of a semaphore like [`EXTEND`] does a lock. The key of the number of permits is the last one, and
/// `ARGV` is all of that of [`EXTEND`], followed by the number of permits.
pub const PERMIT_EXTEND: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/permits.lua"),
        "local function extend(KEYS, ARGV)\n",
        include_str!("script/extend.lua"),
        "end\n",
        include_str!("script/permit_extend.lua")
    ),
    sha1: "1543c0113933fe589dcfdf4fa16d459d9a014afb",
};

/// Deletes the keys that hold our token. `ARGV` is the token. To notify waiters or to withdraw an intent, it is
/// followed by the number of resources among `KEYS`, whether to notify only the waiters for keys that were free before,
/// the number of intents, and the channel of a process that no longer waits, which may be empty. Returns 1 if all keys
/// held our token and 0 otherwise, plus 2 if a waiter has been notified and is expected to request the lock.
pub const RELEASE: Script = Script {
    source: concat!(
        include_str!("script/read.lua"),
        include_str!("script/wake.lua"),
        include_str!("script/release.lua")
    ),
    sha1: "1e8e90081bef5669bdecd0703fcd52cd043432c2",
};

/// Reads one key. `ARGV` is empty, or the token of a reader that is reported first. Returns nil, or an array of the
/// value (bytes) and the `PTTL`. For a shared key, the value is replaced by one line for each reader, and the number of
/// readers follows.
pub const INSPECT: Script = Script {
    source: concat!(include_str!("script/read.lua"), include_str!("script/inspect.lua")),
    sha1: "af622f761c7c562df1c9a503b97b390a2c9d9473",
};

/// Raises the counters if all resources hold our token. `ARGV` is the token, the number of resources among `KEYS`, the
/// retention in milliseconds and the candidate. Returns an integer: see [`RaiseAnswer::from_script`].
pub const RAISE: Script = Script {
    source: concat!(include_str!("script/read.lua"), include_str!("script/raise.lua")),
    sha1: "3cadf26bf1d8905639667f8b327f25dfe0cef7b2",
};

/// Sets the marker of the restart guard if there is none. `KEYS` is the marker, and `ARGV` is the longest TTL in
/// milliseconds and the run of the server to open. Without a run, it changes nothing. Returns an array of the run
/// (bytes) and an integer.
pub const OPEN: Script = Script {
    source: concat!(include_str!("script/read.lua"), include_str!("script/open.lua")),
    sha1: "dce47b2567423b62c6f14b2088d25890b10a3cca",
};

/// A Lua script and its hash.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    source: &'static str,
    sha1: &'static str,
}

impl Script {
    /// Returns the script's text, for `EVAL`.
    #[must_use]
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// Returns the hash of the text in hex, for `EVALSHA`.
    #[must_use]
    pub const fn sha1(&self) -> &'static str {
        self.sha1
    }
}

/// The keys hold our token. `PTTL` never returns this: it is -1 for no expiry and -2 for no key.
const OURS: i64 = -3;
/// The keys hold our token, and some of them had to be set again.
const OURS_AGAIN: i64 = -4;
/// The node is in quarantine.
const QUARANTINED: i64 = -5;
/// The keys could be granted, but another waiter comes first.
const QUEUED: i64 = -6;
/// The keys hold our token, and held the predecessor's until now.
const OURS_FROM_PREDECESSOR: i64 = -7;
/// The semaphore has another number of permits.
const OTHER_PERMITS: i64 = -8;
/// A key does not hold our token.
const NOT_OURS: i64 = -2;

impl AcquireAnswer {
    /// Parses the verdict of [`ACQUIRE`], and the detail that follows the time.
    #[must_use]
    pub fn from_script(verdict: i64, detail: i64) -> Self {
        let counter = detail;
        let detail = u64::try_from(detail).unwrap_or_default();
        match verdict {
            OURS if detail == 0 => Self::granted(),
            OURS => Self::counted(detail),
            OURS_FROM_PREDECESSOR => Self::from_script(OURS, counter).following(),
            QUEUED => Self::Queued,
            OTHER_PERMITS => Self::other_permits(u32::try_from(detail).unwrap_or_default()),
            QUARANTINED => Self::quarantined(Duration::from_millis(detail)),
            pttl if detail == 0 => Self::held(remaining(pttl)),
            pttl => Self::held(remaining(pttl)).by_readers(),
        }
    }
}

impl SlotHeld {
    /// Parses the answer of [`PERMIT`] if the slot is held. Returns the time of the node's clock, too.
    ///
    /// # Errors
    ///
    /// If the script cannot return this answer.
    pub fn from_script(text: &[u8], is_complete: i64) -> Result<(Self, Option<Duration>), NodeError> {
        let parsed = || {
            let mut words = str::from_utf8(text).ok()?.split_ascii_whitespace();
            let (pttl, micros) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let free: Vec<_> = words.map(|slot| slot.parse().ok()).collect::<Option<_>>()?;
            Some((Self::new(remaining(pttl), free, is_complete == 1), clock(micros)))
        };
        parsed().ok_or_else(|| NodeError::new(NodeErrorKind::Other, "unexpected answer to an acquire of a permit"))
    }
}

impl ExtendAnswer {
    /// Parses the verdict of [`EXTEND`].
    #[must_use]
    pub fn from_script(verdict: i64) -> Self {
        match verdict {
            OURS => Self::Extended,
            OURS_AGAIN => Self::Healed,
            pttl => Self::held(remaining(pttl)),
        }
    }
}

impl RaiseAnswer {
    /// Parses the answer of [`RAISE`].
    ///
    /// # Errors
    ///
    /// If the script cannot return this answer.
    pub fn from_script(answer: i64) -> Result<Self, NodeError> {
        match (answer, u64::try_from(answer)) {
            (OURS, _) => Ok(Self::Confirmed),
            (NOT_OURS, _) => Ok(Self::NotHeld),
            (_, Ok(counter)) => Ok(Self::Higher(counter)),
            _ => Err(NodeError::new(NodeErrorKind::Other, format!("unexpected answer {answer} to a raise"))),
        }
    }
}

impl OpenAnswer {
    /// Parses the answer of [`OPEN`]. `asked` is the run in the request, and `sent_again` says whether the request was
    /// already sent over a connection that broke.
    ///
    /// # Errors
    ///
    /// If the script cannot return this answer, or if there is a marker after the request was sent again: the first
    /// copy may have set it.
    pub fn from_script(run: &[u8], answer: i64, asked: Option<&str>, sent_again: bool) -> Result<Self, NodeError> {
        match (answer, asked) {
            (1, None) => Ok(Self::New { run: String::from_utf8_lossy(run).into_owned() }),
            (1, Some(_)) => Ok(Self::Opened),
            (0, Some(_)) if sent_again => {
                Err(NodeError::new(NodeErrorKind::Unreachable, "the connection broke before the opening was answered"))
            }
            (0, _) => Ok(Self::InUse),
            _ => Err(NodeError::new(NodeErrorKind::Other, format!("unexpected answer {answer} to an opening"))),
        }
    }
}

impl ReleaseAnswer {
    /// Parses the answer of [`RELEASE`]. `sent_again` says whether the request was already sent over a connection that
    /// broke.
    ///
    /// # Errors
    ///
    /// If the script cannot return this answer, or if the lock is gone after the release was sent again: the first copy
    /// may have deleted it, so "not held" would be a false alarm.
    pub fn from_script(answer: i64, sent_again: bool) -> Result<Self, NodeError> {
        let woken = answer & 2 != 0;
        match answer {
            1 | 3 => Ok(Self::Released.waking(woken)),
            0 | 2 if sent_again => {
                Err(NodeError::new(NodeErrorKind::Unreachable, "the connection broke before the release was answered"))
            }
            0 | 2 => Ok(Self::NotHeld.waking(woken)),
            other => Err(NodeError::new(NodeErrorKind::Other, format!("unexpected answer {other} to a release"))),
        }
    }
}

impl InspectAnswer {
    /// Parses the answer of [`INSPECT`] for a shared key.
    #[must_use]
    pub fn from_script(lines: &[u8], pttl: i64, count: i64) -> Self {
        let reader = |line: &[u8]| {
            let (left, token) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
            let left = str::from_utf8(left).ok()?.parse().ok()?;
            Some(Reader { token: token.trim_ascii_start().to_owned(), remaining: Duration::from_millis(left) })
        };
        let readers = lines.split(|byte| *byte == b'\n').filter_map(reader).collect();
        Self::shared(readers, usize::try_from(count).unwrap_or_default(), remaining(pttl))
    }
}

/// Returns the time of a node's clock, given in microseconds since 1970. `None` if the user may not read it.
#[must_use]
pub fn clock(micros: i64) -> Option<Duration> {
    u64::try_from(micros).ok().filter(|micros| *micros > 0).map(Duration::from_micros)
}

/// Converts the result of `PTTL`. `None` for a key without expiry.
#[must_use]
pub fn remaining(pttl: i64) -> Option<Duration> {
    u64::try_from(pttl).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hash_is_its_scripts() {
        let scripts =
            [ACQUIRE, ACQUIRE_SHARED, PERMIT, EXTEND, EXTEND_SHARED, PERMIT_EXTEND, RELEASE, INSPECT, RAISE, OPEN];
        for script in scripts {
            let sha1 = sha1_smol::Sha1::from(script.source()).digest().to_string();
            assert_eq!(script.sha1(), sha1, "{}", script.source());
        }
    }

    #[test]
    fn what_a_script_says_of_our_own_key_is_nothing_that_pttl_says() {
        assert_eq!(AcquireAnswer::from_script(-3, 0), AcquireAnswer::granted());
        assert_eq!(AcquireAnswer::from_script(-3, 7), AcquireAnswer::counted(7));
        assert_eq!(AcquireAnswer::from_script(-5, 7), AcquireAnswer::quarantined(Duration::from_millis(7)));
        assert_eq!(ExtendAnswer::from_script(-3), ExtendAnswer::Extended);
        assert_eq!(ExtendAnswer::from_script(-4), ExtendAnswer::Healed);
        assert_eq!(AcquireAnswer::from_script(-6, 0), AcquireAnswer::Queued);
        assert_eq!(AcquireAnswer::from_script(-7, 0), AcquireAnswer::granted().following());
        assert_eq!(AcquireAnswer::from_script(-7, 7), AcquireAnswer::counted(7).following());
        for pttl in [-2, -1, 0, 1, 3, 4, i64::MAX] {
            assert_eq!(AcquireAnswer::from_script(pttl, 0), AcquireAnswer::held(remaining(pttl)));
            assert_eq!(ExtendAnswer::from_script(pttl), ExtendAnswer::held(remaining(pttl)));
        }
    }

    #[test]
    fn a_slot_that_is_held_comes_with_those_that_are_free() {
        let read = |text: &str, is_complete| SlotHeld::from_script(text.as_bytes(), is_complete);
        let millis = Duration::from_millis;
        assert_eq!(read("7 5000 3 0", 1).unwrap(), (SlotHeld::new(Some(millis(7)), vec![3, 0], true), Some(millis(5))));
        assert_eq!(read("-1 0 ", 0).unwrap(), (SlotHeld::new(None, vec![], false), None));
        assert_eq!(AcquireAnswer::from_script(-8, 16), AcquireAnswer::other_permits(16));
        for text in ["", "7", "7 x", "7 5 -1", "\u{e9}"] {
            assert!(read(text, 1).is_err(), "{text}");
        }
    }

    #[test]
    fn a_holder_without_expiry_has_no_remaining_time() {
        assert_eq!(AcquireAnswer::from_script(-1, 0), AcquireAnswer::held(None));
        assert_eq!(AcquireAnswer::from_script(7, 0), AcquireAnswer::held(Some(Duration::from_millis(7))));
    }

    #[test]
    fn a_key_that_vanished_is_not_taken_for_ours() {
        assert_eq!(AcquireAnswer::from_script(-2, 0), AcquireAnswer::held(None));
        assert_eq!(ExtendAnswer::from_script(-2), ExtendAnswer::held(None));
    }

    #[test]
    fn an_answer_that_no_script_gives_is_an_error() {
        assert!(ReleaseAnswer::from_script(4, false).is_err());
        assert!(RaiseAnswer::from_script(-1).is_err());
        assert!(OpenAnswer::from_script(b"7", 2, None, false).is_err());
    }

    #[test]
    fn a_raise_is_confirmed_outrun_or_too_late() {
        assert_eq!(RaiseAnswer::from_script(-3).unwrap(), RaiseAnswer::Confirmed);
        assert_eq!(RaiseAnswer::from_script(-2).unwrap(), RaiseAnswer::NotHeld);
        assert_eq!(RaiseAnswer::from_script(9).unwrap(), RaiseAnswer::Higher(9));
    }

    #[test]
    fn a_node_is_opened_or_in_use() {
        let read = |answer, asked, sent_again| OpenAnswer::from_script(b"7", answer, asked, sent_again);
        assert_eq!(read(1, None, false).unwrap(), OpenAnswer::New { run: "7".to_owned() });
        assert_eq!(read(1, Some("7"), true).unwrap(), OpenAnswer::Opened);
        assert_eq!(read(0, None, true).unwrap(), OpenAnswer::InUse);
        assert_eq!(read(0, Some("7"), false).unwrap(), OpenAnswer::InUse);
        assert_eq!(read(0, Some("7"), true).unwrap_err().kind(), NodeErrorKind::Unreachable);
    }

    #[test]
    fn a_clock_that_may_not_be_asked_tells_nothing() {
        assert_eq!((clock(0), clock(-1)), (None, None));
        assert_eq!(clock(1_500_000), Some(Duration::from_millis(1_500)));
    }

    #[test]
    fn a_release_that_was_sent_again_and_finds_nothing_cannot_tell() {
        assert_eq!(ReleaseAnswer::from_script(0, false).unwrap(), ReleaseAnswer::NotHeld);
        assert_eq!(ReleaseAnswer::from_script(0, true).unwrap_err().kind(), NodeErrorKind::Unreachable);
        assert_eq!(ReleaseAnswer::from_script(1, true).unwrap(), ReleaseAnswer::Released);
        assert_eq!(ReleaseAnswer::from_script(3, true).unwrap(), ReleaseAnswer::ReleasedAndWoken);
        assert_eq!(ReleaseAnswer::from_script(2, false).unwrap(), ReleaseAnswer::NotHeldAndWoken);
        assert_eq!(ReleaseAnswer::from_script(2, true).unwrap_err().kind(), NodeErrorKind::Unreachable);
    }
}
