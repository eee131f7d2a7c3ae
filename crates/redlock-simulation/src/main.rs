//! `cargo xtask simulate`: many random cases, and what to do with the first that is guilty.

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

/// Plays random histories of faults against the real driver, in virtual time, and judges them.
///
/// Every history is made from one number. A guilty one is shrunk, printed, and written to target/simulation together
/// with a picture; the line that plays it again is printed. The exit code is 1 then, and 0 if nothing was found.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask simulate",
    after_help = "Examples:\n  cargo xtask simulate --histories 1000000\n  cargo xtask simulate --seed 4711 --histories 1\n  \
                  cargo xtask simulate --beyond restarts\n  cargo xtask simulate --replay target/simulation/4711.json"
)]
struct Args {
    /// The number that the first history is made from; the next is made from the next. Default: by the time.
    #[arg(long)]
    seed: Option<u64>,
    /// How many histories to play.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// Goes beyond what is promised, to see it break.
    #[arg(long, value_enum)]
    beyond: Option<Beyond>,
    /// Plays histories of this kind only.
    #[arg(long, value_enum, conflicts_with = "beyond")]
    only: Option<Only>,
    /// Plays one saved history again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "histories", "beyond", "only"])]
    replay: Option<PathBuf>,
    /// Where a guilty history and its picture are written.
    #[arg(long, value_name = "FOLDER", default_value = "target/simulation")]
    out: PathBuf,
}

/// An assumption that is given up.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Beyond {
    /// Nodes forget keys when they restart.
    Restarts,
    /// Clocks of nodes jump.
    ClockJumps,
    /// Nodes lose the last second when they restart, and fencing tokens are issued twice.
    StaleCounters,
    /// Processes are paused between the look at their lock and the act.
    Pauses,
}

/// A part of what is promised.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Only {
    /// Any fault, but nodes keep their keys and clocks drift within the allowance.
    Promised,
    /// Readers among the writers, and writers that become readers.
    Shared,
    /// A majority is healthy besides: there is progress.
    Healthy,
    /// Every node restarts and forgets, one after the other; locks that are kept outlive that.
    RollingRestarts,
    /// Fencing tokens: clocks of nodes jump, or nodes forget everything.
    Fenced,
    /// The restart guard: nodes restart and forget at any time.
    Guarded,
    /// Nothing but delays, and several who wait: whoever is the next is woken.
    Waiting,
    /// Nodes hang or are cut off for seconds: no key stays that nobody owns.
    Orphans,
}

/// What is saved of a guilty history.
#[derive(Serialize, Deserialize)]
struct Saved {
    seed: u64,
    scope: Scope,
    /// The one that was asked; none for all of them.
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
    let search = Search {
        scope: args.beyond.map(Scope::from).or(args.only.map(Scope::from)),
        seed: args.seed.unwrap_or_else(now),
        cases: args.histories,
        sabotage: Sabotage::None,
        // Beyond the promise keys may stay and answers be wrong: it is two holders, or two tokens, that are looked for.
        oracle: args.beyond.map(|beyond| match beyond {
            Beyond::StaleCounters => Oracle::Fencing,
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

/// A line that changes on a terminal, and one every ten seconds elsewhere.
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
    let played: Played = play(&case, scope, Sabotage::None);
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
