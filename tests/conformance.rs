//! The conformance suite: every scenario on every backend, each a named test `backend::module::promise`.

#![expect(clippy::print_stderr, reason = "what a scenario that failed had logged stands beside its panic")]

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
};

use libtest_mimic::{Arguments, Failed, Trial};
use redlock_tests::{
    backend::{BACKENDS, Backend},
    lab::Lab,
    log::Log,
    scenarios::{self, Scenario},
    servers::Servers,
};
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Scenarios stop and pause the servers that they share.
    arguments.test_threads = Some(1);
    let servers = Arc::new(Mutex::new(None));
    let trials = BACKENDS.iter().flat_map(|backend| {
        let servers = Arc::clone(&servers);
        scenarios::all()
            .filter(|scenario| *backend != Backend::Mock || !scenario.only_on_servers)
            .map(move |scenario| trial(*backend, scenario, Arc::clone(&servers)))
    });
    let trials = trials.chain([Trial::test(WITHOUT_SERVERS, without_servers_no_scenario_passes)]).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Needs no server, and so is in the mock's column.
const WITHOUT_SERVERS: &str = "mock::suite::without_servers_no_scenario_passes";

/// A scenario without the servers that it wants fails: none passes for having nothing to run on.
fn without_servers_no_scenario_passes() -> Result<(), Failed> {
    // Given, but none: whatever this machine has, the scenarios of that run have no server.
    let without = [("REDLOCK_TEST_SERVERS", "given"), ("REDLOCK_TEST_URLS", "")];
    let output = Command::new(env::current_exe()?).args(["--skip", "mock::"]).envs(without).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let scenarios = scenarios::all().count() * (BACKENDS.len() - 1);
    let expected = format!("test result: FAILED. 0 passed; {scenarios} failed");
    if output.status.success() || !printed.contains(&expected) {
        return Err(format!("expected {expected:?}:\n{printed}").into());
    }
    Ok(())
}

/// The servers, once they were asked for; or why there are none.
type Started = Option<Result<Bench, String>>;

fn trial(backend: Backend, scenario: &'static Scenario, servers: Arc<Mutex<Started>>) -> Trial {
    let name = format!("{}::{}", backend.name(), scenario.name);
    Trial::test(name, move || {
        let log = Log::of_this_process();
        log.take();
        catch_unwind(AssertUnwindSafe(|| run(backend, scenario, &servers))).unwrap_or_else(|panic| {
            eprintln!("what was logged meanwhile:\n{}", log.take());
            resume_unwind(panic)
        })
    })
}

fn run(backend: Backend, scenario: &Scenario, servers: &Mutex<Started>) -> Result<(), Failed> {
    if backend == Backend::Mock {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        runtime.block_on(async { (scenario.run)(&Lab::in_memory()).await });
        return Ok(());
    }
    // A scenario that panicked has left its lab broken at worst: the next one mends it.
    let mut servers = servers.lock().unwrap_or_else(PoisonError::into_inner);
    let started = servers.get_or_insert_with(|| Bench::start().map_err(|error| format!("{error:#}")));
    let bench = started.as_mut().map_err(|why| why.clone())?;
    bench.runtime.block_on(async {
        bench.lab.reset(backend).await.map_err(|error| format!("{error:#}"))?;
        (scenario.run)(&bench.lab).await;
        Ok(())
    })
}

/// The servers that all scenarios share, and the runtime that watches over them.
struct Bench {
    // Dropped first: it removes the servers.
    lab: Lab,
    runtime: Runtime,
}

impl Bench {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let lab = runtime.block_on(async {
            let servers = Servers::from_env().await?;
            anyhow::ensure!(
                servers.can_fail(),
                "the conformance suite stops servers: {} cannot be",
                servers.describe()
            );
            Lab::on_servers(Backend::RedisRs, &servers).await
        })?;
        Ok(Self { lab, runtime })
    }
}
