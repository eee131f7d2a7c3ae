//! Servers as local processes, for machines without a container engine.

use std::{
    collections::BTreeSet,
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    ServerOptions, background, clock,
    folder::Folder,
    reply::Address,
    server::{Running, Server, Settings},
};

/// The running processes, which an interrupt ends.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The binary of a server.
#[derive(Debug)]
pub(super) struct Processes {
    guard: Vec<String>,
    command: Vec<String>,
}

const IF_PARENT_LIVES: &str = r#"[ "$PPID" = "$1" ] || exit 1; shift; exec "$@""#;

impl Processes {
    /// Finds the binary, and removes the folders that dead test runs have left behind.
    pub(super) fn open() -> Result<Self> {
        Folder::sweep();
        let wanted = env::var("REDLOCK_TEST_SERVER_BINARY").ok().filter(|wanted| !wanted.is_empty());
        let command = match wanted {
            // A path that contains spaces is one path; anything else is a command line.
            Some(wanted) if Path::new(&wanted).is_file() => vec![wanted],
            Some(wanted) => wanted.split_whitespace().map(str::to_owned).collect(),
            None => {
                let found = on_path("redis-server").or_else(|| on_path("valkey-server")).context(
                    "neither redis-server nor valkey-server is on PATH: install one, or set REDLOCK_TEST_SERVER_BINARY \
                     (`cargo xtask images` makes one under target/servers where it can)",
                )?;
                vec![found.display().to_string()]
            }
        };
        let (program, args) = command.split_first().context("REDLOCK_TEST_SERVER_BINARY is empty")?;
        let output = Command::new(program).args(args).arg("--version").output();
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => bail!("{program} --version fails: {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => bail!("{program} cannot be run: {error}"),
        }
        // A server must not outlive its test, even if the test is killed. The shell checks whether the test died before
        // the signal was requested, and then becomes the server.
        let mut guard = Vec::new();
        if let Some(setpriv) = on_path("setpriv") {
            let setpriv = setpriv.display().to_string();
            let words = ["--pdeathsig", "KILL", "--", "/bin/sh", "-c", IF_PARENT_LIVES, "sh"].map(str::to_owned);
            guard.push(setpriv);
            guard.extend(words);
            guard.push(std::process::id().to_string());
        }
        Ok(Self { guard, command })
    }

    pub(super) fn describe(&self) -> String {
        format!("processes of {}", self.command.join(" "))
    }

    pub(super) async fn start(&self, options: ServerOptions) -> Result<Server> {
        ensure!(!options.can_be_cut_off, "a process has no network of its own to be cut off from");
        let settings = Settings::new(options, true)?;
        let folder = settings.folder.as_ref().context("no folder")?.path().to_owned();
        let mut command = [self.guard.as_slice(), &self.command].concat();
        command.extend(settings.arguments("127.0.0.1", &folder.display().to_string()));
        let address = Address::local(settings.port.as_ref().context("no port")?.number());
        let environment = settings.environment();
        let process = Process { command, environment, folder, child: Mutex::new(None) };
        let server = Server { running: Running::Process(process), settings, address };
        server.start().await?;
        Ok(server)
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A server's process, running or ended.
#[derive(Debug)]
pub(super) struct Process {
    command: Vec<String>,
    environment: Vec<(&'static str, String)>,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    pub(super) fn stop(&self) -> Result<()> {
        let Some(mut child) = self.child().take() else { return Ok(()) };
        running().remove(&pid(&child)?.as_raw_nonzero().get());
        child.kill().context("killing the server")?;
        child.wait().context("waiting for the server's end")?;
        Ok(())
    }

    /// Spawns from the background thread, which lives as long as the program, because the parent-death signal is sent
    /// when the *thread* that spawned the process ends.
    pub(super) async fn start(&self) -> Result<()> {
        if self.child().is_some() {
            return Ok(());
        }
        let log = File::create(self.log()).context("opening the server's log")?;
        let (command, environment, folder) = (self.command.clone(), self.environment.clone(), self.folder.clone());
        let child = background::run(async move {
            let (program, args) = command.split_first().context("no command")?;
            let mut command = Command::new(program);
            command
                .args(args)
                .envs(environment.iter().cloned())
                .stdin(Stdio::null())
                .stderr(log.try_clone()?)
                .stdout(log);
            let child = command.spawn().with_context(|| format!("running {program}"))?;
            let pid = pid(&child)?.as_raw_nonzero().get();
            running().insert(pid);
            if !environment.is_empty() {
                clock::note_process(&folder, pid)?;
            }
            Ok(child)
        })
        .await?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Returns the end of the log if the server does not run.
    pub(super) fn why_it_ended(&self) -> Result<Option<String>> {
        let mut child = self.child();
        let status = match child.as_mut() {
            None => bail!("the server is stopped"),
            Some(running) => running.try_wait()?,
        };
        let Some(status) = status else { return Ok(None) };
        if let Some(ended) = child.take() {
            running().remove(&pid(&ended)?.as_raw_nonzero().get());
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let mut lines: Vec<_> = log.lines().rev().take(15).collect();
        lines.reverse();
        Ok(Some(format!("{}\n({status})", lines.join("\n"))))
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child();
        let child = child.as_ref().context("the server is stopped")?;
        kill_process(pid(child)?, signal).context("sending a signal to the server")
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn pid(child: &Child) -> Result<Pid> {
    Pid::from_raw(i32::try_from(child.id())?).context("a process with the id 0")
}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all servers of this process.
pub(super) fn kill_own() {
    for pid in running().iter().filter_map(|&pid| Pid::from_raw(pid)) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
