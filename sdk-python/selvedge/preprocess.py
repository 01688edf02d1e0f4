"""Scalers, imputers, bins, functions and selections. Owns what their fitted attributes mean."""

import numpy as np

from .convert import transform, transformer
from .tape import MISSING, Text, Unsupported, at, is_missing

FUNCTIONS = {
    "log": "log",
    "log2": "log2",
    "log10": "log10",
    "log1p": "log1p",
    "exp": "exp",
    "expm1": "expm1",
    "sqrt": "sqrt",
    "square": "square",
    "abs": "abs",
    "absolute": "abs",
    "fabs": "abs",
    "negative": "negate",
    "reciprocal": "reciprocal",
    "tanh": "tanh",
    "trunc": "trunc",
    "expit": "sigmoid",
}


@transformer("StandardScaler")
def standard_scaler(tape, fitted, columns):
    mean = fitted.mean_ if fitted.with_mean else None
    return tape.scale(columns, subtract=mean, divide=fitted.scale_ if fitted.with_std else None)


@transformer("MinMaxScaler")
def min_max_scaler(tape, fitted, columns):
    columns = tape.scale(columns, multiply=fitted.scale_, add=fitted.min_)
    low, high = fitted.feature_range
    return tape.each("clip", columns, low=float(low), high=float(high)) if fitted.clip else columns


@transformer("RobustScaler")
def robust_scaler(tape, fitted, columns):
    center = fitted.center_ if fitted.with_centering else None
    return tape.scale(columns, subtract=center, divide=fitted.scale_ if fitted.with_scaling else None)


@transformer("MaxAbsScaler")
def max_abs_scaler(tape, fitted, columns):
    columns = tape.scale(columns, divide=fitted.scale_)
    return tape.each("clip", columns, low=-1.0, high=1.0) if getattr(fitted, "clip", False) else columns


@transformer("Binarizer")
def binarizer(tape, fitted, columns):
    tape.guard_finite(columns)
    edge = float(np.nextafter(fitted.threshold, np.inf))
    return [bins(tape, column, [edge]) for column in columns]


def bins(tape, column, edges):
    numbers = [column] if not isinstance(column, Text) else []
    if not numbers:
        raise Unsupported(f"the text {column.source.name!r} reaches it; it reads numbers")
    return tape.push(1, {"step": "bins", "column": column.column, "edges": edges})[0]


@transformer("KBinsDiscretizer")
def k_bins(tape, fitted, columns):
    tape.guard_finite(columns)
    made = []
    for column, edges, count in zip(columns, fitted.bin_edges_, fitted.n_bins_):
        if len(edges) and np.asarray(edges).dtype != np.float64:
            raise Unsupported("bins of f32 are not supported; leave `dtype` out")
        bin_of = bins(tape, column, [float(edge) for edge in edges[1:-1]])
        if fitted.encode == "ordinal":
            made.append(bin_of)
        else:
            # What is counted is an index already.
            slots = {"slots": list(range(int(count))), "other": -1, "missing": -1}
            made += tape.push(int(count), {"step": "one_hot", "column": bin_of.column, "width": int(count), **slots})
    return made


@transformer("PolynomialFeatures")
def polynomial_features(tape, fitted, columns):
    tape.guard_finite(columns)
    terms = [[c for c, power in zip(columns, powers) for _ in range(power)] for powers in fitted.powers_.tolist()]
    return tape.products(terms)


@transformer("FunctionTransformer")
def function_transformer(tape, fitted, columns):
    if fitted.func is None:
        return list(columns)
    name = getattr(fitted.func, "__name__", repr(fitted.func))
    if not isinstance(fitted.func, np.ufunc) or name not in FUNCTIONS:
        known = ", ".join(f"numpy.{name}" for name in FUNCTIONS if name != "expit")
        raise Unsupported(f"the function {name} is not supported; supported are {known} and scipy.special.expit")
    if fitted.kw_args:
        raise Unsupported(f"`kw_args` of the function {name} are not supported")
    return tape.apply(columns, FUNCTIONS[name])


@transformer("SimpleImputer")
def simple_imputer(tape, fitted, columns):
    # A column without any value is left out, unless the imputer was told to keep it.
    kept = [not is_missing(value) for value in fitted.statistics_]
    if fitted.strategy == "constant" or fitted.keep_empty_features:
        kept = [True] * len(kept)
    columns = [as_missing(tape, column, fitted.missing_values) for column in columns]
    imputed = []
    for column, value, is_kept in zip(columns, fitted.statistics_, kept):
        if is_kept:
            imputed.append(impute(tape, column, fitted.missing_values, value))
    if fitted.indicator_ is not None:
        imputed += indicator(tape, [columns[i] for i in fitted.indicator_.features_], fitted.missing_values)
    return imputed


@transformer("MissingIndicator")
def missing_indicator(tape, fitted, columns):
    columns = [as_missing(tape, column, fitted.missing_values) for column in columns]
    if fitted.features == "missing-only" and fitted.error_on_new:
        whole = [column for i, column in enumerate(columns) if i not in set(fitted.features_)]
        for is_new in indicator(tape, whole, fitted.missing_values):
            tape.guard_known(is_new, [0.0], False)
    return indicator(tape, [columns[i] for i in fitted.features_], fitted.missing_values)


def as_missing(tape, column, value):
    """A column of numbers in which `value` is NaN; scikit-learn raises where one was NaN before."""
    if is_missing(value) or isinstance(column, Text):
        return column
    if isinstance(value, str):
        raise Unsupported(f"`missing_values` is {value!r}, but the column holds numbers")
    tape.guard_finite([column])
    nan = tape.table(column, 1, {float(value): [np.nan]}, [0.0], [0.0])
    return tape.sums([[column, *nan]])[0]


def impute(tape, column, missing, value):
    if not isinstance(column, Text):
        if isinstance(value, str):
            raise Unsupported(f"the column {column.source!r} holds numbers, but {value!r} is imputed")
        return tape.each("impute", [column], values=[0.0 if is_missing(value) else float(value)])[0]
    if not isinstance(value, str):
        raise Unsupported(f"the input {column.source.name!r} holds texts, but {value!r} is imputed")
    if is_missing(missing):
        return column.impute(MISSING, value) if column.is_absence(missing) else column
    if not isinstance(missing, str):
        raise Unsupported(f"`missing_values` is {missing!r}, but the input {column.source.name!r} holds texts")
    return column.impute(missing, value)


def indicator(tape, columns, missing):
    """1 where a column is missing."""
    made = []
    for column in columns:
        if not isinstance(column, Text):
            made += tape.each("is_missing", [column])
        elif is_missing(missing):
            is_met = column.when_missing is MISSING and column.is_absence(missing)
            made += tape.table(column, 1, {}, [0.0], [1.0 if is_met else 0.0])
        else:
            made += tape.table(column, 1, {missing: [1.0]}, [0.0], [0.0])
    return made


@transformer("VarianceThreshold", "SelectKBest", "SelectPercentile", "SelectFromModel", "SelectFpr", "SelectFdr",
             "SelectFwe", "GenericUnivariateSelect", "RFE", "RFECV", "SequentialFeatureSelector")  # fmt: skip
def selection(tape, fitted, columns):
    tape.guard_finite([column for column in columns if not isinstance(column, Text)] if raises_on_nan(fitted) else [])
    return [column for column, is_kept in zip(columns, fitted.get_support()) if is_kept]


def raises_on_nan(fitted):
    tags = getattr(fitted, "__sklearn_tags__", None)
    return tags is not None and not tags().input_tags.allow_nan


@transformer("PCA", "TruncatedSVD")
def projection(tape, fitted, columns):
    weights = fitted.components_
    mean = getattr(fitted, "mean_", None)
    if getattr(fitted, "whiten", False):
        scale = np.sqrt(fitted.explained_variance_)
        weights = weights / np.maximum(scale, np.finfo(scale.dtype).eps)[:, np.newaxis]
    centred = columns if mean is None else tape.scale(columns, subtract=mean)
    return tape.linear(centred, weights, 0.0)


def apply_inverse(tape, fitted, columns):
    """The inverse of a target's transformer."""
    name = type(fitted).__name__
    with at("transformer_"):
        if name == "StandardScaler":
            columns = tape.scale(columns, multiply=fitted.scale_ if fitted.with_std else None)
            return tape.scale(columns, add=fitted.mean_ if fitted.with_mean else None)
        if name == "FunctionTransformer":
            inverse = type(fitted)(func=fitted.inverse_func, kw_args=fitted.inv_kw_args)
            return transform(tape, inverse, columns)
        raise Unsupported(f"{name} is not supported here; supported are FunctionTransformer, StandardScaler")
