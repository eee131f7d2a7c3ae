//! What a Redis client does for a connection.

use std::time::Duration;

use super::{Call, Reply};
use crate::node::{NodeError, NodeErrorKind};

/// How a Redis client connects, and what it does with a connection.
pub trait Connect: Send + Sync + 'static {
    /// A connection that many commands can share. Dropped, with all its clones, it is closed.
    type Connection: Clone + Send + Sync + 'static;

    /// Connects within `connect_timeout`, so far that the first command can be sent.
    ///
    /// # Errors
    ///
    /// The real one: refused, wrong password and so on.
    fn connect(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<Self::Connection, NodeError>> + Send + 'static;

    /// Runs a script, by its hash, and by its text on a node that does not have it yet. Or the plain command that a
    /// [`Call`] without a script is.
    ///
    /// # Errors
    ///
    /// Told apart by what they mean for the connection.
    fn run(
        connection: Self::Connection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Runs a script as [`run`](Self::run), on a member of a Redis Cluster that is taking over the hash slot of its keys:
    /// `ASKING` is sent right in front of each command, with nothing in between. Default: not supported.
    ///
    /// # Errors
    ///
    /// Told apart by what they mean for the connection.
    fn run_asking(
        connection: Self::Connection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send {
        let _ = (connection, call, response_timeout);
        async { Err(Failure::Answered(NodeErrorKind::Unsupported.into())) }
    }

    /// Sends a plain command, as [`RedisClient::command`](super::RedisClient::command). Default: not supported.
    ///
    /// # Errors
    ///
    /// Told apart by what they mean for the connection.
    fn command(
        connection: Self::Connection,
        words: &[&str],
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        let _ = (connection, words, response_timeout);
        async { Err(Failure::Answered(NodeErrorKind::Unsupported.into())) }
    }

    /// How long after a connect that failed no other is tried. Default: 10 ms.
    fn pause(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// Whether the connection is known to be broken. Default: it shows when it is used.
    fn is_broken(connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }
}

/// Makes the client of the server at a host and port.
pub(super) type ClientAt<C> = dyn Fn(&str, u16) -> C + Send + Sync;

/// Why a script or a command has no reply.
#[derive(Debug)]
pub enum Failure {
    /// The connection cannot be used any more; it may have been carried out.
    Broken(NodeError),
    /// There was no answer in time.
    Silent(NodeError),
    /// The node answered with an error.
    Answered(NodeError),
}

impl Failure {
    /// The error, whatever it means for the connection.
    pub(super) fn error(self) -> NodeError {
        match self {
            Self::Broken(error) | Self::Silent(error) | Self::Answered(error) => error,
        }
    }
}
