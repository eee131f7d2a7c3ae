//! The real driver on simulated fleets: random histories of faults in virtual time, and checks for things that must
//! never happen.
//!
//! A [`Case`] is a history of faults and the programs of the processes. [`play`] plays it in virtual time, with the
//! driver of `redlock-core` on the nodes of `redlock-mock`, and checks it with nine [`Oracle`]s. [`Search`] plays many
//! cases, each made from one number, and shrinks the first one that breaks a promise.

mod case;
mod crowds;
mod scope;
mod play;
mod stage;
mod held;
mod judge;
mod residue;
mod ledger;
mod waits;
mod orphans;
mod permits;
mod violation;
mod panics;
mod sabotage;
mod search;
mod shrink;
mod picture;

pub mod timeline;

pub use self::{
    case::{Case, End, Hold, Retry},
    ledger::{Act, Call, Disorder, Holding, Issued, Ledger, Outcome, Overlap, PermitHolding, Sighting},
    orphans::Orphan,
    permits::Crowd,
    play::{Played, play},
    sabotage::Sabotage,
    scope::Scope,
    search::{Found, Search, Tally, case},
    violation::{Oracle, Violation},
    waits::Wait,
};
