//! How large numbers get that no bound says: by running the float network on samples.

use super::QuantizeError;
use crate::network::{
    Dense, Dim, Feeds, Head, Input, Network, Results, Role, Start, StateId, through,
};
use pipsqueak::Pcg32;
use rand_core::Rng;

/// Samples that are drawn where none are given.
pub const SAMPLES: usize = 256;
/// No normal number that is drawn is larger: one in 16,000 would be.
pub(super) const NORMAL_END: f64 = 4.0;
/// Steps of such a sample, where the graph leaves them open.
const STEPS: usize = 16;

/// The largest numbers that were seen, by magnitude, and room above them.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Of each element of the input vectors.
    pub vectors: Vec<f64>,
    /// Of each element of the feature vector.
    pub features: Vec<f64>,
    /// Of each layer's given hidden state.
    pub given: Vec<f64>,
    /// What comes out of each of the input's dense layers.
    pub input: Vec<f64>,
    /// Of each layer's hidden state and cell state: what comes into the dense layers of its start, and out of each.
    pub starts: Vec<[Vec<f64>; 2]>,
    /// What comes out of each of the head's dense layers.
    pub head: Vec<f64>,
    /// The encoder's.
    pub encoder: Option<Box<Seen>>,
}

/// Whether a file is one of ours, or one whose texts were given: only then it is known that states that are given are states
/// that the network had.
pub(super) fn is_ours(network: &Network) -> bool {
    network.vocabulary.is_some() || network.provenance != Default::default()
}

/// Whether the hidden state of `layer` is given, and may be anything.
pub(super) fn any_state(network: &Network, layer: usize) -> bool {
    network.starts[layer].hidden == Start::Given && !is_ours(network)
}

/// Whether numbers come from outside whose sizes the network does not tell.
pub(super) fn is_fed_numbers(network: &Network) -> bool {
    let states = (0..network.layers.len()).any(|layer| any_state(network, layer));
    let features = network.features() > 0;
    let vectors = !matches!(network.input, Input::Tokens { .. });
    vectors || states || features || network.encoder.as_deref().is_some_and(is_fed_numbers)
}

/// Random sequences: tokens from all over the vocabulary, and standard normal numbers.
pub(super) fn random_samples(network: &Network) -> Vec<Feeds> {
    let mut random = Pcg32::new(1, 1);
    (0..SAMPLES).map(|_| sample(network, &mut random)).collect()
}

fn sample(network: &Network, random: &mut Pcg32) -> Feeds {
    let steps = steps(network);
    let mut feeds = Feeds::default();
    match &network.input {
        Input::Tokens { count, .. } => {
            feeds.tokens = (0..steps)
                .map(|_| random.next_u32() as usize % count)
                .collect();
        }
        Input::Vectors { width, .. } => feeds.vectors = normal(random, steps * width),
        Input::Features { .. } => {}
    }
    feeds.features = normal(random, network.features());
    for layer in 0..network.layers.len() {
        for cell in [false, true] {
            let starts = &network.starts[layer];
            let start = if cell { &starts.cell } else { &starts.hidden };
            if *start == Start::Given && !is_ours(network) {
                let units = network.layers[layer].hidden();
                let id = StateId { layer, cell };
                feeds.states.push((id, normal(random, units)));
            }
        }
    }
    let encoder = network.encoder.as_deref();
    feeds.encoder = encoder.map(|encoder| Box::new(sample(encoder, random)));
    feeds
}

/// Steps of a sample: the graph's, if it says.
fn steps(network: &Network) -> usize {
    let width = match &network.input {
        Input::Tokens { .. } => 1,
        Input::Vectors { width, .. } | Input::Features { width, .. } => *width,
    };
    let mut ports = network.interface.inputs.iter();
    let port = ports.find(|port| matches!(port.role, Role::Tokens | Role::Vectors));
    let sizes = port.map_or(&[][..], |port| &port.shape);
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(size) => Some(*size),
        Dim::Batch => Some(1),
        Dim::Steps => None,
    };
    let elements: Option<usize> = sizes.iter().map(fixed).product();
    elements.map_or(STEPS, |elements| (elements / width.max(1)).max(1))
}

/// Standard normal numbers, by Box and Muller, but none beyond [`NORMAL_END`].
fn normal(random: &mut Pcg32, count: usize) -> Vec<f32> {
    let mut unit = || (f64::from(random.next_u32()) + 0.5) / f64::from(u32::MAX) / 1.000_001;
    let one = |_| {
        let (radius, angle) = ((-2.0 * unit().ln()).sqrt(), std::f64::consts::TAU * unit());
        (radius * angle.cos()).clamp(-NORMAL_END, NORMAL_END) as f32
    };
    (0..count).map(one).collect()
}

/// Runs `network` on the samples, or on random ones.
///
/// # Errors
/// If a number that it computes is not finite.
pub(super) fn measure(network: &Network, samples: Option<&[Feeds]>) -> Result<Seen, QuantizeError> {
    let random;
    let random_inputs = samples.is_none();
    let samples = match samples {
        Some(samples) => samples,
        None => {
            random = random_samples(network);
            &random
        }
    };
    // Without heads, what is read is what comes into them.
    let bare = |network: &Network| {
        let reads = network.head.reads;
        let head = Head {
            reads,
            ..Head::default()
        };
        Network {
            head,
            ..network.clone()
        }
    };
    let mut headless = bare(network);
    headless.encoder = network.encoder.as_deref().map(bare).map(Box::new);
    let mut seen = Seen::of(network);
    for feeds in samples {
        seen.take(network, feeds, &headless.run(feeds));
    }
    if !seen.is_finite() {
        return Err(QuantizeError::NotFinite);
    }
    // Where nothing is known of the inputs, they are what they were taken to be; else the next may be larger.
    seen.widen(if random_inputs { NORMAL_END } else { 0.0 });
    Ok(seen)
}

impl Seen {
    fn of(network: &Network) -> Self {
        let chain = |dense: &[Dense]| vec![0.0; dense.len()];
        let start = |start: &Start| match start {
            Start::Features(dense) | Start::Encoder(_, dense) => vec![0.0; dense.len() + 1],
            Start::Zero | Start::Given | Start::Constant(_) => vec![],
        };
        let (vectors, input) = match &network.input {
            Input::Tokens { .. } => (0, vec![]),
            Input::Vectors { width, dense } => (*width, chain(dense)),
            Input::Features { dense, .. } => (0, chain(dense)),
        };
        Self {
            vectors: vec![0.0; vectors],
            features: vec![0.0; network.features()],
            given: vec![0.0; network.layers.len()],
            input,
            starts: network
                .starts
                .iter()
                .map(|s| [start(&s.hidden), start(&s.cell)])
                .collect(),
            head: chain(&network.head.dense),
            encoder: network
                .encoder
                .as_deref()
                .map(|encoder| Box::new(Self::of(encoder))),
        }
    }

    fn take(&mut self, network: &Network, feeds: &Feeds, results: &Results) {
        match &network.input {
            Input::Tokens { .. } => {}
            Input::Vectors { width, dense } => {
                for x in feeds.vectors.chunks(*width) {
                    each(&mut self.vectors, x);
                    chain(&mut self.input, dense, x);
                }
            }
            Input::Features { dense, .. } => chain(&mut self.input, dense, &feeds.features),
        }
        each(&mut self.features, &feeds.features);
        for (id, values) in feeds.states.iter().filter(|(id, _)| !id.cell) {
            grow(&mut self.given[id.layer], values);
        }
        for (seen, starts) in self.starts.iter_mut().zip(&network.starts) {
            for (seen, start) in seen.iter_mut().zip([&starts.hidden, &starts.cell]) {
                let encoder = results.encoder.as_deref();
                let (dense, x) = match (start, encoder) {
                    (Start::Features(dense), _) => (dense, &feeds.features[..]),
                    (Start::Encoder(from, dense), Some(encoder)) => {
                        (dense, encoder.state.get(*from))
                    }
                    _ => continue,
                };
                grow(&mut seen[0], x);
                chain(&mut seen[1..], dense, x);
            }
        }
        let width = network
            .layers
            .last()
            .map_or(network.input.width(), |top| top.hidden());
        let tops = results.head.chunks(width);
        tops.for_each(|top| chain(&mut self.head, &network.head.dense, top));
        if let (Some(seen), Some(encoder)) = (&mut self.encoder, &network.encoder)
            && let (Some(feeds), Some(results)) = (&feeds.encoder, &results.encoder)
        {
            seen.take(encoder, feeds, results);
        }
    }

    /// Leaves room above what was seen: twice the largest. Inputs have the range `inputs`, if it is not 0.
    fn widen(&mut self, inputs: f64) {
        let twice = |value: &mut f64| *value *= 2.0;
        let starts = self.starts.iter_mut().flatten().flatten();
        self.input
            .iter_mut()
            .chain(&mut self.head)
            .chain(starts)
            .for_each(twice);
        let outside = [&mut self.vectors, &mut self.features, &mut self.given];
        for value in outside.into_iter().flatten() {
            *value = if inputs > 0.0 { inputs } else { 2.0 * *value };
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.widen(inputs);
        }
    }

    fn is_finite(&self) -> bool {
        let starts = self.starts.iter().flatten().flatten();
        let all = [
            &self.vectors,
            &self.features,
            &self.given,
            &self.input,
            &self.head,
        ];
        let mut all = all.into_iter().flatten().chain(starts);
        all.all(|value| value.is_finite()) && self.encoder.as_ref().is_none_or(|e| e.is_finite())
    }
}

/// Each the larger one of itself and a value.
fn each(seen: &mut [f64], values: &[f32]) {
    seen.iter_mut()
        .zip(values)
        .for_each(|(seen, value)| grow(seen, &[*value]));
}

fn grow(seen: &mut f64, values: &[f32]) {
    for value in values {
        // Unlike `max`, this keeps what is not a number.
        let value = f64::from(value.abs());
        if value > *seen || value.is_nan() {
            *seen = value;
        }
    }
}

/// What comes out of each of the dense layers over `x`.
fn chain(seen: &mut [f64], dense: &[Dense], x: &[f32]) {
    let mut x = x.to_vec();
    for (seen, dense) in seen.iter_mut().zip(dense) {
        x = through(std::slice::from_ref(dense), &x);
        grow(seen, &x);
    }
}
