//! One step of a lease: the rules and the time that go in, and the commands that come out.

use std::time::Duration;

use crate::engine::{
    command::{Command, Outcome},
    event::{Question, Timer},
    rules::Rules,
};

/// One step of a lease.
pub(crate) struct Step<'r, N> {
    pub(crate) rules: &'r Rules,
    pub(crate) now: Duration,
    commands: Vec<Command<N>>,
}

impl<'r, N> Step<'r, N> {
    pub(crate) fn new(rules: &'r Rules, now: Duration) -> Self {
        Self { rules, now, commands: Vec::new() }
    }

    pub(crate) fn command(&mut self, command: Command<N>) {
        self.commands.push(command);
    }

    pub(crate) fn resolve(&mut self, question: Question, outcome: Outcome) {
        self.command(Command::Resolve(question, outcome));
    }

    pub(crate) fn arm(&mut self, timer: Timer, at: Duration) {
        self.command(Command::Arm { timer, at });
    }

    pub(crate) fn into_commands(self) -> Vec<Command<N>> {
        self.commands
    }
}
