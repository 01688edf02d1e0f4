//! The log that the ranking model learns from: visits of simulated shoppers to pages in a random order. Owns how the model's
//! inputs are computed from a visit; it must be what the nodes compute (`shop/features.toml`, `shop/modules/rank.toml`).

use std::io::Write;

use anyhow::Result;
use selvedge_suite::harness::Random;

use crate::catalogue::{Catalogue, Product};
use crate::world::Shopper;

const PAGES: usize = 6;
const PER_PAGE: usize = 24;
/// Between two pages, in seconds.
const PAUSE_S: f64 = 20.0;
/// As `taste` of the view `session` has it, in seconds.
const HALF_LIFE_S: f64 = 1200.0;

/// A visit so far: when which product was viewed.
#[derive(Default)]
struct Visit<'a> {
    views: Vec<(f64, &'a Product)>,
}

/// Writes the impressions of `visits` as CSV.
pub(crate) fn write(catalogue: &Catalogue, visits: u32, seed: u64, out: &mut impl Write) -> Result<()> {
    let mut random = Random::new(seed);
    let there: Vec<&Product> = catalogue.products.iter().filter(|product| product.stock > 0).collect();
    writeln!(out, "visit,affinity,seen,popularity,price,season,views,mean_price,clicked")?;
    for number in 0..visits {
        let shopper = Shopper::new(&mut random);
        let mut visit = Visit::default();
        for page in 0..PAGES {
            let now_s = page as f64 * PAUSE_S;
            let mut clicked = Vec::new();
            for (place, product) in draw(&there, &mut random).into_iter().enumerate() {
                let is_seen = visit.has_seen(product);
                let is_clicked = random.unit() < shopper.click(product, place, is_seen);
                writeln!(
                    out,
                    "{number},{},{},{},{},{},{},{},{}",
                    text(visit.affinity(product, now_s)),
                    u8::from(is_seen),
                    product.popularity,
                    product.price,
                    product.season,
                    visit.views.len(),
                    text(visit.mean_price()),
                    u8::from(is_clicked),
                )?;
                if is_clicked {
                    clicked.push((now_s, product));
                }
            }
            visit.views.extend(clicked);
        }
    }
    Ok(())
}

/// A page of different products.
fn draw<'a>(there: &[&'a Product], random: &mut Random) -> Vec<&'a Product> {
    let mut left = there.to_vec();
    (0..PER_PAGE.min(left.len())).map(|_| left.swap_remove(random.below(left.len() as u64) as usize)).collect()
}

/// A value as CSV has it; nothing where there is none.
fn text(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.6}")).unwrap_or_default()
}

// === impl Visit ===

impl Visit<'_> {
    fn has_seen(&self, product: &Product) -> bool {
        self.views.iter().any(|(_, seen)| seen.id == product.id)
    }

    fn mean_price(&self) -> Option<f64> {
        let sum: f64 = self.views.iter().map(|(_, product)| product.price).sum();
        (!self.views.is_empty()).then(|| sum / self.views.len() as f64)
    }

    /// The cosine of the visit's taste, a mean that fades, and the product's style.
    fn affinity(&self, product: &Product, now_s: f64) -> Option<f64> {
        let mut taste = vec![0.0; product.style.len()];
        for (time_s, seen) in &self.views {
            let weight = libm::exp2((time_s - now_s) / HALF_LIFE_S);
            taste.iter_mut().zip(&seen.style).for_each(|(sum, value)| *sum += weight * value);
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let lengths = dot(&taste, &taste) * dot(&product.style, &product.style);
        (lengths > 0.0).then(|| dot(&taste, &product.style) / libm::sqrt(lengths))
    }
}
