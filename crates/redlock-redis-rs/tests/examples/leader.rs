//! Of several workers one leads.

use crate::{
    program::Program,
    stage::{Stage, until},
};

/// A worker that leads, one that waits for that, and the token of the first.
async fn leader_and_follower(stage: &Stage) -> (Program, Program, String) {
    let leader = Program::start("leader", stage);
    leader.until_said(" leads").await;
    let token = stage.until_held("leader").await;
    let follower = Program::start("leader", stage);
    until("the follower waits to be woken", async || stage.is_listened_to().await).await;
    assert_eq!(follower.said(" leads"), [""; 0]);
    (leader, follower, token)
}

#[tokio::test]
async fn when_the_leader_dies_another_leads() {
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
async fn a_leader_that_is_told_to_end_releases_the_lock() {
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
async fn one_that_waits_ends_at_once_and_leaves_the_leader_alone() {
    let stage = Stage::new().await;
    let (leader, follower, token) = leader_and_follower(&stage).await;
    follower.send("TERM");
    let ended = follower.ended().await;
    assert_eq!((ended.code, ended.lines(" leads").len()), (Some(0), 0), "{ended:?}");
    assert_eq!(stage.tokens("leader").await, [&*token; 3]);
    assert_eq!(leader.said("the term is over"), [""; 0]);
}

#[tokio::test]
async fn a_leader_whose_lock_is_another_s_stops_and_tries_again() {
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
