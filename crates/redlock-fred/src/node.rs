//! A node that is reached through fred.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use redlock_core::{
    AcquireAnswer, AcquireRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest, LockNode, NodeError,
    NodeUrl, NodeUrlError, ReleaseAnswer, ReleaseRequest, script,
};

use crate::{
    call::{Call, Reply},
    client::RedisClient,
    error::no_answer,
};

/// One independent Redis node, reached through fred.
///
/// Clones share one connection. See the [crate's documentation](crate) for how it is made and made again.
#[derive(Clone)]
pub struct RedisNode {
    name: Arc<str>,
    client: Arc<RedisClient>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl RedisNode {
    /// The node at a URL, as [`NodeUrl`] lists them. Only parses: the first operation connects, so a node that is down
    /// at start costs nothing and is used once it is back.
    ///
    /// # Errors
    ///
    /// If the URL cannot be used, or asks for TLS and the feature `tls` is off.
    pub fn open<U>(url: U) -> Result<Self, NodeUrlError>
    where
        U: TryInto<NodeUrl>,
        NodeUrlError: From<U::Error>,
    {
        Self::at(&url.try_into()?)
    }

    /// The nodes of one fleet.
    ///
    /// # Errors
    ///
    /// If a URL cannot be used, as in [`RedisNode::open`], or two of them name the same server.
    pub fn open_all<U>(urls: impl IntoIterator<Item = U>) -> Result<Vec<Self>, NodeUrlError>
    where
        U: TryInto<NodeUrl>,
        NodeUrlError: From<U::Error>,
    {
        NodeUrl::parse_all(urls)?.iter().map(Self::at).collect()
    }

    /// The node that a client talks to, for all that a URL cannot say. See [`RedisClient`] for what is taken.
    ///
    /// It is named after the client's address where the client tells it, else `redis connection 1` and so on.
    #[must_use]
    pub fn new(client: impl Into<RedisClient>) -> Self {
        let client = client.into();
        Self {
            name: client.name().into(),
            client: Arc::new(client),
            connect_timeout: NodeUrl::DEFAULT_TIMEOUT,
            response_timeout: NodeUrl::DEFAULT_TIMEOUT,
        }
    }

    /// Names the node, for errors and logs. Two nodes of one fleet must not share a name. Default: its address.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into().into(), ..self }
    }

    /// Bounds connecting, where the node makes its own connections. Default: 1 s, or what the URL says.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Bounds one answer. Default: 1 s, or what the URL says.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    fn at(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        let node = Self::new(RedisClient::open(url)?);
        Ok(node.with_connect_timeout(url.connect_timeout).with_response_timeout(url.response_timeout))
    }

    async fn call(&self, call: Call<'_>) -> Result<Reply, NodeError> {
        // A connection that breaks is made again once within one operation: the sum of all that is bounded here.
        let bound = self.connect_timeout.saturating_add(self.response_timeout);
        match tokio::time::timeout(bound, self.client.call(&call, self.connect_timeout, self.response_timeout)).await {
            Ok(answer) => answer,
            Err(_) => Err(no_answer(bound)),
        }
    }
}

#[async_trait]
impl LockNode for RedisNode {
    fn name(&self) -> &str {
        &self.name
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<AcquireAnswer, NodeError> {
        let call = Call::new(script::ACQUIRE, &request.resource).with_token(&request.token).with_ttl(request.ttl);
        self.call(call).await?.read().map(AcquireAnswer::from_script)
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<ExtendAnswer, NodeError> {
        let call = Call::new(script::EXTEND, &request.resource).with_token(&request.token).with_ttl(request.ttl);
        self.call(call).await?.read().map(ExtendAnswer::from_script)
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let call = Call::new(script::RELEASE, &request.resource).with_token(&request.token);
        let reply = self.call(call).await?;
        let sent_again = reply.sent_again;
        ReleaseAnswer::from_script(reply.read()?, sent_again)
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        let held: Option<(Vec<u8>, i64)> = self.call(Call::new(script::INSPECT, &request.resource)).await?.read()?;
        Ok(match held {
            Some((token, pttl)) => InspectAnswer::held(token, script::remaining(pttl)),
            None => InspectAnswer::Absent,
        })
    }
}

impl fmt::Debug for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("RedisNode").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redlock_core::Resource;

    use super::*;

    #[test]
    fn a_node_is_opened_without_a_runtime_and_named_after_its_address() {
        let nodes = RedisNode::open_all(["redis://:hunter2@10.0.0.1", "tcp://:hunter2@[::1]:7000/2"]).unwrap();
        let names: Vec<_> = nodes.iter().map(LockNode::name).collect();
        assert_eq!(names, ["10.0.0.1:6379", "[::1]:7000"]);
        assert!(!format!("{nodes:?}").contains("hunter2"));
    }

    #[test]
    fn a_fleet_has_each_server_once() {
        assert!(RedisNode::open_all(["redis://a", "redis://a/2"]).is_err());
    }

    #[test]
    fn tls_takes_the_feature() {
        assert_eq!(RedisNode::open("rediss://a").is_ok(), cfg!(feature = "tls"));
    }

    #[tokio::test]
    async fn a_node_that_is_down_refuses_at_once_and_says_so() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let node = RedisNode::open(format!("redis://:hunter2@{free}")).unwrap();
        let error = node.inspect(&InspectRequest::new(Resource::new("a").unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), redlock_core::NodeErrorKind::Unreachable);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
