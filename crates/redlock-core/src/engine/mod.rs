//! The decisions of one lock as plain state machines: events and the time in, commands out.
//!
//! * An [`Acquisition`](acquisition::Acquisition) is one call to acquire. It decides when to ask, how long to pause,
//!   and when to give up. Each of its rounds is a lease.
//! * A `Lease` is one token on all nodes, from its first request to its last late answer. It decides whether the lock
//!   is acquired, extended, lost or released, and knows which node may hold the token.
//! * A `Line` is the queue of one node. Every request for the node passes through it, in order and in batches. It
//!   delivers releases until the node has answered them or their keys have expired.
//!
//! Time is an argument: a `Duration` on the clock of the fleet. `driver/` does what the machines decide. It uses the
//! parts of a lease that are here, [`Validity`](validity::Validity) and [`KeysOnNode`](keys_on_node::KeysOnNode), but
//! not yet `Lease` and `Line` themselves, which are compiled only in tests.

#[cfg(test)]
mod name;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod ask;
pub(crate) mod keys_on_node;
pub(crate) mod validity;
#[cfg(test)]
mod tally;
#[cfg(test)]
mod event;
#[cfg(test)]
mod command;
#[cfg(test)]
mod lease;
#[cfg(test)]
mod line;
pub(crate) mod acquisition;
#[cfg(test)]
mod health;

#[cfg(test)]
mod search;
