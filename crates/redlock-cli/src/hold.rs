//! `redlock acquire`, `extend` and `release`: a lock for scripts, which goes from one process to the next by its token.

use std::{env, os::unix::process::parent_id, time::Duration};

use redlock_core::{AcquireOptions, FencingToken, LockParts, Owner, Redlock, Release};
use serde_json::json;
use tokio::select;

use crate::{
    args::{AcquireArgs, ExtendArgs, FleetArgs, ReleaseArgs},
    attempt::take,
    exit::Exit,
    failure::Failure,
    fleet::Fleet,
    run::Signals,
    say::Say,
};

/// The ttl that stands for that of a lock which is given back: it decides only how long nodes are waited for.
const ANY_TTL: Duration = Duration::from_secs(30);

/// Takes a lock and prints its token.
pub(crate) async fn acquire(args: AcquireArgs, say: &Say) -> Result<Exit, Failure> {
    let redlock = Fleet::open(&args.fleet, say)?.holder(args.take.owner.clone(), the_caller())?;
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;
    let taken = select! {
        biased;
        // What was set on nodes by then is given back.
        signal = signals.next() => return closed(&redlock, Ok(Exit::of_signal(signal.as_raw()))).await,
        taken = take(&redlock, &args.name, &args.take, AcquireOptions::new(args.take.ttl)) => taken,
    };
    let lock = match taken {
        Ok(lock) => lock,
        Err(error) => return closed(&redlock, Err(error.into())).await,
    };
    let (token, fencing_token) = (*lock.token(), lock.fencing_token());
    let printed = say.try_result(
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
    if let Err(error) = printed {
        // Nobody could ever give it back.
        let _ = lock.release().await;
        return closed(&redlock, Err(Failure::new(Exit::FAILED, format!("the token cannot be printed: {error}"))))
            .await;
    }
    // Not given back at the end of this process.
    let left = lock.into_parts().await;
    let outcome = left.map(|_parts| Exit::SUCCESS).map_err(|loss| Failure::new(Exit::LOST, loss.to_string()));
    closed(&redlock, outcome).await
}

/// Extends a lock by its token.
pub(crate) async fn extend(args: &ExtendArgs, say: &Say) -> Result<Exit, Failure> {
    let parts = parts(&args.name, args.ttl)?;
    let redlock = redlock(&args.fleet, say)?;
    let mut lock = match redlock.resume(parts).await {
        Ok(lock) => lock,
        Err(error) => return closed(&redlock, Err(error.into())).await,
    };
    let extended = lock.extend(args.ttl).await;
    let handed_on = lock.into_parts().await;
    let validity = match (extended, handed_on) {
        (Ok(validity), Ok(_)) => validity,
        (Err(error), _) => return closed(&redlock, Err(error.into())).await,
        (_, Err(loss)) => return closed(&redlock, Err(Failure::new(Exit::LOST, loss.to_string()))).await,
    };
    let told = say.result(
        || millis(validity).to_string(),
        || json!({ "resource": args.name, "ttl_ms": millis(args.ttl), "valid_ms": millis(validity) }),
    );
    if let Err(failure) = told {
        // It is extended all the same.
        say.warning(&failure.what);
    }
    closed(&redlock, Ok(Exit::SUCCESS)).await
}

/// Gives a lock back by its token.
pub(crate) async fn release(args: &ReleaseArgs, say: &Say) -> Result<Exit, Failure> {
    let parts = parts(&args.name, ANY_TTL)?;
    let redlock = redlock(&args.fleet, say)?;
    let released = match redlock.resume(parts).await {
        Ok(lock) => lock.release().await.map_err(Failure::from),
        Err(error) => return closed(&redlock, Err(error.into())).await,
    };
    let outcome = match released {
        Ok(Release::Released) => {
            say.event("released", &format!("released {:?}", args.name), json!({ "resource": args.name }));
            Ok(Exit::SUCCESS)
        }
        Ok(_) => Err(Failure::new(Exit::LOST, format!("the lock on {:?} was already gone", args.name))),
        Err(failure) => Err(failure),
    };
    closed(&redlock, outcome).await
}

/// Waits for what is given back in the background.
pub(crate) async fn closed(redlock: &Redlock, outcome: Result<Exit, Failure>) -> Result<Exit, Failure> {
    let _ = tokio::time::timeout(Duration::from_secs(2), redlock.close()).await;
    outcome
}

fn redlock(args: &FleetArgs, say: &Say) -> Result<Redlock, Failure> {
    Ok(Fleet::open(args, say)?.redlock()?)
}

/// The lock that the environment tells of.
fn parts(name: &str, ttl: Duration) -> Result<LockParts, Failure> {
    let token = env::var("REDLOCK_TOKEN").unwrap_or_default();
    if token.is_empty() {
        let what = "REDLOCK_TOKEN is not set: export what `redlock acquire` has printed";
        return Err(Failure::new(Exit::FAILED, what));
    }
    let token = token.lines().next().unwrap_or_default();
    let parts = LockParts::new([name], token, ttl).map_err(|error| match error {
        redlock_core::LockPartsError::Token => {
            Failure::new(Exit::FAILED, "REDLOCK_TOKEN is no token: export what `redlock acquire` has printed, as it is")
        }
        error => Failure::of(&error),
    })?;
    match env::var("REDLOCK_FENCING_TOKEN").ok().filter(|number| !number.is_empty()) {
        None => Ok(parts),
        Some(number) => {
            let fencing_token = number.parse().ok().and_then(FencingToken::new);
            let what = "REDLOCK_FENCING_TOKEN is no fencing token: export what `redlock acquire --fencing` has printed";
            Ok(parts.with_fencing_token(fencing_token.ok_or_else(|| Failure::new(Exit::FAILED, what))?))
        }
    }
}

/// This host and the process that has called this one, which ends at once.
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
