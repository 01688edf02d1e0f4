//! The messages of an ONNX file, as much of them as small networks need (`onnx.proto`, IR versions 3 to 12). Owns their
//! shapes; what an operator means is `ops`'.

use super::wire::{Field, Fields};
use crate::import::BadModel;
use crate::pipeline::MAX_STEPS;

/// `TensorProto.DataType`.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT32: i64 = 6;
pub(super) const INT64: i64 = 7;
pub(super) const BOOL: i64 = 9;

#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub(super) producer: &'a str,
    pub(super) producer_version: &'a str,
    /// Of ONNX's own operators.
    pub(super) opset: Option<i64>,
    pub(super) graph: Graph<'a>,
}

#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) initializers: Vec<TensorProto<'a>>,
    pub(super) inputs: Vec<Port<'a>>,
    pub(super) outputs: Vec<Port<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    /// A text that is empty stands for an optional input that is left out.
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) attributes: Vec<Attribute<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct Attribute<'a> {
    pub(super) name: &'a str,
    pub(super) float: Option<f32>,
    pub(super) int: Option<i64>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    pub(super) tensor: Option<TensorProto<'a>>,
}

#[derive(Debug, Default)]
pub(super) struct TensorProto<'a> {
    pub(super) name: &'a str,
    pub(super) dims: Vec<i64>,
    pub(super) data_type: i64,
    pub(super) raw: Option<&'a [u8]>,
    pub(super) floats: Vec<f32>,
    pub(super) ints: Vec<i64>,
    /// The file beside the model that holds the numbers.
    pub(super) external: Option<&'a str>,
}

/// An input or output of the graph.
#[derive(Debug, Default)]
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    pub(super) data_type: i64,
    /// `None` where a dimension is a name, such as that of the batch.
    pub(super) dims: Option<Vec<Option<i64>>>,
}

type Read<T> = Result<T, BadModel>;

/// Feeds every field of a message to `take`; a mistake is told with `at` before it.
fn each<'a>(at: &str, message: &'a [u8], mut take: impl FnMut(u64, Field<'a>) -> Read<()>) -> Read<()> {
    for field in Fields::new(message) {
        let (number, field) = field.map_err(|why| BadModel::new(at, why))?;
        take(number, field).map_err(|bad| BadModel::new(join(at, &bad.at), bad.why))?;
    }
    Ok(())
}

fn join(at: &str, inside: &str) -> String {
    match (at.is_empty(), inside.is_empty()) {
        (true, _) => inside.to_owned(),
        (_, true) => at.to_owned(),
        (false, false) => format!("{at}.{inside}"),
    }
}

/// What a message says whose every field may be taken without a path.
fn plain<T>(result: Result<T, String>) -> Read<T> {
    result.map_err(BadModel::whole)
}

/// A message at `name`, in a list at its end.
fn listed<'a, T>(list: &mut Vec<T>, name: &str, field: Field<'a>, read: fn(&'a [u8]) -> Read<T>) -> Read<()> {
    let at = format!("{name}[{}]", list.len());
    let message = field.bytes().map_err(|why| BadModel::new(&at, why))?;
    list.push(read(message).map_err(|bad| BadModel::new(join(&at, &bad.at), bad.why))?);
    Ok(())
}

/// Whether the bytes are a message with the fields of a model: a version of the format, and a graph.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    let (mut version, mut graph) = (false, false);
    for field in Fields::new(bytes) {
        match field {
            Ok((1, Field::Varint(1..100))) => version = true,
            Ok((7, Field::Bytes(_))) => graph = true,
            Ok((1..=30, _)) => {}
            Ok(_) | Err(_) => return false,
        }
    }
    version && graph
}

pub(super) fn model(bytes: &[u8]) -> Read<Model<'_>> {
    let mut model = Model::default();
    let mut graphs = 0;
    each("", bytes, |number, field| {
        match number {
            2 => model.producer = plain(field.text())?,
            3 => model.producer_version = plain(field.text())?,
            7 => {
                graphs += 1;
                let message = plain(field.bytes())?;
                model.graph = graph(message).map_err(|bad| BadModel::new(join("graph", &bad.at), bad.why))?;
            }
            8 => {
                let (domain, version) = opset(plain(field.bytes())?)?;
                if matches!(domain, "" | "ai.onnx") {
                    model.opset = Some(version);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    if graphs == 1 {
        Ok(model)
    } else {
        Err(BadModel::new("graph", format!("stands {graphs} times, once is expected")))
    }
}

fn opset(message: &[u8]) -> Read<(&str, i64)> {
    let (mut domain, mut version) = ("", 0);
    each("opset_import", message, |number, field| {
        match number {
            1 => domain = plain(field.text())?,
            2 => version = plain(field.int())?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((domain, version))
}

fn graph(message: &[u8]) -> Read<Graph<'_>> {
    let mut graph = Graph::default();
    each("", message, |number, field| match number {
        1 if graph.nodes.len() == MAX_STEPS => Err(BadModel::new("node", format!("more than {MAX_STEPS} nodes"))),
        1 => listed(&mut graph.nodes, "node", field, node),
        5 => listed(&mut graph.initializers, "initializer", field, tensor),
        11 => listed(&mut graph.inputs, "input", field, port),
        12 => listed(&mut graph.outputs, "output", field, port),
        15 => Err(BadModel::new("sparse_initializer", "sparse weights are not supported; store them dense")),
        _ => Ok(()),
    })?;
    Ok(graph)
}

fn node(message: &[u8]) -> Read<Node<'_>> {
    let mut node = Node::default();
    each("", message, |number, field| {
        match number {
            1 => node.inputs.push(plain(field.text())?),
            2 => node.outputs.push(plain(field.text())?),
            3 => node.name = plain(field.text())?,
            4 => node.op = plain(field.text())?,
            5 => listed(&mut node.attributes, "attribute", field, attribute)?,
            7 => node.domain = plain(field.text())?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn attribute(message: &[u8]) -> Read<Attribute<'_>> {
    let mut attribute = Attribute::default();
    each("", message, |number, field| {
        match number {
            1 => attribute.name = plain(field.text())?,
            2 => attribute.float = Some(plain(field.float())?),
            3 => attribute.int = Some(plain(field.int())?),
            5 => attribute.tensor = Some(tensor(plain(field.bytes())?)?),
            7 => plain(field.floats(&mut attribute.floats))?,
            8 => plain(field.ints(&mut attribute.ints))?,
            // Sub-graphs are not descended into: no operator that has one is supported.
            _ => {}
        }
        Ok(())
    })?;
    Ok(attribute)
}

fn tensor(message: &[u8]) -> Read<TensorProto<'_>> {
    let mut tensor = TensorProto::default();
    each("", message, |number, field| {
        match number {
            1 => plain(field.ints(&mut tensor.dims))?,
            2 => tensor.data_type = plain(field.int())?,
            4 => plain(field.floats(&mut tensor.floats))?,
            5 | 7 => plain(field.ints(&mut tensor.ints))?,
            8 => tensor.name = plain(field.text())?,
            9 => tensor.raw = Some(plain(field.bytes())?),
            13 => {
                if let Some(file) = location(plain(field.bytes())?)? {
                    tensor.external = Some(file);
                }
            }
            14 if plain(field.int())? == 1 => tensor.external = tensor.external.or(Some("a file beside the model")),
            _ => {}
        }
        Ok(())
    })?;
    Ok(tensor)
}

/// The value of an entry of `external_data` whose key is `location`.
fn location(message: &[u8]) -> Read<Option<&str>> {
    let (mut key, mut value) = ("", "");
    each("external_data", message, |number, field| {
        match number {
            1 => key = plain(field.text())?,
            2 => value = plain(field.text())?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key == "location").then_some(value))
}

fn port(message: &[u8]) -> Read<Port<'_>> {
    let mut port = Port::default();
    each("", message, |number, field| {
        match number {
            1 => port.name = plain(field.text())?,
            2 => each("type", plain(field.bytes())?, |number, field| {
                // Only tensors; a sequence or map leaves the type 0.
                if number == 1 { tensor_type(&mut port, plain(field.bytes())?) } else { Ok(()) }
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(port)
}

fn tensor_type<'a>(port: &mut Port<'a>, message: &'a [u8]) -> Read<()> {
    each("tensor_type", message, |number, field| {
        match number {
            1 => port.data_type = plain(field.int())?,
            2 => {
                let dims = port.dims.insert(Vec::new());
                each("shape", plain(field.bytes())?, |number, field| {
                    if number == 1 {
                        let mut value = None;
                        each("dim", plain(field.bytes())?, |number, field| {
                            if number == 1 {
                                value = Some(plain(field.int())?);
                            }
                            Ok(())
                        })?;
                        dims.push(value);
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })
}

// === impl Node ===

impl<'a> Node<'a> {
    fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.int
    }

    pub(super) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.float
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    pub(super) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|attribute| attribute.floats.as_slice())
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorProto<'a>> {
        self.attribute(name)?.tensor.as_ref()
    }
}
