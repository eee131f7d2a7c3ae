//! The bare commands over redis-rs.

use std::sync::{Arc, OnceLock};

use anyhow::Result;
use redlock_redis_rs::redis::{Client, Cmd, Script, Value, aio::MultiplexedConnection, cmd};

use super::floor::{BareNode, COMPARE_AND_DELETE};
use crate::library::TTL;

#[derive(Clone)]
pub(crate) struct RedisRsNode(MultiplexedConnection);

impl BareNode for RedisRsNode {
    type Command = Arc<Cmd>;

    async fn connect(url: &str) -> Result<Self> {
        let mut connection = Client::open(url)?.get_multiplexed_async_connection().await?;
        cmd("SCRIPT").arg("LOAD").arg(COMPARE_AND_DELETE).exec_async(&mut connection).await?;
        Ok(Self(connection))
    }

    fn set(name: &str, token: &str) -> Arc<Cmd> {
        let mut command = cmd("SET");
        command.arg(name).arg(token).arg("NX").arg("PX").arg(TTL.as_millis() as u64);
        Arc::new(command)
    }

    fn delete(name: &str, token: &str) -> Arc<Cmd> {
        let mut command = cmd("EVALSHA");
        command.arg(sha1()).arg(1).arg(name).arg(token);
        Arc::new(command)
    }

    fn ask(&self, command: Arc<Cmd>) -> impl Future<Output = bool> + Send + 'static {
        let mut connection = self.0.clone();
        async move { matches!(connection.send_packed_command(&command).await, Ok(Value::Okay | Value::Int(1))) }
    }
}

/// Returns the hash by which a node knows the script.
pub(super) fn sha1() -> &'static str {
    static SCRIPT: OnceLock<Script> = OnceLock::new();
    SCRIPT.get_or_init(|| Script::new(COMPARE_AND_DELETE)).get_hash()
}
