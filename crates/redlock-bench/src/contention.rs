//! Tasks that all want the lock with one name, in one process or in several.

use std::{env, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

use crate::{
    clock,
    contender::{Contender, Who, with_library},
    holds::{Hold, Log},
    library::Library,
};

/// How much longer than its slice a child may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The part of one process.
#[derive(Debug, Clone, Args)]
pub(crate) struct Part {
    /// How many instances of the library it has, each with its own connections.
    #[arg(long)]
    pub(crate) instances: usize,
    /// How many tasks share an instance.
    #[arg(long)]
    pub(crate) tasks: usize,
    /// The number of the first task.
    #[arg(long)]
    pub(crate) first: usize,
    #[arg(long)]
    pub(crate) name: String,
    #[arg(long)]
    pub(crate) millis: u64,
    /// How long the lock is held, in milliseconds.
    #[arg(long)]
    pub(crate) held: u64,
}

/// The messages of a child: it is ready, and it is done.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Ready,
    Done(Log),
}

/// Open connections, for tasks that have not begun.
pub(crate) struct Ready<L> {
    instances: Vec<L>,
    part: Part,
}

impl<L: Library> Ready<L> {
    /// Connects, and makes each instance acquire a lock once.
    pub(crate) async fn new(urls: &[String], contender: Contender, part: &Part) -> Result<Self> {
        let mut instances = Vec::new();
        for index in 0..part.instances {
            let instance = L::open(urls, contender.tuning).await?;
            // An error is ignored here: the figures will show it.
            let _ = instance.pair(&format!("{}:{}:{index}", part.name, part.first)).await;
            instance.settle().await;
            instances.push(instance);
        }
        Ok(Self { instances, part: part.clone() })
    }

    /// Contends from the moment `start` on.
    pub(crate) async fn go(self, start: u64) -> Result<Log> {
        let Self { instances, part } = self;
        let end = start + part.millis * 1_000_000;
        let mut tasks = JoinSet::new();
        for index in 0..part.instances * part.tasks {
            let instance = instances.get(index % part.instances).context("no instance")?.clone();
            let task = Task { number: part.first + index, name: part.name.clone(), held: part.held, end };
            tasks.spawn(async move {
                sleep(Duration::from_nanos(start.saturating_sub(clock::now()))).await;
                task.contend(&instance).await
            });
        }
        let mut all = Log::default();
        for log in tasks.join_all().await {
            all.merge(log);
        }
        for instance in instances {
            instance.settle().await;
        }
        Ok(all)
    }
}

struct Task {
    number: usize,
    name: String,
    held: u64,
    end: u64,
}

impl Task {
    async fn contend<L: Library>(&self, library: &L) -> Log {
        let mut log = Log::default();
        let mut asked = clock::now();
        loop {
            let now = clock::now();
            if now >= self.end {
                break;
            }
            // A task that still waits at the end stops waiting.
            let left = Duration::from_nanos(self.end - now);
            let held = match timeout(left, library.acquire(&self.name)).await {
                Ok(Ok(held)) => held,
                Ok(Err(_)) => {
                    log.give_ups += 1;
                    yield_now().await;
                    continue;
                }
                Err(_) => {
                    log.waiting.push(clock::now() - asked);
                    break;
                }
            };
            let taken = clock::now();
            if self.held > 0 {
                sleep(Duration::from_millis(self.held)).await;
            }
            log.holds.push(Hold { task: self.number, asked, taken, given: clock::now() });
            // A lock that is lost by then appears as two holders at the same time.
            let _ = library.release(held).await;
            asked = clock::now();
        }
        log
    }
}

/// Runs a child: reports that it is ready, learns when to begin, and reports its log.
pub(crate) async fn child(who: &Who, part: &Part) -> Result<()> {
    let contender = who.contender();
    with_library!(contender.kind, L => {
        let ready = Ready::<L>::new(&who.url, contender, part).await?;
        println!("{}", serde_json::to_string(&Word::Ready)?);
        let mut start = String::new();
        BufReader::new(tokio::io::stdin()).read_line(&mut start).await?;
        let log = ready.go(start.trim().parse().context("no time to begin at")?).await?;
        println!("{}", serde_json::to_string(&Word::Done(log))?);
    });
    Ok(())
}

/// Processes that are ready to contend.
pub(crate) struct Crowd(Vec<Member>);

struct Member {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Crowd {
    /// Starts a number of processes, each with the same part except for the numbers of its tasks.
    pub(crate) async fn gather(count: usize, urls: &[String], contender: Contender, part: &Part) -> Result<Self> {
        let mut members = Vec::new();
        for number in 0..count {
            let first = number * part.instances * part.tasks;
            members.push(Member::start(urls, contender, &Part { first, ..part.clone() })?);
        }
        for member in &mut members {
            ensure!(matches!(member.hear(PATIENCE).await?, Word::Ready), "a child process ended before it began");
        }
        Ok(Self(members))
    }

    /// Lets all of them begin at the same moment, and merges their logs.
    pub(crate) async fn contend(mut self, part: &Part) -> Result<Log> {
        let start = clock::now() + 50_000_000;
        for member in &mut self.0 {
            member.stdin.write_all(format!("{start}\n").as_bytes()).await?;
        }
        let mut all = Log::default();
        for member in &mut self.0 {
            let Word::Done(log) = member.hear(Duration::from_millis(part.millis) + PATIENCE).await? else {
                anyhow::bail!("a child process was ready twice");
            };
            all.merge(log);
        }
        for member in &mut self.0 {
            timeout(PATIENCE, member.child.wait()).await.context("a child process does not end")??;
        }
        Ok(all)
    }
}

impl Member {
    fn start(urls: &[String], contender: Contender, part: &Part) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["child", "contend"]).args(Who::arguments(contender, urls)).args(part.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("starting a process")?;
        let stdin = child.stdin.take().context("no input")?;
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, stdin, stdout })
    }

    async fn hear(&mut self, patience: Duration) -> Result<Word> {
        let mut line = String::new();
        timeout(patience, self.stdout.read_line(&mut line)).await.context("a child process prints nothing")??;
        serde_json::from_str(&line).context("a child process failed")
    }
}

impl Part {
    fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--instances", self.instances.to_string()),
            ("--tasks", self.tasks.to_string()),
            ("--first", self.first.to_string()),
            ("--name", self.name.clone()),
            ("--millis", self.millis.to_string()),
            ("--held", self.held.to_string()),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}
