//! `cargo xtask test-all`: the steps, in two lanes.
//!
//! One lane compiles and computes, the other runs the tests on servers, which mostly wait. They run side by side, the
//! first one with `nice`, and the lane that finishes first runs the soak and the demo. With `--one-by-one`, the tests
//! on servers have the machine to themselves.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, ExitCode},
    sync::{Mutex, OnceLock, PoisonError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum as _;

use crate::{
    built::{Built, Program},
    command::{cargo_behind, run as run_command, set_prefix},
    conformance::{self, Backend},
    deny, dist, fast, interrupt, leftovers, mutants,
    report::{Done, Report, Tally, announced},
    servers::{Environment, FLAVOURS, Flavour, Plan, Shelf},
    soak, surroundings, tidy,
    workspace::Workspace,
};

/// The steps to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// Run everything: every backend on every server, more histories, a longer soak, more mutants, and the quick tests
    /// in unusual surroundings. One to two hours on two cores.
    #[arg(long)]
    thorough: bool,

    /// Run only the conformance tests of this backend; may be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    backend: Vec<Backend>,

    /// Use only this server; may be given several times, the first one runs all tests. One of redis-7.0, redis-6.2,
    /// redis-8.0, valkey-8.1, valkey-7.2.
    #[arg(long, value_name = "NAME", value_parser = Flavour::by_name)]
    flavour: Vec<&'static Flavour>,

    /// Take the mutants from the changes since this git revision. Default: the upstream branch, or the last commit if
    /// there are no changes since.
    #[arg(long, value_name = "REVISION")]
    base: Option<String>,

    /// Continue after a step that fails.
    #[arg(long)]
    keep_going: bool,

    /// Run one step after another. Takes longer; for a machine that is slow or busy.
    #[arg(long)]
    one_by_one: bool,
}

/// The lanes of the steps, which run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Compute,
    Servers,
    /// The lane that finishes first.
    Either,
}

/// One line of the table at the end. The step's result is shown there too, for example how many tests there were.
struct Step<'a> {
    name: String,
    lane: Lane,
    /// Whether it waits for the lane that compiles.
    needs_build: bool,
    run: Work<'a>,
}

type Work<'a> = Box<dyn FnOnce(&Session<'a>) -> Result<Done> + Send + 'a>;

/// The values that the steps share. A value is `None` once the step that makes it has failed.
struct Session<'a> {
    workspace: &'a Workspace,
    built: OnceLock<Option<Built>>,
    servers: OnceLock<Option<Vec<(&'static str, Environment)>>>,
}

/// The oldest and the newest server of the short run, each with one client.
const OLDEST: (&str, Backend) = ("redis-6.2", Backend::RedisRs);
const NEWEST: (&str, Backend) = ("valkey-8.1", Backend::Fred);

const BUILD: &str = "build of all tests";

pub(crate) fn run<'a>(workspace: &'a Workspace, selection: &'a Selection) -> Result<ExitCode> {
    let started = Instant::now();
    let mut plan = Plan::from_env(&selection.flavour)?;
    if !selection.thorough
        && selection.flavour.is_empty()
        && let Plan::Flavours(flavours) = &mut plan
    {
        let default = FLAVOURS.first().map(|flavour| flavour.name);
        flavours.retain(|flavour| default == Some(flavour.name) || [OLDEST.0, NEWEST.0].contains(&flavour.name));
    }
    // A run that was killed could not clean up after itself.
    leftovers::sweep();
    let session = Session { workspace, built: OnceLock::new(), servers: OnceLock::new() };
    let steps = steps(selection, plan);
    let all = steps.len() + 1;
    println!("{all} steps");
    let report = Mutex::new(Report::default());
    let begun = Mutex::new(0);
    let (mut compute, rest): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.lane == Lane::Compute);
    let (mut servers, mut either): (VecDeque<_>, VecDeque<_>) =
        rest.into_iter().partition(|step| step.lane == Lane::Servers);
    if selection.one_by_one {
        servers.append(&mut either);
    }
    let either = Mutex::new(either);
    let take_shared = || either.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let lane = |mut steps: VecDeque<Step<'a>>, prefix: bool| {
        while let Some(step) = steps.pop_front().or_else(take_shared) {
            let lock = || report.lock().unwrap_or_else(PoisonError::into_inner);
            if step.needs_build {
                // Before the step begins, so that its time does not include the wait.
                session.built.wait();
            }
            if interrupt::is_set() || (lock().failed() > 0 && !selection.keep_going) {
                lock().add_not_run(step.name, "");
                continue;
            }
            let place = {
                let mut begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
                *begun += 1;
                format!("[{begun}/{all}] ")
            };
            if prefix {
                set_prefix(&format!("{} | ", step.name));
            }
            // The other lane must not wait forever for a step that panicked.
            let run = AssertUnwindSafe(|| (step.run)(&session));
            let run = || catch_unwind(run).unwrap_or_else(|_| bail!("the step panicked: see above"));
            let (took, result) = announced(&step.name, &place, run);
            if step.name == BUILD {
                let _ = session.built.set(None);
            }
            lock().add(step.name, took, result);
        }
        // No other step makes these.
        if prefix {
            let _ = session.servers.set(None);
        } else {
            let _ = session.built.set(None);
        }
    };
    if selection.one_by_one {
        let built = compute.iter().position(|step| step.name == BUILD).map_or(0, |build| build + 1);
        let rest = compute.split_off(built);
        lane(compute.into(), false);
        lane(servers, true);
        set_prefix("");
        lane(rest.into(), false);
    } else {
        thread::scope(|scope| {
            scope.spawn(|| lane(servers, true));
            lane(compute.into(), false);
        });
    }
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    if interrupt::is_set() {
        leftovers::sweep();
        report.add_not_run("leftovers".to_owned(), "");
    } else {
        let (took, result) = announced("leftovers", &format!("[{all}/{all}] "), leftovers::check);
        report.add("leftovers".to_owned(), took, result);
    }
    report.took = Some(started.elapsed());
    println!("\n{}{report}", left_out(selection));
    Ok(match report.failed() {
        _ if interrupt::is_set() => interrupt::exit_code(),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Returns the steps of each lane in order. Checks that fail quickly come first.
fn steps<'a>(selection: &'a Selection, plan: Plan) -> Vec<Step<'a>> {
    let thorough = selection.thorough;
    let backends = if selection.backend.is_empty() { Backend::value_variants() } else { &selection.backend };
    let mut steps = vec![
        compute("tidy", |session| Ok(tidy::run(session.workspace)?.into())),
        compute("fmt", |session| plain(session, &["fmt", "--all", "--check"])),
        compute(BUILD, |session| {
            let built = Built::all(session.workspace);
            let (built, result) = match built {
                Ok(built) => (Some(built), Ok(String::new().into())),
                Err(error) => (None, Err(error)),
            };
            let _ = session.built.set(built);
            result
        }),
        compute("tests in memory", |session| {
            let in_memory = |program: &Program| {
                program.is_test && (program.kind != "test" || fast::PACKAGES.contains(&&*program.package))
            };
            let programs = session.built()?.those(in_memory)?;
            run_tests(programs.into_iter().map(Program::command_behind))
        }),
        compute("clippy", |session| {
            plain(session, &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        }),
        compute("simulation", move |session| simulation(session.built()?, thorough)),
        compute("docs", |session| {
            let mut command = cargo_behind(session.workspace);
            command.args(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings");
            run_command(&mut command)?;
            Ok(String::new().into())
        }),
        compute("doc tests", |session| {
            let mut command = cargo_behind(session.workspace);
            command.args(["test", "--workspace", "--all-features", "--doc"]).envs(session.default_servers()?.iter());
            Ok(run_command(&mut command)?.all_ran()?.into())
        }),
        compute("deny", |session| Ok(deny::run(session.workspace)?.into())),
        compute("mutants", move |session| {
            let sample = if thorough { mutants::Sample::Standing } else { mutants::Sample::Change(&selection.base) };
            mutants::sample(session.workspace, sample)
        }),
    ];
    if thorough {
        steps.push(compute("alerts", |session| {
            let mut promtool = Command::new(Shelf::of_processes(session.workspace).promtool()?);
            let folder = session.workspace.root.join("crates/redlock-redis-rs/examples/observability");
            run_command(promtool.args(["check", "config", "prometheus.yml"]).current_dir(folder))?;
            Ok("configuration and rules of Prometheus".to_owned().into())
        }));
        steps.push(compute("surroundings", |session| {
            Ok(surroundings::run_built(session.workspace, session.built()?)?.into())
        }));
        steps.push(compute("packages", |session| {
            dist::run_built(session.workspace, session.built()?, session.default_servers()?)
        }));
    }
    steps.extend(on_servers(thorough, backends, plan));
    steps
}

/// Returns the steps that need servers.
fn on_servers<'a>(thorough: bool, backends: &'a [Backend], plan: Plan) -> Vec<Step<'a>> {
    let chosen = plan.others();
    let mut steps = vec![servers_step(plan)];
    for &backend in backends {
        steps.push(beside(format!("conformance: {}", backend.name()), move |session| {
            conformance(session, &[backend], session.default_servers()?)
        }));
    }
    steps.push(beside("tests on servers", |session| {
        let built = session.built()?;
        let is_elsewhere = |program: &Program| {
            fast::PACKAGES.contains(&&*program.package)
                || program.package == SIMULATION
                || program.name == conformance::TARGET
        };
        let programs = built.those(|program| program.is_test && program.kind == "test" && !is_elsewhere(program))?;
        let servers = session.default_servers()?;
        run_tests(programs.into_iter().map(|program| {
            let mut command = program.command();
            command.envs(servers.iter());
            wait_in_parallel(&mut command);
            command
        }))
    }));
    for flavour in chosen {
        // In the short run, each server is for one client.
        let client = [OLDEST, NEWEST].into_iter().find(|(name, _)| !thorough && *name == flavour.name);
        let clients: Vec<_> = match client {
            Some((_, client)) => vec![client],
            None => backends.iter().copied().filter(|backend| backend.needs_servers()).collect(),
        };
        if clients.iter().any(|client| backends.contains(client)) {
            let name = format!("conformance on {}", flavour.name);
            steps.push(beside(name, move |session| match session.servers_of(flavour)? {
                Some(servers) => conformance(session, &clients, servers),
                None => Ok(Done::NotRun("it comes only from a registry, and none answers".to_owned())),
            }));
        }
    }
    steps.extend([
        in_either("soak", move |session| {
            let minutes = if thorough { "2" } else { "0.4" };
            Ok(soak::briefly(session.workspace, session.built()?, session.default_servers()?, minutes)?.into())
        }),
        in_either("demo", |session| {
            // With the lock the count is correct, and without it updates are lost. An extended lock survives the
            // restart of every node, and another process acquires one that is not extended. The exit code of each run
            // says so.
            let program = session.built()?.program("redlock-cli", "redlock")?;
            for args in [
                &["--seconds", "4"][..],
                &["--without-lock", "--seconds", "2"],
                &["--rolling-restart", "--seconds", "5"],
                &["--rolling-restart", "--without-extend"],
            ] {
                run_command(program.command().arg("demo").args(args))?;
            }
            Ok(String::new().into())
        }),
    ]);
    steps
}

/// Returns what the short run leaves out, for the last lines of its output.
fn left_out(selection: &Selection) -> &'static str {
    if selection.thorough {
        return "";
    }
    "Left out, each with the command that runs it (all of them: cargo xtask test-all --thorough):\n\
     - all clients on all other servers:     cargo xtask test-all --flavour redis-8.0, and likewise for the others\n\
     - 200,000 histories instead of 20,000:  cargo xtask simulate --histories 200000\n\
     - a soak of 2 minutes instead of 24 s:  cargo xtask soak --minutes 2\n\
     - the fixed sample of mutants:          cargo xtask mutants --sample\n\
     - the quick tests in odd surroundings:  cargo xtask surroundings\n\
     - the alerts for Prometheus:            promtool check config prometheus.yml, in examples/observability\n\
     - the packages, installed and run:      cargo xtask dist --check\n\n"
}

const SIMULATION: &str = "redlock-simulation";

/// The short run plays the same histories each time: the gate for a change must not depend on chance. The thorough run
/// plays other ones each time.
fn simulation(built: &Built, thorough: bool) -> Result<Done> {
    let (histories, seed) = if thorough { ("200000", &[][..]) } else { ("20000", &["--seed", "500000"][..]) };
    let tally = run_command(&mut built.test(SIMULATION, "it")?.command_behind())?.all_ran()?;
    run_command(built.program(SIMULATION, SIMULATION)?.command_behind().args(["--histories", histories]).args(seed))?;
    Ok(format!("{tally}, {histories} histories").into())
}

fn compute<'a>(name: impl Into<String>, run: impl FnOnce(&Session<'a>) -> Result<Done> + Send + 'a) -> Step<'a> {
    Step { name: name.into(), lane: Lane::Compute, needs_build: false, run: Box::new(run) }
}

fn beside<'a>(name: impl Into<String>, run: impl FnOnce(&Session<'a>) -> Result<Done> + Send + 'a) -> Step<'a> {
    Step { name: name.into(), lane: Lane::Servers, needs_build: true, run: Box::new(run) }
}

fn in_either<'a>(name: impl Into<String>, run: impl FnOnce(&Session<'a>) -> Result<Done> + Send + 'a) -> Step<'a> {
    Step { lane: Lane::Either, ..beside(name, run) }
}

/// Runs a cargo command that passes or fails and counts nothing.
fn plain(session: &Session<'_>, args: &[&str]) -> Result<Done> {
    run_command(cargo_behind(session.workspace).args(args))?;
    Ok(String::new().into())
}

/// Runs test programs one after another, and continues after one that fails.
fn run_tests(programs: impl IntoIterator<Item = Command>) -> Result<Done> {
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for mut program in programs {
        match run_command(&mut program) {
            Ok(counted) => tally = tally + counted,
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if !failed.is_empty() {
        bail!("{}", failed.join(", "));
    }
    Ok(tally.all_ran()?.into())
}

/// Tests on servers mostly wait, so several of them share a core.
fn wait_in_parallel(command: &mut Command) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    command.env("RUST_TEST_THREADS", (2 * cores).to_string());
}

fn conformance(session: &Session<'_>, backends: &[Backend], servers: &Environment) -> Result<Done> {
    let program = session.built()?.test("redlock-tests", conformance::TARGET)?;
    let filters: Vec<_> = backends.iter().map(|backend| format!("{}::", backend.name())).collect();
    let mut tally = Tally::default();
    for filter in &filters {
        tally = tally + run_command(program.command().arg(filter).envs(servers.iter()))?;
    }
    Ok(tally.all_ran()?.into())
}

/// Gets all servers of the plan. Leaves out an optional server that is not available.
fn servers_step<'a>(plan: Plan) -> Step<'a> {
    let get = move |session: &Session<'a>| {
        let obtained = servers(session.workspace, plan);
        let (servers, result) = match obtained {
            Ok((servers, note)) => (Some(servers), Ok(note.into())),
            Err(error) => (None, Err(error)),
        };
        let _ = session.servers.set(servers);
        result
    };
    Step { needs_build: false, ..beside("servers", get) }
}

fn servers(workspace: &Workspace, plan: Plan) -> Result<(Vec<(&'static str, Environment)>, String)> {
    let shelf = Shelf::open(workspace);
    shelf.clock()?;
    let flavours = match plan {
        Plan::Set(named) => {
            named.check()?;
            return Ok((vec![("default", Environment::default())], named.to_string()));
        }
        Plan::Flavours(flavours) => flavours,
    };
    let mut servers = Vec::new();
    for flavour in flavours {
        match shelf.obtain(flavour) {
            Ok(obtained) => {
                println!("{}: {obtained}", flavour.name);
                servers.push((flavour.name, obtained.environment()));
            }
            Err(error) if flavour.is_optional() && !interrupt::is_set() => {
                println!("{} is left out: {error:#}", flavour.name);
            }
            Err(error) => return Err(error.context(format!("getting {}", flavour.name))),
        }
    }
    let names: Vec<_> = servers.iter().map(|(name, _)| *name).collect();
    let note = format!("{} of {}", shelf.kind(), names.join(", "));
    Ok((servers, note))
}

impl Session<'_> {
    /// Waits for the build and returns its programs.
    fn built(&self) -> Result<&Built> {
        self.built.wait().as_ref().context("the tests were not built: see that step")
    }

    fn servers(&self) -> Result<&[(&'static str, Environment)]> {
        self.servers.wait().as_deref().context("no servers: see the step `servers`")
    }

    fn default_servers(&self) -> Result<&Environment> {
        let (_, environment) = self.servers()?.first().context("no servers: see the step `servers`")?;
        Ok(environment)
    }

    fn servers_of(&self, flavour: &Flavour) -> Result<Option<&Environment>> {
        Ok(self.servers()?.iter().find(|(name, _)| *name == flavour.name).map(|(_, servers)| servers))
    }
}
