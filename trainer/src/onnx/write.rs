//! Canonical network -> ONNX bytes.

use super::{OPSET, PROVENANCE_KEY, VOCABULARY_KEY};
use crate::network::{Dense, Gru, Layer, Network};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// The first version of the file format that belongs to opset 17.
const IR_VERSION: i64 = 8;

/// Writes `network` as an ONNX file. The same network always gives the same bytes.
///
/// See the [module](super) for the graph. [`read`](super::read()) gives the network back, bit for bit;
/// only a loss in the provenance that is not a number comes back as none.
///
/// # Panics
/// If the network's shapes contradict each other.
pub fn write(network: &Network) -> Vec<u8> {
    let mut graph = Builder::default();
    let model = network.as_language_model().expect("a language model");
    let tokens = network.tokens();
    graph.input("tokens", DataType::Int64, &[Dim::Fixed(1), Dim::Length]);
    let mut width = tokens;
    match model.embedding {
        None => {
            graph.int64("depth", &[], &[tokens as i64]);
            graph.float("off_on", &[2], &[0.0, 1.0]);
            graph.node(
                "one_hot",
                "OneHot",
                &["tokens", "depth", "off_on"],
                &["x"],
                vec![int("axis", -1)],
            );
        }
        Some(embedding) => {
            assert_eq!(embedding.rows, tokens, "rows of the embedding");
            width = embedding.columns;
            graph.float("embedding", &[tokens, width], &embedding.data);
            graph.node(
                "embed",
                "Gather",
                &["embedding", "tokens"],
                &["x"],
                vec![int("axis", 0)],
            );
        }
    }
    // ONNX recurrences take time first, batch second.
    graph.node(
        "time_first",
        "Transpose",
        &["x"],
        &["x_0"],
        vec![ints("perm", &[1, 0, 2])],
    );
    graph.int64("direction_axis", &[1], &[1]);
    for (index, layer) in network.layers.iter().enumerate() {
        let Layer::Gru(gru) = layer else {
            panic!("layer {index} is a GRU");
        };
        assert_eq!(gru.inputs(), width, "inputs of layer {index}");
        graph.gru(index, gru);
        width = gru.hidden();
    }
    let top = format!("x_{}", network.layers.len());
    graph.node(
        "batch_first",
        "Transpose",
        &[&top],
        &["features"],
        vec![ints("perm", &[1, 0, 2])],
    );
    graph.head(model.head, tokens, width);
    graph.into_model(network)
}

/// One dimension of an input or output.
enum Dim {
    Fixed(usize),
    /// The number of tokens, `T`.
    Length,
}

#[derive(Default)]
struct Builder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    /// The layers' last states come after the logits.
    states: Vec<ValueInfoProto>,
}

impl Builder {
    /// Layer `index`: `x_index` [T, 1, I] -> `x_(index + 1)` [T, 1, H].
    fn gru(&mut self, index: usize, gru: &Gru) {
        let (units, inputs) = (gru.hidden(), gru.inputs());
        let name = |what: &str| format!("gru_{index}.{what}");
        let [w, r, b] = ["W", "R", "B"].map(name);
        let bias = [&gru.wb[..], &gru.rb[..]].concat();
        self.float(&w, &[1, 3 * units, inputs], &gru.w.data);
        self.float(&r, &[1, 3 * units, units], &gru.r.data);
        self.float(&b, &[1, 6 * units], &bias);

        let (h0, hn) = (format!("h0_{index}"), format!("hn_{index}"));
        let state = [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(units)];
        self.input(&h0, DataType::Float, &state);
        self.states.push(value(&hn, DataType::Float, &state));

        let (x, y, next) = (
            format!("x_{index}"),
            format!("y_{index}"),
            format!("x_{}", index + 1),
        );
        let attributes = vec![
            int("hidden_size", units as i64),
            int("linear_before_reset", gru.linear_before_reset.into()),
        ];
        // The empty name is the lengths of the sequences: all of them whole.
        self.node(
            &format!("gru_{index}"),
            "GRU",
            &[&x, &w, &r, &b, "", &h0],
            &[&y, &hn],
            attributes,
        );
        self.node(
            &format!("squeeze_{index}"),
            "Squeeze",
            &[&y, "direction_axis"],
            &[&next],
            vec![],
        );
    }

    /// `features` [1, T, H] -> `logits` [1, T, V].
    fn head(&mut self, head: &Dense, tokens: usize, units: usize) {
        assert_eq!(
            (head.w.rows, head.w.columns),
            (tokens, units),
            "shape of the head"
        );
        // MatMul takes [H][V].
        let columns = (0..units).flat_map(|h| (0..tokens).map(move |v| head.w.data[v * units + h]));
        self.float(
            "head.weight",
            &[units, tokens],
            &columns.collect::<Vec<f32>>(),
        );
        self.float("head.bias", &[tokens], &head.b);
        self.node(
            "head",
            "MatMul",
            &["features", "head.weight"],
            &["product"],
            vec![],
        );
        self.node(
            "head_bias",
            "Add",
            &["product", "head.bias"],
            &["logits"],
            vec![],
        );
        let shape = [Dim::Fixed(1), Dim::Length, Dim::Fixed(tokens)];
        self.outputs.push(value("logits", DataType::Float, &shape));
    }

    fn into_model(mut self, network: &Network) -> Vec<u8> {
        self.outputs.append(&mut self.states);
        let json = "strings and numbers are always JSON";
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            producer_name: "pipsqueak".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: "A recurrent language model: tokens and states in, logits and states out."
                .into(),
            graph: Some(GraphProto {
                name: "language_model".into(),
                node: self.nodes,
                initializer: self.initializers,
                input: self.inputs,
                output: self.outputs,
                ..Default::default()
            }),
            metadata_props: vec![
                metadata(
                    VOCABULARY_KEY,
                    serde_json::to_string(network.vocabulary().texts()).expect(json),
                ),
                metadata(
                    PROVENANCE_KEY,
                    serde_json::to_string(&network.provenance).expect(json),
                ),
            ],
            ..Default::default()
        };
        prost::Message::encode_to_vec(&model)
    }

    fn input(&mut self, name: &str, data_type: DataType, shape: &[Dim]) {
        self.inputs.push(value(name, data_type, shape));
    }

    fn node(
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

    fn float(&mut self, name: &str, shape: &[usize], values: &[f32]) {
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

    fn int64(&mut self, name: &str, shape: &[usize], values: &[i64]) {
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

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int.into(),
        i,
        ..Default::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints.into(),
        ints: ints.into(),
        ..Default::default()
    }
}

fn metadata(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto {
        key: key.into(),
        value,
    }
}

fn value(name: &str, data_type: DataType, shape: &[Dim]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|dim| Dimension {
            value: Some(match dim {
                Dim::Fixed(size) => dimension::Value::DimValue(*size as i64),
                Dim::Length => dimension::Value::DimParam("T".into()),
            }),
            ..Default::default()
        })
        .collect();
    let tensor = type_proto::Tensor {
        elem_type: data_type.into(),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
