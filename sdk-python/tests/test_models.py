"""Every supported class is exported at least once, small: the check against its own answers is the export's. A class that is
added to the package must be added here."""

import os
import tempfile
import unittest
import warnings

import numpy as np
import sklearn.calibration
import sklearn.decomposition
import sklearn.discriminant_analysis
import sklearn.ensemble
import sklearn.feature_selection
import sklearn.impute
import sklearn.linear_model
import sklearn.neural_network
import sklearn.preprocessing
import sklearn.svm
import sklearn.tree
from sklearn.compose import TransformedTargetRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline

import selvedge
from selvedge.convert import PREDICTORS, TRANSFORMERS

warnings.simplefilter("ignore")

linear, ensemble, tree, pre = sklearn.linear_model, sklearn.ensemble, sklearn.tree, sklearn.preprocessing
select = sklearn.feature_selection
CLASSIFIERS = [
    linear.LogisticRegression(),
    linear.LogisticRegression(solver="liblinear"),
    linear.LogisticRegressionCV(Cs=2, cv=2),
    linear.SGDClassifier(loss="log_loss"),
    linear.SGDClassifier(loss="modified_huber"),
    linear.SGDClassifier(),
    linear.RidgeClassifier(),
    linear.RidgeClassifierCV(),
    linear.Perceptron(),
    linear.PassiveAggressiveClassifier(),
    sklearn.svm.LinearSVC(),
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis(),
    sklearn.neural_network.MLPClassifier((4,), activation="logistic", max_iter=20),
    sklearn.neural_network.MLPClassifier((4, 3), activation="identity", max_iter=20),
    tree.DecisionTreeClassifier(max_depth=4),
    tree.ExtraTreeClassifier(max_depth=4),
    ensemble.RandomForestClassifier(5),
    ensemble.ExtraTreesClassifier(5, class_weight="balanced"),
    ensemble.GradientBoostingClassifier(n_estimators=5),
    ensemble.GradientBoostingClassifier(n_estimators=5, init="zero"),
    ensemble.GradientBoostingClassifier(n_estimators=5, init=tree.DecisionTreeClassifier(max_depth=2)),
    ensemble.HistGradientBoostingClassifier(max_iter=5),
    ensemble.VotingClassifier([("a", linear.LogisticRegression()), ("b", "drop"), ("c", tree.DecisionTreeClassifier())],
                              voting="soft", weights=[2, 1, 1]),
    sklearn.calibration.CalibratedClassifierCV(ensemble.RandomForestClassifier(5), cv=2),
    sklearn.calibration.CalibratedClassifierCV(linear.LogisticRegression(), cv=2, method="isotonic", ensemble=False),
    GridSearchCV(linear.LogisticRegression(), {"C": [1, 2]}, cv=2),
    HalvingGridSearchCV(linear.LogisticRegression(), {"C": [1, 2]}, cv=2, min_resources=100),
    HalvingRandomSearchCV(linear.LogisticRegression(), {"C": [1, 2]}, cv=2, min_resources=100),
    RandomizedSearchCV(linear.LogisticRegression(), {"C": [1, 2]}, n_iter=1, cv=2),
]  # fmt: skip
BINARY = [
    linear.LogisticRegression(class_weight="balanced"),
    ensemble.GradientBoostingClassifier(n_estimators=5, loss="exponential"),
    ensemble.GradientBoostingClassifier(n_estimators=5, init=ensemble.RandomForestClassifier(5)),
    FixedThresholdClassifier(linear.LogisticRegression(), threshold=0.3),
    TunedThresholdClassifierCV(linear.LogisticRegression(), cv=2),
]
REGRESSORS = [
    linear.LinearRegression(), linear.Ridge(), linear.RidgeCV(), linear.Lasso(), linear.LassoCV(cv=2), linear.ElasticNet(),
    linear.ElasticNetCV(cv=2), linear.SGDRegressor(), linear.HuberRegressor(), linear.BayesianRidge(), linear.ARDRegression(),
    linear.Lars(), linear.LarsCV(cv=2), linear.LassoLars(), linear.LassoLarsCV(cv=2), linear.LassoLarsIC(),
    linear.OrthogonalMatchingPursuit(), linear.TheilSenRegressor(max_iter=10), linear.QuantileRegressor(),
    linear.PassiveAggressiveRegressor(), sklearn.svm.LinearSVR(),
    linear.PoissonRegressor(), linear.GammaRegressor(), linear.TweedieRegressor(power=1.5), linear.TweedieRegressor(power=0),
    sklearn.neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=20),
    tree.DecisionTreeRegressor(max_depth=4), tree.ExtraTreeRegressor(max_depth=4), ensemble.RandomForestRegressor(5),
    ensemble.ExtraTreesRegressor(5), ensemble.GradientBoostingRegressor(n_estimators=5, loss="huber"),
    ensemble.HistGradientBoostingRegressor(max_iter=5), ensemble.HistGradientBoostingRegressor(max_iter=5, loss="gamma"),
    ensemble.VotingRegressor([("a", linear.Ridge()), ("b", linear.PoissonRegressor())]),
    TransformedTargetRegressor(linear.Ridge(), func=np.log, inverse_func=np.exp),
    TransformedTargetRegressor(linear.Ridge(), transformer=pre.StandardScaler()),
]  # fmt: skip
# Of several targets at once.
MANY = [linear.MultiTaskLasso(), linear.MultiTaskElasticNet(), linear.Ridge(), ensemble.RandomForestRegressor(5)]
STEPS = [
    pre.StandardScaler(with_mean=False), pre.StandardScaler(with_std=False), pre.MinMaxScaler((-1, 1), clip=True),
    pre.RobustScaler(with_centering=False), pre.MaxAbsScaler(), pre.Binarizer(), pre.PolynomialFeatures(3, interaction_only=True),
    pre.KBinsDiscretizer(4, strategy="uniform"), pre.KBinsDiscretizer(4, encode="ordinal", strategy="quantile"),
    pre.FunctionTransformer(), pre.FunctionTransformer(np.log1p), pre.FunctionTransformer(np.square),
    pre.OneHotEncoder(handle_unknown="ignore"), pre.OrdinalEncoder(), pre.TargetEncoder(),
    sklearn.impute.SimpleImputer(), sklearn.impute.MissingIndicator(features="all"), sklearn.decomposition.PCA(2, whiten=True),
    sklearn.decomposition.TruncatedSVD(2), make_pipeline(pre.StandardScaler(), pre.Binarizer()),
    select.VarianceThreshold(), select.SelectKBest(k=2), select.SelectPercentile(percentile=50), select.SelectFpr(),
    select.SelectFdr(), select.SelectFwe(), select.GenericUnivariateSelect(mode="k_best", param=2),
    select.SelectFromModel(linear.LogisticRegression()), select.RFE(linear.LogisticRegression()),
    select.RFECV(linear.LogisticRegression(), cv=2),
    select.SequentialFeatureSelector(linear.LogisticRegression(), n_features_to_select=2, cv=2),
]  # fmt: skip
# Exercised by test_export, and by the proof's pipelines.
ELSEWHERE = {"Pipeline", "ColumnTransformer", "FeatureUnion"}


def boosters():
    """XGBoost's and LightGBM's classes, where they are installed: (model, target)."""
    try:
        import lightgbm
        import xgboost
    except ImportError:
        return []
    x, g = {"n_estimators": 5, "n_jobs": 1}, {"n_estimators": 5, "n_jobs": 1, "verbose": -1}
    group = [20] * 15
    return [
        (xgboost.XGBClassifier(**x), "two", {}),
        (xgboost.XGBClassifier(**x, base_score=0.3, booster="dart", rate_drop=0.5), "two", {}),
        (xgboost.XGBClassifier(**x), "three", {}),
        (xgboost.XGBRegressor(**x), "value", {}),
        (xgboost.XGBRegressor(**x, objective="count:poisson"), "value", {}),
        (xgboost.XGBRFClassifier(**x), "two", {}),
        (xgboost.XGBRFRegressor(**x), "value", {}),
        (xgboost.XGBRanker(**x), "two", {"group": group}),
        (xgboost.XGBClassifier(**x, missing=3.0), "two", {}),
        (GridSearchCV(xgboost.XGBClassifier(**x), {"max_depth": [2, 3]}, cv=2), "two", {}),
        (GridSearchCV(make_pipeline(pre.StandardScaler(), xgboost.XGBClassifier(**x)), {}, cv=2), "three", {}),
        (make_pipeline(pre.StandardScaler(), GridSearchCV(xgboost.XGBRegressor(**x), {}, cv=2)), "value", {}),
        (FixedThresholdClassifier(xgboost.XGBClassifier(**x)), "two", {}),
        (GridSearchCV(lightgbm.LGBMClassifier(**g), {"max_depth": [2, 3]}, cv=2), "three", {}),
        (lightgbm.LGBMClassifier(**g), "two", {}),
        (lightgbm.LGBMClassifier(**g, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7), "three", {}),
        (lightgbm.LGBMClassifier(**g, objective="multiclassova"), "three", {}),
        (lightgbm.LGBMRegressor(**g, objective="tweedie"), "value", {}),
        (lightgbm.LGBMRegressor(**g, reg_sqrt=True), "value", {}),
        (lightgbm.LGBMRegressor(**g, zero_as_missing=True), "value", {}),
        (lightgbm.LGBMRanker(**g), "two", {"group": group}),
    ]


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rng = np.random.default_rng(3)
        cls.X = rng.integers(1, 9, (300, 4)).astype(float)
        tendency = cls.X[:, 0] + cls.X[:, 1] * 0.5 + rng.normal(size=300)
        value = np.exp(tendency / 6)
        cls.targets = {
            "two": (tendency > 6).astype(int),
            "three": np.digitize(tendency, [5, 8]),
            "value": value,
            "many": np.column_stack([value, tendency]),
        }
        cls.seen = set(ELSEWHERE)

    def check(self, model, target, fit=None):
        with self.subTest(model=repr(model), target=target), tempfile.TemporaryDirectory() as folder:
            fitted = model.fit(self.X, self.targets[target], **(fit or {}))
            selvedge.export(fitted, self.X, os.path.join(folder, "model.json"))
        self.seen.add(type(model).__name__)

    def test_every_supported_class_is_exported(self):
        for model in CLASSIFIERS:
            self.check(model, "three")
        for model in CLASSIFIERS + BINARY:
            self.check(model, "two")
        for model in REGRESSORS:
            self.check(model, "value")
        for model in MANY:
            self.check(model, "many")
        for step in STEPS:
            self.check(make_pipeline(step, linear.LogisticRegression()), "two")
            self.seen.add(type(step).__name__)
        made = boosters()
        for model, target, fit in made:
            self.check(model, target, fit)
        if made:
            self.assertEqual(self.seen, {*TRANSFORMERS, *PREDICTORS})


if __name__ == "__main__":
    unittest.main()
