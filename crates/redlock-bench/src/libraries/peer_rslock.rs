//! rslock, the async Redlock library on crates.io.

use std::time::Duration;

use anyhow::Result;
use rslock::{Lock, LockManager};

use crate::library::{Library, TTL, Tuning};

#[derive(Clone)]
pub(crate) struct Rslock(LockManager);

impl Library for Rslock {
    type Held = Lock;

    async fn open(urls: &[String], tuning: Tuning) -> Result<Self> {
        let mut manager = LockManager::new(urls.iter().map(String::as_str).collect());
        if tuning == Tuning::Impatient {
            manager.set_retry(20_000, Duration::from_millis(3));
        }
        Ok(Self(manager))
    }

    async fn acquire(&self, name: &str) -> Result<Lock, String> {
        self.0.lock(name, TTL).await.map_err(|error| error.to_string())
    }

    async fn release(&self, held: Lock) -> Result<(), String> {
        self.0.unlock(&held).await;
        Ok(())
    }
}
