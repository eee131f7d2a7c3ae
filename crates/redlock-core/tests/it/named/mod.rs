//! Locks by name: who holds them, and that no unlock and no registry ever touches the lock of another holder.

/// Tests each promise with every registry.
macro_rules! with_every_registry {
    ($($promise:ident,)+) => {
        mod with_a_map {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                super::$promise(std::sync::Arc::new(redlock_core::named::MapRegistry::default())).await;
            })+
        }

        #[cfg(feature = "bounded-registry")]
        mod with_a_bounded_one {
            $(#[tokio::test(start_paused = true)]
            async fn $promise() {
                let registry = redlock_core::named::BoundedRegistry::new(1024 * 1024);
                super::$promise(std::sync::Arc::new(registry)).await;
            })+
        }
    };
}

mod holders;
mod endings;
mod releases;
mod registries;

use std::{sync::Arc, time::Duration};

use redlock_core::{AcquireOptions, AutoExtend, NamedLocks, Redlock, Retry, named::Registry};
use redlock_mock::MockNode;

use crate::support::builder;

const TTL: Duration = Duration::from_secs(10);

fn redlock(nodes: &[MockNode]) -> Redlock {
    builder(nodes).retry(Retry::default().unlimited()).build().unwrap()
}

fn fleet(registry: Arc<dyn Registry>) -> (Vec<MockNode>, NamedLocks) {
    let nodes = MockNode::fleet(3);
    let named = NamedLocks::new(&redlock(&nodes), registry);
    (nodes, named)
}

fn kept(lifetime: Duration) -> AcquireOptions {
    AcquireOptions::new(TTL).auto_extend(AutoExtend::default().max_lifetime(lifetime))
}

fn holding(nodes: &[MockNode], name: &str) -> usize {
    nodes.iter().filter(|node| node.peek(name).is_some()).count()
}
