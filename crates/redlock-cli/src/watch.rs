//! `redlock watch`: who holds a lock, over and over.

use std::{
    io::{self, IsTerminal as _},
    time::Duration,
};

use redlock_core::Inspection;
use tokio::{select, time};

use crate::{
    args::WatchArgs,
    exit::Exit,
    failure::Failure,
    fleet::Fleet,
    paint::Paint,
    run::Signals,
    say::{Say, print, printed},
    status,
};

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

/// Shows the lock until Ctrl-C.
pub(crate) async fn run(args: &WatchArgs, say: &Say) -> Result<Exit, Failure> {
    if args.every < SHORTEST {
        let what = format!("--every {:?} would keep the nodes busy: give {SHORTEST:?} at least", args.every);
        return Err(Failure::new(Exit::FAILED, what));
    }
    let redlock = Fleet::open(&args.fleet, say)?.redlock()?;
    let mut view = View::new(say);
    let mut ticks = time::interval(args.every);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    // Listened to all the time: one that comes during a look must not be lost.
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;
    loop {
        let look = async {
            ticks.tick().await;
            redlock.inspect(&args.name).await
        };
        let inspection = select! {
            _ = signals.next() => return Ok(Exit::SUCCESS),
            inspection = look => inspection?,
        };
        let Some(text) = view.next(&inspection) else { continue };
        let shown = select! {
            biased;
            shown = print(text) => shown,
            _ = signals.next() => return Ok(Exit::SUCCESS),
        };
        if let Err(error) = shown {
            return printed(Err(error)).map(|()| Exit::SUCCESS);
        }
    }
}

/// What has been shown.
#[derive(Debug)]
struct View {
    json: bool,
    live: bool,
    paint: Paint,
    /// What was said last, without times that run.
    last: Option<String>,
    /// How many lines stand on the terminal.
    height: usize,
}

impl View {
    fn new(say: &Say) -> Self {
        let stdout = io::stdout();
        let live = stdout.is_terminal() && !say.is_json();
        Self { json: say.is_json(), live, paint: Paint::of(&stdout), last: None, height: 0 }
    }

    /// What is to be written now; nothing if nothing has changed.
    fn next(&mut self, inspection: &Inspection) -> Option<String> {
        if self.live {
            let text = status::text(inspection, self.paint);
            let up = if self.height > 0 { format!("\x1b[{}A", self.height) } else { String::new() };
            self.height = text.lines().count();
            // Lines are cut at the terminal's width, so that each is one.
            return Some(format!("{up}\x1b[J\x1b[?7l{text}\n\x1b[?7h"));
        }
        let now = steady(inspection);
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now);
        let line = if self.json { status::data(inspection).to_string() } else { status::text(inspection, self.paint) };
        Some(format!("{line}\n"))
    }
}

/// What is said of the lock, but for times, which always change.
fn steady(inspection: &Inspection) -> String {
    let mut data = status::data(inspection);
    forget_times(&mut data);
    data.to_string()
}

fn forget_times(data: &mut serde_json::Value) {
    match data {
        serde_json::Value::Object(fields) => {
            fields.remove("remaining_ms");
            fields.values_mut().for_each(forget_times);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_that_run_are_no_change() {
        let mut data = json!({ "remaining_ms": 7, "nodes": [{ "node": "a", "remaining_ms": 9 }] });
        forget_times(&mut data);
        assert_eq!(data, json!({ "nodes": [{ "node": "a" }] }));
    }
}
