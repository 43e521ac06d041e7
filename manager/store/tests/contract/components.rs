//! Components in the store: whole or not there.

use holdfast_model::time::UnixMs;
use holdfast_store::api::{Store, Txn, TxnOp};
use holdfast_store::components::{entries, entry, get, put, remove};
use holdfast_store::keyspace::component_piece;

/// More than two pieces.
const BYTES: usize = 600_000;

pub async fn are_whole_or_not_there(store: &dyn Store) {
    let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    assert_eq!(get(store, "abc").await, Ok(None));
    for _ in 0..2 {
        put(store, "abc", &bytes, UnixMs(7)).await.expect("stored");
        assert_eq!(
            get(store, "abc").await.expect("an answer").as_ref(),
            Some(&bytes)
        );
    }
    let found = entry(store, "abc")
        .await
        .expect("an answer")
        .expect("it is there");
    assert_eq!((found.bytes, found.at), (BYTES as u64, UnixMs(7)));
    assert_eq!(
        entries(store).await.expect("an answer"),
        std::slice::from_ref(&found)
    );
    let lose = |key| Txn {
        compares: Vec::new(),
        ops: vec![TxnOp::Delete(key)],
    };
    store
        .txn(lose(component_piece("abc", 1)))
        .await
        .expect("removed");
    assert_eq!(get(store, "abc").await, Ok(None), "a piece is missing");
    remove(store, &found).await.expect("removed");
    assert_eq!(entries(store).await, Ok(Vec::new()));
    let left = store
        .list("/holdfast/components/")
        .await
        .expect("an answer");
    assert_eq!(left.items, []);
}
