"""Trains LightGBM models of every supported kind and writes what the real library answers: `lightgbm_models.py OUT SEED N DATA`."""

import os
import sys

import lightgbm as lgb
import numpy as np

import shop_data
from rows import adversarial, write

QUIET = {"verbose": -1, "num_threads": 2, "seed": 1, "num_leaves": 20, "min_data_in_leaf": 5}


def label(objective, tendency, rng):
    if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        return (tendency > 1).astype(float)
    if objective.startswith("multi"):
        return np.digitize(tendency, [-0.5, 0.7, 1.5])
    if objective == "poisson":
        return rng.poisson(np.exp(np.clip(tendency, -3, 2)))
    if objective in ("gamma", "tweedie"):
        return np.exp(np.clip(tendency, -3, 3)) + 0.01
    if objective in ("lambdarank", "rank_xendcg"):
        return np.digitize(tendency, [0, 1])
    return tendency


def thresholds(booster, features):
    found = [[] for _ in range(features)]
    pending = [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]]
    while pending:
        node = pending.pop()
        if "split_feature" in node:
            if node["decision_type"] == "<=":
                found[node["split_feature"]].append(float(node["threshold"]))
            pending += [node["left_child"], node["right_child"]]
    return found


def case(out, name, booster, rows, rng, n, codes=(), linked=True):
    """Half ordinary rows, half hard ones; LightGBM takes infinities, too."""
    ordinary = rows[rng.integers(0, len(rows), n // 2)]
    hard = adversarial(rng, rows, thresholds(booster, rows.shape[1]), n - n // 2, False, codes)
    odd = rng.random(hard.shape) < 0.01
    hard[odd] = rng.choice([np.inf, -np.inf, 1e300, -1e300, 5e-324], odd.sum())
    answer(out, name, booster, np.vstack([ordinary, hard]), linked=linked)


def answer(out, name, booster, rows, given=None, linked=True, **about):
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    booster.save_model(os.path.join(folder, "model.txt"))
    # What is compared is the file, not what was trained: early stopping and refits are in it.
    given = rows if given is None else given
    saved = lgb.Booster(model_file=os.path.join(folder, "model.txt"))
    prediction = saved.predict(given) if linked else None
    write(folder, rows, saved.predict(given, raw_score=True), prediction, **about)


def objectives(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    for name, params in [
        ("binary", {}),
        ("binary", {"sigmoid": 0.7}),
        ("regression", {}),
        ("regression", {"reg_sqrt": True}),
        ("regression_l1", {}),
        ("huber", {}),
        ("fair", {}),
        ("quantile", {"alpha": 0.9}),
        ("mape", {}),
        ("poisson", {}),
        ("gamma", {}),
        ("tweedie", {}),
        ("cross_entropy", {}),
        ("cross_entropy_lambda", {}),
        ("lambdarank", {}),
        ("rank_xendcg", {}),
        ("multiclass", {"num_class": 4}),
        ("multiclassova", {"num_class": 4, "sigmoid": 1.3}),
    ]:
        group = [60] * 100 if "rank" in name else None
        data = lgb.Dataset(rows, label(name, tendency, rng), group=group)
        booster = lgb.train({**QUIET, "objective": name, **params}, data, 25)
        identity = not params.get("reg_sqrt") and name in (
            "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg")  # fmt: skip
        case(out, "-".join([name, *params]), booster, rows, rng, n, linked=not identity)


def boosters(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    two = label("binary", tendency, rng)
    binary = {**QUIET, "objective": "binary"}
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.8}
    for name, params, target in [
        ("dart", {**binary, "boosting": "dart"}, two),
        ("goss", {**binary, "data_sample_strategy": "goss"}, two),
        ("forest", {**binary, **forest}, two),
        ("forest-regression", {**QUIET, **forest, "objective": "regression"}, tendency),
        ("forest-classes", {**QUIET, **forest, "objective": "multiclass", "num_class": 4}, label("multi", tendency, rng)),
        ("one-leaf", {**binary, "min_data_in_leaf": 100000}, two),
        ("zero-as-missing", {**binary, "zero_as_missing": True}, two),
        ("no-missing", {**binary, "use_missing": False}, two),
        ("large", {**binary, "num_leaves": 255, "max_bin": 1023}, two),
    ]:
        case(out, name, lgb.train(params, lgb.Dataset(rows, target), 25), rows, rng, n)
    whole = np.nan_to_num(rows)
    case(out, "nothing-missing", lgb.train(binary, lgb.Dataset(whole, two), 25), rows, rng, n)
    data = lgb.Dataset(rows[:3000], two[:3000])
    stop = [lgb.early_stopping(3, verbose=False)]
    held = lgb.Dataset(rows[3000:], two[3000:], reference=data)
    case(out, "stopped-early", lgb.train({**binary, "learning_rate": 0.5}, data, 200, [held], callbacks=stop), rows, rng, n)


def categories(out, rng, n):
    rows, tendency = shop_data.sessions(rng, 6000)
    two = label("binary", tendency, rng)
    binary = {**QUIET, "objective": "binary", "min_data_per_group": 5, "cat_smooth": 1, "cat_l2": 1}
    for name, params in [("one-hot", {"max_cat_to_onehot": 100}), ("sets", {"max_cat_to_onehot": 1})]:
        data = lgb.Dataset(rows, two, categorical_feature=shop_data.CODES)
        case(out, f"codes-{name}", lgb.train({**binary, **params}, data, 25), rows, rng, n, shop_data.CODES)
        table = shop_data.frame(rows)
        booster = lgb.train({**binary, **params}, lgb.Dataset(table, two), 25)
        answer(out, f"frame-{name}", booster, shop_data.inputs(table), table)
    data = lgb.Dataset(rows, two, categorical_feature=shop_data.CODES)
    booster = lgb.train({**binary, "zero_as_missing": True}, data, 25)
    case(out, "codes-zero-as-missing", booster, rows, rng, n, shop_data.CODES)


def real(out, rng, data):
    documented = [{"auc": 0.9283, "logloss": 0.2310}, {"auc": 0.7712, "logloss": 0.3647}]
    for (name, leaves_out), known in zip(shop_data.LEAVES_OUT.items(), documented):
        seen, held, seen_label, held_label = shop_data.online_shoppers(data, leaves_out)
        model = lgb.LGBMClassifier(n_estimators=100, num_leaves=15, learning_rate=0.05, verbose=-1).fit(seen, seen_label)
        rows = held.to_numpy(dtype=np.float64)
        answer(out, name, model.booster_, rows, labels=held_label, documented=known)
    train, test = shop_data.lambdarank(data, "train"), shop_data.lambdarank(data, "test")
    params = {**QUIET, "objective": "lambdarank", "num_leaves": 31}
    booster = lgb.train(params, lgb.Dataset(train[0], train[1], group=train[2]), 100)
    case(out, "lambdarank", booster, np.vstack([train[0], test[0]]), rng, 4000, linked=False)


def main():
    out, seed, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
    objectives(out, rng, n)
    boosters(out, rng, n)
    categories(out, rng, n)
    real(out, rng, sys.argv[4])


if __name__ == "__main__":
    main()
