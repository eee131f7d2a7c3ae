//! Counts the instructions of the core alone, over nodes in memory, and checks whether they are the same each time.

use anyhow::{Result, ensure};

use super::meter::{self, is_installed};
use crate::statistics::median;

const PAIRS: u64 = 1_000;
const REPEATS: usize = 5;

/// Counts a few times and prints how far the counts are apart.
pub(crate) async fn count() -> Result<()> {
    ensure!(is_installed("valgrind"), "valgrind counts the instructions: install it");
    println!("the core over nodes in memory, one thread: acquire and release of a free lock, instructions and");
    println!("allocations for one pair, of {PAIRS} pairs and of twice as many; {REPEATS} times");
    for nodes in [1, 3, 5] {
        let (mut instructions, mut allocations) = (Vec::new(), Vec::new());
        for _ in 0..REPEATS {
            let once = meter::counted(&child(nodes, PAIRS)).await?;
            let twice = meter::counted(&child(nodes, 2 * PAIRS)).await?;
            let by_pair = |once: u64, twice: u64| (twice as f64 - once as f64) / PAIRS as f64;
            instructions.push(by_pair(once.instructions, twice.instructions));
            allocations.push(by_pair(once.allocations, twice.allocations));
        }
        let middle = median(instructions.clone()).unwrap_or(0.0);
        let least = instructions.iter().copied().fold(f64::INFINITY, f64::min);
        let most = instructions.iter().copied().fold(0.0, f64::max);
        println!(
            "{nodes} nodes: {middle:.0} instructions ({least:.0} to {most:.0}, {:.2} % apart), {:.1} allocations",
            100.0 * (most - least) / middle,
            median(allocations).unwrap_or(0.0),
        );
    }
    Ok(())
}

fn child(nodes: usize, count: u64) -> Vec<String> {
    ["core", "--nodes", &nodes.to_string(), "--count", &count.to_string()].map(str::to_owned).to_vec()
}
