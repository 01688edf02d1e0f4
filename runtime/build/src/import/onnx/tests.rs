//! Graphs that cannot become a module, and what is said of them; graphs that can are compared with their runtime elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::{any, proptest};

use super::read;
use crate::pipeline::Pipeline;

// === a writer of the wire format ===

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn int(number: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3, &mut out);
    varint(value as u64, &mut out);
    out
}

fn bytes(number: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(value.as_ref().len() as u64, &mut out);
    out.extend_from_slice(value.as_ref());
    out
}

fn tensor(name: &str, data_type: i64, dims: &[i64], raw: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| int(1, *dim)).collect();
    [dims, int(2, data_type), bytes(8, name), bytes(9, raw)].concat()
}

fn weights(name: &str, dims: &[i64], value: f32) -> Vec<u8> {
    let count = dims.iter().product::<i64>() as usize;
    bytes(5, tensor(name, 1, dims, &value.to_le_bytes().repeat(count)))
}

fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes(5, tensor(name, 7, &[values.len() as i64], &raw))
}

/// An input or output of floats: its batch is a name (0) or a number.
fn port(number: u64, name: &str, data_type: i64, dims: &[i64]) -> Vec<u8> {
    let dim = |dim: &i64| bytes(1, if *dim == 0 { bytes(2, "batch") } else { int(1, *dim) });
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    bytes(number, [bytes(1, name), bytes(2, bytes(1, [int(1, data_type), bytes(2, shape)].concat()))].concat())
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    let attribute = |(name, value): &(&str, i64)| bytes(5, [bytes(1, name), int(3, *value)].concat());
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    bytes(1, [inputs, bytes(2, output), bytes(3, format!("the {op}")), bytes(4, op), attributes].concat())
}

fn model(opset: i64, graph: &[Vec<u8>]) -> Vec<u8> {
    [int(1, 8), bytes(2, "pytorch"), bytes(3, "2.9.1"), bytes(7, graph.concat()), bytes(8, int(2, opset))].concat()
}

/// A graph with the input `x` of four numbers, weights `w` [4, 2], `v` [2], `row` [4], `many` [3, 4], and the output `y`.
fn graph(nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut graph = vec![port(11, "x", 1, &[0, 4]), port(12, "y", 1, &[0, 1])];
    graph.extend([weights("w", &[4, 2], 0.5), weights("v", &[2], 1.0), weights("row", &[4], 2.0)]);
    graph.extend([weights("many", &[3, 4], 1.0), weights("none", &[4], 0.0), integers("shape", &[-1, 2, 2])]);
    graph.extend([integers("flat", &[4, -1]), integers("first", &[0]), integers("axis_1", &[1])]);
    graph.extend_from_slice(nodes);
    model(17, &graph)
}

#[track_caller]
fn check(file: &[u8], expected: &str) {
    let error = read(file, None).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}; expected {expected:?}");
}

/// A graph of these nodes is refused at the last one.
#[track_caller]
fn refused(nodes: &[Vec<u8>], expected: &str) {
    check(&graph(nodes), expected);
}

/// The names of the inputs, of the margins and of the probabilities.
fn names(pipeline: &Pipeline) -> [Vec<&str>; 3] {
    let outputs = &pipeline.outputs;
    [
        pipeline.inputs.iter().map(|input| input.name.as_str()).collect(),
        outputs.margin.iter().map(|answer| answer.name.as_str()).collect(),
        outputs.probability.iter().map(|answer| answer.name.as_str()).collect(),
    ]
}

#[test]
fn inputs_and_outputs_are_named() {
    let gemm = node("Gemm", &["x", "w", "v"], "z", &[]);
    let file = graph(&[gemm.clone(), node("Softmax", &["z"], "y", &[])]);
    let pipeline = read(&file, None).unwrap();
    let classes = vec!["class_0", "class_1"];
    assert_eq!(names(&pipeline), [vec!["x_0", "x_1", "x_2", "x_3"], classes.clone(), classes]);
    assert_eq!(pipeline.made_by.as_deref(), Some("pytorch 2.9.1"));

    let given = |given: &[&str]| read(&file, Some(&given.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()));
    assert_eq!(names(&given(&["a", "b", "c", "d"]).unwrap())[0], ["a", "b", "c", "d"]);
    let vector = given(&["user.taste"]).unwrap();
    assert_eq!((vector.inputs[0].name.as_str(), vector.inputs[0].len), ("user.taste", Some(4)));
    assert!(given(&["a", "b"]).unwrap_err().to_string().contains("2 feature names were given, but the model has 4"));

    let plain = read(&graph(&[node("Gemm", &["x", "w", "v"], "y", &[])]), None).unwrap();
    assert_eq!(names(&plain)[1..], [vec!["y_0", "y_1"], vec![]]);
    let one =
        read(&graph(&[node("MatMul", &["x", "row"], "z", &[]), node("Sigmoid", &["z"], "y", &[])]), None).unwrap();
    assert_eq!(names(&one)[1..], [vec!["score"], vec!["score"]]);
    assert_ne!(one.outputs.margin, one.outputs.probability);
}

#[test]
fn an_operator_without_a_meaning_is_told_with_its_node() {
    refused(&[node("LSTM", &["x"], "y", &[])], "graph.node[0] \"the LSTM\" (LSTM): the operator is not supported");
    let foreign = bytes(1, [bytes(1, "x"), bytes(2, "y"), bytes(4, "FusedGemm"), bytes(7, "com.microsoft")].concat());
    refused(&[foreign], "graph.node[0] \"y\" (FusedGemm): an operator of \"com.microsoft\"");
    refused(&[node("Relu", &["z"], "y", &[])], "it reads \"z\", which no node before it makes");
    refused(&[node("Relu", &[""], "y", &[])], "its input 0 is left out");
    refused(&[node("Relu", &["x"], "x", &[])], "its output \"x\" stands twice");
    refused(&[node("Relu", &["x"], "z", &[])], "graph.output \"y\": it does not depend on an input");
    refused(&[node("Relu", &["row"], "y", &[])], "its input 0 is a constant");
}

#[test]
fn what_mixes_rows_is_refused() {
    refused(&[node("Softmax", &["x"], "y", &[("axis", 0)])], "it normalises over the batch");
    refused(&[node("Concat", &["x", "x"], "y", &[("axis", 0)])], "it joins the rows of batches");
    refused(&[node("Reshape", &["x", "flat"], "y", &[])], "the shape [4, -1] does not keep the batch first");
    refused(&[node("Reshape", &["x", "axis_1"], "y", &[])], "the shape [1] does not keep the batch first");
    refused(&[node("Flatten", &["x"], "y", &[("axis", 0)])], "axis 0 does not keep the rows");
    refused(&[node("Squeeze", &["x", "first"], "y", &[])], "it removes the batch");
    refused(&[node("Unsqueeze", &["x", "first"], "y", &[])], "it puts a dimension before the batch");
    refused(&[node("Transpose", &["x"], "y", &[])], "only constants can be transposed");
    refused(&[node("Add", &["x", "many"], "y", &[])], "different numbers for different rows");
    refused(&[node("Gemm", &["x", "w", "v"], "y", &[("transA", 1)])], "transA");
    let mixed = [node("MatMul", &["x", "row"], "z", &[]), node("Add", &["z", "x"], "y", &[])];
    refused(&mixed, "tensors of 1 and 2 dimensions would mix the rows");
}

#[test]
fn shapes_that_do_not_fit_are_told() {
    refused(&[node("Add", &["x", "v"], "y", &[])], "the shapes [4] and [2] do not fit");
    refused(&[node("MatMul", &["x", "v"], "y", &[])], "weights for 2 features and 1 outputs, its input has Some(4)");
    refused(&[node("Gemm", &["x", "w", "row"], "y", &[])], "the shapes [4] and [2] do not fit");
    refused(&[node("Gemm", &["x", "x"], "y", &[])], "its input 1 depends on the graph's inputs");
    refused(&[node("Div", &["x", "none"], "y", &[])], "a division by 0");
    refused(&[node("Squeeze", &["x", "axis_1"], "y", &[])], "axis 1 has 4 numbers");
    refused(&[node("Softmax", &["x"], "y", &[("axis", 5)])], "axis 5 of a tensor with 2 dimensions");
    refused(&[node("Softmax", &["x"], "y", &[("axis", i64::MIN)])], "axis -9223372036854775808");
    let wide = [node("Reshape", &["x", "shape"], "z", &[]), node("Softmax", &["z"], "y", &[("axis", 1)])];
    refused(&wide, "axis 1 is not the last one");
    let norm = node("BatchNormalization", &["x", "row", "row", "v", "row"], "y", &[]);
    refused(&[norm], "its input 3 has the shape [2], for 4 channels");
    let training = node("BatchNormalization", &["x", "row", "row", "row", "row"], "y", &[("training_mode", 1)]);
    refused(&[training], "call model.eval() before the export");
    refused(&[node("Dropout", &["x", "", "axis_1"], "y", &[])], "call model.eval() before the export");
}

#[test]
fn a_file_s_own_mistakes_are_told() {
    let with = |part: Vec<u8>| model(17, &[port(11, "x", 1, &[0, 2]), part, port(12, "y", 1, &[0, 1])]);
    check(&model(9, &[]), "opset_import: version 9 of ONNX's operators; this builder reads 11 to 23");
    check(&[int(1, 8), bytes(8, int(2, 17))].concat(), "graph: stands 0 times");
    check(&with(port(11, "ids", 7, &[0, 3])), "graph.input \"ids\": its type is int64; only float");
    check(&with(port(11, "z", 1, &[0])), "graph.input \"z\": its only dimension is the batch");
    check(&with(port(11, "z", 1, &[3, 0])), "only the first dimension, the batch, may be of any size");
    check(&with(port(11, "z", 1, &[0, 1 << 40])), "a row of the shape [1099511627776]");
    check(&with(bytes(11, bytes(1, "z"))), "graph.input \"z\": its type is undefined");
    check(&with(bytes(5, tensor("w", 11, &[1], &[0; 8]))), "graph.initializer \"w\": the type double");
    check(
        &with(bytes(5, tensor("w", 1, &[3], &[0; 8]))),
        "graph.initializer \"w\": 2 numbers, but the shape [3] has 3",
    );
    check(&with(bytes(5, tensor("w", 1, &[1], &[0; 3]))), "3 bytes in numbers of 4");
    check(&with(bytes(5, tensor("w", 1, &[-1], &[]))), "the shape [-1]");
    check(&with(bytes(5, tensor("w", 1, &[1 << 62, 4], &[]))), "has more than");
    check(&with(weights("w", &[1], f32::NAN)), "graph.initializer \"w\": number 0 is NaN");
    check(&with([weights("w", &[1], 1.0), weights("w", &[1], 1.0)].concat()), "graph.initializer \"w\": stands twice");
    check(&with(bytes(15, "")), "graph.sparse_initializer");
    let beside = [bytes(8, "w"), bytes(13, [bytes(1, "location"), bytes(2, "hero.onnx.data")].concat())].concat();
    check(&with(bytes(5, beside)), "graph.initializer \"w\": its numbers stand in hero.onnx.data");
    check(&with(bytes(1, bytes(4, [0xff]))), "graph.node[0]: a text that is not UTF-8");
    check(&with(bytes(1, int(4, 1))), "graph.node[0]: a text or message is expected, not an integer");
    check(&[int(1, 8), vec![0x3a, 0x7f]].concat(), "cut off: 127 bytes are announced, 0 are there");
    check(&[0x3b], "wire type 3");
    check(&[0xff; 11], "an integer of more than 64 bits");
}

#[test]
fn a_small_file_cannot_cost_much() {
    let mut nodes = vec![node("Identity", &["x"], "t0", &[])];
    for i in 0..30 {
        let (from, to) = (format!("t{i}"), format!("t{}", i + 1));
        nodes.push(node("Concat", &[&from, &from], &to, &[("axis", 1)]));
    }
    refused(&nodes, "has more than 1000000 numbers");
    // The same 1,000 numbers as many outputs, none of which may get a name; names are copied as often.
    let long = [node("Identity", &["x"], "y", &[])];
    let outputs = |ports: usize, width: i64, name: &str| {
        let mut graph = vec![port(11, "x", 1, &[0, width])];
        graph.extend(vec![port(12, name, 1, &[0, width]); ports]);
        graph.extend_from_slice(&long);
        model(17, &graph)
    };
    check(&outputs(100, 1_000, "y"), "graph.output \"y\": 1000 numbers so far, at most 256 can be answered");
    check(&outputs(2, 100, "y"), "graph.output \"y\": stands twice");
    check(&outputs(1, 1, &"y".repeat(2_000)), "graph.output[0]: a name of 2000 bytes, at most 1000");
    let named = model(17, &[port(11, &"x".repeat(2_000), 1, &[0, 100_000])]);
    check(&named, "graph.input[0]: a name of 2000 bytes, at most 1000");
    let many: Vec<Vec<u8>> = (0..10_001).map(|i| node("Relu", &["x"], &format!("r{i}"), &[])).collect();
    refused(&many, "graph.node: more than 10000 nodes");
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(cut in any::<usize>(), at in any::<usize>(), byte in any::<u8>()) {
        let nodes = [node("Gemm", &["x", "w", "v"], "z", &[]), node("Softmax", &["z"], "y", &[])];
        let mut file = graph(&nodes);
        let len = file.len();
        file[at % len] = byte;
        file.truncate(cut % (2 * len) + 1);
        drop(read(&file, None));
    }
}
