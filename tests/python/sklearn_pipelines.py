"""Fits scikit-learn pipelines, exports them with `sdk-python`, and writes what the real pipelines answer:
`sklearn_pipelines.py OUT SEED N DATA`. `shop_pipelines` has the pipelines."""

import json
import os
import sys
import warnings

import numpy as np
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sdk-python"))

import selvedge  # noqa: E402
from selvedge.inputs import read  # noqa: E402

import shop_pipelines  # noqa: E402
from rows import write  # noqa: E402


def answer(out, name, pipeline, seen, held, **about):
    """Exports a fitted pipeline on the rows that it has seen; what it answers for the others is for the module to meet."""
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model.json")
    selvedge.export(pipeline, seen, path)
    with open(path, encoding="utf-8") as file:
        form = json.load(file)
    rows = read(pipeline, held)
    called = [entry.name for entry in rows.inputs]
    matrix = rows.matrix(form, [called.index(entry["name"]) for entry in form["inputs"]])
    margin, prediction = None, None
    # Searches and thresholds pass no arguments on.
    inner = {GridSearchCV: "best_estimator_", FixedThresholdClassifier: "estimator_"}.get(type(pipeline))
    asked = getattr(pipeline, inner) if inner else pipeline
    family = type(asked[-1] if hasattr(asked, "steps") else asked).__module__.split(".")[0]
    if "probability" in form["outputs"]:
        classify = hasattr(pipeline, "predict_proba")
        prediction = pipeline.predict_proba(rows.X) if classify else pipeline.predict(rows.X)
        if classify and prediction.shape[1] == 2:
            prediction = prediction[:, 1]
    if "margin" in form["outputs"]:
        margin = margins(asked, family, rows.X, prediction)
    write(folder, matrix, margin, prediction, single=family == "xgboost", **about)


def margins(asked, family, X, prediction):
    if hasattr(asked, "decision_function"):
        return asked.decision_function(X)
    if family == "xgboost":
        return asked.predict(X, output_margin=True)
    if family == "lightgbm":
        return asked.predict(X, raw_score=True)
    return asked.predict(X) if prediction is None else None


def main():
    out, seed, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    seen, targets = shop_pipelines.sessions(rng, 3000)
    ordinary, _ = shop_pipelines.sessions(rng, n - n // 2)
    hard = shop_pipelines.harden(rng, shop_pipelines.sessions(rng, n // 2)[0])
    for name, (pipeline, target, columns, takes) in shop_pipelines.ALL.items():
        X, held = shop_pipelines.prepared(takes, seen, ordinary, hard)
        X, held = (X, held) if columns is None else (X[columns], held[columns])
        as_array = name.startswith("array")
        X, held = (X.to_numpy(), held.to_numpy()) if as_array else (X, held)
        answer(out, name, pipeline(seed).fit(X, targets[target]), X, held)
    for name, fitted, X, held, label, documented in shop_pipelines.online_shoppers(sys.argv[4]):
        answer(out, name, fitted, X, held, labels=label, documented=documented)


if __name__ == "__main__":
    main()
