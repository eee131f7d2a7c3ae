//! `redlock status`: who holds locks.

use std::{io, time::Duration};

use redlock_core::{Finding, Holder, InspectError, Inspection, KeyState, Listing, PermitsInspection, Redlock};
use serde_json::{Value, json};

use crate::{
    args::StatusArgs,
    close::closed,
    exit::Exit,
    failure::{Failure, chain},
    fleet::Fleet,
    paint::Paint,
    say::Say,
    table::table,
};

/// The exit code if a named lock is not held.
const NOT_HELD: Exit = Exit(1);

/// Shows who holds these locks, or all locks that are held.
pub(crate) async fn run(args: &StatusArgs, say: &Say) -> Result<Exit, Failure> {
    let redlock = Fleet::open(&args.fleet, say)?.redlock()?;
    let outcome = if args.name.is_empty() { all(&redlock, args, say).await } else { named(&redlock, args, say).await };
    closed(&redlock, args.fleet.close_timeout, say, outcome).await
}

async fn named(redlock: &Redlock, args: &StatusArgs, say: &Say) -> Result<Exit, Failure> {
    let mut locks = inspect(redlock, args.name.clone()).await?;
    let permits = inspect_permits(redlock, args.name.iter().map(String::as_str)).await?;
    let has_permits = |lock: &Inspection| permits.iter().any(|permits| permits.resource() == lock.resource());
    let in_doubt =
        |lock: &Inspection| permits.iter().any(|permits| permits.resource() == lock.resource() && are_unknown(permits));
    let is_held = |lock: &Inspection| matches!(lock.finding(), Finding::Held(_) | Finding::Shared { .. });
    let exit = match () {
        () if locks.iter().any(|lock| is_unknown(lock) || !is_held(lock) && in_doubt(lock)) => Exit::UNREACHABLE,
        () if locks.iter().all(|lock| is_held(lock) || has_permits(lock)) => Exit::SUCCESS,
        () => NOT_HELD,
    };
    // A semaphore is not a free lock.
    locks.retain(|lock| *lock.finding() != Finding::Free || !has_permits(lock));
    if !args.quiet {
        let paint = Paint::of(&io::stdout());
        let lines = || {
            let locks = locks.iter().map(|lock| text(lock, paint));
            locks.chain(permits.iter().map(|permits| permits_text(permits, paint))).collect::<Vec<_>>().join("\n")
        };
        say.result(lines, || report(&locks, &permits, None)).await?;
    }
    Ok(exit)
}

async fn all(redlock: &Redlock, args: &StatusArgs, say: &Say) -> Result<Exit, Failure> {
    let listing = redlock.list_within(args.list_timeout).await?;
    let mut locks = inspect(redlock, listing.names().map(str::to_owned).collect()).await?;
    let permits = inspect_permits(redlock, listing.semaphores()).await?;
    // These were released meanwhile.
    locks.retain(|lock| *lock.finding() != Finding::Free);
    if !args.quiet {
        let paint = Paint::of(&io::stdout());
        let lines = || {
            let mut lines = match () {
                () if locks.is_empty() && permits.is_empty() && listing.is_complete() => {
                    vec!["no locks are held".to_owned()]
                }
                () if locks.is_empty() => Vec::new(),
                () if say.is_verbose() => locks.iter().map(|lock| text(lock, paint)).collect(),
                () => rows(&locks),
            };
            lines.extend(permits.iter().map(|permits| permits_text(permits, paint)));
            lines.extend(listing.failed().map(|(node, error)| format!("{node} failed: {}", chain(error))));
            if !listing.is_complete() {
                lines.push(paint.bad(&incomplete(&listing)));
            }
            lines.join("\n")
        };
        say.result(lines, || report(&locks, &permits, Some(&listing))).await?;
    }
    let is_known = listing.is_complete() && !locks.iter().any(is_unknown) && !permits.iter().any(are_unknown);
    Ok(if is_known { Exit::SUCCESS } else { Exit::UNREACHABLE })
}

fn incomplete(listing: &Listing) -> String {
    let cause = if listing.failed().next().is_some() {
        "too many nodes failed"
    } else {
        "there are too many keys or locks; raise --list-timeout, or use a key prefix"
    };
    format!("the list is incomplete: {cause}. You can still give the names of locks")
}

fn is_unknown(lock: &Inspection) -> bool {
    *lock.finding() == Finding::Unknown
}

/// Whether no holder of a permit is known, because too few nodes answered.
fn are_unknown(permits: &PermitsInspection) -> bool {
    permits.holders().next().is_none() && permits.unknown() > 0
}

/// Inspects all of these locks, several at once, and returns them in the same order.
pub(crate) async fn inspect(redlock: &Redlock, names: Vec<String>) -> Result<Vec<Inspection>, Failure> {
    const AT_ONCE: usize = 32;
    let mut looked = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let looks = names.iter().cloned().map(|name| {
            let redlock = redlock.clone();
            tokio::spawn(async move { redlock.inspect(name).await })
        });
        for look in looks.collect::<Vec<_>>() {
            looked.push(look.await.map_err(|error| Failure::of(&error))??);
        }
    }
    Ok(looked)
}

/// Inspects the permits of these semaphores. Leaves out semaphores of which nobody holds a permit.
async fn inspect_permits(
    redlock: &Redlock,
    names: impl Iterator<Item = &str>,
) -> Result<Vec<PermitsInspection>, Failure> {
    let mut looked = Vec::new();
    for name in names {
        match redlock.inspect_permits(name).await {
            Ok(permits) if permits.holders().next().is_some() || permits.unknown() > 0 => looked.push(permits),
            // The inspection of the lock reports the same. Its name may be too long for permits.
            Ok(_) | Err(InspectError::TooFewAnswers(_) | InspectError::Resource(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(looked)
}

/// Returns a highlighted summary line, followed by one line for each holder.
fn permits_text(permits: &PermitsInspection, paint: Paint) -> String {
    let table = permits.to_string();
    match table.split_once('\n') {
        Some((whole, holders)) => format!("{}\n{holders}", paint.bold(whole)),
        None => paint.bold(&table),
    }
}

/// Formats locks, each on one line, below a heading.
pub(crate) fn rows(locks: &[Inspection]) -> Vec<String> {
    table(["NAME", "HOLDER", "LEFT", "NODES"], locks.iter().map(row))
}

/// Formats a lock as one row.
fn row(lock: &Inspection) -> [String; 4] {
    let (holder, left) = match lock.finding() {
        Finding::Held(holder) => (label(holder), holder.remaining().map_or("no expiry".to_owned(), readable)),
        Finding::Shared { readers, remaining } => (count(*readers), readable(*remaining)),
        Finding::Free => ("free".to_owned(), "-".to_owned()),
        Finding::Split => ("nobody: no quorum".to_owned(), "-".to_owned()),
        Finding::Unknown => ("unknown".to_owned(), "-".to_owned()),
    };
    let name = lock.resource().escape_debug().to_string();
    [name, holder, left, format!("{} of {}", agreeing(lock), lock.nodes().len())]
}

/// Returns a name for the holder that people recognize.
pub(crate) fn label(holder: &Holder) -> String {
    holder.owner().map_or_else(|| holder.to_string(), str::to_owned)
}

/// Formats the number of readers.
pub(crate) fn count(readers: usize) -> String {
    format!("{readers} {}", if readers == 1 { "reader" } else { "readers" })
}

/// Formats a time for people: `29 s`, `4 min`.
pub(crate) fn readable(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ ..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Returns the number of nodes on which the holder holds the lock.
fn agreeing(lock: &Inspection) -> usize {
    if lock.readers() > 0 {
        return lock.nodes().iter().filter(|view| matches!(view.state, KeyState::Shared { .. })).count();
    }
    let Some(holder) = lock.holder() else { return 0 };
    let is_there = |state: &KeyState| matches!(state, KeyState::Held(there) if there.value() == holder.value());
    lock.nodes().iter().filter(|view| is_there(&view.state)).count()
}

/// Returns everything as data, for programs.
fn report(locks: &[Inspection], permits: &[PermitsInspection], listing: Option<&Listing>) -> Value {
    let failed = listing.into_iter().flat_map(Listing::failed);
    json!({
        "complete": listing.is_none_or(Listing::is_complete),
        "locks": locks.iter().map(data).collect::<Vec<_>>(),
        "permits": permits.iter().map(|permits| {
            json!({
                "resource": permits.resource(),
                "permits": permits.permits(),
                "held": permits.holders().count(),
                "unknown": permits.unknown(),
                "holders": permits.holders().map(|(slot, holder)| {
                    json!({ "slot": slot, "owner": holder.owner(), "remaining_ms": holder.remaining().map(millis) })
                }).collect::<Vec<_>>(),
            })
        }).collect::<Vec<_>>(),
        "failed": failed.map(|(node, error)| json!({ "node": node, "error": chain(error) })).collect::<Vec<_>>(),
    })
}

/// Returns a highlighted summary line, followed by one line for each node.
pub(crate) fn text(inspection: &Inspection, paint: Paint) -> String {
    let table = inspection.to_string();
    let (whole, nodes) = table.split_once('\n').unwrap_or((&table, ""));
    let whole = match inspection.finding() {
        Finding::Held(_) | Finding::Shared { .. } => paint.bold(whole),
        Finding::Free => paint.good(whole),
        Finding::Split | Finding::Unknown => paint.bad(whole),
    };
    if nodes.is_empty() { whole } else { format!("{whole}\n{nodes}") }
}

/// Returns the same as data, for programs. It contains no token.
pub(crate) fn data(inspection: &Inspection) -> Value {
    let finding = inspection.finding();
    json!({
        "resource": inspection.resource(),
        "state": match finding {
            Finding::Held(_) => "held",
            Finding::Shared { .. } => "shared",
            Finding::Free => "free",
            Finding::Split => "split",
            Finding::Unknown => "unknown",
        },
        "owner": inspection.holder().and_then(Holder::owner),
        "readers": inspection.readers(),
        "remaining_ms": match finding {
            Finding::Shared { remaining, .. } => Some(millis(*remaining)),
            _ => inspection.holder().and_then(Holder::remaining).map(millis),
        },
        "agreeing": agreeing(inspection),
        "needed": inspection.needed(),
        "nodes": inspection.nodes().iter().map(|view| {
            let readers = match &view.state {
                KeyState::Shared { readers, .. } => readers.as_slice(),
                _ => &[],
            };
            let (state, holder, error) = match &view.state {
                KeyState::Shared { .. } => ("shared", None, None),
                KeyState::Absent => ("absent", None, None),
                KeyState::Held(holder) => ("held", Some(holder), None),
                KeyState::Failed(error) => ("failed", None, Some(chain(error))),
                KeyState::Silent { after } => {
                    ("silent", None, Some(format!("did not answer within {} ms", after.as_millis())))
                }
                _ => ("unknown", None, None),
            };
            json!({
                "node": view.node,
                "state": state,
                "owner": holder.and_then(Holder::owner),
                "remaining_ms": holder.and_then(Holder::remaining).map(millis),
                "readers": readers.iter().map(|reader| json!({
                    "owner": reader.owner(),
                    "remaining_ms": reader.remaining().map(millis),
                })).collect::<Vec<_>>(),
                "error": error,
            })
        }).collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
