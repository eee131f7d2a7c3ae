//! Storage that refuses late writers, by the fencing token of their lock: recipes to copy, one file for each kind.
//!
//! A lock cannot stop a holder that was paused past its validity from writing. The storage can, if every write brings
//! its lock's fencing token, here its *fence*: it keeps the greatest it has seen, and refuses smaller ones. Four things
//! to mind, whatever the storage:
//!
//! * Compare and write in one step of the storage. A look before the write is a race.
//! * An equal fence is the same holder, who may write again.
//! * A holder that reads in order to write brings its fence when it *reads*. Else a holder before it may still write
//!   between the read and the write, and what it wrote is lost.
//! * The fence must last as long as what it protects. Deleting the row forgets it, and so does expiry: keep the row, and
//!   delete what is in it. A store that loses acknowledged writes, such as a Redis replica that takes over, forgets too.

mod store;

mod object_store;
mod redis;
mod sql;

pub use object_store::Object;
pub use redis::RedisHash;
pub use sql::SqlRow;
pub use store::{FencedStore, StoreError, Stored};
