//! What is told: results on standard output, all else on standard error, as text or as JSON.

use std::io::{self, ErrorKind, Write as _};

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::{exit::Exit, failure::Failure, paint::Paint};

/// What is told, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Say {
    json: bool,
    verbose: u8,
}

impl Say {
    pub(crate) fn new(json: bool, verbose: u8) -> Self {
        Self { json, verbose }
    }

    /// Lets the library tell what it does, if that is wanted. The Redis clients' own logs are left out.
    pub(crate) fn log(self) {
        if self.verbose > 1 {
            let filter = EnvFilter::new("off,redlock_core=debug");
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
            // There is one subscriber for a process, and this is the first.
            let _ = subscriber.try_init();
        }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A result: as text, or as data.
    pub(crate) fn result(self, text: impl FnOnce() -> String, data: impl FnOnce() -> Value) -> Result<(), Failure> {
        printed(self.try_result(text, data))
    }

    /// A result that is of use only if it is read.
    pub(crate) fn try_result(self, text: impl FnOnce() -> String, data: impl FnOnce() -> Value) -> io::Result<()> {
        let line = if self.json { data().to_string() } else { text() };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush())
    }

    /// What happened, for those who want to know each step.
    pub(crate) fn event(self, name: &str, text: &str, data: Value) {
        if self.json {
            self.line(&with_event(name, data).to_string());
        } else if self.verbose > 0 {
            self.line(&format!("redlock: {text}"));
        }
    }

    /// What should be known, whoever listens.
    pub(crate) fn notable(self, name: &str, text: &str, data: Value) {
        if self.json {
            self.line(&with_event(name, data).to_string());
        } else {
            self.line(&format!("redlock: {text}"));
        }
    }

    pub(crate) fn warning(self, text: &str) {
        if self.json {
            self.line(&json!({ "event": "warning", "text": text }).to_string());
        } else {
            self.line(&format!("redlock: {}: {text}", Paint::of(&io::stderr()).bad("warning")));
        }
    }

    /// Tells a failure, and gives its exit code.
    pub(crate) fn failure(self, failure: &Failure) -> Exit {
        let Failure { exit, what, quiet } = failure;
        if self.json {
            self.line(&json!({ "event": "failed", "exit_code": exit.0, "error": what }).to_string());
        } else if !quiet {
            self.line(&format!("redlock: {what}"));
        }
        *exit
    }

    fn line(self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// That nobody reads on is no failure: whoever does not has had enough. That there is no room for it is one.
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
