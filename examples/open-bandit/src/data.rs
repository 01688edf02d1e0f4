//! The Open Bandit Dataset as it lies on disk: two CSV files a campaign. Owns reading them; knows nothing of Selvedge.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// One campaign of the log.
#[derive(Debug)]
pub(crate) struct Campaign {
    pub(crate) items: Vec<Item>,
    /// In the order of the log.
    pub(crate) impressions: Vec<Impression>,
}

/// A row of `item_context.csv`.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) id: String,
    /// `item_feature_0`.
    pub(crate) number: f64,
    /// `item_feature_1` to `item_feature_3`.
    pub(crate) categories: [String; 3],
}

/// A row of the log: one item shown to one visitor in one position.
#[derive(Debug, Clone)]
pub(crate) struct Impression {
    pub(crate) position: String,
    /// Index into [`Campaign::items`].
    pub(crate) item: usize,
    pub(crate) clicked: bool,
    /// The probability with which the logging policy showed this item here.
    pub(crate) propensity: f64,
    /// `user_feature_0` to `user_feature_3`.
    pub(crate) visitor: [String; 4],
    /// `user-item_affinity_*`, by item; only those that are not 0.
    pub(crate) affinity: Vec<(usize, f64)>,
}

// === impl Campaign ===

impl Campaign {
    /// Reads `DATA/POLICY/CAMPAIGN`.
    pub(crate) fn read(data: &Path, policy: &str, campaign: &str) -> Result<Self> {
        let folder = data.join(policy).join(campaign);
        let items = Table::read(&folder.join("item_context.csv"))?.rows(|row| {
            Ok(Item {
                id: format!("item-{}", row.text("item_id")?),
                number: row.number("item_feature_0")?,
                categories: [row.text("item_feature_1")?, row.text("item_feature_2")?, row.text("item_feature_3")?],
            })
        })?;
        let places: BTreeMap<&str, usize> = items.iter().enumerate().map(|(i, item)| (item.id.as_str(), i)).collect();
        let impressions = Table::read(&folder.join(format!("{campaign}.csv")))?.rows(|row| {
            let id = format!("item-{}", row.text("item_id")?);
            let mut affinity = Vec::new();
            for (place, item) in items.iter().enumerate() {
                let score = row.number(&item.id.replace("item-", "user-item_affinity_"))?;
                if score != 0.0 {
                    affinity.push((place, score));
                }
            }
            Ok(Impression {
                position: row.text("position")?,
                item: *places.get(id.as_str()).with_context(|| format!("{id} is not in item_context.csv"))?,
                clicked: row.number("click")? != 0.0,
                propensity: row.number("propensity_score")?,
                visitor: [
                    row.text("user_feature_0")?,
                    row.text("user_feature_1")?,
                    row.text("user_feature_2")?,
                    row.text("user_feature_3")?,
                ],
                affinity,
            })
        })?;
        if impressions.len() < 2 {
            bail!("{}: fewer than two impressions", folder.display());
        }
        Ok(Self { items, impressions })
    }

    /// The first half, to learn from, and the second, to replay.
    pub(crate) fn halves(&self) -> (&[Impression], &[Impression]) {
        self.impressions.split_at(self.impressions.len() / 2)
    }
}

// === impl Impression ===

impl Impression {
    /// The visitor as a subject's id.
    pub(crate) fn subject(&self) -> String {
        let short: Vec<&str> = self.visitor.iter().map(|hash| hash.get(..6).unwrap_or(hash)).collect();
        format!("visitor-{}", short.join("-"))
    }
}

/// A CSV file without quotes, which is all the dataset uses.
struct Table {
    path: String,
    columns: BTreeMap<String, usize>,
    text: String,
}

struct Row<'a> {
    columns: &'a BTreeMap<String, usize>,
    cells: Vec<&'a str>,
}

impl Table {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let header = text.lines().next().unwrap_or_default();
        let columns = header.split(',').enumerate().map(|(at, name)| (name.to_owned(), at)).collect();
        Ok(Self { path: path.display().to_string(), columns, text })
    }

    fn rows<T>(&self, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        let lines = self.text.lines().enumerate().skip(1);
        lines
            .map(|(at, line)| {
                let row = Row { columns: &self.columns, cells: line.split(',').collect() };
                read(&row).with_context(|| format!("{}:{}", self.path, at + 1))
            })
            .collect()
    }
}

impl Row<'_> {
    fn text(&self, name: &str) -> Result<String> {
        let at = self.columns.get(name).with_context(|| format!("no column {name:?}"))?;
        self.cells.get(*at).map(|cell| (*cell).to_owned()).with_context(|| format!("no value in column {name:?}"))
    }

    fn number(&self, name: &str) -> Result<f64> {
        let text = self.text(name)?;
        text.parse().with_context(|| format!("{name} is {text:?}, expected a number"))
    }
}
