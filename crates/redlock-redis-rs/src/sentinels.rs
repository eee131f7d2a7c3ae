//! Finds the server that sentinels name as the primary, with the user's own sentinel client.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{Client, ErrorKind, RedisResult, sentinel::SentinelClient};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout},
};

/// A client of the primary that was found, and when.
type Lookup = watch::Receiver<Option<(RedisResult<Client>, Instant)>>;

/// The sentinels of one node.
pub(crate) struct Sentinels {
    client: AsyncMutex<SentinelClient>,
    /// The lookup that is running, or whose result has not been used yet.
    lookup: Mutex<Option<Lookup>>,
    /// The password of the last client.
    password: Mutex<Option<String>>,
}

impl Sentinels {
    pub(crate) fn new(client: SentinelClient) -> Self {
        Self { client: AsyncMutex::new(client), lookup: Mutex::default(), password: Mutex::default() }
    }

    pub(crate) fn password(&self) -> Option<String> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a client of the primary.
    ///
    /// redis-rs queries one sentinel after the other, and waits for each one that does not answer. So a lookup may take
    /// three times as long as connecting, and continues if its caller no longer waits: the next caller gets the result.
    pub(crate) async fn primary(self: &Arc<Self>, connect_timeout: Duration) -> RedisResult<Client> {
        let mut lookup = self.lookup(connect_timeout.saturating_mul(3));
        let found = lookup.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        // The next connection looks up the primary again.
        self.running().take_if(|running| running.same_channel(&lookup));
        found.map_or_else(|| Err(no_answer()), |(found, _)| found)
    }

    fn lookup(self: &Arc<Self>, bound: Duration) -> Lookup {
        let is_usable = |lookup: &&Lookup| match &*lookup.borrow() {
            Some((found, when)) => found.is_ok() && when.elapsed() < bound,
            None => lookup.has_changed().is_ok(),
        };
        let mut running = self.running();
        if let Some(lookup) = running.as_ref().filter(is_usable) {
            return lookup.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let sentinels = Arc::clone(self);
        tokio::spawn(async move {
            let asking = async { sentinels.client.lock().await.async_get_client().await };
            let found = timeout(bound, asking).await.unwrap_or_else(|_| Err(no_answer()));
            if let Ok(client) = &found {
                let password = client.get_connection_info().redis_settings().password().map(str::to_owned);
                *sentinels.password.lock().unwrap_or_else(PoisonError::into_inner) = password;
            }
            sender.send_replace(Some((found, Instant::now())));
        });
        *running = Some(receiver.clone());
        receiver
    }

    fn running(&self) -> MutexGuard<'_, Option<Lookup>> {
        self.lookup.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer() -> redis::RedisError {
    (ErrorKind::Io, "no sentinel named the primary in time").into()
}
