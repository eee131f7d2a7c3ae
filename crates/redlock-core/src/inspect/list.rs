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
    /// The number of locks after which the search on one node may stop in [`Redlock::list`]. The node may return a few
    /// more.
    pub const LISTED: usize = 10_000;

    /// Queries all nodes for the locks that they hold, and changes nothing. For people who want to see which locks are
    /// held. For a single lock, call [`inspect`](Redlock::inspect), which also reports whether a quorum holds it.
    ///
    /// Returns the names after this `Redlock`'s [key prefix](crate::RedlockBuilder::key_prefix) whose keys hold a token
    /// of this library: tokens of other libraries cannot be distinguished from other data. Each node scans all its
    /// keys, in steps that block nobody, and reads the beginning of each string under the prefix. After 4 s it returns
    /// what it has found by then, and the list is not complete: see [`Redlock::list_within`]. The user needs permission
    /// for `SCAN` and `GETRANGE`; keys that it may not read are left out. The nodes of a Redis Cluster are not listed.
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
    /// If the call is not made on a Tokio runtime. The [`Listing`] contains the nodes that failed.
    ///
    /// # Cancel safety
    ///
    /// If dropped, it has no effect.
    ///
    /// # Panics
    ///
    /// If the runtime has no timers (`enable_time`).
    pub async fn list(&self) -> Result<Listing, InspectError> {
        self.list_within(Duration::from_secs(4)).await
    }

    /// [Lists](Self::list) all locks, and lets each node take up to `limit`.
    ///
    /// # Errors
    ///
    /// The errors of [`Redlock::list`].
    ///
    /// # Cancel safety
    ///
    /// Like [`Redlock::list`].
    ///
    /// # Panics
    ///
    /// Like [`Redlock::list`].
    pub async fn list_within(&self, limit: Duration) -> Result<Listing, InspectError> {
        Handle::try_current().map_err(|_| InspectError::NoRuntime)?;
        let fleet = &self.fleet;
        let request = Arc::new(ListRequest::new(&*fleet.key_prefix, Self::LISTED, limit));
        let requests = Requests::new(fleet, |member| {
            let (fleet, request) = (Arc::clone(fleet), Arc::clone(&request));
            Box::pin(async move { fleet.list(member, &request).await })
        });
        // Longer than the nodes take, so that no request outlives this call.
        let patience = limit.saturating_add(Duration::from_secs(1));
        let answers = Exchange::new(requests, patience, patience, LATE_LIMIT).all().await;

        let (mut names, mut semaphores) = (BTreeSet::new(), BTreeSet::new());
        let (mut failed, mut is_cut) = (Vec::new(), false);
        for (member, answer) in fleet.members.iter().zip(answers) {
            match answer.unwrap_or_else(|| Err(NodeError::no_answer(patience))) {
                Ok(ListAnswer { keys, is_complete }) => {
                    is_cut |= !is_complete;
                    for key in &keys {
                        // The prefix itself may be a key of another program that uses no prefix.
                        let is_name = |name: &&str| Resource::new(name).is_ok();
                        let name = |key: &str| key.strip_prefix(&*fleet.key_prefix).filter(is_name).map(str::to_owned);
                        let Ok(whole) = Resource::new(key) else { continue };
                        match whole.semaphore() {
                            Some(semaphore) => semaphores.extend(name(semaphore)),
                            None => names.extend(name(key)),
                        }
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
    /// Returns the names of all locks that at least one node holds, sorted. A quorum need not hold each of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns the names of all semaphores of which at least one node holds a permit, sorted. With a [key
    /// prefix](crate::RedlockBuilder::key_prefix) without a hash tag there are none, since their keys begin with a
    /// brace: call [`inspect_permits`](Redlock::inspect_permits) with their names instead.
    pub fn semaphores(&self) -> impl Iterator<Item = &str> {
        self.semaphores.iter().map(String::as_str)
    }

    /// Returns the nodes that failed, with their errors.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &NodeError)> {
        self.failed.iter().map(|(node, error)| (node.as_str(), error))
    }

    /// Returns whether the list contains every lock that a quorum has held all the time: then enough nodes have
    /// answered, and each has returned all its locks.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}
