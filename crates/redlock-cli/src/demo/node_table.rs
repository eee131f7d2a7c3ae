//! The table of each node's actions.

use crate::demo::{
    console::Console,
    nodes::{Fleet, Link},
};

/// Returns the table of each node's actions, with an additional last column.
pub(crate) fn node_table(console: &Console, fleet: &Fleet, last_column: impl Fn(usize) -> String) -> Vec<String> {
    const LONGEST_NAME: usize = 22;
    let name = |link: &Link| link.name.chars().take(LONGEST_NAME).collect::<String>();
    let width = fleet.links.iter().map(|link| name(link).chars().count()).max().unwrap_or_default();
    let header = format!(
        "  {:<width$}{:>9}{:>8}{:>10}{:>9}{:>11}{:>8}",
        "", "granted", "held", "released", "refused", "no answer", "failed"
    );
    let mut table = vec![console.dim(&header)];
    for (node, link) in fleet.links.iter().enumerate() {
        let [granted, held, released] = [&link.granted, &link.held, &link.released].map(|count| count.get());
        let [refused, unanswered, failed] = [&link.refused, &link.unanswered, &link.failed].map(|count| count.get());
        table.push(format!(
            "  {:<width$}{granted:>9}{held:>8}{released:>10}{refused:>9}{unanswered:>11}{failed:>8}  {}",
            name(link),
            last_column(node),
        ));
    }
    table
}
