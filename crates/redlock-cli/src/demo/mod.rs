//! The demo: many workers add 1 to a file under one lock, while nodes are stopped and hung on the way. Or one job keeps
//! its lock while all nodes are restarted.

mod args;

mod counter;
mod workers;

mod faults;
mod nodes;

mod stage;
mod tally;

mod rolling;

mod console;
mod live;
mod node_table;
mod readable;
mod report;

use std::sync::Arc;

use tokio::{runtime::Builder, task::JoinSet};

pub(crate) use self::args::Args;
use self::{
    console::Console,
    counter::Counter,
    nodes::Fleet,
    report::Report,
    stage::{End, Stage},
    workers::{Job, Worker},
};

/// Runs the demo with its output on standard output, on a separate runtime, and returns the exit code. Ends the process
/// with a message if the arguments contradict each other.
pub(crate) fn run(args: Args) -> u8 {
    let args = args.checked().unwrap_or_else(|error| error.exit());
    let mut console = Console::of_stdout();
    match Builder::new_multi_thread().worker_threads(4).enable_all().build() {
        Ok(runtime) => runtime.block_on(show(&args, &mut console)),
        Err(error) => ended(Err(error.into()), &mut console),
    }
}

async fn show(args: &Args, console: &mut Console) -> u8 {
    if args.rolling_restart {
        return ended(rolling::run(args, console).await, console);
    }
    let fleet = match Fleet::open(args) {
        Ok(fleet) => fleet,
        Err(error) => {
            console.error(&format!(
                "{error:#}; list each server once, for example redis://a:6379,redis://b:6379 (see --help)"
            ));
            return 2;
        }
    };
    ended(work(args, &fleet, console).await, console)
}

fn ended(ran: anyhow::Result<u8>, console: &mut Console) -> u8 {
    ran.unwrap_or_else(|error| {
        console.error(&format!("{error:#}"));
        1
    })
}

/// Lets the workers work while the nodes fail, and reports the result.
async fn work(args: &Args, fleet: &Fleet, console: &mut Console) -> anyhow::Result<u8> {
    let interrupted = stage::interrupted();
    report::introduce(console, args, fleet);
    let answers = fleet.probe(console).await?;
    let faults = if args.no_faults { Vec::new() } else { faults::schedule(&answers, args.run_for()) };
    report::announce(console, args, fleet, &faults);

    // The counter's file is deleted when this function ends, however it ends.
    let job = Arc::new(Job::new(Counter::create()?, args.workers(), args.sections()));
    let mut workers = JoinSet::new();
    for number in 0..args.workers() {
        let worker = Worker { number, job: Arc::clone(&job) };
        match fleet.host_of(number) {
            Some(redlock) => workers.spawn(worker.run_with_lock(redlock.clone())),
            None => workers.spawn(worker.run_without_lock()),
        };
    }
    let played = Stage::new(args, fleet, &job, faults).play(workers, interrupted, console).await;

    // Release everything, including on the nodes that are down at the moment.
    fleet.heal();
    let closed = fleet.close().await;

    let counter = job.counter.read().await?;
    let all_as_it_should_be =
        Report { args, fleet, tally: &job.tally, counter, played: &played, closed }.print(console);
    match played.end {
        End::Interrupted => Ok(130),
        End::GaveUp(error) => Err(error),
        End::Done if all_as_it_should_be => Ok(0),
        End::Done => Ok(1),
    }
}
