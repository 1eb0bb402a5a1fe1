//! The nodes of each kind of layer.

use super::graph::{activations, int, ints, operator};
use super::{Sequence, Writer, prefix};
use crate::network::{
    Activation, Dense, Dim, InitialState, Layer, Matrix, Op, Phase, RecurrentCell, StateId,
    TensorRole, VectorId,
};

impl Writer<'_> {
    /// Layer `index` of the source or of the step.
    pub(super) fn step_layer(&mut self, index: usize, layer: &Layer) {
        let phase = layer.phase;
        let mut made = Sequence::default();
        match &layer.op {
            Op::Token {
                vocab_size,
                embedding,
            } => {
                made.batch_first = Some(self.tokens(phase, *vocab_size, embedding.as_ref()));
            }
            Op::Frame { size } => made.batch_first = Some(self.frames(phase, *size)),
            Op::Dense(dense) => {
                let time_first = self.is_time_first(layer);
                let x = self.inputs(index, layer, time_first);
                let name = layer.name.replace(' ', "_");
                made.set(time_first, self.dense(dense, &x, &name, None));
            }
            Op::Recurrent { cell, init } => {
                let y = self.recurrent(index, layer, cell, *init);
                made.time_first = Some(y);
            }
            Op::Sum => {
                let time_first = self.is_time_first(layer);
                let inputs = layer.inputs.iter();
                let terms: Vec<String> = inputs
                    .map(|id| self.sequence(*id, phase, time_first))
                    .collect();
                made.set(time_first, self.sum(&terms, None));
            }
            // It is written where it is read, and a constant is none of these phases.
            Op::Mean | Op::Constant(_) => return,
        }
        self.sequences.insert(index, made);
    }

    /// Whether the first input of a layer is there as ONNX recurrences give it.
    fn is_time_first(&self, layer: &Layer) -> bool {
        let first = self.sequences.get(&layer.inputs[0].layer);
        first.is_some_and(|first| first.batch_first.is_none())
    }

    /// `[1, T, E]`
    fn tokens(&mut self, phase: Phase, count: usize, embedding: Option<&Matrix>) -> String {
        let tokens = self.token_ids(phase);
        let x = self.unique(phase, "x");
        match embedding {
            None => {
                let (depth, off_on) = (self.name(phase, "depth"), self.name(phase, "off_on"));
                self.graph.int64(&depth, &[], &[count as i64]);
                self.graph.float(&off_on, &[2], &[0.0, 1.0]);
                let inputs = [&*tokens, &depth, &off_on];
                let node = self.name(phase, "one_hot");
                let axis = vec![int("axis", -1)];
                self.graph.node(&node, "OneHot", &inputs, &[&x], axis);
            }
            Some(table) => {
                let weights = self.name(phase, "embedding");
                self.graph
                    .float(&weights, &[count, table.columns], &table.data);
                let node = self.name(phase, "embed");
                let axis = vec![int("axis", 0)];
                self.graph
                    .node(&node, "Gather", &[&weights, &tokens], &[&x], axis);
            }
        }
        x
    }

    /// `[1, T, size]`
    fn frames(&mut self, phase: Phase, size: usize) -> String {
        let spec = self.spec(phase, &TensorRole::Frames);
        let spec = spec.expect("the signature has the frames");
        if spec.shape[..] == [Dim::Fixed(1), Dim::Steps, Dim::Fixed(size)] {
            return spec.name;
        }
        let name = self.name(phase, "batched");
        self.graph.reshape(&spec.name, &name, &[1, -1, size as i64])
    }

    /// The joined inputs of a source or step layer.
    fn inputs(&mut self, index: usize, layer: &Layer, time_first: bool) -> String {
        let inputs = layer.inputs.iter();
        let all: Vec<String> = inputs
            .map(|id| self.sequence(*id, layer.phase, time_first))
            .collect();
        self.joined(index, all)
    }

    /// Vectors of layer `index` joined along the last axis.
    pub(super) fn joined(&mut self, index: usize, all: Vec<String>) -> String {
        if let [one] = &all[..] {
            return one.clone();
        }
        let name = self.graph.unique(&format!("inputs_{index}"));
        let all: Vec<&str> = all.iter().map(|name| &**name).collect();
        let axis = vec![int("axis", -1)];
        self.graph.node(&name, "Concat", &all, &[&name], axis);
        name
    }

    /// The sum of vectors; its name is `result`, where one is given.
    pub(super) fn sum(&mut self, terms: &[String], result: Option<String>) -> String {
        let name = result.unwrap_or_else(|| self.graph.unique("sum"));
        let terms: Vec<&str> = terms.iter().map(|name| &**name).collect();
        let node = self.graph.unique(&format!("{name}.sum"));
        self.graph.node(&node, "Sum", &terms, &[&name], vec![]);
        name
    }

    /// A vector for each step of `phase`.
    pub(super) fn sequence(&mut self, id: VectorId, phase: Phase, time_first: bool) -> String {
        let made = match self.sequences.get(&id.layer) {
            Some(made) if self.layer(id).phase == phase => made.clone(),
            _ => Sequence {
                batch_first: Some(self.repeated(id, phase)),
                time_first: None,
            },
        };
        let (wanted, other) = match time_first {
            true => (&made.time_first, &made.batch_first),
            false => (&made.batch_first, &made.time_first),
        };
        if let Some(name) = wanted {
            return name.clone();
        }
        let other = other.clone().expect("a sequence has a value");
        let (node, value) = match time_first {
            true => ("time_first", "x_0"),
            false => ("batch_first", "x_batch_first"),
        };
        let (node, value) = (self.unique(phase, node), self.unique(phase, value));
        let perm = vec![ints("perm", &[1, 0, 2])];
        self.graph
            .node(&node, "Transpose", &[&other], &[&value], perm);
        if let Some(made) = self.sequences.get_mut(&id.layer) {
            made.set(time_first, value.clone());
        }
        value
    }

    /// A vector that is computed before the first step, at each step of `phase`: `[1, T, size]`.
    fn repeated(&mut self, id: VectorId, phase: Phase) -> String {
        let network = self.network;
        let one = format!("{}one", prefix(phase));
        let one = self.initial(id, &one, &one);
        let x = self.unique(phase, "x");
        let node = self.unique(phase, "repeat");
        let Some((reader, _)) = network.reader(phase) else {
            let steps = network.fixed_steps();
            let times = self.unique(phase, "times");
            self.graph.int64(&times, &[steps], &vec![0; steps]);
            let axis = vec![int("axis", 1)];
            self.graph
                .node(&node, "Gather", &[&one, &times], &[&x], axis);
            return x;
        };
        let steps = self.sequence(VectorId::result(reader), phase, false);
        let own = |what: &str| format!("{x}.{what}");
        let [all, from, to, length, ones, shape] =
            ["all", "from", "to", "length", "ones", "shape"].map(own);
        self.graph.int64(&from, &[1], &[1]);
        self.graph.int64(&to, &[1], &[2]);
        self.graph.int64(&ones, &[1], &[1]);
        self.graph.node(&all, "Shape", &[&steps], &[&all], vec![]);
        self.graph
            .node(&length, "Slice", &[&all, &from, &to], &[&length], vec![]);
        let axis = vec![int("axis", 0)];
        let inputs = [&*ones, &length, &ones];
        self.graph.node(&shape, "Concat", &inputs, &[&shape], axis);
        self.graph
            .node(&node, "Expand", &[&one, &shape], &[&x], vec![]);
        x
    }

    /// A vector after each token: of several steps the last one.
    pub(super) fn after_repeats(&mut self, id: VectorId, time_first: bool) -> String {
        let phase = match self.layer(id).phase {
            Phase::Source => Phase::Source,
            _ => Phase::Step,
        };
        let steps = self.network.steps_per_token(phase) as i64;
        if steps == 1 {
            return self.sequence(id, phase, time_first);
        }
        // A slice that leaves steps out would do too, but tract runs none over a length that is not known.
        let x = self.sequence(id, phase, true);
        let size = self.network.size(id) as i64;
        let by_token = self.unique(phase, "by_token");
        let each = self.graph.reshape(&x, &by_token, &[-1, steps, size]);
        let [from, to, axis, read, node] = [
            "last_step",
            "past_last",
            "step_axis",
            "last_steps",
            "read_last",
        ]
        .map(|what| self.unique(phase, what));
        for (name, value) in [(&from, steps - 1), (&to, steps), (&axis, 1)] {
            self.graph.int64(name, &[1], &[value]);
        }
        let inputs = [&*each, &from, &to, &axis];
        self.graph.node(&node, "Slice", &inputs, &[&read], vec![]);
        if time_first {
            return read;
        }
        let (node, value) = (
            self.unique(phase, "batch_first"),
            self.unique(phase, "x_batch_first"),
        );
        let perm = vec![ints("perm", &[1, 0, 2])];
        self.graph
            .node(&node, "Transpose", &[&read], &[&value], perm);
        value
    }

    /// The last step of `x` `[1, T, size]`, as `[1, 1, size]` of this name.
    pub(super) fn last_step(&mut self, x: &str, name: &str) -> String {
        let [from, to, axis, node] =
            ["from", "to", "axis", "cut"].map(|what| self.graph.unique(&format!("{name}.{what}")));
        self.graph.int64(&from, &[1], &[-1]);
        self.graph.int64(&to, &[1], &[i64::MAX]);
        self.graph.int64(&axis, &[1], &[1]);
        let inputs = [x, &from, &to, &axis];
        self.graph.node(&node, "Slice", &inputs, &[name], vec![]);
        name.to_owned()
    }

    /// Recurrent layer `index`; returns the name of its result, `[T, 1, H]`.
    fn recurrent(
        &mut self,
        index: usize,
        layer: &Layer,
        cell: &RecurrentCell,
        init: [InitialState; 2],
    ) -> String {
        let phase = layer.phase;
        let mut before = self.network.recurrent(phase);
        let number = before.position(|(other, _)| other == index);
        let number = number.expect("a recurrent layer of its phase");
        let x = self.inputs(index, layer, true);
        let axis = match self.axes.get(prefix(phase)) {
            Some(axis) => axis.clone(),
            None => {
                let axis = self.name(phase, "direction_axis");
                self.graph.int64(&axis, &[1], &[1]);
                self.axes.insert(prefix(phase), axis.clone());
                axis
            }
        };
        let states = [false, true].into_iter();
        let states = states.take(1 + usize::from(cell.has_cell()));
        let states: Vec<(VectorId, StateId)> = states
            .map(|is_cell_state| {
                let vector = VectorId {
                    layer: index,
                    is_cell_state,
                };
                let id = StateId {
                    layer: number,
                    cell: is_cell_state,
                };
                (vector, id)
            })
            .collect();
        let starts: Vec<String> = states
            .iter()
            .zip(init)
            .map(|((vector, _), init)| self.initial_state(*vector, init, number))
            .collect();
        let (w, r, wb, rb) = cell.weights();
        let kind = cell.name().to_lowercase();
        let (rows, units) = (w.rows, cell.hidden());
        let own = self.name(phase, &format!("{kind}_{number}"));
        let [wn, rn, bn] =
            ["W", "R", "B"].map(|what| self.name(phase, &format!("{kind}_{number}.{what}")));
        self.graph.float(&wn, &[1, rows, cell.inputs()], &w.data);
        self.graph.float(&rn, &[1, rows, units], &r.data);
        self.graph.float(&bn, &[1, 2 * rows], &[wb, rb].concat());
        let mut attributes = vec![int("hidden_size", units as i64)];
        if let RecurrentCell::Gru(gru) = cell {
            attributes.push(int("linear_before_reset", gru.linear_before_reset.into()));
        }
        attributes.extend(activations(cell));
        let y = self.name(phase, &format!("y_{number}"));
        let next = self.unique(phase, &format!("x_{}", number + 1));
        let mut outputs = vec![y.clone()];
        for (vector, id) in states {
            let letter = if id.cell { 'c' } else { 'h' };
            let name = self.state_output(phase, id);
            let name = name.unwrap_or_else(|| self.name(phase, &format!("{letter}n_{number}")));
            outputs.push(name.clone());
            self.last.insert(vector, name);
        }
        // The empty name is the lengths of the sequences: all of them whole.
        let mut inputs = vec![&*x, &wn, &rn, &bn, ""];
        inputs.extend(starts.iter().map(|name| &**name));
        while inputs.last() == Some(&"") {
            inputs.pop();
        }
        let outputs: Vec<&str> = outputs.iter().map(|name| &**name).collect();
        self.graph
            .node(&own, cell.name(), &inputs, &outputs, attributes);
        let squeeze = self.name(phase, &format!("squeeze_{number}"));
        self.graph
            .node(&squeeze, "Squeeze", &[&y, &axis], &[&next], vec![]);
        next
    }

    /// A dense layer over the last axis of `x`; its nodes are named `name`, its result `result`, where a name is given.
    pub(super) fn dense(
        &mut self,
        dense: &Dense,
        x: &str,
        name: &str,
        result: Option<String>,
    ) -> String {
        let Dense { w, b, activation } = dense;
        let own = |what: &str| format!("{name}{what}");
        let [node, weights, bias, bias_node] =
            ["", ".weight", ".bias", "_bias"].map(|what| self.graph.free(&own(what)));
        let product = self.graph.free(&match name {
            "head" => "product".into(),
            _ => own("_product"),
        });
        // MatMul takes [inputs][outputs].
        let columns = (0..w.columns).flat_map(|i| (0..w.rows).map(move |o| (o, i)));
        let columns: Vec<f32> = columns.map(|(o, i)| w.data[o * w.columns + i]).collect();
        self.graph.float(&weights, &[w.columns, w.rows], &columns);
        self.graph.float(&bias, &[w.rows], b);
        self.graph
            .node(&node, "MatMul", &[x, &weights], &[&product], vec![]);
        let result = result.unwrap_or_else(|| self.graph.free(&own("_result")));
        let linear = *activation == Activation::Linear;
        let sum = match linear {
            true => result.clone(),
            false => self.graph.free(&own("_sum")),
        };
        self.graph
            .node(&bias_node, "Add", &[&product, &bias], &[&sum], vec![]);
        if !linear {
            let (op, attributes) = operator(*activation);
            let node = self.graph.free(&own("_activation"));
            self.graph.node(&node, op, &[&sum], &[&result], attributes);
        }
        result
    }
}

impl Sequence {
    fn set(&mut self, time_first: bool, name: String) {
        match time_first {
            true => self.time_first = Some(name),
            false => self.batch_first = Some(name),
        }
    }
}
