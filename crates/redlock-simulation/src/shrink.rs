//! Makes a case that breaks a promise as small as a person can read.

use proptest::strategy::ValueTree;

use crate::case::Case;

/// A random case, and the smaller ones that it can become.
pub(crate) type Tree = Box<dyn ValueTree<Value = Case>>;

/// Returns the smallest case in this tree for which `guilty` holds, within limits, without the parts that it does not
/// need.
pub(crate) fn shrink(mut tree: Tree, guilty: impl Fn(&Case) -> bool) -> Case {
    const PATIENCE: u32 = 20_000;
    let mut smallest = tree.current();
    let mut goes_on = tree.simplify();
    for _ in 0..PATIENCE {
        if !goes_on {
            break;
        }
        let case = tree.current();
        goes_on = if guilty(&case) {
            smallest = case;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    // The tree drops each part once, in order; without later parts an earlier one may not be needed any more.
    loop {
        let smaller = without_one(&smallest).find(&guilty);
        match smaller {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Returns the case without one of its events, or without one of its holds.
fn without_one(case: &Case) -> impl Iterator<Item = Case> {
    let events = (0..case.history.events.len()).map(|event| {
        let mut smaller = case.clone();
        smaller.history.events.remove(event);
        smaller
    });
    let holds = case.programs.iter().enumerate().flat_map(move |(process, holds)| {
        (0..holds.len()).map(move |hold| {
            let mut smaller = case.clone();
            if let Some(holds) = smaller.programs.get_mut(process) {
                holds.remove(hold);
            }
            smaller
        })
    });
    events.chain(holds)
}
