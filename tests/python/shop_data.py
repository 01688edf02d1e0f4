"""The data that the tree trainers learn from: drawn like shop sessions, or the real samples where they are at hand."""

import os

import numpy as np
import pandas as pd

MONTHS = ["Feb", "Mar", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def sessions(rng, n):
    """Numbers as a shop has them (counts, durations, rates, mostly zero), two codes, missing values; and a tendency."""
    values = np.column_stack(
        [
            rng.poisson(3, n),
            rng.exponential(80, n) * (rng.random(n) < 0.7),
            rng.beta(1, 20, n),
            rng.normal(size=n),
            rng.lognormal(1, 2, n) * (rng.random(n) < 0.25),
            rng.integers(-5, 6, n) / 10,
            rng.integers(0, 40, n),
            rng.integers(0, 7, n),
        ]
    ).astype(np.float64)
    tendency = (
        0.3 * np.log1p(values[:, 4])
        - 20 * values[:, 2]
        + 0.5 * values[:, 3]
        + 0.4 * np.isin(values[:, 6], [3, 8, 21, 33])
        + 0.6 * (values[:, 7] == 2)
        + values[:, 5] * values[:, 3]
        + 0.3 * rng.normal(size=n)
    )
    values[rng.random(values.shape) < 0.05] = np.nan
    return values, tendency


CODES = [6, 7]


def frame(values):
    """The same as a data frame whose last two columns are categories: texts, and numbers that do not ascend from 0."""
    texts = np.array([f"brand {code}" for code in range(40)])
    table = pd.DataFrame({f"n{i}": values[:, i] for i in range(6)})
    code = lambda i: np.where(np.isnan(values[:, i]), -1, values[:, i]).astype(int)
    table["brand"] = pd.Categorical.from_codes(code(6), categories=texts)
    table["size"] = pd.Categorical.from_codes(code(7), categories=[34, 36, 38, 40, 42, 44, 48])
    return table


def inputs(table):
    """A frame's rows as the module's inputs: a text is its index, a number itself."""
    columns = []
    for name in table.columns:
        column = table[name]
        if isinstance(column.dtype, pd.CategoricalDtype) and isinstance(column.cat.categories[0], str):
            codes = column.cat.codes.to_numpy().astype(np.float64)
            columns.append(np.where(codes < 0, np.nan, codes))
        else:
            columns.append(column.astype(np.float64).to_numpy())
    return np.column_stack(columns)


def online_shoppers(data):
    """UCI 468 with texts as codes, split as its known results were measured; None where the file is not at hand."""
    from sklearn.model_selection import train_test_split

    path = os.path.join(data or "", "online_shoppers", "online_shoppers_intention.csv")
    if not data or not os.path.exists(path):
        return None
    table = pd.read_csv(path)
    label = table.pop("Revenue").astype(int)
    for name in ["Month", "VisitorType", "Weekend"]:
        table[name] = table[name].astype("category").cat.codes
    return train_test_split(table, label, test_size=0.3, random_state=42, stratify=label)


def lambdarank(data, part):
    """A part of the ranking sample: rows, grades, sizes of the queries; None where it is not at hand."""
    from sklearn.datasets import load_svmlight_file

    path = os.path.join(data or "", "lambdarank", f"rank.{part}")
    if not data or not os.path.exists(path):
        return None
    rows, grades = load_svmlight_file(path, n_features=301)
    return rows.toarray(), grades, np.loadtxt(path + ".query", dtype=int)
