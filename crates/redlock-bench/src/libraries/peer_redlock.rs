//! redlock, the blocking Redlock library on crates.io: on Tokio's threads for blocking calls, as async code has to use
//! it.

use std::sync::Arc;

use anyhow::Result;
use redlock_crates_io::{Lock, RedLock};
use tokio::task::spawn_blocking;

use crate::library::{Library, TTL, Tuning};

#[derive(Clone)]
pub(crate) struct RedlockCratesIo(Arc<RedLock>);

/// Its own lock type borrows.
pub(crate) struct Held {
    resource: Vec<u8>,
    val: Vec<u8>,
    validity_time: usize,
}

impl Library for RedlockCratesIo {
    type Held = Held;

    async fn open(urls: &[String], tuning: Tuning) -> Result<Self> {
        let mut manager = RedLock::new(urls.iter().map(String::as_str).collect());
        if tuning == Tuning::Impatient {
            // It cannot be canceled, so it does not retry for a minute.
            manager.set_retry(300, 3);
        }
        Ok(Self(Arc::new(manager)))
    }

    async fn acquire(&self, name: &str) -> Result<Held, String> {
        let (manager, name) = (Arc::clone(&self.0), name.as_bytes().to_vec());
        let locked = spawn_blocking(move || {
            let lock = manager.lock(&name, TTL.as_millis() as usize).map_err(|error| error.to_string())?;
            let held = |lock: Lock<'_>| Held {
                resource: lock.resource.clone(),
                val: lock.val.clone(),
                validity_time: lock.validity_time,
            };
            lock.map(held).ok_or_else(|| "gave up".to_owned())
        });
        locked.await.map_err(|error| error.to_string())?
    }

    async fn release(&self, held: Held) -> Result<(), String> {
        let manager = Arc::clone(&self.0);
        let unlocked = spawn_blocking(move || {
            let Held { resource, val, validity_time } = held;
            manager.unlock(&Lock { lock_manager: &manager, resource, val, validity_time });
        });
        unlocked.await.map_err(|error| error.to_string())
    }
}
