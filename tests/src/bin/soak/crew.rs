//! The processes that acquire locks, as the soak controls them: it starts, pauses and kills them, and reads their
//! output.

use std::{
    env,
    process::{self, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::Mutex,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    args::Args,
    log::{Log, What, Who},
};

/// How long a process may take to release everything and end.
const PATIENCE: Duration = Duration::from_secs(20);

/// One process number. A process that was killed is followed by another one with the same number.
#[derive(Debug)]
pub(crate) struct Member {
    number: usize,
    arguments: Vec<String>,
    seed: AtomicU64,
    log: Arc<Log>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    lines: JoinHandle<Result<()>>,
}

impl Member {
    pub(crate) fn new(number: usize, args: &Args, urls: &[String], seed: u64, log: &Arc<Log>) -> Self {
        let arguments = [
            ("--number", number.to_string()),
            ("--urls", urls.join(",")),
            ("--tasks", args.tasks().to_string()),
            ("--resources", args.resources().to_string()),
            ("--longest-ttl-ms", args.longest_ttl().as_millis().to_string()),
            ("--parent", process::id().to_string()),
        ];
        let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        // Far enough apart that each task of each process gets its own seed.
        let seed = AtomicU64::new(seed.wrapping_add(number as u64 * 1_000_003));
        Self { number, arguments, seed, log: Arc::clone(log), running: Mutex::new(None) }
    }

    /// Starts the process. Must be called on a thread that lives as long as the program, because a worker ends with the
    /// thread that started it.
    pub(crate) async fn start(&self) -> Result<()> {
        let seed = self.seed.fetch_add(1_000, Ordering::Relaxed);
        let mut command = Command::new(env::current_exe()?);
        command.arg("worker").args(&self.arguments).args(["--seed", &seed.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("starting a process")?;
        let stdout = child.stdout.take().context("no output")?;
        let lines = tokio::spawn(listen(stdout, Arc::clone(&self.log)));
        *self.running.lock().await = Some(Running { child, lines });
        Ok(())
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.log.note(Who::Process(self.number), What::Paused);
        self.signal(Signal::STOP).await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT).await?;
        self.log.note(Who::Process(self.number), What::Resumed);
        Ok(())
    }

    pub(crate) async fn kill(&self) -> Result<()> {
        self.fail_if_ended().await?;
        let Some(mut running) = self.running.lock().await.take() else { return Ok(()) };
        self.log.note(Who::Process(self.number), What::Killed);
        running.child.kill().await?;
        // Wait until everything that it had written is read.
        running.lines.await?
    }

    /// Fails if the process has ended by itself, which is a failure. It has printed the reason on standard error.
    pub(crate) async fn fail_if_ended(&self) -> Result<()> {
        let mut running = self.running.lock().await;
        let Some(running) = running.as_mut() else { return Ok(()) };
        match running.child.try_wait()? {
            Some(status) => bail!("process {} has ended by itself ({status})", self.number),
            None => Ok(()),
        }
    }

    /// Lets the process release what it holds, and end.
    pub(crate) async fn finish(&self) -> Result<()> {
        let Some(mut running) = self.running.lock().await.take() else { return Ok(()) };
        drop(running.child.stdin.take());
        let Ok(status) = timeout(PATIENCE, running.child.wait()).await else {
            bail!("process {} has not ended within {PATIENCE:?}", self.number);
        };
        let status = status?;
        running.lines.await??;
        if status.success() { Ok(()) } else { bail!("process {} has ended badly ({status})", self.number) }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.running.lock().await;
        let id = running.as_ref().and_then(|running| running.child.id()).context("the process is not there")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("a process with the id 0")?;
        kill_process(pid, signal).with_context(|| format!("sending a signal to process {}", self.number))
    }
}

/// Reads the output until the process ends.
async fn listen(stdout: ChildStdout, log: Arc<Log>) -> Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        log.add(line.parse()?);
    }
    Ok(())
}
