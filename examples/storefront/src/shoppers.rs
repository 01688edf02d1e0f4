//! Other shoppers: visits with the tastes of `world.rs`, through the balancer as a browser's requests go. Owns their timetable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selvedge_suite::harness::{Client, Random, wait};
use serde_json::{Value, json};

use crate::scoreboard::Scoreboard;
use crate::site::{DECIDE, EVENTS};
use crate::stock::Stock;
use crate::world::{HEROES, Shopper};

/// Visits at once.
const CONNECTIONS: u64 = 4;
/// Pages of one visit.
const PAGES: usize = 3;

pub(crate) struct Shoppers {
    pub(crate) address: SocketAddr,
    pub(crate) stock: Arc<Stock>,
    pub(crate) scoreboard: Arc<Scoreboard>,
    /// Visits a second.
    pub(crate) rate: f64,
    pub(crate) seed: u64,
}

// === impl Shoppers ===

impl Shoppers {
    /// Sends visits in the background until the runtime ends.
    pub(crate) fn start(self) {
        let shoppers = Arc::new((self, AtomicU64::new(0), Instant::now()));
        for _ in 0..CONNECTIONS {
            let shoppers = Arc::clone(&shoppers);
            tokio::spawn(async move {
                let (shoppers, next, start) = &*shoppers;
                let mut client = Client::new(shoppers.address);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let due = *start + Duration::from_secs_f64(number as f64 / shoppers.rate);
                    wait::pass(due.saturating_duration_since(Instant::now())).await;
                    let visited = shoppers.visit(&mut client, number).await;
                    shoppers.scoreboard.visit(visited.is_ok());
                }
            });
        }
    }

    async fn visit(&self, client: &mut Client, number: u64) -> Result<()> {
        let mut random = Random::new(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let shopper = Shopper::new(&mut random);
        let catalogue = self.stock.catalogue();
        let (subject, session) = (format!("sim-{number}"), format!("sim-{number}-1"));
        let cookies = format!("subject={subject}; visit={session}");
        let headers = [("content-type", "application/json"), ("cookie", cookies.as_str())];
        let mut seen: Vec<String> = Vec::new();
        for page in 0..PAGES {
            let placements = if page == 0 {
                json!([{"placement": "home-hero"}, {"placement": "for-you", "slots": 8}])
            } else {
                json!([{"placement": "shelf", "slots": 24}])
            };
            let weather = *random.pick(&["dry", "dry", "rain", "cold"]);
            let body = json!({
                "subject": subject, "session": session, "context": {"weather": weather, "cart_value": 0},
                "placements": placements,
            });
            let answer = client.send_with(hyper::Method::POST, DECIDE, &headers, body.to_string()).await?.ok()?;
            let decisions = answer["decisions"].as_array().context("no decisions")?;
            let mut events = Vec::new();
            // The node's word that it chose this goes back with what came of it.
            let event = |name: &str, item: &str, decision: &Value| {
                let mut choices = decision["choices"].as_array().into_iter().flatten();
                let token = choices.find(|choice| choice["id"] == item).map(|choice| choice["token"].clone());
                json!({"event": name, "subject": subject, "session": session, "item": item, "token": token,
                       "decision_id": decision["decision_id"], "messageId": format!("{session}-{name}-{page}-{item}")})
            };
            for decision in decisions {
                let ids =
                    decision["choices"].as_array().into_iter().flatten().filter_map(|choice| choice["id"].as_str());
                if decision["placement"] == "home-hero" {
                    for (id, truth) in ids.filter_map(|id| HEROES.iter().find(|(hero, _)| *hero == id)) {
                        let is_clicked = random.unit() < *truth;
                        // The editor's arm is no part of what the policy learns.
                        if decision["arm"] != "editor" {
                            self.scoreboard.shown(id, is_clicked);
                        }
                        if is_clicked {
                            events.push(event("hero_click", id, decision));
                        }
                    }
                    continue;
                }
                for (place, product) in ids.filter_map(|id| catalogue.find(id)).enumerate() {
                    let is_seen = seen.contains(&product.id);
                    if random.unit() < shopper.click(product, place, is_seen) {
                        events.push(event("view_item", &product.id, decision));
                        seen.push(product.id.clone());
                        if random.unit() < 0.2 {
                            events.push(event("add_to_cart", &product.id, decision));
                        }
                    }
                }
            }
            if !events.is_empty() {
                let batch = json!({"batch": events}).to_string();
                client.send_with(hyper::Method::POST, EVENTS, &headers, batch).await?.ok()?;
            }
        }
        Ok(())
    }
}
