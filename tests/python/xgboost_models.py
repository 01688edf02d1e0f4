"""Trains XGBoost models of every supported kind and writes what the real library answers: `xgboost_models.py OUT SEED N DATA`."""

import json
import os
import sys

import numpy as np
import pandas as pd
import xgboost as xgb

import shop_data
from rows import adversarial, write

LINKED = ("binary:logistic", "reg:logistic", "reg:gamma", "reg:tweedie", "count:poisson", "multi:softprob", "multi:softmax")


def label(objective, tendency, rng):
    if objective.startswith("binary") or objective == "reg:logistic":
        return (tendency > 1).astype(float)
    if objective.startswith("multi"):
        return np.digitize(tendency, [-0.5, 0.7, 1.5])
    if objective == "count:poisson":
        return rng.poisson(np.exp(np.clip(tendency, -3, 2)))
    if objective in ("reg:gamma", "reg:tweedie"):
        return np.exp(np.clip(tendency, -3, 3)) + 0.01
    if objective == "reg:squaredlogerror":
        return np.maximum(tendency, 0)
    if objective.startswith("rank"):
        return np.digitize(tendency, [0, 1])
    return tendency


def save(folder, model):
    os.makedirs(folder, exist_ok=True)
    for notation in ["json", "ubj"]:
        model.save_model(os.path.join(folder, "model." + notation))


def thresholds(booster, features):
    found = [[] for _ in range(features)]
    learner = json.loads(booster.save_raw("json").decode())["learner"]
    boosted = learner["gradient_booster"]
    for tree in boosted.get("gbtree", boosted)["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            if left != -1 and tree["split_type"][node] == 0:
                found[tree["split_indices"][node]].append(float(np.float32(tree["split_conditions"][node])))
    return found


def case(out, name, booster, rows, rng, n, codes=(), types=None):
    """Half ordinary rows, half hard ones, as numbers."""
    ordinary = rows[rng.integers(0, len(rows), n // 2)]
    hard = adversarial(rng, rows, thresholds(booster, rows.shape[1]), n - n // 2, True, codes)
    every = np.vstack([ordinary, hard])
    matrix = xgb.DMatrix(every, feature_names=booster.feature_names, feature_types=types, enable_categorical=bool(codes))
    answer(out, name, booster, every, matrix)


def answer(out, name, booster, rows, matrix, rounds=(0, 0), **about):
    folder = os.path.join(out, name)
    save(folder, booster)
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    margin = booster.predict(matrix, output_margin=True, iteration_range=rounds)
    prediction = None
    if objective in LINKED:
        if objective == "multi:softmax":
            booster.set_param("objective", "multi:softprob")
        prediction = booster.predict(matrix, iteration_range=rounds)
    write(folder, rows, margin, prediction, **about)


def objectives(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    for objective in [
        "binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic", "reg:squarederror", "reg:absoluteerror",
        "reg:pseudohubererror", "reg:squaredlogerror", "reg:quantileerror", "reg:gamma", "reg:tweedie", "count:poisson",
        "rank:pairwise", "rank:ndcg", "rank:map", "multi:softprob", "multi:softmax",
    ]:  # fmt: skip
        params = {"objective": objective, "max_depth": 5, "seed": 1}
        if objective.startswith("multi"):
            params["num_class"] = 4
        if objective == "reg:quantileerror":
            params["quantile_alpha"] = [0.1, 0.5, 0.9]
        group = [60] * 100 if objective.startswith("rank") else None
        target = label(objective, tendency, rng)
        if objective == "rank:map":
            target = np.minimum(target, 1)
        matrix = xgb.DMatrix(rows, target, group=group)
        case(out, objective.replace(":", "-"), xgb.train(params, matrix, 25), rows, rng, n)


def boosters(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    two, four = label("binary", tendency, rng), label("multi", tendency, rng)
    dart = {"booster": "dart", "rate_drop": 0.3, "max_depth": 5, "seed": 2}
    logistic = {"objective": "binary:logistic", "max_depth": 5}
    softprob = {"objective": "multi:softprob", "num_class": 4}
    for name, params, target, rounds in [
        ("dart", {**dart, **logistic}, two, 30),
        ("dart-classes", {**dart, **softprob}, four, 12),
        ("forest", {**logistic, "num_parallel_tree": 20, "subsample": 0.7, "learning_rate": 1}, two, 1),
        ("forest-classes", {**softprob, "num_parallel_tree": 3, "subsample": 0.7}, four, 8),
        ("lossguide", {**logistic, "grow_policy": "lossguide", "max_leaves": 60, "max_depth": 0}, two, 30),
        ("pruned", {**logistic, "gamma": 2, "tree_method": "exact"}, two, 30),
        ("targets", {"objective": "reg:squarederror", "max_depth": 4}, np.column_stack([tendency, -2 * tendency, two]), 15),
        ("one-leaf", {**logistic, "min_child_weight": 1e9}, two, 3),
    ]:
        case(out, name, xgb.train(params, xgb.DMatrix(rows, target), rounds), rows, rng, n)
    for i, base in enumerate(rng.uniform(0.001, 0.999, 40)):
        params = {**logistic, "max_depth": 2, "base_score": float(base)}
        case(out, f"base-{i}", xgb.train(params, xgb.DMatrix(rows, two), 2), rows, rng, 20)
    for i, base in enumerate(rng.uniform(0.001, 30, 20)):
        params = {"objective": "count:poisson", "max_depth": 2, "base_score": float(base)}
        case(out, f"base-log-{i}", xgb.train(params, xgb.DMatrix(rows, two), 2), rows, rng, 20)


def categories(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    two = label("binary", tendency, rng)
    types = ["c" if feature in shop_data.CODES else "float" for feature in range(rows.shape[1])]
    one_hot = {"objective": "binary:logistic", "max_depth": 5, "max_cat_to_onehot": 100}
    partition = {**one_hot, "max_cat_to_onehot": 1}
    for name, params in [("one-hot", one_hot), ("partition", partition)]:
        matrix = xgb.DMatrix(rows, two, feature_types=types, enable_categorical=True)
        case(out, f"codes-{name}", xgb.train(params, matrix, 25), rows, rng, n, shop_data.CODES, types)
        table = shop_data.frame(rows)
        matrix = xgb.DMatrix(table, two, enable_categorical=True)
        answer(out, f"frame-{name}", xgb.train(params, matrix, 25), shop_data.inputs(table), matrix)


def stopped_early(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 4000)
    two = label("binary", tendency, rng)
    model = xgb.XGBClassifier(n_estimators=200, max_depth=4, learning_rate=0.5, early_stopping_rounds=3)
    model.fit(rows[:2000], two[:2000], eval_set=[(rows[2000:], two[2000:])], verbose=False)
    folder = os.path.join(out, "stopped-early")
    save(folder, model)
    write(folder, rows, model.predict(rows, output_margin=True), model.predict_proba(rows)[:, 1])


def real(out, rng, data):
    documented = [{"auc": 0.9273, "logloss": 0.2315}, {"auc": 0.7757, "logloss": 0.3635}]
    for (name, leaves_out), known in zip(shop_data.LEAVES_OUT.items(), documented):
        seen, held, seen_label, held_label = shop_data.online_shoppers(data, leaves_out)
        model = xgb.XGBClassifier(n_estimators=100, max_depth=4, learning_rate=0.1).fit(seen, seen_label)
        rows = held.to_numpy(dtype=np.float64)
        answer(out, name, model.get_booster(), rows, xgb.DMatrix(held), labels=held_label, documented=known)
    train, test = shop_data.lambdarank(data, "train"), shop_data.lambdarank(data, "test")
    params = {"objective": "rank:ndcg", "max_depth": 6, "eta": 0.1}
    booster = xgb.train(params, xgb.DMatrix(train[0], train[1], group=train[2]), 60)
    case(out, "lambdarank", booster, np.vstack([train[0], test[0]]), rng, 4000)


def main():
    out, seed, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
    objectives(out, rng, n)
    boosters(out, rng, n)
    categories(out, rng, n)
    stopped_early(out, rng, n)
    real(out, rng, sys.argv[4])


if __name__ == "__main__":
    main()
