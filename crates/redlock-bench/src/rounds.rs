//! Rounds: in each, every contender has one slice, in another order each round.

use std::time::Duration;

use anyhow::Result;

use crate::{
    progress::Progress,
    results::{Row, Slice, Table},
};

/// The outcome of a slice.
pub(crate) enum Outcome {
    Numbers(Slice),
    /// There is nothing to measure, for this reason. The contender gets no more slices.
    Nothing(String),
}

/// How many rounds there are, and how long a slice takes including its overhead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: usize,
    pub(crate) slice: Duration,
}

impl Rounds {
    /// Returns how long all of them will take.
    pub(crate) fn planned(self, contenders: usize) -> Duration {
        self.slice * u32::try_from(self.count * contenders).unwrap_or(u32::MAX)
    }

    /// Plays all rounds and writes the numbers into the table, whose rows are the contenders in this order.
    pub(crate) async fn play<C>(
        self,
        table: &mut Table,
        contenders: &[C],
        what: &str,
        progress: &mut Progress,
        mut slice: impl AsyncFnMut(&C) -> Result<Outcome>,
    ) -> Result<()> {
        for round in 0..self.count {
            for index in order(contenders.len(), round) {
                let (Some(contender), Some(row)) = (contenders.get(index), table.rows.get_mut(index)) else { continue };
                progress.now(&format!("{what}: {}", row.name));
                play_one(row, round, contender, &mut slice).await?;
                progress.done(self.slice);
            }
        }
        Ok(())
    }
}

async fn play_one<C>(
    row: &mut Row,
    round: usize,
    contender: &C,
    slice: &mut impl AsyncFnMut(&C) -> Result<Outcome>,
) -> Result<()> {
    if row.note.is_some() {
        return Ok(());
    }
    match slice(contender).await? {
        Outcome::Numbers(numbers) => row.add(round, numbers),
        Outcome::Nothing(why) => row.note = Some(why),
    }
    Ok(())
}

/// Returns the order in a round: over the rounds, every contender is first, last and after every other one.
fn order(count: usize, round: usize) -> Vec<usize> {
    let turned = |index: usize| (index + round) % count.max(1);
    let mut order: Vec<usize> = (0..count).map(turned).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_changes_in_each_round() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [0, 2, 1]);
        assert_eq!(order(3, 2), [2, 0, 1]);
        assert_eq!(order(3, 3), [2, 1, 0]);
        assert!(order(0, 5).is_empty());
    }
}
