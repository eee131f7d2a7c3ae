//! `cargo xtask simulate`: plays many random cases, and prints, saves and draws the first that breaks a promise.

#![expect(clippy::print_stdout, reason = "it talks to people")]

use std::{
    fs,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use redlock_simulation::{Case, Found, Oracle, Played, Sabotage, Scope, Search, Tally, Violation, play};
use serde::{Deserialize, Serialize};

/// Plays random histories of faults against the real driver, in virtual time, and checks its promises.
///
/// Every history is made from one number. A history that breaks a promise is shrunk, printed, and written to
/// target/simulation together with a picture, and the command that plays it again is printed. The exit code is then 1.
/// It is 0 if nothing was found.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask simulate",
    after_help = "Examples:\n  cargo xtask simulate --histories 1000000\n  cargo xtask simulate --seed 4711 --histories 1\n  \
                  cargo xtask simulate --beyond restarts\n  cargo xtask simulate --replay target/simulation/4711.json"
)]
struct Args {
    /// The number from which the first history is made; each next history uses the next number. Default: from the time.
    #[arg(long)]
    seed: Option<u64>,
    /// How many histories to play.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// Goes beyond the promises, to show how they break.
    #[arg(long, value_enum)]
    beyond: Option<Beyond>,
    /// Plays only histories of this kind.
    #[arg(long, value_enum, conflicts_with = "beyond")]
    only: Option<Only>,
    /// Plays one saved history again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "histories", "beyond", "only"])]
    replay: Option<PathBuf>,
    /// Where a history that breaks a promise and its picture are written.
    #[arg(long, value_name = "FOLDER", default_value = "target/simulation")]
    out: PathBuf,
}

/// An assumption that is dropped.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Beyond {
    /// Nodes forget keys when they restart.
    Restarts,
    /// Clocks of nodes jump.
    ClockJumps,
    /// Nodes lose the last second when they restart, and fencing tokens are issued twice.
    StaleCounters,
    /// Processes are paused between the check of their lock and the act.
    Pauses,
    /// A counting semaphore instead of slots: each node grants as long as it counts fewer holders than permits.
    CountedSemaphore,
}

/// A part of the promises.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    /// Any fault, but nodes keep their keys and clocks drift within the allowance.
    Promised,
    /// The same, with readers among the writers, and writers that become readers.
    Shared,
    /// In addition, a majority is healthy: there is progress.
    Healthy,
    /// Every node restarts and forgets, one after the other; locks with auto-extend survive that.
    RollingRestarts,
    /// Fencing tokens: clocks of nodes jump, or nodes forget everything.
    Fenced,
    /// The restart guard: nodes restart and forget at any time.
    Guarded,
    /// Only delays, and several waiters: the next one is notified.
    Waiting,
    /// Nodes hang or are cut off for seconds: no key remains without an owner.
    Orphans,
    /// Any fault, while processes acquire permits: never more holders than permits, never two of one slot.
    Permits,
}

/// A history that breaks a promise, as it is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    seed: u64,
    scope: Scope,
    /// The only invariant checker that ran; `None` for all of them.
    #[serde(default)]
    oracle: Option<Oracle>,
    case: Case,
}

impl From<Beyond> for Scope {
    fn from(beyond: Beyond) -> Self {
        match beyond {
            Beyond::Restarts => Self::Restarts,
            Beyond::ClockJumps => Self::ClockJumps,
            Beyond::StaleCounters => Self::StaleCounters,
            Beyond::Pauses => Self::Pauses,
            Beyond::CountedSemaphore => Self::CountedSemaphore,
        }
    }
}

impl From<Only> for Scope {
    fn from(only: Only) -> Self {
        match only {
            Only::Promised => Self::Promised,
            Only::Shared => Self::Shared,
            Only::Healthy => Self::Healthy,
            Only::RollingRestarts => Self::RollingRestarts,
            Only::Fenced => Self::Fenced,
            Only::Guarded => Self::Guarded,
            Only::Waiting => Self::Waiting,
            Only::Orphans => Self::Orphans,
            Only::Permits => Self::Permits,
        }
    }
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    match &args.replay {
        Some(file) => replay(file, &args.out),
        None => search(&args),
    }
}

fn search(args: &Args) -> Result<ExitCode> {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() * 1_000_000;
    let scope = args.beyond.map(Scope::from).or(args.only.map(Scope::from));
    let search = Search {
        scope,
        seed: args.seed.unwrap_or_else(now),
        cases: args.histories,
        sabotage: scope.map_or(Sabotage::None, Scope::sabotage),
        // Beyond the promises, keys may remain and answers may be wrong: look for two holders, or for two equal tokens.
        oracle: args.beyond.map(|beyond| match beyond {
            Beyond::StaleCounters => Oracle::Fencing,
            Beyond::CountedSemaphore => Oracle::Permits,
            Beyond::Restarts | Beyond::ClockJumps | Beyond::Pauses => Oracle::MutualExclusion,
        }),
    };
    println!("{} histories from seed {}", search.cases, search.seed);
    let (tally, started, done) = (Tally::default(), Instant::now(), AtomicBool::new(false));
    let found = thread::scope(|threads| {
        threads.spawn(|| progress(&search, &tally, started, &done));
        let found = search.run(&tally);
        done.store(true, Ordering::Relaxed);
        found
    });
    let (took, read) = (started.elapsed(), |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed));
    let cases = read(&tally.cases);
    println!(
        "\n{cases} histories in {:.1} s ({:.0} a second): {} locks taken, {} requests, {} faults",
        took.as_secs_f64(),
        cases as f64 / took.as_secs_f64(),
        read(&tally.locks),
        read(&tally.requests),
        read(&tally.events)
    );
    let Some(found) = found else {
        println!("nothing found");
        return Ok(ExitCode::SUCCESS);
    };
    let file = save(&found, search.oracle, &args.out)?;
    println!("\n{found}");
    let beyond = args.beyond.and_then(|beyond| beyond.to_possible_value());
    let only = args.only.and_then(|only| only.to_possible_value());
    let scope = match (&beyond, &only) {
        (Some(beyond), _) => format!(" --beyond {}", beyond.get_name()),
        (_, Some(only)) => format!(" --only {}", only.get_name()),
        _ => String::new(),
    };
    println!("again:           cargo xtask simulate --seed {} --histories 1{scope}", found.seed);
    println!("again, as small: cargo xtask simulate --replay {}", file.display());
    println!("picture:         {}", file.with_extension("svg").display());
    Ok(ExitCode::FAILURE)
}

/// Prints progress: a line that is updated on a terminal, and a line every ten seconds elsewhere.
fn progress(search: &Search, tally: &Tally, started: Instant, done: &AtomicBool) {
    let every = if std::io::stdout().is_terminal() { 1 } else { 10 };
    let mut next = every;
    while !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(50));
        let seconds = started.elapsed().as_secs();
        if seconds >= next {
            next = seconds + every;
            let cases = tally.cases.load(Ordering::Relaxed);
            let left = started.elapsed().mul_f64((search.cases.saturating_sub(cases)) as f64 / cases.max(1) as f64);
            let end = if every == 1 { '\r' } else { '\n' };
            print!("{cases} of {} histories, about {} s left{end}", search.cases, left.as_secs());
            let _ = std::io::Write::flush(&mut std::io::stdout());
        }
    }
}

fn save(found: &Found, oracle: Option<Oracle>, out: &Path) -> Result<PathBuf> {
    fs::create_dir_all(out).with_context(|| format!("making {}", out.display()))?;
    let file = out.join(format!("{}.json", found.seed));
    let saved = Saved { seed: found.seed, scope: found.scope, oracle, case: found.case.clone() };
    fs::write(&file, serde_json::to_string_pretty(&saved)?).with_context(|| format!("writing {}", file.display()))?;
    fs::write(file.with_extension("svg"), found.picture().to_svg())?;
    fs::write(file.with_extension("txt"), found.to_string())?;
    Ok(file)
}

fn replay(file: &Path, out: &Path) -> Result<ExitCode> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let saved = serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let Saved { seed, scope, oracle, case } = saved;
    let played: Played = play(&case, scope, scope.sabotage());
    let asked = |violation: &&Violation| oracle.is_none_or(|oracle| violation.oracle == oracle);
    let Some(violation) = played.violations.iter().find(asked).cloned() else {
        println!("{case}\nnothing found");
        return Ok(ExitCode::SUCCESS);
    };
    let found = Found { seed, scope, violation, case, played };
    println!("{found}");
    println!("picture: {}", save(&found, oracle, out)?.with_extension("svg").display());
    Ok(ExitCode::FAILURE)
}
