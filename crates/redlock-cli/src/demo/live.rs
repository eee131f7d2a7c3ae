//! The output while the workers work: a picture on a terminal, a line now and then elsewhere.

use std::time::Duration;

use crate::demo::{
    args::Args, console::Console, faults::Condition, node_table::node_table, nodes::Fleet, workers::Job,
};

/// Shows the progress.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    args: &'a Args,
    fleet: &'a Fleet,
    job: &'a Job,
    next_line: Duration,
}

impl<'a> Live<'a> {
    const BETWEEN_LINES: Duration = Duration::from_secs(2);

    pub(crate) fn new(args: &'a Args, fleet: &'a Fleet, job: &'a Job) -> Self {
        Self { args, fleet, job, next_line: Self::BETWEEN_LINES }
    }

    pub(crate) fn show(&mut self, console: &mut Console, now: Duration) {
        if console.is_live() {
            let block = self.block(console, now);
            console.block(&block);
        } else if now >= self.next_line {
            self.next_line += Self::BETWEEN_LINES;
            console.line(&format!("{:>5.1} s  {}", now.as_secs_f64(), self.counts()));
        }
    }

    fn block(&self, console: &Console, now: Duration) -> Vec<String> {
        let mut block = vec![
            String::new(),
            format!("  {}  {:.1} s", bar(self.part_done(now)), now.as_secs_f64()),
            format!("  {}", console.bold(&self.counts())),
        ];
        if !self.fleet.links.is_empty() {
            block.push(String::new());
            block.extend(node_table(console, self.fleet, |node| match self.condition(node) {
                Condition::Up => console.good("up"),
                Condition::Stopped => console.bad("stopped"),
                Condition::Hung => console.bad("hung"),
            }));
        }
        block
    }

    fn condition(&self, node: usize) -> Condition {
        self.fleet.links.get(node).map(|link| link.condition()).unwrap_or_default()
    }

    /// The run ends with its time or with its last section, whichever comes first.
    fn part_done(&self, now: Duration) -> f64 {
        let of_time = now.as_secs_f64() / self.args.run_for().as_secs_f64();
        let of_sections = self.args.sections().map(|sections| self.job.tally.sections() as f64 / sections as f64);
        of_time.max(of_sections.unwrap_or(0.0))
    }

    fn counts(&self) -> String {
        let in_file = std::fs::read_to_string(self.job.counter.file()).unwrap_or_default();
        let holder = match self.job.tally.holders().as_slice() {
            [] => "nobody inside".to_owned(),
            [worker] => format!("worker {} of host {} inside", worker + 1, worker % Fleet::HOSTS + 1),
            workers => format!("{} workers inside at once", workers.len()),
        };
        format!("counter in the file {in_file:>5}   critical sections {:>5}   {holder}", self.job.tally.sections())
    }
}

/// Draws a bar that is filled to this part.
pub(crate) fn bar(part: f64) -> String {
    const WIDTH: usize = 60;
    let full = ((part.clamp(0.0, 1.0) * WIDTH as f64) as usize).min(WIDTH);
    format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_keeps_its_width() {
        for part in [-1.0, 0.0, 0.5, 1.0, 7.0] {
            assert_eq!(bar(part).chars().count(), 60);
        }
        assert!(!bar(0.99).ends_with('█') && bar(1.0).ends_with('█'));
    }
}
