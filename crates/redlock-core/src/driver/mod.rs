//! Sends requests to the nodes, waits for their answers and keeps the time. The only room that awaits nodes.

mod acquire;
mod resume;
mod held;

mod claim;
mod lane;
mod ownership;
mod atomic_state;
mod standing;

mod round_trip;
mod tally;
mod holds;

mod fleet;
mod member;
mod owed;
mod background;
mod auto_extend;
mod keep;

pub(crate) use self::{
    acquire::Acquire,
    auto_extend::Watchdog,
    background::Background,
    claim::Claimed,
    fleet::Fleet,
    held::Held,
    member::Member,
    resume::resume,
    round_trip::{Requests, RoundTrip},
};
