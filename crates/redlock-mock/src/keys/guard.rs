//! The restart guard of a node.

use redlock_core::{
    NodeError, NodeErrorKind,
    backend::{OpenAnswer, OpenRequest, RestartGuard},
};
use tokio::time::Instant;

use super::{Keys, number};

impl Keys {
    pub(crate) fn open(&mut self, request: &OpenRequest, now: Instant) -> Result<OpenAnswer, NodeError> {
        let OpenRequest { guard, run, .. } = request;
        if self.string(guard.marker.as_str(), now)?.is_some() {
            return Ok(OpenAnswer::InUse);
        }
        let running = self.run_id();
        match run {
            None => Ok(OpenAnswer::New { run: running }),
            Some(run) if *run == running => {
                self.mark(guard, 0, now);
                Ok(OpenAnswer::Opened)
            }
            Some(_) => Err(NodeErrorKind::Guard.into()),
        }
    }

    /// Returns when the quarantine of this run began. Sets the marker if there is none of this run.
    pub(super) fn guarded_since(&mut self, guard: &RestartGuard, now: Instant) -> Result<u64, NodeError> {
        let time = self.micros(now);
        if let Some(held) = self.string(guard.marker.as_str(), now)? {
            let marker = Marker::parse(held.value).ok_or(NodeErrorKind::Guard)?;
            if marker.longest != guard.longest.sent_millis() {
                return Err(NodeErrorKind::Guard.into());
            }
            if marker.run == self.run_id() && marker.since <= time {
                return Ok(marker.since);
            }
        }
        self.mark(guard, time, now);
        Ok(time)
    }

    fn mark(&mut self, guard: &RestartGuard, since: u64, now: Instant) {
        let marker = format!("{} {} {since}", self.run_id(), guard.longest.sent_millis());
        self.set(guard.marker.as_str(), marker.as_bytes(), None, now);
    }

    /// Returns the ID of this run, in the format of `INFO`.
    fn run_id(&self) -> String {
        format!("{:040x}", self.run)
    }
}

/// The marker of the restart guard.
struct Marker<'a> {
    run: &'a str,
    longest: u64,
    /// When the quarantine began, by the node's clock.
    since: u64,
}

impl<'a> Marker<'a> {
    fn parse(marker: &'a [u8]) -> Option<Self> {
        let mut parts = str::from_utf8(marker).ok()?.split(' ');
        let run = parts.next().filter(|run| !run.is_empty() && run.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let (longest, since) = (number(parts.next()?.as_bytes())?, number(parts.next()?.as_bytes())?);
        parts.next().is_none().then_some(Self { run, longest, since })
    }
}
