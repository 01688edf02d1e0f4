"""Encoders of categories. Owns which category becomes which number, and what an unknown or missing one becomes."""

import warnings

import numpy as np
from sklearn.preprocessing import OneHotEncoder

from .convert import transformer
from .tape import MISSING, Missing, Text, Unsupported, at, is_missing


# The category of a missing value that is never met: None where missing values are NaN, or the other way round.
NEVER = Missing()


class Categories:
    """The categories of one feature as an encoder has them; `counts_nan` when NaN has a place among them."""

    def __init__(self, column, categories, infrequent, counts_nan):
        self.all = [key(column, value) for value in categories]
        self.none_is_one = any(value is None and of is MISSING for value, of in zip(categories, self.all))
        rare = {key(column, value) for value in (infrequent if infrequent is not None else ())}
        placed = [one for one, of in zip(self.all, categories) if counts_nan or of is None or not is_missing(of)]
        frequent = [value for value in placed if value not in rare]
        # The place of a category once the infrequent ones are one, the last.
        self.place = {value: frequent.index(value) if value not in rare else len(frequent) for value in placed}
        self.infrequent = len(frequent) if rare else None
        self.count = len(frequent) + bool(rare)

    def known(self):
        """The categories but for missing values."""
        return [value for value in self.all if value not in (MISSING, NEVER)]

    @property
    def has_missing(self):
        return MISSING in self.all


def key(column, value):
    """A category as Python has it: a text, a number, or one of the missing values."""
    if is_missing(value):
        return MISSING if not isinstance(column, Text) or column.is_absence(value) else NEVER
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bool, np.bool_, int, float, np.integer, np.floating)):
        return float(value)
    raise Unsupported(f"the category {value!r} is a {type(value).__name__}; numbers, flags and texts are supported")


def features(fitted, columns, counts_nan=True):
    """Each column with its categories."""
    rare = getattr(fitted, "infrequent_categories_", None) or [None] * len(columns)
    for i, (column, categories) in enumerate(zip(columns, fitted.categories_)):
        with at(f"feature {i}"):
            yield i, column, Categories(column, categories, rare[i], counts_nan)


@transformer("OneHotEncoder")
def one_hot_encoder(tape, fitted, columns):
    made = []
    takes_infrequent = unknown_is_infrequent(fitted.handle_unknown)
    for i, column, categories in features(fitted, columns):
        dropped = None if fitted.drop_idx_ is None else fitted.drop_idx_[i]
        dropped = None if dropped is None else categories.place[categories.all[dropped]]

        def slot(place, dropped=dropped):
            if place is None or place == dropped:
                return -1
            return place if dropped is None or place < dropped else place - 1

        # An unknown category counts as infrequent where there is such a thing, else as none.
        other = slot(categories.infrequent) if takes_infrequent else -1
        if fitted.handle_unknown == "error":
            tape.guard_known(column, categories.known(), categories.has_missing)
        slots = {value: slot(categories.place[value]) for value in categories.known()}
        missing = slot(categories.place[MISSING]) if categories.has_missing else other
        made += tape.one_hot(column, categories.count - (dropped is not None), slots, other, missing)
    return made


def unknown_is_infrequent(handle_unknown):
    """Whether an unknown category becomes the infrequent one. `warn` is documented to do so; scikit-learn 1.6 and 1.7 leave
    it out, so the installed version is asked."""
    if handle_unknown != "warn":
        return handle_unknown == "infrequent_if_exist"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoder = OneHotEncoder(handle_unknown="warn", min_frequency=2, sparse_output=False)
        return bool(encoder.fit([["a"], ["a"], ["b"]]).transform([["?"]]).any())


@transformer("OrdinalEncoder")
def ordinal_encoder(tape, fitted, columns):
    made = []
    # NaN has a code of its own, outside of the numbering.
    for _, column, categories in features(fitted, columns, counts_nan=False):
        other = np.nan
        if fitted.handle_unknown == "use_encoded_value":
            other = float(fitted.unknown_value)
        else:
            tape.guard_known(column, categories.known(), categories.has_missing)
        missing = other
        if categories.has_missing:
            # None is a category like any other.
            code = categories.place[MISSING] if categories.none_is_one else fitted.encoded_missing_value
            missing = float(code)
        rows = {value: [float(categories.place[value])] for value in categories.known()}
        made += tape.table(column, 1, rows, [other], [missing])
    return made


@transformer("TargetEncoder")
def target_encoder(tape, fitted, columns):
    made = []
    is_multiclass = fitted.target_type_ == "multiclass"
    means = np.atleast_1d(fitted.target_mean_)
    for i, column, categories in features(fitted, columns):
        width = len(means) if is_multiclass else 1
        encodings = np.column_stack(fitted.encodings_[i * width : (i + 1) * width])
        other = [float(mean) for mean in means]
        row_of = {value: row.tolist() for value, row in zip(categories.all, encodings)}
        missing = row_of.pop(MISSING, other)
        row_of.pop(NEVER, None)
        made += tape.table(column, width, row_of, other, missing)
    return made
