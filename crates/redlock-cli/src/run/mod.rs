//! `redlock run`: a command under a lock.

mod steps;
mod supervision;
mod deadlines;
mod command;
mod signals;
mod ending;

pub(crate) use self::steps::run;
