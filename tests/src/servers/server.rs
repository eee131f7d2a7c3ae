//! One running server from any source.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};

use super::{
    ServerOptions, background,
    clock::{self, ServerClock},
    containers::Container,
    folder::Folder,
    options::SENTINEL_FILE,
    ports::Port,
    processes::Process,
    reply::{Address, Reply},
};

/// How long [`Server::command`] waits for an answer, and how long a start waits until the server is up.
const PATIENCE: Duration = Duration::from_secs(2);
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How close a clock must come to the time that it was set to, because an answer takes some time on a busy machine.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(500);

/// One running server. Dropping it removes the container or ends the process, and deletes its folder.
///
/// It can fail in several ways: *paused* (accepts connections, never answers, and carries the requests out once it is
/// resumed), *stopped* (refuses connections, its memory is gone) and *cut off* (cannot be reached, and does not notice
/// it).
pub struct Server {
    // Dropped in this order: what runs, then its folder, then its ports.
    pub(super) running: Running,
    pub(super) settings: Settings,
    pub(super) address: Address,
}

/// The environment that a server runs in.
#[derive(Debug)]
pub(super) enum Running {
    Container(Container),
    Process(Process),
    Given,
}

/// The resources that a server holds for as long as it exists, so that it can be started again as the same one.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: ServerOptions,
    pub(super) folder: Option<Folder>,
    pub(super) port: Option<Port>,
    pub(super) spare_port: Option<Port>,
}

impl Server {
    /// Returns the address of the server: `redis://127.0.0.1:20001`, or the given URL.
    pub fn url(&self) -> String {
        self.address.url().to_owned()
    }

    /// Returns the host part of the URL, `127.0.0.1` unless the server was given.
    pub fn host(&self) -> &str {
        &self.address.host
    }

    /// Returns the port of the URL. It survives a stop and start.
    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// Returns the second port, if the arguments in the options contain `{spare_port}`.
    pub fn spare_port(&self) -> Option<u16> {
        self.settings.spare_port.as_ref().map(Port::number)
    }

    /// Returns the unix socket, if the options have one.
    pub fn unix_socket(&self) -> Option<PathBuf> {
        let folder = self.settings.folder.as_ref().filter(|_| self.settings.options.unix_socket)?;
        Some(folder.path().join("redis.sock"))
    }

    /// Pauses the server: it keeps its connections and accepts new ones, and answers none.
    ///
    /// # Errors
    ///
    /// If the engine or the system refuses, or the server was given.
    pub async fn pause(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) => container.signal("STOP").await,
            Running::Process(process) => process.pause(),
            Running::Given => bail!(CANNOT_FAIL),
        }
    }

    /// Ends a pause: the requests that arrived meanwhile are carried out now.
    ///
    /// # Errors
    ///
    /// The same as [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) => container.signal("CONT").await,
            Running::Process(process) => process.resume(),
            Running::Given => bail!(CANNOT_FAIL),
        }
    }

    /// Ends the server at once, paused or not: its connections break, and new ones are refused.
    ///
    /// # Errors
    ///
    /// The same as [`pause`](Self::pause).
    pub async fn stop(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) => container.stop().await,
            Running::Process(process) => process.stop(),
            Running::Given => bail!(CANNOT_FAIL),
        }
    }

    /// Starts a stopped server on the same port, and waits until it answers. Its memory is empty unless the options
    /// have [`keep_memory`](ServerOptions::keep_memory). If the server is running, it only waits.
    ///
    /// # Errors
    ///
    /// The same as [`pause`](Self::pause), or if the server does not come up.
    pub async fn start(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) => container.start().await?,
            Running::Process(process) => process.start().await?,
            Running::Given => bail!(CANNOT_FAIL),
        }
        self.until_it_answers().await
    }

    /// Disconnects the server from its network: its connections end and new ones are refused, while it runs and keeps
    /// its memory.
    ///
    /// # Errors
    ///
    /// If the engine refuses, or the options do not have [`can_be_cut_off`](ServerOptions::can_be_cut_off).
    pub async fn cut_off(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) if self.settings.options.can_be_cut_off => container.cut_off().await,
            _ => bail!("only a container with `ServerOptions::can_be_cut_off` has a network to be cut off from"),
        }
    }

    /// Reconnects a server that was cut off to its network, and waits until it answers.
    ///
    /// # Errors
    ///
    /// The same as [`cut_off`](Self::cut_off), or if the server does not answer then.
    pub async fn reconnect(&self) -> Result<()> {
        match &self.running {
            Running::Container(container) if self.settings.options.can_be_cut_off => container.reconnect().await?,
            _ => bail!("only a container with `ServerOptions::can_be_cut_off` can be put back on its network"),
        }
        self.until_it_answers().await
    }

    /// Sets the server's wall clock at once, and waits until the server reports the new time. The setting survives a
    /// stop and start.
    ///
    /// # Errors
    ///
    /// If the options do not have [`fake_clock`](ServerOptions::fake_clock), or the server does not report that time
    /// within 2 seconds: it must be running and answering.
    pub async fn set_clock(&self, clock: ServerClock) -> Result<()> {
        let folder = self.settings.folder.as_ref().filter(|_| self.settings.options.fakes_clock);
        clock.write(folder.context("only a server with `ServerOptions::fake_clock` has a clock to be set")?.path())?;
        let set = Instant::now();
        loop {
            let ahead = self.clock_ahead().await?;
            if ahead.abs_diff(clock.offset()?) < CLOCK_TOLERANCE.as_millis() {
                return Ok(());
            }
            if set.elapsed() > PATIENCE {
                bail!("the server on port {} is {ahead} ms ahead, not {clock:?}: it ignores libfaketime", self.port());
            }
            background::sleep(Duration::from_millis(2)).await?;
        }
    }

    /// Returns by how many milliseconds the server's wall clock is ahead of this machine's.
    async fn clock_ahead(&self) -> Result<i128> {
        let Reply::Array(parts) = self.command(&["TIME"]).await? else { bail!("TIME returns no time") };
        let parts: Vec<i128> = parts.iter().filter_map(|part| part.text()?.parse().ok()).collect();
        let [seconds, micros] = parts.as_slice() else { bail!("TIME returns no time") };
        let here = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(seconds * 1000 + micros / 1000 - i128::try_from(here.as_millis())?)
    }

    /// Sends one command over a separate connection, without any client under test.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, answers with an error, or does not answer within 2 seconds.
    pub async fn command(&self, args: &[&str]) -> Result<Reply> {
        self.command_within(PATIENCE, args).await
    }

    /// Sends a [`command`](Self::command) with this maximum time to wait.
    ///
    /// # Errors
    ///
    /// The same as [`command`](Self::command).
    pub async fn command_within(&self, patience: Duration, args: &[&str]) -> Result<Reply> {
        let what = || format!("{} to {:?}", args.first().copied().unwrap_or("nothing"), self.address);
        let reply = self.address.send(patience, args).await.with_context(what)?;
        match reply {
            Reply::Error(text) => Err(anyhow::Error::msg(text)).with_context(what),
            reply => Ok(reply),
        }
    }

    /// Waits until the server answers anything but `LOADING`; `NOAUTH` is an answer too.
    pub(super) async fn until_it_answers(&self) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(2);
        loop {
            let address = self.address.clone();
            let answer = background::run(async move { address.send(PATIENCE, &["PING"]).await }).await;
            let up = matches!(&answer, Ok(Reply::Simple(_)))
                || matches!(&answer, Ok(Reply::Error(e)) if !e.starts_with("LOADING"));
            let state = match &self.running {
                Running::Container(container) => container.why_it_ended().await?,
                Running::Process(process) => process.why_it_ended()?,
                Running::Given => None,
            };
            if let Some(log) = state {
                bail!("the server on port {} ended by itself; the end of its log:\n{log}", self.port());
            }
            if up {
                return Ok(());
            }
            if started.elapsed() > START_PATIENCE {
                let last = answer.map_or_else(|error| format!("{error:#}"), |reply| format!("{reply:?}"));
                bail!("the server on port {} does not answer within {START_PATIENCE:?}: {last}", self.port());
            }
            background::sleep(pause).await?;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

const CANNOT_FAIL: &str =
    "servers that were given cannot be made to fail: ask `Servers::can_fail` first, or unset REDLOCK_TEST_SERVERS";

impl Settings {
    /// Reserves ports and, if the options need one or `always_folder` is set, a folder with the files.
    pub(super) fn new(options: ServerOptions, always_folder: bool) -> Result<Self> {
        let folder = if always_folder || options.needs_folder() { Some(Folder::create(&options.files)?) } else { None };
        if let Some(folder) = folder.as_ref().filter(|_| options.fakes_clock) {
            clock::prepare(folder.path())?;
        }
        let spare_port = if options.needs_spare_port() { Some(Port::free()?) } else { None };
        Ok(Self { folder, port: Some(Port::free()?), spare_port, options })
    }

    /// Returns the environment variables that every source passes on.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.as_ref().filter(|_| self.options.fakes_clock);
        folder.map(|folder| clock::environment(folder.path())).unwrap_or_default()
    }

    /// Returns the arguments that every source passes on, with the test's own last.
    pub(super) fn arguments(&self, bind: &str, working_folder: &str) -> Vec<String> {
        let port = self.port.as_ref().map_or(0, Port::number).to_string();
        let mut args: Vec<String> =
            ["--bind", bind, "--port", &port, "--protected-mode", "no", "--dir", working_folder, "--save", ""]
                .map(String::from)
                .to_vec();
        let append_only = if self.options.keeps_memory { "yes" } else { "no" };
        args.extend(["--appendonly", append_only, "--appendfsync", "always"].map(String::from));
        let folder = self.folder.as_ref().map(|folder| folder.path().display().to_string()).unwrap_or_default();
        if self.options.unix_socket {
            args.extend(["--unixsocket", &format!("{folder}/redis.sock"), "--unixsocketperm", "777"].map(String::from));
        }
        let spare = self.spare_port.as_ref().map(|port| port.number().to_string()).unwrap_or_default();
        let fill = |arg: &String| arg.replace("{folder}", &folder).replace("{spare_port}", &spare);
        args.extend(self.options.args.iter().map(fill));
        if self.options.is_sentinel {
            args.insert(0, format!("{folder}/{SENTINEL_FILE}"));
            args.push("--sentinel".to_owned());
        }
        args
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.running {
            Running::Container(_) => "container",
            Running::Process(_) => "process",
            Running::Given => "given",
        };
        f.debug_struct("Server").field("address", &self.address).field("kind", &kind).finish_non_exhaustive()
    }
}
