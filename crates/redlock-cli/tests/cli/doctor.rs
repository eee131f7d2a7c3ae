//! `redlock doctor`: each mistake in the setup of a fleet is found, is reported with its cure, and has its exit code.

use std::time::Duration;

use redlock_tests::servers::{Server, ServerClock, ServerOptions};
use serde_json::Value;

use crate::stage::{Outcome, Stage, bare, outcome};

const PASSWORD: &str = "hunter2hunter2";
const WRONG: &str = "wrongwrong";
/// The options of a server that loses no writes.
const SOUND: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Starts nodes without problems besides those that a test adds, and a user with a password on each.
async fn sound() -> Stage {
    with(&ServerOptions::new()).await
}

async fn with(options: &ServerOptions) -> Stage {
    let stage = Stage::with(3, &options.clone().args(SOUND)).await;
    for server in &stage.servers {
        allow(server, &["+@all"]).await;
    }
    stage
}

/// Sets the permissions of the user.
async fn allow(server: &Server, rules: &[&str]) {
    let password = format!(">{PASSWORD}");
    let user = ["ACL", "SETUSER", "app", "reset", "on", &password, "~*", "&*"];
    server.command(&[&user[..], rules].concat()).await.unwrap();
}

fn url(server: &Server, password: &str) -> String {
    server.url().replace("redis://", &format!("redis://app:{password}@"))
}

fn urls(stage: &Stage) -> Vec<String> {
    stage.servers.iter().map(|server| url(server, PASSWORD)).collect()
}

fn name(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// A problem that has to be found.
struct Planted<'a> {
    exit: i32,
    severity: &'a str,
    kind: &'a str,
    /// The affected nodes.
    nodes: &'a [String],
    cause: &'a str,
    cure: &'a str,
}

impl Planted<'_> {
    /// Checks that it is reported with its cure, as text and as data, that nothing else is as bad, and that no password
    /// is shown.
    async fn is_found(&self, urls: &[String]) {
        let (text, data) = (examined(urls, &[]).await, examined(urls, &["--json"]).await);
        assert_eq!((text.code, data.code), (self.exit, self.exit), "{text:?}");
        for told in [&text, &data] {
            let all = format!("{}{}", told.stdout, told.stderr);
            assert!(!all.contains(PASSWORD) && !all.contains(WRONG), "{all}");
        }
        let head = format!("{}: {}: ", self.severity, self.nodes.join(", "));
        let mut lines = text.stdout.lines().skip_while(|line| !(line.starts_with(&head) && line.contains(self.cause)));
        assert!(lines.next().is_some(), "{head}{}: {}", self.cause, text.stdout);
        let cure = lines.next().unwrap_or_default();
        assert!(cure.starts_with("  ") && cure.contains(self.cure), "{}: {}", self.cure, text.stdout);

        let report: Value = serde_json::from_str(&data.stdout).unwrap();
        assert_eq!(
            (report["worst"].as_str(), report["exit_code"].as_i64()),
            (Some(self.severity), Some(self.exit.into()))
        );
        let findings = report["findings"].as_array().unwrap();
        let as_bad: Vec<_> = findings.iter().filter(|finding| finding["severity"] == self.severity).collect();
        let [finding] = as_bad[..] else { panic!("{}", data.stdout) };
        assert_eq!((finding["kind"].as_str(), &finding["nodes"]), (Some(self.kind), &Value::from(self.nodes)));
        assert!(finding["cause"].as_str().unwrap().contains(self.cause), "{finding}");
        assert!(finding["cure"].as_str().unwrap().contains(self.cure), "{finding}");
    }
}

async fn examined(urls: &[String], options: &[&str]) -> Outcome {
    let mut command = bare([&["doctor"], options].concat());
    command.env("REDLOCK_NODES", urls.join(","));
    outcome(command).await
}

#[tokio::test]
async fn sound_nodes_are_listed_with_their_latency_and_exit_0() {
    let stage = sound().await;
    let told = examined(&urls(&stage), &[]).await;
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{}", told.stdout);
    assert!(told.stdout.starts_with("3 nodes checked: nothing found\n"), "{}", told.stdout);
    for server in &stage.servers {
        let line = told.stdout.lines().find(|line| line.trim().starts_with(&name(server))).unwrap();
        assert!(line.contains("answers") && line.contains(" ms") && line.contains("primary"), "{line}");
    }
    assert!(!told.stdout.contains('\x1b'), "there are colors in a pipe");

    let told = examined(&urls(&stage), &["--json"]).await;
    let report: Value = serde_json::from_str(&told.stdout).unwrap();
    let nodes = report["nodes"].as_array().unwrap();
    assert!(
        nodes.len() == 3 && nodes.iter().all(|node| node["answers"] == true && node["latency_ms"].as_f64() > Some(0.0))
    );
}

#[tokio::test]
async fn one_server_under_two_names_is_an_error() {
    let stage = sound().await;
    let mut urls = urls(&stage);
    urls[2] = urls[0].replace("127.0.0.1", "localhost");
    let twice = [name(&stage.servers[0]), name(&stage.servers[0]).replace("127.0.0.1", "localhost")];
    let cause = "one and the same server";
    let cure = "list each server once";
    Planted { exit: 2, severity: "error", kind: "same_server", nodes: &twice, cause, cure }.is_found(&urls).await;
}

#[tokio::test]
async fn a_replica_is_an_error() {
    let stage = sound().await;
    let primary = stage.servers[0].port().to_string();
    stage.servers[2].command(&["REPLICAOF", "127.0.0.1", &primary]).await.unwrap();
    let nodes = [name(&stage.servers[2])];
    let cause = format!("a replica of 127.0.0.1:{primary}");
    let cure = "use a primary's address";
    let planted = Planted { exit: 2, severity: "error", kind: "no_primary", nodes: &nodes, cause: &cause, cure };
    planted.is_found(&urls(&stage)).await;
}

#[tokio::test]
async fn a_policy_that_evicts_is_a_warning() {
    let stage = sound().await;
    let server = &stage.servers[1];
    // A policy that evicts has no effect if memory has no limit.
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await.unwrap();
    assert_eq!(examined(&urls(&stage), &[]).await.code, 0);
    server.command(&["CONFIG", "SET", "maxmemory", "100mb"]).await.unwrap();
    let (nodes, cause) = ([name(server)], "its policy is allkeys-lru");
    let cure = "set maxmemory-policy noeviction";
    let planted = Planted { exit: 1, severity: "warning", kind: "evicts", nodes: &nodes, cause, cure };
    planted.is_found(&urls(&stage)).await;
}

#[tokio::test]
async fn a_node_that_forgets_is_a_warning() {
    let stage = sound().await;
    let server = &stage.servers[1];
    server.command(&["CONFIG", "SET", "appendonly", "no"]).await.unwrap();
    for (save, cause) in [("", "writes nothing to disk"), ("3600 1", "writes snapshots only")] {
        server.command(&["CONFIG", "SET", "save", save]).await.unwrap();
        let nodes = [name(server)];
        let cure = "appendonly yes and appendfsync always";
        let planted = Planted { exit: 1, severity: "warning", kind: "forgets", nodes: &nodes, cause, cure };
        planted.is_found(&urls(&stage)).await;
    }
}

#[tokio::test]
async fn a_wrong_clock_is_a_warning() {
    let stage = with(&ServerOptions::new().fake_clock()).await;
    // With more than two nodes, any correct one may be named next to the wrong one.
    let two = &urls(&stage)[..2];
    assert_eq!(examined(two, &[]).await.code, 0);
    let (right, wrong) = (name(&stage.servers[0]), name(&stage.servers[1]));
    let hour = Duration::from_secs(3600);
    for (clock, fast, slow) in [(ServerClock::Ahead(hour), &wrong, &right), (ServerClock::Behind(hour), &right, &wrong)]
    {
        stage.servers[1].set_clock(clock).await.unwrap();
        let nodes = [fast.clone(), slow.clone()];
        // The reported difference excludes the time that the answers took: only the certain part counts.
        let cause = format!("the clock of {fast} is ahead of that of {slow} by 35");
        let cure = "keep all nodes' clocks by NTP";
        let planted =
            Planted { exit: 1, severity: "warning", kind: "clocks_apart", nodes: &nodes, cause: &cause, cure };
        planted.is_found(two).await;
    }
}

#[tokio::test]
async fn a_user_who_may_run_no_scripts_is_an_error() {
    let stage = sound().await;
    let server = &stage.servers[1];
    for rules in [&["+@all", "-eval", "-evalsha"][..], &["+@all", "-eval"], &["+@all", "-@scripting"]] {
        allow(server, rules).await;
        // The server must not know the scripts that the user was allowed to run before.
        server.command(&["SCRIPT", "FLUSH"]).await.unwrap();
        let nodes = [name(server)];
        let (cause, cure) = ("does not run scripts", "allow the user EVAL, EVALSHA");
        let planted = Planted { exit: 2, severity: "error", kind: "no_scripts", nodes: &nodes, cause, cure };
        planted.is_found(&urls(&stage)).await;
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_error() {
    let stage = sound().await;
    let mut urls = urls(&stage);
    urls[1] = url(&stage.servers[1], WRONG);
    let nodes = [name(&stage.servers[1])];
    let (cause, cure) = ("authentication failed", "check the user and the password");
    Planted { exit: 2, severity: "error", kind: "unavailable", nodes: &nodes, cause, cure }.is_found(&urls).await;
}

#[tokio::test]
async fn a_node_that_is_down_is_an_error() {
    let stage = sound().await;
    stage.servers[2].stop().await.unwrap();
    let nodes = [name(&stage.servers[2])];
    let (cause, cure) = ("its vote is missing", "check that the node runs");
    let planted = Planted { exit: 2, severity: "error", kind: "unavailable", nodes: &nodes, cause, cure };
    planted.is_found(&urls(&stage)).await;
    let report: Value = serde_json::from_str(&examined(&urls(&stage), &["--json"]).await.stdout).unwrap();
    let node = &report["nodes"][2];
    assert_eq!((node["answers"].as_bool(), node["latency_ms"].as_f64()), (Some(false), None));
}
