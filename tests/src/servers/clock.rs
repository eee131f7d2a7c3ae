//! A clock of a server that a test can set, with libfaketime, which is loaded before everything else that the server
//! loads.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// The variant for programs with threads. `cargo xtask images` puts it in this folder under `target`.
const LIBRARY: &str = "libfaketimeMT.so.1";
const BUILT: &str = "servers/libfaketime";

/// The files in a server's folder: the library, the offset that it reads, and the processes that have loaded it.
const COPY: &str = "libfaketime.so";
const OFFSET: &str = "clock";
const PROCESSES: &str = "clock-processes";

/// The time of a server's wall clock, relative to this machine's. Its monotonic clock does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerClock {
    /// The time of this machine, as at the start.
    Right,
    /// Later: keys expire early if the clock jumps there.
    Ahead(Duration),
    /// Earlier: keys expire late if the clock jumps there.
    Behind(Duration),
}

impl ServerClock {
    /// Returns by how many milliseconds it is ahead.
    pub(super) fn offset(self) -> Result<i128> {
        Ok(match self {
            Self::Right => 0,
            Self::Ahead(by) => i128::try_from(by.as_millis())?,
            Self::Behind(by) => -i128::try_from(by.as_millis())?,
        })
    }

    /// Writes the offset to the file that the server reads whenever it reads the time. The file is replaced at once,
    /// because the server may be reading it now.
    pub(super) fn write(self, folder: &Path) -> Result<()> {
        let offset = self.offset()?;
        let sign = if offset < 0 { '-' } else { '+' };
        let millis = offset.unsigned_abs();
        let new = folder.join("clock-new");
        fs::write(&new, format!("{sign}{}.{:03}\n", millis / 1000, millis % 1000))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644))?;
        fs::rename(new, folder.join(OFFSET)).context("setting the clock of a server")
    }
}

/// Puts everything that a clock needs into a server's folder, which a container has at the same path.
pub(super) fn prepare(folder: &Path) -> Result<()> {
    let copy = folder.join(COPY);
    let library = library()?;
    fs::copy(&library, &copy).with_context(|| format!("copying {}", library.display()))?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
    ServerClock::Right.write(folder)
}

/// Returns the environment variables that make a server read its time from the folder.
pub(super) fn environment(folder: &Path) -> Vec<(&'static str, String)> {
    let file = |name| folder.join(name).display().to_string();
    vec![
        // The C library comes second: if jemalloc is a separate library, it reads the time as soon as the first byte is
        // allocated, before the faked clock is ready. So the server allocates from the C library.
        ("LD_PRELOAD", format!("{} libc.so.6", file(COPY))),
        ("FAKETIME_TIMESTAMP_FILE", file(OFFSET)),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // Otherwise the timers within the server jump too, which no clock of a machine does.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Records the ID of a process of this machine that has loaded the library.
pub(super) fn note_process(folder: &Path, pid: i32) -> Result<()> {
    let file = folder.join(PROCESSES);
    let before = fs::read_to_string(&file).unwrap_or_default();
    fs::write(file, format!("{before}{pid}\n")).context("noting a server with a clock")
}

/// Removes what the library leaves in the machine's shared memory when a server is killed. In a container, it
/// disappears with the container.
pub(super) fn forget_processes(folder: &Path) {
    for pid in fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default().lines() {
        for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
            let _ = fs::remove_file(Path::new("/dev/shm").join(name));
        }
    }
}

/// Finds the library: `REDLOCK_TEST_FAKETIME`, or otherwise the one under `target`, where this program is too.
fn library() -> Result<PathBuf> {
    if let Some(wanted) = env::var_os("REDLOCK_TEST_FAKETIME").filter(|wanted| !wanted.is_empty()) {
        let wanted = PathBuf::from(wanted);
        if !wanted.is_file() {
            bail!("REDLOCK_TEST_FAKETIME is {}: there is no such file", wanted.display());
        }
        return Ok(wanted);
    }
    let program = env::current_exe()?;
    let built = program.ancestors().map(|folder| folder.join(BUILT).join(LIBRARY)).find(|file| file.is_file());
    built.context(
        "libfaketime is not there, without which no server has a clock of its own: run `cargo xtask images`, or set \
         REDLOCK_TEST_FAKETIME to a libfaketimeMT.so.1 that the server can load",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_with_its_sign_to_the_millisecond() {
        let folder = super::super::folder::Folder::create(&[]).unwrap();
        for (clock, text) in [
            (ServerClock::Right, "+0.000\n"),
            (ServerClock::Ahead(Duration::from_millis(3_600_007)), "+3600.007\n"),
            (ServerClock::Behind(Duration::from_millis(50)), "-0.050\n"),
        ] {
            clock.write(folder.path()).unwrap();
            assert_eq!(fs::read_to_string(folder.path().join(OFFSET)).unwrap(), text);
        }
    }
}
