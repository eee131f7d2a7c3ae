//! Storage that refuses late writers by the fencing token of their lock: recipes to copy, one file per kind of storage.
//!
//! A lock cannot stop a holder that was paused beyond its validity from writing. The storage can, if every write
//! includes its lock's fencing token, here called its *fence*: the storage keeps the greatest fence it has seen, and
//! refuses smaller ones. Four points apply to every kind of storage:
//!
//! * Compare and write in one step of the storage. A separate read before the write is a race.
//! * An equal fence is from the same holder, which may write again.
//! * A holder that reads in order to write sends its fence when it *reads*. Otherwise an earlier holder may still write
//!   between the read and the write, and its write is lost.
//! * The fence must last as long as the data that it protects. Deleting or expiring the row forgets it: keep the row,
//!   and delete its content. A store that loses acknowledged writes, such as a Redis replica that takes over, forgets
//!   it too.

mod store;

mod object_store;
mod redis;
mod sql;

pub use object_store::Object;
pub use redis::RedisHash;
pub use sql::SqlRow;
pub use store::{FencedStore, StoreError, Stored};
