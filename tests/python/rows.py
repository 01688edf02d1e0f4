"""Rows that are hard on a model of trees, and the folder in which a case is handed to the proof.

A case is a folder: the model in one or more notations (`model.*`), `rows.f64` (row-major, little-endian f64, as the module's
inputs), `margin.f64` and, where the trainer has a link, `prediction.f64`, both as the real library answered; and
`about.json`: `documented`, what is known of its quality on `labels.f64`, and `single`, whether it answers in f32.
"""

import json
import os

import numpy as np


def adversarial(rng, rows, thresholds, n, f32, categories):
    """n rows, each value of which stands at a boundary of the model as often as not.

    `rows` are ordinary ones to draw from, `thresholds` those of each feature, `categories` the features that are codes.
    """
    out = rows[rng.integers(0, len(rows), n)].copy()
    special = [np.nan, 0.0, -0.0, 1e-40, -1e-40, float(np.float32(1e-35)), -float(np.float32(1e-35)), 1e-30, 3e38, -3e38]
    for feature in range(rows.shape[1]):
        for row in np.flatnonzero(rng.random(n) < 0.6):
            pick = rng.random()
            if feature in categories:
                odd = [np.nan, -1.0, 0.0, -0.0, 0.5, 0.99999999999, -0.5, 31.0, 32.0, 63.0, 64.0, 1000.0, 16777216.0, 3e9, 1e18]
                known = rows[rng.integers(0, len(rows)), feature]
                out[row, feature] = odd[rng.integers(0, len(odd))] if pick < 0.7 else known
            elif pick < 0.7 and len(thresholds[feature]):
                at = thresholds[feature][rng.integers(0, len(thresholds[feature]))]
                out[row, feature] = neighbour(at, rng.integers(0, 5), f32)
            else:
                out[row, feature] = special[rng.integers(0, len(special))]
    return out


def neighbour(value, which, f32):
    """The value, the f64 beside it, or (where the trainer rounds to f32) the f32 beside it."""
    beside = np.float32 if f32 else np.float64
    return float(
        [
            lambda: value,
            lambda: np.nextafter(np.float64(value), np.inf),
            lambda: np.nextafter(np.float64(value), -np.inf),
            lambda: np.nextafter(beside(value), beside(np.inf)),
            lambda: np.nextafter(beside(value), beside(-np.inf)),
        ][which]()
    )


def write(folder, rows, margin, prediction=None, **about):
    os.makedirs(folder, exist_ok=True)
    parts = {"rows": rows, "margin": margin, "prediction": prediction}
    for name, values in parts.items():
        if values is not None:
            np.ascontiguousarray(values, dtype="<f8").tofile(os.path.join(folder, name + ".f64"))
    if about.get("labels") is not None:
        np.ascontiguousarray(about.pop("labels"), dtype="<f8").tofile(os.path.join(folder, "labels.f64"))
    with open(os.path.join(folder, "about.json"), "w") as file:
        json.dump(about, file)
