//! The real driver on simulated fleets: random histories of faults in virtual time, judged by what must never happen.

pub mod timeline;
