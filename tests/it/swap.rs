//! The README's quick start, run once per Redis client: only the `use` line differs.

use redlock_tests::servers::{Server, ServerOptions, Servers};

/// The calls of the quick start, with this `use` line.
macro_rules! example {
    ($client:ident) => {
        mod $client {
            use std::{error::Error, time::Duration};

            use redlock_core::{Redlock, Release};
            use $client::RedisNode;

            pub(super) async fn run(urls: [&str; 3]) -> Result<(), Box<dyn Error>> {
                let redlock = Redlock::new(RedisNode::open_all(urls)?)?;

                let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
                assert!(lock.validity() < Duration::from_secs(10));
                lock.check()?;
                assert_eq!(lock.release().await?, Release::Released);

                redlock.close().await?;
                Ok(())
            }
        }
    };
}

example!(redlock_redis_rs);
example!(redlock_fred);

async fn servers() -> Vec<Server> {
    let servers = Servers::from_env().await.unwrap();
    servers.start(3, &ServerOptions::new()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_example_runs_on_redis_rs() {
    let servers = servers().await;
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    redlock_redis_rs::run([&urls[0], &urls[1], &urls[2]]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_example_runs_on_fred() {
    let servers = servers().await;
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    redlock_fred::run([&urls[0], &urls[1], &urls[2]]).await.unwrap();
}
