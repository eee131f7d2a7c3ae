//! Reports the problems of the nodes, and opens a new fleet with a restart guard.

mod check;
mod nodes_report;
mod restart_guard;

pub use self::{
    nodes_report::{NodesError, NodesReport},
    restart_guard::InitializeError,
};
