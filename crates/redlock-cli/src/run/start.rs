//! Starts a command, and explains why it cannot be started.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, ErrorKind, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::io::Errno;
use tokio::process::{Child, Command as Process};

use crate::{exit::Exit, failure::Failure};

/// The shell that runs a file without a first line that names an interpreter.
const SHELL: &str = "/bin/sh";

/// Starts a command with the standard input, output and error of this process.
pub(super) fn start(words: &[OsString], environment: &[(&str, Option<String>)], leads: bool) -> Result<Child, Failure> {
    let (program, args) = words.split_first().ok_or_else(|| Failure::new(Exit::FAILED, "there is no command"))?;
    let spawn = |mut process: Process| {
        for (name, text) in environment {
            match text {
                Some(text) => process.env(name, text),
                None => process.env_remove(name),
            };
        }
        if leads {
            process.process_group(0);
        }
        process.args(args).spawn()
    };
    let started = match spawn(Process::new(program)) {
        // Like execvp(3), and so flock(1), nice(1) and env(1).
        Err(error) if is(&error, Errno::NOEXEC) => match file_of(program).filter(|file| has_text(file)) {
            Some(file) => {
                let mut shell = Process::new(SHELL);
                shell.arg(file);
                spawn(shell)
            }
            None => Err(error),
        },
        started => started,
    };
    started.map_err(|error| cannot(program, &error))
}

fn cannot(program: &OsStr, error: &io::Error) -> Failure {
    let name = program.to_string_lossy();
    let file = file_of(program);
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::new(Exit::CANNOT_EXECUTE, format!("{name}: the command cannot be executed: {why}"))
    };
    if error.kind() == ErrorKind::NotFound
        && let Some(file) = file.filter(|file| file.is_file())
    {
        // The file exists. Its interpreter does not.
        return match interpreter(&beginning(&file)) {
            Some(interpreter) => cannot(&format_args!("its interpreter {interpreter:?} was not found")),
            None => cannot(&"its program loader was not found; was it built for another system?"),
        };
    }
    match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(Exit::NOT_FOUND, format!("{name}: command not found; look at PATH, or give its path"))
        }
        _ => cannot(error),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Returns the file that the system runs. Without a path, only the folders in PATH count, not the current folder.
fn file_of(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into());
    }
    let is_executable =
        |file: &PathBuf| file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut files = env::split_paths(&path).map(|folder| folder.join(program));
    files.find(is_executable)
}

/// Returns whether a file may be a script: programs for other machines contain zeros.
fn has_text(file: &Path) -> bool {
    !beginning(file).contains(&0)
}

fn beginning(file: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(file) {
        let _ = file.take(256).read_to_end(&mut bytes);
    }
    bytes
}

/// Returns the interpreter that the first line of a script names. It includes the line break of Windows, because the
/// system reads it that way.
fn interpreter(script: &[u8]) -> Option<String> {
    let line = script.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split([' ', '\t']).find(|word| !word.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_read_as_the_system_reads_it() {
        for (script, found) in [
            ("#!/bin/sh\necho", Some("/bin/sh")),
            ("#! /usr/bin/env -S x\n", Some("/usr/bin/env")),
            ("#!/bin/sh\r\necho", Some("/bin/sh\r")),
            ("#!\n/bin/sh", None),
            ("echo", None),
            ("", None),
        ] {
            assert_eq!(interpreter(script.as_bytes()).as_deref(), found, "{script}");
        }
    }
}
