//! A hash in a Redis server that is not one of the lock's nodes.

use std::sync::Arc;

use anyhow::{Result, bail};
use async_trait::async_trait;

use super::{FencedStore, StoreError, Stored};
use crate::servers::{Reply, Server};

/// Nothing else runs on the server between the comparison and the write. Every client can send it: `EVAL script 1 key
/// fence [data]`.
///
/// Lua's numbers are exact up to 2^53, and fences are smaller. As text they would compare wrongly: "9" is after "10".
const SCRIPT: &str = "
local seen = redis.call('HGET', KEYS[1], 'fence')
if seen and tonumber(seen) > tonumber(ARGV[1]) then
    return {'refused', seen}
end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
if ARGV[2] then
    redis.call('HSET', KEYS[1], 'data', ARGV[2])
end
return {'done', redis.call('HGET', KEYS[1], 'data') or ''}";

/// A hash with the fields `fence` and `data`.
///
/// Set no TTL. The server must keep the hash, also on disk, and a replica that takes over may lack the last fences.
#[derive(Debug, Clone)]
pub struct RedisHash {
    server: Arc<Server>,
    key: String,
}

impl RedisHash {
    /// Returns the hash with this key.
    pub fn new(server: Arc<Server>, key: impl Into<String>) -> Self {
        Self { server, key: key.into() }
    }

    /// Raises the fence, and writes the data if there is any. Returns the data that is stored then.
    async fn call(&self, fence: u64, data: Option<&str>) -> Result<String, StoreError> {
        let number = fence.to_string();
        let command: Vec<_> = ["EVAL", SCRIPT, "1", &self.key, &number].into_iter().chain(data).collect();
        let reply = self.server.command(&command).await.map_err(StoreError::Failed)?;
        match texts(&reply).map_err(StoreError::Failed)? {
            [done, data] if done == "done" => Ok(data),
            [_, seen] => Err(StoreError::Refused { fence, seen: seen.parse().map_err(StoreError::failed)? }),
        }
    }
}

#[async_trait]
impl FencedStore for RedisHash {
    async fn read(&self, fence: u64) -> Result<String, StoreError> {
        self.call(fence, None).await
    }

    async fn write(&self, fence: u64, data: &str) -> Result<(), StoreError> {
        self.call(fence, Some(data)).await.map(drop)
    }

    async fn look(&self) -> Result<Stored, StoreError> {
        let reply = self.server.command(&["HMGET", &self.key, "fence", "data"]).await.map_err(StoreError::Failed)?;
        let [fence, data] = texts(&reply).map_err(StoreError::Failed)?;
        let fence = if fence.is_empty() { 0 } else { fence.parse().map_err(StoreError::failed)? };
        Ok(Stored { fence, data })
    }
}

/// Decodes two texts, which are empty if absent.
fn texts(reply: &Reply) -> Result<[String; 2]> {
    match reply {
        Reply::Array(two) if two.len() == 2 => Ok([0, 1].map(|index| two[index].text().unwrap_or_default())),
        other => bail!("not two texts: {other:?}"),
    }
}
