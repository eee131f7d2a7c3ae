//! Acquires a lock: waits for it, or acquires it only if it is free.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use redlock_core::{
    AcquireError, AcquireOptions, Finding, Inspection, Lock, NodeAnswer, NodeErrorKind, Redlock, Retry,
};
use serde_json::json;
use tokio::{select, time::sleep};

use crate::{
    args::TakeArgs,
    exit::Exit,
    failure::{Failure, chain},
    say::Say,
    status::{count, label, readable},
};

/// How long callers retry that tie with others, or whose nodes do not answer.
const TIES: Duration = Duration::from_secs(3);

/// After this time, a message reports the holder of the lock.
const SILENCE: Duration = Duration::from_secs(1);

/// A lock, and its slot if it is a permit.
type Taken = (Lock, Option<u32>);

/// Acquires the lock, or one of `permits`. `quiet` omits the message about the current holder.
pub(crate) async fn take(
    redlock: &Redlock,
    name: &str,
    permits: Option<u32>,
    args: &TakeArgs,
    options: AcquireOptions,
    quiet: bool,
    say: &Say,
) -> Result<Taken, Failure> {
    let options = options.fencing(args.fencing);
    let taken = match args.wait {
        _ if args.once => take_if_free(redlock, name, permits, options).await,
        // A round takes time, so zero means a round that does not wait.
        Some(Duration::ZERO) => take_if_free(redlock, name, permits, options).await,
        wait => {
            let options = match wait {
                Some(wait) => options.timeout(wait),
                None => options.retry(Retry::default().unlimited()),
            };
            let mut taken = pin!(acquire(redlock, name, permits, options));
            select! {
                biased;
                taken = &mut taken => taken,
                () = say_what_is_waited_for(redlock, name, permits, quiet, say) => taken.await,
            }
        }
    };
    match taken {
        Ok(taken) => Ok(taken),
        Err(error) => Err(not_taken(redlock, name, permits, error, say).await),
    }
}

async fn acquire(
    redlock: &Redlock,
    name: &str,
    permits: Option<u32>,
    options: AcquireOptions,
) -> Result<Taken, AcquireError> {
    let Some(permits) = permits else { return Ok((redlock.acquire(name, options).await?, None)) };
    let permit = redlock.acquire_permit(name, permits, options).await?;
    let slot = permit.slot();
    Ok((permit.into(), Some(slot)))
}

/// Returns `5 of 5 permits of "reports" are held`, if none is free.
async fn permits_held(redlock: &Redlock, name: &str) -> Option<String> {
    let inspection = redlock.inspect_permits(name).await.ok()?;
    let is_full = inspection.permits() > 0 && inspection.holders().count() == inspection.slots().len();
    is_full.then(|| inspection.to_string().lines().next().unwrap_or_default().to_owned())
}

async fn say_what_is_waited_for(redlock: &Redlock, name: &str, permits: Option<u32>, quiet: bool, say: &Say) {
    sleep(SILENCE).await;
    if quiet {
        return;
    }
    if permits.is_some() {
        if let Some(held) = permits_held(redlock, name).await {
            say.notable("waiting", &format!("waiting: {held}"), json!({ "resource": name, "owner": null }));
        }
        return;
    }
    let Ok(inspection) = redlock.inspect(name).await else { return };
    let owner = inspection.holder().map(label);
    let (text, data) = match held_by(&inspection) {
        Some(held_by) => (format!("waiting: {held_by}"), json!({ "resource": name, "owner": owner })),
        None if *inspection.finding() == Finding::Unknown => {
            let text = format!("waiting for {name:?}: too few nodes answer (`redlock doctor` checks them)");
            (text, json!({ "resource": name, "owner": null }))
        }
        // Free by now.
        None => return,
    };
    say.notable("waiting", &text, data);
}

/// Returns `lock "deploy" is held by web-3:4711 (29 s left)`, or the same for its readers.
fn held_by(inspection: &Inspection) -> Option<String> {
    if let Finding::Shared { readers, remaining } = inspection.finding() {
        let (readers, left) = (count(*readers), readable(*remaining));
        return Some(format!("lock {:?} is shared by {readers} ({left} left)", inspection.resource()));
    }
    let holder = inspection.holder()?;
    let left = holder.remaining().map_or("no expiry".to_owned(), |left| format!("{} left", readable(left)));
    Some(format!("lock {:?} is held by {} ({left})", inspection.resource(), label(holder)))
}

/// Returns why the lock was not acquired: the holder, if another holder has it.
async fn not_taken(redlock: &Redlock, name: &str, permits: Option<u32>, error: AcquireError, say: &Say) -> Failure {
    if !error.is_contended() {
        return error.into();
    }
    let held_by = match permits {
        None => redlock.inspect(name).await.ok().as_ref().and_then(held_by),
        Some(_) => permits_held(redlock, name).await,
    };
    let what = match held_by {
        Some(held_by) if say.is_verbose() => format!("{held_by}; {}", chain(&error)),
        Some(held_by) => held_by,
        None => chain(&error),
    };
    Failure::new(Exit::HELD, what)
}

/// Acquires the lock unless another holder has it. If several callers try at the same moment, each may get some of the
/// nodes: then nobody has the lock, and they retry. They also retry if nodes are slow to answer.
async fn take_if_free(
    redlock: &Redlock,
    name: &str,
    permits: Option<u32>,
    options: AcquireOptions,
) -> Result<Taken, AcquireError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        match acquire(redlock, name, permits, options.clone().retry(Retry::never())).await {
            Err(error) if started.elapsed() < TIES && error.is_contended() && permits.is_some() => {
                if permits_held(redlock, name).await.is_some() {
                    return Err(error);
                }
            }
            Err(error) if started.elapsed() < TIES && error.is_contended() => match redlock.inspect(name).await {
                Ok(inspection) if matches!(inspection.finding(), Finding::Held(_) | Finding::Shared { .. }) => {
                    return Err(error);
                }
                // Others tie, or have just given up; or too few nodes answer.
                Ok(_) => {}
                Err(_) => return Err(error),
            },
            Err(error) if started.elapsed() < TIES && has_silent_nodes(&error) => {}
            taken => return taken,
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

fn has_silent_nodes(error: &AcquireError) -> bool {
    let nodes = error.attempts().map(|attempts| attempts.last_round.nodes()).unwrap_or_default();
    nodes.iter().any(|node| match &node.answer {
        NodeAnswer::Silent { .. } => true,
        NodeAnswer::Failed(error) => error.kind() == NodeErrorKind::Timeout,
        _ => false,
    })
}

/// Returns the pause plus up to as much again, so that callers that tie do not collide again.
fn jittered(pause: Duration) -> Duration {
    pause + random(pause)
}

/// Returns a random time up to `longest`.
pub(crate) fn random(longest: Duration) -> Duration {
    use std::hash::{BuildHasher as _, RandomState};
    // The standard library's hasher has a random key.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    longest.mul_f64(random as f64 / 1024.0)
}
