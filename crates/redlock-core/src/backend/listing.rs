//! The locks that a node holds.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};

use super::{Call, Node, RedisClient, Reply, node::answer};
use crate::{
    node_error::{NodeError, NodeErrorKind},
    request::{InspectRequest, ListRequest},
    resource::Resource,
    token::Token,
};

/// How many keys the server goes over in one step.
const STEP: &str = "1000";

/// How many keys are looked at together.
const AT_ONCE: usize = 64;

impl<C: RedisClient> Node<C> {
    /// Goes over all keys, and looks at those that may be locks.
    pub(super) async fn locks(&self, request: &ListRequest) -> Result<Vec<String>, NodeError> {
        if self.client().is_cluster() {
            let what = "the locks of a Redis Cluster are not listed: each of its members knows a part of them";
            return Err(NodeError::new(NodeErrorKind::Unsupported, what));
        }
        let pattern = format!("{}*", literal(&request.prefix));
        let mut cursor = "0".to_owned();
        let mut locks = BTreeSet::new();
        loop {
            let step = ["SCAN", &cursor, "MATCH", &pattern, "COUNT", STEP, "TYPE", "string"];
            let mut told = self.ask(&step).await?.into_iter();
            let none = || NodeError::new(NodeErrorKind::Other, "unexpected answer: no cursor");
            let next = told.next().ok_or_else(none)?;
            let mut looks = stream::iter(told.map(|key| self.lock_at(key))).buffer_unordered(AT_ONCE);
            while let Some(lock) = looks.next().await {
                locks.extend(lock?);
            }
            drop(looks);
            cursor = next;
            if cursor == "0" || locks.len() >= request.enough {
                return Ok(locks.into_iter().collect());
            }
        }
    }

    /// The key, if a lock is there.
    async fn lock_at(&self, key: String) -> Result<Option<String>, NodeError> {
        let Ok(resource) = Resource::new(&key) else { return Ok(None) };
        match self.call(Call::inspect(&InspectRequest::new(resource))).await {
            Ok(answered) => {
                Ok(matches!(answered.reply, Reply::Holder(value, _) if Token::is_one(&value)).then_some(key))
            }
            // Of this key alone, as one that the user may not touch.
            Err(error) => answer(error).map(|_| None),
        }
    }
}

/// A pattern for this text and no other.
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
    fn a_prefix_is_no_pattern() {
        assert_eq!(literal("lock:"), "lock:");
        assert_eq!(literal(r"{a}*?[b-c]^\"), r"{a}\*\?\[b\-c\]\^\\");
    }
}
