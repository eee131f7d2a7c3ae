//! Waiting without polling: those of one process in a line of their own, and one of them in line with other processes.
//!
//! Nothing here decides who holds a lock: a turn is only a good moment to ask the nodes. Whoever is not woken asks when its
//! pause is over, as if there were no waiting at all.

mod turn;
mod line;
mod holding;
mod listening;
mod nodes;
mod notifying;
mod subscription;
mod queueing;
mod place;

pub(crate) use self::{
    holding::Holding, line::Lines, listening::Listening, nodes::Nodes, notifying::wake, place::Place,
    queueing::Queueing, subscription::listen, turn::Turn,
};
