//! `redlock acquire`, `extend` and `release`: a lock for scripts, which is passed from one process to the next by its
//! token.

use std::{env, os::unix::process::parent_id, time::Duration};

use redlock_core::{AcquireOptions, FencingToken, LockParts, Owner, Redlock, Release};
use serde_json::json;
use tokio::select;

use crate::{
    args::{AcquireArgs, ExtendArgs, FleetArgs, ReleaseArgs},
    attempt::take,
    close::closed,
    exit::Exit,
    failure::Failure,
    fleet::Fleet,
    run::Signals,
    say::Say,
};

/// The TTL of a lock that is released: it only determines how long to wait for nodes.
const ANY_TTL: Duration = Duration::from_secs(30);

/// Acquires a lock and prints its token.
pub(crate) async fn acquire(args: AcquireArgs, say: &Say) -> Result<Exit, Failure> {
    let redlock = Fleet::open(&args.fleet, say)?.holder(args.take.owner.clone(), the_caller())?;
    let outcome = acquire_with(&redlock, &args, say).await;
    closed(&redlock, args.fleet.close_timeout, say, outcome).await
}

async fn acquire_with(redlock: &Redlock, args: &AcquireArgs, say: &Say) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;
    let lock = select! {
        biased;
        // Keys that were set on nodes by then are released.
        signal = signals.next() => return Ok(Exit::of_signal(signal.as_raw())),
        taken = take(redlock, &args.name, None, &args.take, AcquireOptions::new(args.take.ttl), false, say) => taken?.0,
    };
    let (token, fencing_token) = (*lock.token(), lock.fencing_token());
    let printing = say.try_result(
        || fencing_token.map_or_else(|| token.as_str().to_owned(), |number| format!("{}\n{number}", token.as_str())),
        || {
            json!({
                "resource": args.name,
                "token": token.as_str(),
                "fencing_token": fencing_token.map(FencingToken::get),
                "ttl_ms": millis(args.take.ttl),
                "valid_ms": millis(lock.validity()),
            })
        },
    );
    let printed = select! {
        biased;
        printed = printing => printed,
        signal = signals.next() => {
            let _ = lock.release().await;
            return Ok(Exit::of_signal(signal.as_raw()));
        }
    };
    if let Err(error) = printed {
        // Nobody could ever release it.
        let _ = lock.release().await;
        return Err(Failure::new(Exit::FAILED, format!("the token cannot be printed: {error}")));
    }
    // Not released at the end of this process.
    let left = lock.into_parts().await;
    left.map(|_parts| Exit::SUCCESS).map_err(|loss| Failure::new(Exit::LOST, loss.to_string()))
}

/// Extends a lock by its token.
pub(crate) async fn extend(args: &ExtendArgs, say: &Say) -> Result<Exit, Failure> {
    let parts = parts(&args.name, args.ttl)?;
    let redlock = redlock(&args.fleet, say)?;
    let outcome = extend_with(&redlock, parts, args, say).await;
    closed(&redlock, args.fleet.close_timeout, say, outcome).await
}

async fn extend_with(redlock: &Redlock, parts: LockParts, args: &ExtendArgs, say: &Say) -> Result<Exit, Failure> {
    let mut lock = redlock.resume(parts).await?;
    let extended = lock.extend(args.ttl).await;
    // Not released at the end of this process.
    let left = lock.into_parts().await;
    let validity = extended?;
    let _ = left.map_err(|loss| Failure::new(Exit::LOST, loss.to_string()))?;
    let told = say.result(
        || millis(validity).to_string(),
        || json!({ "resource": args.name, "ttl_ms": millis(args.ttl), "valid_ms": millis(validity) }),
    );
    if let Err(failure) = told.await {
        // The lock is extended anyway.
        say.warning(&failure.what);
    }
    Ok(Exit::SUCCESS)
}

/// Releases a lock by its token.
pub(crate) async fn release(args: &ReleaseArgs, say: &Say) -> Result<Exit, Failure> {
    let parts = parts(&args.name, ANY_TTL)?;
    let redlock = redlock(&args.fleet, say)?;
    let outcome = release_with(&redlock, parts, args, say).await;
    closed(&redlock, args.fleet.close_timeout, say, outcome).await
}

async fn release_with(redlock: &Redlock, parts: LockParts, args: &ReleaseArgs, say: &Say) -> Result<Exit, Failure> {
    match redlock.resume(parts).await?.release().await? {
        Release::Released => {
            say.event("released", &format!("released {:?}", args.name), json!({ "resource": args.name }));
            Ok(Exit::SUCCESS)
        }
        _ => Err(Failure::new(Exit::LOST, format!("the lock on {:?} was not held any more", args.name))),
    }
}

fn redlock(args: &FleetArgs, say: &Say) -> Result<Redlock, Failure> {
    Ok(Fleet::open(args, say)?.redlock()?)
}

/// Returns the lock that the environment describes.
fn parts(name: &str, ttl: Duration) -> Result<LockParts, Failure> {
    let token = env::var("REDLOCK_TOKEN").unwrap_or_default();
    if token.is_empty() {
        let what = "REDLOCK_TOKEN is not set: export the output of `redlock acquire`";
        return Err(Failure::new(Exit::FAILED, what));
    }
    let token = token.lines().next().unwrap_or_default();
    let parts = LockParts::new([name], token, ttl).map_err(|error| match error {
        redlock_core::LockPartsError::Token => {
            Failure::new(Exit::FAILED, "REDLOCK_TOKEN is not a token: export the output of `redlock acquire` unchanged")
        }
        error => Failure::of(&error),
    })?;
    match env::var("REDLOCK_FENCING_TOKEN").ok().filter(|number| !number.is_empty()) {
        None => Ok(parts),
        Some(number) => {
            let fencing_token = number.parse().ok().and_then(FencingToken::new);
            let what = "REDLOCK_FENCING_TOKEN is not a fencing token: export that of `redlock acquire --fencing`";
            Ok(parts.with_fencing_token(fencing_token.ok_or_else(|| Failure::new(Exit::FAILED, what))?))
        }
    }
}

/// Returns an owner label of this host and the caller's process, because this process ends immediately.
fn the_caller() -> Owner {
    let this = Owner::this_process();
    let caller =
        this.as_str().rsplit_once(':').and_then(|(host, _)| Owner::new(format!("{host}:{}", parent_id())).ok());
    caller.unwrap_or(this)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_s_lock_is_the_script_s() {
        let label = the_caller();
        assert!(label.as_str().ends_with(&format!(":{}", parent_id())), "{label}");
    }
}
