//! The pure decision core: what a release means and how one decision comes about.
//!
//! No I/O, clock, randomness or async, no JSON, no order of a hash map, no float math but what IEEE 754 fixes and `libm` makes of it: the same
//! inputs give the same bits natively, in a browser and in a replay a year later. Time, features and modules come in through
//! arguments and the two traits `Features` and `Modules`.
//!
//! Without its feature `std` it is what a page fetches: all that a decision needs, and nothing that compiles, learns or explains.

#![cfg_attr(not(feature = "std"), no_std)]
#![cfg_attr(
    not(feature = "std"),
    allow(dead_code, reason = "what compiles, learns and explains is all there is for some of it")
)]

extern crate alloc;

pub mod aggregate;
pub mod assign;
mod choose;
pub mod contest;
pub mod decide;
pub mod definition;
pub mod fault;
mod form;
pub mod gather;
pub mod ids;
pub mod layout;
pub mod limits;
pub mod logistic;
pub mod manifest;
mod order;
pub mod page;
pub mod plan;
pub mod policy;
pub mod record;
pub mod replay;
pub mod rfc3339;
pub mod settle;
pub mod sorted;
pub mod texts;
pub mod vector;

pub use decide::{BadRequest, Decision, Moment, World, decide};
pub use fault::Fault;
pub use ids::{BadId, DecisionId, Digest, Epoch, NodeId, TimeUs};
pub use manifest::Manifest;
pub use plan::Plan;
pub use record::{CORE_VERSION, Reason, Record};
