//! The steps of `redlock run`: acquire the lock, run the command, release the lock, report the result.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use redlock_core::{AcquireOptions, AutoExtend, FencingToken, Lock, Owner, Release};
use serde_json::json;
use tokio::{
    select,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{
    backstop::Backstop,
    command::{Command, Swept},
    deadlines::{Deadlines, Due},
    ending::{Came, Ending, Why},
    holding::Holding,
    metrics_file::{self, Run},
    orphans,
    signals::Signals,
    supervision::Supervision,
};
use crate::{
    args::{OnLoss, RunArgs},
    attempt::{random, take},
    close::close,
    exit::Exit,
    failure::{Failure, chain},
    fleet::Fleet,
    say::Say,
};

/// How long the end of the process waits for `--metrics-file` to be written.
const WRITING: Duration = Duration::from_secs(1);

/// Runs a command under a lock.
pub(crate) async fn run(args: RunArgs, say: &Say) -> Result<Exit, Failure> {
    let mut came_to = None;
    let outcome = run_under_lock(&args, say, &mut came_to).await;
    if let (Some(file), Some(run)) = (args.metrics_file, came_to) {
        let (path, name) = (file.clone(), args.name);
        // A file system that hangs must not delay the end.
        let adding = spawn_blocking(move || metrics_file::add(&path, &name, run));
        let added = match timeout(WRITING, adding).await {
            Ok(added) => added.unwrap_or_else(|error| Err(io::Error::other(error))),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        if let Err(error) = added {
            say.warning(&format!("cannot write the metrics to {}: {error}", file.display()));
        }
    }
    outcome
}

async fn run_under_lock(args: &RunArgs, say: &Say, came_to: &mut Option<Run>) -> Result<Exit, Failure> {
    let deadlines = Deadlines::new(args.take.ttl, args.grace).map_err(|error| Failure::of(&error))?;
    let fleet = Fleet::open(&args.fleet, say)?;
    let (at_least, max_lifetime) = (args.at_least.unwrap_or_default(), args.max_lifetime.unwrap_or(Duration::MAX));
    if at_least > max_lifetime {
        let what = format!("--at-least {at_least:?} is longer than --max-lifetime {max_lifetime:?}");
        return Err(Failure::new(Exit::FAILED, what));
    }
    let redlock = fleet.holder(args.take.owner.clone(), Owner::this_process())?;
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;

    // 1. Acquire the lock, unless a signal comes first.
    let taking = async {
        sleep(random(args.jitter.unwrap_or_default())).await;
        let options = AcquireOptions::new(args.take.ttl).auto_extend(AutoExtend::default().max_lifetime(max_lifetime));
        let options = if args.shared { options.shared() } else { options };
        take(&redlock, &args.name, args.permits, &args.take, options, args.quiet, say).await
    };
    let began = Instant::now();
    let taken = select! {
        biased;
        signal = signals.next() => {
            say.event("interrupted", "a signal came before the lock", json!({ "resource": args.name, "signal": signal.as_raw() }));
            close(&redlock, args.fleet.close_timeout, say).await;
            return Ok(Exit::of_signal(signal.as_raw()));
        }
        taken = taking => taken,
    };
    let (mut lock, slot) = match taken {
        Ok(taken) => taken,
        Err(error) => {
            close(&redlock, args.fleet.close_timeout, say).await;
            if error.exit == Exit::HELD {
                *came_to = Some(Run::Skipped);
            }
            return Err(not_taken(error, args));
        }
    };
    let acquired = Instant::now();
    let held_until = acquired.checked_add(at_least);
    say.event(
        "acquired",
        &format!(
            "acquired {:?}: valid for {} ms, and extended while the command runs",
            args.name,
            lock.validity().as_millis()
        ),
        json!({
            "resource": args.name,
            "valid_ms": millis(lock.validity()),
            "fencing_token": lock.fencing_token().map(FencingToken::get),
            "slot": slot,
            "waited_ms": millis(began.elapsed()),
        }),
    );

    // 2. Run the command.
    let ending = run_command(args, deadlines, acquired, (&mut lock, slot), &mut signals, say).await;

    // 3. Release the lock, at the earliest when `--at-least` is over.
    let ending = match ending {
        Ok(ending) => ending,
        Err(failure) => {
            let _ = lock.release().await;
            close(&redlock, args.fleet.close_timeout, say).await;
            return Err(failure);
        }
    };
    let Came { exit, is_lost } = match ending.why {
        Why::ItsOwn if args.at_least.is_some() => {
            let holding = Holding { until: held_until, longest_ttl: fleet.longest_ttl(), on_loss: args.on_loss, say };
            holding.run(lock, &ending, &mut signals).await
        }
        _ => give_back(lock, args, ending, say).await,
    };
    *came_to = Some(Run::Ran { held: acquired.elapsed(), is_lost });
    close(&redlock, args.fleet.close_timeout, say).await;
    say.event("ended", &format!("exit code {}", exit.0), json!({ "resource": args.name, "exit_code": exit.0 }));
    Ok(exit)
}

fn not_taken(failure: Failure, args: &RunArgs) -> Failure {
    if failure.exit == Exit::HELD {
        Failure { exit: Exit(args.conflict_exit_code), quiet: args.quiet, ..failure }
    } else {
        failure
    }
}

/// Starts the command, and watches over it and over the processes that it leaves behind.
async fn run_command(
    args: &RunArgs,
    deadlines: Deadlines,
    acquired: Instant,
    (lock, slot): (&mut Lock, Option<u32>),
    signals: &mut Signals,
    say: &Say,
) -> Result<Ending, Failure> {
    signals.listen_to_all().map_err(|error| Failure::of(&error))?;
    let environment = [
        ("REDLOCK_RESOURCE", Some(lock.resource().to_owned())),
        ("REDLOCK_TOKEN", Some(lock.token().as_str().to_owned())),
        ("REDLOCK_VALID_UNTIL", valid_until(lock)),
        // Not the token of a lock around this one.
        ("REDLOCK_FENCING_TOKEN", lock.fencing_token().map(|token| token.to_string())),
        ("REDLOCK_SLOT", slot.map(|slot| slot.to_string())),
    ];
    let mut known = orphans::adopt();
    let mut backstop = backstop(args, say);
    let left = ready(lock, deadlines)?;
    if let Some(backstop) = &mut backstop {
        backstop.allow(deadlines.unattended(left)).await;
    }
    if let Some(signal) = signals.pending_ending().await {
        let what = "a signal came before the command started";
        say.event("interrupted", what, json!({ "resource": args.name, "signal": signal.as_raw() }));
        let exit = Exit::of_signal(signal.as_raw());
        return Err(Failure { exit, what: what.to_owned(), quiet: true });
    }
    if let Some(backstop) = &mut backstop {
        backstop.expect(lock.token().as_str()).await;
    }
    ready(lock, deadlines)?;
    let started = Command::start(&args.command, &environment, !args.foreground);
    let mut command = match (started, &mut backstop) {
        (Ok(command), Some(backstop)) => {
            backstop.guard(&command).await;
            command
        }
        (Ok(command), None) => command,
        (Err(failure), _) => {
            if let Some(backstop) = backstop {
                backstop.done().await;
            }
            return Err(failure);
        }
    };
    // A lock whose lifetime is over ends earlier than the lifetime says, by the drift allowance and a tenth of a
    // period. The lifetime counts from the start of the round that acquired the lock.
    let early = args.take.ttl / 10;
    let lifetime_over = args.max_lifetime.and_then(|lifetime| acquired.checked_add(lifetime.checked_sub(early)?));
    let supervision = Supervision {
        lock: &mut *lock,
        command: &mut command,
        signals,
        backstop: backstop.as_mut(),
        deadlines,
        on_loss: args.on_loss,
        lifetime_over,
        say,
        is_foreign: false,
        is_interrupted: false,
    };
    let mut ending = supervision.run().await.map_err(|error| Failure::of(&error))?;

    // A tenth of the time that is left stays for the release.
    let left = lock.validity().saturating_sub(deadlines.margin());
    let patience = args.grace.unwrap_or(Duration::from_secs(2)).min(left);
    match command.sweep(patience).await {
        Swept::Clean => {}
        Swept::Ended => say.event(
            "swept",
            "processes that the command had left were ended",
            json!({ "resource": args.name, "signal": "SIGTERM" }),
        ),
        // After a kill, this is expected.
        Swept::Killed if !matches!(ending.why, Why::ItsOwn) => {}
        Swept::Killed => say.warning("processes that the command had left did not end, and were killed"),
        Swept::Left => {
            ending.is_foreign = true;
            say.warning("processes that the command started cannot be ended: they may continue without the lock");
        }
    }
    if let Some(backstop) = backstop {
        known.extend(backstop.pid());
        backstop.done().await;
    }
    let left = orphans::left(&known);
    // Processes in the process group were ended above, and reported.
    if !left.is_empty() && !ending.is_foreign {
        say.warning(&format!("still running, without the lock: {}", left.join(", ")));
    }
    Ok(ending)
}

/// Returns how long the lock is valid, if the command may start. The lock may have expired since it was acquired, for
/// example while this process was stopped.
fn ready(lock: &Lock, deadlines: Deadlines) -> Result<Duration, Failure> {
    match lock.check() {
        Ok(left) if matches!(deadlines.of_work(left), Due::Nothing(_)) => Ok(left),
        Ok(left) => {
            let what = format!("the lock on {:?} is valid for {} ms only", lock.resource(), left.as_millis());
            Err(Failure::new(Exit::LOST, format!("{what}: the command did not run")))
        }
        Err(loss) => Err(Failure::new(Exit::LOST, format!("{}: the command did not run", chain(&loss)))),
    }
}

/// Starts the process that ends the command if this one cannot. `None` if the command continues without a lock.
fn backstop(args: &RunArgs, say: &Say) -> Option<Backstop> {
    if args.on_loss == OnLoss::Warn {
        return None;
    }
    let no_backstop = |error| say.warning(&format!("nothing ends the command if redlock is killed: {error}"));
    Backstop::start().map_err(no_backstop).ok()
}

/// Returns the second since 1970 until which the lock is valid if nobody extends it. `None` if the clock is before
/// 1970.
fn valid_until(lock: &Lock) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now + lock.validity()).as_secs().to_string())
}

/// Releases the lock, and reports whether it was held to the end.
async fn give_back(lock: Lock, args: &RunArgs, ending: Ending, say: &Say) -> Came {
    let name = args.name.as_str();
    let released = lock.release().await;
    if ending.is_foreign && !matches!(ending.why, Why::ItsOwn) {
        say.notable(
            "not-ended",
            &format!("the command on {name:?} may have run without the lock: redlock was not permitted to end it"),
            json!({ "resource": name, "exit_code": Exit::NOT_ENDED.0 }),
        );
        return Came::lost(Exit::NOT_ENDED);
    }
    match ending.why {
        Why::LifetimeOver => {
            say.notable(
                "lifetime-over",
                &format!("the command on {name:?} was ended: --max-lifetime was over; use a longer one, or none"),
                json!({ "resource": name, "exit_code": Exit::LIFETIME_OVER.0 }),
            );
            return Came::well(Exit::LIFETIME_OVER);
        }
        Why::Lost(loss) => {
            let why = loss.map(|loss| format!(": {}", chain(&loss))).unwrap_or_default();
            let nodes = match released {
                // Another holder may have it: the nodes may know which.
                Err(error) => format!("; {error}"),
                Ok(_) => String::new(),
            };
            say.notable(
                "lost",
                &format!("the command on {name:?} was ended, because its lock could not be extended{why}{nodes}"),
                json!({ "resource": name, "exit_code": Exit::LOST.0 }),
            );
            return Came::lost(Exit::LOST);
        }
        Why::ItsOwn => {}
    }
    match released {
        Ok(Release::Released) => {
            say.event("released", &format!("released {name:?}"), json!({ "resource": name }));
            Came::well(ending.status.into())
        }
        Ok(_) if args.on_loss == OnLoss::Kill => {
            say.notable(
                "lost",
                &format!(
                    "the lock on {name:?} was gone before the command had ended: another may have held it meanwhile"
                ),
                json!({ "resource": name, "exit_code": Exit::LOST.0 }),
            );
            Came::lost(Exit::LOST)
        }
        Ok(_) => {
            say.warning(&format!("the lock on {name:?} was gone before the command had ended (--on-loss warn)"));
            Came::lost(ending.status.into())
        }
        Err(error) => {
            say.warning(&error.to_string());
            Came::well(ending.status.into())
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use redlock_core::Redlock;
    use redlock_mock::MockNode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_command_starts_only_while_there_is_time_to_work() {
        let ttl = Duration::from_secs(10);
        let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
        let lock = redlock.acquire("a", ttl).await.unwrap();
        let deadlines = Deadlines::new(ttl, None).unwrap();
        assert!(ready(&lock, deadlines).is_ok());
        for (passes, what) in [(8, "ms only"), (2, "its validity has ended")] {
            tokio::time::advance(Duration::from_secs(passes)).await;
            let failure = ready(&lock, deadlines).unwrap_err();
            assert!(failure.exit == Exit::LOST && failure.what.contains(what), "{failure:?}");
            assert!(failure.what.ends_with("the command did not run"), "{failure:?}");
        }
    }
}
