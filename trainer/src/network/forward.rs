//! Running a float network, step by step or on a whole sequence.

use super::layer::{InitialState, Op, Phase, VectorId};
use super::{Dense, LayerInput, Network, Normalization, StateId, subnet};
use std::ops::Range;

/// The vectors of a network between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The result of each layer, as far as it has run: `[size]`. Hidden states are there from the beginning; rows of an embedding are not.
    results: Vec<Vec<f32>>,
    /// The cell state of each LSTM layer; of each mean the sum over the steps and, as the last element, their number; else nothing.
    accumulators: Vec<Vec<f32>>,
    /// The last token of the source and of the step.
    tokens: [usize; 2],
}

impl State {
    /// The result of layer `layer`: of a recurrent layer its hidden state.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn result(&self, layer: usize) -> &[f32] {
        &self.results[layer]
    }

    /// A vector that is kept: a result, or a cell state.
    fn kept(&self, id: VectorId) -> &[f32] {
        match id.is_cell_state {
            true => &self.accumulators[id.layer],
            false => &self.results[id.layer],
        }
    }

    fn set(&mut self, id: VectorId, values: Vec<f32>) {
        match id.is_cell_state {
            true => self.accumulators[id.layer] = values,
            false => self.results[id.layer] = values,
        }
    }
}

/// What the source or the step of a sequence reads. What it has no use for is left empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubnetInputs {
    /// Token ids, one for each step.
    pub tokens: Vec<usize>,
    /// `[T][size]`
    pub frames: Vec<f32>,
    /// The states that are given by the caller, `[H]` each; other [external](InitialState::External) ones are zero.
    pub states: Vec<(StateId, Vec<f32>)>,
}

/// What one sequence is made of. What the network has no use for is left empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// What an encoder reads.
    pub source: SubnetInputs,
    /// What the network itself reads.
    pub step: SubnetInputs,
    /// The conditioning features.
    pub features: Vec<f32>,
}

impl SubnetInputs {
    /// These tokens and nothing else.
    pub fn of_tokens(tokens: &[u16]) -> Self {
        Self {
            tokens: tokens.iter().map(|token| usize::from(*token)).collect(),
            ..Self::default()
        }
    }
}

impl Inputs {
    /// These tokens and nothing else.
    pub fn of_tokens(tokens: &[u16]) -> Self {
        Self {
            step: SubnetInputs::of_tokens(tokens),
            ..Self::default()
        }
    }

    /// What the source or the step reads.
    pub fn of(&self, phase: Phase) -> &SubnetInputs {
        match phase {
            Phase::Source => &self.source,
            _ => &self.step,
        }
    }

    pub(crate) fn of_mut(&mut self, phase: Phase) -> &mut SubnetInputs {
        match phase {
            Phase::Source => &mut self.source,
            _ => &mut self.step,
        }
    }
}

/// The states of recurrent layers, by their numbers among the recurrent layers of a phase.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// Hidden state of each layer, `[H]`.
    pub hidden: Vec<Vec<f32>>,
    /// Cell state of each layer, `[H]`; empty for a layer that has none.
    pub cell: Vec<Vec<f32>>,
}

impl States {
    /// One state.
    pub fn get(&self, id: StateId) -> &[f32] {
        match id.cell {
            true => &self.cell[id.layer],
            false => &self.hidden[id.layer],
        }
    }
}

/// What a sequence gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Each output after its normalization: `[T][size]`, or `[size]` where it is computed after the last step only.
    pub values: Vec<Vec<f32>>,
    /// The states of the source and of the step after their last steps.
    pub states: [States; 2],
}

/// What is called while a network runs.
pub(crate) trait Hook {
    /// Recurrent layer `layer` is about to run on `x`, with the hidden state `h`.
    fn before_recurrent(&mut self, layer: usize, x: LayerInput, h: &[f32]) {
        let _ = (layer, x, h);
    }

    /// Layer `layer`, not a recurrent one, has computed `result`.
    fn after(&mut self, layer: usize, result: &[f32]) {
        let _ = (layer, result);
    }
}

impl Hook for () {}

/// What the caller gives at one step.
#[derive(Clone, Copy)]
enum StepInput<'a> {
    Token(usize),
    Frame(&'a [f32]),
    Nothing,
}

impl Network {
    /// A state of zeros.
    pub fn state(&self) -> State {
        let layers = || self.layers().iter().enumerate();
        let zeros = |index: usize| vec![0.0; self.sizes[index]];
        let results = layers().map(|(index, layer)| match layer.op {
            Op::Recurrent { .. } | Op::Mean => zeros(index),
            _ => Vec::new(),
        });
        let accumulators = layers().map(|(index, layer)| match &layer.op {
            Op::Recurrent { cell, .. } if cell.has_cell() => zeros(index),
            Op::Mean => vec![0.0; self.sizes[index] + 1],
            _ => Vec::new(),
        });
        State {
            results: results.collect(),
            accumulators: accumulators.collect(),
            tokens: [0; 2],
        }
    }

    /// The state before the first step, for these features, these given states and this source.
    ///
    /// # Panics
    /// If an input is missing, has another length than the network's sizes say, or holds an id that is no token.
    pub fn initial_state(&self, inputs: &Inputs) -> State {
        self.begin(inputs, &mut ())
    }

    fn begin(&self, inputs: &Inputs, hook: &mut dyn Hook) -> State {
        let mut state = self.state();
        let features = StepInput::Frame(&inputs.features);
        self.run_layers(
            self.segments.begin_source.clone(),
            &mut state,
            features,
            hook,
        );
        if self.has_source() {
            self.initialize(Phase::Source, &mut state, inputs);
            self.each_step(Phase::Source, inputs, |input| {
                self.run_step(Phase::Source, &mut state, input, hook);
            });
            self.run_layers(self.segments.begin_step.clone(), &mut state, features, hook);
        }
        self.initialize(Phase::Step, &mut state, inputs);
        state
    }

    /// Sets the initial states of the recurrent layers of `phase`.
    fn initialize(&self, phase: Phase, state: &mut State, inputs: &Inputs) {
        for index in self.segments.steps(phase) {
            let Op::Recurrent { init, .. } = &self.layers()[index].op else {
                continue;
            };
            for (init, id) in init
                .iter()
                .zip([VectorId::result(index), VectorId::cell_state(index)])
            {
                if let InitialState::Vector(from) = init {
                    let values = state.kept(*from).to_vec();
                    state.set(id, values);
                }
            }
        }
        for (id, values) in &inputs.of(phase).states {
            let vector = self.state_vector(phase, *id);
            assert_eq!(values.len(), self.size(vector), "values of {id:?}");
            state.set(vector, values.clone());
        }
    }

    /// Runs one step on `token`; the recurrent layers run [`steps_per_token`](Self::steps_per_token) times.
    ///
    /// # Panics
    /// If `token` is not below [`tokens`](Self::tokens), or the network reads no tokens.
    pub fn step(&self, state: &mut State, token: u16) {
        assert!(usize::from(token) < self.tokens(), "token {token}");
        let input = StepInput::Token(token.into());
        self.run_step(Phase::Step, state, input, &mut ());
    }

    fn run_step(&self, phase: Phase, state: &mut State, input: StepInput, hook: &mut dyn Hook) {
        let parts = self.segments.parts(self.layers(), phase);
        let times = [1, self.steps_per_token(phase), 1];
        for (part, times) in parts.into_iter().zip(times) {
            for _ in 0..times {
                self.run_layers(part.clone(), state, input, hook);
            }
        }
    }

    fn run_layers(
        &self,
        range: Range<usize>,
        state: &mut State,
        input: StepInput,
        hook: &mut dyn Hook,
    ) {
        for index in range {
            let layer = &self.layers()[index];
            match (&layer.op, input) {
                (Op::Token { vocab_size, .. }, StepInput::Token(token)) => {
                    assert!(token < *vocab_size, "token {token} of {vocab_size}");
                    state.tokens[subnet(layer.phase)] = token;
                }
                (Op::Frame { size }, StepInput::Frame(frame)) => {
                    assert_eq!(frame.len(), *size, "elements of {:?}", layer.name);
                    state.results[index] = frame.to_vec();
                    hook.after(index, frame);
                }
                (Op::Token { .. } | Op::Frame { .. }, _) => panic!("no input for {:?}", layer.name),
                (Op::Recurrent { cell, .. }, _) => {
                    let mut h = std::mem::take(&mut state.results[index]);
                    let mut c = std::mem::take(&mut state.accumulators[index]);
                    let mut joined = Vec::new();
                    let x = self.layer_input(&layer.inputs, state, &[], &mut joined);
                    hook.before_recurrent(index, x, &h);
                    cell.step(x, &mut h, &mut c);
                    (state.results[index], state.accumulators[index]) = (h, c);
                }
                (Op::Mean, _) => {
                    let mut sum = std::mem::take(&mut state.accumulators[index]);
                    let mut joined = Vec::new();
                    let x = self.vector_input(&layer.inputs, state, &[], &mut joined);
                    sum.iter_mut()
                        .zip(x.iter().chain(&[1.0]))
                        .for_each(|(sum, x)| *sum += x);
                    let (steps, sums) = sum.split_last().expect("a number of steps");
                    state.results[index] = sums.iter().map(|sum| sum / steps).collect();
                    state.accumulators[index] = sum;
                }
                (Op::Constant(_) | Op::Dense(_) | Op::Sum, _) => {
                    let result = self.compute(index, state, &[]);
                    hook.after(index, &result);
                    state.results[index] = result;
                }
            }
        }
    }

    /// The result of a layer that depends on its inputs alone. `late` are the results of the output layers before it.
    fn compute(&self, index: usize, state: &State, late: &[Vec<f32>]) -> Vec<f32> {
        let layer = &self.layers()[index];
        match &layer.op {
            Op::Constant(values) => values.clone(),
            Op::Sum => {
                let term = |id: &VectorId| {
                    let mut joined = Vec::new();
                    let x = self.vector_input(&[*id], state, late, &mut joined);
                    x.to_vec()
                };
                let add = |mut sum: Vec<f32>, term: Vec<f32>| {
                    sum.iter_mut().zip(term).for_each(|(sum, x)| *sum += x);
                    sum
                };
                layer
                    .inputs
                    .iter()
                    .map(term)
                    .reduce(add)
                    .unwrap_or_default()
            }
            Op::Dense(dense) => {
                let mut joined = Vec::new();
                let x = self.vector_input(&layer.inputs, state, late, &mut joined);
                apply_dense(dense, x)
            }
            Op::Token { .. } | Op::Frame { .. } | Op::Recurrent { .. } | Op::Mean => {
                unreachable!("the other layers run in their own phases")
            }
        }
    }

    /// The vectors `ids`, joined.
    fn layer_input<'s>(
        &'s self,
        ids: &[VectorId],
        state: &'s State,
        late: &'s [Vec<f32>],
        joined: &'s mut Vec<f32>,
    ) -> LayerInput<'s> {
        if let [id] = ids
            && let Op::Token {
                embedding: None, ..
            } = &self.layers()[id.layer].op
        {
            return LayerInput::OneHot(state.tokens[subnet(self.layers()[id.layer].phase)]);
        }
        LayerInput::Vector(self.vector_input(ids, state, late, joined))
    }

    /// The same with a one-hot token as a vector.
    fn vector_input<'s>(
        &'s self,
        ids: &[VectorId],
        state: &'s State,
        late: &'s [Vec<f32>],
        joined: &'s mut Vec<f32>,
    ) -> &'s [f32] {
        if let [id] = ids
            && let Some(x) = self.borrowed(*id, state, late)
        {
            return x;
        }
        for id in ids {
            match self.borrowed(*id, state, late) {
                Some(x) => joined.extend(x),
                None => {
                    let start = joined.len();
                    joined.resize(start + self.size(*id), 0.0);
                    let token = state.tokens[subnet(self.layers()[id.layer].phase)];
                    joined[start + token] = 1.0;
                }
            }
        }
        joined
    }

    /// A vector; none for a one-hot token.
    fn borrowed<'s>(
        &'s self,
        id: VectorId,
        state: &'s State,
        late: &'s [Vec<f32>],
    ) -> Option<&'s [f32]> {
        let layer = &self.layers()[id.layer];
        match &layer.op {
            Op::Token { embedding, .. } => {
                let table = embedding.as_ref()?;
                Some(table.row(state.tokens[subnet(layer.phase)]))
            }
            _ => match id.layer.checked_sub(self.segments.output.start) {
                Some(index) => Some(&late[index]),
                None => Some(state.kept(id)),
            },
        }
    }

    /// The outputs after the last step, before their normalizations: of a language model the logits, `[V]`, and nothing else.
    fn evaluate(&self, state: &State, hook: &mut dyn Hook) -> Vec<Vec<f32>> {
        let mut late: Vec<Vec<f32>> = Vec::new();
        for index in self.segments.output.clone() {
            let result = self.compute(index, state, &late);
            hook.after(index, &result);
            late.push(result);
        }
        let output = |id: VectorId| {
            let mut joined = Vec::new();
            self.vector_input(&[id], state, &late, &mut joined).to_vec()
        };
        let vectors = self.outputs().iter().map(|output| output.vector);
        vectors.map(output).collect()
    }

    /// The first output after the last step, before its normalization: of a language model the logits, `[V]`.
    pub fn logits(&self, state: &State) -> Vec<f32> {
        self.evaluate(state, &mut ()).swap_remove(0)
    }

    /// Runs one sequence from its start.
    ///
    /// # Panics
    /// As [`initial_state`](Self::initial_state).
    pub fn run(&self, inputs: &Inputs) -> Outputs {
        self.run_with_hook(inputs, &mut ())
    }

    /// The same; `hook` is called for every layer.
    pub(crate) fn run_with_hook(&self, inputs: &Inputs, hook: &mut dyn Hook) -> Outputs {
        let mut state = self.begin(inputs, hook);
        let mut values = vec![Vec::new(); self.outputs().len()];
        let mut read = |state: &State, every_step: bool, hook: &mut dyn Hook| {
            if self.outputs().iter().all(|o| o.every_step != every_step) {
                return;
            }
            let found = self.evaluate(state, hook);
            for ((all, mut found), output) in values.iter_mut().zip(found).zip(self.outputs()) {
                if output.every_step == every_step {
                    normalize(output.normalization, &mut found);
                    all.extend(found);
                }
            }
        };
        self.each_step(Phase::Step, inputs, |input| {
            self.run_step(Phase::Step, &mut state, input, hook);
            read(&state, true, hook);
        });
        read(&state, false, hook);
        let states = |phase| {
            let layers = || self.recurrent(phase).map(|(index, _)| index);
            States {
                hidden: layers().map(|i| state.results[i].clone()).collect(),
                cell: layers().map(|i| state.accumulators[i].clone()).collect(),
            }
        };
        Outputs {
            states: [states(Phase::Source), states(Phase::Step)],
            values,
        }
    }

    fn each_step(&self, phase: Phase, inputs: &Inputs, mut step: impl FnMut(StepInput)) {
        let inputs = inputs.of(phase);
        match self.reader(phase).map(|(_, layer)| &layer.op) {
            Some(Op::Frame { size }) => {
                let frames = inputs.frames.chunks(*size);
                frames.for_each(|frame| step(StepInput::Frame(frame)));
            }
            Some(_) => {
                let tokens = inputs.tokens.iter();
                tokens.for_each(|token| step(StepInput::Token(*token)));
            }
            None => (0..self.fixed_steps()).for_each(|_| step(StepInput::Nothing)),
        }
    }
}

/// `y` after `normalization`.
pub(crate) fn normalize(normalization: Normalization, y: &mut [f32]) {
    if normalization == Normalization::None {
        return;
    }
    let max = y.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum = y.iter().map(|y| (y - max).exp()).sum::<f32>();
    for y in y {
        *y = match normalization {
            Normalization::Softmax => (*y - max).exp() / sum,
            _ => *y - max - sum.ln(),
        };
    }
}

/// `activation(w x + b)`
pub(crate) fn apply_dense(Dense { w, b, activation }: &Dense, x: &[f32]) -> Vec<f32> {
    (0..w.rows)
        .map(|row| activation.of(w.dot(row, x) + b[row]))
        .collect()
}

/// `-ln softmax(logits)[target]`, in nats.
pub fn cross_entropy(logits: &[f32], target: u16) -> f64 {
    let max = logits.iter().fold(f32::MIN, |a, &b| a.max(b));
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    sum.ln() - f64::from(logits[usize::from(target)] - max)
}
