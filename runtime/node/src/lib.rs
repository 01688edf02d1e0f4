//! The node: one process near a CDN edge that decides, learns what it is told, and tells the core what it did.
//!
//! A folder is a flow: `features` (updates in), `releases` (release in), `decide` (decisions), `events` and `outbox` (events
//! out), `sessions` (what events change here), `aggregates` (what the core counts of them). Flows meet only in the feature store, the active release and the outbox; `node` is the one file that wires them.

pub mod aggregates;
pub mod api;
pub mod bandits;
pub mod clock;
pub mod config;
pub mod console;
pub mod decide;
pub mod events;
pub mod features;
pub mod ids;
pub mod keys;
pub mod link;
pub mod node;
pub mod outbox;
pub mod releases;
pub mod secret;
pub mod sessions;
pub mod telemetry;
pub mod tokens;
pub mod twin;
pub mod watched;
