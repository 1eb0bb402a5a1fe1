//! Canonical network -> ONNX bytes.

use super::{
    CHANNELS_KEY, ENCODER_GRIDS_KEY, ENCODER_LEVEL_KEY, ENCODER_VOCABULARY_KEY, GRIDS_KEY,
    LABELS_KEY, LEVEL_KEY, OPSET, PROVENANCE_KEY, VOCABULARY_KEY,
};
use crate::data::tokenizer::{TokenizerMetadata, Vocabulary};
use crate::network::{
    Activation, Activations, Dense, Dim, ElementType, Input, Layer, Network, Normalization, Port,
    Reads, Role, Start, StateId,
};
use std::collections::{HashMap, HashSet};
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
/// See the [module](super) for the graph. [`read`](super::read()) gives the network back, bit for bit, but for two things: a
/// loss in the provenance that is not a number comes back as none, and one sequence is run at a time.
///
/// # Panics
/// If the network's shapes contradict each other.
pub fn write(network: &Network) -> Vec<u8> {
    let mut graph = Builder {
        reserved: network
            .inputs()
            .chain(network.outputs())
            .map(|port| port.name.clone())
            .collect(),
        ..Builder::default()
    };
    let states = match &network.encoder {
        Some(encoder) => graph.network(encoder, "encoder_", &HashMap::new()),
        None => HashMap::new(),
    };
    graph.network(network, "", &states);
    graph.into_model(network)
}

#[derive(Default)]
struct Builder {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    /// The graph's own names, which nothing inside may have.
    reserved: HashSet<String>,
}

impl Builder {
    /// The nodes of a network; gives the names of its last states, `[1, 1, H]`. `encoder` are those of its encoder.
    fn network(
        &mut self,
        network: &Network,
        prefix: &str,
        encoder: &HashMap<StateId, String>,
    ) -> HashMap<StateId, String> {
        let name = |graph: &Self, what: &str| graph.free(&format!("{prefix}{what}"));
        let interface = &network.interface;
        for port in &interface.inputs {
            self.inputs.push(value(port, prefix));
        }
        let named = |role: &Role| interface.inputs.iter().find(|port| port.role == *role);
        let given = self.given(&interface.inputs, prefix);
        // Ends at the output, where an output is a value that a node gives as it is.
        let ends = |role: &Role, shape: &[Dim]| {
            let mut same = interface
                .outputs
                .iter()
                .filter(|port| port.role == *role && port.shape == shape);
            same.next().map(|port| port.name.clone())
        };

        let mut width = network.input.width();
        let mut x = name(self, "x");
        match &network.input {
            Input::Tokens { count, embedding } => {
                let port = named(&Role::Tokens).expect("an input for the tokens");
                let mut tokens = port.name.clone();
                if port.element != ElementType::Int64 {
                    let cast = name(self, "ids");
                    self.node(
                        &name(self, "cast"),
                        "Cast",
                        &[&tokens],
                        &[&cast],
                        vec![int("to", DataType::Int64 as i64)],
                    );
                    tokens = cast;
                }
                if port.shape[..] != [Dim::Fixed(1), Dim::Steps] {
                    tokens = self.reshape(&tokens, &name(self, "batched"), &[1, -1]);
                }
                if network.steps_per_token > 1 {
                    tokens = self.reshape(&tokens, &name(self, "each"), &[1, -1, 1]);
                    let (times, all) = (name(self, "times"), name(self, "steps"));
                    self.int64(&times, &[3], &[1, 1, network.steps_per_token as i64]);
                    let tile = name(self, "repeat");
                    self.node(&tile, "Tile", &[&tokens, &times], &[&all], vec![]);
                    tokens = self.reshape(&all, &name(self, "repeated"), &[1, -1]);
                }
                match embedding {
                    None => {
                        let (depth, off_on) = (name(self, "depth"), name(self, "off_on"));
                        self.int64(&depth, &[], &[*count as i64]);
                        self.float(&off_on, &[2], &[0.0, 1.0]);
                        let inputs = [&*tokens, &depth, &off_on];
                        self.node(
                            &name(self, "one_hot"),
                            "OneHot",
                            &inputs,
                            &[&x],
                            vec![int("axis", -1)],
                        );
                    }
                    Some(table) => {
                        assert_eq!(table.rows, *count, "rows of the embedding");
                        let weights = name(self, "embedding");
                        self.float(&weights, &[*count, width], &table.data);
                        self.node(
                            &name(self, "embed"),
                            "Gather",
                            &[&weights, &tokens],
                            &[&x],
                            vec![int("axis", 0)],
                        );
                    }
                }
            }
            Input::Vectors { width, dense } => {
                let port = named(&Role::Vectors).expect("an input for the vectors");
                x = port.name.clone();
                if port.shape[..] != [Dim::Fixed(1), Dim::Steps, Dim::Fixed(*width)] {
                    x = self.reshape(&x, &name(self, "batched"), &[1, -1, *width as i64]);
                }
                x = self.dense_layers(dense, &x, &format!("{prefix}input"), None);
            }
            Input::Features {
                width,
                dense,
                steps,
            } => {
                let port = named(&Role::Features).expect("an input for the features");
                let one = self.reshape(&port.name, &name(self, "one"), &[1, 1, *width as i64]);
                let one = self.dense_layers(dense, &one, &format!("{prefix}input"), None);
                let times = name(self, "times");
                self.int64(&times, &[*steps], &vec![0; *steps]);
                self.node(
                    &name(self, "repeat"),
                    "Gather",
                    &[&one, &times],
                    &[&x],
                    vec![int("axis", 1)],
                );
            }
        }

        let mut last = HashMap::new();
        if !network.layers.is_empty() {
            // ONNX recurrences take time first, batch second.
            let first = name(self, "x_0");
            self.node(
                &name(self, "time_first"),
                "Transpose",
                &[&x],
                &[&first],
                vec![ints("perm", &[1, 0, 2])],
            );
            x = first;
            let axis = name(self, "direction_axis");
            self.int64(&axis, &[1], &[1]);
            for (index, layer) in network.layers.iter().enumerate() {
                assert_eq!(layer.inputs(), width, "inputs of layer {index}");
                width = layer.hidden();
                let mut starts = Vec::new();
                let both = [&network.starts[index].hidden, &network.starts[index].cell];
                for (cell, start) in both
                    .into_iter()
                    .take(1 + usize::from(layer.has_cell()))
                    .enumerate()
                {
                    let id = StateId {
                        layer: index,
                        cell: cell == 1,
                    };
                    starts.push(self.start(start, id, network, prefix, &given, encoder));
                }
                let ends = |id: StateId| {
                    let shape = [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(width)];
                    ends(&Role::States(vec![id]), &shape)
                };
                x = self.layer(index, layer, &x, &starts, &axis, prefix, &ends, &mut last);
            }
            if network.steps_per_token > 1 {
                // A slice that leaves steps out would do too, but tract runs none over a length that is not known.
                let steps = network.steps_per_token as i64;
                let each = self.reshape(&x, &name(self, "by_token"), &[-1, steps, width as i64]);
                let [from, to, axis, read] = ["last_step", "past_last", "step_axis", "last_steps"]
                    .map(|what| name(self, what));
                for (name, value) in [(&from, steps - 1), (&to, steps), (&axis, 1)] {
                    self.int64(name, &[1], &[value]);
                }
                let inputs = [&*each, &from, &to, &axis];
                self.node(&name(self, "read_last"), "Slice", &inputs, &[&read], vec![]);
                x = read;
            }
        }

        if let Some(port) = interface
            .outputs
            .iter()
            .find(|port| port.role == Role::Head)
        {
            let features = name(self, "features");
            let top = StateId {
                layer: network.layers.len().wrapping_sub(1),
                cell: false,
            };
            match network.head.reads {
                _ if network.layers.is_empty() => {
                    self.node(&name(self, "read"), "Identity", &[&x], &[&features], vec![]);
                }
                Reads::EveryStep => {
                    let perm = vec![ints("perm", &[1, 0, 2])];
                    self.node(
                        &name(self, "batch_first"),
                        "Transpose",
                        &[&x],
                        &[&features],
                        perm,
                    );
                }
                Reads::LastStep => self.node(
                    &name(self, "read"),
                    "Identity",
                    &[&last[&top]],
                    &[&features],
                    vec![],
                ),
                Reads::Mean => {
                    let attributes = vec![ints("axes", &[0]), int("keepdims", 1)];
                    self.node(
                        &name(self, "read"),
                        "ReduceMean",
                        &[&x],
                        &[&features],
                        attributes,
                    );
                }
            }
            let outputs = network
                .head
                .dense
                .last()
                .map_or(width, |dense| dense.w.rows);
            let direct = [Dim::Fixed(1), Dim::Steps, Dim::Fixed(outputs)] == port.shape[..]
                && network.head.reads == Reads::EveryStep;
            let end = if direct {
                port.name.clone()
            } else {
                name(self, "logits")
            };
            let soft = match network.head.normalization {
                Normalization::None => None,
                Normalization::Softmax => Some("Softmax"),
                Normalization::LogSoftmax => Some("LogSoftmax"),
            };
            let before = if soft.is_some() {
                Some(name(self, "scores"))
            } else {
                Some(end.clone())
            };
            let before = self.dense_layers(
                &network.head.dense,
                &features,
                &format!("{prefix}head"),
                before,
            );
            match soft {
                Some(op) => self.node(
                    &name(self, "normalize"),
                    op,
                    &[&before],
                    &[&end],
                    vec![int("axis", -1)],
                ),
                None if before != end => {
                    self.node(&name(self, "end"), "Identity", &[&before], &[&end], vec![])
                }
                None => {}
            }
            for (index, port) in interface
                .outputs
                .iter()
                .filter(|port| port.role == Role::Head)
                .enumerate()
            {
                if index > 0 || !direct {
                    self.end(&end, port, &format!("{prefix}end_{index}"));
                }
            }
        }
        for (index, port) in interface.outputs.iter().enumerate() {
            if let Role::States(ids) = &port.role
                && !last.values().any(|name| *name == port.name)
            {
                let flat: Vec<String> = ids
                    .iter()
                    .enumerate()
                    .map(|(place, id)| {
                        self.reshape(
                            &last[id],
                            &name(self, &format!("flat_{index}_{place}")),
                            &[-1],
                        )
                    })
                    .collect();
                let flat: Vec<&str> = flat.iter().map(|name| &**name).collect();
                let joined = name(self, &format!("joined_{index}"));
                self.node(
                    &joined.clone(),
                    "Concat",
                    &flat,
                    &[&joined],
                    vec![int("axis", 0)],
                );
                self.end(&joined, port, &format!("{prefix}states_{index}"));
            }
            self.outputs.push(value(port, prefix));
        }
        last
    }

    /// A name that no input or output of the graph has.
    fn free(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.reserved.contains(&name) {
            name.push('_');
        }
        name
    }

    /// The states that come in, `[1, 1, H]` each.
    fn given(&mut self, ports: &[Port], prefix: &str) -> HashMap<StateId, (String, usize, bool)> {
        let mut given = HashMap::new();
        for port in ports {
            if let Role::States(ids) = &port.role {
                let alone = ids.len() == 1
                    && matches!(
                        port.shape[..],
                        [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(_)]
                    );
                let source = if alone {
                    port.name.clone()
                } else {
                    let name = self.free(&format!("{prefix}flat_{}", port.name));
                    self.reshape(&port.name, &name, &[-1])
                };
                for (place, id) in ids.iter().enumerate() {
                    given.insert(*id, (source.clone(), place, alone));
                }
            }
        }
        given
    }

    /// The name of a state before the first step, `[1, 1, H]`; empty for zeros.
    fn start(
        &mut self,
        start: &Start,
        id: StateId,
        network: &Network,
        prefix: &str,
        given: &HashMap<StateId, (String, usize, bool)>,
        encoder: &HashMap<StateId, String>,
    ) -> String {
        let units = network.layers[id.layer].hidden();
        let own = format!("{prefix}{}0_{}", if id.cell { 'c' } else { 'h' }, id.layer);
        let name = self.free(&own);
        let (dense, source) = match start {
            Start::Zero => return String::new(),
            Start::Constant(values) => {
                self.float(&name, &[1, 1, units], values);
                return name;
            }
            Start::Given => {
                let (source, place, alone) = &given[&id];
                if *alone {
                    return source.clone();
                }
                // The states of one array lie one after the other.
                let ids = network
                    .interface
                    .inputs
                    .iter()
                    .find_map(|port| match &port.role {
                        Role::States(ids) if ids.contains(&id) => Some(ids),
                        _ => None,
                    });
                let ids = ids.expect("a given state has an input");
                let begin: usize = ids[..*place]
                    .iter()
                    .map(|id| network.layers[id.layer].hidden())
                    .sum();
                let (from, to, axis) = (
                    self.free(&format!("{own}.from")),
                    self.free(&format!("{own}.to")),
                    self.free(&format!("{own}.axis")),
                );
                self.int64(&from, &[1], &[begin as i64]);
                self.int64(&to, &[1], &[(begin + units) as i64]);
                self.int64(&axis, &[1], &[0]);
                let cut = self.free(&format!("{own}.cut"));
                self.node(
                    &cut.clone(),
                    "Slice",
                    &[source, &from, &to, &axis],
                    &[&cut],
                    vec![],
                );
                return self.reshape(&cut, &name, &[1, 1, units as i64]);
            }
            Start::Features(dense) => {
                let port = network
                    .interface
                    .inputs
                    .iter()
                    .find(|port| port.role == Role::Features);
                (dense, port.expect("an input for the features").name.clone())
            }
            Start::Encoder(from, dense) => (dense, encoder[from].clone()),
        };
        let width = dense.first().map_or(units, |dense| dense.w.columns);
        let line = self.reshape(
            &source,
            &self.free(&format!("{own}.line")),
            &[1, 1, width as i64],
        );
        self.dense_layers(dense, &line, &own, None)
    }

    /// Layer `index`: `x` [T, 1, I] -> the name of its output [T, 1, H].
    #[allow(clippy::too_many_arguments)]
    fn layer(
        &mut self,
        index: usize,
        layer: &Layer,
        x: &str,
        starts: &[String],
        axis: &str,
        prefix: &str,
        ends: &dyn Fn(StateId) -> Option<String>,
        last: &mut HashMap<StateId, String>,
    ) -> String {
        let (w, r, wb, rb) = layer.weights();
        let kind = layer.name().to_lowercase();
        let gates = w.rows / layer.hidden();
        let units = layer.hidden();
        let own = self.free(&format!("{prefix}{kind}_{index}"));
        let [wn, rn, bn] =
            ["W", "R", "B"].map(|what| self.free(&format!("{prefix}{kind}_{index}.{what}")));
        self.float(&wn, &[1, gates * units, layer.inputs()], &w.data);
        self.float(&rn, &[1, gates * units, units], &r.data);
        self.float(&bn, &[1, 2 * gates * units], &[wb, rb].concat());
        let mut attributes = vec![int("hidden_size", units as i64)];
        if let Layer::Gru(gru) = layer {
            attributes.push(int("linear_before_reset", gru.linear_before_reset.into()));
        }
        attributes.extend(activations(layer));
        let y = self.free(&format!("{prefix}y_{index}"));
        let next = self.free(&format!("{prefix}x_{}", index + 1));
        let mut outputs = vec![y.clone()];
        for cell in [false, true]
            .into_iter()
            .take(1 + usize::from(layer.has_cell()))
        {
            let id = StateId { layer: index, cell };
            let letter = if cell { 'c' } else { 'h' };
            let name = ends(id).unwrap_or_else(|| self.free(&format!("{prefix}{letter}n_{index}")));
            outputs.push(name.clone());
            last.insert(id, name);
        }
        // The empty name is the lengths of the sequences: all of them whole.
        let mut inputs = vec![x, &wn, &rn, &bn, ""];
        inputs.extend(starts.iter().map(|name| &**name));
        while inputs.last() == Some(&"") {
            inputs.pop();
        }
        let outputs: Vec<&str> = outputs.iter().map(|name| &**name).collect();
        self.node(&own, layer.name(), &inputs, &outputs, attributes);
        let squeeze = self.free(&format!("{prefix}squeeze_{index}"));
        self.node(&squeeze, "Squeeze", &[&y, axis], &[&next], vec![]);
        next
    }

    /// Dense layers over the last axis of `x`; the last one's result is named `end`, where a name is given.
    fn dense_layers(
        &mut self,
        layers: &[Dense],
        x: &str,
        name: &str,
        end: Option<String>,
    ) -> String {
        let mut x = x.to_owned();
        for (index, Dense { w, b, activation }) in layers.iter().enumerate() {
            let count = layers.len();
            let own = |what: &str| {
                if count == 1 {
                    format!("{name}{what}")
                } else {
                    format!("{name}_{index}{what}")
                }
            };
            let [node, weights, bias, bias_node] =
                ["", ".weight", ".bias", "_bias"].map(|what| self.free(&own(what)));
            let product = self.free(&if name == "head" && count == 1 {
                "product".into()
            } else {
                own("_product")
            });
            // MatMul takes [inputs][outputs].
            let columns = (0..w.columns).flat_map(|i| (0..w.rows).map(move |o| (o, i)));
            let columns: Vec<f32> = columns.map(|(o, i)| w.data[o * w.columns + i]).collect();
            self.float(&weights, &[w.columns, w.rows], &columns);
            self.float(&bias, &[w.rows], b);
            self.node(&node, "MatMul", &[&x, &weights], &[&product], vec![]);
            let is_last = index + 1 == count;
            let result = match &end {
                Some(end) if is_last => end.clone(),
                _ => self.free(&own("_result")),
            };
            let linear = *activation == Activation::Linear;
            let sum = if linear {
                result.clone()
            } else {
                self.free(&own("_sum"))
            };
            self.node(&bias_node, "Add", &[&product, &bias], &[&sum], vec![]);
            if !linear {
                let (op, attributes) = operator(*activation);
                self.node(
                    &self.free(&own("_activation")),
                    op,
                    &[&sum],
                    &[&result],
                    attributes,
                );
            }
            x = result;
        }
        x
    }

    /// `source` in the shape of an output.
    fn end(&mut self, source: &str, port: &Port, name: &str) {
        let sizes: Vec<i64> = port
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
            &[&port.name],
            vec![],
        );
    }

    /// `source` in another shape, as `name`.
    fn reshape(&mut self, source: &str, name: &str, sizes: &[i64]) -> String {
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

    fn into_model(self, network: &Network) -> Vec<u8> {
        let json = "strings and numbers are always JSON";
        let mut properties = Vec::new();
        let mut texts = |key, level_key, vocabulary: &Vocabulary| {
            let texts = serde_json::to_string(vocabulary.tokens()).expect(json);
            properties.push(metadata(key, texts));
            let tokens = TokenizerMetadata::of(vocabulary);
            if tokens != TokenizerMetadata::default() {
                let tokens = serde_json::to_string(&tokens).expect(json);
                properties.push(metadata(level_key, tokens));
            }
        };
        if let Some(vocabulary) = &network.vocabulary {
            texts(VOCABULARY_KEY, LEVEL_KEY, vocabulary);
        }
        if let Some(Some(vocabulary)) = network.encoder.as_ref().map(|e| &e.vocabulary) {
            texts(ENCODER_VOCABULARY_KEY, ENCODER_LEVEL_KEY, vocabulary);
        }
        if let Some(labels) = &network.labels {
            let texts = serde_json::to_string(labels.tokens()).expect(json);
            properties.push(metadata(LABELS_KEY, texts));
        }
        if !network.channels.is_empty() {
            let names = serde_json::to_string(&network.channels).expect(json);
            properties.push(metadata(CHANNELS_KEY, names));
        }
        let encoder = network
            .encoder
            .as_deref()
            .map(|encoder| (ENCODER_GRIDS_KEY, encoder));
        for (key, network) in [(GRIDS_KEY, network)].into_iter().chain(encoder) {
            if !network.grids.is_empty() {
                let grids = serde_json::to_string(&network.grids).expect(json);
                properties.push(metadata(key, grids));
            }
        }
        properties.push(metadata(
            PROVENANCE_KEY,
            serde_json::to_string(&network.provenance).expect(json),
        ));
        let language_model = network.as_language_model().is_ok();
        let (name, about) = if language_model {
            (
                "language_model",
                "A recurrent language model: tokens and states in, logits and states out.",
            )
        } else {
            ("network", "A recurrent network.")
        };
        let model = ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            producer_name: "pipsqueak".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            doc_string: about.into(),
            graph: Some(GraphProto {
                name: name.into(),
                node: self.nodes,
                initializer: self.initializers,
                input: self.inputs,
                output: self.outputs,
                ..Default::default()
            }),
            metadata_props: properties,
            ..Default::default()
        };
        prost::Message::encode_to_vec(&model)
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

/// The attributes of a layer whose activations are not the usual ones.
fn activations(layer: &Layer) -> Vec<AttributeProto> {
    let all = match layer {
        Layer::Gru(gru) if gru.activations != Activations::default() => {
            vec![gru.activations.gate, gru.activations.candidate]
        }
        Layer::Lstm(lstm) if lstm.activations != Activations::default() => {
            let Activations { gate, candidate } = lstm.activations;
            vec![gate, candidate, candidate]
        }
        Layer::Rnn(rnn) if rnn.activation != Activation::Tanh => vec![rnn.activation],
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
fn operator(activation: Activation) -> (&'static str, Vec<AttributeProto>) {
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

fn int(name: &str, i: i64) -> AttributeProto {
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

/// The declaration of an input or output. The encoder has a length of its own.
fn value(port: &Port, prefix: &str) -> ValueInfoProto {
    let length = if prefix.is_empty() { "T" } else { "S" };
    let dim = port
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
    let element = match port.element {
        ElementType::Float => DataType::Float,
        ElementType::Int32 => DataType::Int32,
        ElementType::Int64 => DataType::Int64,
    };
    let tensor = type_proto::Tensor {
        elem_type: element.into(),
        shape: Some(TensorShapeProto { dim }),
    };
    ValueInfoProto {
        name: port.name.clone(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
