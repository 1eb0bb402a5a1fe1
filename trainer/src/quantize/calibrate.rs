//! The ranges of numbers that no bound limits: measured by running the float network on samples.

use super::QuantizeError;
use crate::network::{
    Dim, Hook, InitialState, Inputs, Layer, Network, Op, Outputs, Phase, StateId, TensorRole,
    VectorId, subnet,
};
use pipsqueak::Pcg32;
use rand_core::Rng;

/// Number of samples that are drawn where none are given.
pub const SAMPLES: usize = 256;
/// Normal numbers are clipped here: one in 16,000 would be larger.
pub(super) const NORMAL_CLIP: f64 = 4.0;
/// Steps of a drawn sample, where the graph leaves them open.
const STEPS: usize = 16;

/// The largest magnitudes that were seen, with headroom, by layer.
#[derive(Clone, Debug, Default)]
pub(super) struct ActivationRanges {
    /// Of each element of a frame; empty for other layers.
    pub frames: Vec<Vec<f64>>,
    /// Of the result of a dense layer or a sum.
    pub results: Vec<f64>,
    /// Of a hidden state that the caller gives.
    pub external: Vec<f64>,
    /// Of a cell state after the last step.
    pub cell_states: Vec<f64>,
    /// Whether a state was not a number or infinite.
    is_state_infinite: bool,
}

/// Whether the texts of the tokens are known: only then states that the caller gives are states that the network had.
pub(super) fn has_known_tokens(network: &Network, phase: Phase) -> bool {
    match phase {
        Phase::Source => network.source_vocabulary.is_some(),
        _ => network.vocabulary.is_some() || network.provenance != Default::default(),
    }
}

/// Whether the hidden state of recurrent layer `index` is given by the caller, and may be anything.
pub(super) fn is_unbounded_state(network: &Network, index: usize) -> bool {
    let layer = &network.layers()[index];
    match &layer.op {
        Op::Recurrent { init, .. } => {
            init[0] == InitialState::External && !has_known_tokens(network, layer.phase)
        }
        _ => false,
    }
}

/// Whether the caller gives floats whose sizes the network does not bound.
pub(super) fn has_float_inputs(network: &Network) -> bool {
    let mut layers = network.layers().iter().enumerate();
    layers.any(|(index, layer)| {
        matches!(layer.op, Op::Frame { .. }) || is_unbounded_state(network, index)
    })
}

/// Whether initial states of the step are computed, by dense layers or by an encoder.
pub(super) fn has_computed_states(network: &Network) -> bool {
    let is_computed = |init: &InitialState| match init {
        InitialState::Vector(id) => !matches!(network.layers()[id.layer].op, Op::Constant(_)),
        InitialState::Zero | InitialState::External => false,
    };
    network
        .layers()
        .iter()
        .filter(|layer| layer.phase == Phase::Step)
        .any(|layer| match &layer.op {
            Op::Recurrent { init, .. } => init.iter().any(is_computed),
            _ => false,
        })
}

/// Random sequences: tokens from all over the vocabulary, and standard normal numbers.
pub(super) fn random_samples(network: &Network) -> Vec<Inputs> {
    let mut random = Pcg32::new(1, 1);
    (0..SAMPLES).map(|_| sample(network, &mut random)).collect()
}

fn sample(network: &Network, random: &mut Pcg32) -> Inputs {
    let mut inputs = Inputs::default();
    let features_phase = features_phase(network);
    for phase in [Phase::Step, Phase::Source] {
        let steps = steps(network, phase);
        let own = inputs.of_mut(phase);
        match network.reader(phase).map(|(_, layer)| &layer.op) {
            Some(Op::Token { vocab_size, .. }) => {
                let token = |_| random.next_u32() as usize % vocab_size;
                own.tokens = (0..steps).map(token).collect();
            }
            Some(Op::Frame { size }) => own.frames = normal(random, steps * size),
            _ => {}
        }
        if phase == features_phase {
            inputs.features = normal(random, network.features());
        }
        if has_known_tokens(network, phase) {
            continue;
        }
        for (number, (index, cell)) in network.recurrent(phase).enumerate() {
            let Op::Recurrent { init, .. } = &network.layers()[index].op else {
                continue;
            };
            for (is_cell_state, init) in [false, true].into_iter().zip(init) {
                if *init == InitialState::External {
                    let id = StateId {
                        layer: number,
                        cell: is_cell_state,
                    };
                    let values = normal(random, cell.hidden());
                    inputs.of_mut(phase).states.push((id, values));
                }
            }
        }
    }
    inputs
}

/// The phase that the conditioning features are for.
fn features_phase(network: &Network) -> Phase {
    let layers = network.layers();
    let source = layers
        .iter()
        .rposition(|layer| layer.phase == Phase::Source);
    let reads_features = |layer: &Layer| {
        let mut inputs = layer.inputs.iter().map(|id| &layers[id.layer]);
        inputs.any(|input| input.phase == Phase::Begin && input.reads_caller())
    };
    let mut before = layers[..source.map_or(0, |last| last + 1)].iter();
    match before.any(reads_features) {
        true => Phase::Source,
        false => Phase::Step,
    }
}

/// Steps of a sample: the graph's, if it says.
fn steps(network: &Network, phase: Phase) -> usize {
    let width = match network.reader(phase).map(|(_, layer)| &layer.op) {
        Some(Op::Frame { size }) => *size,
        _ => 1,
    };
    let mut specs = network.signature(phase).inputs.iter();
    let spec = specs.find(|spec| matches!(spec.role, TensorRole::Tokens | TensorRole::Frames));
    let sizes = spec.map_or(&[][..], |spec| &spec.shape);
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size),
        Dim::Batch => Some(1),
        Dim::Steps => None,
    };
    let elements: Option<usize> = sizes.iter().map(fixed).product();
    elements.map_or(STEPS, |elements| (elements / width.max(1)).max(1))
}

/// Standard normal numbers, by Box and Muller, clipped at [`NORMAL_CLIP`].
fn normal(random: &mut Pcg32, count: usize) -> Vec<f32> {
    let mut unit = || (f64::from(random.next_u32()) + 0.5) / f64::from(u32::MAX) / 1.000_001;
    let one = |_| {
        let (radius, angle) = ((-2.0 * unit().ln()).sqrt(), std::f64::consts::TAU * unit());
        (radius * angle.cos()).clamp(-NORMAL_CLIP, NORMAL_CLIP) as f32
    };
    (0..count).map(one).collect()
}

/// Runs `network` on the samples, or on random ones.
///
/// # Errors
/// If a number that it computes is not finite.
pub(super) fn measure(
    network: &Network,
    samples: Option<&[Inputs]>,
) -> Result<ActivationRanges, QuantizeError> {
    let random;
    let random_inputs = samples.is_none();
    let samples = match samples {
        Some(samples) => samples,
        None => {
            random = random_samples(network);
            &random
        }
    };
    let mut ranges = ActivationRanges::of(network);
    for inputs in samples {
        let outputs = network.run_with_hook(inputs, &mut ranges);
        ranges.observe_states(network, inputs, &outputs);
    }
    if !ranges.is_finite() {
        return Err(QuantizeError::NotFinite);
    }
    // Random inputs have the range that they were assumed to have; given ones may be exceeded.
    ranges.add_headroom(if random_inputs { NORMAL_CLIP } else { 0.0 });
    Ok(ranges)
}

impl Hook for ActivationRanges {
    fn after(&mut self, layer: usize, result: &[f32]) {
        update_max_each(&mut self.frames[layer], result);
        update_max(&mut self.results[layer], result);
    }
}

impl ActivationRanges {
    fn of(network: &Network) -> Self {
        let zeros = || vec![0.0; network.layers().len()];
        let frame = |(index, layer): (usize, &Layer)| match layer.op {
            Op::Frame { .. } => vec![0.0; network.size(VectorId::result(index))],
            _ => vec![],
        };
        Self {
            frames: network.layers().iter().enumerate().map(frame).collect(),
            results: zeros(),
            external: zeros(),
            cell_states: zeros(),
            is_state_infinite: false,
        }
    }

    fn observe_states(&mut self, network: &Network, inputs: &Inputs, outputs: &Outputs) {
        for phase in network.step_phases() {
            for (id, values) in inputs.of(phase).states.iter().filter(|(id, _)| !id.cell) {
                let layer = network.state_vector(phase, *id).layer;
                update_max(&mut self.external[layer], values);
            }
            let states = &outputs.states[subnet(phase)];
            for (number, (layer, _)) in network.recurrent(phase).enumerate() {
                update_max(&mut self.cell_states[layer], &states.cell[number]);
                let mut hidden = states.hidden[number].iter();
                self.is_state_infinite |= !hidden.all(|value| value.is_finite());
            }
        }
    }

    /// Doubles the ranges. Those of what the caller gives become `inputs`, if it is not 0.
    fn add_headroom(&mut self, inputs: f64) {
        let computed = self.results.iter_mut().chain(&mut self.cell_states);
        computed.for_each(|value| *value *= 2.0);
        let given = self.frames.iter_mut().flatten().chain(&mut self.external);
        for value in given {
            *value = if inputs > 0.0 { inputs } else { 2.0 * *value };
        }
    }

    fn is_finite(&self) -> bool {
        let all = self.frames.iter().flatten().chain(&self.results);
        let mut all = all.chain(&self.external).chain(&self.cell_states);
        !self.is_state_infinite && all.all(|value| value.is_finite())
    }
}

/// Each becomes the larger one of itself and a value.
fn update_max_each(ranges: &mut [f64], values: &[f32]) {
    ranges
        .iter_mut()
        .zip(values)
        .for_each(|(range, value)| update_max(range, &[*value]));
}

fn update_max(range: &mut f64, values: &[f32]) {
    for value in values {
        // Unlike `max`, this keeps NaN.
        let value = f64::from(value.abs());
        if value > *range || value.is_nan() {
            *range = value;
        }
    }
}
