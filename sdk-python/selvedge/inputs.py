"""The caller's X: which inputs it stands for, and its rows as a module gets them. Owns what a column's type means."""

from dataclasses import dataclass

import numpy as np

from .tape import Input, Unsupported, absence, is_missing

EXPECTED = "a pandas DataFrame or a dense array of two dimensions is expected"


@dataclass
class Rows:
    """X as inputs, and as the pipeline gets it when every number is an f64, which is what a module has."""

    inputs: list
    # Each a column: f64 for a number or flag, objects for a symbol (None where missing).
    columns: list
    X: object

    def matrix(self, form, kept):
        """The rows of a form's inputs, `kept` of X's: a symbol is its index, -1 another text, NaN missing."""
        matrix = np.empty((len(self.columns[0]) if self.columns else 0, len(kept)))
        for place, (i, entry) in enumerate(zip(kept, form["inputs"])):
            column = self.columns[i]
            if entry["type"] == "symbol":
                index = {text: float(at) for at, text in enumerate(entry["symbols"])}
                column = [np.nan if value is None else index.get(value, -1.0) for value in column]
            matrix[:, place] = column
        return matrix


def read(pipeline, X):
    """What X says of the inputs."""
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        return from_frame(X)
    if hasattr(X, "toarray"):
        raise Unsupported(f"X is sparse; {EXPECTED}")
    array = np.asarray(X)
    if array.ndim != 2:
        raise Unsupported(f"X has {array.ndim} dimension(s); {EXPECTED}")
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None or len(names) != array.shape[1]:
        names = [f"f{i}" for i in range(array.shape[1])]
    columns = [typed(str(name), array[:, i]) for i, name in enumerate(names)]
    if array.dtype.kind in "iuf":
        array = array.astype(np.float64)
    return Rows([entry for entry, _ in columns], [values for _, values in columns], array)


def from_frame(X):
    X = X.copy(deep=False)
    names = [f"f{name}" if isinstance(name, (int, np.integer)) else str(name) for name in X.columns]
    inputs, columns = [], []
    for i, name in enumerate(names):
        series = X.iloc[:, i]
        if names.index(name) != i:
            raise Unsupported(f"X has two columns called {name!r}; give each a name of its own")
        dtype = series.dtype
        entry, values = typed(name, series_values(name, series))
        if entry.kind == "number" and str(dtype) not in ("category", "object"):
            X = X.assign(**{X.columns[i]: values}) if isinstance(X.columns[i], str) else with_column(X, i, values)
        inputs.append(entry)
        columns.append(values)
    return Rows(inputs, columns, X)


def with_column(X, i, values):
    X = X.copy()
    X[X.columns[i]] = values
    return X


def series_values(name, series):
    """A column as numpy has it: numbers, or objects where there is anything else."""
    dtype = str(series.dtype)
    if dtype.startswith(("datetime", "timedelta", "period", "interval")):
        raise Unsupported(f"the input {name!r} has the type {dtype}; make numbers or texts of it before the pipeline")
    if dtype.startswith("complex"):
        raise Unsupported(f"the input {name!r} has the type {dtype}")
    return series.to_numpy(dtype=None if isinstance(series.dtype, np.dtype) else object)


def typed(name, values):
    """The input that a column stands for, and its values as a module gets them."""
    if values.dtype.kind == "b":
        return Input(name, "flag"), values.astype(np.float64)
    if values.dtype.kind in "iuf":
        return Input(name, "number"), values.astype(np.float64)
    if values.dtype.kind == "U":
        values = values.astype(object)
    if values.dtype.kind != "O":
        raise Unsupported(f"the input {name!r} has the type {values.dtype}; numbers, flags and texts are supported")
    written = sorted({absence(value) for value in values if is_missing(value)})
    if len(written) > 1:
        raise Unsupported(f"the input {name!r} holds both None and NaN, which scikit-learn tells apart; fit on one of them")
    values = np.array([None if is_missing(value) else value for value in values], dtype=object)
    present = [value for value in values if value is not None]
    if all(isinstance(value, str) for value in present):
        sample, absent = (present or ["other"])[0], (written or [""])[0]
        return Input(name, "symbol", sample=sample, absence=absent), values
    if all(isinstance(value, (bool, np.bool_)) for value in present):
        return Input(name, "flag"), values.astype(np.float64)
    if all(isinstance(value, (int, float, np.integer, np.floating)) for value in present):
        return Input(name, "number"), values.astype(np.float64)
    kinds = sorted({type(value).__name__ for value in present})
    raise Unsupported(f"the input {name!r} holds {', '.join(kinds)}; it must be all numbers, all flags or all texts")
