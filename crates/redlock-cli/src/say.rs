//! Output: results on standard output, everything else on standard error, as text or as JSON.

use std::{
    io::{self, ErrorKind, Write as _},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tracing_subscriber::EnvFilter;

use crate::{exit::Exit, failure::Failure, paint::Paint, stderr::Stderr};

/// How long the end of the process waits for a reader of standard error that is stalled.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The level and format of the output.
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

    /// Enables the library's log, if requested. The Redis clients' own logs are left out.
    pub(crate) fn log(&self) {
        if self.verbose > 1 {
            let (filter, stderr) = (EnvFilter::new("off,redlock_core=debug"), self.stderr.clone());
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
            // There is only one subscriber for a process, and this is the first.
            let _ = subscriber.with_writer(move || stderr.clone()).try_init();
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Prints a result: as text, or as data.
    pub(crate) async fn result(
        &self,
        text: impl FnOnce() -> String,
        data: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        printed(self.try_result(text, data).await)
    }

    /// Prints a result that is useless unless it is read.
    pub(crate) async fn try_result(
        &self,
        text: impl FnOnce() -> String,
        data: impl FnOnce() -> Value,
    ) -> io::Result<()> {
        let line = if self.json { data().to_string() } else { text() };
        print(format!("{line}\n")).await
    }

    /// Reports an event for users that want to see each step.
    pub(crate) fn event(&self, name: &str, text: &str, data: Value) {
        if self.json || self.is_verbose() {
            self.notable(name, text, data);
        }
    }

    /// Reports an event that every user should know about.
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

    /// Waits until everything is written, for a limited time.
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

/// A reader that is gone is not a failure: it has read enough. A full disk is one.
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
