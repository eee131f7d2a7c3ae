//! The progress of a run, on standard error.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

/// A line that is updated on a terminal; elsewhere a new one every 15 seconds.
pub(crate) struct Progress {
    start: Instant,
    /// The planned seconds of the finished work, and of all work.
    done: f64,
    planned: f64,
    told: Option<Instant>,
    lives: bool,
}

impl Progress {
    pub(crate) fn new(planned: Duration) -> Self {
        let planned = planned.as_secs_f64().max(1.0);
        Self { start: Instant::now(), done: 0.0, planned, told: None, lives: stderr().is_terminal() }
    }

    /// Shows what is being done now.
    pub(crate) fn now(&mut self, what: &str) {
        let often = if self.lives { Duration::from_millis(200) } else { Duration::from_secs(15) };
        if self.told.is_some_and(|told| told.elapsed() < often) {
            return;
        }
        self.told = Some(Instant::now());
        let line = format!("{:>3.0} %  {what}  {}", 100.0 * self.share(), left(self.left()));
        let mut out = stderr().lock();
        let _ = if self.lives { write!(out, "\r\x1b[K{line}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// Counts this part of the plan as finished.
    pub(crate) fn done(&mut self, planned: Duration) {
        self.done += planned.as_secs_f64();
    }

    /// Removes the line.
    pub(crate) fn end(&self) {
        if self.lives {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    fn share(&self) -> f64 {
        (self.done / self.planned).min(1.0)
    }

    /// Estimates the remaining time: by the plan at first, and later by the time taken so far.
    fn left(&self) -> Duration {
        let taken = self.start.elapsed().as_secs_f64();
        let pace = (taken + 5.0) / (self.done + 5.0);
        Duration::from_secs_f64((self.planned - self.done).max(0.0) * pace)
    }
}

fn left(left: Duration) -> String {
    match left.as_secs() {
        0..=90 => format!("about {} s left", left.as_secs().div_ceil(5) * 5),
        seconds => format!("about {} min left", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_time_is_shown_in_words() {
        assert_eq!(left(Duration::from_secs(7)), "about 10 s left");
        assert_eq!(left(Duration::from_secs(150)), "about 3 min left");
    }
}
