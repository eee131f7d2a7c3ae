//! The README's example, once per Redis client: only the `use` line differs.

use redlock_tests::servers::{Server, ServerOptions, Servers};

/// The example as the README prints it, with this `use` line.
macro_rules! example {
    ($client:ident) => {
        mod $client {
            use std::{error::Error, time::Duration};

            use redlock_core::Redlock;
            use $client::RedisNode;

            pub(super) async fn run(urls: [&str; 3]) -> Result<(), Box<dyn Error>> {
                let nodes = RedisNode::open_all(urls)?;
                let redlock = Redlock::new(nodes)?;

                let lock = redlock.acquire("invoice:42", Duration::from_secs(10)).await?;
                charge().await; // lock.validity() says how long it may be relied on
                lock.release().await?;
                redlock.close().await?;
                Ok(())
            }

            async fn charge() {}
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
