//! Provides what the wait queue needs from the fleet.

use std::{sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::Fleet;
use crate::{
    driver::{member::Member, node_lane::Offer},
    names::Token,
    node::{Entropy, EntropyError, LockNode},
    queue::{LocalQueues, Nodes, Subscriptions},
};

impl Nodes for Fleet {
    type Offer = Offer;

    fn queues(&self) -> &Arc<LocalQueues<Offer>> {
        &self.queues
    }

    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    fn node(&self, number: usize) -> Option<&Arc<dyn LockNode>> {
        self.members.get(number).map(|member| &member.node)
    }

    fn is_failing(&self, number: usize) -> bool {
        self.members.get(number).is_some_and(Member::is_failing)
    }

    fn is_prompt(&self, number: usize) -> bool {
        self.members.get(number).is_some_and(Member::is_prompt)
    }

    fn notifier(&self) -> Option<usize> {
        self.notifier(None)
    }

    fn now(&self) -> Duration {
        self.clock.now()
    }

    fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    fn token(&self) -> Result<Token, EntropyError> {
        self.new_token()
    }

    fn key_prefix(&self) -> &str {
        &self.key_prefix
    }

    fn spawn(&self, runtime: &Handle, work: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(runtime, work);
    }
}
