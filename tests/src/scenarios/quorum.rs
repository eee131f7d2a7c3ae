//! Quorums: every subset of failing nodes, for odd and even fleets.

use std::time::Duration;

use redlock_core::{AcquireError, NodeAnswer, Release, RoundFailure};

use crate::lab::Lab;

const TTL: Duration = Duration::from_secs(30);

/// Returns all subsets of this many nodes, each of which differs from the previous one in one node.
fn subsets(nodes: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1_usize << nodes).map(move |step| {
        let gray = step ^ (step >> 1);
        (0..nodes).map(|node| gray & (1 << node) != 0).collect()
    })
}

/// Acquires a lock while these nodes fail, and checks that the quorum of the others decided.
async fn check(lab: &Lab, failing: &[bool]) {
    let (nodes, down) = (failing.len(), failing.iter().filter(|fails| **fails).count());
    // A node that hung before may still be carrying out requests for the lock of an earlier subset.
    let resource = format!("{failing:?}");
    let quorum = nodes - down > nodes / 2;
    // A quorum is awaited, however slow the machine is; without one, waiting gains nothing.
    let node_timeout = Duration::from_millis(if quorum { 5_000 } else { 50 });
    let redlock = lab.builder(nodes).node_timeout(node_timeout).build().unwrap();
    let acquired = redlock.try_acquire(&resource, TTL).await;
    if quorum {
        let mut lock = acquired.unwrap_or_else(|error| panic!("{error}")).unwrap();
        lock.extend(TTL).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lock.release().await.unwrap(), Release::Released, "{resource}");
    } else {
        let error = acquired.err().unwrap_or_else(|| panic!("{resource}: locked without a quorum"));
        assert!(matches!(&error, AcquireError::NoQuorum(_)), "{error}");
    }
    lab.until_held_by(0, &resource).await;
}

pub(super) async fn every_subset_of_stopped_nodes_is_decided(lab: &Lab) {
    check_every_subset(lab, Outage::Stopped).await;
}

pub(super) async fn every_subset_of_hung_nodes_is_decided(lab: &Lab) {
    check_every_subset(lab, Outage::Hung).await;
}

#[derive(Debug, Clone, Copy)]
enum Outage {
    Stopped,
    Hung,
}

async fn check_every_subset(lab: &Lab, outage: Outage) {
    for nodes in 1..=Lab::NODES {
        for failing in subsets(nodes) {
            for (index, fails) in failing.iter().enumerate() {
                match outage {
                    _ if !fails => lab.mend(index).await,
                    _ if lab.is_broken(index) => {}
                    Outage::Stopped => lab.stop(index).await,
                    Outage::Hung => lab.hang(index).await,
                }
            }
            check(lab, &failing).await;
        }
    }
}

pub(super) async fn every_split_of_nodes_held_by_another_is_decided(lab: &Lab) {
    for nodes in 1..=Lab::NODES {
        let redlock = lab.redlock(nodes);
        for held in subsets(nodes) {
            for (index, held) in held.iter().enumerate() {
                if *held {
                    lab.set(index, "r", "another", None).await;
                } else {
                    lab.remove(index, "r").await;
                }
            }
            let others = held.iter().filter(|held| **held).count();
            let acquired = redlock.try_acquire("r", TTL).await;
            if nodes - others > nodes / 2 {
                assert_eq!(acquired.unwrap().unwrap().release().await.unwrap(), Release::Released, "{held:?}");
            } else {
                assert!(acquired.unwrap().is_none(), "{held:?}");
            }
            redlock.close().await.unwrap();
            assert_eq!(lab.holding("r").await, others, "{held:?}");
        }
        for index in 0..nodes {
            lab.remove(index, "r").await;
        }
    }
}

pub(super) async fn a_lock_is_acquired_with_two_of_five_nodes_stopped_and_one_slow(lab: &Lab) {
    lab.stop(0).await;
    lab.stop(1).await;
    lab.hang(2).await;
    let redlock = lab.builder(5).node_timeout(Duration::from_secs(2)).build().unwrap();
    let call = tokio::spawn(async move { redlock.try_acquire("r", Duration::from_secs(30)).await });
    // The third vote comes late, but within the node timeout.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!call.is_finished());
    lab.mend(2).await;
    assert_eq!(call.await.unwrap().unwrap().unwrap().release().await.unwrap(), Release::Released);
}

pub(super) async fn with_three_of_five_nodes_stopped_the_error_names_each_node(lab: &Lab) {
    for index in [0, 2, 4] {
        lab.stop(index).await;
    }
    let redlock = lab.redlock(5);
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    let AcquireError::NoQuorum(tried) = &error else { panic!("{error}") };
    assert_eq!(tried.failure, RoundFailure::NoQuorum);
    for (index, vote) in tried.last_round.nodes().iter().enumerate() {
        assert_eq!(vote.node, lab.node(index).name());
        assert!(error.to_string().contains(&vote.node), "{error}");
        assert_eq!(matches!(vote.answer, NodeAnswer::Failed(_)), index % 2 == 0, "{error}");
    }
}
