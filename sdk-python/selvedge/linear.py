"""Linear models and networks. Owns their links."""

import numpy as np

from .convert import Outcome, binary, predictor
from .tape import Unsupported


def decision(tape, fitted, columns):
    """A column for each row of `coef_`."""
    coef = np.atleast_2d(np.asarray(fitted.coef_))
    return tape.linear(columns, coef, np.asarray(fitted.intercept_))


def margins(fitted, margin, final=None):
    return Outcome(margin, final, fitted.classes_, ("decision_function", fitted.decision_function), decides=True)


@predictor("LogisticRegression", "LogisticRegressionCV")
def logistic_regression(tape, fitted, columns):
    is_binary = binary(fitted)
    margin = decision(tape, fitted, columns)
    told = getattr(fitted, "multi_class", "deprecated")
    one_vs_rest = told == "ovr" or (told != "multinomial" and (is_binary or fitted.solver == "liblinear"))
    if one_vs_rest:
        return margins(fitted, margin, one_against_rest(tape, margin))
    if is_binary:
        # The softmax of (-d, d).
        return margins(fitted, margin, tape.apply(tape.scale(margin, multiply=[2.0]), "sigmoid"))
    return margins(fitted, margin, tape.softmax(margin))


def one_against_rest(tape, margin):
    each = tape.apply(margin, "sigmoid")
    return each if len(each) == 1 else tape.each("normalize", each)


@predictor("SGDClassifier")
def sgd_classifier(tape, fitted, columns):
    binary(fitted)
    margin = decision(tape, fitted, columns)
    if fitted.loss == "log_loss":
        return margins(fitted, margin, one_against_rest(tape, margin))
    if fitted.loss == "modified_huber":
        clipped = tape.each("clip", margin, low=-1.0, high=1.0)
        count = len(clipped)
        each = tape.scale(tape.scale(clipped, add=[1.0] * count), divide=[2.0] * count)
        return margins(fitted, margin, each if count == 1 else tape.each("normalize", each))
    return margins(fitted, margin)


@predictor("RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron", "PassiveAggressiveClassifier",
           "LinearDiscriminantAnalysis")  # fmt: skip
def linear_classifier(tape, fitted, columns):
    is_binary = binary(fitted)
    margin = decision(tape, fitted, columns)
    if type(fitted).__name__ != "LinearDiscriminantAnalysis":
        return margins(fitted, margin)
    return margins(fitted, margin, tape.apply(margin, "sigmoid") if is_binary else tape.softmax(margin))


@predictor("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "SGDRegressor",
           "HuberRegressor", "BayesianRidge", "ARDRegression", "Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC",
           "OrthogonalMatchingPursuit", "TheilSenRegressor", "QuantileRegressor", "LinearSVR",
           "PassiveAggressiveRegressor", "MultiTaskLasso", "MultiTaskElasticNet")  # fmt: skip
def linear_regression(tape, fitted, columns):
    return Outcome(decision(tape, fitted, columns))


@predictor("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
def generalized(tape, fitted, columns):
    margin = decision(tape, fitted, columns)
    is_identity = type(fitted).__name__ == "TweedieRegressor" and (
        fitted.link == "identity" or (fitted.link == "auto" and fitted.power <= 0)
    )
    return Outcome(margin) if is_identity else Outcome(margin, tape.apply(margin, "exp"))


@predictor("MLPClassifier", "MLPRegressor")
def network(tape, fitted, columns):
    if hasattr(fitted, "classes_"):
        binary(fitted)
        if fitted.out_activation_ == "logistic" and len(fitted.intercepts_[-1]) > 1:
            raise Unsupported("a classifier of several labels is not supported")
    for i, (weights, intercept) in enumerate(zip(fitted.coefs_, fitted.intercepts_)):
        columns = tape.linear(columns, weights.T, intercept)
        if i + 1 < len(fitted.coefs_):
            columns = activate(tape, columns, fitted.activation)
    if not hasattr(fitted, "classes_"):
        is_linked = fitted.out_activation_ != "identity"
        return Outcome(columns, activate(tape, columns, fitted.out_activation_) if is_linked else None)
    return Outcome(None, activate(tape, columns, fitted.out_activation_), fitted.classes_)


def activate(tape, columns, activation):
    if activation == "identity":
        return columns
    if activation == "softmax":
        return tape.softmax(columns)
    return tape.apply(columns, {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid", "exp": "exp"}[activation])
