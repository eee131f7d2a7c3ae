//! core
pub mod algorithm;
mod clock;
mod entropy;
mod node;
mod node_url;
mod resource;
pub mod script;
mod token;
pub use self::{clock::*, entropy::*, node::*, node_url::*, resource::*, token::*};
pub use algorithm::*;
