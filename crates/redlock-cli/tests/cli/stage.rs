//! Real servers, and the program on them, with any number of hosts.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use redlock_tests::{
    lab::eventually,
    servers::{Reply, Server, ServerOptions, Servers},
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Servers, and a folder for the output of commands.
pub(crate) struct Stage {
    pub(crate) servers: Vec<Server>,
    folder: TempDir,
}

/// The result of a run of the program.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Stage {
    pub(crate) async fn new(nodes: usize) -> Self {
        Self::with(nodes, &ServerOptions::new()).await
    }

    pub(crate) async fn with(nodes: usize, options: &ServerOptions) -> Self {
        let servers = Servers::from_env().await.unwrap().start(nodes, options).await.unwrap();
        Self { servers, folder: TempDir::new().unwrap() }
    }

    /// Returns the URLs of all nodes.
    pub(crate) fn nodes(&self) -> String {
        self.servers.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// Returns the path of a file for commands to write.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the output of a command.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Waits until a command has written something.
    pub(crate) async fn until_written(&self, name: &str) {
        assert!(eventually(async || !self.read(name).is_empty()).await, "{name} is not written");
    }

    /// Waits until a file contains this text.
    pub(crate) async fn until_said(&self, name: &str, text: &str) {
        assert!(
            eventually(async || self.read(name).contains(text)).await,
            "{text} is not in {name}: {}",
            self.read(name)
        );
    }

    /// Creates a file for the standard error of the program.
    pub(crate) fn log(&self, name: &str) -> fs::File {
        fs::File::create(self.file(name)).unwrap()
    }

    /// Returns the program on these nodes, in the folder.
    pub(crate) fn redlock<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = bare(args);
        command.env("REDLOCK_NODES", self.nodes()).current_dir(self.folder.path());
        command
    }

    /// Returns `redlock run` with a TTL of 3 s, and a node timeout that even a busy machine meets.
    pub(crate) fn run<'a>(&self, name: &'a str, options: &[&'a str], command: &[&'a str]) -> Command {
        let run = ["run", name, "--ttl", "3s", "--node-timeout", "250ms", "--close-timeout", "2s"];
        self.redlock([&run[..], options, &["--"], command].concat())
    }

    /// Returns `redlock run --try`. It makes one round, so a node gets enough time to answer on any machine.
    pub(crate) fn attempt<'a>(&self, name: &'a str, options: &[&'a str], command: &[&'a str]) -> Command {
        let run = ["run", name, "--try", "--node-timeout", "2s", "--close-timeout", "2s"];
        self.redlock([&run[..], options, &["--"], command].concat())
    }

    /// Returns the same as `run`, with a script of the shell.
    pub(crate) fn run_script<'a>(&self, name: &'a str, options: &[&'a str], script: &'a str) -> Command {
        self.run(name, options, &["sh", "-c", script])
    }

    /// Returns the number of nodes that have the key.
    pub(crate) async fn holding(&self, key: &str) -> usize {
        let mut holding = 0;
        for server in &self.servers {
            holding += usize::from(!server.command(&["GET", key]).await.unwrap().is_nil());
        }
        holding
    }

    pub(crate) async fn until_held(&self, key: &str) {
        assert!(eventually(async || self.holding(key).await == self.servers.len()).await, "{key} is not held");
    }

    /// Pauses all servers right after an extend. Returns when the first key expires, since 1970.
    pub(crate) async fn cut_off(&self, key: &str, ttl: Duration) -> Duration {
        for _ in 0..20 {
            let expiry = self.extended(key, ttl).await;
            for server in &self.servers {
                server.pause().await.unwrap();
            }
            // The next extend is due a third of the TTL after the last one: it must not have arrived meanwhile.
            if now() + ttl * 2 / 3 < expiry {
                return expiry;
            }
            self.reconnect().await;
        }
        panic!("the servers are not paused in time");
    }

    /// Waits until the lock has just been extended, so that no extend is near. Returns when the first key expires,
    /// since 1970.
    pub(crate) async fn extended(&self, key: &str, ttl: Duration) -> Duration {
        let fresh = i64::try_from((ttl * 5 / 6).as_millis()).unwrap();
        for _ in 0..1000 {
            let mut expiries = Vec::new();
            for server in &self.servers {
                let asked = now();
                if let Reply::Integer(left @ 1..) = server.command(&["PTTL", key]).await.unwrap()
                    && left > fresh
                {
                    expiries.push(asked + Duration::from_millis(left.try_into().unwrap()));
                }
            }
            if expiries.len() == self.servers.len() {
                return expiries.into_iter().min().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{key} is not extended");
    }

    pub(crate) async fn reconnect(&self) {
        for server in &self.servers {
            server.resume().await.unwrap();
        }
    }
}

/// Returns the program of these tests: the one that cargo has built with them, or the one that a package has installed.
pub(crate) fn program() -> String {
    std::env::var("REDLOCK_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_redlock").to_owned())
}

/// Returns the program without anything inherited: no signal is ignored, and the environment contains only what
/// commands need.
pub(crate) fn bare<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", &program()]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/");
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn outcome(mut command: Command) -> Outcome {
    finished(command.spawn().unwrap()).await
}

/// Waits for the end of the program, and fails if it hangs.
pub(crate) async fn finished(child: Child) -> Outcome {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("redlock hangs")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("a signal has ended redlock itself: {output:?}"));
    Outcome { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Sends a signal to a program that runs.
pub(crate) fn send(child: &Child, signal: &str) {
    send_to(child.id().unwrap(), signal);
}

pub(crate) fn send_to(pid: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Returns the state of a process, for example `R`, `S` or `T`. `None` once it is gone or dead.
pub(crate) fn state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
    stat.rsplit_once(") ")?.1.chars().next().filter(|state| *state != 'Z' && *state != 'X')
}

/// Waits until a program handles this signal, whose number is given.
pub(crate) async fn until_handled(pid: u32, signal: u32) {
    let handles = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        caught.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
    };
    assert!(eventually(async || handles()).await, "signal {signal} is not handled");
}

/// Returns the children of a process.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// Returns the process ID of the second process of a redlock.
pub(crate) fn backstop_of(redlock: u32) -> Option<String> {
    let is_it = |process: &std::path::Path| {
        let read = |file| fs::read_to_string(process.join(file)).unwrap_or_default();
        let parent = format!("PPid:\t{redlock}\n");
        read("cmdline").ends_with("\0backstop\0") && read("status").contains(&parent)
    };
    let process = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).find(|path| is_it(path))?;
    Some(process.file_name()?.to_string_lossy().into_owned())
}

/// Returns the time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Returns a loop of the shell that writes the time into a file, in nanoseconds since 1970, again and again.
pub(crate) fn beating(file: &str) -> String {
    format!("while :; do date +%s%N > {file}.new && mv {file}.new {file}; sleep 0.02; done")
}

/// Returns the last beat in a file.
pub(crate) fn beat(text: &str) -> Duration {
    Duration::from_nanos(text.trim().parse().unwrap_or_else(|_| panic!("no beat: {text:?}")))
}
