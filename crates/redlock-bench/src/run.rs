//! A run: the servers, the selected workloads, and their report.

use std::{env, fs};

use anyhow::{Context, Result};
use clap::ValueEnum as _;
use tokio::runtime::Builder;

use crate::{
    args::{Args, Workload},
    html, machine,
    progress::Progress,
    results::Results,
    stage::{MOST, Stage},
    table,
    workloads::{Run, count_instructions},
};

/// Does what the command line requests.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.list {
        for workload in Workload::value_variants() {
            let name = workload.to_possible_value().context("a workload without a name")?;
            println!("{:<4} {}", name.get_name(), name.get_help().map(ToString::to_string).unwrap_or_default());
        }
        return Ok(());
    }
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let played =
        runtime.block_on(async { if args.instructions { count_instructions().await } else { play(args).await } });
    // Do not wait for a thread that waits for a server in a library that cannot be stopped.
    runtime.shutdown_background();
    played
}

async fn play(args: &Args) -> Result<()> {
    let wanted: Vec<Workload> = Workload::value_variants()
        .iter()
        .copied()
        .filter(|workload| args.only.is_empty() || args.only.contains(workload))
        .collect();
    let planned = wanted.iter().map(|workload| workload.planned(args.quick)).sum();
    let stage = Stage::set(MOST).await?;
    let facts = facts(&stage).await?;
    let mut run = Run { stage, progress: Progress::new(planned), quick: args.quick };
    let mut sections = Vec::new();
    for workload in wanted {
        sections.push(workload.play(&mut run).await?);
    }
    run.progress.end();
    let results = Results { facts, sections };
    for section in &results.sections {
        println!("{}", table::text(section));
    }
    for (name, fact) in &results.facts {
        println!("{name:<10} {fact}");
    }
    fs::create_dir_all(&args.out).with_context(|| format!("creating {}", args.out.display()))?;
    let (report, numbers) = (args.out.join("report.html"), args.out.join("results.json"));
    fs::write(&report, html::page(&results)).with_context(|| format!("writing {}", report.display()))?;
    fs::write(&numbers, serde_json::to_string_pretty(&results)?)?;
    println!("report     {}", report.display());
    Ok(())
}

async fn facts(stage: &Stage) -> Result<Vec<(String, String)>> {
    let mut facts = vec![
        ("date", machine::date()),
        ("machine", machine::cpu()),
        ("kernel", machine::kernel()),
        ("servers", format!("{}, {}, no persistence", stage.version().await?, stage.description)),
        ("libraries", machine::libraries()),
    ];
    facts.push(("command", command(env::args().skip(1))));
    Ok(facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect())
}

/// Returns the command as a person would type it, without the folder for the report.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut command = "cargo xtask bench".to_owned();
    let mut is_folder = false;
    for word in words {
        if !is_folder && !word.starts_with("--out") {
            command.push(' ');
            command.push_str(&word);
        }
        is_folder = word == "--out";
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_shown_without_the_folder() {
        let told = |words: &[&str]| command(words.iter().map(|&word| word.to_owned()));
        assert_eq!(told(&["--quick", "--out", "/a/b", "--only", "W1"]), "cargo xtask bench --quick --only W1");
        assert_eq!(told(&["--out=/a/b"]), "cargo xtask bench");
    }
}
