"""What a form answers, with numpy in f64: the check of an export, and no more. The builder's own evaluation, which modules
agree with to the bit, is in Rust; this one differs from it by what sums and libraries' functions round differently."""

import numpy as np

FUNCTIONS = {
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "negate": np.negative,
    "reciprocal": np.reciprocal,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.where(np.isnan(x) | (x > 0.0), x, 0.0),
    "round_f32": lambda x: x.astype(np.float32).astype(np.float64),
    "trunc": np.trunc,
}

COMPARE = {
    "f32_less": lambda x, threshold: rounded(x) < threshold,
    "f32_at_most": lambda x, threshold: rounded(x) <= threshold,
    "f64_at_most": lambda x, threshold: x <= threshold,
    "f64_less": lambda x, threshold: x < threshold,
}


def evaluate(form, rows):
    """The answers of a form as read from JSON, for a matrix of rows of its inputs: a matrix for each list of `outputs`."""
    tape = [rows[:, i] for i in range(rows.shape[1])]
    with np.errstate(all="ignore"):
        for step in form["steps"]:
            columns = STEPS[step["step"]](step, tape)
            tape.extend(np.asarray(column, dtype=np.float64) for column in columns)
    answers = form["outputs"]
    return {name: np.column_stack([tape[answer["column"]] for answer in answers[name]]) for name in answers}


def rounded(x):
    return x.astype(np.float32).astype(np.float64)


def each(function):
    """A step that works column by column: `function(x, i, step)`."""
    return lambda step, tape: [function(tape[column], i, step) for i, column in enumerate(step["columns"])]


def scale(x, i, step):
    for key, operation in (("subtract", np.subtract), ("divide", np.divide), ("multiply", np.multiply), ("add", np.add)):
        if step.get(key):
            x = operation(x, step[key][i])
    return x


def clip(x, i, step):
    return np.where(x < step["low"], step["low"], np.where(x > step["high"], step["high"], x))


def index(step, tape):
    x, values = tape[step["column"]], np.array(step["values"])
    if not len(values):
        return [np.where(np.isnan(x), np.nan, -1.0)]
    at = np.minimum(np.searchsorted(values, x), len(values) - 1)
    return [np.where(np.isnan(x), np.nan, np.where(values[at] == x, at.astype(np.float64), -1.0))]


def bins(step, tape):
    x = tape[step["column"]]
    return [np.where(np.isnan(x), np.nan, np.searchsorted(np.array(step["edges"]), x, side="right").astype(np.float64))]


def symbols(x, count):
    """Indices of symbols: `count` for another text, `count` + 1 for a missing value."""
    known = (x >= 0.0) & (x < count)
    return np.where(np.isnan(x), count + 1, np.where(known, np.trunc(np.where(known, x, 0.0)), count)).astype(np.int64)


def one_hot(step, tape):
    slots = np.array([*step["slots"], step["other"], step["missing"]])
    slot = slots[symbols(tape[step["column"]], len(step["slots"]))]
    return [(slot == i).astype(np.float64) for i in range(step["width"])]


def table(step, tape):
    width = step["width"]
    rows = np.array([*step["rows"], *step["other"], *step["missing"]], dtype=np.float64).reshape(-1, width)
    return list(rows[symbols(tape[step["column"]], len(rows) - 2)].T)


def linear(step, tape):
    outputs = len(step["intercept"])
    if not step["columns"]:
        return [np.full(len(tape[0]) if tape else 1, value) for value in step["intercept"]]
    rows = np.column_stack([tape[column] for column in step["columns"]])
    weights = np.array(step["weights"]).reshape(outputs, -1)
    # Not by a matrix product: some libraries leave NaN out where a weight is 0.
    return [(rows * weights[output]).sum(axis=1) + step["intercept"][output] for output in range(outputs)]


def fold(operation, start):
    def terms(step, tape):
        length = len(tape[0])
        found = []
        for term in step["terms"]:
            value = np.full(length, start)
            for column in term:
                value = operation(value, tape[column])
            found.append(value)
        return found

    return terms


def softmax(step, tape):
    x = np.column_stack([tape[column] for column in step["columns"]])
    round_to = rounded if step.get("precision") == "f32" else np.asarray
    x = round_to(np.exp(round_to(x - x.max(axis=1, keepdims=True))))
    return list(round_to(x / round_to(x.sum(axis=1, keepdims=True))).T)


def normalize(step, tape):
    x = np.column_stack([tape[column] for column in step["columns"]])
    total = x.sum(axis=1, keepdims=True)
    return list(np.where(total == 0.0, 1.0 / x.shape[1], x / total).T)


def interpolate(value, i, step):
    x, y = np.array(step["x"]), np.array(step["y"])
    right = np.searchsorted(x, value, side="right")
    if len(x) == 1:
        return np.where(np.isnan(value), np.nan, y[0])
    hi = np.clip(right, 1, len(x) - 1)
    slope = (y[hi] - y[hi - 1]) / (x[hi] - x[hi - 1])
    inside = slope * (value - x[hi - 1]) + y[hi - 1]
    found = np.where(right == 0, y[0], np.where(right == len(x), y[-1], inside))
    return np.where(np.isnan(value), np.nan, found)


def trees(step, tape):
    x = np.column_stack([tape[column] for column in step["columns"]]) if step["columns"] else np.empty((len(tape[0]), 0))
    round_to = rounded if step.get("precision") == "f32" else np.asarray
    sums = np.tile(np.array(step["base"], dtype=np.float64), (len(x), 1))
    for tree in step["trees"]:
        leaf = walk(tree, x, COMPARE[step["compare"]])
        values = np.array(tree["values"])
        first = np.array(tree["threshold"])[leaf].astype(np.int64)
        leaves = sum(feature < 0 for feature in tree["feature"])
        width = step["outputs"] if len(values) == leaves * step["outputs"] else 1
        outputs = range(width) if width > 1 else [tree.get("output", 0)]
        for offset, output in enumerate(outputs):
            value = values[first + (offset if width > 1 else 0)] * tree.get("weight", 1.0)
            sums[:, output] = round_to(sums[:, output] + round_to(value))
    if "divide" in step:
        sums = round_to(sums / step["divide"])
    return list(sums.T)


def walk(tree, x, compare):
    """The leaf of every row."""
    feature, threshold = np.array(tree["feature"]), np.array(tree["threshold"], dtype=np.float64)
    left, right = np.array(tree["left"]), np.array(tree["right"])
    default_left = np.array(tree.get("default_left") or np.zeros(len(feature)), dtype=bool)
    sets = tree.get("set") or []
    node = np.zeros(len(x), dtype=np.int64)
    moving = np.arange(len(x)) if feature[0] >= 0 else np.empty(0, dtype=np.int64)
    while len(moving):
        at = node[moving]
        value = x[moving, feature[at]]
        goes_left = compare(value, threshold[at])
        for which in set(sets[i] for i in at) - {-1} if sets else ():
            rows = np.array([sets[i] == which for i in at])
            goes_left[rows] = np.isin(np.trunc(value[rows]), tree["sets"][which]) & (value[rows] >= 0.0)
        goes_left = np.where(np.isnan(value), default_left[at], goes_left)
        node[moving] = np.where(goes_left, left[at], right[at])
        moving = moving[feature[node[moving]] >= 0]
    return node


STEPS = {
    "impute": each(lambda x, i, step: np.where(np.isnan(x), step["values"][i], x)),
    "is_missing": each(lambda x, i, step: np.isnan(x)),
    "zero_is_missing": each(lambda x, i, step: np.where(np.abs(x) <= float(np.float32(1e-35)), np.nan, x)),
    "scale": each(scale),
    "clip": each(clip),
    "apply": each(lambda x, i, step: FUNCTIONS[step["function"]](x)),
    "products": fold(np.multiply, 1.0),
    "sums": fold(np.add, 0.0),
    "index": index,
    "bins": bins,
    "one_hot": one_hot,
    "table": table,
    "linear": linear,
    "softmax": softmax,
    "normalize": normalize,
    "interpolate": each(interpolate),
    "trees": trees,
}
