//! Checks of the nodes themselves: the findings, and the report when nodes do not answer.

use std::{pin::pin, task::Poll, time::Duration};

use async_trait::async_trait;
use redlock_core::{
    LockNode, NodeError, NodeErrorKind, NodeFindingKind, NodesError, NodesReport, Redlock, Severity,
    backend::{
        AcquireAnswer, AcquireRequest, DescribeRequest, ExtendAnswer, ExtendRequest, NodeFacts, ReleaseAnswer,
        ReleaseRequest, Timed,
    },
    testing::TokioClock,
};
use redlock_mock::{Fault, MockNode};
use tokio::time::{Instant, sleep};

use crate::support::{poll_in_task, poll_once};

const SECOND: Duration = Duration::from_secs(1);

fn redlock(nodes: impl IntoIterator<Item = impl LockNode>) -> Redlock {
    Redlock::builder().nodes(nodes).clock(TokioClock::default()).build().unwrap()
}

fn found(report: &NodesReport) -> Vec<(Severity, NodeFindingKind, String)> {
    let findings = report.findings().iter();
    findings.map(|found| (found.severity, found.kind, found.nodes.join(" "))).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_without_problems_have_no_findings() {
    let report = redlock(MockNode::fleet(3)).check_nodes().await.unwrap();
    assert_eq!((report.findings().len(), report.worst()), (0, None));
    assert_eq!(report.to_string(), "3 nodes checked: nothing found");
    let told: Vec<_> = report.nodes().map(|(name, facts)| (name.to_owned(), facts.is_some())).collect();
    assert_eq!(told, ["node-1", "node-2", "node-3"].map(|name| (name.to_owned(), true)));
    assert_eq!(report.clone().fail_on(Severity::Notice).unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn a_server_under_two_names_is_found_and_rejected() {
    let mut nodes = MockNode::fleet(2);
    nodes.push(nodes[1].clone().with_name("other"));
    let report = redlock(nodes).check_nodes().await.unwrap();
    assert_eq!(found(&report), [(Severity::Error, NodeFindingKind::SameServer, "node-2 other".to_owned())]);
    assert_eq!(report.worst(), Some(Severity::Error));
    assert_eq!(
        report.to_string(),
        "3 nodes checked: 1 error\nerror: node-2, other: one and the same server (run_id): it votes twice\n  \
         list each server once"
    );
    let error = report.clone().fail_on(Severity::Warning).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the nodes have problems: 3 nodes checked: 1 error; error: node-2, other: one and the same server (run_id): it \
         votes twice (list each server once)"
    );
    let NodesError::Rejected(rejected) = error else { panic!("{error}") };
    assert_eq!(*rejected, report);
}

#[tokio::test(start_paused = true)]
async fn the_caller_chooses_the_severity_that_fails() {
    let nodes = MockNode::fleet(3);
    nodes[0].set_facts(|facts| facts.append_only = Some(false));
    nodes[2].set_facts(|facts| facts.append_only = Some(false));
    nodes[1].set_facts(|facts| facts.append_sync = Some("everysec".to_owned()));
    let report = redlock(nodes).check_nodes().await.unwrap();
    assert_eq!(
        found(&report),
        [
            (Severity::Warning, NodeFindingKind::Forgets, "node-1 node-3".to_owned()),
            (Severity::Notice, NodeFindingKind::Forgets, "node-2".to_owned())
        ]
    );
    assert!(report.to_string().starts_with("3 nodes checked: 1 warning, 1 notice\nwarning: node-1, node-3: "));
    assert!(report.clone().fail_on(Severity::Error).is_ok());
    assert!(report.clone().fail_on(Severity::Warning).is_err());
    assert!(report.fail_on(Severity::Notice).is_err());
}

#[tokio::test(start_paused = true)]
async fn nodes_that_fail_are_findings_and_are_awaited_for_their_own_timeouts_only() {
    let nodes = MockNode::fleet(5);
    nodes[1].stop();
    nodes[2].hang();
    nodes[3].inject(Fault::Fail(NodeErrorKind::Authentication));
    let started = Instant::now();
    let report = redlock(nodes.clone()).check_nodes().await.unwrap();
    assert_eq!(started.elapsed(), SECOND, "the mock's response timeout");
    let failed = |node: &str| (Severity::Error, NodeFindingKind::Unavailable, node.to_owned());
    assert_eq!(found(&report), [failed("node-2"), failed("node-3"), failed("node-4")]);
    let printed = report.to_string();
    for text in ["unreachable: its vote is missing\n  check that", "no answer in time", "authentication failed"] {
        assert!(printed.contains(text), "{printed}");
    }
    let told: Vec<_> = report.nodes().map(|(_, facts)| facts.is_some()).collect();
    assert_eq!(told, [true, false, false, false, true]);

    let patient = nodes.into_iter().map(|node| node.with_response_timeout(60 * SECOND));
    let started = Instant::now();
    let report = redlock(patient).check_nodes().await.unwrap();
    assert_eq!(started.elapsed(), 5 * SECOND);
    assert!(report.to_string().contains("node-3: did not answer within 5s: its vote is missing"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_are_reported_however_long_the_answers_take() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(SECOND / 2)).collect();
    sleep(SECOND).await;
    nodes[1].jump_clock(1_000);
    assert_eq!(redlock(nodes.clone()).check_nodes().await.unwrap().findings(), []);
    nodes[1].jump_clock(1_000);
    let report = redlock(nodes).check_nodes().await.unwrap();
    assert_eq!(report.findings().len(), 1, "{report}");
    assert!(
        report.to_string().contains("the clock of node-2 is ahead of that of node-1 by 1.500 s or more"),
        "{report}"
    );
}

#[tokio::test(start_paused = true)]
async fn clocks_that_agree_are_no_finding_even_if_one_node_is_queried_later() {
    let mut nodes = MockNode::fleet(3);
    let later = Plain(Some(nodes.remove(1)));
    let redlock = Redlock::builder().nodes(nodes).node(later).clock(TokioClock::default()).build().unwrap();
    assert_eq!(redlock.check_nodes().await.unwrap().findings(), []);
}

#[tokio::test(start_paused = true)]
async fn a_check_dropped_at_any_poll_changes_nothing() {
    let nodes: Vec<_> = MockNode::fleet(3).into_iter().map(|node| node.with_latency(SECOND / 100)).collect();
    let redlock = redlock(nodes.clone());
    for polls in 0..4 {
        let mut check = pin!(redlock.check_nodes());
        for _ in 0..polls {
            if let Poll::Ready(report) = poll_in_task(check.as_mut()).await {
                assert_eq!(report.unwrap().findings(), []);
                break;
            }
            sleep(SECOND / 200).await;
        }
    }
    redlock.close().await.unwrap();
    assert!(nodes.iter().all(|node| node.resources().is_empty()));
}

/// A custom node without a description; or one that describes another node, but late, as on a busy machine.
#[derive(Debug)]
struct Plain(Option<MockNode>);

#[async_trait]
impl LockNode for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    async fn acquire(&self, _: &AcquireRequest) -> Result<Timed<AcquireAnswer>, NodeError> {
        Ok(AcquireAnswer::granted().into())
    }

    async fn extend(&self, _: &ExtendRequest) -> Result<Timed<ExtendAnswer>, NodeError> {
        Ok(ExtendAnswer::Extended.into())
    }

    async fn release(&self, _: &ReleaseRequest) -> Result<ReleaseAnswer, NodeError> {
        Ok(ReleaseAnswer::Released)
    }

    async fn describe(&self, request: &DescribeRequest) -> Result<NodeFacts, NodeError> {
        let Some(node) = &self.0 else { return Err(NodeErrorKind::Unsupported.into()) };
        sleep(3 * SECOND).await;
        node.describe(request).await
    }
}

#[tokio::test]
async fn a_node_that_cannot_describe_itself_is_reported_as_unknown() {
    let redlock = Redlock::builder().nodes(MockNode::fleet(2)).node(Plain(None)).build().unwrap();
    let report = redlock.check_nodes().await.unwrap();
    assert_eq!(found(&report), [(Severity::Notice, NodeFindingKind::Unknown, "plain".to_owned())]);
}

#[test]
fn without_a_runtime_a_check_is_an_error() {
    let redlock = Redlock::new(MockNode::fleet(3)).unwrap();
    let mut check = pin!(redlock.check_nodes());
    let Poll::Ready(result) = poll_once(check.as_mut()) else { panic!("waits") };
    assert!(matches!(result, Err(NodesError::NoRuntime)));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_seen_to_jump_is_reported() {
    let nodes = MockNode::fleet(3);
    let redlock = Redlock::builder().nodes(nodes.clone()).clock(TokioClock::default()).build().unwrap();
    let ttl = Duration::from_secs(10);
    for _ in 0..2 {
        let _ = redlock.acquire("r", ttl).await.unwrap().release().await.unwrap();
        redlock.close().await.unwrap();
        nodes[1].jump_clock(-400);
    }
    let report = redlock.check_nodes().await.unwrap();
    let found: Vec<_> = report.findings().iter().map(|found| (found.kind, found.nodes.clone())).collect();
    assert_eq!(found, [(NodeFindingKind::ClockJumped, vec!["node-2".to_owned()])]);
    assert!(report.findings()[0].cause.starts_with("its clock has jumped by -400ms"), "{report}");
}
