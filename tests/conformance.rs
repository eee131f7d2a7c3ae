//! The conformance suite: every scenario on every backend, each a test named `backend::module::promise`.

#![expect(clippy::print_stderr, reason = "what a scenario that failed had logged stands beside its panic")]

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use libtest_mimic::{Arguments, Failed, Trial};
use redlock_tests::{
    backend::{BACKENDS, Backend},
    lab::Lab,
    log::Log,
    scenarios::{self, Scenario},
    servers::Servers,
};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(arguments.test_threads.unwrap_or_else(default_threads));
    let labs = Arc::new(Labs::default());
    let trials = BACKENDS.iter().flat_map(|backend| {
        let labs = Arc::clone(&labs);
        scenarios::all()
            .filter(|scenario| *backend != Backend::Mock || !scenario.only_on_servers)
            .map(move |scenario| trial(*backend, scenario, Arc::clone(&labs)))
    });
    let trials = trials.chain([Trial::test(WITHOUT_SERVERS, without_servers_no_scenario_passes)]).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Returns how many scenarios run at once. They spend nine tenths of their time waiting for a TTL or a timeout to pass,
/// so several share a core. `RUST_TEST_THREADS` overrides the number, as in every test binary.
fn default_threads() -> usize {
    let set = env::var("RUST_TEST_THREADS").ok().and_then(|threads| threads.parse().ok());
    set.unwrap_or_else(|| 4 * thread::available_parallelism().map_or(1, usize::from))
}

/// Needs no server, so it is in the mock's column.
const WITHOUT_SERVERS: &str = "mock::suite::without_servers_no_scenario_passes";

/// Checks that a scenario that needs servers fails if there are none, so that none passes because it had nothing to run
/// on.
fn without_servers_no_scenario_passes() -> Result<(), Failed> {
    // `given` without URLs: this run has no servers, whatever the machine has.
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

fn trial(backend: Backend, scenario: &'static Scenario, labs: Arc<Labs>) -> Trial {
    let name = format!("{}::{}", backend.name(), scenario.name);
    Trial::test(name, move || {
        let log = Log::of_this_process();
        let mark = log.mark();
        catch_unwind(AssertUnwindSafe(|| run(backend, scenario, &labs))).unwrap_or_else(|panic| {
            let logged = log.since(mark);
            eprintln!("{}::{}: logged meanwhile, by all scenarios:\n{logged}", backend.name(), scenario.name);
            resume_unwind(panic)
        })
    })
}

fn run(backend: Backend, scenario: &Scenario, labs: &Labs) -> Result<(), Failed> {
    if backend == Backend::Mock {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build()?;
        runtime.block_on(async { (scenario.run)(&Lab::in_memory()).await });
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut lab = runtime.block_on(labs.borrow()).map_err(|error| format!("{error:#}"))?;
    runtime.block_on(lab.reset(backend)).map_err(|error| format!("{error:#}"))?;
    // If the scenario panics, its servers are dropped too, because its tasks may still use them.
    runtime.block_on((scenario.run)(&lab));
    // Ends the tasks of the scenario: none of them sends a request to the servers of a later one.
    drop(runtime);
    labs.give_back(lab);
    Ok(())
}

/// The labs that no scenario uses at the moment. A scenario stops and pauses servers, so it has its own lab.
#[derive(Default)]
struct Labs(Mutex<Vec<Lab>>);

impl Labs {
    async fn borrow(&self) -> anyhow::Result<Lab> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(lab) = idle {
            return Ok(lab);
        }
        let servers = Servers::from_env().await?;
        anyhow::ensure!(servers.can_fail(), "the conformance suite stops servers: {} cannot be", servers.describe());
        Lab::on_servers(Backend::RedisRs, &servers).await
    }

    fn give_back(&self, lab: Lab) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lab);
    }
}
