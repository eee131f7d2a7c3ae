//! One operation as a command: a shared script with its key and arguments.

use redis::{Cmd, FromRedisValue, RedisResult, Value, aio::ConnectionLike};
use redlock_core::{NodeError, Resource, Token, Ttl, script::Script};

use crate::error::{is_no_script, node_error};

/// A script to run on a node.
pub(crate) struct Call<'a> {
    script: Script,
    resource: &'a Resource,
    token: Option<&'a Token>,
    ttl: Option<Ttl>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(script: Script, resource: &'a Resource) -> Self {
        Self { script, resource, token: None, ttl: None }
    }

    pub(crate) fn with_token(self, token: &'a Token) -> Self {
        Self { token: Some(token), ..self }
    }

    pub(crate) fn with_ttl(self, ttl: Ttl) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Runs the script: by its hash, and by its text on a node that does not have it yet.
    pub(crate) async fn run(&self, connection: &mut impl ConnectionLike) -> RedisResult<Value> {
        match self.command("EVALSHA", self.script.sha1()).query_async(connection).await {
            Err(error) if is_no_script(&error) => {
                self.command("EVAL", self.script.source()).query_async(connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(self.resource.as_str());
        command.arg(self.token.map(Token::as_bytes)).arg(self.ttl.map(Ttl::sent_millis));
        command
    }
}

/// What a script answered.
pub(crate) struct Reply {
    pub(crate) value: Value,
    /// Whether the script was sent before, on a connection that broke.
    pub(crate) sent_again: bool,
}

impl Reply {
    pub(crate) fn read<T: FromRedisValue>(self) -> Result<T, NodeError> {
        redis::from_redis_value(self.value).map_err(|error| node_error(error.into()))
    }
}
