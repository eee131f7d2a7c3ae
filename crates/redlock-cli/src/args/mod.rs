//! The command line.

mod cli;
mod fleet;
mod run;
mod hold;
mod look;
mod parse;

#[cfg(feature = "fred")]
pub(crate) use self::fleet::RedisClient;
pub(crate) use self::{
    cli::{Cli, Task},
    fleet::FleetArgs,
    hold::{AcquireArgs, ExtendArgs, ReleaseArgs},
    look::{DoctorArgs, StatusArgs, WatchArgs},
    run::{OnLoss, RunArgs, TakeArgs},
};
