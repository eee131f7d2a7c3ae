//! The owner of a container or folder: what a dead test run has left behind may be removed, and nothing else.

use std::{convert::Infallible, fmt, process, str::FromStr};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
    system::uname,
};

/// A test process: its host and its process ID, written `host/id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    host: String,
    pid: Option<i32>,
}

impl Owner {
    pub(super) fn this_process() -> Self {
        Self { host: uname().nodename().to_string_lossy().into_owned(), pid: i32::try_from(process::id()).ok() }
    }

    pub(super) fn of_this_host(pid: i32) -> Self {
        Self { pid: Some(pid), ..Self::this_process() }
    }

    pub(super) fn is_this_process(&self) -> bool {
        *self == Self::this_process()
    }

    /// Returns whether the process is known to have ended. Processes of other hosts are never known to have ended.
    pub(super) fn is_gone(&self) -> bool {
        let Some(pid) = self.pid.and_then(Pid::from_raw) else { return false };
        self.host == Self::this_process().host && test_kill_process(pid) == Err(Errno::SRCH)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.pid.unwrap_or_default())
    }
}

impl FromStr for Owner {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (host, pid) = text.rsplit_once('/').unwrap_or((text, ""));
        Ok(Self { host: host.to_owned(), pid: pid.parse().ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_not_gone_and_can_be_parsed_back() {
        let own = Owner::this_process();
        let Ok(read) = own.to_string().parse::<Owner>();
        assert!(read.is_this_process() && !read.is_gone());
    }

    #[test]
    fn an_ended_process_is_gone_but_only_on_this_host() {
        let mut child = process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let ended = Owner::of_this_host(i32::try_from(child.id()).unwrap());
        assert!(ended.is_gone());
        assert!(!Owner { host: "elsewhere.invalid".to_owned(), ..ended }.is_gone());
    }

    #[test]
    fn a_foreign_label_is_never_gone() {
        let Ok(foreign) = "1".parse::<Owner>();
        assert!(!foreign.is_gone());
    }
}
