"""What one prediction costs the libraries: speed.py FOLDER. model.json is an XGBoost model, rows.f64 rows of its features;
times in microseconds and the margins of the rows are printed as JSON. One thread each, arguments prepared beforehand."""

import ctypes
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto, helper

SECONDS = 1.0
MODES = ["BRANCH_LT", "LEAF"]


def median_us(call):
    """The median time of a call, over a second or so."""
    for _ in range(20):
        call()
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return float(np.median(times)) / 1e3


def of_xgboost(file, rows):
    """The C API on dense rows in place: a call that does nothing is taken off, it is what calling C from Python costs."""
    booster = xgboost.Booster(model_file=str(file))
    booster.set_param({"nthread": 1})
    lib = xgboost.core._LIB
    config = json.dumps(
        {"type": 1, "training": False, "iteration_begin": 0, "iteration_end": 0, "missing": float("nan"), "strict_shape": False, "cache_id": 0}
    ).encode()
    shape, dims, out = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64(), ctypes.POINTER(ctypes.c_float)()
    outs = ctypes.byref(shape), ctypes.byref(dims), ctypes.byref(out)

    def calling(rows):
        interface = dict(rows.__array_interface__, stream=None)
        interface.pop("stream")
        array = json.dumps({**interface, "strides": None}).encode()
        return lambda: lib.XGBoosterPredictFromDense(booster.handle, array, config, None, *outs)

    one, all_rows = calling(rows[:1]), calling(rows)
    if all_rows() != 0:
        raise RuntimeError(lib.XGBGetLastError())
    margins = np.ctypeslib.as_array(out, (len(rows),)).copy()
    numbers = [ctypes.byref(ctypes.c_int()) for _ in range(3)]
    nothing = median_us(lambda: lib.XGBoostVersion(*numbers))
    return margins, median_us(one) - nothing, median_us(all_rows) - nothing


def as_onnx(file, features):
    """The same trees as onnxruntime's own operator has them."""
    learner = json.loads(Path(file).read_text())["learner"]
    trees = learner["gradient_booster"]["model"]["trees"]
    nodes = {name: [] for name in ["treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing_value_tracks_true"]}
    leaves = {name: [] for name in ["treeids", "nodeids", "ids", "weights"]}
    for tree_id, tree in enumerate(trees):
        for node, left in enumerate(tree["left_children"]):
            is_leaf = left == -1
            value = tree["split_conditions"][node]
            row = [tree_id, node, tree["split_indices"][node], MODES[is_leaf], 0.0 if is_leaf else value]
            row += [0, 0, 0] if is_leaf else [left, tree["right_children"][node], int(tree["default_left"][node])]
            for name, cell in zip(nodes, row, strict=True):
                nodes[name].append(cell)
            if is_leaf:
                for name, cell in zip(leaves, [tree_id, node, 0, value], strict=True):
                    leaves[name].append(cell)
    attributes = {f"nodes_{name}": cells for name, cells in nodes.items()} | {f"target_{name}": cells for name, cells in leaves.items()}
    ensemble = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **attributes)
    graph = helper.make_graph(
        [ensemble],
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def of_onnxruntime(file, rows):
    model = as_onnx(file, rows.shape[1])
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def calling(rows):
        binding = session.io_binding()
        binding.bind_cpu_input("x", rows)
        binding.bind_output("y")
        return binding, lambda: session.run_with_iobinding(binding)

    (_, one), (binding, all_rows) = calling(rows[:1]), calling(rows)
    all_rows()
    return binding.copy_outputs_to_cpu()[0][:, 0], median_us(one), median_us(all_rows)


def main(folder):
    file = folder / "model.json"
    features = int(json.loads(file.read_text())["learner"]["learner_model_param"]["num_feature"])
    rows = np.fromfile(folder / "rows.f64").reshape(-1, features).astype(np.float32)
    margins, xgboost_one, xgboost_batch = of_xgboost(file, rows)
    sums, onnxruntime_one, onnxruntime_batch = of_onnxruntime(file, rows)
    answer = {
        "margins": [float(margin) for margin in margins],
        "sums": [float(total) for total in sums],
        "xgboost_us": [xgboost_one, xgboost_batch],
        "onnxruntime_us": [onnxruntime_one, onnxruntime_batch],
    }
    print(json.dumps(answer))


main(Path(sys.argv[1]))
