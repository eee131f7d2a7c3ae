//! Tests that each event of a history lasts as long as the history says, even if events overlap.

use std::time::Duration;

use redlock_core::{
    LockNode, NodeError, NodeErrorKind, Resource, Token, Ttl,
    backend::{AcquireAnswer, AcquireRequest},
};
use redlock_mock::{Cut, Event, Fleet, History, Memory, MockNode, What};
use tokio::time::{Instant, sleep};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Creates a history of one process and two nodes.
fn history(events: impl IntoIterator<Item = (u64, What)>) -> History {
    let events = events.into_iter().map(|(at, what)| Event { at, what }).collect();
    History { nodes: 2, processes: 1, seed: 1, events }
}

const fn down(millis: u64, memory: Memory) -> What {
    What::Down { node: 0, millis, memory }
}

const fn hang(millis: u64) -> What {
    What::Hang { node: 0, millis }
}

const fn cut(requests: Option<Cut>, answers: Option<Cut>, millis: u64) -> What {
    What::Cut { process: None, node: Some(0), requests, answers, millis }
}

async fn acquire(node: &MockNode) -> Result<AcquireAnswer, NodeError> {
    let ttl = Ttl::new(Duration::from_secs(10)).unwrap();
    node.acquire(&AcquireRequest::new(Resource::new("r").unwrap(), Token::from_bytes([1; 20]), ttl))
        .await
        .map(|timed| timed.answer)
}

/// Sends requests to node-1 at these times. Returns when each was sent and answered, of those that were answered.
async fn answered(
    events: impl IntoIterator<Item = (u64, What)>,
    sent: impl IntoIterator<Item = u64>,
) -> Vec<(u64, u64)> {
    let history = history(events);
    let fleet = Fleet::of(&history);
    let node = fleet.processes().first().and_then(|process| process.nodes().first()).unwrap();
    let requests = sent.into_iter().map(|at| {
        let node = node.clone();
        tokio::spawn(async move {
            // After everything that happens at this time.
            sleep(ms(at)).await;
            tokio::task::yield_now().await;
            let sent = Instant::now();
            acquire(&node).await.ok().map(|_| (at, at + sent.elapsed().as_millis() as u64))
        })
    });
    let requests: Vec<_> = requests.collect();
    fleet.befall(&history).await;
    let mut answered = Vec::new();
    for request in requests {
        answered.extend(request.await.unwrap());
    }
    answered
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_twice_at_once_stays_down_until_the_last_end() {
    let downs = || [(100, down(500, Memory::Kept)), (200, down(100, Memory::Kept)), (600, down(50, Memory::Kept))];
    let up = answered(downs(), (0..70).map(|tens| tens * 10 + 5)).await;
    let expected = (0..10).chain(65..70).map(|tens| (tens * 10 + 5, tens * 10 + 5));
    assert_eq!(up, expected.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_for_no_time_at_the_moment_of_its_start_runs_again() {
    for lengths in [[100, 0], [0, 0]] {
        let until = 100 + lengths[0];
        let events = [(100, down(lengths[0], Memory::Kept)), (until, down(lengths[1], Memory::Kept))];
        assert_eq!(answered(events, [until + 5]).await, [(until + 5, until + 5)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_down_twice_at_once_forgets_as_much_as_in_the_worse_case() {
    for memories in [[Memory::Lost, Memory::Kept], [Memory::Kept, Memory::Lost]] {
        for lengths in [[50, 200], [200, 50], [100, 100]] {
            let events = [(100, down(lengths[0], memories[0])), (150, down(lengths[1], memories[1]))];
            let history = history(events);
            let fleet = Fleet::of(&history);
            fleet.nodes().iter().for_each(|node| node.set("r", "another", None));
            fleet.befall(&history).await;
            assert_eq!(fleet.nodes()[0].resources(), [""; 0], "{history}");
            assert_eq!(fleet.nodes()[1].resources(), ["r"], "the other node was never down");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_twice_at_once_resumes_after_the_last_end() {
    let answers = answered([(100, hang(400)), (150, hang(100)), (500, hang(100))], [50, 120, 260, 550, 600]).await;
    assert_eq!(answers, [(50, 50), (120, 600), (260, 600), (550, 600), (600, 600)]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_a_hang_until_the_next_one() {
    let events = [(100, hang(500)), (200, down(100, Memory::Kept)), (400, hang(100))];
    let answers = answered(events, [150, 250, 350, 450]).await;
    // The first two are refused.
    assert_eq!(answers, [(350, 350), (450, 600)]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_ends_when_another_begins_ends_first() {
    let answers = answered([(200, hang(100)), (100, down(100, Memory::Kept))], [150, 250]).await;
    assert_eq!(answers, [(250, 300)]);
    let answers = answered([(100, down(0, Memory::Lost)), (100, hang(0))], [100]).await;
    assert_eq!(answers, [(100, 100)]);
}

#[tokio::test(start_paused = true)]
async fn a_short_cut_does_not_end_a_long_one() {
    let long_and_short = |cut: fn(u64) -> What| [(100, cut(600)), (200, cut(100))];
    let sent = || [50, 150, 250, 450, 700];
    let lost = long_and_short(|millis| cut(Some(Cut::Lost), None, millis));
    assert_eq!(answered(lost, sent()).await, [(50, 50), (700, 700)]);
    let lost = long_and_short(|millis| cut(None, Some(Cut::Lost), millis));
    assert_eq!(answered(lost, sent()).await, [(50, 50), (700, 700)]);
    let held = long_and_short(|millis| cut(Some(Cut::Held), None, millis));
    assert_eq!(answered(held, sent()).await, [(50, 50), (150, 700), (250, 700), (450, 700), (700, 700)]);
    let held = long_and_short(|millis| cut(None, Some(Cut::Held), millis));
    assert_eq!(answered(held, sent()).await, [(50, 50), (150, 700), (250, 700), (450, 700), (700, 700)]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_cuts_hold_up_arrive_when_the_last_cut_is_over() {
    let all = What::Cut { process: None, node: None, requests: Some(Cut::Held), answers: None, millis: 300 };
    let events = [(100, cut(Some(Cut::Held), None, 100)), (200, all), (900, cut(Some(Cut::Held), None, 50))];
    assert_eq!(answered(events, [150, 600]).await, [(150, 500), (600, 600)]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_one_cut_holds_up_and_another_loses_is_lost() {
    let events = [(100, cut(Some(Cut::Held), None, 500)), (200, cut(Some(Cut::Lost), None, 100))];
    assert_eq!(answered(events, [150, 250, 350]).await, [(150, 600), (350, 600)]);
    let events = [(100, cut(Some(Cut::Lost), None, 500)), (200, cut(Some(Cut::Held), None, 100))];
    assert_eq!(answered(events, [150, 250, 350, 600]).await, [(600, 600)]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_of_one_direction_leaves_the_other_alone() {
    let events = [(0, cut(Some(Cut::Lost), None, 100)), (50, cut(None, Some(Cut::Held), 200))];
    assert_eq!(answered(events, [60, 150, 260]).await, [(150, 250), (260, 260)]);
    let history = history([(0, cut(None, Some(Cut::Lost), 100))]);
    let fleet = Fleet::of(&history);
    let node = &fleet.processes()[0].nodes()[0];
    let ((), answer) = tokio::join!(fleet.befall(&history), acquire(node));
    assert_eq!(answer.unwrap_err().kind(), NodeErrorKind::Timeout);
    assert_eq!(fleet.nodes()[0].resources(), ["r"], "only the answer was lost");
}

#[tokio::test(start_paused = true)]
async fn befall_returns_when_the_last_event_is_over() {
    let pause = |polls| What::Pause { process: 0, polls, millis: 400 };
    for (event, millis) in [
        (down(400, Memory::Kept), 500),
        (hang(400), 500),
        (cut(None, Some(Cut::Lost), 400), 500),
        (pause(0), 500),
        // Its process never reaches it.
        (pause(1), 100),
        (What::Cancel { process: 0, polls: 0 }, 100),
    ] {
        let history = history([(100, event)]);
        let fleet = Fleet::of(&history);
        fleet.befall(&history).await;
        assert_eq!(fleet.elapsed(), ms(millis), "{history}");
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_and_processes_that_do_not_exist_are_left_alone() {
    let (node, process) = (usize::MAX, usize::MAX);
    let events = [
        What::Hang { node, millis: 1 },
        What::Down { node, millis: u64::MAX, memory: Memory::Lost },
        What::Cut { process: Some(process), node: Some(2), requests: Some(Cut::Lost), answers: None, millis: 1 },
        What::Cut { process: None, node: Some(node), requests: Some(Cut::Lost), answers: None, millis: 1 },
        What::Pause { process, polls: 0, millis: 1 },
    ];
    let history = history(events.map(|what| (0, what)));
    let fleet = Fleet::of(&history);
    tokio::time::timeout(ms(10), fleet.befall(&history)).await.unwrap_err();
    for node in fleet.processes()[0].nodes() {
        acquire(node).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "capacity overflow")]
async fn a_fleet_beyond_all_memory_panics_instead_of_being_smaller() {
    let _ = Fleet::new(usize::MAX / 2 + 1, 2, 1);
}
