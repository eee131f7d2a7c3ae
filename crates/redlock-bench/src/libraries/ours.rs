//! This library, over one of its two clients.

use std::{marker::PhantomData, time::Duration};

use anyhow::Result;
use redlock_core::{AcquireOptions, Lock, Redlock, Retry};

use crate::library::{Library, PERMITS, TTL, Tuning};

/// A backend crate.
pub(crate) trait Backend: Send + Sync + 'static {
    fn redlock(urls: &[String]) -> Result<Redlock>;
}

pub(crate) struct RedisRs;

impl Backend for RedisRs {
    fn redlock(urls: &[String]) -> Result<Redlock> {
        Ok(Redlock::new(redlock_redis_rs::RedisNode::open_all(urls)?)?)
    }
}

pub(crate) struct Fred;

impl Backend for Fred {
    fn redlock(urls: &[String]) -> Result<Redlock> {
        Ok(Redlock::new(redlock_fred::RedisNode::open_all(urls)?)?)
    }
}

pub(crate) struct Ours<B> {
    redlock: Redlock,
    options: AcquireOptions,
    /// Whether it takes permits instead of locks.
    permits: bool,
    backend: PhantomData<B>,
}

impl<B> Clone for Ours<B> {
    fn clone(&self) -> Self {
        Self {
            redlock: self.redlock.clone(),
            options: self.options.clone(),
            permits: self.permits,
            backend: PhantomData,
        }
    }
}

impl<B: Backend> Library for Ours<B> {
    type Held = Lock;

    async fn open(urls: &[String], tuning: Tuning) -> Result<Self> {
        let permits = tuning == Tuning::Permit;
        Ok(Self { redlock: B::redlock(urls)?, options: options(tuning), permits, backend: PhantomData })
    }

    async fn acquire(&self, name: &str) -> Result<Lock, String> {
        let acquired = match self.permits {
            true => self.redlock.acquire_permit(name, PERMITS, self.options.clone()).await.map(Lock::from),
            false => self.redlock.acquire(name, self.options.clone()).await,
        };
        acquired.map_err(|error| error.to_string())
    }

    async fn release(&self, held: Lock) -> Result<(), String> {
        held.release().await.map(drop).map_err(|error| error.to_string())
    }

    async fn settle(&self) {
        // Requests that are still in flight then end by themselves.
        let _ = self.redlock.close().await;
    }
}

/// Returns the options that a user would set.
pub(crate) fn options(tuning: Tuning) -> AcquireOptions {
    const MINUTE: Duration = Duration::from_secs(60);
    let options = AcquireOptions::new(TTL);
    match tuning {
        Tuning::Defaults | Tuning::Permit => options,
        Tuning::Impatient => {
            let (pause, jitter) = (Duration::from_millis(3), Duration::from_millis(2));
            options.retry(Retry::timeout(MINUTE).fixed(pause).jitter(jitter))
        }
        Tuning::Patient => options.timeout(MINUTE),
        Tuning::Fenced => options.fencing(true),
        Tuning::Shared => options.shared(),
    }
}
