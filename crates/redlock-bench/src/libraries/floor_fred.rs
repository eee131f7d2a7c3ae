//! The bare commands over fred.

use std::sync::Arc;

use anyhow::Result;
use redlock_fred::fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{
        CustomCommand, Value,
        config::{Config, ConnectionConfig, TcpConfig},
    },
};

use super::{
    floor::{BareNode, COMPARE_AND_DELETE},
    floor_redis_rs::sha1,
};
use crate::library::TTL;

#[derive(Clone)]
pub(crate) struct FredNode(Arc<Connected>);

struct Connected(Client);

impl Drop for Connected {
    fn drop(&mut self) {
        // fred's task keeps the connection until it receives a quit.
        let client = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.quit().await });
        }
    }
}

impl BareNode for FredNode {
    type Command = (CustomCommand, Vec<Value>);

    async fn connect(url: &str) -> Result<Self> {
        let connection = ConnectionConfig {
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            max_command_attempts: 1,
            ..ConnectionConfig::default()
        };
        let config = Config { fail_fast: true, ..Config::from_url(url)? };
        let client = Client::new(config, None, Some(connection), None);
        client.init().await?;
        let load = CustomCommand::new_static("SCRIPT", None, false);
        let _: Value = client.custom(load, vec!["LOAD", COMPARE_AND_DELETE]).await?;
        Ok(Self(Arc::new(Connected(client))))
    }

    fn set(name: &str, token: &str) -> Self::Command {
        let args = vec![name.into(), token.into(), "NX".into(), "PX".into(), (TTL.as_millis() as i64).into()];
        (CustomCommand::new_static("SET", None, false), args)
    }

    fn delete(name: &str, token: &str) -> Self::Command {
        let args = vec![sha1().into(), 1.into(), name.into(), token.into()];
        (CustomCommand::new_static("EVALSHA", None, false), args)
    }

    fn ask(&self, (command, args): Self::Command) -> impl Future<Output = bool> + Send + 'static {
        let client = self.0.0.clone();
        async move {
            match client.custom::<Value, Value>(command, args).await {
                Ok(Value::Integer(number)) => number == 1,
                Ok(value) => value.is_ok(),
                Err(_) => false,
            }
        }
    }
}
