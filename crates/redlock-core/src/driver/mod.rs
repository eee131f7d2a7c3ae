//! Redlock at run time: acquires, extends and releases locks on the nodes. The only room that awaits nodes.

mod acquire;
mod resume;
mod held;

mod lease;
mod node_lane;
mod atomic_state;
mod validity;

mod exchange;
mod tally;
mod token_state;

mod fleet;
mod member;
mod owed;
mod background;
mod auto_extend;
mod keep;

pub(crate) use self::{
    acquire::Acquire,
    auto_extend::Keeper,
    background::Background,
    exchange::{Exchange, Requests},
    fleet::Fleet,
    held::Held,
    lease::LeaseState,
    member::Member,
    resume::resume,
};
