//! The wait queue: it decides when a call next sends requests to the nodes, and never who holds a lock.
//!
//! The calls of one process wait in a queue for each key. The first of them also waits in the queue of a node, for a
//! message from it. A call that receives none sends its requests when its pause is over, as if there were no queue.

mod permit;
mod local_queue;
mod local_queues;
mod holding;
mod subscriptions;
mod nodes;
mod wake_request;
mod subscription;
mod queueing;
mod ticket;

pub(crate) use self::{
    holding::Holding, local_queues::LocalQueues, nodes::Nodes, permit::Permit, queueing::Queueing,
    subscription::subscribe, subscriptions::Subscriptions, ticket::Ticket, wake_request::notify_first,
};
