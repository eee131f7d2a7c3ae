//! The wait queue: it says when a call asks the nodes next, and never decides who holds a lock.
//!
//! The calls of one process wait in a line for each key. The first of them also waits among other processes, for a message
//! from a node. A call that receives none asks when its pause is over, as if there were no queue.

mod turn;
mod line;
mod lines;
mod holding;
mod listening;
mod nodes;
mod notifying;
mod subscription;
mod queueing;
mod place;

pub(crate) use self::{
    holding::Holding, lines::Lines, listening::Listening, nodes::Nodes, notifying::wake, place::Place,
    queueing::Queueing, subscription::listen, turn::Turn,
};
