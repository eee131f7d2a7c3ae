//! A node on top of any Redis client.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    Answered, Call, Reply,
    node_url::{FromEnvError, NodeUrl, NodeUrlError},
    script,
    slot_map::Member,
};
use crate::{
    algorithm::NodeFacts,
    names::Token,
    node::{
        AcquireAnswer, AcquireRequest, DescribeRequest, ExtendAnswer, ExtendRequest, InspectAnswer, InspectRequest,
        ListAnswer, ListRequest, ListenRequest, LockNode, NodeError, NodeErrorKind, OpenAnswer, OpenRequest,
        RaiseAnswer, RaiseRequest, ReleaseAnswer, ReleaseRequest, SlotHeld, Timed, WakeUps,
    },
};

/// A Redis client that a node uses.
pub trait RedisClient: Send + Sync + Sized + 'static {
    /// Creates a client for this URL. Only parses the URL: the client connects when it is first used, and this needs no
    /// runtime.
    ///
    /// # Errors
    ///
    /// If the client does not accept the URL.
    fn open(url: &NodeUrl) -> Result<Self, NodeUrlError>;

    /// Returns where the client connects to, without user and password, or something unique if the client does not
    /// report it.
    fn name(&self) -> &str;

    /// Returns the passwords that the client logs in with. No error of the node shows them, whatever the server sends.
    /// Default: none.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether the client has never been connected yet, so that the first answer takes longer. Default:
    /// `false`.
    fn is_new(&self) -> bool {
        false
    }

    /// Returns whether the client talks to a Redis Cluster. Default: `false`.
    fn is_cluster(&self) -> bool {
        false
    }

    /// Runs a script, or the plain command of a [`Call`] without a script. Ends within the sum of both timeouts.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or the answer is an error.
    fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Answered, NodeError>> + Send;

    /// Sends a plain command: the first of `words`, with the others as its arguments. Returns all strings and numbers
    /// of the reply in order, including those in arrays and maps. In a Redis Cluster, the primary of hash slot 0 is
    /// queried. Ends within the sum of both timeouts. Default: not supported; then nothing is known about the node
    /// except whether it runs scripts.
    ///
    /// # Errors
    ///
    /// If there is no connection, no answer in time, or the answer is an error.
    fn command(
        &self,
        words: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, NodeError>> + Send {
        let _ = (words, connect_timeout, response_timeout);
        async { Err(NodeErrorKind::Unsupported.into()) }
    }

    /// Sends a plain command like [`command`](Self::command), to the member of a Redis Cluster at this host and port.
    /// Default: not supported; then the locks of a cluster are not listed.
    ///
    /// # Errors
    ///
    /// If there is no such member, no connection, no answer in time, or the answer is an error.
    fn command_at(
        &self,
        host: &str,
        port: u16,
        words: &[&str],
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, NodeError>> + Send {
        let _ = (host, port, words, connect_timeout, response_timeout);
        async { Err(NodeErrorKind::Unsupported.into()) }
    }

    /// Subscribes to a channel over a separate connection. Returns once it is subscribed. Default: not supported; then
    /// waiters poll.
    ///
    /// # Errors
    ///
    /// If there is no connection, or the user is not permitted to listen.
    fn listen(
        &self,
        channel: &str,
        connect_timeout: Duration,
    ) -> impl Future<Output = Result<Box<dyn WakeUps>, NodeError>> + Send {
        let _ = (channel, connect_timeout);
        async { Err(NodeErrorKind::Unsupported.into()) }
    }
}

/// One independent Redis node. Clones share one client.
pub struct Node<C> {
    name: Arc<str>,
    client: Arc<C>,
    connect_timeout: Duration,
    response_timeout: Duration,
    /// When the node last refused the wait queue of a key: the user may not access it, or the server is one member of a
    /// cluster. Waiters then poll.
    waiters_refused: Arc<Mutex<Option<Instant>>>,
}

impl<C: RedisClient> Node<C> {
    /// Creates the node at a URL; [`NodeUrl`] lists the URLs. Only parses the URL: the first operation connects, so a
    /// node that is down at startup costs nothing and is used once it is back.
    ///
    /// # Errors
    ///
    /// If the URL cannot be used, or requires TLS while the feature `tls` of the backend is off.
    pub fn open<U>(url: U) -> Result<Self, NodeUrlError>
    where
        U: TryInto<NodeUrl>,
        NodeUrlError: From<U::Error>,
    {
        Self::at(&url.try_into()?)
    }

    /// Creates the nodes of one fleet.
    ///
    /// # Errors
    ///
    /// If a URL cannot be used (see [`Node::open`]), or two of them name the same server.
    pub fn open_all<U>(urls: impl IntoIterator<Item = U>) -> Result<Vec<Self>, NodeUrlError>
    where
        U: TryInto<NodeUrl>,
        NodeUrlError: From<U::Error>,
    {
        NodeUrl::parse_all(urls)?.iter().map(Self::at).collect()
    }

    /// Creates the nodes of the fleet in the environment variable `REDLOCK_NODES`, which the command line uses too: a
    /// list of URLs separated by commas or white space. See [`NodeUrl::from_env`].
    ///
    /// # Errors
    ///
    /// If the variable is not set, or a URL in it cannot be used.
    pub fn from_env() -> Result<Vec<Self>, FromEnvError> {
        Ok(Self::open_all(NodeUrl::from_env()?)?)
    }

    /// Creates the node that a client talks to, for everything that a URL cannot express. The backend's `RedisClient`
    /// lists the accepted clients.
    ///
    /// The node is named after the client's address if the client reports it, and otherwise by a number.
    #[must_use]
    pub fn new(client: impl Into<C>) -> Self {
        let client = client.into();
        Self {
            name: client.name().into(),
            client: Arc::new(client),
            connect_timeout: NodeUrl::DEFAULT_TIMEOUT,
            response_timeout: NodeUrl::DEFAULT_TIMEOUT,
            waiters_refused: Arc::default(),
        }
    }

    /// Names the node, for errors and logs. Two nodes of one fleet must not share a name. Default: its address.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        Self { name: name.into().into(), ..self }
    }

    /// Sets the maximum time to connect, for a node that makes its own connections. Default: 1 s, or the value in the
    /// URL.
    #[must_use]
    pub fn with_connect_timeout(self, connect_timeout: Duration) -> Self {
        Self { connect_timeout, ..self }
    }

    /// Sets the maximum time to wait for an answer. Default: 1 s, or the value in the URL.
    #[must_use]
    pub fn with_response_timeout(self, response_timeout: Duration) -> Self {
        Self { response_timeout, ..self }
    }

    fn at(url: &NodeUrl) -> Result<Self, NodeUrlError> {
        let node = Self::new(C::open(url)?);
        Ok(node.with_connect_timeout(url.connect_timeout).with_response_timeout(url.response_timeout))
    }

    pub(super) fn client(&self) -> &C {
        &self.client
    }

    async fn acquire_by_script(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let intents = request.intents(self.is_cluster());
        let Answered { reply, sent_again } = self.call_waiting(&mut Call::acquire(request, &intents)).await?;
        if let (Some(_), Reply::Holder(text, is_complete)) = (&request.permits, &reply) {
            let (held, clock) = SlotHeld::from_script(text, *is_complete)?;
            return Ok(Timed { answer: AcquireAnswer::SlotHeld(held), clock, sent_again });
        }
        let [verdict, clock, detail] = reply.integers()?;
        Ok(Timed { answer: AcquireAnswer::from_script(verdict, detail), clock: script::clock(clock), sent_again })
    }

    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Answered, NodeError> {
        let answered = self.client.call(call, self.connect_timeout, self.response_timeout).await;
        answered.map_err(|error| {
            let tokens: Vec<_> = call.tokens().filter_map(|token| token.as_str().get(..Token::DIGITS)).collect();
            self.clean(error, &tokens)
        })
    }

    /// Returns the error without the client's passwords and these tokens.
    fn clean(&self, error: NodeError, tokens: &[&str]) -> NodeError {
        let passwords = self.client.secrets();
        let secrets: Vec<_> = passwords.iter().map(String::as_str).chain(tokens.iter().copied()).collect();
        error.without(&secrets)
    }

    /// Runs a script that may use the wait queue, or runs it without the queue if the node refuses that: wake-ups are
    /// hints, and the lock is acquired and released anyway. Changes the call in place: a copy would make every request
    /// larger.
    async fn call_waiting(&self, call: &mut Call<'_>) -> Result<Answered, NodeError> {
        let has_waiters = call.has_waiters() && !self.refuses_waiters();
        if !has_waiters {
            *call = call.without_waiters();
        }
        match self.call(call).await {
            // Redis checks the slots of all keys, and the user's permissions for them, before it runs the script.
            Err(error) if has_waiters && matches!(error.kind(), NodeErrorKind::Permission | NodeErrorKind::Other) => {
                *call = call.without_waiters();
                // Any other error may be temporary, and the node may still carry the request out.
                let is_lasting = error.kind() == NodeErrorKind::Permission || error.chain().contains("CROSSSLOT");
                let sent_again = !is_lasting || error.is_of_second_copy();
                // Rare, and boxed so that all other calls stay small.
                let mut answered = Box::pin(self.call(call)).await.map_err(|error| error.after(sent_again))?;
                answered.sent_again |= sent_again;
                if is_lasting {
                    *self.waiters_refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    let (node, error) = (&*self.name, error.chain());
                    tracing::debug!(node, %error, "waiters poll this node: it refuses the key of their queue");
                }
                Ok(answered)
            }
            answered => answered,
        }
    }

    /// Returns whether the node has refused the wait queue within the last minute. Permissions may have changed since.
    fn refuses_waiters(&self) -> bool {
        const ASKED_AGAIN: Duration = Duration::from_secs(60);
        let refused = *self.waiters_refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|refused| refused.elapsed() < ASKED_AGAIN)
    }

    pub(super) async fn ask(&self, words: &[&str]) -> Result<Vec<String>, NodeError> {
        let answered = self.client.command(words, self.connect_timeout, self.response_timeout).await;
        answered.map_err(|error| self.clean(error, &[]))
    }

    /// Sends a plain command to a member of a Redis Cluster, if one is given.
    pub(super) async fn ask_member(&self, member: Option<&Member>, words: &[&str]) -> Result<Vec<String>, NodeError> {
        let Some(Member { host, port }) = member else { return self.ask(words).await };
        let answered = self.client.command_at(host, *port, words, self.connect_timeout, self.response_timeout).await;
        answered.map_err(|error| self.clean(error, &[]))
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

    fn connects_within(&self) -> Option<Duration> {
        self.client.is_new().then_some(self.connect_timeout)
    }

    async fn acquire(&self, request: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        let Some(set) = Call::set(request) else { return self.acquire_by_script(request).await };
        let Answered { reply, sent_again } = self.call(&set).await?;
        let timed = match reply {
            Reply::Done => AcquireAnswer::granted().into(),
            // The script reports the holder: this very token, if the command was sent twice. Boxed so that all other
            // acquires stay small.
            Reply::Nothing => {
                Box::pin(self.acquire_by_script(request)).await.map_err(|error| error.after(sent_again))?
            }
            other => return Err(other.unexpected()),
        };
        Ok(Timed { sent_again: sent_again || timed.sent_again, ..timed })
    }

    async fn extend(&self, request: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        let Answered { reply, sent_again } = self.call(&Call::extend(request)).await?;
        let [verdict, clock, _] = reply.integers()?;
        Ok(Timed { answer: ExtendAnswer::from_script(verdict), clock: script::clock(clock), sent_again })
    }

    async fn release(&self, request: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        let intents = request.intents(self.is_cluster());
        let answered = self.call_waiting(&mut Call::release(request, &intents)).await?;
        ReleaseAnswer::from_script(answered.reply.integer()?, answered.sent_again)
    }

    async fn inspect(&self, request: &InspectRequest) -> Result<InspectAnswer, NodeError> {
        match self.call(&Call::inspect(request)).await?.reply {
            Reply::Nothing => Ok(InspectAnswer::Absent),
            Reply::Holder(token, pttl) => Ok(InspectAnswer::held(token, script::remaining(pttl))),
            Reply::Readers(lines, pttl, count) => Ok(InspectAnswer::from_script(&lines, pttl, count)),
            other => Err(other.unexpected()),
        }
    }

    async fn list(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        self.locks(request).await
    }

    async fn raise(&self, request: &RaiseRequest) -> Result<RaiseAnswer, NodeError> {
        RaiseAnswer::from_script(self.call(&Call::raise(request)).await?.reply.integer()?)
    }

    async fn open(&self, request: &OpenRequest) -> Result<OpenAnswer, NodeError> {
        let answered = self.call(&Call::open(request)).await?;
        match answered.reply {
            Reply::Holder(run, answer) => {
                OpenAnswer::from_script(&run, answer, request.run.as_deref(), answered.sent_again)
            }
            other => Err(other.unexpected()),
        }
    }

    async fn listen(&self, request: &ListenRequest) -> Result<Box<dyn WakeUps>, NodeError> {
        let listening = self.client.listen(&request.channel, self.connect_timeout).await;
        listening.map_err(|error| self.clean(error, &[]))
    }

    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let bound = self.connect_timeout.saturating_add(self.response_timeout);
        tokio::time::timeout(bound, self.facts(request)).await.unwrap_or_else(|_| Err(NodeError::no_answer(bound)))
    }
}

impl<C> Clone for Node<C> {
    fn clone(&self) -> Self {
        Self {
            name: Arc::clone(&self.name),
            client: Arc::clone(&self.client),
            waiters_refused: Arc::clone(&self.waiters_refused),
            ..*self
        }
    }
}

impl<C> fmt::Debug for Node<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own output may hold a password.
        f.debug_struct("RedisNode").field("name", &self.name).finish_non_exhaustive()
    }
}
