//! The contenders' libraries, each behind the same trait.

mod ours;

mod floor;
mod floor_redis_rs;
mod floor_fred;

mod peer_rslock;
mod peer_redlock;

pub(crate) use floor::Floor;
pub(crate) use floor_fred::FredNode;
pub(crate) use floor_redis_rs::RedisRsNode;
pub(crate) use ours::{Backend, Fred, Ours, RedisRs};
pub(crate) use peer_redlock::RedlockCratesIo;
pub(crate) use peer_rslock::Rslock;
