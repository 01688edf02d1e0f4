//! The notation of LightGBM's files: a head, a block a tree, statistics, parameters, each a line `key=value`. Owns finding the
//! blocks and reading their values; texts are borrowed from the file.

use std::collections::BTreeMap;

use super::BadModel;

/// The most trees; a block takes some bytes at least, so this is no limit of memory.
const MAX_TREES: usize = 1_000_000;

/// The parts of a file that decide a prediction.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) head: Block<'a>,
    pub(super) trees: Vec<Block<'a>>,
    /// The parameter: features by number, separated by commas.
    pub(super) categorical_feature: Option<&'a str>,
    /// The last line: JSON.
    pub(super) pandas_categorical: Option<&'a str>,
}

/// The head, or one tree.
#[derive(Debug)]
pub(super) struct Block<'a> {
    /// The tree's number; `None` for the head.
    tree: Option<usize>,
    keys: BTreeMap<&'a str, &'a str>,
}

// === impl Model ===

impl<'a> Model<'a> {
    /// Finds the parts of a file.
    ///
    /// # Errors
    ///
    /// When the file is cut off, or a tree or key is missing, out of order or there twice.
    pub(super) fn parse(text: &'a str) -> Result<Self, BadModel> {
        let mut lines = text.lines().skip_while(|line| line.trim().is_empty());
        if lines.next().map(str::trim) != Some("tree") {
            return Err(BadModel::whole("the first line is not `tree`"));
        }
        let mut head = Block { tree: None, keys: BTreeMap::new() };
        let mut trees: Vec<Block<'a>> = Vec::new();
        let mut has_ended = false;
        for line in lines.by_ref().map(str::trim_end) {
            if line == "end of trees" {
                has_ended = true;
                break;
            }
            if let Some(number) = line.strip_prefix("Tree=") {
                if number.parse() != Ok(trees.len()) || trees.len() == MAX_TREES {
                    return Err(BadModel::whole(format!("Tree={number} where Tree={} is expected", trees.len())));
                }
                trees.push(Block { tree: Some(trees.len()), keys: BTreeMap::new() });
            } else if !line.is_empty() {
                trees.last_mut().unwrap_or(&mut head).insert(line)?;
            }
        }
        if !has_ended {
            return Err(BadModel::whole(format!(
                "the file is cut off after {} trees: no line `end of trees`",
                trees.len()
            )));
        }
        if let Some(sizes) = head.optional("tree_sizes") {
            let told = sizes.split_ascii_whitespace().count();
            if told != trees.len() {
                return Err(BadModel::new("tree_sizes", format!("{told} sizes, but there are {} trees", trees.len())));
            }
        }
        let mut model = Self { head, trees, categorical_feature: None, pandas_categorical: None };
        model.parse_rest(lines)?;
        Ok(model)
    }

    /// What follows the trees.
    fn parse_rest(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), BadModel> {
        let mut is_in_parameters = false;
        for line in lines.map(str::trim) {
            match line {
                "parameters:" => is_in_parameters = true,
                "end of parameters" => is_in_parameters = false,
                _ => {}
            }
            if let Some(json) = line.strip_prefix("pandas_categorical:") {
                self.pandas_categorical = Some(json);
            }
            let parameter = line.strip_prefix("[categorical_feature:").and_then(|line| line.strip_suffix(']'));
            if let Some(parameter) = parameter.filter(|_| is_in_parameters) {
                self.categorical_feature = Some(parameter.trim());
            }
        }
        if is_in_parameters {
            return Err(BadModel::whole("the file is cut off in its parameters: no line `end of parameters`"));
        }
        Ok(())
    }
}

// === impl Block ===

impl<'a> Block<'a> {
    /// Where a key stands, for a message.
    pub(super) fn path(&self, key: &str) -> String {
        match self.tree {
            Some(tree) => format!("Tree={tree}.{key}"),
            None => key.to_owned(),
        }
    }

    fn insert(&mut self, line: &'a str) -> Result<(), BadModel> {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match self.keys.insert(key, value) {
            None => Ok(()),
            Some(_) => Err(BadModel::new(self.path(key), "stands twice")),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    pub(super) fn optional(&self, key: &str) -> Option<&'a str> {
        self.keys.get(key).copied()
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, BadModel> {
        self.optional(key).ok_or_else(|| BadModel::new(self.path(key), "missing"))
    }

    pub(super) fn count(&self, key: &str) -> Result<usize, BadModel> {
        let text = self.text(key)?;
        text.parse().map_err(|_| BadModel::new(self.path(key), format!("{text:?} is no count")))
    }

    /// A list of `len` values, separated by spaces.
    pub(super) fn list<T: std::str::FromStr>(&self, key: &str, len: usize) -> Result<Vec<T>, BadModel> {
        let bad =
            |i: usize, text: &str| BadModel::new(format!("{}[{i}]", self.path(key)), format!("{text:?} is no number"));
        let values = self.text(key)?.split_ascii_whitespace().enumerate();
        let values: Vec<T> =
            values.map(|(i, text)| text.parse().map_err(|_| bad(i, text))).collect::<Result<_, _>>()?;
        if values.len() == len {
            return Ok(values);
        }
        Err(BadModel::new(self.path(key), format!("{} values, expected {len}", values.len())))
    }
}
