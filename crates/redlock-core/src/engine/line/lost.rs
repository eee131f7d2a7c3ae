//! What a line loses: a connection, an answer that does not come, a request whose time is over.

use std::{mem, time::Duration};

use super::{Item, Line, Report, Sent};
use crate::{
    engine::{
        ask::{Ask, Failure, Fate},
        name::Name,
        rules::Weakness,
    },
    node::NodeErrorKind,
};

impl<N: Name> Line<N> {
    /// The connection broke, or was not made, for this reason. Releases stay. A request that was sent goes out once
    /// more, unless its time is over, its lease was released, or it was sent twice already. The others fail.
    pub(crate) fn broken(&mut self, kind: NodeErrorKind, now: Duration) -> Vec<Report<N>> {
        let is_new = self.link.connecting_since().is_some();
        let from = self.link.broken(now);
        let (mut reports, mut again) = (Vec::new(), Vec::new());
        let sent: Vec<_> = mem::take(&mut self.out).into_iter().flat_map(|batch| batch.items).collect();
        for sent in &sent {
            if let Item::Ask(ask) = &sent.item {
                self.haunt(ask, now);
            }
        }
        for sent in sent {
            let goes_again = self.goes_again(&sent, now);
            match sent.item {
                Item::Ask(ask) if goes_again => again.push(Item::Ask(Ask { again: true, ..ask })),
                Item::Ask(ask) => reports.push((ask, Err(Failure { kind, fate: Fate::Unknown }))),
                Item::Release(number) if self.limits.lack(Weakness::BreakDropsReleases) => self.debts.remove(number),
                Item::Release(number) => self.owe(number, kind, now, from, true, &mut reports),
            }
        }
        let queued = mem::take(&mut self.queue);
        self.queue.extend(again);
        for item in queued {
            match item {
                Item::Ask(ask) if is_new => reports.push((ask, Err(Failure { kind, fate: Fate::NotDone }))),
                Item::Release(number) if is_new => self.owe(number, kind, now, from, false, &mut reports),
                item => self.queue.push_back(item),
            }
        }
        reports
    }

    /// Time has passed. Reports requests that the node has not answered in time, counted from when they were written,
    /// and requests that were not sent in time. If the node owes an answer for too long, the connection is given up:
    /// the next step is to connect.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Report<N>> {
        self.forget(now);
        let mut reports = Vec::new();
        for batch in &mut self.out {
            for sent in batch.items.iter_mut().filter(|sent| !sent.is_late) {
                let ask = match &sent.item {
                    Item::Ask(ask) => Some(ask.clone()),
                    Item::Release(number) => self.debts.get(*number).cloned(),
                };
                if let Some(ask) = ask.filter(|ask| batch.written + ask.node_timeout <= now) {
                    sent.is_late = true;
                    reports.push((ask, Err(Failure::LATE)));
                }
            }
        }
        self.queue.retain(|item| match item {
            Item::Ask(ask) if ask.until <= now => {
                reports.push((ask.clone(), Err(Failure::NOT_SENT)));
                false
            }
            Item::Ask(_) | Item::Release(_) => true,
        });
        let oldest = self.out.front().map(|batch| batch.written).or_else(|| self.link.connecting_since());
        if oldest.is_some_and(|oldest| oldest + self.limits.gives_up <= now) {
            reports.extend(self.broken(NodeErrorKind::Timeout, now));
        }
        reports
    }

    /// The request may be carried out at any time, although no answer follows.
    pub(super) fn haunt(&mut self, ask: &Ask<N>, now: Duration) {
        if let Some(lives) = ask.request.sets_for().filter(|_| !self.limits.lack(Weakness::NoGhosts)) {
            let until = self.ghosts.add(&ask.lease, lives, now);
            self.debts.outlive(&ask.lease, until, true);
        }
    }

    /// Forgets what has certainly expired on the node.
    pub(super) fn forget(&mut self, now: Duration) {
        self.ghosts.expire(now);
        let (out, queue) = (&self.out, &self.queue);
        let sets = |item: &Item<N>, lease: &N| matches!(item, Item::Ask(ask) if ask.lease == *lease);
        let is_forgetful = self.limits.lack(Weakness::ExpiresBehindRequests);
        self.debts.expire(now, |lease| {
            !is_forgetful
                && (queue.iter().any(|item| sets(item, lease))
                    || out.iter().any(|batch| batch.items.iter().any(|sent| sets(&sent.item, lease))))
        });
    }

    /// Takes the requests from the head of the queue whose time is over.
    pub(super) fn take_expired(&mut self, now: Duration) -> Vec<Ask<N>> {
        let mut expired = Vec::new();
        while let Some(Item::Ask(ask)) = self.queue.front().filter(|item| item.is_expired(now)) {
            expired.push(ask.clone());
            self.queue.pop_front();
        }
        expired
    }

    fn goes_again(&self, sent: &Sent<N>, now: Duration) -> bool {
        let Item::Ask(ask) = &sent.item else { return false };
        let is_over = sent.is_withdrawn || self.debts.has(&ask.lease);
        let is_wanted = !is_over || self.limits.lack(Weakness::SetsAfterRelease);
        is_wanted && !sent.is_late && !ask.again && ask.until > now
    }

    fn owe(
        &mut self,
        number: u64,
        kind: NodeErrorKind,
        now: Duration,
        from: Duration,
        is_lost: bool,
        reports: &mut Vec<Report<N>>,
    ) {
        let fate = if is_lost { Fate::Unknown } else { Fate::NotDone };
        let failed = self.debts.failed(number, now, from, is_lost);
        reports.extend(failed.map(|ask| (ask, Err(Failure { kind, fate }))));
    }
}
