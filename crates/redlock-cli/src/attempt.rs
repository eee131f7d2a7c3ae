//! How a lock is taken: waiting for it, or only if nobody has it.

use std::time::{Duration, Instant};

use redlock_core::{AcquireError, AcquireOptions, Finding, Lock, Redlock};

use crate::args::TakeArgs;

/// For how long those who all ask at the same moment ask again, so that one of them has it at last.
const TIES: Duration = Duration::from_secs(3);

/// Takes the lock.
pub(crate) async fn take(
    redlock: &Redlock,
    name: &str,
    args: &TakeArgs,
    options: AcquireOptions,
) -> Result<Lock, AcquireError> {
    let options = options.fencing(args.fencing);
    // No time to wait is no time for a round either: what is meant is one that does not wait.
    if args.once || args.wait.is_zero() {
        take_if_free(redlock, name, options).await
    } else {
        redlock.acquire(name, options.deadline(args.wait)).await
    }
}

/// Takes the lock unless another has it. One round could be lost by all who ask at the same moment, each with some of the
/// nodes; then nobody has it, and another round follows.
async fn take_if_free(redlock: &Redlock, name: &str, options: AcquireOptions) -> Result<Lock, AcquireError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let error = match redlock.try_acquire(name, options.clone()).await {
            Err(error) if error.is_contended() && started.elapsed() < TIES => error,
            taken => return taken,
        };
        match redlock.inspect(name).await {
            Ok(inspection) if matches!(inspection.finding(), Finding::Held(_)) => return Err(error),
            // Others tie, or have just given up; or too few nodes tell.
            Ok(_) => {}
            Err(_) => return Err(error),
        }
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

/// The pause and up to as much again: those who tie must not meet again.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library's hasher has a random key of its own.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    pause + pause.mul_f64(random as f64 / 1024.0)
}
