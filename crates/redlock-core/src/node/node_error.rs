//! The error type of nodes: why a node did not answer, and what can be done about it.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::{
    node_error_kind::NodeErrorKind,
    redirect::Redirect,
    secrets::{cleaned, without_echo},
};

/// Why a node did not answer, or answered with an error.
#[derive(Debug, Clone)]
pub struct NodeError {
    kind: NodeErrorKind,
    sent: Sent,
    wrong_server: Option<WrongServer>,
    /// Boxed so that all other errors stay small.
    redirect: Option<Box<Redirect>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// Why the server may be the wrong one: the node's host name may lead to another server by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WrongServer {
    /// It is a replica.
    Replica,
    /// It is loading its data set, like a replica that starts to follow another server, but also like a server after a
    /// restart.
    Loading,
    /// It requires a password.
    Password,
}

impl WrongServer {
    /// Finds the reason by the code of a reply, which earlier servers wrap. `MISCONF`, `NOREPLICAS` and `BUSY` are
    /// states of the right server.
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

/// Whether the failed request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// It was not: there was no connection.
    Never,
    /// It may have been sent over an earlier connection, whatever happened over the next one.
    Before,
    /// The kind of the error determines it.
    Unmarked,
}

impl NodeError {
    /// Creates an error of `kind`, caused by `source` (the client's own error, or a text).
    ///
    /// The text of `source` may come from a server, which may send anything. If it repeats what the server was sent,
    /// contains something that looks like a token, or is longer than 500 bytes, only its text without that is kept.
    pub fn new(kind: NodeErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into().into()), ..kind.into() }.without(&[])
    }

    /// Adds the server's reply, which begins with its code and is parsed by [`NodeErrorKind::of_reply`]. If the reply
    /// shows that the server may be the wrong one, for example a replica, the connection is replaced. For authors of
    /// backends.
    #[must_use]
    pub fn with_reply(self, text: &str) -> Self {
        Self { wrong_server: WrongServer::of_reply(text), redirect: Redirect::of_reply(text).map(Box::new), ..self }
    }

    /// Returns why the server may be the wrong one, if its reply shows that.
    pub(crate) fn wrong_server(&self) -> Option<WrongServer> {
        self.wrong_server
    }

    /// Returns where a member of a Redis Cluster redirects the request to, if its reply does so.
    pub(crate) fn redirect(&self) -> Option<&Redirect> {
        self.redirect.as_deref()
    }

    /// Returns the same error without these secrets.
    pub(crate) fn without(self, secrets: &[&str]) -> Self {
        let text = self.source.as_ref().and_then(|source| cleaned(&**source, secrets));
        match text {
            Some(text) => Self { source: Some(Box::<dyn Error + Send + Sync>::from(text).into()), ..self },
            None => self,
        }
    }

    /// Creates the error for an answer that did not arrive within this time.
    #[must_use]
    pub fn no_answer(within: Duration) -> Self {
        Self::new(NodeErrorKind::Timeout, format!("no answer within {within:?}"))
    }

    /// Creates the error for a connection that was not made within this time.
    #[must_use]
    pub fn no_connection(within: Duration) -> Self {
        Self::new(NodeErrorKind::Timeout, format!("no connection within {within:?}")).never_sent()
    }

    /// Creates the error for a TLS connection that was not made within this time. The handshake does not end if the
    /// other side expects plain text.
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

    /// Marks the request as one that was sent before, over a connection that broke: the node may still carry out that
    /// copy. Without this mark, an error with which the node has answered means that nothing was carried out.
    #[must_use]
    pub fn perhaps_sent(self) -> Self {
        Self { sent: Sent::Before, ..self }
    }

    /// Returns the error of a second request, marked as possibly sent if the first one was `sent_again`.
    pub(crate) fn after(self, sent_again: bool) -> Self {
        if sent_again { self.perhaps_sent() } else { self }
    }

    /// Returns whether the request may have been sent before, over a connection that broke.
    pub(crate) fn is_of_second_copy(&self) -> bool {
        self.sent == Sent::Before
    }

    /// Returns whether the request was never sent.
    pub(crate) fn was_never_sent(&self) -> bool {
        self.sent == Sent::Never
    }

    /// Returns whether the request was certainly not carried out, and will not be: the node has answered with an error,
    /// or the request was never sent.
    pub(crate) fn is_certain(&self) -> bool {
        use NodeErrorKind::{Other, Timeout, Unreachable};
        match self.sent {
            Sent::Never => true,
            Sent::Before => false,
            Sent::Unmarked => !matches!(self.kind, Timeout | Unreachable | Other),
        }
    }

    /// Returns the kind of the error, which a caller can act on.
    #[must_use]
    pub fn kind(&self) -> NodeErrorKind {
        self.kind
    }

    /// Returns the error with all its causes on one line, whatever line breaks a server put into them. Many errors
    /// repeat their cause, so a cause is left out if the text already ends with it.
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
        // The error itself and not the `Arc`, because callers downcast it to the client's own error.
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<NodeErrorKind> for NodeError {
    fn from(kind: NodeErrorKind) -> Self {
        Self { kind, sent: Sent::Unmarked, wrong_server: None, redirect: None, source: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_timeout_error_states_how_long_the_wait_was() {
        let second = Duration::from_secs(1);
        for (error, text) in [
            (NodeError::no_answer(second), "no answer in time: no answer within 1s"),
            (NodeError::no_connection(second), "no answer in time: no connection within 1s"),
        ] {
            assert_eq!((error.kind(), error.chain().as_str()), (NodeErrorKind::Timeout, text));
        }
    }

    #[test]
    fn the_clients_own_error_is_the_source() {
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
    fn a_chain_is_one_line_without_repetition() {
        #[derive(Debug, thiserror::Error)]
        #[error("io: {0}")]
        struct Repeats(#[source] std::io::Error);

        let cause = Repeats(std::io::Error::other("refused\r\nERROR forged"));
        let error = NodeError::new(NodeErrorKind::Unreachable, cause);
        assert_eq!(error.chain(), "unreachable: io: refused  ERROR forged");
    }
}
