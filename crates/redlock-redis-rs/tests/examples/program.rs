//! A running example, and what it has printed so far.

use std::{
    env::{consts::EXE_SUFFIX, current_exe},
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use crate::stage::{Stage, until};

/// A program that was started. It is killed when this is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    listening: [JoinHandle<()>; 2],
}

/// How a program has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Its output, line by line.
    pub(crate) said: Vec<String>,
}

impl Program {
    /// Starts an example on these servers.
    pub(crate) fn start(name: &str, stage: &Stage) -> Self {
        Self::start_with(name, stage, [])
    }

    /// Starts an example on these servers, with more variables in its environment.
    pub(crate) fn start_with<const N: usize>(name: &str, stage: &Stage, set: [(&str, &str); N]) -> Self {
        let mut command = command(name);
        command.env("REDLOCK_NODES", stage.nodes()).envs(set);
        Self::spawn(name, command)
    }

    /// Starts an example without any nodes in its environment.
    pub(crate) fn start_without_nodes(name: &str) -> Self {
        Self::spawn(name, command(name))
    }

    fn spawn(name: &str, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = Arc::default();
        let listening = [listen(child.stdout.take().unwrap(), &said), listen(child.stderr.take().unwrap(), &said)];
        Self { name: name.to_owned(), child, said, listening }
    }

    /// Returns the lines so far that contain this text.
    pub(crate) fn said(&self, text: &str) -> Vec<String> {
        lines_with(&self.said.lock().unwrap(), text)
    }

    /// Waits until it prints this text, and returns the line.
    pub(crate) async fn until_said(&self, text: &str) -> String {
        until(&format!("{} says {text:?}", self.name), async || !self.said(text).is_empty()).await;
        self.said(text).pop().unwrap()
    }

    pub(crate) fn send(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Waits until it ends.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = timeout(Duration::from_secs(60), self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("{} hangs: {:?}", self.name, self.said(""))).unwrap();
        for lines in self.listening {
            lines.await.unwrap();
        }
        Ended { code: status.code(), said: self.said.lock().unwrap().clone() }
    }
}

impl Ended {
    /// Returns the lines that contain this text.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        lines_with(&self.said, text)
    }
}

fn lines_with(said: &[String], text: &str) -> Vec<String> {
    said.iter().filter(|line| line.contains(text)).cloned().collect()
}

fn command(name: &str) -> Command {
    // A shell may run the tests in the background with signals ignored, which the program would inherit.
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(binary(name));
    for name in ["REDLOCK_NODES", "LISTEN", "AT_LEAST", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Returns where Cargo puts an example: next to the folder of the tests.
fn binary(name: &str) -> PathBuf {
    let build = "build it: `cargo build -p redlock-redis-rs --examples`; `cargo test` does so only if it is given \
        neither `--test` nor the name of a test";
    let profile = current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let binary = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    assert!(binary.is_file(), "{} does not exist; {build}", binary.display());
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(format!("{name}.rs"));
    let changed = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
    assert!(changed(&binary) >= changed(&source), "{} is older than its source; {build}", binary.display());
    binary
}

fn listen(output: impl AsyncRead + Send + Unpin + 'static, said: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (mut lines, said) = (BufReader::new(output).lines(), Arc::clone(said));
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().unwrap().push(line);
        }
    })
}
