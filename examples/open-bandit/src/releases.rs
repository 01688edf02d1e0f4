//! The two releases of the demo: the same shop with two click models. Owns the folder they are packed from.

use std::path::PathBuf;

use anyhow::{Context, Result};
use selvedge_suite::harness::shop::Shop;
use selvedge_suite::modules;

use crate::data::{Campaign, Impression};
use crate::model::Model;
use crate::site::Site;

const RELEASE: &str = include_str!("../shop/release.toml");
const FEATURES: &str = include_str!("../shop/features.toml");
const RECOMMEND: &str = include_str!("../shop/placements/recommend.toml");

/// With so few clicks the first model may hardly leave the mean; the second may a little more.
const ALPHAS: [(&str, f64); 2] = [("first", 10.0), ("second", 1.0)];

/// The packed releases.
#[derive(Debug)]
pub(crate) struct Releases {
    pub(crate) first: PathBuf,
    pub(crate) second: PathBuf,
    /// For people: what was fitted.
    pub(crate) about: String,
}

/// Fits, writes and packs both.
pub(crate) async fn pack(site: &Site, campaign: &Campaign, past: &[Impression]) -> Result<Releases> {
    let mut files = Vec::new();
    let mut about = Vec::new();
    for (name, alpha) in ALPHAS {
        let model = Model::fit(campaign, past, alpha).with_context(|| format!("fitting the {name} model"))?;
        about.push(format!("{name}: {} weights, log loss {:.5}", model.len(), model.log_loss));
        let shop = Shop::new(site.path(name), "open-bandit")?;
        shop.file("release.toml", RELEASE)?.file("features.toml", FEATURES)?;
        shop.placement("recommend", RECOMMEND)?.model("clicks", &model.to_toml()?)?;
        shop.module("hero-rules", &modules::hero_rules()?)?;
        files.push(site.rig.pack(&shop).await?);
    }
    let [first, second] =
        <[PathBuf; 2]>::try_from(files).map_err(|files| anyhow::anyhow!("{} releases", files.len()))?;
    Ok(Releases { first, second, about: about.join("; ") })
}
