"""Decision trees and ensembles of them, of scikit-learn. Owns how their arrays become the form's.

Trees round a value to f32 and go left when it is at most the threshold, an f64. Histogram boosting compares in f64.
"""

import numpy as np

from .convert import Outcome, binary, predict, predictor, transform
from .tape import Unsupported, at


def tree_of(fitted, values, **more):
    """One tree; `values` are those of all nodes, a row each."""
    is_leaf = fitted.children_left < 0
    leaves = np.cumsum(is_leaf) - 1
    missing = getattr(fitted, "missing_go_to_left", None)
    # Where only missing values go right the threshold is infinite, for which JSON has no word; all that is finite goes left.
    threshold = np.minimum(fitted.threshold, np.finfo(np.float64).max)
    tree = {
        "feature": np.where(is_leaf, -1, fitted.feature).tolist(),
        "threshold": np.where(is_leaf, leaves * values.shape[1], threshold).tolist(),
        "left": np.where(is_leaf, 0, fitted.children_left).tolist(),
        "right": np.where(is_leaf, 0, fitted.children_right).tolist(),
    }
    if missing is not None and np.any(missing):
        tree["default_left"] = np.where(is_leaf, 0, missing).astype(int).tolist()
    return {**tree, "values": values[is_leaf].ravel().tolist(), **more}


def class_values(tree, is_binary):
    """The shares of the classes in each node, as `predict_proba` answers them."""
    counts = tree.value[:, 0, :]
    total = counts.sum(axis=1, keepdims=True)
    # Since 1.3 they are shares already, and are not touched again.
    shares = counts if np.allclose(total, 1.0) else counts / np.where(total == 0.0, 1.0, total)
    return shares[:, 1:] if is_binary else shares


def reads_missing(fitted):
    """Whether a model of trees takes rows with NaN."""
    tags = getattr(fitted, "__sklearn_tags__", None)
    return tags().input_tags.allow_nan if tags is not None else bool(fitted._get_tags().get("allow_nan"))


@predictor("DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier")
def classifier(tape, fitted, columns):
    is_binary = binary(fitted)
    trees = [one.tree_ for one in fitted.estimators_] if hasattr(fitted, "estimators_") else [fitted.tree_]
    outputs = 1 if is_binary else len(fitted.classes_)
    listed = [tree_of(tree, class_values(tree, is_binary)) for tree in trees]
    return Outcome(None, forest(tape, fitted, columns, outputs, listed), fitted.classes_)


@predictor("DecisionTreeRegressor", "ExtraTreeRegressor", "RandomForestRegressor", "ExtraTreesRegressor")
def regressor(tape, fitted, columns):
    trees = [one.tree_ for one in fitted.estimators_] if hasattr(fitted, "estimators_") else [fitted.tree_]
    listed = [tree_of(tree, tree.value[:, :, 0]) for tree in trees]
    return Outcome(forest(tape, fitted, columns, fitted.n_outputs_, listed))


def forest(tape, fitted, columns, outputs, trees):
    if not reads_missing(fitted):
        tape.guard_finite(columns)
    divide = float(len(trees)) if hasattr(fitted, "estimators_") else None
    return tape.trees(columns, outputs, np.zeros(outputs), trees, "f32_at_most", divide=divide)


@predictor("GradientBoostingClassifier", "GradientBoostingRegressor")
def gradient_boosting(tape, fitted, columns):
    tape.guard_finite(columns)
    is_classifier = hasattr(fitted, "classes_")
    if is_classifier:
        binary(fitted)
    outputs = fitted.estimators_.shape[1]
    base, before = initial(tape, fitted, columns, outputs)
    trees = [
        tree_of(one.tree_, one.tree_.value[:, 0, :1], output=k, weight=float(fitted.learning_rate))
        for stage in fitted.estimators_
        for k, one in enumerate(stage)
    ]
    margin = tape.trees(columns, outputs, base, trees, "f32_at_most")
    if before is not None:
        margin = tape.sums([list(pair) for pair in zip(before, margin)])
    if not is_classifier:
        return Outcome(margin)
    by = ("decision_function", fitted.decision_function)
    if outputs > 1:
        return Outcome(margin, tape.softmax(margin), fitted.classes_, by, decides=True)
    linked = tape.scale(margin, multiply=[2.0]) if fitted.loss == "exponential" else margin
    return Outcome(margin, tape.apply(linked, "sigmoid"), fitted.classes_, by, decides=True)


def initial(tape, fitted, columns, outputs):
    """Where the sums begin: numbers, or columns of a model of the user's."""
    init = fitted.init_
    if isinstance(init, str) and init == "zero":
        return np.zeros(outputs), None
    if type(init).__name__ in ("DummyClassifier", "DummyRegressor") and getattr(init, "strategy", "") != "uniform":
        row = np.zeros((1, fitted.n_features_in_), dtype=np.float32)
        return fitted._raw_predict_init(row)[0].astype(np.float64), None
    with at("init_"):
        if getattr(getattr(init, "coef_", None), "dtype", None) == np.float32:
            raise Unsupported(f"{type(init).__name__} computes in f32 here; use a tree, or 'zero'")
        outcome = predict(tape, init, tape.apply(columns, "round_f32"))
        if not hasattr(fitted, "classes_"):
            return np.zeros(outputs), outcome.final or outcome.margin
        if outcome.final is None:
            raise Unsupported(f"{type(init).__name__} gives no probabilities")
        eps = float(np.finfo(np.float32).eps)
        share = tape.each("clip", outcome.final, low=eps, high=1.0 - eps)
        if outputs > 1:
            logs = tape.apply(share, "log")
            mean = tape.linear(logs, np.full((1, outputs), -1.0 / outputs), 0.0)
            return np.zeros(outputs), tape.sums([[one, *mean] for one in logs])
        rest = tape.apply(tape.scale(share, multiply=[-1.0], add=[1.0]), "reciprocal")
        logit = tape.apply(tape.products([[*share, *rest]]), "log")
        return np.zeros(1), tape.scale(logit, multiply=[0.5]) if fitted.loss == "exponential" else logit


@predictor("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
def hist_gradient_boosting(tape, fitted, columns):
    is_classifier = hasattr(fitted, "classes_")
    if is_classifier:
        binary(fitted)
    columns = hist_columns(tape, fitted, columns)
    outputs = fitted.n_trees_per_iteration_
    trees = [hist_tree(one, k) for stage in fitted._predictors for k, one in enumerate(stage)]
    endless = sorted({feature for tree in trees for feature in tree.pop("endless")})
    # Where only missing values go right the threshold is infinite, for which JSON has no word.
    for feature in endless:
        limit = float(np.finfo(np.float64).max)
        columns[feature] = tape.each("clip", [columns[feature]], low=-limit, high=limit)[0]
    base = np.asarray(fitted._baseline_prediction, dtype=np.float64).ravel()
    margin = tape.trees(columns, outputs, base, trees, "f64_at_most")
    if is_classifier:
        final = tape.apply(margin, "sigmoid") if outputs == 1 else tape.softmax(margin)
        return Outcome(margin, final, fitted.classes_, ("decision_function", fitted.decision_function), decides=True)
    link = type(fitted._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise Unsupported(f"the link {link} is not supported; supported are IdentityLink and LogLink")
    return Outcome(margin, tape.apply(margin, "exp") if link == "LogLink" else None)


def hist_columns(tape, fitted, columns):
    """The columns as the trees see them: categories first, as codes; an unknown one is missing."""
    preprocessor = getattr(fitted, "_preprocessor", None)
    if preprocessor is None:
        if getattr(fitted, "is_categorical_", None) is not None:
            raise Unsupported("categorical features need a model that was fitted with scikit-learn 1.4 or newer")
        return list(columns)
    indices = preprocessor._transformer_to_input_indices
    encoder = preprocessor.named_transformers_["encoder"]
    codes = transform(tape, encoder, [columns[i] for i in indices["encoder"]])
    return codes + [columns[i] for i in indices["numerical"]]


def hist_tree(predictor, output):
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    is_set = nodes["is_categorical"].astype(bool) & ~is_leaf
    endless = ~is_leaf & ~is_set & np.isinf(nodes["num_threshold"])
    threshold = np.where(endless, np.finfo(np.float64).max, nodes["num_threshold"])
    tree = {
        "output": output,
        "feature": np.where(is_leaf, -1, nodes["feature_idx"].astype(np.int64)).tolist(),
        "threshold": np.where(is_leaf, np.cumsum(is_leaf) - 1, np.where(is_set, 0.0, threshold)).tolist(),
        "left": np.where(is_leaf, 0, nodes["left"]).tolist(),
        "right": np.where(is_leaf, 0, nodes["right"]).tolist(),
        "default_left": np.where(is_leaf, 0, nodes["missing_go_to_left"]).tolist(),
        "values": nodes["value"][is_leaf].tolist(),
        "endless": nodes["feature_idx"][endless].tolist(),
    }
    if is_set.any():
        tree["set"] = np.where(is_set, np.cumsum(is_set) - 1, -1).tolist()
        tree["sets"] = [members(predictor.raw_left_cat_bitsets[i]) for i in nodes["bitset_idx"][is_set]]
    return tree


def members(words):
    """The numbers of the bits that are set, in words of 32."""
    return [32 * i + bit for i, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1]
