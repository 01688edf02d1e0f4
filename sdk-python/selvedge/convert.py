"""From a fitted estimator to steps. Owns which estimator is read by which function, and the ones that hold others: pipelines,
column transformers, feature unions, searches. Everything else stands in a file by its kind.

Every reader takes `(tape, estimator, columns)`. One of a transformer gives the columns that it makes, one of a predictor an
`Outcome`.
"""

from dataclasses import dataclass, field

from .tape import Number, Text, Unsupported, at


@dataclass
class Outcome:
    """What a predictor answers."""

    # Before the link, and after it; None where it has no such answer. A classifier of two classes has one column.
    margin: list = None
    final: list = None
    # The labels of a classifier.
    classes: object = None
    # How the real estimator answers the margin: in words, and as a function of its own X; None when it does not.
    margin_by: tuple = None
    # Whether the real estimator has `decision_function`.
    decides: bool = field(default=False)


TRANSFORMERS = {}
PREDICTORS = {}
FAMILIES = ("sklearn", "xgboost", "lightgbm")


def transformer(*names):
    """Registers a reader of transformers by their classes' names."""
    return lambda read: TRANSFORMERS.update(dict.fromkeys(names, read)) or read


def predictor(*names):
    """Registers a reader of predictors by their classes' names."""
    return lambda read: PREDICTORS.update(dict.fromkeys(names, read)) or read


def transform(tape, estimator, columns):
    """The columns that a fitted transformer makes of `columns`."""
    return reader(TRANSFORMERS, estimator, "transformer")(tape, estimator, columns)


def predict(tape, estimator, columns):
    """What a fitted predictor answers."""
    return reader(PREDICTORS, estimator, "model")(tape, estimator, columns)


def reader(table, estimator, what):
    name = type(estimator).__name__
    family = type(estimator).__module__.split(".")[0]
    if family in FAMILIES and name in table:
        return table[name]
    others = PREDICTORS if table is TRANSFORMERS else TRANSFORMERS
    if family in FAMILIES and name in others:
        raise Unsupported(f"{name} stands where a {what} is expected")
    of = "" if family in FAMILIES else f" (of the module {type(estimator).__module__})"
    raise Unsupported(f"{name}{of} is not supported; supported are {', '.join(sorted(table))}")


@predictor("Pipeline")
def pipeline_predicts(tape, pipeline, columns):
    *before, (name, last) = pipeline.steps
    columns = through(tape, before, columns)
    with at(f"step {name!r}"):
        if last is None or last == "passthrough":
            raise Unsupported("nothing is predicted; the last step must be a model")
        outcome = predict(tape, last, columns)
    if before and outcome.margin_by is not None:
        told, ask = outcome.margin_by
        outcome.margin_by = told, lambda X: ask(pipeline[:-1].transform(X))
    return outcome


@transformer("Pipeline")
def pipeline_transforms(tape, pipeline, columns):
    return through(tape, pipeline.steps, columns)


def through(tape, steps, columns):
    for name, step in steps:
        with at(f"step {name!r}"):
            if step is not None and step != "passthrough":
                columns = transform(tape, step, columns)
    return columns


@transformer("ColumnTransformer")
def column_transformer(tape, fitted, columns):
    weights = fitted.transformer_weights or {}
    indices = fitted._transformer_to_input_indices
    made = []
    for name, part, _ in fitted.transformers_:
        with at(f"transformer {name!r}"):
            chosen = [columns[i] for i in indices[name]]
            if not chosen or (isinstance(part, str) and part == "drop"):
                continue
            found = list(chosen) if isinstance(part, str) and part == "passthrough" else transform(tape, part, chosen)
            made += weighted(tape, found, weights.get(name))
    return made


@transformer("FeatureUnion")
def feature_union(tape, fitted, columns):
    weights = fitted.transformer_weights or {}
    made = []
    for name, part in fitted.transformer_list:
        with at(f"transformer {name!r}"):
            if part == "drop":
                continue
            found = list(columns) if part == "passthrough" else transform(tape, part, columns)
            made += weighted(tape, found, weights.get(name))
    return made


def weighted(tape, columns, weight):
    return columns if weight is None else tape.scale(columns, multiply=[weight] * len(columns))


@predictor("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
def search(tape, fitted, columns):
    with at("best_estimator_"):
        return predict(tape, fitted.best_estimator_, columns)


def binary(estimator):
    """Whether a classifier has two classes; refuses one of several labels at once."""
    if isinstance(estimator.classes_, list):
        raise Unsupported("a classifier of several outputs is not supported")
    if len(estimator.classes_) < 2:
        raise Unsupported("a classifier that saw only one class predicts nothing")
    return len(estimator.classes_) == 2


def is_raw(column):
    """Whether a column is an input as it came."""
    return isinstance(column, Text) or (isinstance(column, Number) and column.source)
