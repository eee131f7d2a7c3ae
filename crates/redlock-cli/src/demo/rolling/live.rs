//! The output during the run: every node on a terminal, a line now and then elsewhere.

use std::time::Duration;

use super::{
    long_job::{LongJob, RESOURCE},
    nodes::{Holds, Nodes},
    restarts::{Plan, Restarts},
    rivals::Rivals,
};
use crate::demo::{console::Console, live::bar, readable::readable};

/// Shows the progress.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    nodes: &'a Nodes,
    plan: Plan,
    job: &'a LongJob,
    rivals: &'a Rivals,
    lines: u32,
}

impl<'a> Live<'a> {
    const BETWEEN_LINES: Duration = Duration::from_secs(2);

    pub(crate) fn new(nodes: &'a Nodes, plan: Plan, job: &'a LongJob, rivals: &'a Rivals) -> Self {
        Self { nodes, plan, job, rivals, lines: 0 }
    }

    pub(crate) fn show(&mut self, console: &mut Console, now: Duration, restarts: &Restarts) {
        if console.is_live() {
            let block = self.block(console, now, restarts);
            console.block(&block);
        } else if now >= Self::BETWEEN_LINES * (self.lines + 1) {
            self.lines += 1;
            console.line(&format!("{:>5.1} s  {}", now.as_secs_f64(), self.counts(restarts)));
        }
    }

    fn block(&self, console: &Console, now: Duration, restarts: &Restarts) -> Vec<String> {
        let part_done = now.as_secs_f64() / self.plan.run.as_secs_f64();
        let mut block = vec![
            String::new(),
            format!("  {}  {:.1} s", bar(part_done), now.as_secs_f64()),
            format!("  {}", console.bold(&self.counts(restarts))),
            String::new(),
        ];
        let token = self.job.progress().token();
        for (node, name) in self.nodes.names().enumerate() {
            let holds = match self.nodes.holds(node, RESOURCE, token) {
                _ if restarts.is_down(node) => console.bad(&format!("{:<32}", "down")),
                Holds::Nothing => console.bad(&format!("{:<32}", "up, without a key")),
                Holds::Another => console.bad(&format!("{:<32}", "up, a rival's key")),
                Holds::This(time) => {
                    console.good(&format!("{:<32}", format!("up, holds the lock for {}", readable(time))))
                }
            };
            block.push(format!("  {name}  {holds}  restarts {}", restarts.of_node(node)));
        }
        block
    }

    fn counts(&self, restarts: &Restarts) -> String {
        let round = (restarts.over().len() / Nodes::COUNT + 1).min(self.plan.rounds);
        let lock = match self.job.progress().left() {
            Duration::ZERO => "lock LOST".to_owned(),
            left => format!("lock valid for {:>4} ms more", left.as_millis()),
        };
        let got = match self.rivals.got() {
            None => "0 got it".to_owned(),
            Some(got) => format!("rival {} got it", got.rival),
        };
        format!(
            "round {round} of {}   {lock}   {} rivals refused {} times, {got}",
            self.plan.rounds,
            Rivals::COUNT,
            self.rivals.refused.get(),
        )
    }
}
