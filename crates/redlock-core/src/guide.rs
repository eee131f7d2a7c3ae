//! The guide: what to decide before a lock goes into production, and what to do when something fails.
//!
//! | page | what it answers |
//! |---|---|
//! | [`ttl`] | how long a ttl should be; what validity, drift, node timeout and auto-extend make of it |
//! | [`nodes`] | 1, 3 or 5 nodes; what makes them independent; how to change their number |
//! | [`persistence`] | what a node forgets when it restarts, and three ways to make that harmless |
//! | [`fencing`] | why a lock alone cannot stop a paused holder, and what the storage has to do |
//! | [`failures`] | what you see when something fails, and what to do then |
//! | [`waiting`] | how callers wait, what is fair about it, and what can be tuned |
//! | [`testing`] | tests of your own code, in virtual time, with faults as data |
//! | [`migrating`] | from redlock-go, rslock, redsync, node-redlock, Redisson and a plain `SET NX`, while both run |
//! | [`operation`] | what to watch, what to alert on, what to do before nodes are taken away |
//!
//! Each example is a test: it compiles, and runs on the nodes in memory of `redlock-mock`. Those that need a span of time
//! run in virtual time, and take none; the page on [`testing`] tells how.
//!
//! The rest is elsewhere. What is promised, test by test, what is not, every setting, the rights of a Redis user and every
//! message are tables in the README. How the code is laid out, and which invariant lives where, is in `CONTRIBUTING.md`.

pub mod ttl {
    #![doc = include_str!("guide/ttl.md")]
}

pub mod nodes {
    #![doc = include_str!("guide/nodes.md")]
}

pub mod persistence {
    #![doc = include_str!("guide/persistence.md")]
}

pub mod fencing {
    #![doc = include_str!("guide/fencing.md")]
}

pub mod failures {
    #![doc = include_str!("guide/failures.md")]
}

pub mod waiting {
    #![doc = include_str!("guide/waiting.md")]
}

pub mod testing {
    #![doc = include_str!("guide/testing.md")]
}

pub mod migrating {
    #![doc = include_str!("guide/migrating.md")]
}

pub mod operation {
    #![doc = include_str!("guide/operation.md")]
}
