//! Shows a holder that is paused beyond the validity of its lock and then continues: how that ends with storage that
//! accepts every write, and with storage that checks fencing tokens.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a story for people to read")]

use std::sync::Arc;

use redlock_tests::{
    backend::Backend,
    fenced_story::{Account, tell},
    servers::{Server, ServerOptions, Servers},
};

#[tokio::main]
async fn main() {
    let servers = Servers::from_env().await.unwrap();
    println!("The lock is over 3, the account on another one, of {}\n", servers.describe());
    let nodes = servers.start(3, &ServerOptions::new()).await.unwrap();
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let open = || urls.iter().enumerate().map(|(index, url)| Backend::RedisRs.open(index, url)).collect();
    let storage = Arc::new(servers.start_one(&ServerOptions::new()).await.unwrap());
    for (title, account) in [
        ("Storage that does not look at fencing tokens", Account::plain(&storage)),
        ("Storage that refuses smaller fencing tokens", Account::fenced(&storage)),
    ] {
        let ending = tell(open, &account).await.unwrap();
        println!("{title}\n{}", ending.timeline);
    }
}
