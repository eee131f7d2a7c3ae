//! Releases that are owed: which are sent when, and which are forgotten.

use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// With these releases, of keys that have expired after 10 s.
fn debts(leases: &[u8]) -> Debts<u8> {
    let mut debts = Debts::new(1 << 20);
    for lease in leases {
        debts.add(release(*lease), secs(10));
    }
    debts
}

fn release(lease: u8) -> Ask<u8> {
    let request = Request::Release { lives: secs(10) };
    Ask { lease, request, until: Duration::MAX, node_timeout: secs(1), again: false }
}

#[test]
fn a_release_is_sent_again_until_the_node_answers() {
    let mut debts = debts(&[1]);
    assert_eq!(debts.send(0), Some(release(1)));
    assert_eq!(debts.failed(0, secs(1), secs(2), true), None);
    assert_eq!((debts.due(), debts.due_at(secs(1), 9)), (Some(secs(2)), vec![]));
    assert_eq!(debts.due_at(secs(2), 9), [0]);
    let again = Ask { again: true, ..release(1) };
    assert_eq!(debts.send(0), Some(again.clone()));
    assert_eq!(debts.failed(0, secs(3), secs(3), true), Some(again.clone()), "the lease hears of the second failure");
    assert_eq!(debts.send(0), Some(again.clone()));
    assert_eq!(debts.failed(0, secs(4), secs(4), true), None, "and of no other");
    assert_eq!(debts.send(0), Some(again.clone()));
    assert_eq!((debts.unsettled(), debts.delivered(0, secs(4))), (1, Some(again)));
    assert_eq!((debts.unsettled(), debts.is_empty(), debts.bytes()), (0, true, 0));
}

#[test]
fn a_release_that_a_lost_request_may_follow_is_repeated_ever_later() {
    let mut debts = debts(&[1]);
    debts.outlive(&1, secs(600), true);
    let (mut now, mut sent) = (Duration::ZERO, Vec::new());
    loop {
        assert_eq!(debts.unsettled(), usize::from(sent.len() < 2));
        debts.send(0);
        sent.push(now.as_millis());
        // Once it is settled, it does not matter whether the node answers.
        if sent.len() > 2 {
            drop(debts.failed(0, now, now, true))
        } else {
            drop(debts.delivered(0, now))
        }
        let Some(due) = debts.due() else { break };
        now = due;
    }
    assert_eq!(sent, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500, 63_500]);
    assert_eq!((debts.is_empty(), debts.has(&1), debts.bytes()), (true, false, 0));
}

#[test]
fn a_release_is_forgotten_once_the_keys_have_expired_unless_something_is_out() {
    let mut debts = debts(&[1, 2, 3]);
    debts.send(0);
    debts.expire(secs(10), |lease| *lease == 2);
    assert!(debts.has(&1) && debts.has(&2) && !debts.has(&3));
    debts.failed(0, secs(11), secs(11), true);
    debts.expire(secs(20), |_| false);
    assert_eq!((debts.is_empty(), debts.due(), debts.unsettled(), debts.bytes()), (true, None, 0, 0));
}

#[test]
fn a_release_that_fails_goes_behind_those_that_wait() {
    let mut debts = debts(&[1, 2]);
    debts.send(1);
    assert_eq!(debts.failed(1, secs(1), secs(1), false), Some(release(2)), "without a connection, at once");
    debts.send(0);
    debts.failed(0, secs(2), secs(2), true);
    assert_eq!(debts.due_at(secs(2), 9), [1, 0]);
}

#[test]
fn the_oldest_releases_make_room_beyond_the_bound() {
    let mut debts = debts(&[1, 2]);
    debts.most_bytes = debts.bytes();
    assert_eq!(debts.trim(), 0);
    debts.add(release(3), secs(10));
    assert_eq!(debts.trim(), 1);
    assert_eq!((debts.has(&1), debts.get(0), debts.get(2)), (false, None, Some(&release(3))));
}
