//! Releases as people write them: a folder of TOML files and modules, written by a test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The views of the test shop: people and items.
pub const FEATURES: &str = r#"
[view.user]
by = "subject"
sync = "all"
[view.user.features]
segment = "symbol"
value = { type = "number", default = 0.0 }

[view.item]
by = "item"
sync = "all"
[view.item.features]
category = "symbol"
price = "number"
stock = "number"
"#;

/// A release folder.
#[derive(Debug, Clone)]
pub struct Shop {
    folder: PathBuf,
}

// === impl Shop ===

impl Shop {
    /// An empty release called `name` in a new folder, with the views of [`FEATURES`].
    pub fn new(folder: impl Into<PathBuf>, name: &str) -> Result<Self> {
        let shop = Self { folder: folder.into() };
        shop.file("release.toml", format!("name = {name:?}\n"))?;
        shop.file("features.toml", FEATURES)?;
        Ok(shop)
    }

    /// A release that says `number` everywhere: in the payload of every action and in the score of every choice, so that an
    /// answer that mixed two releases would show it. Two placements: `home-hero` over actions, `plp-rank` over items.
    pub fn numbered(folder: impl Into<PathBuf>, number: u32) -> Result<Self> {
        let shop = Self::new(folder, &format!("number-{number}"))?;
        shop.placement("home-hero", &hero(number, "[\"hero\"]"))?;
        shop.placement("plp-rank", RANK)?;
        shop.model("hero", &constant(number))?;
        shop.model("rank", &constant(number))?;
        Ok(shop)
    }

    /// As [`Shop::numbered`], but `plp-rank` scores each item by its price; an item without one scores 0.
    pub fn priced(folder: impl Into<PathBuf>, number: u32) -> Result<Self> {
        let shop = Self::numbered(folder, number)?;
        let price = self::number("item.price", "candidate", 1.0);
        shop.model("rank", &format!("link = \"identity\"\nrows = 4096\n{price}"))?;
        Ok(shop)
    }

    /// Writes a file at a path inside the release.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> Result<&Self> {
        let path = self.folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
        Ok(self)
    }

    /// Writes `placements/KEY.toml`.
    pub fn placement(&self, key: &str, text: &str) -> Result<&Self> {
        self.file(&format!("placements/{key}.toml"), text)
    }

    /// Writes `modules/NAME.linear.toml`.
    pub fn model(&self, name: &str, text: &str) -> Result<&Self> {
        self.file(&format!("modules/{name}.linear.toml"), text)
    }

    /// Writes `modules/NAME.wasm`.
    pub fn module(&self, name: &str, bytes: &[u8]) -> Result<&Self> {
        self.file(&format!("modules/{name}.wasm"), bytes)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A placement over three actions whose payloads say `number`.
pub fn hero(number: u32, ladder: &str) -> String {
    format!(
        r#"
context = {{ country = "symbol", cart_value = "number" }}
actions = [
  {{ id = "default", payload = {{ number = {number} }} }},
  {{ id = "free-shipping", payload = {{ number = {number} }} }},
  {{ id = "vip", payload = {{ number = {number} }} }},
]
slots = 2
deadline = "1s"
ladder = {ladder}
fallback = ["default"]
"#
    )
}

/// A placement over items that the request names.
pub const RANK: &str = r#"
candidates = { view = "item", from = "request" }
slots = 3
deadline = "1s"
ladder = ["rank"]
fallback = { by = "item.stock" }
"#;

/// A linear model that answers `number` for every candidate.
pub fn constant(number: u32) -> String {
    let id = "name = \"candidate.id\"\nscope = \"candidate\"\ntype = \"symbol\"\nweights = { default = 0.0 }";
    format!("link = \"identity\"\nintercept = {number}.0\n[[input]]\n{id}\n")
}

/// An input of a linear model: a number, times its weight.
pub fn number(name: &str, scope: &str, weight: f64) -> String {
    format!("[[input]]\nname = {name:?}\nscope = {scope:?}\ntype = \"number\"\nweight = {weight:.1}\n")
}
