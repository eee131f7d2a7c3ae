//! The run: the job works, nodes are restarted, and rivals try to get the lock, until all of them have ended.

use std::{pin::pin, sync::Arc, time::Duration};

use redlock_core::UsingError;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    live::Live,
    long_job::{LongJob, RESOURCE},
    nodes::{Holds, Nodes},
    report::{self, Report},
    restarts::{Plan, Restarts, Step},
    rivals::Rivals,
};
use crate::demo::{args::Args, console::Console, readable::readable, stage};

/// Shows that a lock that is extended survives the restart of every node, or that a lock that is not extended does not.
pub(crate) async fn run(args: &Args, console: &mut Console) -> anyhow::Result<u8> {
    let nodes = Nodes::new();
    let plan = Plan::of(Nodes::COUNT, args.run_for());
    report::introduce(console, args, &plan);

    let (job, rivals) = (Arc::new(LongJob::default()), Arc::new(Rivals::default()));
    let here = nodes.host(0)?;
    let others = (1..=Rivals::COUNT).map(|rival| nodes.host(rival as u64)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut asking = JoinSet::new();
    for (rival, host) in (1..).zip(&others) {
        asking.spawn(Arc::clone(&rivals).ask(rival, host.clone(), Arc::clone(&job), plan.ttl));
    }
    let work = async {
        match args.without_extend {
            false => job.run(&here, plan.ttl).await,
            true => job.run_without_extend(&here, plan.ttl).await,
        }
    };
    let mut show = Show::new(args, &nodes, plan, &job, &rivals);
    let (worked, interrupted) = show.play(work, console).await;
    asking.join_all().await;

    // The refusals of the rivals prove something only if they get the lock once it is free.
    let free_afterwards = match (&worked, others.first()) {
        (Ok(()), Some(rival)) => Some(rival.acquire(RESOURCE, plan.ttl).await.is_ok()),
        _ => None,
    };
    for host in [&here].into_iter().chain(&others) {
        host.close().await?;
    }
    let lost = match worked {
        Ok(()) => None,
        Err(UsingError::Lost(loss)) => Some(loss.to_string()),
        Err(error) => return Err(error.into()),
    };
    let all_as_it_should_be = Report {
        extended: !args.without_extend,
        interrupted,
        plan,
        restarts: show.restarts.over().to_vec(),
        unfinished: show.restarts.is_under_way(),
        progress: job.progress(),
        lost,
        refused: rivals.refused.get(),
        undecided: rivals.undecided.get(),
        got: rivals.got(),
        free_afterwards,
    }
    .print(console);
    Ok(match all_as_it_should_be {
        _ if interrupted => 130,
        true => 0,
        false => 1,
    })
}

/// The state of the run.
#[derive(Debug)]
struct Show<'a> {
    args: &'a Args,
    nodes: &'a Nodes,
    plan: Plan,
    restarts: Restarts,
    job: &'a LongJob,
    rivals: &'a Rivals,
    started: Instant,
}

impl<'a> Show<'a> {
    const STEP: Duration = Duration::from_millis(5);
    const FRAME: Duration = Duration::from_millis(100);

    fn new(args: &'a Args, nodes: &'a Nodes, plan: Plan, job: &'a LongJob, rivals: &'a Rivals) -> Self {
        let restarts = Restarts::new(plan, !args.without_extend);
        Self { args, nodes, plan, restarts, job, rivals, started: Instant::now() }
    }

    /// Plays until the work has ended, and the time is up or a rival has the lock. Returns how the work ended, and
    /// whether the run was interrupted.
    async fn play(
        &mut self,
        work: impl Future<Output = Result<(), UsingError>>,
        console: &mut Console,
    ) -> (Result<(), UsingError>, bool) {
        let stop = &self.job.stop;
        let mut work = pin!(work);
        let mut worked = None;
        let (interrupted, mut was_interrupted) = (stage::interrupted(), false);
        let (mut steps, mut frames) = (interval(Self::STEP), interval(Self::FRAME));
        steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut live = Live::new(self.nodes, self.plan, self.job, self.rivals);
        while worked.is_none() || !stop.is_cancelled() {
            tokio::select! {
                ended = &mut work, if worked.is_none() => {
                    if let Err(UsingError::Lost(loss)) = &ended {
                        self.say(console, &console.bad(&format!("the job stops: {loss}")));
                    }
                    // A lock that nobody extends ends before the work is done. Then a rival is about to get it.
                    if !(self.args.without_extend && matches!(ended, Err(UsingError::Lost(_)))) {
                        stop.cancel();
                    }
                    worked = Some(ended);
                }
                _ = steps.tick(), if !stop.is_cancelled() => {
                    self.step(console);
                    if self.is_over() {
                        stop.cancel();
                    }
                }
                _ = frames.tick() => live.show(console, self.started.elapsed(), &self.restarts),
                () = interrupted.cancelled(), if !was_interrupted => {
                    was_interrupted = true;
                    stop.cancel();
                }
                () = stop.cancelled(), if worked.is_some() => {}
            }
        }
        console.block(&[]);
        if let Some(got) = self.rivals.got() {
            self.say(console, &console.bad(&format!("rival {} has the lock", got.rival)));
        }
        (worked.unwrap_or(Ok(())), was_interrupted)
    }

    /// The run ends with its time, and not in the middle of a restart, unless that takes much longer than it should.
    fn is_over(&self) -> bool {
        let now = self.started.elapsed();
        let over_time = if self.restarts.all_over(now) { Duration::ZERO } else { self.plan.ttl };
        now >= self.plan.run + over_time
    }

    /// Takes the next step of the restarts, if one is due.
    fn step(&mut self, console: &mut Console) {
        let (nodes, token) = (self.nodes, self.job.progress().token());
        let holds = |node| matches!(nodes.holds(node, RESOURCE, token), Holds::This(_));
        match self.restarts.next(self.started.elapsed(), holds) {
            None => {}
            Some(Step::Stop(node)) => nodes.stop(node),
            Some(Step::StartEmpty(node)) => nodes.start_empty(node),
            Some(Step::Over(restart)) => {
                let name = nodes.names().nth(restart.node).unwrap_or_default();
                let then = match restart.healed_within() {
                    Some(time) => console.good(&format!("an extend gave it the lock again {} later", readable(time))),
                    None => console.bad("nobody gave it the lock again"),
                };
                self.say(console, &format!("{name} was restarted and came back empty; {then}"));
            }
        }
    }

    fn say(&self, console: &mut Console, what: &str) {
        console.line(&format!("{:>5.1} s  {what}", self.started.elapsed().as_secs_f64()));
    }
}
