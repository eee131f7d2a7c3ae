//! `redlock watch`: shows who holds locks, over and over.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IsTerminal as _},
    time::{Duration, SystemTime},
};

use redlock_core::{Finding, Inspection};
use tokio::{select, time};

use crate::{
    args::WatchArgs,
    exit::Exit,
    failure::Failure,
    fleet::Fleet,
    paint::Paint,
    run::Signals,
    say::{Say, print, printed},
    status::{self, count, label},
};

/// The shortest time between two inspections.
const SHORTEST: Duration = Duration::from_millis(100);

/// The number of changes that the view on a terminal shows.
const HISTORY: usize = 8;

/// Shows the locks until a signal comes, for example by Ctrl-C.
pub(crate) async fn run(args: &WatchArgs, say: &Say) -> Result<Exit, Failure> {
    if args.every < SHORTEST {
        let what = format!("--every {:?} would keep the nodes busy: use at least {SHORTEST:?}", args.every);
        return Err(Failure::new(Exit::FAILED, what));
    }
    let redlock = Fleet::open(&args.fleet, say)?.redlock()?;
    let mut view = View::new(args.every, say);
    let mut ticks = time::interval(args.every);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    // Listen all the time: a signal during an inspection must not be lost.
    let mut signals = Signals::listen().map_err(|error| Failure::of(&error))?;
    loop {
        let look = async {
            ticks.tick().await;
            status::inspect(&redlock, args.name.clone()).await
        };
        let locks = select! {
            _ = signals.next() => return Ok(Exit::SUCCESS),
            locks = look => locks?,
        };
        let text = view.next(&locks);
        if text.is_empty() {
            continue;
        }
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

/// The state of the view.
#[derive(Debug)]
struct View {
    every: Duration,
    json: bool,
    live: bool,
    paint: Paint,
    /// The last text that was shown for each lock, without times, which always change.
    last: HashMap<String, String>,
    /// The latest changes, the latest first.
    history: VecDeque<String>,
    /// The number of lines on the terminal.
    height: usize,
}

impl View {
    fn new(every: Duration, say: &Say) -> Self {
        let stdout = io::stdout();
        let live = stdout.is_terminal() && !say.is_json();
        let (last, history) = (HashMap::new(), VecDeque::new());
        Self { every, json: say.is_json(), live, paint: Paint::of(&stdout), last, history, height: 0 }
    }

    /// Returns the text to write now; empty if nothing has changed.
    fn next(&mut self, locks: &[Inspection]) -> String {
        let now = humantime::format_rfc3339_seconds(SystemTime::now());
        if !self.live {
            let changed = locks.iter().filter(|lock| is_news(&mut self.last, lock, steady(lock)));
            let line = |lock| match self.json {
                true => format!("{}\n", status::data(lock)),
                false => format!("{now} {}\n", status::text(lock, self.paint)),
            };
            return changed.map(line).collect();
        }
        for lock in locks {
            if is_news(&mut self.last, lock, holder(lock)) {
                self.history.push_front(format!("{now}  {}  {}", lock.resource().escape_debug(), holder(lock)));
            }
        }
        self.history.truncate(HISTORY);
        let mut lines = vec![self.paint.dim(&format!("{now}, every {:?}; Ctrl-C quits", self.every)), String::new()];
        match locks {
            [lock] => lines.extend(status::text(lock, self.paint).lines().map(str::to_owned)),
            locks => lines.extend(status::rows(locks)),
        }
        lines.extend([String::new(), self.paint.dim("history")]);
        lines.extend(self.history.iter().cloned());
        let up = if self.height > 0 { format!("\x1b[{}A", self.height) } else { String::new() };
        self.height = lines.len();
        // Lines are cut at the terminal's width, so that each takes one line.
        format!("{up}\x1b[J\x1b[?7l{}\n\x1b[?7h", lines.join("\n"))
    }
}

/// Returns whether the state differs from what was last shown for the lock, and remembers it.
fn is_news(last: &mut HashMap<String, String>, lock: &Inspection, now: String) -> bool {
    let is_news = last.get(lock.resource()) != Some(&now);
    last.insert(lock.resource().to_owned(), now);
    is_news
}

/// Describes the holder of the lock in a few words.
fn holder(lock: &Inspection) -> String {
    match lock.finding() {
        Finding::Held(holder) => format!("held by {}", label(holder)),
        Finding::Shared { readers, .. } => format!("shared by {}", count(*readers)),
        Finding::Free => "free".to_owned(),
        Finding::Split => "held by nobody: no quorum".to_owned(),
        Finding::Unknown => "unknown: too few nodes answer".to_owned(),
    }
}

/// Returns the text for a lock without times, which always change.
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
