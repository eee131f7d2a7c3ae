//! Real servers for the tests: containers, local processes, or given URLs.
//!
//! [`Servers::from_env`] picks one source; `REDLOCK_TEST_SERVERS` can name it. A missing server is an error that says
//! what to install or set, and never a silent pass.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use redlock_tests::servers::{ServerOptions, Servers};
//!
//! let servers = Servers::from_env().await?;
//! let nodes = servers.start(3, &ServerOptions::new()).await?;
//! nodes[0].pause().await?; // connects, never answers
//! nodes[1].stop().await?; // refuses, and forgets its keys
//! # Ok(())
//! # }
//! ```

mod source;

mod options;
mod server;

mod clock;

mod containers;
mod given;
mod processes;

mod reply;

mod background;
mod folder;
mod owner;
mod ports;

pub use clock::ServerClock;
pub use options::ServerOptions;
pub use reply::Reply;
pub use server::Server;
pub use source::Servers;
