"""XGBoost and LightGBM behind their scikit-learn interfaces. Owns what their files mean; neither library is imported
here, the fitted model brings its own.

XGBoost sums in f32, goes left where a value rounded to f32 is less than the threshold, and right where a category is in
a set. LightGBM sums in f64, goes left at most at the threshold, and left where a category is in a set. A plain booster
needs no export: the builder reads the files of both.
"""

import ctypes
import ctypes.util
import json
import math
import re

import numpy as np

from .convert import Outcome, binary, predictor
from .tape import Unsupported, is_missing

IDENTITY = (
    "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror",
    "reg:quantileerror", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw",
)  # fmt: skip
LOG = ("reg:gamma", "reg:tweedie", "count:poisson")
LOGISTIC = ("binary:logistic", "reg:logistic")
SOFTMAX = ("multi:softprob", "multi:softmax")
# What LightGBM takes for zero: at most this far from it.
ZERO = float(np.float32(1e-35))


@predictor("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor", "XGBRanker")
def xgboost(tape, fitted, columns):
    booster = fitted.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, param = learner["objective"]["name"], learner["learner_model_param"]
    if objective == "binary:hinge":
        raise Unsupported("the objective 'binary:hinge' predicts 0 or 1, nothing between; train with 'binary:logistic'")
    if objective not in (*IDENTITY, *LOG, *LOGISTIC, *SOFTMAX):
        raise Unsupported(f"the objective {objective!r} is not supported")
    if hasattr(fitted, "classes_"):
        binary(fitted)
    gradient = learner["gradient_booster"]
    if gradient["name"] not in ("gbtree", "dart"):
        raise Unsupported(f"the booster {gradient['name']!r} is not supported; supported are gbtree and dart")
    weights = gradient.get("weight_drop")
    model = gradient["gbtree"]["model"] if "gbtree" in gradient else gradient["model"]
    outputs = max(int(param["num_class"]), int(param.get("num_target", 1)), 1)
    if any(int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in model["trees"]):
        raise Unsupported("leaves of several values are not supported; train with multi_strategy='one_output_per_tree'")
    used = used_trees(fitted, model, outputs)
    trees = [xgboost_tree(tree, output) for tree, output in zip(model["trees"][:used], model["tree_info"])]
    if weights is not None:
        trees = [{**tree, "weight": float(np.float32(weight))} for tree, weight in zip(trees, weights)]
    columns = xgboost_columns(tape, learner, model, without(tape, learner, fitted.missing, columns))
    base = base_margins(param["base_score"], objective, outputs)
    margin = tape.trees(columns, outputs, base, trees, "f32_less", precision="f32")
    by = ("predict(output_margin=True)", lambda X: fitted.predict(X, output_margin=True))
    classes = getattr(fitted, "classes_", None)
    tape.in_f32.update(["probability"] if objective not in IDENTITY else [])
    if weights is not None:
        # The scikit-learn interface sums dropped trees in another order than the booster itself.
        tape.in_f32.update(["margin", "probability"])
    if objective in LOGISTIC:
        clipped = tape.each("clip", margin, low=float(np.float32(-88.7)), high=float(np.finfo(np.float64).max))
        final = tape.apply(tape.apply(clipped, "sigmoid"), "round_f32")
    elif objective in LOG:
        final = tape.apply(tape.apply(margin, "exp"), "round_f32")
    elif objective in SOFTMAX:
        final = tape.softmax(margin, "f32")
    elif classes is not None:
        raise Unsupported(f"the objective {objective!r} gives no probabilities")
    else:
        final = None
    return Outcome(margin, final, classes, by)


def used_trees(fitted, model, outputs):
    """A model that was stopped early predicts with its best iteration."""
    try:
        best = fitted.best_iteration
    except AttributeError:
        return len(model["trees"])
    if "iteration_indptr" in model:
        return model["iteration_indptr"][best + 1]
    return (best + 1) * outputs * max(int(model["gbtree_model_param"].get("num_parallel_tree", 1)), 1)


def base_margins(text, objective, outputs):
    """`base_score` stands in the file before the link: one number, or since 3.1 a list."""
    scores = [np.float32(part) for part in text.strip("[]").split(",")]
    if objective in LOGISTIC:
        scores = [np.float32(-logf(np.float32(1.0) / score - np.float32(1.0))) for score in scores]
    elif objective in LOG:
        scores = [logf(score) for score in scores]
    return [float(score) for score in (scores * outputs if len(scores) == 1 else scores)]


def logf(x):
    """The logarithm in f32 of the C library, which is what XGBoost calls; a correctly rounded one differs now and then."""
    try:
        function = ctypes.CDLL(ctypes.util.find_library("m")).logf
    except (AttributeError, OSError, TypeError):
        return np.float32(math.log(x))
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return np.float32(function(float(x)))


def without(tape, learner, missing, columns):
    """The columns with NaN where the mark of a missing value stands. XGBoost compares in f32; NaN is missing, too."""
    if is_missing(missing):
        return columns
    mark = float(np.float32(missing))
    if not math.isfinite(mark):
        raise Unsupported(f"`missing` is {missing!r}; supported are NaN and finite numbers")
    if "c" in (learner.get("feature_types") or []):
        raise Unsupported(f"`missing` is {missing!r}, which a code of a category can be; mark missing values with NaN")
    marked = [tape.table(one, 1, {mark: [np.nan]}, [0.0], [0.0]) for one in tape.apply(columns, "round_f32")]
    return tape.sums([[column, *mark] for column, mark in zip(columns, marked)])


def xgboost_columns(tape, learner, model, columns):
    """Categories become the codes that the model was trained on."""
    encodings = model.get("cats", {}).get("enc", [])
    types = learner.get("feature_types") or []
    found = list(columns)
    codes = []
    for i, column in enumerate(columns):
        known = categories(encodings[i]) if i < len(encodings) else []
        if i < len(types) and types[i] == "c" and known:
            tape.guard_known(column, known, takes_missing=True)
            found[i] = code(tape, column, known)
        elif i < len(types) and types[i] == "c":
            codes.append(i)
    for i, column in zip(codes, tape.apply([columns[i] for i in codes], "round_f32") if codes else []):
        found[i] = column
    return found


def categories(encoding):
    values = encoding.get("values", [])
    if "offsets" not in encoding:
        return [float(value) for value in values]
    text = bytes(value % 256 for value in values)
    return [text[a:b].decode() for a, b in zip(encoding["offsets"], encoding["offsets"][1:])]


def code(tape, column, known):
    """The place of a value among the categories; -1 for another one."""
    (found,) = tape.table(column, 1, {value: [float(i)] for i, value in enumerate(known)}, [-1.0], [np.nan])
    return found


def xgboost_tree(file, output):
    left, right = np.array(file["left_children"]), np.array(file["right_children"])
    order = parents_first(left.tolist(), right.tolist())
    place = {node: i for i, node in enumerate(order)}
    is_set = np.array(file.get("split_type") or np.zeros(len(left)), dtype=bool)
    sets = {
        node: sorted(file["categories"][start : start + size])
        for node, start, size in zip(
            file.get("categories_nodes", []), file.get("categories_segments", []), file.get("categories_sizes", [])
        )
    }
    tree = Nodes(output)
    for node in order:
        if left[node] == -1:
            tree.leaf(float(np.float32(file["split_conditions"][node])))
            continue
        children = (place[int(left[node])], place[int(right[node])])
        default_left = bool(file["default_left"][node])
        feature = file["split_indices"][node]
        if is_set[node]:
            # Members go right here and left in the form.
            tree.set(feature, sets[node], *reversed(children), not default_left)
        else:
            tree.split(feature, float(np.float32(file["split_conditions"][node])), *children, default_left)
    return tree.finish()


def parents_first(left, right):
    order, pending = [], [0]
    while pending:
        node = pending.pop()
        order.append(node)
        if left[node] != -1:
            pending += [right[node], left[node]]
    return order


class Nodes:
    """The lists of one tree of the form."""

    def __init__(self, output):
        names = ("feature", "threshold", "left", "right", "default_left", "set", "values")
        self.tree = {"output": output, **{name: [] for name in names}, "sets": []}

    def _push(self, feature, threshold, left, right, default_left, which):
        row = zip(("feature", "threshold", "left", "right", "default_left", "set"),
                  (feature, threshold, left, right, int(default_left), which))  # fmt: skip
        for name, value in row:
            self.tree[name].append(value)

    def leaf(self, value):
        self._push(-1, len(self.tree["values"]), 0, 0, False, -1)
        self.tree["values"].append(value)

    def split(self, feature, threshold, left, right, default_left):
        self._push(feature, threshold, left, right, default_left, -1)

    def set(self, feature, members, left, right, default_left):
        self._push(feature, 0.0, left, right, default_left, len(self.tree["sets"]))
        self.tree["sets"].append(members)

    def finish(self):
        if not self.tree["sets"]:
            del self.tree["set"], self.tree["sets"]
        return self.tree


@predictor("LGBMClassifier", "LGBMRegressor", "LGBMRanker")
def lightgbm(tape, fitted, columns):
    booster = fitted.booster_
    dump = booster.dump_model()
    if hasattr(fitted, "classes_"):
        binary(fitted)
    name, *words = dump.get("objective", "custom").split(" ")
    parameters = dict(word.split(":") for word in words if ":" in word)
    outputs = dump["num_tree_per_iteration"]
    columns = lightgbm_columns(tape, booster, dump, columns)
    seen = Seen(tape, columns)
    trees = [lightgbm_tree(one["tree_structure"], i % outputs, seen) for i, one in enumerate(dump["tree_info"])]
    margin = tape.trees(seen.columns, outputs, np.zeros(outputs), trees, "f64_at_most")
    inner = margin
    if dump.get("average_output"):
        inner = tape.scale(margin, divide=[float(max(len(trees) // outputs, 1))] * outputs)
    sigmoid = float(parameters.get("sigmoid", 1.0))
    classes = getattr(fitted, "classes_", None)
    by = ("predict(raw_score=True)", lambda X: fitted.predict(X, raw_score=True))
    if name in ("binary", "multiclassova", "cross_entropy"):
        scaled = tape.scale(inner, multiply=[sigmoid] * outputs) if sigmoid != 1.0 else inner
        return Outcome(margin, tape.apply(scaled, "sigmoid"), classes, by)
    if name == "multiclass":
        return Outcome(margin, tape.softmax(inner), classes, by)
    if classes is not None:
        raise Unsupported(f"the objective {name!r} gives no probabilities")
    if name in ("poisson", "gamma", "tweedie"):
        return Outcome(margin, tape.apply(inner, "exp"), None, by)
    if "sqrt" in words:
        return Outcome(margin, tape.products([[a, b] for a, b in zip(tape.apply(inner, "abs"), inner)]), None, by)
    if name not in ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"):
        raise Unsupported(f"the objective {name!r} is not supported")
    return Outcome(margin, inner if inner is not margin else None, None, by)


def lightgbm_columns(tape, booster, dump, columns):
    """Categories become the codes that the model was trained on; the file says which features have any."""
    lists = dump.get("pandas_categorical") or []
    found = list(columns)
    if not lists:
        return found
    told = re.search(r"^\[categorical_feature: ([\d,]*)\]$", booster.model_to_string(), re.MULTILINE)
    features = sorted({int(i) for i in told.group(1).split(",") if i}) if told else []
    if len(features) != len(lists):
        raise Unsupported("it is not known which features have categories; encode them before the model")
    for i, known in zip(features, lists):
        known = [value if isinstance(value, str) else float(value) for value in known]
        found[i] = code(tape, columns[i], known)
    return found


class Seen:
    """The columns as LightGBM's nodes see them: as they are, with zero as missing, or cut to an integer."""

    def __init__(self, tape, inputs):
        self.tape, self.inputs = tape, inputs
        self.columns, self.place = [], {}

    def at(self, feature, kind):
        if (feature, kind) not in self.place:
            column = self.inputs[feature]
            if kind == "zero":
                (column,) = self.tape.each("zero_is_missing", [column])
            elif kind == "category":
                (column,) = self.tape.apply([column], "trunc")
            self.place[feature, kind] = len(self.columns)
            self.columns.append(column)
        return self.place[feature, kind]


def lightgbm_tree(root, output, seen):
    tree = Nodes(output)
    # Depth first, so that a node's place is known when it is pushed.
    sizes = {}
    pending = [(root, False)]
    while pending:
        node, is_done = pending.pop()
        children = [node[key] for key in ("left_child", "right_child") if key in node]
        if not is_done and children:
            pending += [(node, True), *((child, False) for child in children)]
        else:
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
    pending = [root]
    place = 0
    while pending:
        node = pending.pop()
        if "leaf_coeff" in node:
            raise Unsupported("linear trees (`linear_tree`) are not supported")
        if "split_feature" not in node:
            tree.leaf(float(node["leaf_value"]))
        else:
            left, right = node["left_child"], node["right_child"]
            lightgbm_split(tree, node, place + 1, place + 1 + sizes[id(left)], seen)
            pending += [right, left]
        place += 1
    return tree.finish()


def lightgbm_split(tree, node, left, right, seen):
    feature = node["split_feature"]
    if node["decision_type"] == "==":
        members = sorted(int(member) for member in str(node["threshold"]).split("||"))
        return tree.set(seen.at(feature, "category"), members, left, right, False)
    threshold = float(node["threshold"])
    if abs(threshold) <= ZERO:
        # Whatever is that near to zero goes where zero goes.
        threshold = ZERO if threshold >= 0.0 else float(np.nextafter(-ZERO, -np.inf))
    missing = node["missing_type"]
    default_left = 0.0 <= threshold if missing == "None" else bool(node["default_left"])
    tree.split(seen.at(feature, "zero" if missing == "Zero" else "plain"), threshold, left, right, default_left)
