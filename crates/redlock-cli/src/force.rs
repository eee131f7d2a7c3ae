//! `redlock release --force`: takes a lock away from its holder.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use redlock_core::{Finding, Inspection, KeyState, LockParts, Redlock, Release, ResumeError};
use serde_json::json;
use tokio::task::spawn_blocking;

use crate::{args::ReleaseArgs, close::closed, exit::Exit, failure::Failure, fleet::Fleet, say::Say};

/// Shows who holds the lock, asks for confirmation, and deletes that holder's keys. A lock that another holder acquires
/// meanwhile remains.
pub(crate) async fn release(args: &ReleaseArgs, say: &Say) -> Result<Exit, Failure> {
    let redlock = Fleet::open(&args.fleet, say)?.redlock()?;
    let outcome = release_with(&redlock, args, say).await;
    closed(&redlock, args.fleet.close_timeout, say, outcome).await
}

async fn release_with(redlock: &Redlock, args: &ReleaseArgs, say: &Say) -> Result<Exit, Failure> {
    let inspection = redlock.inspect(&args.name).await?;
    let tokens = tokens(&inspection)?;
    if tokens.is_empty() {
        if matches!(inspection.finding(), Finding::Unknown) {
            return Err(Failure::new(Exit::UNREACHABLE, inspection.to_string()));
        }
        say.event("free", &format!("{:?} is free", args.name), json!({ "resource": args.name }));
        return Ok(Exit::SUCCESS);
    }
    if !args.yes {
        // On another thread, so that signals are still handled.
        let asked = spawn_blocking(move || confirm(&inspection)).await;
        asked.map_err(|error| Failure::of(&error))??;
    }
    for token in tokens {
        let parts =
            LockParts::new([&args.name], &token, Duration::from_secs(30)).map_err(|error| Failure::of(&error))?;
        match redlock.resume(parts).await {
            Ok(lock) => match lock.release().await? {
                Release::Released => {}
                _ => say.event("gone", "it had already ended", json!({ "resource": args.name })),
            },
            // No quorum holds this token. Its remaining keys are deleted in the background, which `closed` waits for.
            Err(ResumeError::Lost { .. } | ResumeError::Expired { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    say.notable("released", &format!("released {:?} by force", args.name), json!({ "resource": args.name }));
    Ok(Exit::SUCCESS)
}

/// Returns the tokens on the nodes. Locks of other libraries are left alone.
fn tokens(inspection: &Inspection) -> Result<BTreeSet<String>, Failure> {
    let mut tokens = BTreeSet::new();
    for view in inspection.nodes() {
        let KeyState::Held(holder) = &view.state else { continue };
        let token = str::from_utf8(holder.value()).ok();
        let token =
            token.filter(|token| LockParts::new([inspection.resource()], token, Duration::from_secs(30)).is_ok());
        let foreign = || {
            let what = format!(
                "{} holds {holder}, which this library has not set: find out whose it is, and delete the key by hand",
                view.node
            );
            Failure::new(Exit::FAILED, what)
        };
        tokens.insert(token.ok_or_else(foreign)?.to_owned());
    }
    Ok(tokens)
}

/// Asks the user at the terminal for confirmation.
fn confirm(inspection: &Inspection) -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let what =
            "--force asks before it takes a lock from its holder, and there is no terminal to ask on: pass --yes";
        return Err(Failure::new(Exit::FAILED, what));
    }
    let mut answer = String::new();
    let mut stderr = io::stderr().lock();
    let question = "its holder continues as if it had the lock, until its next extend. release it? [y/N] ";
    let asked = write!(stderr, "{inspection}\n{question}").and_then(|()| stderr.flush());
    asked.and_then(|()| stdin.lock().read_line(&mut answer)).map_err(|error| Failure::of(&error))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::FAILED, "left unchanged")),
    }
}
