//! A row of a database, here SQLite. The statements also work in PostgreSQL, with `$1` for `?1`; the tests run only
//! SQLite.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{FencedStore, StoreError, Stored};

/// A fence is below 2^53, so it fits into a signed column.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS protected (
        id    TEXT   PRIMARY KEY,
        fence BIGINT NOT NULL,
        data  TEXT   NOT NULL
    )";

/// The first write inserts the row. Any other changes it if the fence is not smaller, and otherwise changes no row: one
/// statement compares and writes.
const WRITE: &str = "
    INSERT INTO protected (id, fence, data) VALUES (?1, ?2, ?3)
    ON CONFLICT (id) DO UPDATE SET fence = excluded.fence, data = excluded.data
        WHERE protected.fence <= excluded.fence";

/// The same without new data: it raises the fence, and returns the data if it could.
const READ: &str = "
    INSERT INTO protected (id, fence, data) VALUES (?1, ?2, '')
    ON CONFLICT (id) DO UPDATE SET fence = excluded.fence
        WHERE protected.fence <= excluded.fence
    RETURNING data";

const LOOK: &str = "SELECT fence, data FROM protected WHERE id = ?1";

/// A row, over its own connection.
///
/// The calls block, as SQLite does: a service runs them on a thread for blocking work.
#[derive(Debug)]
pub struct SqlRow {
    connection: Mutex<Connection>,
    id: String,
}

impl SqlRow {
    /// Opens a database file, and creates the table if it does not exist.
    pub fn open(file: &Path, id: impl Into<String>) -> Result<Self, StoreError> {
        let connection = Connection::open(file).map_err(StoreError::failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(StoreError::failed)?;
        connection.execute(TABLE, []).map_err(StoreError::failed)?;
        Ok(Self { connection: Mutex::new(connection), id: id.into() })
    }

    fn stored(&self) -> Result<Stored, StoreError> {
        let row = self.connection().query_row(LOOK, params![self.id], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)));
        let Some((fence, data)) = row.optional().map_err(StoreError::failed)? else { return Ok(Stored::default()) };
        Ok(Stored { fence: u64::try_from(fence).map_err(StoreError::failed)?, data })
    }

    /// Builds the error after no row was changed. The fence that is seen now may be greater than the one that refused;
    /// both are greater than this fence.
    fn refusal(&self, fence: u64) -> StoreError {
        self.stored().map_or_else(|error| error, |stored| StoreError::Refused { fence, seen: stored.fence })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FencedStore for SqlRow {
    async fn read(&self, fence: u64) -> Result<String, StoreError> {
        let number = i64::try_from(fence).map_err(StoreError::failed)?;
        let row = self.connection().query_row(READ, params![self.id, number], |row| row.get(0));
        row.optional().map_err(StoreError::failed)?.ok_or_else(|| self.refusal(fence))
    }

    async fn write(&self, fence: u64, data: &str) -> Result<(), StoreError> {
        let number = i64::try_from(fence).map_err(StoreError::failed)?;
        let changed = self.connection().execute(WRITE, params![self.id, number, data]).map_err(StoreError::failed)?;
        if changed == 1 { Ok(()) } else { Err(self.refusal(fence)) }
    }

    async fn look(&self) -> Result<Stored, StoreError> {
        self.stored()
    }
}
