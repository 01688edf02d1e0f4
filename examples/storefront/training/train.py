"""Fits shop/modules/rank.txt: how likely is a click on this item, for this visit? Reads a log of impressions on stdin, as the
shop's `storefront log` writes it. Owns the fit; the names of features are in shop/modules/rank.toml.

    target/release/storefront log | python train.py"""

import sys
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss, roc_auc_score

OUT = Path(__file__).parent.parent / "shop/modules/rank.txt"
FEATURES = ["affinity", "seen", "popularity", "price", "season", "views", "mean_price"]
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.08,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "lambda_l2": 5.0,
    # More interest in a kind must never rank it lower, nor a well-liked item: what the shop promises its buyers.
    "monotone_constraints": [1, 0, 1, 0, 0, 0, 0],
    "seed": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
TREES = 80


def main() -> None:
    log = pd.read_csv(sys.stdin)
    log["season"] = pd.Categorical(log["season"], categories=["core", "last", "new"])
    # Whole visits are held out, so that no visit is on both sides.
    held = log["visit"] % 5 == 0
    train, test = log[~held], log[held]
    data = lightgbm.Dataset(train[FEATURES], train["clicked"], categorical_feature=["season"])
    model = lightgbm.train(PARAMETERS, data, num_boost_round=TREES)
    p = model.predict(test[FEATURES])
    chance = np.full(len(test), train["clicked"].mean())
    print(f"{len(train)} impressions, {int(train['clicked'].sum())} clicks; held out: AUC {roc_auc_score(test['clicked'], p):.3f}, "
          f"log loss {log_loss(test['clicked'], p):.4f} (by chance {log_loss(test['clicked'], chance):.4f})")
    model.save_model(OUT)
    print(f"wrote {OUT.name}: {model.num_trees()} trees, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
