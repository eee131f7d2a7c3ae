//! The program as users run it: the real binary, real commands, real Redis servers.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod stage;

mod run;
mod usage;
mod race;
mod at_least;
mod cron;
mod loss;
mod signals;
mod stalled;
mod processes;
mod init;
mod privileges;
mod terminal;
mod secrets;
mod tls;

mod demo;
mod doctor;
mod status;
mod permits;
mod hold;
mod pages;
mod packaging;
