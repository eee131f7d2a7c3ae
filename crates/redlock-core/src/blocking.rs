//! The same lock for code without async (feature `blocking`): same names, and each call waits for its end.
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::blocking::Redlock;
//! use redlock_mock::MockNode; // or: use redlock_redis_rs::RedisNode; use redlock_fred::RedisNode;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redlock = Redlock::new(MockNode::fleet(3))?;
//!
//! let lock = redlock.acquire("invoice:42", Duration::from_secs(10))?;
//! assert!(lock.validity() > Duration::from_secs(9));
//! lock.release()?;
//!
//! let rows = redlock.using("report", Duration::from_secs(30), |lock| {
//!     let rows = 42; // takes as long as it takes: the lock is extended meanwhile
//!     lock.check().map(|_| rows) // right before a side effect: is it still ours?
//! })??;
//! assert_eq!(rows, 42);
//! redlock.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! A small runtime of its own, one thread, does what has to go on between calls: extends, late nodes, and what dropped
//! locks give back.
//!
//! Called from async code it would stop that runtime, so every call refuses to: the error says `within async code`, and
//! nothing is sent. That holds for `spawn_blocking` as well; use the async [`Redlock`](crate::Redlock) there.

mod lock;
mod redlock;
mod named;
mod worker;
mod running;

pub use self::{lock::Lock, named::NamedLocks, redlock::Redlock};
