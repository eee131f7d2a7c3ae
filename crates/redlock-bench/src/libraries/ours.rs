//! This library, over one of its two clients.

use std::{marker::PhantomData, time::Duration};

use anyhow::Result;
use redlock_core::{AcquireOptions, Lock, Redlock, Retry};

use crate::library::{Library, TTL, Tuning};

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
    backend: PhantomData<B>,
}

impl<B> Clone for Ours<B> {
    fn clone(&self) -> Self {
        Self { redlock: self.redlock.clone(), options: self.options.clone(), backend: PhantomData }
    }
}

impl<B: Backend> Library for Ours<B> {
    type Held = Lock;

    async fn open(urls: &[String], tuning: Tuning) -> Result<Self> {
        Ok(Self { redlock: B::redlock(urls)?, options: options(tuning), backend: PhantomData })
    }

    async fn acquire(&self, name: &str) -> Result<Lock, String> {
        self.redlock.acquire(name, self.options.clone()).await.map_err(|error| error.to_string())
    }

    async fn release(&self, held: Lock) -> Result<(), String> {
        held.release().await.map(drop).map_err(|error| error.to_string())
    }

    async fn settle(&self) {
        // What is still on its way then ends by itself.
        let _ = self.redlock.close().await;
    }
}

/// What a user would write.
pub(crate) fn options(tuning: Tuning) -> AcquireOptions {
    const MINUTE: Duration = Duration::from_secs(60);
    let options = AcquireOptions::new(TTL);
    match tuning {
        Tuning::Defaults => options,
        Tuning::Impatient => {
            let (pause, jitter) = (Duration::from_millis(3), Duration::from_millis(2));
            options.retry(Retry::timeout(MINUTE).fixed(pause).jitter(jitter))
        }
        Tuning::Patient => options.timeout(MINUTE),
        Tuning::Fenced => options.fencing(true),
        Tuning::Shared => options.shared(),
    }
}
