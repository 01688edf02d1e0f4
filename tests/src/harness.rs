//! What every proof, benchmark and the demo stand on: real processes in a temporary folder, a client for their HTTP, and
//! waiting by polling. Nothing here knows what is being proved.

pub mod binary;
pub mod cli;
pub mod client;
pub mod decision;
pub mod folder;
pub mod forge;
pub mod inprocess;
pub mod lake;
pub mod nats;
pub mod node;
pub mod page;
pub mod process;
pub mod proxy;
pub mod random;
pub mod rig;
pub mod shop;
pub mod sse;
pub mod stream;
pub mod wait;
pub mod wallclock;
pub mod xgboost;

pub use cli::Cli;
pub use client::{Answer, Client};
pub use nats::NatsServer;
pub use node::{Node, NodeSpec};
pub use process::Process;
pub use proxy::{Line, Proxy};
pub use random::Random;
pub use rig::Rig;
pub use sse::Sse;
pub use wait::until;
pub use wallclock::WallClock;
