//! `cargo xtask test-all`: the steps, in order.

use std::{collections::VecDeque, process::ExitCode};

use anyhow::{Context, Result};
use clap::ValueEnum as _;

use crate::{
    command::{cargo, demo, run as run_command, simulation},
    conformance::{self, Backend},
    deny, interrupt, leftovers, mutants,
    report::{Report, Tally},
    servers::{Environment, Flavour, Plan, Shelf},
    soak, tidy,
    workspace::Workspace,
};

/// One line of the table at the end. What it returns is said there too, for example how many tests there were.
struct Step<'a> {
    name: String,
    run: Work<'a>,
}

type Work<'a> = Box<dyn FnOnce(&mut Session<'a>) -> Result<String> + 'a>;

/// What the steps share.
struct Session<'a> {
    workspace: &'a Workspace,
    backends: &'a [Backend],
    /// What to set for the tests, for each server that the step `servers` got; the first is the one for all tests.
    servers: Vec<(&'static str, Environment)>,
    /// Steps for servers that need not be there and are.
    found: Vec<Step<'a>>,
}

pub(crate) fn run(
    workspace: &Workspace,
    backends: &[Backend],
    flavours: &[&'static Flavour],
    keep_going: bool,
) -> Result<ExitCode> {
    let backends = if backends.is_empty() { Backend::value_variants() } else { backends };
    let plan = Plan::from_env(flavours)?;
    // A run that was killed could not clean up after itself.
    leftovers::sweep();
    let mut session = Session { workspace, backends, servers: Vec::new(), found: Vec::new() };
    let mut steps = VecDeque::from(steps(backends, plan));
    let mut report = Report::default();
    while let Some(step) = steps.pop_front() {
        if interrupt::is_set() || (report.failed() > 0 && !keep_going) {
            report.add_not_run(step.name, "");
            continue;
        }
        report.step(step.name, || (step.run)(&mut session));
        let last = steps.len().saturating_sub(1);
        for found in session.found.drain(..) {
            steps.insert(last, found);
        }
    }
    leftovers::sweep();
    println!("\n{report}");
    Ok(match report.failed() {
        _ if interrupt::is_set() => interrupt::exit_code(),
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// The tests of the simulation, which has a step of its own.
const SIMULATION: &[&str] = &["oracles", "promised"];

/// The checks that are quick to fail come first, and `leftovers` last.
fn steps<'a>(backends: &[Backend], plan: Plan) -> Vec<Step<'a>> {
    let mut steps = vec![
        step("tidy", |session| tidy::run(session.workspace)),
        step("fmt", |session| plain(session, &["fmt", "--all", "--check"])),
        step("clippy", |session| {
            plain(session, &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])
        }),
    ];
    let others = plan.others();
    steps.push(step("servers", move |session| servers(session, plan)));
    steps.push(step("unit and property tests", |session| test(session, &["--lib", "--bins"])));
    for &backend in backends {
        steps.push(step(format!("conformance: {}", backend.name()), move |session| {
            conformance::test(session.workspace, backend, session.default_servers()?)?.all_ran()
        }));
    }
    steps.push(step("integration tests", |session| {
        let of_other_steps = [&[conformance::TARGET], SIMULATION].concat();
        let mut targets: Vec<_> = session.workspace.tests().filter(|name| !of_other_steps.contains(name)).collect();
        targets.sort_unstable();
        targets.dedup();
        // Tests run them, and cargo builds them by itself only where no test is named.
        plain(session, &["build", "--workspace", "--all-features", "--examples"])?;
        test(session, &targets.iter().flat_map(|name| ["--test", name]).collect::<Vec<_>>())
    }));
    if backends.iter().any(|backend| backend.needs_servers()) {
        steps.extend(others.into_iter().map(on_flavour));
    }
    steps.extend([
        step("soak", |session| soak::briefly(session.workspace, session.default_servers()?)),
        step("simulation", |session| {
            // Optimized: some ten times quicker.
            let mut oracles = cargo(session.workspace);
            oracles.args(["test", "--release", "--package", "redlock-simulation", "--tests"]);
            let tally = run_command(&mut oracles)?.all_ran()?;
            run_command(&mut simulation(session.workspace, &["--histories", "50000"]))?;
            Ok(tally)
        }),
        step("demo", |session| {
            // The lock keeps the count; without it updates are lost. An extended lock outlives the restart of every
            // node; one that is not extended is taken. Each run says so by its exit code.
            run_command(&mut demo(session.workspace, &["--seconds", "4"]))?;
            run_command(&mut demo(session.workspace, &["--without-lock", "--seconds", "2"]))?;
            run_command(&mut demo(session.workspace, &["--rolling-restart", "--seconds", "5"]))?;
            run_command(&mut demo(session.workspace, &["--rolling-restart", "--without-extend"]))?;
            Ok(String::new())
        }),
        step("docs", |session| {
            let mut command = cargo(session.workspace);
            command.args(["doc", "--workspace", "--no-deps", "--all-features"]).env("RUSTDOCFLAGS", "-D warnings");
            run_command(&mut command)?;
            Ok(String::new())
        }),
        step("doc tests", |session| test(session, &["--doc"])),
        step("deny", |session| deny::run(session.workspace)),
        step("planted mistakes", |session| mutants::run(session.workspace, &mutants::Selection::sample())),
        step("leftovers", |_| leftovers::check()),
    ]);
    steps
}

fn step<'a>(name: impl Into<String>, run: impl FnOnce(&mut Session<'a>) -> Result<String> + 'a) -> Step<'a> {
    Step { name: name.into(), run: Box::new(run) }
}

/// A cargo command that passes or fails and counts nothing.
fn plain(session: &Session<'_>, args: &[&str]) -> Result<String> {
    run_command(cargo(session.workspace).args(args))?;
    Ok(String::new())
}

/// Tests of the kinds that `targets` names. Always of the whole workspace, so that all steps share one build.
fn test(session: &Session<'_>, targets: &[&str]) -> Result<String> {
    let mut command = cargo(session.workspace);
    command.args(["test", "--workspace", "--all-features", "--no-fail-fast"]).args(targets);
    command.envs(session.default_servers()?.iter());
    run_command(&mut command)?.all_ran()
}

/// Gets all servers of the plan, and finds out which others can be had.
fn servers(session: &mut Session<'_>, plan: Plan) -> Result<String> {
    let shelf = Shelf::open(session.workspace);
    shelf.clock()?;
    let flavours = match plan {
        Plan::Set(named) => {
            named.check()?;
            session.servers.push(("default", Environment::default()));
            return Ok(named.to_string());
        }
        Plan::Flavours(flavours) => flavours,
    };
    for flavour in flavours {
        let obtained = match shelf.obtain(flavour) {
            Ok(obtained) => obtained,
            Err(error) if flavour.is_optional() && !interrupt::is_set() => {
                println!("{} is left out: {error:#}", flavour.name);
                continue;
            }
            Err(error) => return Err(error.context(format!("getting {}", flavour.name))),
        };
        println!("{}: {obtained}", flavour.name);
        if flavour.is_optional() && !session.servers.is_empty() {
            session.found.push(on_flavour(flavour));
        }
        session.servers.push((flavour.name, obtained.environment()));
    }
    let names: Vec<_> = session.servers.iter().map(|(name, _)| *name).collect();
    Ok(format!("{} of {}", shelf.kind(), names.join(", ")))
}

/// The conformance tests of all backends that talk to a server, on another server than the default one.
fn on_flavour<'a>(flavour: &'static Flavour) -> Step<'a> {
    step(format!("conformance on {}", flavour.name), move |session| {
        let servers = session.servers.iter().find(|(name, _)| *name == flavour.name);
        let (_, servers) = servers.with_context(|| format!("{} was not got", flavour.name))?;
        let mut tally = Tally::default();
        for backend in session.backends.iter().filter(|backend| backend.needs_servers()) {
            tally = tally + conformance::test(session.workspace, *backend, servers)?;
        }
        tally.all_ran()
    })
}

impl Session<'_> {
    fn default_servers(&self) -> Result<&Environment> {
        let (_, environment) = self.servers.first().context("no servers: see the step `servers`")?;
        Ok(environment)
    }
}
