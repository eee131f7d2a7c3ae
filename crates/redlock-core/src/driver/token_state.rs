//! The state of one node under all names of a lock.

use std::time::Duration;

use crate::{
    algorithm::TokenView,
    names::Token,
    node::{InspectAnswer, NodeError},
    report::NodeAnswer,
};

/// The state of one node under the names of a lock.
#[derive(Debug, PartialEq)]
pub(crate) enum TokenState {
    /// The token, under all of them.
    It {
        /// For how long. `None`: forever.
        remaining: Option<Duration>,
    },
    /// No token, under at least one of them.
    Nothing,
    /// Another token, under at least one of them.
    Another {
        /// The longest of them. `None`: forever.
        remaining: Option<Duration>,
    },
}

impl TokenState {
    /// Combines the states of the keys. A key that certainly does not hold the token outweighs one that is unknown.
    ///
    /// A reader's token also counts where it is still a writer's, because the node missed the downgrade.
    pub(crate) fn of(
        keys: Vec<Result<InspectAnswer, NodeError>>,
        ours: &Token,
        is_shared: bool,
    ) -> Result<Self, NodeError> {
        let lifetime = |remaining: &Option<Duration>| remaining.unwrap_or(Duration::MAX);
        let (mut held, mut others, mut absent, mut unknown) = (None, None, false, Ok(()));
        for key in keys {
            match key {
                Ok(InspectAnswer::Absent) => absent = true,
                Ok(InspectAnswer::Held { token, remaining }) if token == ours.as_bytes() => {
                    held = held.into_iter().chain([remaining]).min_by_key(lifetime);
                }
                Ok(InspectAnswer::Held { remaining, .. }) => {
                    others = others.into_iter().chain([remaining]).max_by_key(lifetime);
                }
                Ok(InspectAnswer::Shared { readers, remaining, .. }) => {
                    match readers.iter().find(|reader| is_shared && reader.token == ours.as_bytes()) {
                        Some(reader) => {
                            held = held.into_iter().chain([Some(reader.remaining)]).min_by_key(lifetime);
                        }
                        None => others = others.into_iter().chain([remaining]).max_by_key(lifetime),
                    }
                }
                Err(error) => unknown = Err(error),
            }
        }
        match (others, held) {
            (Some(remaining), _) => Ok(Self::Another { remaining }),
            _ if absent => Ok(Self::Nothing),
            (None, Some(remaining)) => unknown.map(|()| Self::It { remaining }),
            // There is at least one key.
            (None, None) => unknown.map(|()| Self::Nothing),
        }
    }
}

impl From<&Result<TokenState, NodeError>> for TokenView {
    fn from(answer: &Result<TokenState, NodeError>) -> Self {
        match answer {
            Ok(TokenState::It { remaining }) => Self::Held { remaining: *remaining },
            Ok(TokenState::Nothing | TokenState::Another { .. }) => Self::Gone,
            Err(_) => Self::Unknown,
        }
    }
}

impl From<Result<TokenState, NodeError>> for NodeAnswer {
    fn from(answer: Result<TokenState, NodeError>) -> Self {
        match answer {
            Ok(TokenState::It { .. }) => Self::Granted,
            Ok(TokenState::Nothing) => Self::NotHeld,
            Ok(TokenState::Another { remaining }) => Self::Held { remaining },
            Err(error) => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{NodeErrorKind, Reader};

    const fn secs(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    /// Returns what a node holds that answers this for each key: a digit for its token, and for how long.
    fn holds(keys: &[Option<(u8, Option<Duration>)>]) -> TokenState {
        let key = |key: &Option<(u8, _)>| match key {
            Some((digit, remaining)) => InspectAnswer::held(Token::from_bytes([*digit; 20]).as_bytes(), *remaining),
            None => InspectAnswer::Absent,
        };
        TokenState::of(keys.iter().map(|one| Ok(key(one))).collect(), &Token::from_bytes([1; 20]), false).unwrap()
    }

    #[test]
    fn a_node_holds_a_lock_while_all_its_keys_hold_the_token() {
        assert_eq!(holds(&[Some((1, secs(9)))]), TokenState::It { remaining: secs(9) });
        assert_eq!(
            holds(&[Some((1, secs(9))), Some((1, secs(3))), Some((1, None))]),
            TokenState::It { remaining: secs(3) }
        );
        assert_eq!(holds(&[Some((1, None)); 2]), TokenState::It { remaining: None });
        assert_eq!(holds(&[Some((1, secs(9))), None]), TokenState::Nothing);
        assert_eq!(holds(&[None; 2]), TokenState::Nothing);
        assert_eq!(holds(&[Some((1, secs(9))), Some((2, secs(4))), None]), TokenState::Another { remaining: secs(4) });
        assert_eq!(holds(&[Some((2, secs(4))), Some((3, secs(8)))]), TokenState::Another { remaining: secs(8) });
        assert_eq!(holds(&[Some((2, None)), Some((3, secs(8)))]), TokenState::Another { remaining: None });
    }

    #[test]
    fn a_reader_is_held_among_readers_and_where_it_is_a_writer_still_and_a_writer_is_not_among_readers() {
        let (ours, other) = (Token::from_bytes([1; 20]), Token::from_bytes([2; 20]));
        let shared = |tokens: &[&Token]| {
            let reader =
                |token: &&Token| Reader { token: token.as_bytes().to_owned(), remaining: Duration::from_secs(9) };
            Ok(InspectAnswer::shared(tokens.iter().map(reader).collect(), tokens.len(), secs(30)))
        };
        let of = |key, is_shared| TokenState::of(vec![key], &ours, is_shared).unwrap();
        assert_eq!(of(shared(&[&other, &ours]), true), TokenState::It { remaining: secs(9) });
        assert_eq!(of(shared(&[&other, &ours]), false), TokenState::Another { remaining: secs(30) });
        assert_eq!(of(shared(&[&other]), true), TokenState::Another { remaining: secs(30) });
        assert_eq!(of(Ok(InspectAnswer::held(ours.as_bytes(), secs(5))), true), TokenState::It { remaining: secs(5) });
    }

    #[test]
    fn an_unknown_key_leaves_its_node_unknown_unless_another_key_decides() {
        let failed = || Err(NodeError::from(NodeErrorKind::Timeout));
        let ours = Token::from_bytes([1; 20]);
        let held = || Ok(InspectAnswer::held(ours.as_bytes(), secs(9)));
        assert!(TokenState::of(vec![held(), failed()], &ours, false).is_err());
        assert!(TokenState::of(vec![failed(), failed()], &ours, false).is_err());
        assert_eq!(
            TokenState::of(vec![failed(), Ok(InspectAnswer::Absent)], &ours, false).unwrap(),
            TokenState::Nothing
        );
    }
}
