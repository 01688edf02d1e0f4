//! The fields of smartcore 0.7's fitted models, as its derived `Serialize` writes them. Owns their shapes alone.

use serde::Deserialize;
use serde_json::{Number, Value};

use crate::import::BadModel;

/// A class, which is a number of whatever type.
pub(super) type Label = Number;

/// `linalg::basic::matrix::DenseMatrix`.
#[derive(Debug, Deserialize)]
pub(super) struct Matrix {
    #[serde(rename = "ncols")]
    pub(super) columns: usize,
    #[serde(rename = "nrows")]
    pub(super) rows: usize,
    values: Vec<Value>,
    column_major: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Logistic {
    /// A row a class; one row for two classes.
    pub(super) coefficients: Option<Matrix>,
    pub(super) intercept: Option<Matrix>,
    pub(super) classes: Option<Vec<Label>>,
}

/// `LinearRegression`, whose intercept is a matrix; `RidgeRegression`, `Lasso` and `ElasticNet`, whose intercept is a number.
#[derive(Debug, Deserialize)]
pub(super) struct Linear {
    /// A column a target.
    pub(super) coefficients: Option<Matrix>,
    pub(super) intercept: Option<Intercept>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Intercept {
    Number(f64),
    Matrix(Matrix),
}

/// A node of a `DecisionTreeClassifier`, whose output is an index in its classes, or of a `BaseTree`.
#[derive(Debug, Deserialize)]
pub(super) struct Node<Out> {
    pub(super) output: Out,
    pub(super) split_feature: usize,
    pub(super) split_value: Option<f64>,
    pub(super) true_child: Option<usize>,
    pub(super) false_child: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Classifier {
    pub(super) nodes: Vec<Node<usize>>,
    pub(super) classes: Vec<Label>,
    pub(super) num_features: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct TreeRegressor {
    pub(super) tree_regressor: Option<BaseTree>,
    pub(super) num_features: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BaseTree {
    pub(super) nodes: Vec<Node<f64>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Forest {
    pub(super) trees: Option<Vec<Classifier>>,
    pub(super) classes: Option<Vec<Label>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RegressorForest {
    pub(super) forest_regressor: Option<BaseForest>,
}

#[derive(Debug, Deserialize)]
pub(super) struct BaseForest {
    pub(super) trees: Option<Vec<BaseTree>>,
    pub(super) num_features: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Boosted {
    pub(super) regressors: Option<Vec<BoostedNode>>,
    pub(super) parameters: Option<BoostedParameters>,
}

/// A node of an `XGRegressor`'s tree, which holds its children.
#[derive(Debug, Deserialize)]
pub(super) struct BoostedNode {
    pub(super) left: Option<Box<BoostedNode>>,
    pub(super) right: Option<Box<BoostedNode>>,
    pub(super) value: f64,
    pub(super) threshold: f64,
    /// `usize::MAX` at a leaf.
    pub(super) split_feature_idx: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct BoostedParameters {
    pub(super) learning_rate: f64,
    pub(super) base_score: f64,
    /// Only the squared error exists in 0.7; another would have another link.
    pub(super) objective: Objective,
}

#[derive(Debug, Deserialize)]
pub(super) enum Objective {
    MeanSquaredError,
}

// === impl Matrix ===

impl Matrix {
    /// Its values row by row.
    ///
    /// # Errors
    ///
    /// When they are not as many as its shape says, or one is not a finite number.
    pub(super) fn values(self, at: &str) -> Result<Vec<f64>, BadModel> {
        let Self { columns, rows, values, column_major } = self;
        if rows.checked_mul(columns) != Some(values.len()) {
            let why = format!("{} values, but {rows} × {columns} are expected", values.len());
            return Err(BadModel::new(format!("{at}.values"), why));
        }
        let place = |row: usize, column: usize| if column_major { column * rows + row } else { row * columns + column };
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| place(row, column)))
            .map(|i| {
                // JSON has no word for what is not finite.
                let bad = || BadModel::new(format!("{at}.values[{i}]"), "not a finite number; did the fit converge?");
                values[i].as_f64().ok_or_else(bad)
            })
            .collect()
    }

    /// With rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        let Self { columns, rows, values, column_major } = self;
        Self { columns: rows, rows: columns, values, column_major: !column_major }
    }
}

// === impl BoostedNode ===

impl BoostedNode {
    /// Takes the children out, so that a tree of any depth is dropped without recursion.
    pub(super) fn children(&mut self) -> Option<(Box<Self>, Box<Self>)> {
        self.left.take().zip(self.right.take())
    }
}
