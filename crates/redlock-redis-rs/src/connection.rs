//! One connection to one node: made when it is first needed, shared, and made again when it broke or fell silent.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisResult, aio::MultiplexedConnection};
use redlock_core::NodeError;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    call::{Call, Reply},
    error::{is_broken, no_answer, no_connection, node_error, runtime_gone},
};

/// For how long a connection may leave every command without an answer before it is given up.
///
/// A hung node never fails by itself: its unanswered commands would pile up in memory, and the node would have to work
/// through them all once it is back.
const SILENCE: Duration = Duration::from_secs(2);

/// The node's connection.
pub(crate) struct Connection {
    client: Client,
    /// Locked only to look or to swap, never across an `await`.
    current: Mutex<Option<Current>>,
}

struct Current {
    attempt: Attempt,
    /// When the first command was sent of those that timed out since the last answer.
    silent_since: Option<Instant>,
}

/// A connection on its way, and then there or failed. All commands of the meantime share it, so that they make one
/// connection between them and fail together.
///
/// The sender lives in the task that connects. The task stays until nobody holds the attempt any more, and goes
/// before that only with its runtime: a channel that is closed is a connection that is gone.
#[derive(Clone)]
struct Attempt(watch::Receiver<Option<RedisResult<MultiplexedConnection>>>);

impl Connection {
    pub(crate) fn new(client: Client) -> Self {
        #[cfg(feature = "tls")]
        name_tls_provider(&client);
        Self { client, current: Mutex::new(None) }
    }

    /// Runs a script.
    ///
    /// A connection that turns out to be broken is made again at once, and the script sent again: the node may have
    /// been restarted long ago. That is safe, as each script is idempotent in its effect for its token.
    pub(crate) async fn call(
        &self,
        call: &Call<'_>,
        connect_timeout: Duration,
        response_timeout: Duration,
    ) -> Result<Reply, NodeError> {
        let (mut last_try, mut sent_again) = (false, false);
        loop {
            let mut attempt = self.attempt(connect_timeout);
            let error = match attempt.connection().await {
                Some(Err(error)) => return Err(node_error(error)),
                None => runtime_gone(),
                Some(Ok(mut connection)) => {
                    let sent = Instant::now();
                    match timeout(response_timeout, call.run(&mut connection)).await {
                        Err(_) => {
                            self.unanswered(&attempt, sent);
                            return Err(no_answer(response_timeout));
                        }
                        Ok(Err(error)) if is_broken(&error) => {
                            sent_again = true;
                            error
                        }
                        Ok(answer) => {
                            self.answered(&attempt);
                            return answer.map(|value| Reply { value, sent_again }).map_err(node_error);
                        }
                    }
                }
            };
            self.give_up(&attempt);
            if last_try {
                return Err(node_error(error));
            }
            last_try = true;
        }
    }

    /// The connection in use, or a new one.
    fn attempt(&self, connect_timeout: Duration) -> Attempt {
        let mut current = self.current();
        match &*current {
            Some(Current { attempt, .. }) if !attempt.is_gone() => attempt.clone(),
            _ => {
                let attempt = self.connect(connect_timeout);
                *current = Some(Current { attempt: attempt.clone(), silent_since: None });
                attempt
            }
        }
    }

    fn connect(&self, connect_timeout: Duration) -> Attempt {
        let (sender, receiver) = watch::channel(None);
        let client = self.client.clone();
        tokio::spawn(async move {
            // The bounds are set here and in each call instead.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            let connection =
                timeout(connect_timeout, connecting).await.unwrap_or_else(|_| Err(no_connection(connect_timeout)));
            let connected = connection.is_ok();
            sender.send_replace(Some(connection));
            if connected {
                sender.closed().await;
            }
        });
        Attempt(receiver)
    }

    fn answered(&self, attempt: &Attempt) {
        if let Some(current) = self.current().as_mut().filter(|current| current.attempt.is(attempt)) {
            current.silent_since = None;
        }
    }

    fn unanswered(&self, attempt: &Attempt, sent: Instant) {
        let mut current = self.current();
        if let Some(silent) = current.as_mut().filter(|current| current.attempt.is(attempt))
            && silent.silent_since.get_or_insert(sent).elapsed() >= SILENCE
        {
            *current = None;
        }
    }

    /// Lets go of a broken connection, unless another command has already replaced it.
    fn give_up(&self, attempt: &Attempt) {
        self.current().take_if(|current| current.attempt.is(attempt));
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// The connection, or why there is none; nothing if the runtime went away while connecting.
    async fn connection(&mut self) -> Option<RedisResult<MultiplexedConnection>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// Whether a new command has to make a connection.
    fn is_gone(&self) -> bool {
        self.0.has_changed().is_err() || matches!(&*self.0.borrow(), Some(Err(_)))
    }

    fn is(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

/// redis-rs takes rustls' process-wide provider, and panics where two are built in and none is named.
#[cfg(feature = "tls")]
fn name_tls_provider(client: &Client) {
    use rustls::crypto::{CryptoProvider, ring};

    let tls = matches!(client.get_connection_info().addr(), redis::ConnectionAddr::TcpTls { .. });
    if tls && CryptoProvider::get_default().is_none() {
        // It fails if another thread has just named one, which is as good.
        let _ = ring::default_provider().install_default();
    }
}
