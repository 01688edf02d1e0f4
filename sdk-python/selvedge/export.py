"""The way from a fitted pipeline to a file. Owns the check against the pipeline's own answers, and that nothing is written
unless it holds."""

import json
import os
import tempfile
import warnings
from dataclasses import dataclass

import numpy as np

from . import boosters, calibrate, encode, linear, preprocess, trees  # noqa: F401, each registers its readers
from .convert import predict
from .evaluate import evaluate
from .inputs import read
from .tape import Tape, Unsupported

# How far an answer may be from the pipeline's, relative to it where that is above 1.
TOLERANCE = 1e-12
# The same for what XGBoost computes in f32 with functions of its own: its predictions, not its margins.
TOLERANCE_F32 = 4 * 2.0**-23
# Rows that are evaluated at once.
CHUNK = 4096


class Mismatch(AssertionError):
    """The form does not answer as the pipeline does; nothing was written."""


@dataclass
class Export:
    """What was written."""

    path: str
    # (name, type) of each input.
    inputs: list
    # `margin` and `probability`, each with the names of its outputs.
    outputs: dict
    # How many rows were compared with the pipeline's own answers, and the largest difference.
    rows: int
    difference: float

    def __str__(self):
        inputs = ", ".join(f"{name} ({kind})" for name, kind in self.inputs)
        outputs = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in self.outputs.items())
        return (
            f"{self.path}\n  inputs   {inputs}\n  outputs  {outputs}\n"
            f"  checked  {self.rows} rows, the largest difference is {self.difference:.2g}"
        )


def export(pipeline, X, path):
    """Writes a fitted pipeline as a model file for `selvedge build`, and checks it on the rows of X.

    `pipeline` is a fitted scikit-learn pipeline or model. X is a DataFrame or an array such as it was fitted on: its columns
    become the inputs, its rows are what the export is checked on. Numbers are taken as f64, whatever X holds them in.

    Raises `Unsupported` with the place of the first step that cannot be exported, and `Mismatch` when the form's answers are
    further than 1e-12 (for what XGBoost computes in f32: 4 ulp) from the pipeline's own; nothing is written then.
    """
    form, rows, kept = convert(pipeline, X)
    text = json.dumps(form, allow_nan=False, ensure_ascii=False)
    difference = check(json.loads(text), pipeline, rows, kept)
    write(os.fspath(path), text)
    return Export(
        os.fspath(path),
        [(entry["name"], entry["type"]) for entry in form["inputs"]],
        {kind: [answer["name"] for answer in answers] for kind, answers in form["outputs"].items()},
        len(rows.columns[0]) if rows.columns else 0,
        difference,
    )


def convert(pipeline, X):
    """The form, the rows of X, and which of its columns are inputs of the form."""
    from sklearn import __version__ as version
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(pipeline)
    rows = read(pipeline, X)
    tape = Tape(rows.inputs)
    outcome = predict(tape, pipeline, tape.columns())
    margin, final = (list(zip(names(outcome, columns), columns)) for columns in (outcome.margin or [], outcome.final or []))
    form, kept = tape.finish("scikit-learn", f"scikit-learn {version}", margin, final)
    rows.outcome, rows.in_f32 = outcome, tape.in_f32
    return form, rows, kept


def names(outcome, columns):
    """`score` for one output, a name a class or target for several."""
    if len(columns) == 1:
        return ["score"]
    if outcome.classes is not None:
        labels = [f"class_{label}" for label in outcome.classes]
        if len(set(labels)) == len(labels) == len(columns) and all(len(label) <= 100 for label in labels):
            return labels
    return [f"class_{i}" if outcome.classes is not None else f"output_{i}" for i in range(len(columns))]


def check(form, pipeline, rows, kept):
    """The largest difference between the form's answers and the pipeline's own, over all rows of X."""
    matrix = rows.matrix(form, kept)
    if not len(matrix):
        raise Unsupported("X has no rows; the export is checked on them")
    worst = 0.0
    for kind, method, expected in expectations(pipeline, rows):
        if kind not in form["outputs"]:
            continue
        expected = np.asarray(expected, dtype=np.float64).reshape(len(matrix), -1)
        tolerance = TOLERANCE_F32 if kind in rows.in_f32 else TOLERANCE
        for start in range(0, len(matrix), CHUNK):
            found = evaluate(form, matrix[start : start + CHUNK])[kind]
            told = expected[start : start + CHUNK]
            if found.shape != told.shape:
                raise Mismatch(f"{method} gives {told.shape[1]} values a row, the form {found.shape[1]}; nothing was written")
            with np.errstate(invalid="ignore"):
                far = np.abs(found - told) / np.maximum(1.0, np.abs(told))
            far = np.where((found == told) | (np.isnan(found) & np.isnan(told)), 0.0, np.where(np.isnan(far), np.inf, far))
            row, column = np.unravel_index(np.argmax(far), far.shape)
            if far[row, column] > tolerance:
                raise Mismatch(
                    f"row {start + row} of X: {method} gives {float(told[row, column])!r}, the form "
                    f"{float(found[row, column])!r}; nothing was written. Please report this with the pipeline's repr"
                )
            worst = max(worst, float(far.max()))
    return worst


def expectations(pipeline, rows):
    """Which of the form's answers are compared with which of the pipeline's methods."""
    outcome, found = rows.outcome, []
    with warnings.catch_warnings():
        # An unknown category that is ignored is no news here.
        warnings.simplefilter("ignore")
        if outcome.margin is not None and outcome.margin_by is not None:
            told, ask = outcome.margin_by
            found.append(("margin", told, ask(rows.X)))
        if outcome.classes is None:
            kind = "margin" if outcome.final is None else "probability"
            found.append((kind, "predict", pipeline.predict(rows.X)))
        elif outcome.final is not None:
            answer = pipeline.predict_proba(rows.X)
            found.append(("probability", "predict_proba", answer[:, 1] if len(outcome.classes) == 2 else answer))
    return found


def write(path, text):
    """All of the file or nothing: written beside it, then renamed."""
    handle, beside = tempfile.mkstemp(prefix=".selvedge-", dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text + "\n")
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(beside, 0o666 & ~mask)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
