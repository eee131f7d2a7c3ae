//! `redlock status`: who holds locks.

use std::{io, time::Duration};

use redlock_core::{Finding, Holder, Inspection, Redlock, Sight};
use serde_json::{Value, json};

use crate::{
    args::StatusArgs,
    close::closed,
    exit::Exit,
    failure::{Failure, chain},
    fleet::Fleet,
    paint::Paint,
    say::Say,
};

/// Tells who holds these locks.
pub(crate) async fn run(args: &StatusArgs, say: &Say) -> Result<Exit, Failure> {
    let redlock = Fleet::open(&args.fleet, say)?.redlock()?;
    let mut exit = Exit::SUCCESS;
    let mut all = Vec::new();
    if args.name.is_empty() {
        all = inspect(&redlock, held(&redlock, say, &mut exit).await?).await?;
        // Those were given back meanwhile.
        all.retain(|inspection| *inspection.finding() != Finding::Free);
    }
    for name in &args.name {
        all.push(redlock.inspect(name).await?);
    }
    if all.iter().any(|inspection| *inspection.finding() == Finding::Unknown) {
        exit = Exit::UNREACHABLE;
    }
    let paint = Paint::of(&io::stdout());
    let lines = || all.iter().map(|inspection| text(inspection, paint)).collect::<Vec<_>>().join("\n");
    let told = say.result(
        || if all.is_empty() { "no locks are held".to_owned() } else { lines() },
        || all.iter().map(data).collect(),
    );
    let told = told.await;
    closed(&redlock, args.fleet.close_timeout, say, told.map(|()| exit)).await
}

/// Looks at all of these, several at once, and tells of them in the same order.
async fn inspect(redlock: &Redlock, names: Vec<String>) -> Result<Vec<Inspection>, Failure> {
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

/// The names of all locks that any node holds.
async fn held(redlock: &Redlock, say: &Say, exit: &mut Exit) -> Result<Vec<String>, Failure> {
    let listing = redlock.list().await?;
    for (node, error) in listing.failed() {
        say.warning(&format!("{node} tells no locks: {}", chain(error)));
    }
    if !listing.is_complete() {
        *exit = Exit::UNREACHABLE;
        say.warning(
            "there may be more locks than these: too many nodes have not told, or there are too many; give names",
        );
    }
    Ok(listing.names().map(str::to_owned).collect())
}

/// The first line, on the whole, stands out; one on each node follows.
pub(crate) fn text(inspection: &Inspection, paint: Paint) -> String {
    let table = inspection.to_string();
    let (whole, nodes) = table.split_once('\n').unwrap_or((&table, ""));
    let whole = match inspection.finding() {
        Finding::Held(_) => paint.bold(whole),
        Finding::Free => paint.good(whole),
        Finding::Split | Finding::Unknown => paint.bad(whole),
    };
    if nodes.is_empty() { whole } else { format!("{whole}\n{nodes}") }
}

/// The same for programs. No token is in it.
pub(crate) fn data(inspection: &Inspection) -> Value {
    let finding = inspection.finding();
    let held_by = |holder: &Holder| {
        let on = |sight: &Sight| matches!(sight, Sight::Held(there) if there.value() == holder.value());
        inspection.nodes().iter().filter(|view| on(&view.sight)).count()
    };
    json!({
        "resource": inspection.resource(),
        "state": match finding {
            Finding::Held(_) => "held",
            Finding::Free => "free",
            Finding::Split => "split",
            Finding::Unknown => "unknown",
        },
        "owner": inspection.holder().and_then(Holder::owner),
        "remaining_ms": inspection.holder().and_then(Holder::remaining).map(millis),
        "agreeing": inspection.holder().map_or(0, held_by),
        "needed": inspection.needed(),
        "nodes": inspection.nodes().iter().map(|view| {
            let (state, holder, error) = match &view.sight {
                Sight::Absent => ("absent", None, None),
                Sight::Held(holder) => ("held", Some(holder), None),
                Sight::Failed(error) => ("failed", None, Some(chain(error))),
                Sight::Silent { after } => {
                    ("silent", None, Some(format!("did not answer within {} ms", after.as_millis())))
                }
                _ => ("unknown", None, None),
            };
            json!({
                "node": view.node,
                "state": state,
                "owner": holder.and_then(Holder::owner),
                "remaining_ms": holder.and_then(Holder::remaining).map(millis),
                "error": error,
            })
        }).collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
