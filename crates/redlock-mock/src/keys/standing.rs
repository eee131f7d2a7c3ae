//! Determines which of the keys are free for the token of a writer, and which are held.

use redlock_core::{NodeError, Resource, Resources, Token};
use tokio::time::Instant;

use super::{Keys, Standing, longest};

impl Keys {
    pub(super) fn standing<'k>(
        &self,
        keys: &'k Resources,
        token: &Token,
        predecessors: &[Token],
        now: Instant,
    ) -> Result<Standing<'k>, NodeError> {
        let (mut absent, mut others, mut follows) = (Vec::new(), Vec::new(), !predecessors.is_empty());
        let mut by_readers = false;
        for (number, key) in keys.iter().map(Resource::as_str).enumerate() {
            if self.readers(key, now).is_some() {
                by_readers = true;
                others.push(self.remaining(key, now));
                continue;
            }
            let held = self.string(key, now)?;
            let predecessor = predecessors.get(number).map(Token::as_bytes);
            let is_predecessors = held.as_ref().is_some_and(|held| predecessor == Some(held.value));
            match held {
                Some(held) if held.value == token.as_bytes() => follows = false,
                Some(_) if is_predecessors => absent.push(key),
                Some(held) => others.push(held.remaining),
                None => {
                    follows = false;
                    absent.push(key);
                }
            }
        }
        Ok(match others.is_empty() {
            true => Standing::Free { absent, follows },
            false => Standing::Held { remaining: longest(others), by_readers },
        })
    }
}
