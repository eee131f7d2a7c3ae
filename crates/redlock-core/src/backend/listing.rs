//! The locks that a node holds.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::{Node, RedisClient, describe::forbids_key};
use crate::{
    names::{Resource, Token},
    node::{ListAnswer, ListRequest, NodeError, NodeErrorKind},
};

/// How many keys the server goes over in one step: some milliseconds, in which it serves nobody else.
const STEP: &str = "10000";

/// How many keys are looked at together.
const AT_ONCE: usize = 256;

impl<C: RedisClient> Node<C> {
    /// Goes over all keys, and looks at those that may be locks.
    pub(super) async fn locks(&self, request: &ListRequest) -> Result<ListAnswer, NodeError> {
        if self.client().is_cluster() {
            let what = "the locks of a Redis Cluster are not listed: each of its members knows a part of them";
            return Err(NodeError::new(NodeErrorKind::Unsupported, what));
        }
        let (pattern, started) = (format!("{}*", literal(&request.prefix)), Instant::now());
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
                if started.elapsed() >= request.limit {
                    return Ok(ListAnswer::new(locks.into_iter().collect(), false));
                }
            }
            drop(looks);
            cursor = next;
            let is_complete = cursor == "0";
            if is_complete || locks.len() >= request.enough || started.elapsed() >= request.limit {
                return Ok(ListAnswer::new(locks.into_iter().collect(), is_complete));
            }
        }
    }

    /// The key, if a lock is there. Of a value no more is read than a token can be long, and one byte to tell that it is longer.
    async fn lock_at(&self, key: String) -> Result<Option<String>, NodeError> {
        if Resource::new(&key).is_err() {
            return Ok(None);
        }
        match self.ask(&["GETRANGE", &key, "0", &Token::MAX_LEN.to_string()]).await {
            Ok(value) => Ok(value.first().is_some_and(|value| Token::is_one(value.as_bytes())).then_some(key)),
            // Set anew since, as something else.
            Err(error) if error.kind() == NodeErrorKind::WrongType || forbids_key(&error) => Ok(None),
            Err(error) => Err(error),
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
