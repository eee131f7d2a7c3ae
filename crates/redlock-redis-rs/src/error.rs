//! Converts errors of redis-rs to [`NodeError`]s.

use redis::{ErrorKind, RedisError};
use redlock_core::{NodeError, NodeErrorKind};

pub(crate) fn node_error(error: RedisError) -> NodeError {
    let reply = reply(&error);
    let kind = match error.kind() {
        // Also a connect or a handshake that took too long.
        _ if error.is_timeout() => NodeErrorKind::Timeout,
        // A server whose answers cannot be parsed is not a Redis node, or requires TLS.
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => NodeErrorKind::Unreachable,
        ErrorKind::AuthenticationFailed => NodeErrorKind::Authentication,
        ErrorKind::RESP3NotSupported => NodeErrorKind::Unsupported,
        _ => NodeErrorKind::of_reply(&reply),
    };
    NodeError::new(kind, error).with_reply(&reply)
}

/// Returns whether the node does not have the script. A server before 7.0 may wrap the reply in another.
pub(crate) fn is_no_script(error: &RedisError) -> bool {
    reply(error).contains("NOSCRIPT")
}

/// Returns whether the server refuses the user or the password. redis-rs does not pass on the server's message.
pub(crate) fn is_login(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
}

/// Returns whether the connection can no longer be used.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    // After a reply that cannot be parsed, the stream is out of step.
    matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

/// Returns the text of a server's error reply, code first: redis-rs prints a known code under its own name.
fn reply(error: &RedisError) -> String {
    format!("{} {}", error.code().unwrap_or_default(), error.detail().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io};

    use redis::{ServerErrorKind, Value, parse_redis_value};

    use super::*;

    fn replied(text: &str) -> RedisError {
        match parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => error.into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_error_reply_has_the_kind_of_its_code() {
        for (text, kind) in [
            ("NOAUTH Authentication required.", NodeErrorKind::Authentication),
            ("NOPERM this user has no permissions to run the 'evalsha' command", NodeErrorKind::Permission),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", NodeErrorKind::WrongType),
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
    }

    #[test]
    fn a_missing_answer_and_a_missing_connection_are_different_kinds() {
        for (cause, kind) in [
            (io::ErrorKind::TimedOut, NodeErrorKind::Timeout),
            (io::ErrorKind::ConnectionRefused, NodeErrorKind::Unreachable),
            (io::ErrorKind::BrokenPipe, NodeErrorKind::Unreachable),
            (io::ErrorKind::UnexpectedEof, NodeErrorKind::Unreachable),
        ] {
            let error = RedisError::from(io::Error::from(cause));
            assert!(is_broken(&error), "{cause}");
            assert_eq!(node_error(error).kind(), kind, "{cause}");
        }
    }

    #[test]
    fn a_failed_login_while_connecting_is_an_authentication_error() {
        let password = RedisError::from((ErrorKind::AuthenticationFailed, "Password authentication failed"));
        assert_eq!(node_error(password).kind(), NodeErrorKind::Authentication);
        let no_password = RedisError::from((
            ErrorKind::Server(ServerErrorKind::ResponseError),
            "Redis server refused to switch database",
            "Authentication required.".to_owned(),
        ));
        assert_eq!(node_error(no_password).kind(), NodeErrorKind::Authentication);
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
        assert!(error.source().is_some_and(|source| source.is::<RedisError>()));
    }
}
