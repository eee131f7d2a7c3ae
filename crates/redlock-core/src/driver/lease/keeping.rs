//! Lets the keeper extend a lease.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use super::LeaseState;
use crate::{driver::keep::Keep, names::Resources};

impl Keep for LeaseState {
    fn resources(&self) -> &Resources {
        &self.resources
    }

    fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn now(&self) -> Duration {
        self.fleet.clock.now()
    }

    fn random(&self) -> u64 {
        // Without randomness there is no jitter.
        self.fleet.random().unwrap_or_default()
    }

    fn left(&self) -> Option<Duration> {
        self.check().ok()
    }

    fn extend_once(self: Arc<Self>, ttl: Duration) -> BoxFuture<'static, bool> {
        Box::pin(async move {
            match self.extend(ttl).await {
                Ok(_) => true,
                Err(failure) => {
                    self.validity.failed(failure);
                    false
                }
            }
        })
    }

    fn lifetime_over(&self) {
        self.validity.lifetime_over();
    }
}
