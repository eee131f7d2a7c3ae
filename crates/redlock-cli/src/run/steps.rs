//! The steps of `redlock run`: take the lock, run the command, give the lock back, tell how it went.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redlock_core::{AcquireOptions, AutoExtend, FencingToken, Lock, Owner, Redlock, Release};
use serde_json::json;
use tokio::{select, time::timeout};

use super::{
    backstop::Backstop,
    command::{Command, Swept},
    deadlines::Deadlines,
    ending::{Ending, Why},
    holding::Holding,
    signals::Signals,
    supervision::Supervision,
};
use crate::{
    args::{OnLoss, RunArgs},
    attempt::take,
    exit::Exit,
    failure::{Failure, chain},
    fleet::Fleet,
    say::Say,
};

/// How long the end of redlock waits for nodes that are late with what is given back.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs a command under a lock.
pub(crate) async fn run(args: RunArgs, say: &Say) -> Result<Exit, Failure> {
    let deadlines = Deadlines::new(args.take.ttl, args.grace).map_err(|error| Failure::of(&error))?;
    let fleet = Fleet::open(&args.fleet, say)?;
    let (at_least, max_lifetime) = (args.at_least.unwrap_or_default(), args.max_lifetime.unwrap_or(Duration::MAX));
    if at_least > max_lifetime {
        let what = format!("--at-least {at_least:?} is longer than --max-lifetime {max_lifetime:?}");
        return Err(Failure::new(Exit::FAILED, what));
    }
    let redlock = fleet.holder(args.take.owner.clone(), Owner::this_process())?;
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;

    // 1. The lock, unless a signal comes first.
    let began = Instant::now();
    let options = AcquireOptions::new(args.take.ttl).auto_extend(AutoExtend::default().max_lifetime(max_lifetime));
    let taken = select! {
        biased;
        signal = signals.next() => {
            say.event("interrupted", "a signal came before the lock", json!({ "resource": args.name, "signal": signal.as_raw() }));
            close(&redlock).await;
            return Ok(Exit::of_signal(signal.as_raw()));
        }
        taken = take(&redlock, &args.name, &args.take, options) => taken,
    };
    let mut lock = match taken {
        Ok(lock) => lock,
        Err(error) => {
            close(&redlock).await;
            return Err(not_taken(error.into(), &args));
        }
    };
    let held_until = Instant::now().checked_add(at_least);
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
            "waited_ms": millis(began.elapsed()),
        }),
    );

    // 2. The command.
    let ending = run_command(&args, deadlines, began, &mut lock, &mut signals, say).await;

    // 3. The lock is released, at the earliest when `--at-least` is over.
    let ending = match ending {
        Ok(ending) => ending,
        Err(failure) => {
            let _ = lock.release().await;
            close(&redlock).await;
            return Err(failure);
        }
    };
    let exit = match ending.why {
        Why::ItsOwn if args.at_least.is_some() => {
            let holding = Holding { until: held_until, longest_ttl: fleet.longest_ttl(), on_loss: args.on_loss, say };
            holding.run(lock, ending.status.into(), &mut signals).await
        }
        _ => give_back(lock, &args, ending, say).await,
    };
    close(&redlock).await;
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

/// Starts the command and watches over it, and over what it leaves behind.
async fn run_command(
    args: &RunArgs,
    deadlines: Deadlines,
    began: Instant,
    lock: &mut Lock,
    signals: &mut Signals,
    say: &Say,
) -> Result<Ending, Failure> {
    signals.listen_to_all().map_err(|error| Failure::of(&error))?;
    let environment = vec![
        ("REDLOCK_RESOURCE", Some(lock.resource().to_owned())),
        ("REDLOCK_TOKEN", Some(lock.token().as_str().to_owned())),
        ("REDLOCK_VALID_UNTIL", valid_until(lock)),
        // Not that of a lock around this one.
        ("REDLOCK_FENCING_TOKEN", lock.fencing_token().map(|token| token.to_string())),
    ];
    let mut backstop = backstop(args, say);
    let started = Command::start(&args.command, environment, !args.foreground);
    if let (Some(backstop), Ok(command)) = (&mut backstop, &started) {
        backstop.guard(command).await;
    }
    let mut command = started?;
    // A lock whose lifetime is over ends by the drift allowance and a tenth of a period sooner than the lifetime says.
    let lifetime_over =
        args.max_lifetime.and_then(|lifetime| began.checked_add(lifetime.checked_sub(args.take.ttl / 15)?));
    let supervision = Supervision {
        lock: &mut *lock,
        command: &mut command,
        signals,
        backstop: backstop.as_mut(),
        deadlines,
        on_loss: args.on_loss,
        lifetime_over,
        say,
    };
    let ending = supervision.run().await.map_err(|error| Failure::of(&error))?;

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
        // Of a command that was killed, it need not be told.
        Swept::Killed if !matches!(ending.why, Why::ItsOwn) => {}
        Swept::Killed => say.warning("processes that the command had left did not end, and were killed"),
    }
    if let Some(backstop) = backstop {
        backstop.done().await;
    }
    Ok(ending)
}

/// What ends the command if this process cannot; nothing if the command is to go on without a lock.
fn backstop(args: &RunArgs, say: &Say) -> Option<Backstop> {
    if args.on_loss == OnLoss::Warn {
        return None;
    }
    let no_backstop = |error| say.warning(&format!("nothing ends the command should redlock be killed: {error}"));
    Backstop::start().map_err(no_backstop).ok()
}

/// The second since 1970 until which the lock is valid if nobody extends it; nothing if the clock is before that.
fn valid_until(lock: &Lock) -> Option<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now + lock.validity()).as_secs().to_string())
}

/// Gives the lock back, and tells whether it was held to the end.
async fn give_back(lock: Lock, args: &RunArgs, ending: Ending, say: &Say) -> Exit {
    let name = args.name.as_str();
    let released = lock.release().await;
    match ending.why {
        Why::LifetimeOver => {
            say.notable(
                "lifetime-over",
                &format!("the command on {name:?} was ended: --max-lifetime was over; give a longer one, or none"),
                json!({ "resource": name, "exit_code": Exit::LIFETIME_OVER.0 }),
            );
            return Exit::LIFETIME_OVER;
        }
        Why::Lost(loss) => {
            let why = loss.map(|loss| format!(": {}", chain(&loss))).unwrap_or_default();
            let nodes = match released {
                // Another may have it: who, the nodes may tell.
                Err(error) => format!("; {error}"),
                Ok(_) => String::new(),
            };
            say.notable(
                "lost",
                &format!("the command on {name:?} was ended, since its lock could not be kept{why}{nodes}"),
                json!({ "resource": name, "exit_code": Exit::LOST.0 }),
            );
            return Exit::LOST;
        }
        Why::ItsOwn => {}
    }
    match released {
        Ok(Release::Released) => {
            say.event("released", &format!("released {name:?}"), json!({ "resource": name }));
            ending.status.into()
        }
        Ok(_) if args.on_loss == OnLoss::Kill => {
            say.notable(
                "lost",
                &format!(
                    "the lock on {name:?} was gone before the command had ended: another may have held it meanwhile"
                ),
                json!({ "resource": name, "exit_code": Exit::LOST.0 }),
            );
            Exit::LOST
        }
        Ok(_) => {
            say.warning(&format!("the lock on {name:?} was gone before the command had ended (--on-loss warn)"));
            ending.status.into()
        }
        Err(error) => {
            say.warning(&error.to_string());
            ending.status.into()
        }
    }
}

/// Waits for nodes that are late, for a while.
async fn close(redlock: &Redlock) {
    let _ = timeout(LAST_WORDS, redlock.close()).await;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
