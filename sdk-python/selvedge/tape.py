"""The form in the making: inputs, the steps over them, and what each column of the tape holds.

Owns the numbering of columns and the shape of every step (the repository's `docs/pipeline.md`); knows no estimator. Column 0 up
to the number of inputs are the inputs, every step appends its own.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

FORM_VERSION = 1


class Unsupported(ValueError):
    """What cannot be exported, and where in the pipeline it stands."""

    def __init__(self, why, path=()):
        super().__init__(" > ".join(path) + (": " if path else "") + why)
        self.why = why
        self.path = tuple(path)


@contextmanager
def at(place):
    """Puts the place, such as `step 'prep'`, in front of what is told from inside."""
    try:
        yield
    except Unsupported as inner:
        raise Unsupported(inner.why, (place, *inner.path)) from None


class Missing:
    """The one value that stands for None, NaN and NA among categories."""

    def __repr__(self):
        return "MISSING"


MISSING = Missing()


def absence(value):
    """How a missing value is written: scikit-learn tells None from NaN, and an imputer of one leaves the other."""
    return "None" if value is None else "NaN"


def is_missing(value):
    """Whether a value is None, NaN, NaT or NA: none of them is itself."""
    if value is None or value is MISSING:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        # The truth of NA is an error.
        return True


@dataclass
class Input:
    """One input: `number`, `flag` or `symbol`; of a symbol the texts that some step of the pipeline knows."""

    name: str
    kind: str
    texts: set = field(default_factory=set)
    # One that stands in X: a symbol has at least one text, even where only its absence counts.
    sample: str = "other"
    # How missing values are written in X: `None` or `NaN`; empty where there are none.
    absence: str = ""


@dataclass(frozen=True)
class Number:
    """A column of numbers; `source` is the name of the input where it is one."""

    column: int
    source: str = ""


@dataclass(frozen=True)
class Text:
    """A column of texts: a symbol input, and what imputing made of its values."""

    column: int
    source: Input
    # What was replaced by what, and what stands for a missing value.
    replaced: tuple = ()
    when_missing: object = MISSING

    def value(self, text):
        """What a text of the input has become."""
        for old, new in self.replaced:
            if text == old:
                text = new
        return text

    def is_absence(self, value):
        """Whether a missing value is written like this one in X."""
        return self.source.absence in ("", absence(value))

    def impute(self, old, new):
        """With `old`, a text or MISSING, replaced by `new`."""
        when_missing = new if self.when_missing == old else self.when_missing
        if old is MISSING:
            return Text(self.column, self.source, self.replaced, when_missing)
        self.source.texts.add(old)
        return Text(self.column, self.source, (*self.replaced, (old, new)), when_missing)


class Tape:
    """Inputs, and steps as they are pushed."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.steps = []
        self.width = len(inputs)
        # Columns of 0 that are NaN where scikit-learn would raise: added to every answer.
        self.guards = []
        # The answers that the trainer computes in f32, with functions or in an order that are its own.
        self.in_f32 = set()

    def columns(self):
        """The inputs as columns."""
        return [Text(i, entry) if entry.kind == "symbol" else Number(i, entry.name) for i, entry in enumerate(self.inputs)]

    def push(self, width, step):
        """Appends a step; the columns that it adds. `step` is a dict, or a function of the symbols that makes it."""
        first = self.width
        self.steps.append((width, step))
        self.width += width
        return [Number(i) for i in range(first, first + width)]

    def each(self, name, columns, **lists):
        """A step that gives a column for each of `columns`."""
        given = {key: plain(value) for key, value in lists.items() if value is not None}
        return self.push(len(columns), {"step": name, "columns": numbers(columns), **given})

    def apply(self, columns, function):
        return self.each("apply", columns, function=function)

    def scale(self, columns, **lists):
        """`((x - subtract) / divide) * multiply + add`; nothing is pushed when nothing is said."""
        given = {key: value for key, value in lists.items() if value is not None}
        return self.each("scale", columns, **given) if given else columns

    def linear(self, columns, weights, intercept):
        """A column for each row of `weights` (outputs x columns)."""
        weights = np.asarray(weights, dtype=np.float64)
        intercept = np.broadcast_to(np.asarray(intercept, dtype=np.float64), weights.shape[:1])
        step = {"columns": numbers(columns), "weights": plain(weights.ravel()), "intercept": plain(intercept)}
        return self.push(len(weights), {"step": "linear", **step})

    def sums(self, terms):
        return self.push(len(terms), {"step": "sums", "terms": [numbers(term) for term in terms]})

    def products(self, terms):
        return self.push(len(terms), {"step": "products", "terms": [numbers(term) for term in terms]})

    def softmax(self, columns, precision="f64"):
        return self.each("softmax", columns, precision=precision)

    def trees(self, columns, outputs, base, trees, compare, precision="f64", divide=None):
        step = {"columns": numbers(columns), "outputs": outputs, "base": plain(base), "precision": precision}
        if divide is not None:
            step["divide"] = divide
        return self.push(outputs, {"step": "trees", **step, "compare": compare, "trees": trees})

    def one_hot(self, column, width, slot_of, other=-1, missing=-1):
        """`width` columns, of which the one at `slot_of[value]` is 1; -1 is none."""
        found, values = self._index(column, list(slot_of))

        def step(symbols):
            slots = [missing if value is MISSING else slot_of.get(value, other) for value in values(symbols)]
            lookup = {"slots": slots, "other": other, "missing": absent(column, slot_of, other, missing)}
            return {"step": "one_hot", "column": found, "width": width, **lookup}

        return self.push(width, step)

    def table(self, column, width, row_of, other, missing):
        """`width` columns: the row of a value; `other` for one that is not known."""
        found, values = self._index(column, list(row_of))

        def step(symbols):
            rows = [missing if value is MISSING else row_of.get(value, other) for value in values(symbols)]
            lookup = {
                "rows": nullable([x for row in rows for x in row]),
                "other": nullable(other),
                "missing": nullable(absent(column, row_of, other, missing)),
            }
            return {"step": "table", "column": found, "width": width, **lookup}

        return self.push(width, step)

    def _index(self, column, known):
        """The column of a value's index, and what gives the values in the order of the indices."""
        if isinstance(column, Text):
            texts = [value for value in known if not isinstance(value, str)]
            if texts:
                raise Unsupported(f"the input {column.source.name!r} is text, but {texts[0]!r} is among its categories")
            column.source.texts.update(known)
            return column.column, lambda symbols: [column.value(text) for text in symbols[column.column]]
        texts = [value for value in known if isinstance(value, str)]
        if texts:
            of = f"the input {column.source!r}" if column.source else "a column"
            raise Unsupported(f"{of} is a number, but {texts[0]!r} is among its categories")
        order = sorted(known)
        (index,) = self.push(1, {"step": "index", "column": column.column, "values": plain(order)})
        return index.column, lambda symbols: order

    def guard_known(self, column, known, takes_missing):
        """Every answer is NaN when the value is none of `known`."""
        nan = [np.nan]
        self.guards += self.table(column, 1, {value: [0.0] for value in known}, nan, [0.0] if takes_missing else nan)

    def guard_finite(self, columns):
        """Every answer is NaN when one of the columns is, or is infinite."""
        if columns:
            self.guards += self.linear(columns, np.zeros((1, len(columns))), 0.0)

    def finish(self, kind, made_by, margin, probability):
        """The form as JSON has it, without the steps and inputs that no answer needs. `margin` and `probability` are lists of
        (name, column). The second result is the index of each input that is left."""
        symbols = [sorted(entry.texts) or [entry.sample] for entry in self.inputs]
        if self.guards:
            columns = [column for _, column in margin + probability]
            guarded = iter(self.sums([[column, *self.guards] for column in columns]))
            margin, probability = ([(name, next(guarded)) for name, _ in answers] for answers in (margin, probability))
        steps = [(width, step(symbols) if callable(step) else step) for width, step in self.steps]
        kept, place = live(len(self.inputs), steps, [column.column for _, column in margin + probability])
        inputs = [i for i in range(len(self.inputs)) if i in place]
        answers = {
            name: [{"name": called, "column": place[column.column]} for called, column in listed]
            for name, listed in (("margin", margin), ("probability", probability))
            if listed
        }
        form = {
            "selvedge_pipeline": FORM_VERSION,
            "kind": kind,
            "made_by": made_by,
            "inputs": [described(self.inputs[i], symbols[i]) for i in inputs],
            "steps": [renumbered(step, place) for step in kept],
            "outputs": answers,
        }
        return form, inputs


def absent(column, known, other, missing):
    """What a lookup gives for a missing value, which may have been imputed."""
    if isinstance(column, Text) and column.when_missing is not MISSING:
        return known.get(column.when_missing, other)
    return missing


def described(entry, symbols):
    described = {"name": entry.name, "type": entry.kind}
    return {**described, "symbols": symbols} if entry.kind == "symbol" else described


def live(inputs, steps, answers):
    """The steps that some answer needs, and the new number of every column that is left."""
    firsts = np.cumsum([inputs] + [width for width, _ in steps]).tolist()
    needed = set(answers)
    kept = [False] * len(steps)
    for i in range(len(steps) - 1, -1, -1):
        if any(column in needed for column in range(firsts[i], firsts[i + 1])):
            kept[i] = True
            needed.update(reads(steps[i][1]))
    place = {}
    for column in range(inputs):
        if column in needed:
            place[column] = len(place)
    for i, (width, _) in enumerate(steps):
        if kept[i]:
            for column in range(firsts[i], firsts[i] + width):
                place[column] = len(place)
    return [step for (_, step), is_kept in zip(steps, kept) if is_kept], place


def reads(step):
    if "terms" in step:
        return [column for term in step["terms"] for column in term]
    return step["columns"] if "columns" in step else [step["column"]]


def renumbered(step, place):
    step = dict(step)
    if "column" in step:
        step["column"] = place[step["column"]]
    if "columns" in step:
        step["columns"] = [place[column] for column in step["columns"]]
    if "terms" in step:
        step["terms"] = [[place[column] for column in term] for term in step["terms"]]
    return step


def numbers(columns):
    """The places of columns, all of which must be numbers."""
    for column in columns:
        if isinstance(column, Text):
            raise Unsupported(f"the text {column.source.name!r} reaches it; an encoder must make a number of it before")
    return [column.column for column in columns]


def plain(values):
    """Python numbers, which `json` prints so that they read back to the same bits."""
    if isinstance(values, np.ndarray):
        return values.tolist()
    return [float(value) for value in values] if isinstance(values, list) else values


def nullable(values):
    return [None if value != value else float(value) for value in values]
