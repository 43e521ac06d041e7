//! Components of extensions in the store, by their digest: in pieces, since a transaction holds 1.5 MB.
//!
//! ```text
//! pieces 0, 1, … ─> index entry (size, when) ─> an installed extension names the digest
//! ```
//! The index entry is written last: a component without one is not there, so an upload that broke off leaves
//! nothing that anybody would use. What stands under a digest never changes, so pieces are written without
//! guards, and the same upload twice is no conflict.

use crate::api::{Store, StoreError, Txn, TxnOp};
use crate::guards::encode;
use crate::keyspace::{COMPONENTS, component, component_piece};
use holdfast_model::time::UnixMs;
use serde::{Deserialize, Serialize};

/// Bytes of one piece: well below etcd's limit of a request, and a fraction of a second to write.
const PIECE_BYTES: usize = 256 * 1024;

/// What is known of a component without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
    /// When it was uploaded.
    pub at: UnixMs,
}

impl Entry {
    fn pieces(&self) -> usize {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        bytes.div_ceil(PIECE_BYTES)
    }
}

/// Stores one.
///
/// # Errors
/// If the store does not take a piece; what was stored by then is no component.
pub async fn put(
    store: &dyn Store,
    digest: &str,
    bytes: &[u8],
    at: UnixMs,
) -> Result<(), StoreError> {
    for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        write(store, component_piece(digest, number), piece.to_vec()).await?;
    }
    let entry = Entry {
        digest: digest.to_owned(),
        bytes: bytes.len() as u64,
        at,
    };
    write(store, component(digest), encode(&entry)).await
}

async fn write(store: &dyn Store, key: String, value: Vec<u8>) -> Result<(), StoreError> {
    let txn = || Txn {
        compares: Vec::new(),
        ops: vec![TxnOp::Put(key.clone(), value.clone())],
    };
    match store.txn(txn()).await {
        // The same again changes nothing.
        Err(StoreError::OutcomeUnknown { .. }) => store.txn(txn()).await.map(drop),
        result => result.map(drop),
    }
}

/// What is known of one; none if it is not there.
///
/// # Errors
/// If the store does not answer.
pub async fn entry(store: &dyn Store, digest: &str) -> Result<Option<Entry>, StoreError> {
    let (found, _) = store.get(&component(digest)).await?;
    Ok(found.and_then(|found| serde_json::from_slice(&found.value).ok()))
}

/// All that are there.
///
/// # Errors
/// If the store does not answer.
pub async fn entries(store: &dyn Store) -> Result<Vec<Entry>, StoreError> {
    let listing = store.list(COMPONENTS).await?;
    let items = listing.items.iter();
    // What a newer version wrote is left alone.
    Ok(items
        .filter_map(|item| serde_json::from_slice(&item.value).ok())
        .collect())
}

/// One, whole; none if it or a piece of it is not there. Whether the bytes are what the digest says is for the
/// caller to see.
///
/// # Errors
/// If the store does not answer.
pub async fn get(store: &dyn Store, digest: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(entry) = entry(store, digest).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    for number in 0..entry.pieces() {
        let (piece, _) = store.get(&component_piece(digest, number)).await?;
        match piece {
            Some(piece) => bytes.extend_from_slice(&piece.value),
            None => return Ok(None),
        }
    }
    Ok((bytes.len() as u64 == entry.bytes).then_some(bytes))
}

/// Removes one: its index entry first, so that nobody begins to read what is going.
///
/// # Errors
/// If the store does not answer.
pub async fn remove(store: &dyn Store, entry: &Entry) -> Result<(), StoreError> {
    let digest = &entry.digest;
    let keys = (0..entry.pieces()).map(|number| component_piece(digest, number));
    for key in std::iter::once(component(digest)).chain(keys) {
        let txn = Txn {
            compares: Vec::new(),
            ops: vec![TxnOp::Delete(key)],
        };
        store.txn(txn).await?;
    }
    Ok(())
}
