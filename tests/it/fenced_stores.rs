//! Every recipe for fenced storage refuses late writers, however many write at the same time.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::object_store::{
    memory::InMemory,
    throttle::{ThrottleConfig, ThrottledStore},
};
use redlock_tests::{
    fenced_stores::{FencedStore, Object, RedisHash, SqlRow, StoreError},
    servers::{ServerOptions, Servers},
};
use tokio::task::JoinSet;

/// The greatest possible fencing token.
const GREATEST: u64 = (1 << 53) - 1;

#[tokio::test]
async fn a_row_refuses_late_writers() {
    let folder = tempfile::tempdir().unwrap();
    late_writers_are_refused(&SqlRow::open(&folder.path().join("db"), "account").unwrap()).await;
}

#[tokio::test]
async fn a_hash_refuses_late_writers() {
    with_hash("late", async |hash| late_writers_are_refused(&hash).await).await;
}

#[tokio::test]
async fn an_object_refuses_late_writers() {
    late_writers_are_refused(&Object::new(Arc::new(InMemory::new()), "account")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fence_of_a_row_only_grows_under_many_writers() {
    let folder = tempfile::tempdir().unwrap();
    // One connection each, as processes have.
    let open = || SqlRow::open(&folder.path().join("db"), "account").unwrap();
    the_fence_only_grows((0..9).map(|_| Arc::new(open()) as Arc<dyn FencedStore>).collect()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fence_of_a_hash_only_grows_under_many_writers() {
    with_hash("many", async |hash| {
        the_fence_only_grows((0..9).map(|_| Arc::new(hash.clone()) as Arc<dyn FencedStore>).collect()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_fence_of_an_object_only_grows_under_many_writers() {
    let slow = Duration::from_millis(1);
    let config = ThrottleConfig { wait_get_per_call: slow, wait_put_per_call: slow, ..ThrottleConfig::default() };
    let object = Object::new(Arc::new(ThrottledStore::new(InMemory::new(), config)), "account");
    the_fence_only_grows((0..9).map(|_| Arc::new(object.clone()) as Arc<dyn FencedStore>).collect()).await;
}

async fn with_hash(name: &str, test: impl AsyncFnOnce(RedisHash)) {
    let servers = Servers::from_env().await.unwrap();
    let server = Arc::new(servers.start_one(&ServerOptions::new()).await.unwrap());
    let key = format!("fenced:{name}:{}", process::id());
    test(RedisHash::new(server.clone(), key.clone())).await;
    server.command(&["DEL", &key]).await.unwrap();
}

async fn late_writers_are_refused(store: &dyn FencedStore) {
    assert_eq!((store.look().await.unwrap().fence, store.look().await.unwrap().data.as_str()), (0, ""));
    store.write(9, "nine").await.unwrap();
    refuses(store, 8, 9).await;
    store.write(9, "nine again").await.unwrap();
    // As text it would be smaller than 9.
    store.write(10, "ten").await.unwrap();
    refuses(store, 9, 10).await;

    // A holder that has only read excludes earlier ones, and may then write.
    assert_eq!(store.read(12).await.unwrap(), "ten");
    refuses(store, 11, 12).await;
    store.write(12, "twelve").await.unwrap();
    assert_eq!(store.read(12).await.unwrap(), "twelve");

    // The greatest fences are distinguished.
    store.write(GREATEST, "last").await.unwrap();
    refuses(store, GREATEST - 1, GREATEST).await;
    let stored = store.look().await.unwrap();
    assert_eq!((stored.fence, stored.data.as_str()), (GREATEST, "last"));
}

/// Checks that a read and a write with that fence are refused, and that they change nothing.
async fn refuses(store: &dyn FencedStore, late: u64, greatest: u64) {
    let before = store.look().await.unwrap();
    let errors = [store.write(late, "late").await.unwrap_err(), store.read(late).await.unwrap_err()];
    for error in errors {
        assert_eq!(error.to_string(), format!("fence {late} is refused, {greatest} was seen"));
    }
    assert_eq!(store.look().await.unwrap(), before);
}

/// Eight tasks write and read, each with fences in its own order, and the ninth task watches.
async fn the_fence_only_grows(mut handles: Vec<Arc<dyn FencedStore>>) {
    const FENCES: u64 = 60;
    let watched = handles.pop().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (watched, over) = (watched.clone(), over.clone());
        tokio::spawn(async move {
            let mut last = 0;
            while !over.load(Ordering::Relaxed) {
                let stored = watched.look().await.unwrap();
                assert!(stored.fence >= last, "{} after {last}", stored.fence);
                last = stored.fence;
                // SQLite never waits here: without this, a test that fails would not end.
                tokio::task::yield_now().await;
            }
        })
    };
    let mut writers = JoinSet::new();
    for (writer, store) in handles.into_iter().enumerate() {
        writers.spawn(async move {
            // Mostly increasing, so that many are accepted, and each in its own order.
            let mut random = fastrand::Rng::with_seed(writer as u64);
            let mut fences: Vec<u64> = (1..=FENCES).collect();
            for part in fences.chunks_mut(20) {
                random.shuffle(part);
            }
            let (mut done, mut refused) = (0, 0);
            for fence in fences {
                let call = if random.u8(..4) == 0 {
                    store.read(fence).await.map(drop)
                } else {
                    store.write(fence, &format!("{fence} of {writer}")).await
                };
                match call {
                    Ok(()) => {
                        done += 1;
                        let stored = store.look().await.unwrap();
                        assert!(stored.fence >= fence, "{} is stored after {fence} was stored", stored.fence);
                        let written: u64 = stored.data.split(' ').next().unwrap().parse().unwrap_or(0);
                        assert!(written <= stored.fence, "{stored:?}");
                    }
                    Err(StoreError::Refused { fence: told, seen }) => {
                        refused += 1;
                        assert!(told == fence && (fence + 1..=FENCES).contains(&seen), "{told} refused for {seen}");
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            (done, refused)
        });
    }
    let counts = writers.join_all().await;
    over.store(true, Ordering::Relaxed);
    watcher.await.unwrap();
    assert_eq!(watched.look().await.unwrap().fence, FENCES);
    let (done, refused) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(done >= 8 && refused >= 8, "{done} done, {refused} refused: no calls interfered with each other");
}
