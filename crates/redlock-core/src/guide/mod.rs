//! The guide: what to decide before you use a lock in production, and what to do when something fails.
//!
//! | page | question |
//! |---|---|
//! | [`recipes`] | How do you write the common cases? |
//! | [`guarantees`] | What does Redlock guarantee, what does it not guarantee, and what does each option add? |
//! | [`how_it_works`] | How does a lock work, from the call to the release? |
//! | [`configuration`] | Which settings are there, and what are their defaults? |
//! | [`ttl`] | Which TTL should you choose? |
//! | [`nodes`] | How many nodes do you need, and which ones? |
//! | [`servers`] | Which Redis servers work, what permissions do they need, and how do you check them? |
//! | [`persistence`] | What does a node forget when it restarts, and how do you make that harmless? |
//! | [`fencing`] | Why can a lock alone not stop a paused holder, and what does the storage have to do? |
//! | [`shared_locks`] | When do you need a shared lock, and what does it promise? |
//! | [`failures`] | What do you see when something fails, and what should you do? What does a message mean? |
//! | [`waiting`] | How do callers wait for a lock, and what can you tune? |
//! | [`permits`] | How do you let at most K callers work at the same time, each with a number? |
//! | [`testing`] | How do you test your own code, without Redis and in virtual time? |
//! | [`operation`] | What should you watch in production, and when should you be alerted? |
//! | [`migrating`] | How do you migrate from another library, while old and new processes run side by side? |
//! | [`comparison`] | How does Redlock compare with other libraries, and how fast is it? |
//!
//! Each example is a test. It compiles, and runs on the in-memory nodes of `redlock-mock` if it needs nodes. Examples
//! in which time passes use virtual time, so they finish immediately: the page on [`testing`] explains how.

pub mod recipes {
    #![doc = include_str!("recipes.md")]
}

pub mod guarantees {
    #![doc = include_str!("guarantees.md")]
}

pub mod how_it_works {
    #![doc = include_str!("how_it_works.md")]
}

pub mod configuration {
    #![doc = include_str!("configuration.md")]
}

pub mod ttl {
    #![doc = include_str!("ttl.md")]
}

pub mod nodes {
    #![doc = include_str!("nodes.md")]
}

pub mod servers {
    #![doc = include_str!("servers.md")]
}

pub mod persistence {
    #![doc = include_str!("persistence.md")]
}

pub mod fencing {
    #![doc = include_str!("fencing.md")]
}

pub mod shared_locks {
    #![doc = include_str!("shared_locks.md")]
}

pub mod failures {
    #![doc = include_str!("failures.md")]
}

pub mod waiting {
    #![doc = include_str!("waiting.md")]
}

pub mod permits {
    #![doc = include_str!("permits.md")]
}

pub mod testing {
    #![doc = include_str!("testing.md")]
}

pub mod operation {
    #![doc = include_str!("operation.md")]
}

pub mod migrating {
    #![doc = include_str!("migrating.md")]
}

pub mod comparison {
    #![doc = include_str!("comparison.md")]
}
