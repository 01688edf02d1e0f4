"""Writes small networks as torch.onnx.export writes them, and what onnxruntime answers: `onnx_models.py OUT SEED N`.

The TorchScript exporter names tensors by path and node, folds what it can, and writes shapes by hand where the batch is
dynamic; the newer one names nodes `node_linear`, keeps weights as given and transposes where the code does. Both are spelled
here by onnx.helper: the real exporters' package is too large for a proof.
"""

import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from rows import write


class Network:
    """A graph in the making; `raw` says in which of the two ways weights are stored."""

    def __init__(self, rng, opset, producer, raw=True, batch="batch"):
        self.rng, self.opset, self.producer, self.raw, self.batch = rng, opset, producer, raw, batch
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.made = 0

    def input(self, name, *dims):
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch, *dims]))
        return name

    def output(self, name, *dims):
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [self.batch, *dims]))

    def weight(self, name, values):
        values = np.asarray(values)
        if self.raw or values.dtype != np.float32:
            self.weights.append(numpy_helper.from_array(values, name))
        else:
            self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.flatten().tolist()))
        return name

    def random(self, name, *dims):
        scale = 1 / np.sqrt(dims[-1])
        return self.weight(name, self.rng.uniform(-scale, scale, dims).astype(np.float32))

    def node(self, op, inputs, output=None, **attributes):
        self.made += 1
        output = output or f"/{op}_output_{self.made}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"/{op}_{self.made}", **attributes))
        return output

    def gemm(self, x, name, wide, out, output=None):
        weights = [self.random(f"{name}.weight", out, wide), self.random(f"{name}.bias", out)]
        return self.node("Gemm", [x, *weights], output, alpha=1.0, beta=1.0, transB=1)

    def matmul(self, x, name, wide, out, output=None):
        """What an exporter writes for a linear layer over more than two dimensions, or without folding."""
        product = self.node("MatMul", [x, self.random(f"onnx::MatMul_{self.made}", wide, out)])
        return self.node("Add", [self.random(f"{name}.bias", out), product], output)

    def norm(self, x, name, wide):
        rng = self.rng
        parts = [
            self.weight(f"{name}.weight", rng.uniform(0.5, 1.5, wide).astype(np.float32)),
            self.weight(f"{name}.bias", rng.normal(0, 0.3, wide).astype(np.float32)),
            self.weight(f"{name}.running_mean", rng.normal(0, 0.5, wide).astype(np.float32)),
            self.weight(f"{name}.running_var", rng.uniform(0.2, 2, wide).astype(np.float32)),
        ]
        mode = {"training_mode": 0} if self.opset >= 14 else {}
        return self.node("BatchNormalization", [x, *parts], epsilon=1e-5, momentum=0.9, **mode)

    def axes(self, op, x, axes, output=None):
        """Squeeze and Unsqueeze, whose axes became an input."""
        if self.opset < 13:
            return self.node(op, [x], output, axes=axes)
        return self.node(op, [x, self.weight(f"axes_{self.made}", np.array(axes, dtype=np.int64))], output)

    def constant(self, values):
        return self.node("Constant", [], value=numpy_helper.from_array(np.asarray(values)))

    def model(self):
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.weights)
        version = {"pytorch": "2.9.1"}.get(self.producer, "1.0")
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name=self.producer, producer_version=version)
        model.ir_version = 7 if self.opset < 16 else 10
        onnx.checker.check_model(model, full_check=True)
        return model


def mlp(rng, opset, raw):
    net = Network(rng, opset, "pytorch", raw)
    x = net.input("x", 12)
    x = net.node("Relu", [net.gemm(x, "0", 12, 32)])
    x = net.node("Relu", [net.gemm(x, "2", 32, 16)])
    net.node("Sigmoid", [net.gemm(x, "4", 16, 1)], "y")
    net.output("y", 1)
    return net


def batch_norm(rng, opset):
    net = Network(rng, opset, "pytorch")
    x = net.norm(net.input("features", 20), "norm", 20)
    for layer in range(3):
        x = net.gemm(x, f"{layer}.linear", 20, 20)
        x = net.node("Relu", [net.norm(x, f"{layer}.norm", 20)])
    net.gemm(x, "head", 20, 1, "logit")
    net.output("logit", 1)
    return net


def wide_and_deep(rng, opset):
    net = Network(rng, opset, "pytorch")
    user, item, wide = net.input("user", 8), net.input("item", 6), net.input("wide", 10)
    deep = net.node("Concat", [user, item], axis=1)
    deep = net.node("Relu", [net.gemm(deep, "deep.0", 14, 24)])
    deep = net.gemm(deep, "deep.2", 24, 1)
    logit = net.node("Add", [net.gemm(wide, "wide", 10, 1), deep])
    net.axes("Squeeze", net.node("Sigmoid", [logit]), [1], "probability")
    net.output("probability")
    return net


def softmax_head(rng, opset):
    net = Network(rng, opset, "pytorch", raw=False)
    x = net.node("Tanh", [net.gemm(net.input("input", 9), "0", 9, 15)])
    net.node("Softmax", [net.gemm(x, "2", 15, 4)], "output", **({"axis": 1} if opset != 13 else {}))
    net.output("output", 4)
    return net


def normalised_inside(rng, opset):
    """Raw shop features, scaled by the network itself."""
    net = Network(rng, opset, "pytorch")
    mean = net.weight("mean", rng.normal(0, 1, (1, 7)).astype(np.float32))
    deviation = net.weight("std", rng.uniform(0.5, 3, 7).astype(np.float32))
    x = net.node("Div", [net.node("Sub", [net.input("x", 7), mean]), deviation])
    x = net.node("Tanh", [net.gemm(x, "a", 7, 12)])
    x = net.node("Mul", [net.gemm(x, "b", 12, 3), net.constant(np.float32(0.5))])
    net.node("Sub", [net.constant(np.float32(1)), x], "scores")
    net.output("scores", 3)
    return net


def residual(rng, opset):
    net = Network(rng, opset, "pytorch")
    x = net.input("x", 16)
    for block in range(3):
        inner = net.node("Relu", [net.gemm(x, f"{block}.a", 16, 16)])
        x = net.node("Add", [x, net.gemm(inner, f"{block}.b", 16, 16)])
    net.gemm(x, "head", 16, 1, "value")
    net.output("value", 1)
    return net


def gated(rng, opset):
    """A gate multiplies, a ratio divides two tensors."""
    net = Network(rng, opset, "pytorch")
    x = net.input("x", 10)
    gate = net.node("Sigmoid", [net.gemm(x, "gate", 10, 8)])
    x = net.node("Mul", [gate, net.node("Tanh", [net.gemm(x, "value", 10, 8)])])
    shifted = net.node("Add", [gate, net.constant(np.float32(1))])
    x = net.node("Sub", [net.node("Div", [x, shifted]), gate])
    net.gemm(x, "head", 8, 2, "both")
    net.output("both", 2)
    return net


def dynamo(rng, opset):
    """Weights as the code has them, transposed in the graph; dropout left in as a node; identities."""
    net = Network(rng, opset, "pytorch", batch="s0")
    x = net.node("Identity", [net.input("x", 11)])
    weight = net.node("Transpose", [net.random("layers.0.weight", 13, 11)], "val_0", perm=[1, 0])
    x = net.node("Add", [net.node("MatMul", [x, weight]), net.random("layers.0.bias", 13)], "addmm")
    x = net.node("Relu", [x], "relu")
    if opset >= 12:
        off = net.weight("val_1", np.array(False))
        x = net.node("Dropout", [x, net.weight("val_2", np.float32(0.1)), off], "dropout")
    else:
        x = net.node("Dropout", [x], "dropout", ratio=0.1)
    net.gemm(x, "layers.3", 13, 1, "linear_1")
    net.output("linear_1", 1)
    return net


def dynamic_view(rng, opset):
    """x.view(x.size(0), -1) as the TorchScript exporter spells it, over a sequence of vectors."""
    net = Network(rng, opset, "pytorch")
    x = net.node("Relu", [net.matmul(net.input("steps", 4, 5), "each", 5, 6)])
    batch = net.node("Gather", [net.node("Shape", [x]), net.constant(np.int64(0))], axis=0)
    batch = net.axes("Unsqueeze", batch, [0])
    rest = net.constant(np.array([-1], dtype=np.int64))
    x = net.node("Reshape", [x, net.node("Concat", [batch, rest], axis=0)])
    net.node("Sigmoid", [net.gemm(x, "head", 24, 1)], "y")
    net.output("y", 1)
    return net


def shapes(rng, opset):
    """Every operator that only moves numbers, and a softmax over the last of three dimensions."""
    net = Network(rng, opset, "pytorch")
    x = net.axes("Unsqueeze", net.input("x", 12), [1])
    x = net.node("Reshape", [x, net.constant(np.array([0, 3, 4], dtype=np.int64))])
    x = net.node("Concat", [x, x], axis=2)
    if opset >= 13:
        x = net.node("Softmax", [x], axis=-1)
    x = net.node("Flatten", [x], axis=1)
    net.gemm(x, "head", 24, 2, "out")
    net.output("out", 2)
    return net


def factors(rng, opset):
    """Gemm with factors, a bias of one number, and weights that are not transposed; a batch of one, as exported by default."""
    net = Network(rng, opset, "other", raw=False, batch=1)
    bias = net.weight("c", np.array([0.7], dtype=np.float32))
    x = net.node("Gemm", [net.input("x", 6), net.random("b", 6, 5), bias], alpha=0.25, beta=-1.5)
    x = net.node("Gemm", [x, net.random("d", 5, 5)], alpha=2.0)
    x = net.node("MatMul", [x, net.random("v", 5)])
    net.node("Reshape", [x, net.constant(np.array([1, 1], dtype=np.int64))], "y")
    net.output("y", 1)
    return net


def two_outputs(rng, opset):
    net = Network(rng, opset, "pytorch")
    x = net.node("Relu", [net.gemm(net.input("x", 8), "body", 8, 12)])
    net.node("Sigmoid", [net.gemm(x, "click", 12, 1)], "click")
    net.gemm(x, "basket", 12, 1, "basket")
    net.output("click", 1)
    net.output("basket", 1)
    return net


def networks(rng):
    yield "mlp-11", mlp(rng, 11, True)
    yield "mlp-17-floats", mlp(rng, 17, False)
    yield "batch-norm-13", batch_norm(rng, 13)
    yield "batch-norm-18", batch_norm(rng, 18)
    yield "wide-and-deep-12", wide_and_deep(rng, 12)
    yield "wide-and-deep-17", wide_and_deep(rng, 17)
    yield "softmax-head-11", softmax_head(rng, 11)
    yield "softmax-head-13", softmax_head(rng, 13)
    yield "softmax-head-20", softmax_head(rng, 20)
    yield "normalised-inside-14", normalised_inside(rng, 14)
    yield "residual-15", residual(rng, 15)
    yield "gated-16", gated(rng, 16)
    yield "dynamo-11", dynamo(rng, 11)
    yield "dynamo-20", dynamo(rng, 20)
    yield "dynamo-23", dynamo(rng, 23)
    yield "dynamic-view-12", dynamic_view(rng, 12)
    yield "dynamic-view-17", dynamic_view(rng, 17)
    yield "shapes-12", shapes(rng, 12)
    yield "shapes-19", shapes(rng, 19)
    yield "factors-17", factors(rng, 17)
    yield "two-outputs-18", two_outputs(rng, 18)


def rows_for(net, rng, n):
    """Half ordinary rows, half with zeros of both signs, small, large and repeated numbers."""
    widths = [int(np.prod([dim.dim_value for dim in port.type.tensor_type.shape.dim[1:]])) for port in net.inputs]
    rows = rng.normal(0, 1, (n, sum(widths)))
    hard = rows[n // 2 :]
    special = np.array([0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 4.0, -4.0, 0.1, 1 / 3])
    place = rng.random(hard.shape) < 0.5
    hard[place] = special[rng.integers(0, len(special), int(place.sum()))]
    return rows, np.cumsum(widths)[:-1]


def answers(net, model, rows, cuts):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    parts = [part.astype(np.float32) for part in np.split(rows, cuts, axis=1)]
    shaped = []
    for part, port in zip(parts, net.inputs):
        shaped.append(part.reshape(len(part), *[dim.dim_value for dim in port.type.tensor_type.shape.dim[1:]]))
    run = lambda at: session.run(None, {port.name: part[at] for port, part in zip(net.inputs, shaped)})
    if net.batch == 1:
        batches = [run(slice(row, row + 1)) for row in range(len(rows))]
        outputs = [np.concatenate(column) for column in zip(*batches)]
    else:
        outputs = run(slice(None))
    return np.column_stack([output.reshape(len(rows), -1) for output in outputs]).astype(np.float64)


def main():
    out, seed, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = np.random.default_rng(seed)
    for name, net in networks(rng):
        model = net.model()
        folder = os.path.join(out, name)
        os.makedirs(folder, exist_ok=True)
        onnx.save(model, os.path.join(folder, "model.onnx"))
        rows, cuts = rows_for(net, rng, n)
        linked = model.graph.node[-1].op_type in ("Sigmoid", "Softmax") or name.startswith(("wide", "two"))
        found = answers(net, model, rows, cuts)
        write(folder, rows, None if linked else found, found if linked else None)


if __name__ == "__main__":
    main()
