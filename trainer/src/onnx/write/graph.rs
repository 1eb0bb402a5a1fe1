//! The nodes, initializers and declarations of an ONNX graph.

use crate::network::{Activation, Activations, Dim, ElementType, RecurrentCell, TensorSpec};
use std::collections::HashSet;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};

/// A graph that grows.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    /// The names of inputs and outputs, which nothing inside may have.
    reserved: HashSet<String>,
    /// Names that [`unique`](Self::unique) has given.
    given: HashSet<String>,
}

impl Graph {
    /// A graph whose inputs and outputs have these names.
    pub fn new(reserved: HashSet<String>) -> Self {
        Self {
            reserved,
            ..Self::default()
        }
    }

    /// A name that no input or output of the graph has.
    pub fn free(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.reserved.contains(&name) {
            name.push('_');
        }
        name
    }

    /// A name that no input or output of the graph has, and that this gives once.
    pub fn unique(&mut self, name: &str) -> String {
        let mut name = self.free(name);
        while !self.given.insert(name.clone()) {
            name = self.free(&format!("{name}_"));
        }
        name
    }

    /// Declares an input.
    pub fn input(&mut self, spec: &TensorSpec, length: &str) {
        self.inputs.push(value(spec, length));
    }

    /// Declares an output.
    pub fn output(&mut self, spec: &TensorSpec, length: &str) {
        self.outputs.push(value(spec, length));
    }

    pub fn into_proto(self, name: &str) -> GraphProto {
        GraphProto {
            name: name.into(),
            node: self.nodes,
            initializer: self.initializers,
            input: self.inputs,
            output: self.outputs,
            ..Default::default()
        }
    }

    /// `source` in the shape of an output.
    pub fn end(&mut self, source: &str, spec: &TensorSpec, name: &str) {
        let sizes: Vec<i64> = spec
            .shape
            .iter()
            .map(|dim| match dim {
                Dim::Fixed(size) => *size as i64,
                Dim::Batch => 1,
                Dim::Steps => -1,
            })
            .collect();
        let shape = self.free(&format!("{name}.shape"));
        self.int64(&shape, &[sizes.len()], &sizes);
        self.node(
            &self.free(name),
            "Reshape",
            &[source, &shape],
            &[&spec.name],
            vec![],
        );
    }

    /// `source` in another shape, as `name`.
    pub fn reshape(&mut self, source: &str, name: &str, sizes: &[i64]) -> String {
        let shape = self.free(&format!("{name}.shape"));
        self.int64(&shape, &[sizes.len()], sizes);
        self.node(
            &self.free(&format!("{name}.reshape")),
            "Reshape",
            &[source, &shape],
            &[name],
            vec![],
        );
        name.to_owned()
    }

    pub fn node(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            name: name.into(),
            op_type: op.into(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: outputs.iter().map(|&name| name.into()).collect(),
            attribute: attributes,
            ..Default::default()
        });
    }

    pub fn float(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        assert_eq!(
            values.len(),
            shape.iter().product::<usize>(),
            "values of {name}"
        );
        self.initializer(
            name,
            DataType::Float,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
    }

    pub fn int64(&mut self, name: &str, shape: &[usize], values: &[i64]) {
        self.initializer(
            name,
            DataType::Int64,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
    }

    fn initializer(&mut self, name: &str, data_type: DataType, shape: &[usize], raw_data: Vec<u8>) {
        self.initializers.push(TensorProto {
            name: name.into(),
            data_type: data_type.into(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            raw_data,
            ..Default::default()
        });
    }
}

/// The attributes of a layer whose activations are not the standard ones.
pub(super) fn activations(layer: &RecurrentCell) -> Vec<AttributeProto> {
    let all = match layer {
        RecurrentCell::Gru(gru) if gru.activations != Activations::default() => {
            vec![gru.activations.gate, gru.activations.candidate]
        }
        RecurrentCell::Lstm(lstm) if lstm.activations != Activations::default() => {
            let Activations { gate, candidate } = lstm.activations;
            vec![gate, candidate, candidate]
        }
        RecurrentCell::Rnn(rnn) if rnn.activation != Activation::Tanh => vec![rnn.activation],
        _ => return vec![],
    };
    let strings = all.iter().map(|&one| operator(one).0.into()).collect();
    let mut attributes = vec![AttributeProto {
        name: "activations".into(),
        r#type: AttributeType::Strings.into(),
        strings,
        ..Default::default()
    }];
    let slopes: Vec<(f32, f32)> = all
        .iter()
        .filter_map(|one| {
            if let Activation::HardSigmoid { alpha, beta } = one {
                Some((*alpha, *beta))
            } else {
                None
            }
        })
        .collect();
    if !slopes.is_empty() {
        let list = |name: &str, floats: Vec<f32>| AttributeProto {
            name: name.into(),
            r#type: AttributeType::Floats.into(),
            floats,
            ..Default::default()
        };
        attributes.push(list(
            "activation_alpha",
            slopes.iter().map(|s| s.0).collect(),
        ));
        attributes.push(list(
            "activation_beta",
            slopes.iter().map(|s| s.1).collect(),
        ));
    }
    attributes
}

/// The operator of an activation, with its attributes.
pub(super) fn operator(activation: Activation) -> (&'static str, Vec<AttributeProto>) {
    match activation {
        Activation::Linear => ("Identity", vec![]),
        Activation::Tanh => ("Tanh", vec![]),
        Activation::Sigmoid => ("Sigmoid", vec![]),
        Activation::Relu => ("Relu", vec![]),
        Activation::HardSigmoid { alpha, beta } => (
            "HardSigmoid",
            vec![float("alpha", alpha), float("beta", beta)],
        ),
    }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int.into(),
        i,
        ..Default::default()
    }
}

fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Float.into(),
        f,
        ..Default::default()
    }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints: ints.into(),
        ..Default::default()
    }
}

/// The declaration of an input or output whose number of steps is called `length`.
fn value(spec: &TensorSpec, length: &str) -> ValueInfoProto {
    let dim = spec
        .shape
        .iter()
        .map(|dim| Dimension {
            value: Some(match dim {
                Dim::Fixed(size) => dimension::Value::DimValue(*size as i64),
                Dim::Batch => dimension::Value::DimValue(1),
                Dim::Steps => dimension::Value::DimParam(length.into()),
            }),
            ..Default::default()
        })
        .collect();
    let element = match spec.element {
        ElementType::Float => DataType::Float,
        ElementType::Int32 => DataType::Int32,
        ElementType::Int64 => DataType::Int64,
    };
    let tensor = type_proto::Tensor {
        elem_type: element.into(),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: spec.name.clone(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
