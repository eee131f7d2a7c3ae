//! In-memory nodes for [`redlock_core`], with faults as plain data: for tests of code that takes distributed locks,
//! without a Redis.
//!
//! A [`MockNode`] answers as the scripts of a real node do, keeps its keys on tokio's clock, so that tests can pause
//! and advance time, and fails as it is told:
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{AcquireError, Redlock, TokioClock};
//! use redlock_mock::{Fault, MockNode};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let nodes = MockNode::fleet(3);
//! let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build()?;
//!
//! // A minority may be down; the others still lock.
//! nodes[0].stop();
//! let lock = redlock.acquire("report", Duration::from_secs(10)).await?;
//! lock.release().await?;
//!
//! // A majority that refuses, once, is a lost round.
//! nodes[1].inject(Fault::Refuse);
//! let error = redlock.try_acquire("report", Duration::from_secs(10)).await.unwrap_err();
//! assert!(matches!(error, AcquireError::NoQuorum(_)));
//! # Ok(())
//! # }
//! ```
//!
//! # What it imitates
//!
//! * The effect and the answers of each operation, atomically, as on one Redis; expiry in whole milliseconds; keys of
//!   other types and values of other libraries ([`MockNode::set`], [`MockNode::set_list`]).
//! * A server that hangs ([`MockNode::hang`]) takes requests and carries them out when it goes on, also those whose
//!   callers gave up long ago. So does a network that delays a request ([`Fault::DelayRequest`]).
//! * A server that is stopped refuses; requests it had not carried out are gone. It starts with or without its
//!   [`Memory`].
//! * A client that ends a request after a response timeout of one second ([`MockNode::with_response_timeout`]).
//!
//! It does not imitate eviction, replication, persistence that loses the last second, or clocks that jump.

mod node;
mod fault;

mod fleet;
mod process;
mod history;
mod event;
mod record;

mod server;
mod keys;
mod clock;
mod network;
mod gate;

#[cfg(feature = "proptest")]
mod strategy;
#[cfg(feature = "proptest")]
pub use self::strategy::Assumptions;

pub use self::{
    clock::ProcessClock,
    event::{Event, What},
    fault::{Fault, Memory},
    fleet::Fleet,
    history::History,
    network::{Cut, Weather},
    node::MockNode,
    process::{Process, SeededEntropy},
    record::{Operation, Record},
};
