//! The end-to-end suite: one binary, the real `selvedge`, a real nats-server. Each proof runs in its short form (`./x prove`
//! runs them at full size), and every example runs as its README says.

mod aggregates;
mod bandits;
mod browser;
mod canary;
mod connections;
mod console;
mod examples;
mod keys;
mod lake;
mod load;
mod models;
mod modules;
mod openfeature;
mod page_answers;
mod pages;
mod parity;
mod people;
mod publishing;
mod recorded;
mod rules;
mod schema;
mod sdk;
mod sessions;
mod setup;
mod storefront;
mod telemetry;
mod tls;
mod views;

use std::sync::{Mutex, PoisonError};

use selvedge_suite::harness::random;
use selvedge_suite::prove::Proof;

/// One at a time: each proof keeps two cores busy, and side by side they would measure each other.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `test` on a runtime of its own.
fn alone(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    tokio::runtime::Runtime::new()?.block_on(test)
}

fn proof(name: &str) -> anyhow::Result<()> {
    let seed = random::fresh_seed();
    println!("seed {seed}; again with: ./x prove {name} --short --seed {seed}");
    let proof = Proof::named(name).ok_or_else(|| anyhow::anyhow!("there is no proof {name:?}"))?;
    alone(proof.short(seed))
}

macro_rules! proofs {
    ($($name:ident)*) => {
        /// Each proof is a test of its own.
        mod prove {
            $(#[test]
            fn $name() -> anyhow::Result<()> {
                super::proof(stringify!($name))
            })*

            #[test]
            fn every_proof_is_a_test() {
                let names = [$(stringify!($name)),*];
                assert_eq!(names.to_vec(), selvedge_suite::prove::ALL.map(|proof| proof.name));
            }
        }
    };
}

proofs! { swap kill clone outage start faults refusal tamper requests events chaos corpus rules replay off_policy gate assignment propensities bandits availability browser lake browser_lost models_xgboost models_lightgbm models_sklearn models_onnx models_smartcore }
