//! The output before and after the run.

use std::time::Duration;

use super::{
    long_job::Progress,
    restarts::{Plan, Restart},
    rivals::{Got, Rivals},
};
use crate::demo::{args::Args, console::Console, readable::readable, report::many};

/// Prints the plan of the run.
pub(crate) fn introduce(console: &mut Console, args: &Args, plan: &Plan) {
    let (time, nodes) = (seconds(plan.run), many(plan.nodes, "node"));
    let (ttl, period) = (readable(plan.ttl), readable(plan.period));
    let (what, how) = if args.without_extend {
        (format!("One job has {time} of work to do under one lock that is NOT extended."), String::new())
    } else {
        (
            format!("One job works under one lock for {time}, while {nodes} are restarted empty, one after the other."),
            format!(" It is extended automatically, every {period}."),
        )
    };
    console.line(&console.bold(&what));
    console.line(&format!("The lock's ttl is {ttl}.{how} {} ask for it now and then.", many(Rivals::COUNT, "rival")));
    let healed = if args.without_extend { "" } else { " and holds the lock again" };
    console.line(&format!("A node is restarted once the one before it has been back for {period}{healed}."));
    console.line("");
}

fn seconds(time: Duration) -> String {
    many(time.as_secs() as usize, "second")
}

/// The results at the end.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) extended: bool,
    pub(crate) interrupted: bool,
    pub(crate) plan: Plan,
    /// The restarts that are over.
    pub(crate) restarts: Vec<Restart>,
    /// Whether a restart had begun and was not over.
    pub(crate) unfinished: bool,
    pub(crate) progress: Progress,
    /// How the job lost its lock, if it did.
    pub(crate) lost: Option<String>,
    pub(crate) refused: u64,
    pub(crate) undecided: u64,
    pub(crate) got: Option<Got>,
    /// Whether a rival got the lock after the job had released it, if the job did so.
    pub(crate) free_afterwards: Option<bool>,
}

impl Report {
    /// Prints it, and returns whether everything is right.
    pub(crate) fn print(&self, console: &mut Console) -> bool {
        console.line("");
        if self.interrupted {
            console.line(&console.bold(&format!("Interrupted after {}.", readable(self.progress.held_for()))));
        }
        self.print_counts(console);
        console.line("");
        let wrong = self.wrong();
        for wrong in &wrong {
            console.line(&console.bad(&format!("wrong: {wrong}")));
        }
        match (wrong.is_empty() && !self.interrupted, self.extended) {
            (false, _) => {}
            (true, true) => self.conclude_with_extends(console),
            (true, false) => self.conclude_without_extends(console),
        }
        wrong.is_empty()
    }

    fn print_counts(&self, console: &mut Console) {
        let Progress { steps, extends, least_left, .. } = self.progress;
        let mut row = |what: &str, number: String, more: String| {
            console.line(format!("  {what:<19}{number:>8}   {more}").trim_end());
        };
        let held = readable(self.progress.held_for());
        row("lock held", held, format!("of {}, for {steps} steps of work", seconds(self.plan.run)));
        if let (true, Some(least)) = (self.extended, least_left) {
            row("extends", extends.to_string(), format!("never less than {} of validity left", readable(least)));
        }
        let slowest = self.restarts.iter().filter_map(Restart::healed_within).max();
        let healed = slowest.map(|time| format!(", an extend gave each the lock again within {}", readable(time)));
        let nodes = many(self.plan.nodes, "node");
        row("restarts", self.restarts.len().to_string(), format!("of {nodes}{}", healed.unwrap_or_default()));
        let undecided = match self.undecided {
            0 => String::new(),
            times => format!("; for {times} more, too few nodes answered"),
        };
        row("rivals refused", self.refused.to_string(), format!("times{undecided}"));
        let who = match (self.got, self.free_afterwards) {
            (Some(Got { rival, at, .. }), _) => format!("rival {rival}, after {}", readable(at)),
            (None, Some(true)) => "except for one that tried after the job was done, and got it".to_owned(),
            (None, _) => String::new(),
        };
        row("rivals that got it", u8::from(self.got.is_some()).to_string(), who);
        row("losses", u8::from(self.lost.is_some()).to_string(), String::new());
    }

    /// Returns everything that went wrong.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(Got { rival, at, job_had_left }) = self.got
            && (self.extended || !job_had_left.is_zero())
        {
            let (at, left) = (readable(at), readable(job_had_left));
            wrong.push(format!("rival {rival} got the lock after {at}; the job's was valid for {left} more"));
        }
        match self.extended {
            true => self.wrong_with_extends(&mut wrong),
            false => self.wrong_without_extends(&mut wrong),
        }
        wrong
    }

    fn wrong_with_extends(&self, wrong: &mut Vec<String>) {
        if let Some(lost) = &self.lost {
            wrong.push(lost.clone());
        }
        if self.free_afterwards == Some(false) {
            wrong.push("no rival got the lock after the job had released it".to_owned());
        }
        if self.interrupted || !wrong.is_empty() {
            return;
        }
        if self.unfinished {
            wrong.push("the node that was restarted last does not hold the lock again".to_owned());
        } else if self.restarts.len() < self.plan.nodes {
            wrong.push(format!("only {} of {} nodes were restarted", self.restarts.len(), self.plan.nodes));
        }
        if self.refused == 0 {
            wrong.push("no rival was refused: nobody put the lock to the test".to_owned());
        }
    }

    /// This demo is supposed to show a failure: it is wrong if nothing failed.
    fn wrong_without_extends(&self, wrong: &mut Vec<String>) {
        if !self.interrupted && (self.lost.is_none() || self.got.is_none()) {
            wrong.push("no rival took the lock, though nobody extended it: try more --seconds".to_owned());
        }
    }

    fn conclude_with_extends(&self, console: &mut Console) {
        let (restarts, nodes, refused) = (self.restarts.len(), self.plan.nodes, self.refused);
        console.line(&console.good(&format!(
            "OK: the lock was held the whole time, over {restarts} restarts of {nodes} nodes; rivals were refused {refused} times, and 0 got it."
        )));
        console
            .line("This holds while nodes forget one at a time, an auto-extend period apart. Should a majority forget");
        console.line(
            "within one period, a rival can get the lock; the remedy is nodes that remember (appendfsync always).",
        );
    }

    fn conclude_without_extends(&self, console: &mut Console) {
        let (held, needed) = (readable(self.progress.held_for()), seconds(self.plan.run));
        let taker = self.got.map(|got| format!("rival {}", got.rival)).unwrap_or_default();
        console.line(
            &console.bad(&format!("The job had its lock for {held} of {needed}; then it ended, and {taker} took it.")),
        );
        console.line("This is what happens without extends. Now with them: redlock demo --rolling-restart");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns a run in which everything was right.
    fn good() -> Report {
        let plan = Plan::of(5, 8 * SECOND);
        let restart = Restart { node: 0, stopped: SECOND, back: Some(2 * SECOND), healed: Some(3 * SECOND) };
        Report {
            extended: true,
            interrupted: false,
            plan,
            restarts: vec![restart; 10],
            unfinished: false,
            progress: Progress::default(),
            lost: None,
            refused: 26,
            undecided: 0,
            got: None,
            free_afterwards: Some(true),
        }
    }

    fn got(job_had_left: Duration) -> Option<Got> {
        Some(Got { rival: 2, at: SECOND, job_had_left })
    }

    #[test]
    fn all_is_well_only_if_every_node_was_restarted_and_the_lock_held() {
        assert_eq!(good().wrong(), Vec::<String>::new());
        let bad = [
            Report { lost: Some("the lock is lost".to_owned()), free_afterwards: None, ..good() },
            Report { got: got(SECOND), ..good() },
            Report { restarts: good().restarts[6..].to_vec(), ..good() },
            Report { unfinished: true, ..good() },
            Report { refused: 0, ..good() },
            Report { free_afterwards: Some(false), ..good() },
        ];
        for bad in bad {
            assert_eq!(bad.wrong().len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn an_interrupted_run_need_not_be_complete() {
        let interrupted = Report { interrupted: true, restarts: Vec::new(), refused: 0, ..good() };
        assert_eq!(interrupted.wrong(), Vec::<String>::new());
        assert_eq!(Report { got: got(SECOND), ..interrupted }.wrong().len(), 1);
    }

    #[test]
    fn without_extends_the_lock_must_end_and_a_rival_take_it() {
        let taken = Report {
            extended: false,
            lost: Some("the lock is lost".to_owned()),
            got: got(Duration::ZERO),
            free_afterwards: None,
            ..good()
        };
        assert_eq!(taken.wrong(), Vec::<String>::new());
        assert_eq!(Report { got: None, ..taken.clone() }.wrong().len(), 1);
        assert_eq!(Report { got: got(SECOND), ..taken.clone() }.wrong().len(), 1, "two holders at once");
        assert_eq!(Report { lost: None, ..taken }.wrong().len(), 1);
    }
}
