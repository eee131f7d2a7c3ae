//! `redlock run`: a command under a lock.

mod steps;
mod supervision;
mod deadlines;
mod command;
mod start;
mod orphans;
mod dead;
mod signals;
mod backstop;
mod ending;
mod metrics_file;
mod holding;

pub(crate) use self::{backstop::run as backstop, signals::Signals, steps::run};
