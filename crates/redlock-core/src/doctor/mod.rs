//! What is wrong with the nodes, and how a new fleet with a restart guard is opened.

mod check;
mod nodes_report;
mod restart_guard;

pub use self::{
    nodes_report::{NodesError, NodesReport},
    restart_guard::InitializeError,
};
