"""The data that the tree trainers learn from: drawn like shop sessions, or the real samples where they are at hand."""

import os
import sys

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


# What is known of online_shoppers, by the columns that are left out: `PageValues` leaks. Loglosses are of probabilities that
# are kept 1e-6 from 0 and 1 (tests/src/prove/models/near.rs).
LEAVES_OUT = {"online-shoppers": [], "online-shoppers-without-page-values": ["PageValues"]}


def table(data):
    """UCI 468 as it is: the sessions and who bought."""
    sessions = pd.read_csv(found(data, "online_shoppers", "online_shoppers_intention.csv"))
    return sessions, sessions.pop("Revenue").astype(int)


def split(sessions, label):
    """As the known results were measured: seen rows, held out rows, their labels."""
    from sklearn.model_selection import train_test_split

    return train_test_split(sessions, label, test_size=0.3, random_state=42, stratify=label)


def online_shoppers(data, leaves_out):
    """UCI 468 with texts as codes, split."""
    sessions, label = table(data)
    for name in ["Month", "VisitorType", "Weekend"]:
        sessions[name] = sessions[name].astype("category").cat.codes
    return split(sessions.drop(columns=leaves_out), label)


def lambdarank(data, part):
    """A part of the ranking sample: rows, grades, sizes of the queries."""
    from sklearn.datasets import load_svmlight_file

    path = found(data, "lambdarank", f"rank.{part}")
    rows, grades = load_svmlight_file(path, n_features=301)
    return rows.toarray(), grades, np.loadtxt(path + ".query", dtype=int)


def found(data, folder, name):
    """A file of the real samples; a proof without them would prove less than it says."""
    path = os.path.join(data, folder, name)
    if not os.path.exists(path):
        sys.exit(
            f"{path} is not there: the proof needs UCI 468 (Online Shoppers Purchasing Intention) in online_shoppers/ and "
            "LightGBM's example lambdarank in lambdarank/ of that folder"
        )
    return path
