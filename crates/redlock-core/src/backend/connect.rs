//! The trait that a Redis client implements to connect and to use its connections.

use std::time::Duration;

use super::{Call, Reply};
use crate::node::{NodeError, NodeErrorKind};

/// Defines how a Redis client connects, and how it uses a connection.
pub trait Connect: Send + Sync + 'static {
    /// A connection that many commands can share. It is closed when its last clone is dropped.
    type Connection: Clone + Send + Sync + 'static;

    /// Connects within `connect_timeout`, up to the point where the first command can be sent.
    ///
    /// # Errors
    ///
    /// The actual cause, for example a refused connection or a wrong password.
    fn connect(
        &self,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<Self::Connection, NodeError>> + Send + 'static;

    /// Runs a script by its hash, or by its source if the node does not have it yet. Runs the plain command of a
    /// [`Call`] without a script.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what the error means for the connection.
    fn run(
        connection: Self::Connection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// Runs a script like [`run`](Self::run), on a member of a Redis Cluster that is taking over the hash slot of its
    /// keys: sends `ASKING` right before each command, with nothing in between. Default: not supported.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what the error means for the connection.
    fn run_asking(
        connection: Self::Connection,
        call: &Call<'_>,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Reply, Failure>> + Send {
        let _ = (connection, call, response_timeout);
        async { Err(Failure::Answered(NodeErrorKind::Unsupported.into())) }
    }

    /// Sends a plain command, like [`RedisClient::command`](super::RedisClient::command). Default: not supported.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what the error means for the connection.
    fn command(
        connection: Self::Connection,
        words: &[&str],
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, Failure>> + Send {
        let _ = (connection, words, response_timeout);
        async { Err(Failure::Answered(NodeErrorKind::Unsupported.into())) }
    }

    /// Returns how long to wait after a failed connect before the next one. Default: 10 ms.
    fn pause(&self) -> Duration {
        Duration::from_millis(10)
    }

    /// Returns whether the connection is known to be broken. Default: `false`; its next use then shows it.
    fn is_broken(connection: &Self::Connection) -> bool {
        let _ = connection;
        false
    }
}

/// Makes the client of the server at a host and port.
pub(super) type ClientAt<C> = dyn Fn(&str, u16) -> C + Send + Sync;

/// Why a script or a command got no reply.
#[derive(Debug)]
pub enum Failure {
    /// The connection can no longer be used. The command may have been carried out.
    Broken(NodeError),
    /// There was no answer in time.
    Silent(NodeError),
    /// The node answered with an error.
    Answered(NodeError),
}

impl Failure {
    /// Returns the error, whatever it means for the connection.
    pub(super) fn error(self) -> NodeError {
        match self {
            Self::Broken(error) | Self::Silent(error) | Self::Answered(error) => error,
        }
    }
}
