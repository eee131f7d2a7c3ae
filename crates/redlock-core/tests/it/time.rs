//! How long calls take, in virtual time: hung nodes, deadlines, and validity.

use std::time::Duration;

use redlock_core::{
    AcquireError, AcquireOptions, AutoExtend, BuildError, ExtendError, LockLost, Redlock, Release, Retry, TtlError,
    testing::TokioClock,
};
use redlock_mock::{Event, Fault, Fleet, History, Memory, MockNode, What};
use tokio::time::Instant;

use crate::support::{builder, clocks::SuspendedWhileSending, ms, once, redlock};

const TTL: Duration = Duration::from_secs(10);
/// The default node timeout for this TTL.
const NODE_TIMEOUT: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn a_lock_on_simulated_nodes_expires_in_simulated_time_without_any_setting() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let lock = redlock.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.validity(), ms(9_898));
    tokio::time::sleep(TTL + ms(1)).await;
    assert!(lock.check().is_err());
    redlock.try_acquire("r", TTL).await.unwrap().unwrap().check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_a_simulated_process_expires_by_the_clock_of_the_process() {
    let fleet = Fleet::new(3, 1, 7);
    let history = History {
        nodes: 3,
        processes: 1,
        seed: 7,
        events: vec![Event { at: 0, what: What::ProcessClockRate { process: 0, ppm: 1_000_000 } }],
    };
    fleet.befall(&history).await;
    let lock = Redlock::new(fleet.processes()[0].nodes().to_vec()).unwrap().acquire("r", TTL).await.unwrap();
    tokio::time::sleep(TTL / 2).await;
    assert!(lock.check().is_err(), "this clock runs twice as fast");
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_clocks_differ_are_rejected_unless_a_clock_is_set() {
    let fleet = Fleet::new(3, 2, 7);
    let [first, second] = [0, 1].map(|process| fleet.processes()[process].nodes());
    let mixed = || Redlock::builder().node(first[0].clone()).node(second[1].clone());
    let error = mixed().build().unwrap_err();
    assert!(matches!(&error, BuildError::DifferentClocks { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "nodes node-1 and node-2 have different clocks: use nodes of one process, or set a clock"
    );
    mixed().clock(TokioClock::default()).build().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hung_minority_costs_no_time() {
    let nodes = MockNode::fleet(5);
    nodes[0].hang();
    nodes[3].hang();
    let redlock = redlock(&nodes);
    let start = Instant::now();
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_round_with_a_hung_majority_fails_after_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    nodes[0].hang();
    nodes[1].hang();
    let start = Instant::now();
    let error = redlock(&nodes).try_acquire("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::NoQuorum(_)), "{error}");
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_release_returns_within_the_node_timeout() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].hang();
    nodes[1].hang();
    let start = Instant::now();
    let error = lock.release().await.unwrap_err();
    assert_eq!(start.elapsed(), NODE_TIMEOUT);
    assert_eq!(
        error.to_string(),
        "unknown whether the lock on \"r\" was released; its TTL ends it; 1 of 3 released, 2 needed: node-1 did \
         not answer within 200ms, node-2 did not answer within 200ms, node-3 released; look for a hung or overloaded \
         node, or raise the node timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn validity_counts_from_before_the_first_byte() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(30))).collect();
    let redlock = redlock(&nodes);
    let lock = redlock.acquire("r", TTL).await.unwrap();
    // 10 s minus 102 ms for drift and the 30 ms that the round took.
    assert_eq!(lock.validity(), ms(9_868));
    assert_eq!(lock.validity(), ms(9_868));
    tokio::time::advance(ms(9_867)).await;
    assert!(lock.check().is_ok());
    tokio::time::advance(ms(1)).await;
    assert!(lock.check().is_err());
    assert_eq!(lock.validity(), Duration::ZERO);
    tokio::time::advance(TTL).await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
}

#[tokio::test(start_paused = true)]
async fn a_quorum_that_comes_too_late_is_an_error_and_released() {
    let nodes = MockNode::fleet(3);
    let redlock = builder(&nodes).clock(SuspendedWhileSending::default()).build().unwrap();
    let error = redlock.try_acquire("r", TTL).await.unwrap_err();
    assert!(matches!(error, AcquireError::AcquiredTooLate(_)), "{error}");
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_whatever_is_in_flight() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(MockNode::hang);
    let start = Instant::now();
    let options = AcquireOptions::new(TTL).timeout(ms(50));
    let error = redlock(&nodes).acquire("r", options).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(50));
    assert!(matches!(error, AcquireError::TimedOut(_)), "{error}");
    assert!(!error.is_contended());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_makes_as_many_attempts_as_fit_in() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let start = Instant::now();
    let options = AcquireOptions::new(TTL).timeout(Duration::from_secs(60));
    let error = redlock(&nodes).acquire("r", options).await.unwrap_err();
    assert!(error.is_contended());
    assert!(start.elapsed() <= Duration::from_secs(60) && start.elapsed() >= Duration::from_secs(59));
    let AcquireError::TimedOut(tried) = error else { panic!("{error}") };
    assert!((200..=600).contains(&tried.made), "a pause of 100 to 300 ms, not {} attempts", tried.made);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_tries_again_when_the_holders_ttl_ends() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "crashed", Some(ms(37))));
    let redlock = redlock(&nodes);
    let start = Instant::now();
    let patient = Retry::attempts(2).fixed(Duration::from_secs(5)).jitter(Duration::ZERO);
    let lock = redlock.acquire("r", AcquireOptions::new(TTL).retry(patient)).await.unwrap();
    assert_eq!(start.elapsed(), ms(38));
    drop(lock);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_pause_after_the_last_attempt() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", None));
    let start = Instant::now();
    let twice = Retry::attempts(2).fixed(ms(100)).jitter(Duration::ZERO);
    let error = redlock(&nodes).acquire("r", AcquireOptions::new(TTL).retry(twice)).await.unwrap_err();
    assert_eq!(start.elapsed(), ms(100));
    // The query with which the call begins to listen does not count as an attempt.
    assert!(error.to_string().contains("; 2 attempts in 100ms; "), "{error}");
    assert_eq!(error.attempts().unwrap().made, 2);
}

#[tokio::test(start_paused = true)]
async fn an_extend_must_be_confirmed_before_the_validity_ends() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(100))).collect();
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    tokio::time::advance(lock.validity() - ms(50)).await;
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::ExtendedTooLate { .. }), "{error}");
    assert!(lock.check().is_err());
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Expired { .. }), "an extend never revives a lost lock: {error}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_extend_keeps_the_lock_and_its_deadline() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    let until = Instant::now() + lock.validity();
    nodes[0].stop();
    nodes[1].stop();
    let error = lock.extend(2 * TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::NoQuorum { .. }), "{error}");
    assert_eq!(Instant::now() + lock.validity(), until);
    nodes[0].start(Memory::Kept);
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn an_extend_counts_from_before_the_first_byte() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(30))).collect();
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    tokio::time::advance(ms(5000)).await;
    assert_eq!(lock.extend(TTL).await.unwrap(), ms(9_868));
}

#[tokio::test(start_paused = true)]
async fn an_extend_never_shortens_the_lock() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    assert_eq!(lock.extend(TTL / 2).await.unwrap(), ms(9_898));
    assert_eq!(nodes[0].remaining("r"), Some(TTL));
}

#[tokio::test(start_paused = true)]
async fn an_extend_that_arrives_late_does_not_undo_a_later_one() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // It arrives after the response timeout, so the caller has given up long before.
    nodes.iter().for_each(|node| node.inject(Fault::DelayRequest(ms(1_500))));
    lock.extend(TTL / 2).await.unwrap_err();
    tokio::time::sleep(ms(1_050)).await;
    lock.extend(6 * TTL).await.unwrap();
    tokio::time::sleep(TTL).await;
    assert!(lock.check().is_ok());
    assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_extend_heals_a_minority_that_lost_its_memory() {
    let nodes = MockNode::fleet(5);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[0].restart(Memory::Lost);
    nodes[4].restart(Memory::Lost);
    lock.extend(TTL).await.unwrap();
    assert!(nodes.iter().all(|node| node.peek("r").as_deref() == Some(lock.token().as_bytes())));
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_a_quorum_forgot_is_lost_even_if_nobody_else_acquired_it() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    // Another holder may have had it in between.
    nodes[0].restart(Memory::Lost);
    nodes[1].restart(Memory::Lost);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(matches!(lock.check(), Err(LockLost::NotHeld { .. })));
    drop(lock);
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn if_one_node_forgot_the_lock_an_extend_waits_for_a_slow_node_to_confirm() {
    let nodes = vec![MockNode::new("a"), MockNode::new("b"), MockNode::new("c").with_latency(ms(20))];
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    tokio::time::sleep(ms(20)).await;
    nodes[0].restart(Memory::Lost);
    let start = Instant::now();
    lock.extend(TTL).await.unwrap();
    assert_eq!(start.elapsed(), ms(20));
    // The slow node had lost the key too: two of three nodes had.
    nodes[0].restart(Memory::Lost);
    nodes[2].restart(Memory::Lost);
    assert!(matches!(lock.extend(TTL).await, Err(ExtendError::Lost { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_another_holder_took_is_lost_at_once() {
    let nodes = MockNode::fleet(3);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[1].set("r", "another", None);
    nodes[2].set("r", "another", None);
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::Lost { .. }), "{error}");
    assert!(lock.check().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_uses_a_short_timeout_completely() {
    let nodes = MockNode::fleet(3);
    nodes.iter().for_each(|node| node.set("r", "another", Some(ms(100))));
    // The node timeout is 500 ms here, longer than the deadline.
    let options = AcquireOptions::new(Duration::from_secs(30)).timeout(ms(400));
    let _ = redlock(&nodes).acquire("r", options).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_for_a_held_lock_waits_until_its_deadline() {
    for deadline in [30, 100, 1_000].map(ms) {
        let nodes = MockNode::fleet(3);
        nodes.iter().for_each(|node| node.set("r", "another", None));
        let start = Instant::now();
        let error = redlock(&nodes).acquire("r", AcquireOptions::new(TTL).timeout(deadline)).await.unwrap_err();
        assert_eq!(start.elapsed(), deadline);
        assert!(matches!(error, AcquireError::TimedOut(_)) && error.is_contended(), "{error}");
        assert!(error.to_string().contains("node-3 held by another"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_released_shortly_before_the_deadline_is_acquired() {
    for released_at in [60, 80, 98].map(ms) {
        let nodes = MockNode::fleet(3);
        let lock = redlock(&nodes).acquire("r", TTL).await.unwrap();
        let start = Instant::now();
        let release = async {
            tokio::time::sleep(released_at).await;
            lock.release().await
        };
        let here = redlock(&nodes);
        let (acquired, _) = tokio::join!(here.acquire("r", AcquireOptions::new(TTL).timeout(ms(100))), release);
        acquired.unwrap().check().unwrap();
        assert!(start.elapsed() <= released_at + ms(1), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_round_that_the_deadline_cuts_off_hides_no_earlier_answer() {
    for (is_held, cause) in [(true, "held by another"), (false, "failed (unreachable)")] {
        let nodes = MockNode::fleet(3);
        match is_held {
            true => nodes.iter().for_each(|node| node.set("r", "another", None)),
            false => nodes.iter().for_each(MockNode::stop),
        }
        let redlock = redlock(&nodes);
        let acquire = redlock.acquire("r", AcquireOptions::new(TTL).timeout(ms(250)));
        let hang = async {
            // After the first rounds, and before the last one.
            tokio::time::sleep(ms(40)).await;
            nodes.iter().for_each(|node| node.start(Memory::Kept));
            nodes.iter().for_each(MockNode::hang);
        };
        let (acquired, ()) = tokio::join!(acquire, hang);
        let error = acquired.unwrap_err();
        assert!(matches!(error, AcquireError::TimedOut(_)) && error.is_contended() == is_held, "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("node-1 {cause}")) && !text.contains("answer"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_had_no_time_to_answer_is_not_reported_as_silent() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(ms(60))).collect();
    let error = redlock(&nodes).acquire("r", AcquireOptions::new(TTL).timeout(ms(50))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("node-1 had not answered after 50ms, when the time limit was reached"), "{text}");
    assert!(text.ends_with("; allow more time, or look for a slow node"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_hung_node_does_not_shorten_a_deadline() {
    let nodes = MockNode::fleet(3);
    nodes[0].hang();
    nodes[1].set("r", "another", Some(ms(1_100)));
    // Each lost round waits half a second for the hung node.
    let options = AcquireOptions::new(Duration::from_secs(30)).timeout(ms(2_000));
    let _ = redlock(&nodes).acquire("r", options).await.unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_tie_in_an_even_fleet_loses_no_lock() {
    let nodes = MockNode::fleet(2);
    let redlock = redlock(&nodes);
    let mut lock = redlock.acquire("r", TTL).await.unwrap();
    nodes[1].set("r", "another", Some(ms(50)));
    let error = lock.extend(TTL).await.unwrap_err();
    assert!(matches!(error, ExtendError::NoQuorum { .. }), "{error}");
    assert!(lock.check().is_ok());
    tokio::time::sleep(ms(60)).await;
    lock.extend(TTL).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn every_round_has_its_own_token() {
    let nodes = MockNode::fleet(3);
    nodes[1].set("r", "another", None);
    nodes[2].set("r", "another", None);
    let redlock = redlock(&nodes);
    // The release of the first round is lost, so its token stays on the first node.
    nodes[0].inject(Fault::None);
    nodes[0].inject(Fault::LoseRequest);
    let call = tokio::spawn(async move { redlock.acquire("r", TTL).await });
    tokio::time::sleep(ms(1)).await;
    let first = nodes[0].peek("r").unwrap();
    nodes[0].remove("r");
    nodes[1].remove("r");
    let lock = call.await.unwrap().unwrap();
    assert_ne!(first, lock.token().as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_round_is_not_blocked_by_keys_of_the_round_before() {
    let mut nodes = MockNode::fleet(3);
    nodes[2] = nodes[2].clone().with_latency(ms(20));
    nodes[0].set("r", "another", Some(ms(1)));
    nodes[1].set("r", "another", None);
    // The first round is lost at once, while the slow node is about to grant. The second is won if the slow node has
    // been released by then.
    let eager = Retry::attempts(2).fixed(ms(2)).jitter(Duration::ZERO);
    let lock = redlock(&nodes).acquire("r", AcquireOptions::new(TTL).retry(eager)).await.unwrap();
    assert_eq!(lock.release().await.unwrap(), Release::Released);
}

#[tokio::test(start_paused = true)]
async fn a_ttl_must_be_longer_than_the_node_timeout() {
    let redlock = redlock(&MockNode::fleet(3));
    let error = redlock.acquire("r", ms(40)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Ttl(TtlError::TooShort { .. })), "{error}");
    assert_eq!(
        error.to_string(),
        "the TTL of 40ms is too short: a node may take 50ms to answer and 2.4ms are reserved for clock drift; use a \
         longer TTL or a shorter node timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_prints_the_exact_ttl_and_short_times() {
    let nodes = MockNode::fleet(3);
    let guarded = builder(&nodes).restart_guard(Duration::from_micros(60_500)).build().unwrap();
    for (redlock, ttl, text) in [
        (&redlock(&nodes), 1_500, "the TTL of 1.5ms is too short: a node may take 50ms to answer and 2ms are "),
        (&guarded, 61_250, "the TTL of 61.25ms is above 60.5ms, the longest TTL of the restart guard"),
    ] {
        let error = redlock.acquire("r", Duration::from_micros(ttl)).await.unwrap_err();
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let max_lifetime = ms(999);
    let options = AcquireOptions::new(Duration::from_micros(1_000_500));
    let kept = options.auto_extend(AutoExtend::default().max_lifetime(max_lifetime));
    let error = redlock(&nodes).acquire("r", kept).await.unwrap_err();
    assert_eq!(error.to_string(), "the longest lifetime of 999ms is below the TTL of 1.0005s: use a shorter TTL");
}

#[tokio::test(start_paused = true)]
async fn an_error_names_every_node_and_gives_advice() {
    let nodes = MockNode::fleet(5);
    nodes[0].set("invoice:42", "another", Some(ms(1_200)));
    nodes[2].inject(Fault::Fail(redlock_core::NodeErrorKind::Authentication));
    nodes[3].stop();
    nodes[4].hang();
    let error = redlock(&nodes).acquire("invoice:42", once(TTL)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not lock \"invoice:42\": held by others; 1 attempt in 0s; in the last 1 of 5 granted, 3 needed: node-1 \
         held by another (1.2s left), node-2 granted, node-3 failed (authentication failed), node-4 failed \
         (unreachable), node-5 not awaited; check the user and the password in the node's URL"
    );
}
