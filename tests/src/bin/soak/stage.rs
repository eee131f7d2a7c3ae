//! The run: starts servers and processes, injects faults, shows the progress, and has the result judged.

use std::{fs, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use redlock_tests::servers::{Server, ServerOptions, Servers};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    args::Args,
    crew::Member,
    faults::{self, Fault, NodePlan, ProcessFault},
    hold::holds,
    judge::judge,
    log::{Event, Log, NodeFault, What, Who, now},
    picture::Picture,
    report::{self, Report},
};

pub(crate) async fn run(args: &Args) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let servers = Servers::from_env().await?;
    ensure!(servers.can_fail(), "servers that were given cannot be made to fail: unset REDLOCK_TEST_SERVERS");
    report::introduce(args, seed, &servers);

    let mut options = ServerOptions::new();
    if !args.without_memory {
        options = options.keep_memory();
    }
    let mut kinds = if args.rolling { Vec::new() } else { vec![NodeFault::Killed, NodeFault::Restarted] };
    if !args.without_memory {
        kinds.push(NodeFault::Hung);
        if servers.can_cut_off() {
            options = options.can_be_cut_off();
            kinds.push(NodeFault::CutOff);
        }
    }
    let nodes = servers.start(args.nodes(), &options).await?;
    let plan = NodePlan {
        nodes: nodes.len(),
        kinds,
        storm_every: if args.without_memory { 2 } else { 5 },
        rolling: args.rolling,
    };

    let log = Arc::new(Log::default());
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let crew = (0..args.processes()).map(|number| Member::new(number, args, &urls, seed, &log)).collect();
    let start = now();
    let failed = Stage { args, seed, log: Arc::clone(&log), start }.play(nodes, crew, plan).await.err();

    let events = log.in_order();
    let holds = holds(&events);
    let violations = judge(&holds);
    let report = Report { args, start, lasted: now() - start, events: &events, holds: &holds, violations: &violations };
    report.print();

    fs::create_dir_all(&args.out).with_context(|| format!("creating {}", args.out.display()))?;
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let picture = Picture { args, seed, servers: servers.describe(), urls: &urls, report: &report }.draw();
    let mut files = vec![("timeline.svg".to_owned(), picture.to_svg()), ("log.txt".to_owned(), lines)];
    for (number, violation) in violations.iter().take(3).enumerate() {
        const AROUND: Duration = Duration::from_secs(2);
        let (from, to) = violation.span();
        let closer =
            picture.closer(from.saturating_sub(start + AROUND), to.saturating_sub(start).saturating_add(AROUND));
        files.push((format!("violation-{}.svg", number + 1), closer.to_svg()));
    }
    remove_old_pictures(args);
    for (name, text) in files {
        let path = args.out.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }

    let sound = report.conclude();
    match failed {
        Some(error) => Err(error),
        None if sound => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::FAILURE),
    }
}

/// Removes the pictures of an earlier run, which may have had more violations.
fn remove_old_pictures(args: &Args) {
    for number in 1..=3 {
        let _ = fs::remove_file(args.out.join(format!("violation-{number}.svg")));
    }
}

/// The parts of one run.
struct Stage<'a> {
    args: &'a Args,
    seed: u64,
    log: Arc<Log>,
    start: Duration,
}

/// Becomes true when the run should end.
type Stop = watch::Receiver<bool>;

impl Stage<'_> {
    const BETWEEN_LINES: Duration = Duration::from_secs(5);

    async fn play(&self, nodes: Vec<Server>, crew: Vec<Member>, plan: NodePlan) -> Result<()> {
        let (nodes, crew) = (Arc::new(nodes), Arc::new(crew));
        let (stop, stopped) = watch::channel(false);
        for member in crew.iter() {
            member.start().await?;
        }
        let mut troubles = JoinSet::new();
        for number in 0..nodes.len() {
            let (nodes, log, stop) = (Arc::clone(&nodes), Arc::clone(&self.log), stopped.clone());
            troubles.spawn(async move {
                match nodes.get(number) {
                    Some(node) => listen_to(node, Who::Node(number), &log, stop).await,
                    None => Ok(()),
                }
            });
        }
        troubles.spawn(befall_nodes(Arc::clone(&nodes), plan, self.seed, Arc::clone(&self.log), stopped.clone()));
        // In a rolling run no process fails: the keys of a killed or paused process stay its own until their TTL ends.
        if !self.args.rolling {
            troubles.spawn(befall_processes(Arc::clone(&crew), !self.seed, stopped));
        }
        let watched = tokio::select! {
            watched = self.watch(&crew) => watched,
            Some(ended) = troubles.join_next() => ended.unwrap_or_else(|panic| Err(panic.into())),
        };
        // Whatever failed, everything is mended and ended before the error is returned.
        stop.send_replace(true);
        let mut first = watched;
        while let Some(ended) = troubles.join_next().await {
            first = first.and(ended.unwrap_or_else(|panic| Err(panic.into())));
        }
        let mut finishing = JoinSet::new();
        for number in 0..crew.len() {
            let crew = Arc::clone(&crew);
            finishing.spawn(async move {
                match crew.get(number) {
                    Some(member) => member.finish().await,
                    None => Ok(()),
                }
            });
        }
        while let Some(ended) = finishing.join_next().await {
            first = first.and(ended.unwrap_or_else(|panic| Err(panic.into())));
        }
        first
    }

    /// Prints the progress until the time is up or two holds overlap.
    async fn watch(&self, crew: &[Member]) -> Result<()> {
        let ends = Instant::now() + self.args.lasts();
        let mut suspects = Vec::new();
        loop {
            sleep_until(ends.min(Instant::now() + Self::BETWEEN_LINES)).await;
            for member in crew {
                member.fail_if_ended().await?;
            }
            let events = self.log.in_order();
            let holds = holds(&events);
            let violations = judge(&holds);
            // The end of a hold may still be in flight to the log. Only a violation that is found twice counts.
            let certain = violations.iter().filter(|violation| suspects.contains(&violation.span().0)).count();
            report::progress(now() - self.start, &events, &holds, certain);
            if certain > 0 {
                println!("two holds overlap: ending early");
                return Ok(());
            }
            suspects = violations.iter().map(|violation| violation.span().0).collect();
            if Instant::now() >= ends {
                return Ok(());
            }
        }
    }
}

async fn befall_nodes(nodes: Arc<Vec<Server>>, plan: NodePlan, seed: u64, log: Arc<Log>, mut stop: Stop) -> Result<()> {
    for episode in plan.episodes(seed) {
        if !quiet(episode.quiet, &mut stop).await {
            break;
        }
        let faults = episode.faults.into_iter().map(|fault| {
            let (nodes, log, stop) = (Arc::clone(&nodes), Arc::clone(&log), stop.clone());
            async move {
                match nodes.get(fault.whom) {
                    Some(node) => befall_node(node, &fault, &log, stop).await,
                    None => Ok(()),
                }
            }
        });
        all(faults).await?;
    }
    Ok(())
}

/// Injects one fault, from its beginning until the node answers again.
async fn befall_node(node: &Server, fault: &Fault<NodeFault>, log: &Log, mut stop: Stop) -> Result<()> {
    if !quiet(fault.delay, &mut stop).await {
        return Ok(());
    }
    let who = Who::Node(fault.whom);
    log.note(who, What::Fails(fault.kind));
    match fault.kind {
        NodeFault::Hung => {
            node.pause().await?;
            quiet(fault.lasts, &mut stop).await;
            node.resume().await?;
        }
        NodeFault::Killed | NodeFault::Restarted => {
            node.stop().await?;
            if fault.kind == NodeFault::Killed {
                quiet(fault.lasts, &mut stop).await;
            }
            log.note(who, What::Starting);
            node.start().await?;
        }
        NodeFault::CutOff => {
            node.cut_off().await?;
            quiet(fault.lasts, &mut stop).await;
            node.reconnect().await?;
        }
    }
    log.note(who, What::Well);
    Ok(())
}

/// Logs when a node does not answer a write of the soak itself, and when it answers again.
async fn listen_to(node: &Server, who: Who, log: &Log, mut stop: Stop) -> Result<()> {
    const EVERY: Duration = Duration::from_millis(100);
    const IN_TIME: Duration = Duration::from_millis(200);
    let mut was_silent = false;
    while quiet(EVERY, &mut stop).await {
        let sent = now();
        let answers = node.command_within(IN_TIME, &["SET", "soak:heartbeat", "1"]).await.is_ok();
        match (was_silent, answers) {
            (false, false) => log.add(Event { at: sent, who, what: What::Silent }),
            (true, true) => log.note(who, What::Answers),
            _ => {}
        }
        was_silent = !answers;
    }
    Ok(())
}

async fn befall_processes(crew: Arc<Vec<Member>>, seed: u64, mut stop: Stop) -> Result<()> {
    for episode in faults::of_processes(crew.len(), seed) {
        if !quiet(episode.quiet, &mut stop).await {
            break;
        }
        let faults = episode.faults.into_iter().map(|fault| {
            let (crew, stop) = (Arc::clone(&crew), stop.clone());
            async move {
                match crew.get(fault.whom) {
                    Some(member) => befall_process(member, &fault, stop).await,
                    None => Ok(()),
                }
            }
        });
        all(faults).await?;
    }
    Ok(())
}

async fn befall_process(member: &Member, fault: &Fault<ProcessFault>, mut stop: Stop) -> Result<()> {
    if !quiet(fault.delay, &mut stop).await {
        return Ok(());
    }
    match fault.kind {
        ProcessFault::Paused => {
            member.pause().await?;
            quiet(fault.lasts, &mut stop).await;
            member.resume().await
        }
        ProcessFault::Killed => {
            member.kill().await?;
            quiet(fault.lasts, &mut stop).await;
            member.start().await
        }
    }
}

/// Sleeps. Returns whether the run continues; if it ends, returns at once.
async fn quiet(time: Duration, stop: &mut Stop) -> bool {
    if *stop.borrow() {
        return false;
    }
    tokio::select! {
        () = sleep(time) => true,
        _ = stop.changed() => false,
    }
}

/// Runs all of them at the same time, each to its end.
async fn all(works: impl Iterator<Item = impl Future<Output = Result<()>> + Send + 'static>) -> Result<()> {
    let mut running: JoinSet<_> = works.collect();
    let mut first = Ok(());
    while let Some(ended) = running.join_next().await {
        first = first.and(ended.unwrap_or_else(|panic| Err(panic.into())));
    }
    first
}
