"""What the package must do, by one check a feature. Run: python -m unittest discover -s tests (in sdk-python)."""

import json
import os
import tempfile
import unittest
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier

import selvedge
from selvedge.evaluate import evaluate
from selvedge.inputs import read

warnings.simplefilter("ignore")


def frame(n=300, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.normal(size=n), "b": rng.integers(0, 5, n), "c": rng.choice(["x", "y", "z", "rare"], n)})
    y = (X["a"] + (X["c"] == "x") + rng.normal(size=n) > 0.5).astype(int)
    return X, y


class ExportCase(unittest.TestCase):
    def export(self, pipeline, X):
        """The form as it was written, and what was told of it."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.json")
            told = selvedge.export(pipeline, X, path)
            self.assertEqual(os.listdir(folder), ["model.json"])
            with open(path, encoding="utf-8") as file:
                return json.load(file), told

    def answers(self, pipeline, X, rows, kind="probability"):
        """What the form says of other rows."""
        form, _ = self.export(pipeline, X)
        known = read(pipeline, rows)
        names = [entry.name for entry in known.inputs]
        return evaluate(form, known.matrix(form, [names.index(entry["name"]) for entry in form["inputs"]]))[kind][:, 0]

    def refused(self, pipeline, X, expected, error=selvedge.Unsupported):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(error) as raised:
                selvedge.export(pipeline, X, os.path.join(folder, "model.json"))
            self.assertEqual(os.listdir(folder), [], "nothing is written")
        self.assertIn(expected, str(raised.exception))


class Refusals(ExportCase):
    def test_the_first_step_that_is_not_supported_is_named(self):
        X, y = frame()
        text = ColumnTransformer([("num", StandardScaler(), ["a"]), ("txt", TfidfVectorizer(), "c")])
        pipeline = Pipeline([("prep", text), ("model", LogisticRegression())]).fit(X, y)
        self.refused(pipeline, X, "step 'prep' > transformer 'txt': TfidfVectorizer is not supported; supported are Bin")
        stack = StackingClassifier([("one", LogisticRegression())]).fit(X[["a"]], y)
        self.refused(stack, X[["a"]], "StackingClassifier is not supported; supported are ARDRegression")

        def own(x):
            return x + 1

        pipeline = make_pipeline(FunctionTransformer(own), LinearRegression()).fit(X[["a"]], y)
        self.refused(pipeline, X[["a"]], "step 'functiontransformer': the function own is not supported")
        pipeline = make_pipeline(PowerTransformer(), LinearRegression()).fit(X[["a"]], y)
        self.refused(pipeline, X[["a"]], "step 'powertransformer': PowerTransformer is not supported")

    def test_a_pipeline_must_end_in_a_model(self):
        X, _ = frame()
        self.refused(make_pipeline(StandardScaler()).fit(X[["a"]]), X[["a"]], "StandardScaler stands where a model is")
        self.refused(Pipeline([("s", StandardScaler()), ("m", "passthrough")]).fit(X[["a"]]), X[["a"]], "step 'm': nothing")

    def test_rows_that_cannot_be_inputs_are_told(self):
        X, y = frame()
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[["a"]], y)
        self.refused(pipeline, X[["a"]].assign(a=pd.Timestamp("2026-01-01")), "the type datetime64")
        self.refused(pipeline, X["a"].to_numpy(), "X has 1 dimension(s)")
        self.refused(pipeline, X[["a"]][:0], "", error=ValueError)
        mixed = X[["a"]].astype(object)
        mixed.iloc[0, 0] = "x"
        self.refused(pipeline, mixed, "holds float, str; it must be all numbers")
        mixed.iloc[0, 0], mixed.iloc[1, 0] = None, np.nan
        self.refused(pipeline, mixed, "holds both None and NaN")

    def test_text_that_reaches_a_model_is_told(self):
        X, y = frame()
        union = ColumnTransformer([("c", "passthrough", ["c"]), ("a", "passthrough", ["a"])])
        fitted = make_pipeline(OrdinalEncoder(), DecisionTreeClassifier()).fit(X[["c", "a"]], y)
        pipeline = Pipeline([("prep", union.fit(X)), ("tree", fitted[-1])])
        self.refused(pipeline, X, "step 'tree': the text 'c' reaches it; an encoder must")

    def test_a_form_that_answers_otherwise_is_not_written(self):
        X, y = frame()

        class Biased(LogisticRegression):
            def predict_proba(self, X):
                return super().predict_proba(X) * 0.5

        Biased.__module__, Biased.__name__ = "sklearn.own", "LogisticRegression"
        self.refused(Biased().fit(X[["a"]], y), X[["a"]], "of X: predict_proba gives", error=selvedge.Mismatch)


class Meanings(ExportCase):
    def test_what_is_written_reads_back_to_the_same_bits(self):
        X, y = frame()
        pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[["a", "b"]], y)
        form, told = self.export(pipeline, X[["a", "b"]])
        self.assertEqual(form["steps"][0]["subtract"], pipeline[0].mean_.tolist())
        self.assertEqual(form["steps"][1]["weights"], pipeline[1].coef_.ravel().tolist())
        self.assertEqual((told.rows, told.outputs["probability"]), (300, ["score"]))
        self.assertLess(told.difference, 1e-15)

    def test_inputs_that_nothing_reads_are_left_out(self):
        X, y = frame()
        pipeline = make_pipeline(make_column_transformer((StandardScaler(), ["b"])), LogisticRegression()).fit(X, y)
        form, _ = self.export(pipeline, X)
        self.assertEqual(form["inputs"], [{"name": "b", "type": "number"}])
        array = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[["a", "b"]].to_numpy(), y)
        form, _ = self.export(array, X[["a", "b"]].to_numpy())
        self.assertEqual([entry["name"] for entry in form["inputs"]], ["f0", "f1"])

    def test_types_become_numbers_flags_and_symbols(self):
        X, y = frame()
        X = X.assign(
            flag=X["b"] > 2, whole=X["b"].astype("Int64"), kind=X["c"].astype("category"), small=X["a"].astype("float32")
        )
        encode = (OneHotEncoder(handle_unknown="ignore"), ["c", "kind"])
        pipeline = make_pipeline(make_column_transformer(encode, remainder="passthrough"), LogisticRegression()).fit(X, y)
        form, _ = self.export(pipeline, X)
        types = {entry["name"]: entry["type"] for entry in form["inputs"]}
        numbers = dict.fromkeys(["a", "b", "whole", "small"], "number")
        self.assertEqual(types, {**numbers, "c": "symbol", "kind": "symbol", "flag": "flag"})
        self.assertEqual(form["inputs"][2]["symbols"], ["rare", "x", "y", "z"])

    def test_where_scikit_learn_would_raise_the_answer_is_nan(self):
        X, y = frame()
        for encoder in (OneHotEncoder(), OrdinalEncoder(), OneHotEncoder(drop="first")):
            pipeline = make_pipeline(
                make_column_transformer((encoder, ["c"]), remainder="passthrough"), DecisionTreeClassifier(max_depth=3)
            )
            rows = pd.DataFrame({"a": [0.0, 0.0, 0.0], "b": [1, 1, 1], "c": ["x", "new", None]})
            found = self.answers(pipeline.fit(X, y), X, rows)
            self.assertEqual(np.isnan(found).tolist(), [False, True, True], encoder)
        rows = pd.DataFrame({"a": [0.0, np.nan]})
        for model in (
            GradientBoostingClassifier(n_estimators=3),
            make_pipeline(KBinsDiscretizer(3, strategy="uniform"), DecisionTreeClassifier()),
        ):
            self.assertEqual(np.isnan(self.answers(model.fit(X[["a"]], y), X[["a"]], rows)).tolist(), [False, True])

    def check_categories(self, encoder, column, rows):
        """The encoder's columns of all rows, by a linear model that tells them apart; seen and unseen rows must agree."""
        y = np.arange(len(column)) % 7
        X = pd.DataFrame({"c": column})
        target = y % 2 if isinstance(encoder, TargetEncoder) and encoder.target_type == "binary" else y
        whole = SimpleImputer(strategy="constant", fill_value=-77.0)
        pipeline = make_pipeline(encoder, whole, LinearRegression()).fit(X, target)
        # No two sums of weights are the same.
        pipeline[-1].coef_ = np.random.default_rng(5).normal(size=pipeline[-1].coef_.shape)
        other = pd.DataFrame({"c": rows})
        found = self.answers(pipeline, X, other, "margin")
        np.testing.assert_allclose(found, pipeline.predict(other), rtol=1e-13, atol=1e-13, err_msg=repr(encoder))

    def test_categories_as_each_encoder_has_them(self):
        texts = np.array(["a", "b", "b", "c", "c", "c", "d", "d", "d", "d"] * 6, dtype=object)
        with_none, with_nan = texts.copy(), texts.copy()
        with_none[::9], with_nan[::9] = None, np.nan
        numbers = np.array([3.0, 1.0, 1.0, 2.5, 2.5, 2.5, 7.0, 7.0, 7.0, 7.0] * 6)
        number_nan = numbers.copy()
        number_nan[::9] = np.nan
        encoders = [
            OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            OneHotEncoder(handle_unknown="ignore", drop="first", sparse_output=False),
            OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=8, sparse_output=False),
            OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, drop="first", sparse_output=False),
            OneHotEncoder(handle_unknown="warn", min_frequency=8, sparse_output=False),
            OneHotEncoder(handle_unknown="warn", sparse_output=False),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-2),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=3),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=15, encoded_missing_value=-2),
            TargetEncoder(target_type="binary", random_state=0),
            TargetEncoder(target_type="continuous", random_state=0),
            TargetEncoder(target_type="multiclass", random_state=0),
        ]
        for encoder in encoders:
            self.check_categories(encoder, texts, ["a", "b", "c", "d", "new", ""])
            self.check_categories(encoder, with_none, ["a", "b", "c", "d", "new", None])
            self.check_categories(encoder, with_nan, ["a", "b", "c", "d", "new", np.nan])
            self.check_categories(encoder, numbers, [1.0, 2.5, 3.0, 7.0, 2.0, -0.0])
            self.check_categories(encoder, number_nan, [1.0, 2.5, 3.0, 7.0, 2.0, np.nan])

    def test_a_missing_indicator_guards_what_was_never_missing(self):
        X, y = frame()
        X.loc[::7, "a"] = np.nan
        for missing, rows in [
            (np.nan, {"a": [np.nan, 1.0, 1.0], "b": [1.0, np.nan, 1.0]}),
            (-1, {"a": [-1.0, 1.0, 1.0], "b": [1.0, -1.0, 1.0]}),
        ]:
            seen = X[["a", "b"]].fillna(-1) if missing == -1 else X[["a", "b"]].astype(float)
            for errors, guarded in [(True, [False, True, False]), (False, [False] * 3)]:
                indicate = MissingIndicator(missing_values=missing, error_on_new=errors)
                pipeline = make_pipeline(indicate, LogisticRegression()).fit(seen, y)
                found = self.answers(pipeline, seen, pd.DataFrame(rows))
                self.assertEqual(np.isnan(found).tolist(), guarded, (missing, errors))

    def test_xgboost_s_own_mark_of_a_missing_value(self):
        try:
            from xgboost import XGBClassifier, XGBRegressor
        except ImportError:
            self.skipTest("xgboost is not installed")
        X, y = frame()
        rng = np.random.default_rng(2)
        for mark in [-999, 0, 0.1]:
            seen = X[["a", "b"]].astype(float)
            seen["a"] = seen["a"].where(rng.random(len(X)) < 0.7, mark)
            model = XGBClassifier(n_estimators=5, missing=mark).fit(seen, np.where(seen["a"] == mark, 1, y))
            rows = pd.DataFrame({"a": [mark, np.float32(mark), np.nan, -0.0, 1.0, -1.0], "b": [2.0] * 6}, dtype=float)
            # Without a marked row in X, which would tell.
            found = self.answers(model, X[["a", "b"]], rows)
            np.testing.assert_allclose(found, model.predict_proba(rows)[:, 1], rtol=1e-6, err_msg=repr(mark))
        self.refused(XGBRegressor(n_estimators=2, missing=np.inf).fit(X[["a"]], y), X[["a"]], "`missing` is inf")
        table = pd.DataFrame({"c": X["c"].astype("category")})
        categories = XGBRegressor(n_estimators=2, missing=0, enable_categorical=True).fit(table, y)
        self.refused(categories, table, "`missing` is 0, which a code of a category can be")

    def test_boosters_that_answer_otherwise_are_named(self):
        try:
            from lightgbm import LGBMRegressor
            from xgboost import XGBRegressor
        except ImportError:
            self.skipTest("xgboost and lightgbm are not installed")
        X, y = frame()
        X = X[["a", "b"]]
        for model, target, expected in [
            (LGBMRegressor(n_estimators=2, linear_tree=True, verbose=-1), y, "linear trees"),
            (XGBRegressor(n_estimators=2, multi_strategy="multi_output_tree"), X, "leaves of several values"),
            (XGBRegressor(n_estimators=2, objective="binary:hinge"), y, "'binary:hinge' predicts 0 or 1"),
        ]:
            self.refused(model.fit(X, target), X, expected)

    def test_imputers_of_texts_and_of_other_values_than_nan(self):
        X, y = frame()
        X.loc[::7, "c"], X.loc[::5, "b"] = "?", -1
        texts = SimpleImputer(missing_values="?", strategy="constant", fill_value="none", add_indicator=True)
        prepare = make_column_transformer(
            (make_pipeline(texts, OneHotEncoder(handle_unknown="ignore")), ["c"]),
            (SimpleImputer(missing_values=-1, strategy="median", add_indicator=True), ["b"]),
            (FeatureUnion([("missing", MissingIndicator(missing_values=-1)), ("above", Binarizer(threshold=0.5))]), ["b", "a"]),
        )
        pipeline = make_pipeline(prepare, LogisticRegression()).fit(X, y)
        form, _ = self.export(pipeline, X)
        self.assertEqual(form["inputs"][2]["symbols"], ["?", "none", "rare", "x", "y", "z"])

    def test_several_classes_are_called_by_their_labels(self):
        X, y = frame()
        labels = np.where(X["a"] > 1, "hot", np.where(y == 1, "warm", "cold"))
        _, told = self.export(LogisticRegression().fit(X[["a", "b"]], labels), X[["a", "b"]])
        self.assertEqual(told.outputs["probability"], ["class_cold", "class_hot", "class_warm"])


if __name__ == "__main__":
    unittest.main()
