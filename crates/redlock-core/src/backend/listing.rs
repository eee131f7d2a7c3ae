//! Lists the locks that a node holds.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{
    Node, RedisClient,
    describe::forbids_key,
    slot_map::{Member, SlotMap},
};
use crate::{
    names::{Resource, Token},
    node::{ListAnswer, ListRequest, NodeError, NodeErrorKind},
};

/// The number of keys that the server scans in one step, which takes some milliseconds. It serves no other client
/// meanwhile.
const STEP: &str = "10000";

/// The number of keys that are read at the same time.
const AT_ONCE: usize = 256;

impl<C: RedisClient> Node<C> {
    /// Scans all keys, and reads those that may be locks. In a Redis Cluster, scans each primary in turn.
    pub(super) async fn locks(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        let mut listing = Listing { request, started: Instant::now(), locks: BTreeSet::new(), has_moved: false };
        let mut is_complete = true;
        if self.client().is_cluster() {
            let nodes = self.ask(&["CLUSTER", "NODES"]).await?.concat();
            for member in SlotMap::read(&nodes, "", false).owners() {
                is_complete = self.scan(Some(member), &mut listing).await?;
                if !is_complete {
                    break;
                }
            }
        } else {
            is_complete = self.scan(None, &mut listing).await?;
        }
        Ok(ListAnswer::new(listing.locks.into_iter().collect(), is_complete && !listing.has_moved))
    }

    /// Scans one server: strings, and the sorted sets of shared locks. Returns whether all of its keys were read.
    async fn scan(&self, member: Option<&Member>, listing: &mut Listing<'_>) -> Result<bool, NodeError> {
        let are_strings_done = self.scan_type(member, listing, "string").await?;
        Ok(are_strings_done && self.scan_type(member, listing, "zset").await?)
    }

    async fn scan_type(
        &self,
        member: Option<&Member>,
        listing: &mut Listing<'_>,
        of_type: &str,
    ) -> Result<bool, NodeError> {
        let pattern = format!("{}*", literal(&listing.request.prefix));
        let mut cursor = "0".to_owned();
        loop {
            let step = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", STEP, "TYPE", of_type];
            let mut told = self.ask_member(member, &step).await?.into_iter();
            let none = || NodeError::new(NodeErrorKind::Other, "unexpected answer: no cursor");
            let next = told.next().ok_or_else(none)?;
            let mut looks = stream::iter(told.map(|key| self.lock_at(member, key, of_type))).buffer_unordered(AT_ONCE);
            while let Some(look) = looks.next().await {
                match look? {
                    Look::Lock(key) => {
                        listing.locks.insert(key);
                    }
                    Look::Other => {}
                    Look::Moved => listing.has_moved = true,
                }
                if listing.is_over() {
                    return Ok(false);
                }
            }
            drop(looks);
            cursor = next;
            if cursor == "0" {
                return Ok(true);
            }
            if listing.locks.len() >= listing.request.enough || listing.is_over() {
                return Ok(false);
            }
        }
    }

    /// Returns the key if it holds a lock. Reads at most one byte more than the longest token: enough to detect a
    /// longer value.
    async fn lock_at(&self, member: Option<&Member>, key: String, of_type: &str) -> Result<Look, NodeError> {
        if !may_be_lock(&key) {
            return Ok(Look::Other);
        }
        let most = Token::MAX_LEN.to_string();
        // For a sorted set, the last member: a token, if this is a shared lock.
        let look = if of_type == "zset" { ["ZRANGE", &key, "-1", "-1"] } else { ["GETRANGE", &key, "0", &most] };
        match self.ask_member(member, &look).await {
            Ok(value) if value.first().is_some_and(|value| Token::is_one(value.as_bytes())) => {
                let expires = of_type != "zset" || self.expires(member, &key).await;
                Ok(if expires { Look::Lock(key) } else { Look::Other })
            }
            Ok(_) => Ok(Look::Other),
            // Since the scan, it was overwritten with something that is not a lock.
            Err(error) if error.kind() == NodeErrorKind::WrongType || forbids_key(&error) => Ok(Look::Other),
            // A user that may not run the command does not see shared locks.
            Err(error) if of_type == "zset" && error.kind() == NodeErrorKind::Permission => Ok(Look::Other),
            Err(error) if error.redirect().is_some() => Ok(Look::Moved),
            Err(error) => Err(error),
        }
    }

    /// Whether the key expires: a sorted set that does not is no shared lock.
    async fn expires(&self, member: Option<&Member>, key: &str) -> bool {
        let pttl = self.ask_member(member, &["PTTL", key]).await;
        !pttl.is_ok_and(|pttl| pttl.first().is_some_and(|pttl| pttl.starts_with('-')))
    }
}

/// The locks that were found so far.
struct Listing<'a> {
    request: &'a ListRequest,
    started: Instant,
    locks: BTreeSet<String>,
    /// Whether a key has moved meanwhile to another member of the cluster, which may already have been scanned.
    has_moved: bool,
}

impl Listing<'_> {
    fn is_over(&self) -> bool {
        self.started.elapsed() >= self.request.limit
    }
}

/// The content of a key.
enum Look {
    Lock(String),
    Other,
    Moved,
}

/// Returns whether this can be the key of a lock or of a semaphore's slot, rather than of a counter or a queue.
fn may_be_lock(key: &str) -> bool {
    Resource::new(key).is_ok_and(|key| !key.is_reserved() || key.semaphore().is_some())
}

/// Returns a pattern that matches this text and no other.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_queues_are_not_read() {
        let resource = Resource::new("lock:{a}").unwrap();
        for beside in [resource.counter().ok(), resource.waiters()] {
            assert!(!may_be_lock(beside.unwrap().as_str()));
        }
        assert!(may_be_lock("lock:{a}") && may_be_lock("fence") && !may_be_lock(""));
    }

    #[test]
    fn a_prefix_is_matched_literally() {
        assert_eq!(literal("lock:"), "lock:");
        assert_eq!(literal(r"{a}*?[b-c]^\"), r"{a}\*\?\[b\-c\]\^\\");
    }
}
