//! Tests the example of several workers of which one leads.

use crate::{
    program::Program,
    stage::{Stage, until},
};

/// Starts a worker that leads and one that waits, and returns them with the token of the leader.
async fn leader_and_follower(stage: &Stage) -> (Program, Program, String) {
    let leader = Program::start("leader", stage);
    leader.until_said(" leads").await;
    let token = stage.until_held("leader").await;
    let follower = Program::start("leader", stage);
    until("the follower waits to be notified", async || stage.is_listened_to().await).await;
    assert_eq!(follower.said(" leads"), [""; 0]);
    (leader, follower, token)
}

#[tokio::test]
async fn another_worker_leads_when_the_leader_dies() {
    let stage = Stage::new().await;
    let (leader, follower, _) = leader_and_follower(&stage).await;
    leader.send("KILL");
    assert_eq!(leader.ended().await.code, None);
    follower.until_said(" leads").await;
    follower.send("TERM");
    assert_eq!(follower.ended().await.code, Some(0));
    assert_eq!(stage.tokens("leader").await, [""; 0]);
}

#[tokio::test]
async fn a_leader_releases_the_lock_on_sigterm() {
    let stage = Stage::new().await;
    let (leader, follower, token) = leader_and_follower(&stage).await;
    leader.send("TERM");
    let ended = leader.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!stage.tokens("leader").await.contains(&token));
    follower.until_said(" leads").await;
    follower.send("TERM");
    assert_eq!(follower.ended().await.code, Some(0));
    assert_eq!(stage.tokens("leader").await, [""; 0]);
}

#[tokio::test]
async fn a_waiting_worker_ends_at_once_without_disturbing_the_leader() {
    let stage = Stage::new().await;
    let (leader, follower, token) = leader_and_follower(&stage).await;
    follower.send("TERM");
    let ended = follower.ended().await;
    assert_eq!((ended.code, ended.lines(" leads").len()), (Some(0), 0), "{ended:?}");
    assert_eq!(stage.tokens("leader").await, [&*token; 3]);
    assert_eq!(leader.said("the term is over"), [""; 0]);
}

#[tokio::test]
async fn a_leader_that_loses_the_lock_stops_and_tries_again() {
    let stage = Stage::new().await;
    let leader = Program::start("leader", &stage);
    leader.until_said(" leads").await;
    stage.until_held("leader").await;
    for server in &stage.servers {
        server.command(&["SET", "leader", "another", "PX", "5000"]).await.unwrap();
    }
    leader.until_said("the term is over").await;
    until("it leads again", async || leader.said(" leads").len() == 2).await;
}
