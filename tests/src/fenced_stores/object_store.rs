//! An object in an object store with conditional writes: S3, Google Cloud Storage, Azure, or one in memory.

use std::sync::Arc;

use ::object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path,
};
use anyhow::Context as _;
use async_trait::async_trait;

use super::{FencedStore, StoreError, Stored};

/// The name of the metadata entry that holds the fence; the content is only the data.
const FENCE: &str = "fence";

/// An object with its fence in its metadata.
///
/// The store compares ETags, not fences. So each call reads the fence, and writes on the condition that the object has
/// not changed (`If-Match`, or `If-None-Match: *` for the first write). If another call was faster, it starts again.
#[derive(Debug, Clone)]
pub struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
}

impl Object {
    /// Returns the object at this path.
    pub fn new(store: Arc<dyn ObjectStore>, path: impl Into<Path>) -> Self {
        Self { store, path: path.into() }
    }

    /// Writes the data, or the stored data if there is none, with this fence. Returns the data that is stored then.
    async fn call(&self, fence: u64, data: Option<&str>) -> Result<String, StoreError> {
        loop {
            let (stored, mode) = self.get().await?;
            if stored.fence > fence {
                return Err(StoreError::Refused { fence, seen: stored.fence });
            }
            let data = data.unwrap_or(&stored.data).to_owned();
            let mut attributes = Attributes::new();
            attributes.insert(Attribute::Metadata(FENCE.into()), fence.to_string().into());
            let options = PutOptions { mode, attributes, ..PutOptions::default() };
            match self.store.put_opts(&self.path, PutPayload::from(data.clone()), options).await {
                Ok(_) => return Ok(data),
                // Each time, another call has succeeded, so this ends when the others do.
                Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(StoreError::failed(error)),
            }
        }
    }

    /// Returns the stored data, and the mode that replaces exactly this version.
    async fn get(&self) -> Result<(Stored, PutMode), StoreError> {
        let found = match self.store.get_opts(&self.path, GetOptions::default()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok((Stored::default(), PutMode::Create)),
            Err(error) => return Err(StoreError::failed(error)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let fence = found.attributes.get(&Attribute::Metadata(FENCE.into()));
        let fence = fence.context("an object without a fence").map_err(StoreError::Failed)?;
        let fence = fence.parse().map_err(StoreError::failed)?;
        let bytes = found.bytes().await.map_err(StoreError::failed)?;
        let data = String::from_utf8(bytes.to_vec()).map_err(StoreError::failed)?;
        Ok((Stored { fence, data }, PutMode::Update(version)))
    }
}

#[async_trait]
impl FencedStore for Object {
    async fn read(&self, fence: u64) -> Result<String, StoreError> {
        self.call(fence, None).await
    }

    async fn write(&self, fence: u64, data: &str) -> Result<(), StoreError> {
        self.call(fence, Some(data)).await.map(drop)
    }

    async fn look(&self) -> Result<Stored, StoreError> {
        Ok(self.get().await?.0)
    }
}
