//! The restarts, as plain values: which node is stopped, when, and when it is safe to continue with the next.

use std::time::Duration;

/// The times of a run, which depend on its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) run: Duration,
    /// How long the job's lock lives if it is not extended.
    pub(crate) ttl: Duration,
    /// The auto-extend period of this TTL. A node has the lock again within this time after it is back.
    pub(crate) period: Duration,
    /// The number of restarts of each node.
    pub(crate) rounds: usize,
    /// How long a node is down.
    down: Duration,
    /// The time from the start of the run to its first restart, and from its last one to its end.
    calm: Duration,
    /// The time from the start of one restart to that of the next, unless the node takes longer.
    turn: Duration,
}

impl Plan {
    const LONGEST_TTL: Duration = Duration::from_millis(1_500);

    /// Plans as many rounds as fit in, and at least one. If the run is too short, the TTL becomes shorter.
    pub(crate) fn of(nodes: usize, run: Duration) -> Self {
        let ttl = Self::LONGEST_TTL.min(run / 3);
        let (period, down, calm) = (ttl / 3, ttl / 8, ttl / 4);
        let time = run.saturating_sub(2 * calm);
        // A little more than a restart needs, so that a late restart can be made up for.
        let shortest_round = (down + period) * nodes as u32 * 21 / 20;
        let rounds = (time.as_millis() / shortest_round.as_millis().max(1)).max(1) as usize;
        let turn = time / (rounds * nodes) as u32;
        Self { nodes, run, ttl, period, rounds, down, calm, turn }
    }

    /// Returns the earliest start of this restart, counted from 0.
    fn begins(&self, restart: usize) -> Duration {
        self.calm + self.turn * restart as u32
    }
}

/// One restart of one node. Times are those of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) node: usize,
    pub(crate) stopped: Duration,
    /// When it was back, without its keys.
    pub(crate) back: Option<Duration>,
    /// When it was seen to hold the lock again.
    pub(crate) healed: Option<Duration>,
}

impl Restart {
    /// Returns how long the node was back without holding the lock.
    pub(crate) fn healed_within(&self) -> Option<Duration> {
        self.healed?.checked_sub(self.back?)
    }
}

/// The next step with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Stop(usize),
    StartEmpty(usize),
    /// No step: this restart is over.
    Over(Restart),
}

/// The restarts of a run, one at a time.
#[derive(Debug)]
pub(crate) struct Restarts {
    plan: Plan,
    /// Whether to wait until a node holds the lock again. If nobody extends the lock, no node ever will.
    heals: bool,
    over: Vec<Restart>,
    under_way: Option<Restart>,
}

impl Restarts {
    pub(crate) fn new(plan: Plan, heals: bool) -> Self {
        Self { plan, heals, over: Vec::new(), under_way: None }
    }

    /// Returns the step that is due now. `holds` says whether a node holds the lock.
    ///
    /// This keeps the lock safe while nodes forget: between a node's return and the stop of the next one, at least one
    /// auto-extend period passes, and the node has the lock again. So never more than one node is without it.
    pub(crate) fn next(&mut self, now: Duration, holds: impl Fn(usize) -> bool) -> Option<Step> {
        let Some(restart) = &mut self.under_way else { return self.begin(now) };
        let Some(back) = restart.back else {
            let is_due = now >= restart.stopped + self.plan.down;
            return is_due.then(|| {
                restart.back = Some(now);
                Step::StartEmpty(restart.node)
            });
        };
        if holds(restart.node) {
            restart.healed = Some(now);
        } else if self.heals || now < back + self.plan.period {
            return None;
        }
        let restart = *restart;
        self.over.push(restart);
        self.under_way = None;
        Some(Step::Over(restart))
    }

    fn begin(&mut self, now: Duration) -> Option<Step> {
        let number = self.over.len();
        let last_back = self.over.last().and_then(|restart| restart.back);
        let is_spaced = last_back.is_none_or(|back| now >= back + self.plan.period);
        if self.all_over(now) || now < self.plan.begins(number) || !is_spaced {
            return None;
        }
        let node = number % self.plan.nodes;
        self.under_way = Some(Restart { node, stopped: now, back: None, healed: None });
        Some(Step::Stop(node))
    }

    /// Returns the restarts that are over.
    pub(crate) fn over(&self) -> &[Restart] {
        &self.over
    }

    /// Returns whether a restart has begun and is not over.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns whether no more restarts follow: all are over, or every node had one and the time is up.
    pub(crate) fn all_over(&self, now: Duration) -> bool {
        let Plan { nodes, rounds, run, .. } = self.plan;
        let over = self.over.len();
        self.under_way.is_none() && (over >= rounds * nodes || (over >= nodes && now >= run))
    }

    /// Returns whether this node is stopped now.
    pub(crate) fn is_down(&self, node: usize) -> bool {
        self.under_way.is_some_and(|restart| restart.node == node && restart.back.is_none())
    }

    /// Returns how many restarts of this node are over.
    pub(crate) fn of_node(&self, node: usize) -> usize {
        self.over.iter().filter(|restart| restart.node == node).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Simulates a run in steps of one millisecond. A node has the lock again this long after it is back.
    fn played(run: Duration, heals_after: Option<Duration>) -> Restarts {
        let mut restarts = Restarts::new(Plan::of(5, run), heals_after.is_some());
        let mut now = Duration::ZERO;
        while now < run || (!restarts.all_over(now) && now < run + restarts.plan.ttl) {
            let back = restarts.under_way.and_then(|restart| restart.back);
            let is_healed = back.zip(heals_after).is_some_and(|(back, after)| now >= back + after);
            let _ = restarts.next(now, |_| is_healed);
            now += MILLI;
        }
        restarts
    }

    #[test]
    fn every_node_is_restarted_in_whole_rounds_whatever_the_run_takes() {
        for seconds in [1, 2, 3, 4, 5, 8, 13, 60, 3600] {
            let run = Duration::from_secs(seconds);
            let plan = Plan::of(5, run);
            let restarts = played(run, Some(plan.period));
            assert_eq!(restarts.over.len(), 5 * plan.rounds, "{seconds} s");
            assert!(restarts.all_over(run) && !restarts.is_under_way(), "{seconds} s");
            assert!((0..5).all(|node| restarts.of_node(node) == plan.rounds));
        }
    }

    #[test]
    fn the_default_run_has_two_rounds_at_a_ttl_of_a_second_and_a_half() {
        let plan = Plan::of(5, Duration::from_secs(8));
        assert_eq!((plan.rounds, plan.ttl, plan.period), (2, 1_500 * MILLI, 500 * MILLI));
    }

    #[test]
    fn a_period_passes_between_two_restarts_and_the_node_has_the_lock_again() {
        for heals_after in [Duration::ZERO, 300 * MILLI, 900 * MILLI] {
            let restarts = played(Duration::from_secs(8), Some(heals_after));
            assert!(restarts.over.len() >= 6);
            for pair in restarts.over.windows(2) {
                let back = pair[0].back.unwrap();
                assert!(back >= pair[0].stopped + restarts.plan.down);
                assert!(pair[1].stopped >= back + restarts.plan.period);
                assert!(pair[1].stopped >= pair[0].healed.unwrap());
                assert_eq!(pair[0].healed_within(), Some(heals_after.max(MILLI)));
            }
        }
    }

    #[test]
    fn nodes_that_take_long_are_restarted_less_often_but_once_at_least() {
        for (heals_after, number, all_over) in [(900, 8, true), (1_500, 5, true), (2_500, 3, false)] {
            let run = Duration::from_secs(8);
            let restarts = played(run, Some(heals_after * MILLI));
            assert_eq!((restarts.over.len(), restarts.all_over(run)), (number, all_over));
        }
    }

    #[test]
    fn nobody_is_waited_for_where_nothing_heals() {
        let restarts = played(Duration::from_secs(8), None);
        assert_eq!(restarts.over.len(), 10);
        assert!(restarts.over.iter().all(|restart| restart.healed_within().is_none()));
    }

    #[test]
    fn a_lock_that_is_not_extended_ends_before_a_majority_has_forgotten_it() {
        for seconds in [1, 2, 3, 4, 5, 8, 13, 60, 3600] {
            let restarts = played(Duration::from_secs(seconds), None);
            assert!(restarts.over[2].back.unwrap() > restarts.plan.ttl, "{seconds} s");
        }
    }

    #[test]
    fn a_node_is_down_until_it_is_back() {
        let mut restarts = Restarts::new(Plan::of(5, Duration::from_secs(8)), true);
        let (begins, down) = (restarts.plan.calm, restarts.plan.down);
        assert_eq!(restarts.next(begins - MILLI, |_| true), None);
        assert_eq!(restarts.next(begins, |_| true), Some(Step::Stop(0)));
        assert!(restarts.is_down(0) && !restarts.is_down(1));
        assert_eq!(restarts.next(begins + down - MILLI, |_| true), None);
        assert_eq!(restarts.next(begins + down, |_| true), Some(Step::StartEmpty(0)));
        assert!(!restarts.is_down(0));
        assert_eq!(restarts.next(begins + 10 * down, |_| false), None);
        assert!(matches!(restarts.next(begins + 11 * down, |node| node == 0), Some(Step::Over(_))));
    }
}
