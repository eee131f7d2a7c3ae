//! A node over any Redis client.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Answered, Call, Reply};
use crate::{
    answer::{AcquireAnswer, ExtendAnswer, InspectAnswer, OpenAnswer, RaiseAnswer, ReleaseAnswer, Timed},
    node::LockNode,
    node_error::NodeError,
    node_url::{NodeUrl, NodeUrlError},
    request::{AcquireRequest, ExtendRequest, InspectRequest, OpenRequest, RaiseRequest, ReleaseRequest},
    script,
};

/// A Redis client that nodes are made of.
pub trait RedisClient: Send + Sync + Sized + 'static {
    /// A client for this URL. Only parses: connects when it is first used, and needs no runtime.
    ///
    /// # Errors
    ///
    /// If the client does not take the URL.
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError>;

    /// Where the client connects to, without user and password; something unique if it does not tell.
    fn name(&self) -> &str;

    /// Whether the client talks to a Redis Cluster. Default: it does not.
    fn is_cluster(&self) -> bool {
        false
    }

    /// Runs a script.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer, or an error for an answer.
    fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Answered, NodeError>> + Send;
}

/// One independent Redis node. Clones share one client.
pub struct Node<C> {
    name: Arc<str>,
    client: Arc<C>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl<C: RedisClient> Node<C> {
    /// The node at a URL, as [`NodeUrl`] lists them. Only parses: the first operation connects, so a node that is down
    /// at start costs nothing and is used once it is back.
    ///
    /// # Errors
    ///
    /// If the URL cannot be used, or asks for TLS and the feature `tls` of the backend is off.
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
    /// If a URL cannot be used, as in [`Node::open`], or two of them name the same server.
    pub fn open_all<U>(urls: impl IntoIterator<Item = U>) -> Result<Vec<Self>, NodeUrlError>
    where
        U: TryInto<NodeUrl>,
        NodeUrlError: From<U::Error>,
    {
        NodeUrl::parse_all(urls)?.iter().map(Self::at).collect()
    }

    /// The node that a client talks to, for all that a URL cannot say. The backend's `RedisClient` lists what is taken.
    ///
    /// It is named after the client's address where the client tells it, else by a number.
    #[must_use]
    pub fn new(client: impl Into<C>) -> Self {
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
        let node = Self::new(C::open(url)?);
        Ok(node.with_connect_timeout(url.connect_timeout).with_response_timeout(url.response_timeout))
    }

    async fn call(&self, call: Call<'_>) -> Result<Answered, NodeError> {
        // A connection that breaks is made again once within one operation: the sum of all that is bounded here.
        let bound = self.connect_timeout.saturating_add(self.response_timeout);
        match tokio::time::timeout(bound, self.client.call(&call, self.connect_timeout, self.response_timeout)).await {
            Ok(answered) => answered,
            Err(_) => Err(NodeError::no_answer(bound)),
        }
    }
}

#[async_trait]
impl<C: RedisClient> LockNode for Node<C> {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_cluster(&self) -> bool {
        self.client.is_cluster()
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let [verdict, clock, detail] = self.call(Call::acquire(request)).await?.reply.integers()?;
        Ok(Timed { answer: AcquireAnswer::from_script(verdict, detail), clock: script::clock(clock) })
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        let [verdict, clock, _] = self.call(Call::extend(request)).await?.reply.integers()?;
        Ok(Timed { answer: ExtendAnswer::from_script(verdict), clock: script::clock(clock) })
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let answered = self.call(Call::release(request)).await?;
        ReleaseAnswer::from_script(answered.reply.integer()?, answered.sent_again)
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        match self.call(Call::inspect(request)).await?.reply {
            Reply::Nothing => Ok(InspectAnswer::Absent),
            Reply::Holder(token, pttl) => Ok(InspectAnswer::held(token, script::remaining(pttl))),
            other => Err(other.unexpected()),
        }
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        RaiseAnswer::from_script(self.call(Call::raise(request)).await?.reply.integer()?)
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        OpenAnswer::from_script(self.call(Call::open(request)).await?.reply.integer()?)
    }
}

impl<C> Clone for Node<C> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), client: Arc::clone(&self.client), ..*self }
    }
}

impl<C> fmt::Debug for Node<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("RedisNode").field("name", &self.name).finish_non_exhaustive()
    }
}
