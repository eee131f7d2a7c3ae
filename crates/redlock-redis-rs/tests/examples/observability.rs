//! Tests the example that exports metrics of locks, and the dashboard that shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use saphyr_parser::Parser;
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    http::Request,
    program::Program,
    stage::{Stage, until},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/observability")
}

fn read(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap()
}

/// Returns the cells of the README's tables.
fn rows(readme: &str) -> impl Iterator<Item = Vec<&str>> {
    let is_row = |line: &&str| line.starts_with('|');
    readme.lines().filter(is_row).map(|row| row.split('|').skip(1).map(str::trim).collect())
}

/// Returns each metric that the README documents, and its type.
fn documented(readme: &str) -> BTreeMap<String, String> {
    let metric = |cells: Vec<&str>| {
        let (name, rest) = (*cells.first()?, cells.get(1)?);
        let kind = rest.split(',').next().filter(|kind| ["counter", "gauge", "histogram"].contains(kind))?;
        Some((name.trim_matches('`').to_owned(), kind.to_owned()))
    };
    rows(readme).filter_map(metric).collect()
}

/// Returns all texts in backticks.
fn in_code(readme: &str) -> BTreeSet<&str> {
    readme.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Returns each metric that was scraped, and its type.
fn scraped(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Returns the panels that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Returns the names in a query: metrics, without the suffixes that Prometheus appends for a histogram, and labels.
fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours =
        words.filter(|word| ["redlock_", "db_", "server_", "error_"].iter().any(|start| word.starts_with(start)));
    let bare =
        |word: &str| ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end)).map(str::to_owned);
    ours.map(|word| bare(word).unwrap_or_else(|| word.to_owned())).collect()
}

#[test]
fn the_dashboard_queries_only_documented_metrics_and_shows_all_of_them() {
    let (readme, dashboard) = (read("README.md"), serde_json::from_str::<Value>(&read("dashboard.json")).unwrap());
    let (documented, in_code) = (documented(&readme), in_code(&readme));
    assert_eq!(documented.len(), 10, "{documented:?}");
    let mut shown = BTreeSet::new();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains("job=~\"$job\""), "{query}");
            shown.extend(names(query));
        }
    }
    let unknown: Vec<_> = shown.iter().filter(|name| !in_code.contains(name.as_str())).collect();
    assert_eq!(unknown, [""; 0], "not in the README");
    let unseen: Vec<_> = documented.keys().filter(|name| !shown.contains(*name)).collect();
    assert_eq!(unseen, [""; 0], "in no panel");
}

/// Returns the expressions of `alerts.yml`, without comments and line breaks.
fn alerts() -> Vec<String> {
    let (mut expressions, mut is_in_one) = (Vec::<String>::new(), false);
    for line in read("alerts.yml").lines().map(str::trim) {
        match line.strip_prefix("expr: ") {
            Some(expression) => {
                expressions.push(expression.trim_start_matches("|-").to_owned());
                is_in_one = expression == "|-";
            }
            None if is_in_one && !["for:", "labels:"].iter().any(|key| line.starts_with(key)) => {
                let expression = expressions.last_mut().unwrap();
                if !expression.is_empty() {
                    expression.push(' ');
                }
                expression.push_str(line);
            }
            None => is_in_one = false,
        }
    }
    expressions
}

#[test]
fn the_alerts_ask_for_what_is_documented_and_are_those_of_the_guide() {
    let readme = read("README.md");
    let in_code = in_code(&readme);
    let alerts = alerts();
    assert_eq!(alerts.len(), 9, "{alerts:#?}");
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../redlock-core/src/guide/operation.md");
    let guide = fs::read_to_string(guide).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for alert in alerts {
        let unknown: Vec<_> = names(&alert).into_iter().filter(|name| !in_code.contains(name.as_str())).collect();
        assert_eq!(unknown, [""; 0], "not in the README");
        assert!(guide.contains(&alert), "not in the guide: {alert}");
    }
}

#[test]
fn each_panel_has_a_description_and_uses_the_chosen_data_source() {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    assert_eq!(variables.map(|variable| &variable["name"]).collect::<Vec<_>>(), ["datasource", "job"]);
    let panels = panels(&dashboard);
    assert!(panels.len() >= 10, "{}", panels.len());
    for panel in panels {
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{}", panel["title"]);
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
    }
}

#[test]
fn the_files_are_valid_yaml_and_the_files_they_mount_exist() {
    let files = [
        "docker-compose.yml",
        "prometheus.yml",
        "alerts.yml",
        "provisioning/datasources/prometheus.yml",
        "provisioning/dashboards/redlock.yml",
    ];
    for file in files {
        let text = read(file);
        let events: Vec<_> =
            Parser::new_from_str(&text).map(|event| event.unwrap_or_else(|error| panic!("{file}: {error}"))).collect();
        assert!(events.len() > 10, "{file} is nearly empty");
    }
    let compose = read("docker-compose.yml");
    let mounted: Vec<_> =
        compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")?.split(':').next()).collect();
    assert_eq!(mounted.len(), 4, "{mounted:?}");
    for file in mounted {
        assert!(folder().join(file).exists(), "{file} is mounted and does not exist");
    }
}

#[tokio::test]
async fn a_scrape_shows_exactly_the_documented_metrics() {
    let stage = Stage::new().await;
    let service = Program::start_with("observability", &stage, [("LISTEN", "127.0.0.1:0")]);
    let line = service.until_said("listening on http://").await;
    let address = line.split("http://").last().unwrap().to_owned();
    let scrape = async || {
        let answer = Request::send("GET", &address, "/metrics").await.answer().await;
        assert_eq!(answer.status, 200);
        answer.body
    };

    let readme = read("README.md");
    let documented = documented(&readme);
    until("locks are extended", async || scrape().await.contains("redlock_extend_margin_seconds_count")).await;
    // Provokes the rare metrics: deletes keys on all nodes, of locks that are held for two seconds.
    until("all metrics are there", async || {
        for account in ["account:0", "account:1", "account:2"] {
            for server in &stage.servers {
                server.command(&["DEL", account]).await.unwrap();
            }
        }
        scraped(&scrape().await).len() >= documented.len()
    })
    .await;

    let text = scrape().await;
    assert_eq!(scraped(&text), documented);
    // The same for labels and their values.
    let in_code = in_code(&readme);
    for series in text.lines().filter_map(|line| line.split_once('{')?.1.split_once('}')) {
        for (label, word) in series.0.split("\",").filter_map(|label| label.split_once("=\"")) {
            assert!(label == "le" || in_code.contains(label), "{label} is not in the README");
            let word = word.trim_end_matches('"');
            let has_words = ["redlock_outcome", "redlock_reason", "db_system_name"].contains(&label);
            assert!(!has_words || in_code.contains(word), "{label}={word} is not in the README");
        }
    }

    until("a worker has a lock for longer than most", async || {
        let tokens = stage.tokens("account:0").await;
        sleep(Duration::from_millis(300)).await;
        !tokens.is_empty() && tokens == stage.tokens("account:0").await
    })
    .await;
    service.send("TERM");
    let ended = service.ended().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for account in ["account:0", "account:1", "account:2"] {
        assert_eq!(stage.tokens(account).await, [""; 0], "{account}");
    }
}
