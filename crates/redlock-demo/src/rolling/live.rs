//! What is seen during the run: every node on a terminal, a line now and then elsewhere.

use std::time::Duration;

use super::{
    long_job::RESOURCE,
    nodes::{Holds, Nodes},
    rivals::Rivals,
    show::Show,
};
use crate::{console::Console, live::bar, readable};

/// Shows how it goes.
#[derive(Debug, Default)]
pub(crate) struct Live {
    lines: u32,
}

impl Live {
    const BETWEEN_LINES: Duration = Duration::from_secs(2);

    pub(crate) fn show(&mut self, console: &mut Console, show: &Show<'_>) {
        let now = show.started.elapsed();
        if console.is_live() {
            let block = block(console, show, now);
            console.block(&block);
        } else if now >= Self::BETWEEN_LINES * (self.lines + 1) {
            self.lines += 1;
            console.line(&format!("{:>5.1} s  {}", now.as_secs_f64(), counts(show)));
        }
    }
}

fn block(console: &Console, show: &Show<'_>, now: Duration) -> Vec<String> {
    let part_done = now.as_secs_f64() / show.plan.run.as_secs_f64();
    let mut block = vec![
        String::new(),
        format!("  {}  {:.1} s", bar(part_done), now.as_secs_f64()),
        format!("  {}", console.bold(&counts(show))),
        String::new(),
    ];
    let token = show.job.progress().token();
    for (node, name) in show.nodes.names().enumerate() {
        let holds = match show.nodes.holds(node, RESOURCE, token) {
            _ if show.restarts.is_down(node) => console.bad(&format!("{:<32}", "down")),
            Holds::Nothing => console.bad(&format!("{:<32}", "up, without a key")),
            Holds::Another => console.bad(&format!("{:<32}", "up, a rival's key")),
            Holds::This(time) => console.good(&format!("{:<32}", format!("up, holds the lock for {}", readable(time)))),
        };
        block.push(format!("  {name}  {holds}  restarts {}", show.restarts.of_node(node)));
    }
    block
}

fn counts(show: &Show<'_>) -> String {
    let round = (show.restarts.over().len() / Nodes::COUNT + 1).min(show.plan.rounds);
    let lock = match show.job.progress().left() {
        Duration::ZERO => "lock LOST".to_owned(),
        left => format!("lock valid for {:>4} ms more", left.as_millis()),
    };
    let got = match show.rivals.got() {
        None => "0 got it".to_owned(),
        Some(got) => format!("rival {} got it", got.rival),
    };
    format!(
        "round {round} of {}   {lock}   {} rivals refused {} times, {got}",
        show.plan.rounds,
        Rivals::COUNT,
        show.rivals.refused.get(),
    )
}
