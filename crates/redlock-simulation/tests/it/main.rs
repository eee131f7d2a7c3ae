//! The tests of the simulation: it finds nothing within the assumptions, and finds each deliberately broken variant.

#![expect(clippy::panic, reason = "a test may panic")]

mod promised;
mod oracles;
