//! The known truth of the simulated shoppers: what they like, and how likely they click. Nothing that decides may read this file;
//! what the model and the policy learn is held against it.

use selvedge_suite::harness::Random;

use crate::catalogue::Product;

/// How likely a visitor clicks each hero, whoever it is. The policy has to find out that it is the third.
pub(crate) const HEROES: [(&str, f64); 4] = [("coats", 0.05), ("clay", 0.08), ("knits", 0.16), ("delivery", 0.06)];

/// The kinds that people have in mind.
const KINDS: [&str; 8] = ["shoes", "knitwear", "jackets", "bags", "hats", "ceramics", "lamps", "chairs"];
const FAMILIES: [&str; 4] = ["warm", "cool", "earth", "neutral"];

/// A person who came for something.
#[derive(Debug, Clone)]
pub(crate) struct Shopper {
    /// What it came for, and what else it likes.
    kinds: [&'static str; 2],
    family: &'static str,
    /// How dear it buys: -0.4 for the cheapest of a kind, 0.4 for the dearest.
    purse: f64,
}

// === impl Shopper ===

impl Shopper {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self {
            kinds: [*random.pick(&KINDS), *random.pick(&KINDS)],
            family: *random.pick(&FAMILIES),
            purse: 0.8 * random.unit() - 0.4,
        }
    }

    /// The probability of a click on a product in a place of the page, from 0.
    pub(crate) fn click(&self, product: &Product, place: usize, is_seen: bool) -> f64 {
        let [first, second] = self.kinds.map(|kind| f64::from(u8::from(kind == product.category)));
        let family = f64::from(u8::from(self.family == product.family));
        let dear = product.style.last().copied().unwrap_or(0.0);
        let is_new = f64::from(u8::from(product.season == "new"));
        let liking = -4.6 + 3.0 * first + 1.5 * second + 0.9 * family - 1.6 * (dear - self.purse).abs()
            + 2.2 * (product.popularity - 0.28)
            + 0.3 * is_new
            - 1.2 * f64::from(u8::from(is_seen));
        let looks = 1.0 / (1.0 + 0.04 * place as f64);
        looks / (1.0 + libm::exp(-liking))
    }
}
