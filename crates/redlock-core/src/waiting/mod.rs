//! Waiting without polling: those of one process in a line of their own, and one of them in line with other processes.
//!
//! Nothing here decides who holds a lock: a turn is only a good moment to ask the nodes. Whoever is not woken asks when its
//! pause is over, as if there were no waiting at all.

mod line;
mod place;
mod listening;

pub(crate) use self::{
    line::{Holding, Lines},
    listening::Listening,
    place::{Place, Queueing, Turn},
};
