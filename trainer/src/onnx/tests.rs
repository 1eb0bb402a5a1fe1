//! Written, read back, run by tract; changed in one place, refused by name; damaged anywhere, never a panic.

use super::*;
use crate::network::sample::{self, Shape};
use crate::network::{Array, Dim, Network, Op, Provenance, RecurrentCell, TensorSpec};
use prost::Message;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::{
    AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    type_proto,
};

struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize
    }
}

fn small(layers: usize, embedding: bool) -> Network {
    sample::network(
        7,
        Shape {
            tokens: 5,
            units: 3,
            layers,
            embedding,
            linear_before_reset: true,
        },
    )
}

/// Both inputs, both variants, one to three layers, sizes on both sides of every vector width.
fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for units in [1, 3, 17, 24, 65] {
        for tokens in [1, 2, 65] {
            for layers in 1..=3 {
                for embedding in [false, true] {
                    for linear_before_reset in [false, true] {
                        shapes.push(Shape {
                            tokens,
                            units,
                            layers,
                            embedding,
                            linear_before_reset,
                        });
                    }
                }
            }
        }
    }
    shapes
}

/// A network with one to three steps per token.
fn stepping(seed: u64, shape: Shape) -> Network {
    let network = sample::network(seed, shape);
    let steps = 1 + seed as usize % 3;
    network
        .with(|parts| parts.steps_per_token[1] = steps)
        .unwrap()
}

#[test]
fn what_is_written_is_read_back_bit_for_bit() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let network = stepping(seed as u64, shape);
        let bytes = write(&network);
        assert_eq!(bytes, write(&network.clone()), "{shape:?}");
        assert_eq!(read(&bytes).unwrap(), network, "{shape:?}");
    }
}

fn assert_close(found: &[f32], expected: &[f32], what: &dyn std::fmt::Debug) {
    assert_eq!(found.len(), expected.len(), "{what:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
            "{what:?}: {found} {expected}"
        );
    }
}

#[test]
fn tract_computes_the_same_logits() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let mut random = Random(seed as u64);
        let network = stepping(seed as u64, shape);
        let mut reference = Reference::new(&write(&network)).unwrap();
        let tokens: Vec<u16> = (0..20)
            .map(|_| (random.next() % shape.tokens) as u16)
            .collect();
        let mut state = network.state();
        let expected: Vec<Vec<f32>> = tokens
            .iter()
            .map(|&token| {
                network.step(&mut state, token);
                network.logits(&state)
            })
            .collect();
        // One by one, then all at once from the start, then in two parts.
        for (step, &token) in tokens.iter().enumerate() {
            assert_close(
                &reference.step(token).unwrap(),
                &expected[step],
                &(shape, step),
            );
        }
        reference.reset().unwrap();
        let whole = reference.run(&tokens).unwrap();
        reference.reset().unwrap();
        let mut parts = reference.run(&tokens[..6]).unwrap();
        parts.extend(reference.run(&tokens[6..]).unwrap());
        for (step, expected) in expected.iter().enumerate() {
            assert_close(&whole[step], expected, &(shape, "whole", step));
            assert_close(&parts[step], expected, &(shape, "parts", step));
        }
        check(&network, &write(&network)).unwrap();
    }
}

#[test]
fn the_check_sees_a_changed_network() {
    let network = small(2, false);
    let bytes = write(&network);
    let other = network.clone().with(|parts| match &mut parts.layers[2].op {
        Op::Recurrent {
            cell: RecurrentCell::Gru(gru),
            ..
        } => gru.rb[4] += 1e-6,
        _ => panic!("a GRU"),
    });
    let other = other.unwrap();
    assert!(matches!(check(&other, &bytes), Err(CheckError::Different)));
    assert!(matches!(
        check(&network, b"x"),
        Err(CheckError::Reference(ReferenceError::Read(_)))
    ));
    let mut reference = Reference::new(&bytes).unwrap();
    assert!(matches!(
        reference.step(5),
        Err(ReferenceError::Token {
            found: 5,
            tokens: 5
        })
    ));
    assert!(reference.run(&[]).unwrap().is_empty());
}

#[test]
fn a_loss_that_is_not_a_number_comes_back_as_none() {
    let mut network = small(1, false);
    network.provenance.train_loss = Some(f32::NAN);
    assert_eq!(read(&write(&network)).unwrap().provenance.train_loss, None);
}

/// Reads a changed model; gives the error's text.
fn refusal(network: &Network, change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = ModelProto::decode(&*write(network)).unwrap();
    change(&mut model);
    match read(&model.encode_to_vec()) {
        Ok(_) => "nothing: it was read".into(),
        Err(error) => error.to_string(),
    }
}

fn node<'m>(model: &'m mut ModelProto, name: &str) -> &'m mut NodeProto {
    model
        .graph
        .as_mut()
        .unwrap()
        .node
        .iter_mut()
        .find(|node| node.name == name)
        .unwrap()
}

fn tensor<'m>(model: &'m mut ModelProto, name: &str) -> &'m mut TensorProto {
    model
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .iter_mut()
        .find(|tensor| tensor.name == name)
        .unwrap()
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: kind.into(),
        ..Default::default()
    }
}

type Change = fn(&mut ModelProto);

/// Each change with the words that its refusal must have.
const CHANGES: &[(&[&str], Change)] = &[
    (
        &[
            "node \"gru_0\" (\"GRU\")",
            "direction \"reverse\"",
            "expected forward",
        ],
        |m| {
            let s = b"reverse".to_vec();
            node(m, "gru_0").attribute.push(AttributeProto {
                s,
                ..attribute("direction", AttributeType::String)
            });
        },
    ),
    (&["gru_1", "clip 3", "expected none"], |m| {
        node(m, "gru_1").attribute.push(AttributeProto {
            f: 3.0,
            ..attribute("clip", AttributeType::Float)
        });
    }),
    (&["gru_0", "layout 1"], |m| {
        node(m, "gru_0").attribute.push(AttributeProto {
            i: 1,
            ..attribute("layout", AttributeType::Int)
        });
    }),
    (
        &["gru_0", "activations \"Softsign\"", "Sigmoid, Tanh"],
        |m| {
            let strings = vec![b"Softsign".to_vec(), b"Tanh".to_vec()];
            node(m, "gru_0").attribute.push(AttributeProto {
                strings,
                ..attribute("activations", AttributeType::Strings)
            });
        },
    ),
    (&["gru_0", "linear_before_reset 2", "0 or 1"], |m| {
        node(m, "gru_0").attribute[1].i = 2
    }),
    (&["gru_0", "hidden_size 4", "3"], |m| {
        node(m, "gru_0").attribute[0].i = 4
    }),
    (&["gru_0", "hidden_size twice"], |m| {
        let twice = node(m, "gru_0").attribute[0].clone();
        node(m, "gru_0").attribute.push(twice);
    }),
    (&["gru_0", "attribute hidden_size of type 1", "INT"], |m| {
        node(m, "gru_0").attribute[0].r#type = 1
    }),
    (
        &["gru_0", "sequence_lens", "expected whole sequences"],
        |m| node(m, "gru_0").input[4] = "direction_axis".into(),
    ),
    (
        &[
            "gru_0",
            "an initial state of shape [1, 1, 4], expected [1, 1, 3]",
        ],
        |m| node(m, "gru_0").input[5] = "h0_1".into(),
    ),
    (&["input \"h0_0\"", "found no use of it"], |m| {
        node(m, "gru_0").input.truncate(5)
    }),
    (&["gru_0", "input \"later\"", "defined before"], |m| {
        node(m, "gru_0").input[0] = "later".into()
    }),
    (&["gru_0", "found input \"B\"", "defined before"], |m| {
        node(m, "gru_0").input.push("B".into())
    }),
    (
        &[
            "gru_0",
            "an initial state of shape [1, 1, 3], expected [1, 11, 3]",
        ],
        |m| node(m, "gru_0").input[0] = "x".into(),
    ),
    (
        &[
            "gru_1",
            "an input of shape [11, 1, 1, 3], expected [T, batch, inputs]",
        ],
        |m| node(m, "gru_1").input[0] = "y_0".into(),
    ),
    (
        &["gru_1", "W of shape [1, 12, 3], expected [1, 12, 5]"],
        |m| node(m, "gru_1").input[0] = "x_0".into(),
    ),
    (
        &["gru_1", "weights W that are computed, expected constants"],
        |m| node(m, "gru_1").input[1] = "tokens".into(),
    ),
    (
        &["gru_1", "R of shape [1, 12, 4], expected [1, 4 * H, H]"],
        |m| node(m, "gru_1").op_type = "LSTM".into(),
    ),
    (&["gru_1", "domain \"com.microsoft\""], |m| {
        node(m, "gru_1").domain = "com.microsoft".into()
    }),
    (
        &[
            "gru_0",
            "an initial state of shape [1, 1, 3], expected [1, 11, 3]",
        ],
        |m| node(m, "time_first").attribute[0].ints = vec![0, 1, 2],
    ),
    (&["\"head\"", "a vector of 3, expected one of 4"], |m| {
        m.graph
            .as_mut()
            .unwrap()
            .node
            .retain(|node| !node.name.ends_with("_1"));
        node(m, "batch_first").input[0] = "x_1".into();
        node(m, "head").input[0] = "x_1".into();
    }),
    (&["head_bias", "arrays of [1, 11, 4] and [5]"], |m| {
        node(m, "head_bias").input[0] = "features".into()
    }),
    (&["one_hot", "values [1.0, 0.0]", "[0, 1]"], |m| {
        tensor(m, "off_on").raw_data.rotate_left(4)
    }),
    (&["one_hot", "depth 0"], |m| {
        tensor(m, "depth").raw_data = vec![0; 8]
    }),
    (&["one_hot", "depth -1"], |m| {
        tensor(m, "depth").raw_data = vec![255; 8]
    }),
    (&["one_hot", "axis 0", "the last axis"], |m| {
        node(m, "one_hot").attribute[0].i = 0
    }),
    (&["one_hot", "operator \"OneHot\" on the tokens"], |m| {
        node(m, "one_hot").input[1].clear()
    }),
    (
        &["node \"gru_0\"", "W of shape [1, 9, 5]", "[1, 9, 4]"],
        |m| tensor(m, "depth").raw_data[0] = 4,
    ),
    (&["value \"gru_0.W\"", "two definitions"], |m| {
        node(m, "one_hot").output[0] = "gru_0.W".into()
    }),
    (&["head_bias", "2 outputs", "at most 1"], |m| {
        node(m, "head_bias").output.push("x".into())
    }),
    (
        &["tensor \"gru_0.R\"", "found NaN at position 2", "finite"],
        |m| {
            tensor(m, "gru_0.R").raw_data[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        },
    ),
    (
        &["tensor \"head.bias\"", "found -inf at position 0", "finite"],
        |m| {
            tensor(m, "head.bias").raw_data[..4].copy_from_slice(&f32::NEG_INFINITY.to_le_bytes());
        },
    ),
    (&["tensor \"gru_0.R\"", "float16", "expected float"], |m| {
        tensor(m, "gru_0.R").data_type = 10
    }),
    (&["tensor \"gru_0.R\"", "data type 99"], |m| {
        tensor(m, "gru_0.R").data_type = 99
    }),
    (&["tensor \"gru_0.R\"", "107 bytes", "damaged"], |m| {
        tensor(m, "gru_0.R").raw_data.truncate(107)
    }),
    (&["tensor \"gru_0.R\"", "0 values"], |m| {
        tensor(m, "gru_0.R").raw_data.clear()
    }),
    (&["tensor \"gru_0.R\"", "data in another file"], |m| {
        tensor(m, "gru_0.R").data_location = Some(1)
    }),
    (&["tensor \"gru_0.R\"", "a negative dimension"], |m| {
        tensor(m, "gru_0.R").dims[2] = -3
    }),
    (
        &[
            "tensor \"gru_0.R\"",
            "an array of [1, 9, 9223372036854775807]",
        ],
        |m| tensor(m, "gru_0.R").dims[2] = i64::MAX,
    ),
    (&["tensor \"head.weight\"", "20 values"], |m| {
        tensor(m, "head.weight").dims = vec![1; 5]
    }),
    (&["\"head\"", "weights of shape [20]", "a matrix"], |m| {
        tensor(m, "head.weight").dims = vec![20]
    }),
    (&["\"head\"", "a vector of 4, expected one of 5"], |m| {
        tensor(m, "head.weight").dims = vec![5, 4]
    }),
    (
        &["node \"one_hot\"", "a value computed from what comes in"],
        |m| *elem_type(&mut m.graph.as_mut().unwrap().input[0]) = 1,
    ),
    (
        &[
            "gru_0",
            "an initial state of shape [1, 1, 13], expected [1, 1, 3]",
        ],
        |m| {
            *dim(&mut m.graph.as_mut().unwrap().input[1], 2) = None;
        },
    ),
    (
        &[
            "output \"logits\"",
            "found shape [1, T, 5], expected [1, T, 6]",
        ],
        |m| {
            *dim(&mut m.graph.as_mut().unwrap().output[0], 2) = Some(dimension::Value::DimValue(6));
        },
    ),
    (
        &["one_hot", "found input \"tokens\"", "defined before"],
        |m| m.graph.as_mut().unwrap().input.clear(),
    ),
    (&["output \"logits\"", "found nothing of that name"], |m| {
        m.graph.as_mut().unwrap().node.clear()
    }),
    (&["graph", "sparse"], |m| {
        m.graph.as_mut().unwrap().sparse_initializer = vec![Default::default()]
    }),
    (&["has no graph"], |m| m.graph = None),
    (
        &[
            "time_first",
            "\"Transpose\" of domain \"mine\"",
            "standard operators",
        ],
        |m| node(m, "time_first").domain = "mine".into(),
    ),
    (&["operator set", "version 8", "versions 9 to 25"], |m| {
        m.opset_import[0].version = 8
    }),
    (&["operator set", "version 18"], |m| {
        m.opset_import.push(OperatorSetIdProto {
            domain: "ai.onnx".into(),
            version: 18,
        });
    }),
    (&["metadata pipsqueak.vocabulary", "2 values"], |m| {
        let entry = m.metadata_props[0].clone();
        m.metadata_props.push(entry);
    }),
    (&["metadata pipsqueak.vocabulary", "JSON list"], |m| {
        m.metadata_props[0].value = "abc".into()
    }),
    (
        &[
            "metadata pipsqueak.vocabulary",
            "4 tokens",
            "5, as many as the input has",
        ],
        |m| {
            m.metadata_props[0].value = r#"["a", "b", "c", "d"]"#.into();
        },
    ),
    (&["metadata pipsqueak.vocabulary", "\"a\" twice"], |m| {
        m.metadata_props[0].value = r#"["a", "a", "c", "d", "e"]"#.into();
    }),
    (&["metadata pipsqueak.provenance", "JSON object"], |m| {
        m.metadata_props[1].value = "[]".into()
    }),
];

fn tensor_type(value: &mut tract_onnx::pb::ValueInfoProto) -> &mut type_proto::Tensor {
    let Some(type_proto::Value::TensorType(tensor)) = value.r#type.as_mut().unwrap().value.as_mut()
    else {
        panic!("a tensor")
    };
    tensor
}

fn elem_type(value: &mut tract_onnx::pb::ValueInfoProto) -> &mut i32 {
    &mut tensor_type(value).elem_type
}

fn dim(value: &mut tract_onnx::pb::ValueInfoProto, index: usize) -> &mut Option<dimension::Value> {
    &mut tensor_type(value).shape.as_mut().unwrap().dim[index].value
}

#[test]
fn a_change_of_meaning_is_refused_by_name() {
    let network = small(2, false);
    let mut wrong = Vec::new();
    for (index, (words, change)) in CHANGES.iter().enumerate() {
        let said = refusal(&network, change);
        if words.iter().any(|word| !said.contains(word)) {
            wrong.push(format!("change {index}: {words:?} are not in {said:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_embedding_is_checked_too() {
    let network = small(1, true);
    let said = refusal(&network, |m| node(m, "embed").attribute[0].i = 1);
    assert!(said.contains("along axis 0"), "{said}");
    let said = refusal(&network, |m| node(m, "embed").input[1] = "h0_0".into());
    assert!(
        said.contains("Gather on a value computed from what comes in"),
        "{said}"
    );
}

#[test]
fn what_means_the_same_is_read() {
    let network = small(2, false);
    let mut model = ModelProto::decode(&*write(&network)).unwrap();
    let m = &mut model;
    for gru in ["gru_0", "gru_1"] {
        let s = b"forward".to_vec();
        let strings = vec![b"Sigmoid".to_vec(), b"Tanh".to_vec()];
        let node = node(m, gru);
        node.attribute.push(AttributeProto {
            s,
            ..attribute("direction", AttributeType::String)
        });
        node.attribute.push(AttributeProto {
            strings,
            ..attribute("activations", AttributeType::Strings)
        });
        node.attribute.push(attribute("layout", AttributeType::Int));
    }
    node(m, "head_bias").input.swap(0, 1);
    let bias = tensor(m, "head.bias");
    bias.float_data = bias
        .raw_data
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    bias.raw_data.clear();
    m.metadata_props.push(StringStringEntryProto {
        key: "author".into(),
        value: "someone".into(),
    });
    assert_eq!(read(&model.encode_to_vec()).unwrap(), network);
    model.metadata_props.remove(1);
    let read = read(&model.encode_to_vec()).unwrap();
    assert_eq!(read.provenance, Provenance::default());
}

/// Any arrays that a network takes.
fn arrays(network: &Network) -> BTreeMap<String, Array> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { *size } else { 3 };
    let array = |port: &TensorSpec| {
        let shape: Vec<usize> = port.shape.iter().map(size).collect();
        (
            port.name.clone(),
            network.random_array(&port.name, &shape, 1),
        )
    };
    network.input_specs().map(array).collect()
}

#[test]
fn damaged_files_never_panic() {
    let files: Vec<Vec<u8>> = [(1, false), (2, true)]
        .map(|(layers, embedding)| write(&small(layers, embedding)))
        .into();
    let mut random = Random(2);
    let (mut accepted, mut refused) = (0, 0);
    for file in &files {
        let cuts = (0..file.len())
            .step_by(3)
            .map(|length| file[..length].to_vec());
        let flips = (0..8 * file.len()).step_by(3).map(|bit| {
            let mut bytes = file.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        });
        let mixes = (0..4_000).map(|_| {
            let mut bytes = file.clone();
            for _ in 0..1 + random.next() % 4 {
                let at = random.next() % bytes.len();
                match random.next() % 4 {
                    0 => bytes[at] = random.next() as u8,
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.next() % 5],
                    2 => drop(bytes.remove(at)),
                    _ => {
                        let end = bytes.len().min(at + random.next() % 24);
                        let part = bytes[at..end].to_vec();
                        bytes.splice(at..at, part);
                    }
                }
            }
            bytes
        });
        for bytes in cuts.chain(flips).chain(mixes) {
            match catch_unwind(|| read(&bytes)) {
                Ok(Ok(network)) => {
                    // What is accepted can be run and written.
                    network.run_arrays(&arrays(&network)).unwrap();
                    assert_eq!(
                        read(&write(&network)).unwrap(),
                        network.clone().without_batch()
                    );
                    accepted += 1;
                }
                Ok(Err(error)) => {
                    assert!(!error.to_string().contains('\n'), "{error}");
                    refused += 1;
                }
                Err(_) => panic!("a panic on {bytes:02x?}"),
            }
        }
    }
    // A changed weight is still a network; most other damage is not.
    assert!(
        accepted > 3_000 && refused > 3_000,
        "{accepted} accepted, {refused} refused"
    );
}
