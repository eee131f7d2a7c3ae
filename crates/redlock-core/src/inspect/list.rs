//! Lists all locks that are held.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::runtime::Handle;

use super::one_lock::InspectError;
use crate::{
    api::Redlock,
    driver::{Exchange, Requests},
    names::Resource,
    node::{LATE_LIMIT, ListAnswer, ListRequest, NodeError},
};

impl Redlock {
    /// How many locks of one node [`Redlock::list`] tells at least, where there are more.
    pub const LISTED: usize = 10_000;

    /// Asks all nodes which locks they hold, and changes nothing. For people who look at what is locked; for one lock
    /// [inspect](Redlock::inspect) it, which also tells whether a quorum holds it.
    ///
    /// Told are the names behind this `Redlock`'s [key prefix](crate::RedlockBuilder::key_prefix) whose keys hold a token of
    /// this library: those of other libraries cannot be told from other data. Each node goes over all its keys, in steps
    /// that hold nobody up, and looks at the beginning of each string behind the prefix; after 4 s it tells what it has
    /// found by then, and the list is not complete: see [`Redlock::list_within`]. Its user needs the rights to `SCAN`
    /// and `GETRANGE`; keys that it may not read are left out. The nodes of a Redis Cluster are not listed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redlock_core::Redlock;
    /// use redlock_mock::MockNode;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redlock = Redlock::new(MockNode::fleet(3))?;
    /// let _lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
    ///
    /// let listing = redlock.list().await?;
    /// assert!(listing.names().eq(["invoice:42"]) && listing.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the call is not made on a tokio runtime. Nodes that fail are told in the [`Listing`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn list(&self) -> Result<Listing, InspectError> {
        self.list_within(Duration::from_secs(4)).await
    }

    /// [Lists](Self::list) all locks, and each node may take up to `limit` for that.
    ///
    /// # Errors
    ///
    /// As [`Redlock::list`].
    ///
    /// # Cancel safety
    ///
    /// As [`Redlock::list`].
    ///
    /// # Panics
    ///
    /// As [`Redlock::list`].
    pub async fn list_within(&self, limit: Duration) -> Result<Listing, InspectError> {
        Handle::try_current().map_err(|_| InspectError::NoRuntime)?;
        let fleet = &self.fleet;
        let request = Arc::new(ListRequest::new(&*fleet.key_prefix, Self::LISTED, limit));
        let requests = Requests::new(fleet, |member| {
            let (fleet, request) = (Arc::clone(fleet), Arc::clone(&request));
            Box::pin(async move { fleet.list(member, &request).await })
        });
        // Longer than the nodes take, so that no request goes on after this call.
        let patience = limit.saturating_add(Duration::from_secs(1));
        let answers = Exchange::new(requests, patience, patience, LATE_LIMIT).all().await;

        let (mut names, mut semaphores) = (BTreeSet::new(), BTreeSet::new());
        let (mut failed, mut is_cut) = (Vec::new(), false);
        for (member, answer) in fleet.members.iter().zip(answers) {
            match answer.unwrap_or_else(|| Err(NodeError::no_answer(patience))) {
                Ok(ListAnswer { keys, is_complete }) => {
                    is_cut |= !is_complete;
                    let names_of_keys = keys.iter().filter_map(|key| key.strip_prefix(&*fleet.key_prefix));
                    for name in names_of_keys {
                        // The prefix itself may be a key of another program without prefix.
                        let Ok(resource) = Resource::new(name) else { continue };
                        match resource.semaphore() {
                            Some(semaphore) => semaphores.insert(semaphore.to_owned()),
                            None => names.insert(name.to_owned()),
                        };
                    }
                }
                Err(error) => failed.push((member.node.name().to_owned(), error)),
            }
        }
        // A lock that a quorum holds is on at least one node that has answered, unless too many have failed.
        let is_complete = !is_cut && failed.len() < fleet.quorum.needed();
        Ok(Listing { names, semaphores, failed, is_complete })
    }
}

/// The locks that nodes hold.
#[derive(Debug)]
pub struct Listing {
    names: BTreeSet<String>,
    semaphores: BTreeSet<String>,
    failed: Vec<(String, NodeError)>,
    is_complete: bool,
}

impl Listing {
    /// The names of all locks that at least one node holds, in their order. Not each is held by a quorum.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The names of all semaphores of whose permits at least one node holds one, in their order. With a
    /// [key prefix](crate::RedlockBuilder::key_prefix) without hash tag there are none, since their keys begin with a
    /// brace: [inspect](Redlock::inspect_permits) those by name.
    pub fn semaphores(&self) -> impl Iterator<Item = &str> {
        self.semaphores.iter().map(String::as_str)
    }

    /// The nodes that did not tell, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &NodeError)> {
        self.failed.iter().map(|(node, error)| (node.as_str(), error))
    }

    /// Whether all locks are among them that a quorum has held all the time: so many nodes have told, and each of them
    /// all that it has.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}
