//! The kinds of node errors, by what a caller can do about them.

use std::fmt;

use super::secrets::without_echo;

/// The kinds of [`NodeError`](crate::NodeError), by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// There was no answer in time. The node may be hung, overloaded or far away, and may still carry out the request.
    Timeout,
    /// The node cannot be reached: refused, reset, unknown host, TLS failure.
    Unreachable,
    /// The node rejects the connection: it has reached its maximum of clients (`maxclients`), or is in protected mode.
    Rejected,
    /// The node requires another user or password.
    Authentication,
    /// The user may not run the command (`NOPERM`): `EVALSHA` and `EVAL` are required.
    Permission,
    /// The key holds something that is not a string: it is not a lock.
    WrongType,
    /// The node is a read-only replica, or currently refuses writes.
    ReadOnly,
    /// The node is loading its data set, or busy with a script.
    Loading,
    /// The node's `maxmemory` is reached.
    OutOfMemory,
    /// The node's restart guard differs: it was set up for another longest TTL, or its marker holds something else. Or
    /// the server was restarted while it was being opened.
    Guard,
    /// The node's clock has jumped, and the caller has chosen that its grants do not count for a while.
    ClockJumped,
    /// The node has no database with that number.
    Database,
    /// The node does not support the operation at all.
    Unsupported,
    /// Anything else; see the source.
    Other,
}

impl NodeErrorKind {
    /// Returns whether the same request fails again until the configuration of the node, or of the client, is changed.
    pub(crate) fn is_lasting(self) -> bool {
        use NodeErrorKind::{Authentication, Database, Permission, Unsupported};
        matches!(self, Authentication | Permission | Database | Unsupported)
    }

    /// Returns what an operator can do about it, if anything.
    #[must_use]
    pub fn advice(self) -> Option<&'static str> {
        match self {
            Self::Timeout => Some("look for a hung or overloaded node, or raise the node timeout"),
            Self::Unreachable => Some("check that the node runs and that its address, port and TLS settings are right"),
            Self::Rejected => Some(
                "raise the node's maxclients and look for clients that leave connections open; or leave protected mode",
            ),
            Self::Authentication => Some("check the user and the password in the node's URL"),
            Self::Permission => Some(
                "allow the user EVAL, EVALSHA, SET, GETRANGE, DEL and PTTL on the locks' keys, TIME, INCR, DECR and PEXPIRE for fencing, TIME and INFO for \
                 the restart guard, TIME, EXISTS, ZADD, ZCOUNT, ZRANGE, ZREM, ZREMRANGEBYSCORE, ZSCORE and PEXPIREAT for \
                 shared locks, and SELECT if a database is given",
            ),
            Self::WrongType => Some("the key is used for something else: choose another resource name"),
            Self::ReadOnly => {
                Some("use a primary's address, since a replica is not a node; or let the node write again")
            }
            Self::Loading => Some("wait until the node has loaded its data"),
            Self::OutOfMemory => Some("raise the node's maxmemory, or give the locks a node of their own"),
            Self::Guard => Some("set the same longest TTL in all programs that use these nodes"),
            Self::ClockJumped => Some("look at the node's time service"),
            Self::Database => Some("choose a lower database number, or raise the node's `databases`"),
            Self::Unsupported | Self::Other => None,
        }
    }

    /// Returns one word for labels and traces: `timeout`, `unreachable` and so on, and `_OTHER` for anything else, as
    /// OpenTelemetry defines it for `error.type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Rejected => "rejected",
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::WrongType => "wrong_type",
            Self::ReadOnly => "read_only",
            Self::Loading => "loading",
            Self::OutOfMemory => "out_of_memory",
            Self::Guard => "guard",
            Self::ClockJumped => "clock_jumped",
            Self::Database => "database",
            Self::Unsupported => "unsupported",
            Self::Other => "_OTHER",
        }
    }

    /// Returns the kind of a Redis error reply, from its text, for example `WRONGTYPE Operation against a key ...`.
    ///
    /// For authors of backends: clients disagree on how they split a reply, and servers before 7.0 wrap the reply of a
    /// command that failed inside a script, so the code is searched for anywhere in the text.
    #[must_use]
    pub fn of_reply(text: &str) -> Self {
        const CODES: [(&str, NodeErrorKind); 22] = [
            ("GUARD", NodeErrorKind::Guard),
            ("max number of clients reached", NodeErrorKind::Rejected),
            ("running in protected mode", NodeErrorKind::Rejected),
            ("DB index is out of range", NodeErrorKind::Database),
            ("NOAUTH", NodeErrorKind::Authentication),
            ("Authentication required", NodeErrorKind::Authentication),
            ("WRONGPASS", NodeErrorKind::Authentication),
            ("invalid password", NodeErrorKind::Authentication),
            ("without any password configured", NodeErrorKind::Authentication),
            ("NOPERM", NodeErrorKind::Permission),
            ("has no permissions", NodeErrorKind::Permission),
            ("user executing the script can't", NodeErrorKind::Permission),
            ("WRONGTYPE", NodeErrorKind::WrongType),
            ("READONLY", NodeErrorKind::ReadOnly),
            ("MISCONF", NodeErrorKind::ReadOnly),
            ("NOREPLICAS", NodeErrorKind::ReadOnly),
            ("MASTERDOWN", NodeErrorKind::ReadOnly),
            ("LOADING", NodeErrorKind::Loading),
            ("BUSY", NodeErrorKind::Loading),
            ("OOM", NodeErrorKind::OutOfMemory),
            ("unknown command", NodeErrorKind::Unsupported),
            ("NOPROTO", NodeErrorKind::Unsupported),
        ];
        // The rest of the text contains no code, whatever the names of locks are.
        let text = without_echo(text);
        CODES.iter().find(|(code, _)| text.contains(code)).map_or(Self::Other, |(_, kind)| *kind)
    }
}

impl fmt::Display for NodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "no answer in time",
            Self::Unreachable => "unreachable",
            Self::Rejected => "connection rejected",
            Self::Authentication => "authentication failed",
            Self::Permission => "permission denied",
            Self::WrongType => "the key holds another type",
            Self::ReadOnly => "read-only",
            Self::Loading => "loading or busy",
            Self::OutOfMemory => "out of memory",
            Self::Guard => "another restart guard",
            Self::ClockJumped => "the clock has jumped",
            Self::Database => "no such database",
            Self::Unsupported => "not supported",
            Self::Other => "error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_reply_is_found_wherever_its_code_is() {
        for (text, kind) in [
            ("ERR max number of clients reached", NodeErrorKind::Rejected),
            ("DENIED Redis is running in protected mode because", NodeErrorKind::Rejected),
            ("ERR DB index is out of range", NodeErrorKind::Database),
            ("NOAUTH Authentication required.", NodeErrorKind::Authentication),
            ("WRONGPASS invalid username-password pair or user is disabled.", NodeErrorKind::Authentication),
            ("ERR invalid password", NodeErrorKind::Authentication),
            ("ERR AUTH <password> called without any password configured", NodeErrorKind::Authentication),
            ("NOPERM this user has no permissions to run the 'evalsha' command", NodeErrorKind::Permission),
            ("refused to switch database: this user has no permissions to run 'select'", NodeErrorKind::Permission),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", NodeErrorKind::WrongType),
            ("ERR Error running script (call to f_1): @user_script:3: -READONLY You can't", NodeErrorKind::ReadOnly),
            ("MISCONF Redis is configured to save RDB snapshots", NodeErrorKind::ReadOnly),
            ("NOREPLICAS Not enough good replicas to write.", NodeErrorKind::ReadOnly),
            ("MASTERDOWN Link with MASTER is down", NodeErrorKind::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", NodeErrorKind::Loading),
            ("BUSY Redis is busy running a script.", NodeErrorKind::Loading),
            ("OOM command not allowed when used memory > 'maxmemory'.", NodeErrorKind::OutOfMemory),
            ("GUARD the restart guard was set up here for ttls up to 7 ms", NodeErrorKind::Guard),
            ("ERR unknown command 'EVALSHA'", NodeErrorKind::Unsupported),
            ("ERR unknown command 'EVALSHA', with args beginning with: 'NOAUTH'", NodeErrorKind::Unsupported),
            ("NOPROTO unsupported protocol version", NodeErrorKind::Unsupported),
            ("ERR whatever", NodeErrorKind::Other),
        ] {
            assert_eq!(NodeErrorKind::of_reply(text), kind, "{text}");
        }
    }

    #[test]
    fn every_kind_says_what_it_is_and_what_to_do() {
        for (kind, text, advice) in [
            (NodeErrorKind::Timeout, "no answer in time", "raise the node timeout"),
            (NodeErrorKind::Unreachable, "unreachable", "check that the node runs"),
            (NodeErrorKind::Rejected, "connection rejected", "maxclients"),
            (NodeErrorKind::Database, "no such database", "a lower database number"),
            (NodeErrorKind::Authentication, "authentication failed", "the user and the password"),
            (NodeErrorKind::Permission, "permission denied", "EVAL, EVALSHA"),
            (NodeErrorKind::WrongType, "the key holds another type", "another resource name"),
            (NodeErrorKind::ReadOnly, "read-only", "a primary's address"),
            (NodeErrorKind::Loading, "loading or busy", "wait until"),
            (NodeErrorKind::OutOfMemory, "out of memory", "maxmemory"),
            (NodeErrorKind::Guard, "another restart guard", "the same longest TTL"),
            (NodeErrorKind::ClockJumped, "the clock has jumped", "time service"),
        ] {
            assert_eq!(kind.to_string(), text);
            assert!(kind.advice().unwrap().contains(advice), "{kind}");
        }
        for (kind, text) in [(NodeErrorKind::Unsupported, "not supported"), (NodeErrorKind::Other, "error")] {
            assert_eq!((kind.to_string().as_str(), kind.advice()), (text, None));
        }
    }
}
