"""Models on top of models: calibrated classifiers, votes, transformed targets, thresholds. Owns how their parts are put
together."""

import numpy as np

from .convert import Outcome, binary, predict, predictor
from .preprocess import apply_inverse
from .tape import Unsupported, at


@predictor("CalibratedClassifierCV")
def calibrated_classifier(tape, fitted, columns):
    is_binary = binary(fitted)
    members = []
    for i, member in enumerate(fitted.calibrated_classifiers_):
        with at(f"calibrated_classifiers_[{i}]"):
            members.append(calibrated(tape, member, columns, is_binary))
    return Outcome(None, mean(tape, members), fitted.classes_)


def mean(tape, members, weights=None):
    """The (weighted) mean of probabilities, class by class."""
    if weights is not None:
        total = float(sum(weights))
        members = [tape.scale(one, multiply=[float(w)] * len(one)) for one, w in zip(members, weights)]
    else:
        total = float(len(members))
    sums = tape.sums([list(of_class) for of_class in zip(*members)])
    return tape.scale(sums, divide=[total] * len(sums))


def calibrated(tape, member, columns, is_binary):
    with at("estimator"):
        outcome = predict(tape, member.estimator, columns)
    # As scikit-learn chooses: the decision function where there is one.
    responses = outcome.margin if outcome.decides else outcome.final
    if responses is None:
        raise Unsupported(f"{type(member.estimator).__name__} gives neither a decision function nor probabilities")
    if len(member.estimator.classes_) != len(member.classes):
        raise Unsupported("a part of the cross-validation did not see every class; calibrate with fewer, larger parts")
    made = [calibrator(tape, one, response) for one, response in zip(member.calibrators, responses)]
    each = [column for columns in made for column in columns]
    return each if is_binary else tape.each("normalize", each)


def calibrator(tape, fitted, response):
    name = type(fitted).__name__
    if name == "_SigmoidCalibration":
        linear = tape.scale([response], multiply=[-float(fitted.a_)], add=[-float(fitted.b_)])
        return tape.apply(linear, "sigmoid")
    if name == "IsotonicRegression":
        x, y = np.asarray(fitted.X_thresholds_, dtype=np.float64), np.asarray(fitted.y_thresholds_, dtype=np.float64)
        return tape.each("interpolate", [response], x=x, y=y)
    raise Unsupported(f"the calibration {name.strip('_')} is not supported; supported are sigmoid and isotonic")


@predictor("VotingClassifier")
def voting_classifier(tape, fitted, columns):
    binary(fitted)
    if fitted.voting != "soft":
        raise Unsupported("a vote of labels gives no probabilities; use voting='soft'")
    members = []
    for name, member in named(fitted):
        with at(f"estimator {name!r}"):
            outcome = predict(tape, member, columns)
            if outcome.final is None:
                raise Unsupported(f"{type(member).__name__} gives no probabilities")
            members.append(outcome.final)
    return Outcome(None, mean(tape, members, fitted._weights_not_none), fitted.classes_)


@predictor("VotingRegressor")
def voting_regressor(tape, fitted, columns):
    members = []
    for name, member in named(fitted):
        with at(f"estimator {name!r}"):
            outcome = predict(tape, member, columns)
            members.append(outcome.final or outcome.margin)
    return Outcome(mean(tape, members, fitted._weights_not_none))


def named(fitted):
    names = [name for name, one in fitted.estimators if not (isinstance(one, str) and one == "drop")]
    return zip(names, fitted.estimators_)


@predictor("TransformedTargetRegressor")
def transformed_target(tape, fitted, columns):
    with at("regressor_"):
        outcome = predict(tape, fitted.regressor_, columns)
    inner = outcome.final or outcome.margin
    # Of one target the transformer saw a single column, or the function itself.
    found = apply_inverse(tape, fitted.transformer_, inner)
    return Outcome(inner, found) if found != inner else Outcome(inner)


@predictor("FixedThresholdClassifier", "TunedThresholdClassifierCV")
def threshold(tape, fitted, columns):
    # The threshold decides labels; probabilities are the model's own.
    with at("estimator_"):
        return predict(tape, fitted.estimator_, columns)
