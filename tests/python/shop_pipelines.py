"""Pipelines as people build them over shop sessions, eight of them ordinary ColumnTransformers, and the rows they see."""

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import shop_data

COUNTRIES = ["DE", "FR", "PL", "AT", "CH", "LU", "LI", "SM"]
DEVICES = ["desktop", "mobile", "tablet"]
NUMBERS = ["age", "basket", "views", "rate"]
TEXTS = ["country", "device", "brand"]


def sessions(rng, n):
    """Rows with missing values and categories of very different frequency; targets of every kind."""
    X = pd.DataFrame(
        {
            "age": rng.normal(40, 12, n).round(),
            "basket": rng.lognormal(3, 1, n) * (rng.random(n) < 0.8),
            "views": rng.poisson(4, n),
            "rate": rng.beta(1, 20, n),
            "country": rng.choice(COUNTRIES, n, p=[0.4, 0.3, 0.15, 0.08, 0.04, 0.02, 0.007, 0.003]).astype(object),
            "device": pd.Categorical(rng.choice(DEVICES, n), categories=DEVICES),
            "brand": [f"brand {int(code)}" for code in rng.zipf(1.6, n) % 60],
            "size": rng.integers(34, 46, n),
            "weekend": rng.random(n) < 0.3,
        }
    )
    tendency = (
        0.02 * (X["age"] - 40)
        + 0.4 * np.log1p(X["basket"])
        - 8 * X["rate"]
        + 0.6 * (X["country"] == "DE")
        - 0.5 * (X["device"] == "mobile").astype(float)
        + 0.3 * X["weekend"]
        + rng.normal(size=n)
    ).to_numpy()
    for name in ["age", "rate"]:
        X.loc[rng.random(n) < 0.08, name] = np.nan
    for name in ["country", "brand"]:
        X.loc[rng.random(n) < 0.05, name] = None
    X.loc[rng.random(n) < 0.05, "device"] = np.nan
    targets = {
        "two": (tendency > 1).astype(int),
        "three": np.array(["cold", "warm", "hot"])[np.digitize(tendency, [0.6, 1.5])],
        "code": np.digitize(tendency, [0.6, 1.5]),
        "value": tendency * 10,
        "count": rng.poisson(np.exp(np.clip(tendency, -2, 2))),
    }
    return X, targets


def harden(rng, X):
    """Values that no row had before: unseen categories, huge and tiny numbers, zeros of both signs."""
    X = X.copy()
    n = len(X)
    for name in ["age", "basket", "rate"]:
        odd = rng.choice([0.0, -0.0, 1e-40, -1.0, 1e6, -1e6, 39.5, np.nan], n)
        X[name] = np.where(rng.random(n) < 0.3, odd, X[name])
    X["views"] = np.where(rng.random(n) < 0.2, rng.integers(0, 1000, n), X["views"])
    X["size"] = np.where(rng.random(n) < 0.2, rng.integers(0, 100, n), X["size"])
    for name in ["country", "brand"]:
        X[name] = np.where(rng.random(n) < 0.3, rng.choice(["XX", "", "de", "brand 1000", None], n), X[name])
    device = X["device"].astype(object)
    X["device"] = np.where(rng.random(n) < 0.2, np.array(["watch", np.nan], dtype=object)[rng.integers(0, 2, n)], device)
    return X


def prepared(takes, seen, ordinary, hard):
    """Rows that a pipeline takes: all of them, only known categories, or no missing or negative numbers either."""
    held = pd.concat([ordinary, hard], ignore_index=True)
    if takes == "all":
        return seen, held
    for name in [*TEXTS, "size"]:
        known = set(seen[name].dropna().unique()) | {None}
        held = held[held[name].isin(known) | held[name].isna()]
    if takes == "known":
        return seen, held
    return (X.fillna({name: 1.0 for name in NUMBERS}).assign(basket=X["basket"].fillna(1.0).abs()) for X in (seen, held))


def numeric(*steps):
    return make_pipeline(SimpleImputer(strategy="median"), *steps)


def table(numbers, texts, others="drop"):
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)], remainder=others)


def one_hot(**options):
    return make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore", **options))


def log_of(names):
    return ("log", FunctionTransformer(np.log1p), names)


def ordinal(**options):
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, **options)


def xgboost(seed, **options):
    import xgboost

    return xgboost.XGBClassifier(n_estimators=30, max_depth=4, random_state=seed, n_jobs=1, **options)


def lightgbm(seed, kind="LGBMClassifier", **options):
    import lightgbm

    return getattr(lightgbm, kind)(n_estimators=30, num_leaves=15, random_state=seed, n_jobs=1, verbose=-1, **options)


# name: (pipeline of a seed, target, columns or all, rows it takes)
ALL = {
    # Eight ordinary ColumnTransformers.
    "ordinary-1-logistic": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), one_hot()), LogisticRegression(max_iter=300)), "two", None, "all"),
    "ordinary-2-indicator": (lambda s: make_pipeline(
        table(make_pipeline(SimpleImputer(add_indicator=True), RobustScaler()),
              OneHotEncoder(drop="first", handle_unknown="ignore"), "passthrough"),
        LogisticRegression(max_iter=300)), "three", None, "all"),
    "ordinary-3-infrequent": (lambda s: make_pipeline(
        table(numeric(MinMaxScaler(clip=True)), OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=40)),
        SGDClassifier(loss="log_loss", random_state=s)), "two", None, "all"),
    "ordinary-4-hist": (lambda s: make_pipeline(
        table("passthrough", ordinal(encoded_missing_value=-2), "passthrough"),
        HistGradientBoostingClassifier(max_iter=30, categorical_features=[4, 5], random_state=s)), "two", None, "all"),
    "ordinary-5-target": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), TargetEncoder(random_state=s)),
        GradientBoostingClassifier(n_estimators=30, random_state=s)), "two", None, "all"),
    "ordinary-6-forest": (lambda s: make_pipeline(
        table(numeric(), one_hot(max_categories=10)), RandomForestClassifier(30, random_state=s)), "two", None, "all"),
    "ordinary-7-xgboost": (lambda s: make_pipeline(
        table("passthrough", ordinal(), "passthrough"), xgboost(s)), "two", None, "all"),
    "ordinary-8-error": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), OneHotEncoder(sparse_output=False), "passthrough"),
        LogisticRegression(max_iter=300)), "two", None, "known"),
    # Models.
    "lightgbm": (lambda s: make_pipeline(table("passthrough", ordinal()), lightgbm(s)), "three", None, "all"),
    "lightgbm-poisson": (lambda s: make_pipeline(
        table("passthrough", ordinal()), lightgbm(s, "LGBMRegressor", objective="poisson")), "count", None, "all"),
    "xgboost-classes": (lambda s: make_pipeline(
        table("passthrough", ordinal()), xgboost(s, objective="multi:softprob")), "code", None, "all"),
    "extra-trees": (lambda s: make_pipeline(
        table(numeric(), ordinal(encoded_missing_value=-2)), ExtraTreesClassifier(20, random_state=s)), "three", None, "all"),
    "forest-regression": (lambda s: make_pipeline(
        table(numeric(), ordinal(encoded_missing_value=-2)), RandomForestRegressor(20, random_state=s)), "value", None, "all"),
    "tree-missing": (lambda s: make_pipeline(
        DecisionTreeClassifier(max_depth=8, random_state=s)), "two", ["age", "basket", "views", "rate"], "all"),
    "tree-regression": (lambda s: make_pipeline(
        DecisionTreeRegressor(max_leaf_nodes=50, random_state=s)), "value", ["age", "basket", "rate", "weekend"], "all"),
    "boosting-classes": (lambda s: make_pipeline(
        numeric(), GradientBoostingClassifier(n_estimators=20, subsample=0.7, random_state=s)), "three", NUMBERS, "all"),
    "boosting-init": (lambda s: make_pipeline(
        numeric(StandardScaler()), GradientBoostingRegressor(init=DecisionTreeRegressor(max_depth=3), n_estimators=20, random_state=s)),
        "value", NUMBERS, "all"),
    "hist-frame": (lambda s: HistGradientBoostingClassifier(
        max_iter=30, categorical_features="from_dtype", random_state=s), "three",
        ["age", "basket", "views", "rate", "device", "size", "weekend"], "known"),
    "hist-poisson": (lambda s: make_pipeline(
        table("passthrough", TargetEncoder(random_state=s)),
        HistGradientBoostingRegressor(loss="poisson", max_iter=30, random_state=s)), "count", None, "all"),
    "network": (lambda s: make_pipeline(
        table(numeric(StandardScaler(), MaxAbsScaler()), one_hot()),
        MLPClassifier((16, 8), activation="tanh", max_iter=40, random_state=s)), "three", None, "all"),
    "network-regression": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), one_hot()), MLPRegressor(hidden_layer_sizes=(12,), max_iter=40, random_state=s)), "value", None, "all"),
    "ridge-polynomial": (lambda s: make_pipeline(
        numeric(StandardScaler()), PolynomialFeatures(2), LinearRegression()), "value", NUMBERS, "all"),
    "ridge-classifier": (lambda s: make_pipeline(
        table(numeric(KBinsDiscretizer(6, quantile_method="averaged_inverted_cdf")), one_hot(drop="if_binary")),
        RidgeClassifier()), "three", None, "all"),
    "poisson": (lambda s: make_pipeline(
        make_column_transformer((numeric(StandardScaler()), make_column_selector(dtype_include="number")),
                                (TargetEncoder(random_state=s), make_column_selector(dtype_include=object))),
        PoissonRegressor(max_iter=300)), "count", None, "all"),
    "elastic-net-log": (lambda s: make_pipeline(
        ColumnTransformer([log_of(["basket", "views"]), ("bins", KBinsDiscretizer(5, encode="ordinal"), ["views"]),
                           ("rest", "passthrough", slice(7, 9))]),
        ElasticNet(alpha=0.01)), "value", None, "bounded"),
    "sgd-regression": (lambda s: make_pipeline(
        FeatureUnion([("scaled", numeric(StandardScaler())), ("main", numeric(StandardScaler(), PCA(2)))]),
        SGDRegressor(random_state=s)), "value", NUMBERS, "all"),
    "target-classes": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), TargetEncoder(random_state=s)), SelectKBest(k=6),
        SGDClassifier(loss="modified_huber", random_state=s)), "three", None, "all"),
    # Models on models.
    "calibrated-sigmoid": (lambda s: make_pipeline(
        table(numeric(StandardScaler()), one_hot()),
        CalibratedClassifierCV(SGDClassifier(random_state=s), method="sigmoid", cv=3)), "three", None, "all"),
    "calibrated-isotonic": (lambda s: CalibratedClassifierCV(make_pipeline(
        table(numeric(), ordinal(encoded_missing_value=-2)), RandomForestClassifier(10, max_depth=6, random_state=s)),
        method="isotonic", cv=3, ensemble=False), "two", None, "all"),
    "searched-log-target": (lambda s: GridSearchCV(TransformedTargetRegressor(make_pipeline(
        numeric(StandardScaler()), Ridge()), func=np.log1p, inverse_func=np.expm1),
        {"regressor__ridge__alpha": [0.1, 1.0]}, cv=3), "count", NUMBERS, "all"),
    "searched-xgboost": (lambda s: GridSearchCV(make_pipeline(
        table("passthrough", ordinal()), xgboost(s)), {"xgbclassifier__max_depth": [3, 5]}, cv=2), "two", None, "all"),
    "thresholded-xgboost": (lambda s: FixedThresholdClassifier(make_pipeline(
        table(numeric(), ordinal()), xgboost(s, missing=-1))), "two", None, "all"),
    "array-numbers": (lambda s: make_pipeline(
        ColumnTransformer([("scaled", numeric(StandardScaler()), [0, 1]), ("rest", "passthrough", [False, False, True, True])]),
        HistGradientBoostingClassifier(max_iter=20, random_state=s)), "two", NUMBERS, "all"),
}  # fmt: skip


def online_shoppers(data):
    """UCI 468 as its known results were measured, by a logistic regression over a ColumnTransformer."""
    sessions, label = shop_data.table(data)
    documented = [{"auc": 0.8891, "logloss": 0.2988}, {"auc": 0.7429, "logloss": 0.3780}]
    for (name, leaves_out), known in zip(shop_data.LEAVES_OUT.items(), documented):
        seen, held, seen_label, held_label = shop_data.split(sessions.drop(columns=leaves_out), label)
        texts = ["Month", "VisitorType", "Weekend", "OperatingSystems", "Browser", "Region", "TrafficType"]
        prepare = ColumnTransformer([("texts", OneHotEncoder(handle_unknown="ignore"), texts)], remainder=StandardScaler())
        fitted = make_pipeline(prepare, LogisticRegression(max_iter=2000)).fit(seen, seen_label)
        yield name, fitted, seen, held, held_label.to_numpy(), known
