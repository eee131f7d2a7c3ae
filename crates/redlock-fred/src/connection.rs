//! One connection to one node: made when it is first needed, shared, and made again when it broke or fell silent.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::{
    clients::Client,
    error::{Error, ErrorKind},
    interfaces::ClientLike,
    types::config::{Config, ConnectionConfig, TcpConfig},
};
use redlock_core::NodeError;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    call::{Call, Reply},
    error::{is_broken, no_connection, node_error, runtime_gone},
};

/// For how long a connection may leave every command without an answer before it is given up.
///
/// A hung node never fails by itself: its unanswered commands would pile up in memory, and the node would have to work
/// through them all once it is back.
const SILENCE: Duration = Duration::from_secs(2);

/// The node's connection.
pub(crate) struct Connection {
    config: Config,
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
/// The sender lives in the task that connects. The task stays until the connection broke or nobody holds the attempt
/// any more, and goes before that only with its runtime: a channel that is closed is a connection that is gone.
#[derive(Clone)]
struct Attempt(watch::Receiver<Option<Result<Client, Error>>>);

impl Connection {
    pub(crate) fn new(mut config: Config) -> Self {
        // Tells the first connect error instead of trying on.
        config.fail_fast = true;
        Self { config, current: Mutex::new(None) }
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
                Some(Ok(client)) => {
                    let sent = Instant::now();
                    match call.run(&client, response_timeout).await {
                        Err(error) if is_broken(&error) || attempt.is_gone() => {
                            sent_again = true;
                            error
                        }
                        Err(error) if *error.kind() == ErrorKind::Timeout => {
                            self.unanswered(&attempt, sent);
                            return Err(node_error(error));
                        }
                        answer => {
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
        let client = self.client(connect_timeout);
        tokio::spawn(async move {
            let connecting = client.init();
            tokio::pin!(connecting);
            match timeout(connect_timeout, &mut connecting).await {
                Ok(Ok(mut connection)) => {
                    sender.send_replace(Some(Ok(client.clone())));
                    tokio::select! {
                        _ = &mut connection => {}
                        () = sender.closed() => connection.abort(),
                    }
                }
                Ok(Err(error)) if *error.kind() != ErrorKind::Timeout => {
                    sender.send_replace(Some(Err(error)));
                }
                Ok(Err(_)) => {
                    sender.send_replace(Some(Err(no_connection(connect_timeout))));
                }
                Err(_) => {
                    sender.send_replace(Some(Err(no_connection(connect_timeout))));
                    drop(sender);
                    // Dropped half-way, fred would go on connecting with nobody left to close the connection.
                    if let Ok(connection) = connecting.await {
                        connection.abort();
                    }
                }
            }
        });
        Attempt(receiver)
    }

    /// A client without a reconnect policy: its connection ends when it breaks.
    fn client(&self, connect_timeout: Duration) -> Client {
        let connection = ConnectionConfig {
            connection_timeout: connect_timeout,
            internal_command_timeout: connect_timeout,
            max_command_attempts: 1,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        Client::new(self.config.clone(), None, Some(connection), None)
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
    async fn connection(&mut self) -> Option<Result<Client, Error>> {
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
