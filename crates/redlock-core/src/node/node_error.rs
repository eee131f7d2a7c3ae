//! Why a node did not answer, and what can be done about it.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::secrets::{cleaned, without_echo};

/// Why a node did not answer, or answered with an error.
#[derive(Debug, Clone)]
pub struct NodeError {
    kind: NodeErrorKind,
    sent: Sent,
    wrong_server: Option<WrongServer>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why the server may be the wrong one: the name of the node may lead to another one by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongServer {
    /// It is a replica.
    Replica,
    /// It loads its data set, as a replica does that starts to follow another server. So does a server after a restart.
    Loading,
    /// It requires a password.
    Password,
}

impl WrongServer {
    /// By the code of a reply, which earlier servers wrap. `MISCONF`, `NOREPLICAS` and `BUSY` are states of the right
    /// one.
    fn of_reply(text: &str) -> Option<Self> {
        const CODES: [(&str, WrongServer); 4] = [
            ("READONLY", WrongServer::Replica),
            ("MASTERDOWN", WrongServer::Replica),
            ("LOADING", WrongServer::Loading),
            ("NOAUTH", WrongServer::Password),
        ];
        let text = without_echo(text);
        CODES.iter().find(|(code, _)| text.contains(code)).map(|(_, why)| *why)
    }
}

/// Whether the request was sent that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It was not: there was no connection.
    Never,
    /// Perhaps, over an earlier connection, whatever became of it over the next.
    Before,
    /// The kind of the error tells.
    Unmarked,
}

impl NodeError {
    /// An error of `kind`, caused by `source` (the client's own error, or a text).
    ///
    /// What `source` says may come from a server, which may say anything. If it repeats what it was sent, contains
    /// something that looks like a token, or is longer than 500 bytes, its text without that takes its place.
    pub fn new(kind: NodeErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into().into()), ..kind.into() }.without(&[])
    }

    /// Notes what the server has replied, code first, as [`NodeErrorKind::of_reply`] takes it. A connection is made
    /// again if the server may be the wrong one: if it is a replica, for example. For authors of backends.
    #[must_use]
    pub fn with_reply(self, text: &str) -> Self {
        Self { wrong_server: WrongServer::of_reply(text), ..self }
    }

    /// Why the server may be the wrong one, if its reply says so.
    pub(crate) fn wrong_server(&self) -> Option<WrongServer> {
        self.wrong_server
    }

    /// The same error, in which none of these secrets can be read.
    pub(crate) fn without(self, secrets: &[&str]) -> Self {
        let text = self.source.as_ref().and_then(|source| cleaned(&**source, secrets));
        match text {
            Some(text) => Self { source: Some(Box::<dyn Error + Send + Sync>::from(text).into()), ..self },
            None => self,
        }
    }

    /// There was no answer within this time.
    #[must_use]
    pub fn no_answer(within: Duration) -> Self {
        Self::new(NodeErrorKind::Timeout, format!("no answer within {within:?}"))
    }

    /// There was no connection within this time.
    #[must_use]
    pub fn no_connection(within: Duration) -> Self {
        Self::new(NodeErrorKind::Timeout, format!("no connection within {within:?}")).never_sent()
    }

    /// There was no TLS connection within this time. The handshake does not end where the other side expects plain
    /// text.
    #[must_use]
    pub fn no_tls_connection(within: Duration) -> Self {
        let text = format!("no connection over TLS within {within:?}: does the port speak TLS?");
        Self::new(NodeErrorKind::Timeout, text).never_sent()
    }

    /// Marks the request as one that was never sent, so that the node cannot carry it out later: there was no
    /// connection. Without this mark, a request without an answer counts as one that may be carried out at any time.
    #[must_use]
    pub fn never_sent(self) -> Self {
        Self { sent: Sent::Never, ..self }
    }

    /// Marks the request as one that may have been sent after all, on an earlier connection.
    pub(crate) fn perhaps_sent(self) -> Self {
        Self { sent: Sent::Before, ..self }
    }

    /// The error of a second request, of which the first was `sent_again` or not.
    pub(crate) fn after(self, sent_again: bool) -> Self {
        if sent_again { self.perhaps_sent() } else { self }
    }

    /// Whether the request was sent before, on a connection that broke.
    pub(crate) fn is_of_second_copy(&self) -> bool {
        self.sent == Sent::Before
    }

    /// Whether the request was not carried out, and will not be: the node has answered with an error, or it was never
    /// sent.
    pub(crate) fn is_certain(&self) -> bool {
        use NodeErrorKind::{Other, Timeout, Unreachable};
        match self.sent {
            Sent::Never => true,
            Sent::Before => false,
            Sent::Unmarked => !matches!(self.kind, Timeout | Unreachable | Other),
        }
    }

    /// What a caller can act on.
    #[must_use]
    pub fn kind(&self) -> NodeErrorKind {
        self.kind
    }

    /// The error with all its causes on one line, whatever line breaks a server put into them. Many errors repeat
    /// their cause: what stands there already is not said again.
    pub(crate) fn chain(&self) -> String {
        let mut chain = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string().replace(char::is_control, " ");
            if !chain.ends_with(&text) {
                chain.push_str(": ");
                chain.push_str(&text);
            }
            cause = error.source();
        }
        chain
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Error for NodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Not the `Arc`: callers downcast to the client's own error.
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<NodeErrorKind> for NodeError {
    fn from(kind: NodeErrorKind) -> Self {
        Self { kind, sent: Sent::Unmarked, wrong_server: None, source: None }
    }
}

/// The kinds of [`NodeError`], by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum NodeErrorKind {
    /// No answer in time. The node may be hung, overloaded or far away; the request may still be carried out.
    Timeout,
    /// The node cannot be reached: refused, reset, unknown host, TLS failure.
    Unreachable,
    /// The node rejects the connection: it has as many clients as it may have (`maxclients`), or is in protected mode.
    Rejected,
    /// The node wants another user or password.
    Authentication,
    /// The user may not run the command (`NOPERM`): `EVALSHA` and `EVAL` are needed.
    Permission,
    /// The key holds something that is not a string: it is not a lock.
    WrongType,
    /// The node is a read-only replica, or may not write now.
    ReadOnly,
    /// The node is loading its data set, or busy with a script.
    Loading,
    /// The node's `maxmemory` is reached.
    OutOfMemory,
    /// The node's restart guard is another: it was set up for another longest ttl, or its marker holds something else. Or
    /// the server was started anew while it was opened.
    Guard,
    /// The node's clock has jumped, and its grants do not count for a while, as the caller has chosen.
    ClockJumped,
    /// The node has no database of that number.
    Database,
    /// The node cannot do this at all.
    Unsupported,
    /// Anything else; see the source.
    Other,
}

impl NodeErrorKind {
    /// Whether the same request fails again until somebody changes the configuration of the node, or of the client.
    pub(crate) fn is_lasting(self) -> bool {
        use NodeErrorKind::{Authentication, Database, Permission, Unsupported};
        matches!(self, Authentication | Permission | Database | Unsupported)
    }

    /// What an operator can do about it, where there is something to do.
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
                 the restart guard, and SELECT if a database is given",
            ),
            Self::WrongType => Some("the key is used for something else: choose another resource name"),
            Self::ReadOnly => {
                Some("give a primary's address, since a replica is not a node; or let the node write again")
            }
            Self::Loading => Some("wait until the node has loaded its data"),
            Self::OutOfMemory => Some("raise the node's maxmemory, or give the locks a node of their own"),
            Self::Guard => Some("set the same longest ttl wherever these nodes are used"),
            Self::ClockJumped => Some("look at the node's time service"),
            Self::Database => Some("choose a lower database number, or raise the node's `databases`"),
            Self::Unsupported | Self::Other => None,
        }
    }

    /// One word for it, for labels and traces: `timeout`, `unreachable` and so on, and `_OTHER` for anything else, as
    /// OpenTelemetry has it for `error.type`.
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

    /// The kind of a Redis error reply, from its text, as `WRONGTYPE Operation against a key ...`.
    ///
    /// For authors of backends: clients disagree on how they split a reply, and servers before 7.0 wrap the reply of
    /// a command that failed inside a script, so the code is looked for anywhere in the text.
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
        // What follows is no code, whatever the names of locks are.
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
    fn the_kind_of_a_reply_is_found_wherever_its_code_stands() {
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
    fn only_some_replies_show_that_the_server_may_be_the_wrong_one() {
        for (text, why) in [
            ("READONLY You can't write against a read only replica.", Some(WrongServer::Replica)),
            ("ERR Error running script (call to f_1): @user_script:3: -READONLY You can't", Some(WrongServer::Replica)),
            ("MASTERDOWN Link with MASTER is down", Some(WrongServer::Replica)),
            ("LOADING Redis is loading the dataset in memory", Some(WrongServer::Loading)),
            ("NOAUTH Authentication required.", Some(WrongServer::Password)),
            ("MISCONF Redis is configured to save RDB snapshots", None),
            ("NOREPLICAS Not enough good replicas to write.", None),
            ("BUSY Redis is busy running a script.", None),
            ("WRONGPASS invalid username-password pair", None),
            ("ERR unknown command 'X', with args beginning with: 'NOAUTH'", None),
        ] {
            assert_eq!(WrongServer::of_reply(text), why, "{text}");
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
            (NodeErrorKind::Guard, "another restart guard", "the same longest ttl"),
            (NodeErrorKind::ClockJumped, "the clock has jumped", "time service"),
        ] {
            assert_eq!(kind.to_string(), text);
            assert!(kind.advice().unwrap().contains(advice), "{kind}");
        }
        for (kind, text) in [(NodeErrorKind::Unsupported, "not supported"), (NodeErrorKind::Other, "error")] {
            assert_eq!((kind.to_string().as_str(), kind.advice()), (text, None));
        }
    }

    #[test]
    fn an_answer_that_did_not_come_says_for_how_long_it_was_waited_for() {
        let second = Duration::from_secs(1);
        for (error, text) in [
            (NodeError::no_answer(second), "no answer in time: no answer within 1s"),
            (NodeError::no_connection(second), "no answer in time: no connection within 1s"),
        ] {
            assert_eq!((error.kind(), error.chain().as_str()), (NodeErrorKind::Timeout, text));
        }
    }

    #[test]
    fn the_clients_own_error_can_be_had() {
        let error = NodeError::new(NodeErrorKind::Unreachable, std::io::Error::from(std::io::ErrorKind::TimedOut));
        let source = error.source().unwrap().downcast_ref::<std::io::Error>();
        assert_eq!(source.map(std::io::Error::kind), Some(std::io::ErrorKind::TimedOut));
        assert!(NodeError::from(NodeErrorKind::Other).source().is_none());
    }

    #[test]
    fn an_error_that_shows_a_secret_keeps_only_its_text() {
        let token = "5f0c6c1be1c8b4b4e0d7f3c2a1908f7e6d5c4b3a";
        let echo = std::io::Error::other(format!("ERR got {token} and correct horse"));
        let error = NodeError::new(NodeErrorKind::Other, echo).without(&["correct horse"]);
        assert_eq!(error.chain(), "error: ERR got ... and ...");
        assert!(!format!("{error:?}").contains("horse"));
        let long = NodeError::new(NodeErrorKind::Other, "x".repeat(1_000_000));
        assert!(long.chain().len() < 600 && format!("{long:?}").len() < 700);
    }

    #[test]
    fn a_chain_is_one_line_and_says_everything_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("io: {0}")]
        struct Repeats(#[source] std::io::Error);

        let cause = Repeats(std::io::Error::other("refused\r\nERROR forged"));
        let error = NodeError::new(NodeErrorKind::Unreachable, cause);
        assert_eq!(error.chain(), "unreachable: io: refused  ERROR forged");
    }
}
