//! The other demo: one long job keeps its lock while every node is restarted empty, one after the other.

mod show;

mod restarts;
mod nodes;

mod long_job;
mod rivals;

mod live;
mod report;

pub(crate) use self::show::run;
