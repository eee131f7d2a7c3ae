//! One operation as a command: a shared script with its key and arguments.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use fred::{
    clients::Client,
    error::Error,
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, FromValue, Value, config::Options},
};
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

    /// The client of a pool to use: the same one for all calls of a resource, so that they reach the node in order.
    pub(crate) fn client_of<'c, T>(&self, clients: &'c [T]) -> Option<&'c T> {
        let mut hasher = DefaultHasher::new();
        self.resource.hash(&mut hasher);
        let index = hasher.finish().checked_rem(clients.len() as u64)?;
        clients.get(index as usize)
    }

    /// Runs the script: by its hash, and by its text on a node that does not have it yet.
    pub(crate) async fn run(&self, client: &Client, response_timeout: Duration) -> Result<Value, Error> {
        // A command is sent once and now, or it fails: fred would otherwise keep it while there is no connection and
        // send it long after the caller gave up.
        let options =
            Options { timeout: Some(response_timeout), max_attempts: Some(1), fail_fast: true, ..Options::default() };
        let client = client.with_options(&options);
        match client.custom(command("EVALSHA"), self.args(self.script.sha1())).await {
            Err(error) if is_no_script(&error) => client.custom(command("EVAL"), self.args(self.script.source())).await,
            answer => answer,
        }
    }

    fn args(&self, script: &'static str) -> Vec<Value> {
        let mut args = vec![Value::from_static_str(script), Value::Integer(1), self.resource.as_str().into()];
        args.extend(self.token.map(|token| token.as_str().into()));
        args.extend(self.ttl.map(|ttl| ttl.sent_millis().to_string().into()));
        args
    }
}

/// What a script answered.
pub(crate) struct Reply {
    pub(crate) value: Value,
    /// Whether the script was sent before, on a connection that broke.
    pub(crate) sent_again: bool,
}

impl Reply {
    pub(crate) fn read<T: FromValue>(self) -> Result<T, NodeError> {
        self.value.convert().map_err(node_error)
    }
}

/// A custom command: fred's own `evalsha` and `eval` ignore the options.
fn command(name: &'static str) -> CustomCommand {
    const KEY: ClusterHash = ClusterHash::Offset(2);
    CustomCommand::new_static(name, KEY, false)
}
