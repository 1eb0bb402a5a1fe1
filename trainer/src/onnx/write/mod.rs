//! Network -> ONNX bytes.

use crate::network::{
    Dim, ElementType, InitialState, Layer, Network, Normalization, Op, Phase, StateId, TensorRole,
    TensorSpec, VectorId,
};
use graph::{Graph, int, ints};
use std::collections::HashMap;
use tract_onnx::pb::tensor_proto::DataType;

mod graph;
mod layers;
mod model;
#[cfg(test)]
mod tests;

/// Writes `network` as an ONNX file. The same network always gives the same bytes.
///
/// See the [module](super) for the graph. [`read`](super::read()) gives the network back, bit for bit, but for two things: a
/// loss in the provenance that is not a number comes back as none, and one sequence is run at a time.
///
/// # Panics
/// If the network's signature lacks what a layer reads.
pub fn write(network: &Network) -> Vec<u8> {
    let specs = network.input_specs().chain(network.output_specs());
    let reserved = specs.map(|spec| spec.name.clone()).collect();
    let mut writer = Writer {
        network,
        graph: Graph::new(reserved),
        sequences: HashMap::new(),
        once: HashMap::new(),
        last: HashMap::new(),
        external: HashMap::new(),
        axes: HashMap::new(),
    };
    for phase in network.step_phases() {
        writer.subnet(phase);
    }
    model::into_model(writer.graph, network)
}

/// A vector of each step.
#[derive(Clone, Default)]
struct Sequence {
    /// `[1, T, size]`
    batch_first: Option<String>,
    /// `[T, 1, size]`, as ONNX recurrences take it.
    time_first: Option<String>,
}

/// A state that comes in.
#[derive(Clone)]
struct External {
    /// The input, or all its values in one dimension.
    source: String,
    /// The first of the state's elements in it; none where the input is the state alone, `[1, 1, H]`.
    begin: Option<usize>,
}

struct Writer<'n> {
    network: &'n Network,
    graph: Graph,
    /// The results of source and step layers, by layer.
    sequences: HashMap<usize, Sequence>,
    /// Vectors that are computed once or read after the last step, `[1, 1, size]`; and the outputs' layers for every step.
    once: HashMap<(VectorId, bool), String>,
    /// States after the last step, `[1, 1, H]`.
    last: HashMap<VectorId, String>,
    external: HashMap<VectorId, External>,
    /// The axis of directions, of the source and of the step.
    axes: HashMap<&'static str, String>,
}

/// What the names of the source's values begin with.
fn prefix(phase: Phase) -> &'static str {
    match phase {
        Phase::Source => "encoder_",
        _ => "",
    }
}

/// The symbol of a phase's number of steps.
fn length(phase: Phase) -> &'static str {
    match phase {
        Phase::Source => "S",
        _ => "T",
    }
}

impl Writer<'_> {
    fn layer(&self, id: VectorId) -> &Layer {
        &self.network.layers()[id.layer]
    }

    /// A name in a phase that no input or output of the graph has.
    fn name(&self, phase: Phase, what: &str) -> String {
        self.graph.free(&format!("{}{what}", prefix(phase)))
    }

    /// The same, and none that this gave before.
    fn unique(&mut self, phase: Phase, what: &str) -> String {
        self.graph.unique(&format!("{}{what}", prefix(phase)))
    }

    fn spec(&self, phase: Phase, role: &TensorRole) -> Option<TensorSpec> {
        let mut inputs = self.network.signature(phase).inputs.iter();
        inputs.find(|spec| spec.role == *role).cloned()
    }

    /// The layers of the source or of the step, and its outputs.
    fn subnet(&mut self, phase: Phase) {
        let network = self.network;
        for spec in &network.signature(phase).inputs {
            self.graph.input(spec, length(phase));
        }
        self.external_states(phase);
        for (index, layer) in network.layers().iter().enumerate() {
            if layer.phase == phase {
                self.step_layer(index, layer);
            }
        }
        if phase == Phase::Step {
            for index in 0..network.outputs().len() {
                self.output(index);
            }
        }
        for (index, spec) in network.signature(phase).outputs.iter().enumerate() {
            self.states(phase, index, spec);
            self.graph.output(spec, length(phase));
        }
    }

    /// The states that come in.
    fn external_states(&mut self, phase: Phase) {
        let network = self.network;
        for spec in &network.signature(phase).inputs {
            let TensorRole::States(ids) = &spec.role else {
                continue;
            };
            let alone = ids.len() == 1 && is_state_shape(spec);
            let source = match alone {
                true => spec.name.clone(),
                false => {
                    let name = self.name(phase, &format!("flat_{}", spec.name));
                    self.graph.reshape(&spec.name, &name, &[-1])
                }
            };
            let mut begin = 0;
            for id in ids {
                let vector = network.state_vector(phase, *id);
                let external = External {
                    source: source.clone(),
                    begin: (!alone).then_some(begin),
                };
                self.external.insert(vector, external);
                begin += network.size(vector);
            }
        }
    }

    /// The states after the last step, where output `index` of the graph has any.
    fn states(&mut self, phase: Phase, index: usize, spec: &TensorSpec) {
        let TensorRole::States(ids) = &spec.role else {
            return;
        };
        if self.last.values().any(|name| *name == spec.name) {
            return;
        }
        let flat: Vec<String> = ids
            .iter()
            .enumerate()
            .map(|(place, id)| {
                let name = self.name(phase, &format!("flat_{index}_{place}"));
                let last = self.last[&self.network.state_vector(phase, *id)].clone();
                self.graph.reshape(&last, &name, &[-1])
            })
            .collect();
        let flat: Vec<&str> = flat.iter().map(|name| &**name).collect();
        let joined = self.name(phase, &format!("joined_{index}"));
        let axis = vec![int("axis", 0)];
        self.graph.node(&joined, "Concat", &flat, &[&joined], axis);
        let name = format!("{}states_{index}", prefix(phase));
        self.graph.end(&joined, spec, &name);
    }

    /// Output `index` of the network.
    fn output(&mut self, index: usize) {
        let network = self.network;
        let output = &network.outputs()[index];
        let role = TensorRole::of_output(index);
        let specs = network.signature(Phase::Step).outputs.iter();
        let specs: Vec<&TensorSpec> = specs.filter(|spec| spec.role == role).collect();
        let Some(first) = specs.first() else {
            return;
        };
        let size = network.size(output.vector);
        let direct =
            [Dim::Fixed(1), Dim::Steps, Dim::Fixed(size)] == first.shape[..] && output.every_step;
        let end = match direct {
            true => first.name.clone(),
            false => self.unique(Phase::Step, "logits"),
        };
        let normalize = match output.normalization {
            Normalization::None => None,
            Normalization::Softmax => Some("Softmax"),
            Normalization::LogSoftmax => Some("LogSoftmax"),
        };
        let result = match normalize {
            Some(_) => self.unique(Phase::Step, "scores"),
            None => end.clone(),
        };
        let before = self.late_value(output.vector, output.every_step, Some(result));
        match normalize {
            Some(op) => {
                let name = self.unique(Phase::Step, "normalize");
                let axis = vec![int("axis", -1)];
                self.graph.node(&name, op, &[&before], &[&end], axis);
            }
            None if before != end => {
                let name = self.unique(Phase::Step, "end");
                self.graph
                    .node(&name, "Identity", &[&before], &[&end], vec![]);
            }
            None => {}
        }
        for (place, spec) in specs.iter().enumerate().skip(usize::from(direct)) {
            let name = match index {
                0 => format!("end_{place}"),
                _ => format!("end_{index}_{place}"),
            };
            self.graph.end(&end, spec, &name);
        }
    }

    /// What an output or an output layer reads of `id`: `[1, T, size]` for every step, or `[1, 1, size]` after the last one. The result
    /// of an output layer that is not written yet is named `result`, where a name is given.
    fn late_value(&mut self, id: VectorId, every_step: bool, result: Option<String>) -> String {
        if let Some(value) = self.once.get(&(id, every_step)) {
            return value.clone();
        }
        let layer = self.layer(id).clone();
        let value = match (layer.phase, &layer.op) {
            (Phase::Output, Op::Dense(dense)) => {
                let x = self.late_inputs(id.layer, &layer, every_step);
                let name = self.dense_name(&layer, every_step);
                self.dense(dense, &x, &name, result)
            }
            (Phase::Output, _) => {
                let terms = layer.inputs.iter();
                let terms: Vec<String> = terms
                    .map(|id| self.late_value(*id, every_step, None))
                    .collect();
                self.sum(&terms, result)
            }
            (Phase::Begin, _) if !every_step => {
                let own = layer.name.replace(' ', "_");
                self.initial(id, &own, &format!("{own}.line"))
            }
            (_, Op::Mean) => self.mean(&layer, every_step),
            (_, Op::Recurrent { .. }) if !every_step => {
                let features = self.unique(Phase::Step, "features");
                let node = self.unique(Phase::Step, "read");
                let last = self.last[&id].clone();
                self.graph
                    .node(&node, "Identity", &[&last], &[&features], vec![]);
                features
            }
            (_, Op::Recurrent { .. }) => {
                let x = self.after_repeats(id, true);
                let features = self.unique(Phase::Step, "features");
                let perm = vec![ints("perm", &[1, 0, 2])];
                let node = self.unique(Phase::Step, "batch_first");
                self.graph
                    .node(&node, "Transpose", &[&x], &[&features], perm);
                features
            }
            _ => {
                let x = self.after_repeats(id, false);
                let features = self.unique(Phase::Step, "features");
                match every_step {
                    true => {
                        let node = self.unique(Phase::Step, "read");
                        self.graph
                            .node(&node, "Identity", &[&x], &[&features], vec![]);
                        features
                    }
                    false => self.last_step(&x, &features),
                }
            }
        };
        self.once.insert((id, every_step), value.clone());
        value
    }

    /// The joined inputs of an output layer.
    fn late_inputs(&mut self, index: usize, layer: &Layer, every_step: bool) -> String {
        let inputs = layer.inputs.iter();
        let all: Vec<String> = inputs
            .map(|id| self.late_value(*id, every_step, None))
            .collect();
        self.joined(index, all)
    }

    /// The mean over the steps, `[1, 1, size]`, or at every step the mean so far, `[1, T, size]`.
    fn mean(&mut self, layer: &Layer, every_step: bool) -> String {
        let x = self.after_repeats(layer.inputs[0], true);
        let features = self.unique(Phase::Step, "features");
        let node = self.unique(Phase::Step, "read");
        if !every_step {
            let attributes = vec![ints("axes", &[0]), int("keepdims", 1)];
            self.graph
                .node(&node, "ReduceMean", &[&x], &[&features], attributes);
            return features;
        }
        let own = |what: &str| format!("{features}.{what}");
        let [zero, one, axis] = ["zero", "one", "axis"].map(own);
        self.graph.float(&zero, &[1], &[0.0]);
        self.graph.float(&one, &[1], &[1.0]);
        self.graph.int64(&axis, &[], &[0]);
        let [zeros, ones, count, sum, mean] = ["zeros", "ones", "count", "sum", "mean"].map(own);
        let perm = vec![ints("perm", &[1, 0, 2])];
        for (op, inputs, output) in [
            ("Mul", [&x, &zero], &zeros),
            ("Add", [&zeros, &one], &ones),
            ("CumSum", [&ones, &axis], &count),
            ("CumSum", [&x, &axis], &sum),
            ("Div", [&sum, &count], &mean),
        ] {
            let inputs = inputs.map(|name| &**name);
            self.graph.node(output, op, &inputs, &[output], vec![]);
        }
        self.graph
            .node(&node, "Transpose", &[&mean], &[&features], perm);
        features
    }

    /// The name of a dense layer's nodes: of one that is written for every step and after the last one, two.
    fn dense_name(&self, layer: &Layer, every_step: bool) -> String {
        let name = layer.name.replace(' ', "_");
        let outputs = self.network.outputs();
        let both = outputs.iter().any(|output| output.every_step) && !every_step;
        match both {
            true => format!("{name}_last"),
            false => name,
        }
    }

    /// A vector that is computed before the first step, or a state after the last step of the source, as `[1, 1, size]`. `own` is the
    /// name of a constant, and `line` that of what comes in or out of the source in this shape.
    pub(super) fn initial(&mut self, id: VectorId, own: &str, line: &str) -> String {
        if let Some(value) = self.once.get(&(id, false)) {
            return value.clone();
        }
        let layer = self.layer(id).clone();
        let shape = [1, 1, self.network.size(id) as i64];
        match (layer.phase, &layer.op) {
            (Phase::Begin, Op::Constant(values)) => {
                let name = self.graph.unique(own);
                self.graph.float(&name, &[1, 1, values.len()], values);
                self.once.insert((id, false), name.clone());
                name
            }
            (Phase::Begin, Op::Dense(dense)) => {
                let inputs = layer.inputs.iter();
                let inputs: Vec<String> = inputs.map(|id| self.initial(*id, own, line)).collect();
                let x = self.joined(id.layer, inputs);
                let name = layer.name.replace(' ', "_");
                let value = self.dense(dense, &x, &name, None);
                self.once.insert((id, false), value.clone());
                value
            }
            (Phase::Begin, Op::Frame { .. }) => {
                let name = self.features();
                let value = self.graph.unique(line);
                self.graph.reshape(&name, &value, &shape)
            }
            (Phase::Begin, _) => {
                let inputs = layer.inputs.iter();
                let terms: Vec<String> = inputs.map(|id| self.initial(*id, own, line)).collect();
                let value = self.sum(&terms, None);
                self.once.insert((id, false), value.clone());
                value
            }
            _ => {
                let source = match self.last.get(&id) {
                    Some(last) => last.clone(),
                    None => {
                        let x = self.after_repeats(id, false);
                        let name = self.unique(layer.phase, "last");
                        self.last_step(&x, &name)
                    }
                };
                let value = self.graph.unique(line);
                self.graph.reshape(&source, &value, &shape)
            }
        }
    }

    /// The input of the conditioning features.
    fn features(&self) -> String {
        let mut specs = self.network.input_specs();
        let spec = specs.find(|spec| spec.role == TensorRole::Features);
        spec.expect("the signature has the features").name.clone()
    }

    /// The name of an initial state of recurrent layer `id.layer`, `[1, 1, H]`; empty for zeros.
    fn initial_state(&mut self, id: VectorId, init: InitialState, number: usize) -> String {
        let phase = self.layer(id).phase;
        let letter = if id.is_cell_state { 'c' } else { 'h' };
        let own = format!("{}{letter}0_{number}", prefix(phase));
        match init {
            InitialState::Zero => String::new(),
            InitialState::Vector(from) => self.initial(from, &own, &format!("{own}.line")),
            InitialState::External => match self.external.get(&id).cloned() {
                // The signature does not name it: nobody gives it.
                None => String::new(),
                Some(External {
                    source,
                    begin: None,
                }) => source,
                Some(External {
                    source,
                    begin: Some(begin),
                }) => {
                    let units = self.network.size(id);
                    let cut = self.graph.free(&format!("{own}.cut"));
                    let [from, to, axis] = ["from", "to", "axis"]
                        .map(|what| self.graph.free(&format!("{own}.{what}")));
                    self.graph.int64(&from, &[1], &[begin as i64]);
                    self.graph.int64(&to, &[1], &[(begin + units) as i64]);
                    self.graph.int64(&axis, &[1], &[0]);
                    let inputs = [&*source, &from, &to, &axis];
                    self.graph.node(&cut, "Slice", &inputs, &[&cut], vec![]);
                    let name = self.graph.free(&own);
                    self.graph.reshape(&cut, &name, &[1, 1, units as i64])
                }
            },
        }
    }

    /// The output of the graph that is this state as ONNX gives it.
    fn state_output(&self, phase: Phase, id: StateId) -> Option<String> {
        let role = TensorRole::States(vec![id]);
        let mut outputs = self.network.signature(phase).outputs.iter();
        let spec = outputs.find(|spec| spec.role == role && is_state_shape(spec));
        spec.map(|spec| spec.name.clone())
    }

    /// The ids of `phase`'s tokens as `[1, T]` of int64, each as often as the recurrent layers run.
    fn token_ids(&mut self, phase: Phase) -> String {
        let spec = self.spec(phase, &TensorRole::Tokens);
        let spec = spec.expect("the signature has the tokens");
        let mut tokens = spec.name.clone();
        if spec.element != ElementType::Int64 {
            let cast = self.name(phase, "ids");
            let to = vec![int("to", DataType::Int64 as i64)];
            let node = self.name(phase, "cast");
            self.graph.node(&node, "Cast", &[&tokens], &[&cast], to);
            tokens = cast;
        }
        if spec.shape[..] != [Dim::Fixed(1), Dim::Steps] {
            let batched = self.name(phase, "batched");
            tokens = self.graph.reshape(&tokens, &batched, &[1, -1]);
        }
        let steps = self.network.steps_per_token(phase);
        if steps > 1 {
            let each = self.name(phase, "each");
            tokens = self.graph.reshape(&tokens, &each, &[1, -1, 1]);
            let (times, all) = (self.name(phase, "times"), self.name(phase, "steps"));
            self.graph.int64(&times, &[3], &[1, 1, steps as i64]);
            let tile = self.unique(phase, "repeat");
            self.graph
                .node(&tile, "Tile", &[&tokens, &times], &[&all], vec![]);
            let repeated = self.name(phase, "repeated");
            tokens = self.graph.reshape(&all, &repeated, &[1, -1]);
        }
        tokens
    }
}

/// Whether an array is one state as ONNX has it, `[1, 1, H]`.
fn is_state_shape(spec: &TensorSpec) -> bool {
    matches!(
        spec.shape[..],
        [Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(_)]
    )
}
