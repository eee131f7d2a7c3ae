//! A holder that is paused beyond its validity and writes: the next write is lost without a fence, and the late one is
//! refused with one.

use std::sync::Arc;

use redlock_tests::{
    backend::Backend,
    fenced_story::{Account, Ending, tell},
    servers::{Server, ServerOptions, Servers},
};

async fn ending(account: fn(&Arc<Server>) -> Account) -> Ending {
    let servers = Servers::from_env().await.unwrap();
    let nodes = servers.start(3, &ServerOptions::new()).await.unwrap();
    let urls: Vec<_> = nodes.iter().map(Server::url).collect();
    let open = || urls.iter().enumerate().map(|(index, url)| Backend::Mixed.open(index, url)).collect();
    let storage = Arc::new(servers.start_one(&ServerOptions::new()).await.unwrap());
    tell(open, &account(&storage)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_promise_without_a_fence_a_paused_holder_overwrites_the_work_of_the_next() {
    let ending = ending(Account::plain).await;
    assert_eq!((ending.balance, ending.refused), (105, false), "{}", ending.timeline);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_fence_a_paused_holder_is_refused_and_starts_again() {
    let ending = ending(Account::fenced).await;
    assert_eq!((ending.balance, ending.refused), (115, true), "{}", ending.timeline);
}
