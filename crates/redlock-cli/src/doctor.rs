//! `redlock doctor`: the problems of the nodes, and how fast they answer.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use redlock_core::{
    LockNode, NodeErrorKind, NodeFinding, NodesReport, Resource, Severity,
    algorithm::NodeRole,
    backend::{InspectRequest, NodeFacts},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{args::DoctorArgs, close::closed, exit::Exit, failure::Failure, fleet::Fleet, paint::Paint, say::Say};

/// The number of latency measurements of a node, once it is connected. The fastest answer counts.
const ASKED: u32 = 3;

/// A name that nobody locks.
const PROBE: &str = "redlock:doctor";

/// Checks the nodes.
pub(crate) async fn run(args: &DoctorArgs, say: &Say) -> Result<Exit, Failure> {
    let fleet = Fleet::open(&args.fleet, say)?;
    let redlock = fleet.redlock()?;
    let report = redlock.check_nodes().await?;
    let latencies = latencies(&fleet).await?;
    let exit = match report.worst() {
        None | Some(Severity::Notice) => Exit::SUCCESS,
        Some(Severity::Warning) => Exit(1),
        Some(Severity::Error) => Exit(2),
    };
    let paint = Paint::of(&io::stdout());
    let told = say.result(|| text(&report, &latencies, paint), || data(&report, &latencies, exit)).await;
    closed(&redlock, args.fleet.close_timeout, say, told.map(|()| exit)).await
}

/// Returns how long each node takes to answer, in the order of the nodes. `None` for nodes that do not.
async fn latencies(fleet: &Fleet) -> Result<Vec<Option<Duration>>, Failure> {
    let probe = Resource::new(PROBE).map_err(|error| Failure::of(&error))?;
    let mut measured = JoinSet::new();
    for (number, node) in fleet.nodes().iter().enumerate() {
        let (node, request) = (Arc::clone(node), InspectRequest::new(probe.clone()));
        measured.spawn(async move { (number, latency(&*node, &request).await) });
    }
    let mut latencies = vec![None; fleet.nodes().len()];
    while let Some(measured) = measured.join_next().await {
        let (number, latency) = measured.map_err(|error| Failure::of(&error))?;
        if let Some(slot) = latencies.get_mut(number) {
            *slot = latency;
        }
    }
    Ok(latencies)
}

async fn latency(node: &dyn LockNode, request: &InspectRequest) -> Option<Duration> {
    let mut quickest = None;
    for _ in 0..ASKED {
        let asked = Instant::now();
        match node.inspect(request).await {
            // A node that refuses has answered: its user may not access this key, or it is not ready.
            Err(error) if matches!(error.kind(), NodeErrorKind::Timeout | NodeErrorKind::Unreachable) => {
                return quickest;
            }
            Ok(_) | Err(_) => {}
        }
        let took = asked.elapsed();
        quickest = Some(quickest.map_or(took, |quickest: Duration| quickest.min(took)));
    }
    quickest
}

fn text(report: &NodesReport, latencies: &[Option<Duration>], paint: Paint) -> String {
    let summary = report.to_string();
    let mut lines = vec![paint.bold(summary.lines().next().unwrap_or_default())];
    let width = report.nodes().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let slowest = latencies.iter().flatten().max().copied().unwrap_or_default();
    for ((name, facts), latency) in report.nodes().zip(latencies) {
        let (state, latency) = match latency {
            Some(latency) => {
                let bar = bar(*latency, slowest);
                (paint.good("answers"), format!("in {:>6.2} ms {bar:BAR$}", latency.as_secs_f64() * 1000.0))
            }
            None => (paint.bad("silent "), format!("{:width$}", "", width = 13 + BAR)),
        };
        let line = format!("  {name:<width$}  {state} {latency}  {}", paint.dim(&facts.map(about).unwrap_or_default()));
        lines.push(line.trim_end().to_owned());
    }
    for NodeFinding { severity, nodes, cause, cure, .. } in report.findings() {
        lines.push(format!("{}: {}: {cause}", paint.severity(*severity), nodes.join(", ")));
        if !cure.is_empty() {
            lines.push(format!("  {cure}"));
        }
    }
    lines.join("\n")
}

/// The longest bar.
const BAR: usize = 10;

/// Draws a latency relative to that of the slowest node.
fn bar(latency: Duration, slowest: Duration) -> String {
    let share = latency.as_secs_f64() / slowest.as_secs_f64().max(f64::MIN_POSITIVE);
    "#".repeat((share * BAR as f64).ceil() as usize)
}

/// Returns the most useful facts.
fn about(facts: &NodeFacts) -> String {
    let version = facts.version.map(|version| version.to_string());
    let role = facts.role.as_ref().map(|role| role_name(role).to_owned());
    let words: Vec<_> = version.into_iter().chain(role).collect();
    words.join(", ")
}

fn role_name(role: &NodeRole) -> &'static str {
    match role {
        NodeRole::Primary { .. } => "primary",
        NodeRole::Replica { .. } => "replica",
        NodeRole::Sentinel => "sentinel",
        _ => "unknown role",
    }
}

fn data(report: &NodesReport, latencies: &[Option<Duration>], exit: Exit) -> Value {
    let nodes = report.nodes().zip(latencies).map(|((name, facts), latency)| {
        json!({
            "node": name,
            "answers": latency.is_some(),
            "latency_ms": latency.map(|latency| latency.as_secs_f64() * 1000.0),
            "version": facts.and_then(|facts| facts.version).map(|version| version.to_string()),
            "role": facts.and_then(|facts| facts.role.as_ref()).map(role_name),
        })
    });
    let findings = report.findings().iter().map(|finding| {
        json!({
            "severity": finding.severity.to_string(),
            "kind": snake_case(&format!("{:?}", finding.kind)),
            "nodes": finding.nodes,
            "cause": finding.cause,
            "cure": finding.cure,
        })
    });
    json!({
        "worst": report.worst().map(|worst| worst.to_string()),
        "exit_code": exit.0,
        "nodes": nodes.collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// Converts `SameServer` to `same_server`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_a_node_is_slow() {
        let ms = Duration::from_millis;
        assert_eq!((bar(ms(1), ms(100)).len(), bar(ms(50), ms(100)).len(), bar(ms(100), ms(100)).len()), (1, 5, 10));
        assert_eq!(bar(Duration::ZERO, Duration::ZERO), "");
    }

    #[test]
    fn kinds_are_named_as_data_is() {
        assert_eq!((snake_case("SameServer"), snake_case("Evicts")), ("same_server".into(), "evicts".into()));
    }
}
