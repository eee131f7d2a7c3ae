//! What is reported: results on standard output, all else on standard error, as text or as JSON.

use std::{
    io::{self, ErrorKind, Write as _},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tracing_subscriber::EnvFilter;

use crate::{exit::Exit, failure::Failure, paint::Paint, stderr::Stderr};

/// For how long the end of the process waits for a reader of standard error that is stalled.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is reported, and how.
#[derive(Debug, Clone)]
pub(crate) struct Say {
    json: bool,
    verbose: u8,
    stderr: Stderr,
}

impl Say {
    pub(crate) fn new(json: bool, verbose: u8) -> Self {
        Self { json, verbose, stderr: Stderr::default() }
    }

    /// Lets the library log what it does, if that is wanted. The Redis clients' own logs are left out.
    pub(crate) fn log(&self) {
        if self.verbose > 1 {
            let (filter, stderr) = (EnvFilter::new("off,redlock_core=debug"), self.stderr.clone());
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
            // There is one subscriber for a process, and this is the first.
            let _ = subscriber.with_writer(move || stderr.clone()).try_init();
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// A result: as text, or as data.
    pub(crate) async fn result(
        &self,
        text: impl FnOnce() -> String,
        data: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        printed(self.try_result(text, data).await)
    }

    /// A result that is of use only if it is read.
    pub(crate) async fn try_result(
        &self,
        text: impl FnOnce() -> String,
        data: impl FnOnce() -> Value,
    ) -> io::Result<()> {
        let line = if self.json { data().to_string() } else { text() };
        print(format!("{line}\n")).await
    }

    /// What happened, for those who want to know each step.
    pub(crate) fn event(&self, name: &str, text: &str, data: Value) {
        if self.json || self.is_verbose() {
            self.notable(name, text, data);
        }
    }

    /// What everybody should know.
    pub(crate) fn notable(&self, name: &str, text: &str, data: Value) {
        if self.json {
            self.line(&with_event(name, data).to_string());
        } else {
            self.line(&format!("redlock: {text}"));
        }
    }

    pub(crate) fn warning(&self, text: &str) {
        if self.json {
            self.line(&json!({ "event": "warning", "text": text }).to_string());
        } else {
            self.line(&format!("redlock: {}: {text}", Paint::of(&io::stderr()).bad("warning")));
        }
    }

    /// Reports a failure. Returns its exit code.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        let Failure { exit, what, quiet } = failure;
        if self.json {
            self.line(&json!({ "event": "failed", "exit_code": exit.0, "error": what }).to_string());
        } else if !quiet {
            self.line(&format!("redlock: {what}"));
        }
        *exit
    }

    /// Waits until all is written, for a while.
    pub(crate) fn flush(&self) {
        self.stderr.flush(LAST_LINES);
    }

    fn line(&self, line: &str) {
        self.stderr.send(format!("{line}\n").into_bytes());
    }
}

/// Writes to standard output, on another thread: signals are still handled if the reader is stalled.
pub(crate) async fn print(text: impl Into<Vec<u8>>) -> io::Result<()> {
    let text = text.into();
    let write = move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush())
    };
    spawn_blocking(write).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A reader that has gone is no failure: it has read enough. A full disk is one.
pub(crate) fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::FAILED, format!("the output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

fn with_event(name: &str, mut data: Value) -> Value {
    if let Value::Object(fields) = &mut data {
        fields.insert("event".to_owned(), name.into());
    }
    data
}
