//! The metrics that a recorder of the `metrics` facade receives.

use std::{collections::BTreeMap, time::Duration};

use metrics_util::{
    MetricKind,
    debugging::{DebugValue, DebuggingRecorder},
};
use redlock_core::Metrics;
use redlock_mock::{Memory, MockNode};
use tokio::time::{sleep, timeout};

use crate::support::builder;

const TTL: Duration = Duration::from_secs(10);

/// Returns what the program recorded, by name and labels: a value, or for histograms the count and the sum.
fn recorded(program: impl AsyncFnOnce()) -> BTreeMap<String, String> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(program()));
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let told = metrics.map(|(key, unit, description, told)| {
        let (kind, key) = key.into_parts();
        assert!(unit.is_some() && description.is_some_and(|text| text.ends_with('.')), "{key} is not described");
        let labels: BTreeMap<_, _> = key.labels().map(|label| (label.key(), label.value())).collect();
        let labels: Vec<_> = labels.into_iter().map(|(name, word)| format!("{name}={word}")).collect();
        let told = match told {
            DebugValue::Counter(count) => format!("{count}"),
            DebugValue::Gauge(level) => format!("{level}"),
            DebugValue::Histogram(each) => {
                assert_eq!(kind, MetricKind::Histogram);
                format!("{} of {:.3}", each.len(), each.iter().map(|one| one.into_inner()).sum::<f64>())
            }
        };
        (format!("{} {}", key.name(), labels.join(" ")).trim().to_owned(), told)
    });
    told.collect()
}

#[test]
fn a_lock_and_its_nodes_are_measured() {
    let told = recorded(async || {
        let nodes: Vec<_> = (1..=3).map(|host| MockNode::new(format!("10.0.0.{host}:6379"))).collect();
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.with_latency(Duration::from_millis(4))).collect();
        let redlock = builder(&nodes).observer(Metrics::new()).build().unwrap();
        nodes[2].stop();
        let mut lock = redlock.acquire("r", TTL).await.unwrap();
        assert!(redlock.try_acquire("r", TTL).await.unwrap().is_none());
        sleep(Duration::from_secs(2)).await;
        lock.extend(TTL).await.unwrap();
        let _ = lock.release().await.unwrap();
        let _held = redlock.acquire("s", TTL).await.unwrap();
        redlock.close().await.unwrap();
    });
    let node = "db.client.operation.duration db.operation.name=redlock.acquire db.system.name=redis";
    for (metric, told_of_it) in [
        ("redlock.acquire.duration redlock.outcome=acquired", "2 of 0.008"),
        ("redlock.acquire.attempts redlock.outcome=acquired", "2 of 2.000"),
        ("redlock.acquire.duration redlock.outcome=contended", "1 of 0.004"),
        ("redlock.acquire.attempts redlock.outcome=contended", "1 of 1.000"),
        ("redlock.hold.duration redlock.outcome=released", "1 of 2.016"),
        ("redlock.locks.held", "0"),
        ("redlock.losses redlock.reason=expired", "0"),
        ("redlock.losses redlock.reason=not_held", "0"),
        ("redlock.losses redlock.reason=lifetime_over", "0"),
        ("redlock.exclusivity.breaches", "0"),
        ("redlock.extends redlock.outcome=extended", "1"),
        ("redlock.extend.margin", "1 of 7.886"),
        (&format!("{node} redlock.outcome=done server.address=10.0.0.1 server.port=6379"), "2 of 0.008"),
        (&format!("{node} redlock.outcome=refused server.address=10.0.0.1 server.port=6379"), "1 of 0.004"),
        (
            "db.client.operation.duration db.operation.name=redlock.acquire db.system.name=redis \
             error.type=unreachable redlock.outcome=failed server.address=10.0.0.3 server.port=6379",
            "3 of 0.000",
        ),
    ] {
        assert_eq!(told.get(metric).map(String::as_str), Some(told_of_it), "{metric}: {told:#?}");
    }
}

#[test]
fn failures_are_counted_by_reason() {
    let told = recorded(async || {
        let nodes = MockNode::fleet(3);
        let redlock = builder(&nodes).observer(Metrics::new()).build().unwrap();
        let mut gone = redlock.acquire("gone", TTL).await.unwrap();
        nodes[0].restart(Memory::Lost);
        nodes[1].restart(Memory::Lost);
        gone.extend(TTL).await.unwrap_err();
        let expired = redlock.acquire("expired", TTL).await.unwrap();
        expired.lost().await;
        let _ = timeout(Duration::from_millis(100), redlock.acquire("gone", TTL)).await;
        nodes.iter().for_each(MockNode::stop);
        redlock.try_acquire("r", TTL).await.unwrap_err();
        redlock.close().await.unwrap();
        std::mem::forget((gone, expired));
    });
    for (metric, count) in [
        ("redlock.losses redlock.reason=not_held", "1"),
        ("redlock.losses redlock.reason=expired", "1"),
        ("redlock.exclusivity.breaches", "1"),
        ("redlock.extends redlock.outcome=lost", "1"),
        ("redlock.locks.held", "2"),
        ("redlock.acquire.attempts redlock.outcome=no_quorum", "1 of 1.000"),
    ] {
        assert_eq!(told.get(metric).map(String::as_str), Some(count), "{metric}: {told:#?}");
    }
    assert!(told.keys().any(|metric| metric == "redlock.acquire.duration redlock.outcome=cancelled"), "{told:#?}");
}

#[test]
fn a_resource_becomes_a_label_only_as_the_program_maps_it() {
    let label = |resource: &str| resource.split(':').next().unwrap_or_default().to_owned();
    let told = recorded(async || {
        let redlock = builder(&MockNode::fleet(3)).observer(Metrics::new().resource_label(label)).build().unwrap();
        for invoice in ["invoice:1", "invoice:2"] {
            let _ = redlock.acquire(invoice, TTL).await.unwrap().release().await.unwrap();
        }
        redlock.close().await.unwrap();
    });
    assert_eq!(told["redlock.acquire.attempts redlock.outcome=acquired redlock.resource=invoice"], "2 of 2.000");
    assert_eq!(told["redlock.locks.held redlock.resource=invoice"], "0");
    let is_labelled = |metric: &str| metric.contains("redlock.resource=invoice");
    let of_locks = told.iter().filter(|(metric, told)| !metric.starts_with("db.client") && *told != "0");
    assert!(of_locks.into_iter().all(|(metric, _)| is_labelled(metric)), "{told:#?}");
    assert!(!told.keys().any(|metric| metric.starts_with("db.client") && is_labelled(metric)), "{told:#?}");
}

#[test]
fn without_the_observer_nothing_is_recorded() {
    let told = recorded(async || {
        let _ = builder(&MockNode::fleet(3)).build().unwrap().acquire("r", TTL).await.unwrap().release().await.unwrap();
    });
    assert!(told.is_empty(), "{told:?}");
}
