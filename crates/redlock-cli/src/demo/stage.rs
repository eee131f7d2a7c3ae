//! The run: lets nodes fail on schedule, shows the progress, and notices the end.

use std::{collections::VecDeque, pin::pin, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::demo::{
    args::Args,
    console::Console,
    faults::{Change, Condition},
    live::Live,
    nodes::Fleet,
    workers::Job,
};

/// The state of the run.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    args: &'a Args,
    fleet: &'a Fleet,
    job: &'a Job,
    to_come: VecDeque<Change>,
    happened: Vec<Change>,
    started: Instant,
}

/// The result of the run.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) lasted: Duration,
    /// The faults, and their ends.
    pub(crate) happened: Vec<Change>,
    pub(crate) end: End,
}

/// The reason why it ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The time was up, or all sections were done.
    Done,
    /// By Ctrl-C.
    Interrupted,
    /// A worker gave up.
    GaveUp(anyhow::Error),
}

impl<'a> Stage<'a> {
    const FRAME: Duration = Duration::from_millis(100);

    pub(crate) fn new(args: &'a Args, fleet: &'a Fleet, job: &'a Job, faults: Vec<Change>) -> Self {
        Self { args, fleet, job, to_come: faults.into(), happened: Vec::new(), started: Instant::now() }
    }

    /// Plays until the last worker has ended.
    pub(crate) async fn play(
        mut self,
        mut workers: JoinSet<anyhow::Result<()>>,
        interrupted: CancellationToken,
        console: &mut Console,
    ) -> Played {
        let stop = &self.job.stop;
        let mut live = Live::new(self.args, self.fleet, self.job);
        let mut end = End::Done;
        let mut time_is_up = pin!(sleep(self.args.run_for()));
        let mut frames = interval(Self::FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = frames.tick() => {
                    self.change_nodes(console);
                    live.show(console, self.started.elapsed());
                }
                () = &mut time_is_up, if !stop.is_cancelled() => stop.cancel(),
                () = interrupted.cancelled(), if !matches!(end, End::Interrupted) => {
                    end = End::Interrupted;
                    stop.cancel();
                }
                ended = workers.join_next() => match ended.map(|worker| worker.unwrap_or_else(|panic| Err(panic.into()))) {
                    None => break,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        stop.cancel();
                        if matches!(end, End::Done) {
                            end = End::GaveUp(error);
                        }
                    }
                },
            }
        }
        console.block(&[]);
        Played { lasted: self.started.elapsed(), happened: self.happened, end }
    }

    /// Makes the changes that are due.
    fn change_nodes(&mut self, console: &mut Console) {
        let now = self.started.elapsed();
        while let Some(mut change) = self.to_come.front().copied().filter(|change| change.at <= now) {
            self.to_come.pop_front();
            let Some(link) = self.fleet.links.get(change.node) else { continue };
            link.set(change.to);
            let what = match change.to {
                Condition::Up => console.good("is back"),
                Condition::Stopped => console.bad("stops: it refuses every request"),
                Condition::Hung => console.bad("hangs: it takes requests and does not answer"),
            };
            console.line(&format!("{:>5.1} s  {} {what}", now.as_secs_f64(), link.name));
            change.at = now;
            self.happened.push(change);
        }
    }
}

/// Returns a token that is cancelled by Ctrl-C, or by any other signal that requests the end of the process.
pub(crate) fn interrupted() -> CancellationToken {
    let interrupted = CancellationToken::new();
    let cancel = interrupted.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => cancel.cancel(),
            () = terminated() => cancel.cancel(),
        }
    });
    interrupted
}

async fn terminated() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => drop(terminate.recv().await),
        Err(_) => std::future::pending().await,
    }
}
