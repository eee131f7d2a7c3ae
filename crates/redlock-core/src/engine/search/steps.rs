//! Every step that may follow in a world.

use std::time::Duration;

use super::{scenario::Scenario, world::World};
use crate::engine::{
    event::{Event, Question, Timer, Why},
    lease::phase::Phase,
};

/// One step, with the numbers of leases, links and nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Tick,
    /// The second lease asks, and follows the first or competes with it.
    Acquire {
        follows: bool,
    },
    /// The node at the end of the link carries out a batch.
    Execute(usize),
    /// The answers to a batch arrive.
    Reply(usize),
    Break(usize),
    /// A connection is made.
    Connect(usize),
    /// A connection is refused.
    Refuse(usize),
    /// The node carries out what lies in an old socket.
    Stray(usize, usize),
    Restart(usize),
    Fire(u8, Timer),
    Extend,
    Offer,
    Detach(u8),
    Release(u8),
    Drop(u8),
    /// The caller goes away.
    Leave(u8, Question),
}

impl World {
    /// Takes every step that is possible.
    pub(super) fn steps(&self, scenario: &Scenario, mut take: impl FnMut(Step, Self)) {
        let mut step = |step, change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            take(step, world);
        };
        if self.now < Duration::from_secs(scenario.seconds) {
            step(Step::Tick, &|world| world.tick(scenario));
        }
        for link in 0..self.links.len() {
            self.steps_of_link(link, scenario, &mut step);
        }
        if self.restarts > 0 {
            for node in 0..scenario.nodes {
                step(Step::Restart(node), &|world| world.restart(node, scenario));
            }
        }
        for (lease, timer, _) in self.timers.iter().filter(|(.., at)| *at <= self.now) {
            step(Step::Fire(*lease, *timer), &|world| world.fire(*lease, *timer, scenario));
        }
        let has_asked = self.callers[1].waits_for(Question::Acquire) || self.leases[1].phase() != Phase::Asking;
        if scenario.has_second && !has_asked {
            if scenario.hands_off {
                if self.is_offered {
                    step(Step::Acquire { follows: true }, &|world| world.acquire(1, Some(0), scenario));
                }
            } else {
                step(Step::Acquire { follows: false }, &|world| world.acquire(1, None, scenario));
            }
        }
        for lease in [0, 1] {
            self.steps_of_caller(lease, scenario, &mut step);
        }
    }

    fn steps_of_link(&self, number: usize, scenario: &Scenario, step: &mut impl FnMut(Step, &dyn Fn(&mut Self))) {
        let node = number % scenario.nodes;
        if self.links[number].can_execute() {
            step(Step::Execute(number), &|world| {
                world.links[number].execute(&mut world.nodes[node], world.now);
                world.tell(node, Vec::new(), scenario);
            });
        }
        if self.links[number].can_reply() {
            step(Step::Reply(number), &|world| {
                let reports = world.links[number].reply(world.now);
                world.tell(node, reports, scenario);
            });
        }
        if self.breaks > 0 && self.links[number].has_flight() {
            step(Step::Break(number), &|world| {
                world.breaks -= 1;
                let reports = world.links[number].breaks(world.now);
                world.tell(node, reports, scenario);
            });
        }
        if self.links[number].is_connecting() {
            step(Step::Connect(number), &|world| {
                let reports = world.links[number].connects(false, world.now);
                world.tell(node, reports, scenario);
            });
            if self.refusals > 0 {
                step(Step::Refuse(number), &|world| {
                    world.refusals -= 1;
                    let reports = world.links[number].connects(true, world.now);
                    world.tell(node, reports, scenario);
                });
            }
        }
        for stray in 0..self.links[number].strays() {
            step(Step::Stray(number, stray), &|world| {
                world.links[number].stray(stray, &mut world.nodes[node], world.now);
                world.tell(node, Vec::new(), scenario);
            });
        }
    }

    fn steps_of_caller(&self, lease: u8, scenario: &Scenario, step: &mut impl FnMut(Step, &dyn Fn(&mut Self))) {
        let (machine, caller) = (&self.leases[usize::from(lease)], &self.callers[usize::from(lease)]);
        let leave = |question| {
            move |world: &mut Self| {
                world.callers[usize::from(lease)].leaves(question);
                world.feed(lease, Event::CallerGone(question), scenario);
            }
        };
        let questions = [Question::Acquire, Question::Release, Question::Detach, Question::Extend(1)];
        for question in questions.into_iter().filter(|question| scenario.cancels && caller.waits_for(*question)) {
            step(Step::Leave(lease, question), &leave(question));
        }
        if machine.phase() != Phase::Held {
            return;
        }
        step(Step::Drop(lease), &|world| world.end(lease, Why::Dropped, scenario));
        if lease == 0 && scenario.hands_off {
            step(Step::Offer, &|world| {
                world.callers[0].asks(Question::Release);
                world.feed(0, Event::Offer { within: Duration::ZERO }, scenario);
            });
        } else {
            step(Step::Release(lease), &|world| world.end(lease, Why::Caller, scenario));
        }
        if lease == 0 && self.extends > 0 {
            step(Step::Extend, &|world| {
                world.extends -= 1;
                let number = u64::from(scenario.extends - world.extends);
                world.callers[0].asks(Question::Extend(number));
                world.feed(0, Event::Extend { ttl: Scenario::ttl() }, scenario);
            });
        }
        if scenario.detaches {
            step(Step::Detach(lease), &|world| {
                world.callers[usize::from(lease)].asks(Question::Detach);
                world.feed(lease, Event::Detach, scenario);
            });
        }
    }
}
