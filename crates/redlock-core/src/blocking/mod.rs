//! The same lock for code without async (feature `blocking`): the same names, and each call blocks until it has
//! finished.
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{Release, UsingError, blocking::Redlock};
//! use redlock_mock::MockNode; // or: use redlock_redis_rs::RedisNode; use redlock_fred::RedisNode;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redlock = Redlock::new(MockNode::fleet(3))?;
//!
//! let lock = redlock.acquire("invoice:42", Duration::from_secs(10))?;
//! assert!(lock.validity() > Duration::from_secs(9));
//! assert_eq!(lock.release()?, Release::Released);
//!
//! let rows = redlock.using("report", Duration::from_secs(30), |lock| {
//!     let rows = 42; // takes as long as it takes: the lock is extended meanwhile
//!     lock.check()?; // right before a side effect: is it still ours?
//!     Ok::<_, UsingError>(rows)
//! })?;
//! assert_eq!(rows, 42);
//! redlock.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! A small runtime of its own, with one thread, does the work that continues between calls: extends, requests to late
//! nodes, and the releases of dropped locks.
//!
//! In an async task, a blocking call would stop the thread that also runs other tasks. There every call fails with an
//! error that says `within async code`, and sends nothing. Make the call in
//! [`spawn_blocking`](tokio::task::spawn_blocking) or [`block_in_place`](tokio::task::block_in_place), or use the async
//! [`Redlock`](crate::Redlock).

mod lock;
mod permit;
mod redlock;
mod named;
mod worker;
mod running;

pub use self::{lock::Lock, named::NamedLocks, permit::Permit, redlock::Redlock};
