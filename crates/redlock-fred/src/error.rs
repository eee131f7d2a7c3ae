//! Converts errors of fred to [`NodeError`]s.

use std::io;

use fred::error::{Error, ErrorKind};
use redlock_core::{NodeError, NodeErrorKind};

pub(crate) fn node_error(error: Error) -> NodeError {
    let kind = match error.kind() {
        // Also a connect or a handshake that took too long.
        ErrorKind::Timeout => NodeErrorKind::Timeout,
        ErrorKind::Auth => NodeErrorKind::Authentication,
        ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Routing | ErrorKind::Sentinel => NodeErrorKind::Unreachable,
        // A server whose answers cannot be parsed is not a Redis node, or requires TLS.
        ErrorKind::Protocol => NodeErrorKind::Unreachable,
        _ if is_unconnected(&error) => NodeErrorKind::Unreachable,
        #[cfg(feature = "tls")]
        ErrorKind::Tls => NodeErrorKind::Unreachable,
        _ => NodeErrorKind::of_reply(error.details()),
    };
    if let Some(os_error) = os_error(&error) {
        return NodeError::new(kind, os_error);
    }
    let reply = error.details().to_owned();
    NodeError::new(kind, error).with_reply(&reply)
}

/// Returns the operating system's error, which fred keeps only as its `Debug` output: `Os { code: 111, kind: ...`.
fn os_error(error: &Error) -> Option<io::Error> {
    let code = error.details().strip_prefix("Os { code: ")?.split(',').next()?.parse().ok()?;
    Some(io::Error::from_raw_os_error(code))
}

/// Returns whether the node does not have the script. A server before 7.0 may wrap the reply in another.
pub(crate) fn is_no_script(error: &Error) -> bool {
    error.details().contains("NOSCRIPT")
}

/// Returns whether the connection can no longer be used.
pub(crate) fn is_broken(error: &Error) -> bool {
    // After a reply that cannot be parsed, the stream is out of step.
    matches!(error.kind(), ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Protocol) || is_unconnected(error)
}

/// Returns whether fred could not send the command: it has no error kind for that.
fn is_unconnected(error: &Error) -> bool {
    const TEXTS: [&str; 3] = ["Failed to route command.", "Client is not initialized.", "channel closed"];
    *error.kind() == ErrorKind::Unknown && TEXTS.contains(&error.details())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn replied(text: &str) -> Error {
        // The kind that fred assigns to most replies.
        Error::new(ErrorKind::Unknown, text.to_owned())
    }

    #[test]
    fn an_error_reply_has_the_kind_of_its_code() {
        for (text, kind) in [
            ("NOPERM this user has no permissions to run the 'evalsha' command", NodeErrorKind::Permission),
            ("READONLY You can't write against a read only replica.", NodeErrorKind::ReadOnly),
            ("LOADING Redis is loading the dataset in memory", NodeErrorKind::Loading),
            ("BUSY Redis is busy running a script.", NodeErrorKind::Loading),
            ("OOM command not allowed when used memory > 'maxmemory'.", NodeErrorKind::OutOfMemory),
            ("ERR unknown command 'EVALSHA'", NodeErrorKind::Unsupported),
            ("ERR something else", NodeErrorKind::Other),
        ] {
            assert_eq!(node_error(replied(text)).kind(), kind, "{text}");
            assert!(!is_broken(&replied(text)), "{text}");
        }
        let text = "WRONGTYPE Operation against a key holding the wrong kind of value";
        assert_eq!(node_error(Error::new(ErrorKind::InvalidArgument, text)).kind(), NodeErrorKind::WrongType);
    }

    #[test]
    fn a_missing_answer_and_a_missing_connection_are_different_kinds() {
        let timeout = Error::new(ErrorKind::Timeout, "Request timed out.");
        assert!(!is_broken(&timeout));
        assert_eq!(node_error(timeout).kind(), NodeErrorKind::Timeout);
        for error in [
            Error::new(ErrorKind::IO, "Connection closed."),
            Error::new(ErrorKind::Canceled, "Connection closed unexpectedly."),
            Error::new(ErrorKind::Unknown, "Failed to route command."),
        ] {
            assert!(is_broken(&error), "{error}");
            assert_eq!(node_error(error.clone()).kind(), NodeErrorKind::Unreachable, "{error}");
        }
    }

    #[test]
    fn an_error_of_the_operating_system_keeps_its_text() {
        let refused = io::Error::from_raw_os_error(111);
        let error = node_error(Error::from(io::Error::from_raw_os_error(111)));
        assert_eq!(error.kind(), NodeErrorKind::Unreachable);
        assert_eq!(error.source().unwrap().to_string(), refused.to_string());
        let other = node_error(Error::from(io::Error::other("Os")));
        assert!(other.source().is_some_and(|source| source.is::<Error>()));
    }

    #[test]
    fn a_failed_login_while_connecting_is_an_authentication_error() {
        for text in ["WRONGPASS invalid username-password pair", "NOAUTH Authentication required."] {
            let error = node_error(Error::new(ErrorKind::Auth, text));
            assert_eq!(error.kind(), NodeErrorKind::Authentication, "{text}");
        }
    }

    #[test]
    fn a_missing_script_is_recognized_even_in_a_wrapped_reply() {
        assert!(is_no_script(&replied("NOSCRIPT No matching script. Please use EVAL.")));
        assert!(is_no_script(&replied("ERR Error running script: NOSCRIPT No matching script.")));
        assert!(!is_no_script(&replied("ERR unknown command")));
    }

    #[test]
    fn the_clients_own_error_is_the_source() {
        let error = node_error(replied("ERR something else"));
        assert!(error.source().is_some_and(|source| source.is::<Error>()));
    }
}
