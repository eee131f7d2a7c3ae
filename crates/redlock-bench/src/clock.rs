//! A clock that all processes of this machine share, and the CPU time of one process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Returns nanoseconds of the monotonic clock, which all processes of a machine share.
pub(crate) fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

/// Returns the CPU time that this process has used.
pub(crate) fn cpu_time() -> Duration {
    Duration::from_nanos(nanos(ClockId::ProcessCPUTime))
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
