//! In-memory nodes for [`redlock_core`], with faults as plain data: they test code that uses distributed locks, without
//! a Redis server.
//!
//! A [`MockNode`] answers like the scripts of a real node, and fails on demand. It keeps its keys on Tokio's clock,
//! which tests can pause and advance, and a `Redlock` over such nodes uses that clock too:
//!
//! ```
//! use std::time::Duration;
//! use redlock_core::{AcquireError, Redlock, Release};
//! use redlock_mock::{Fault, MockNode};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let nodes = MockNode::fleet(3);
//! let redlock = Redlock::new(nodes.clone())?;
//!
//! // A minority may be down; the others still grant the lock.
//! nodes[0].stop();
//! let lock = redlock.acquire("report", Duration::from_secs(10)).await?;
//! assert_eq!(lock.release().await?, Release::Released);
//!
//! // If a majority refuses once, the round fails.
//! nodes[1].inject(Fault::Refuse);
//! let error = redlock.try_acquire("report", Duration::from_secs(10)).await.unwrap_err();
//! assert!(matches!(error, AcquireError::NoQuorum(_)));
//! # Ok(())
//! # }
//! ```
//!
//! The guide's page on [testing](redlock_core::guide::testing) shows more of it, and what to test.
//!
//! # Fleets and histories
//!
//! A [`Fleet`] has a network in front of its nodes, and several processes that share them; a [`History`] contains all
//! its events, as a value. All randomness comes from one seed, so that a run can be repeated down to the last message:
//!
//! ```
//! use std::time::Duration;
//! use redlock_mock::{Event, Fleet, History, What};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let history = History {
//!     nodes: 3,
//!     processes: 2,
//!     seed: 4711,
//!     events: vec![
//!         Event { at: 0, what: What::Hang { node: 0, millis: 500 } },
//!         Event { at: 100, what: What::Pause { process: 1, polls: 0, millis: 2_000 } },
//!     ],
//! };
//! let fleet = Fleet::of(&history);
//! let work = async {
//!     for process in fleet.processes() {
//!         let redlock = process.redlock().build()?;
//!         let lock = process.run(redlock.acquire("report", Duration::from_secs(1))).await?;
//!         let _ = lock.release().await?;
//!     }
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! };
//! let (worked, ()) = tokio::join!(work, fleet.befall(&history));
//! worked?;
//! # Ok(())
//! # }
//! ```
//!
//! The feature `proptest` generates random histories (`Assumptions::histories`), the feature `serde` saves them.
//!
//! # What it imitates
//!
//! * The effect and the answers of each operation, atomically, as on one Redis; expiry in whole milliseconds; keys of
//!   other types and values of other libraries ([`MockNode::set`], [`MockNode::set_list`]).
//! * A server that hangs ([`MockNode::hang`]) accepts requests and carries them out when it resumes, including those
//!   whose callers gave up long ago. So does a network that delays a request ([`Fault::DelayRequest`]).
//! * A server that is stopped refuses connections; requests it had not carried out are lost. It starts with or without
//!   its [`Memory`], or without the last second of it.
//! * Clocks of nodes and processes that run fast or slow, and clocks of nodes that jump.
//! * A network that delays, loses, doubles and reorders messages ([`Weather`]), and that is cut in one direction or
//!   both ([`Cut`]).
//! * Processes that pause, and calls that are dropped, at any await point.
//! * A client that ends a request after a response timeout of one second ([`MockNode::with_response_timeout`]).
//! * If a test enables it, a client's connection ([`MockNode::with_connection`], [`Fleet::with_connections`]). While a
//!   node hangs, requests wait in the socket. After 2 s without an answer the client gives the connection up, and it
//!   cannot connect again before the node resumes: a release never reaches the node, and the acquire in the old socket
//!   is still carried out. Without a connection, everything that is sent to a node that hangs reaches it.
//! * A connection that a firewall forgets without notifying either side ([`MockNode::cut_connection`]).
//!
//! It does not imitate eviction, replication, full memory (except for the error), the bytes on a connection, the time
//! that a handshake takes, or process clocks that jump: those are monotonic.

mod node;
mod lock_node;
mod fault;

mod fleet;
mod process;
mod history;
mod event;
mod timetable;
mod record;

mod connection;
mod request;
mod server;
mod keys;
mod waiters;
mod listening;
mod clock;
mod link;
mod network;
mod gate;

#[cfg(feature = "proptest")]
mod strategy;
#[cfg(feature = "proptest")]
pub use self::strategy::Assumptions;

pub use self::{
    clock::ProcessClock,
    connection::Connection,
    event::{Event, What},
    fault::{Fault, Memory},
    fleet::Fleet,
    history::History,
    network::{Cut, Weather},
    node::MockNode,
    process::{Process, SeededEntropy},
    record::{Operation, Record},
};

/// The example of the crate's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
