//! The decisions of one lock as plain state machines: events and the time in, commands out. Compiled in tests only, so far:
//! the decisions that run are those of `driver/`.
//!
//! * A [`Lease`](lease::Lease) is one token on all nodes, from its first request to its last late answer. It decides
//!   whether the lock is acquired, extended, lost or released, and knows which node may hold the token.
//! * A [`Line`](line::Line) is the queue of one node. Every request for the node passes through it, in order and in
//!   batches. It delivers releases until the node has answered them or their keys have expired.
//! * An [`Acquisition`](acquisition::Acquisition) is one call to acquire. It decides when to ask, and each of its
//!   rounds is a lease. A [`Resuming`](resuming::Resuming) decides whether a lock of another process is resumed in this
//!   one.
//! * [`NodeHealth`](health::NodeHealth) is what all leases know of one node.
//! * A driver feeds [events](event::Event) and executes [commands](command::Command). It decides nothing.
//!
//! Time is an argument: a `Duration` on the clock of the fleet. The driver does not use these machines yet.

mod name;
mod rules;
mod ask;
mod validity;
mod tally;
mod event;
mod command;
mod lease;
mod line;
mod acquisition;
mod resuming;
mod health;

#[cfg(test)]
mod search;
