//! An image run on whole sequences, as the float network is: for comparison with it, and with the framework that it comes from.

use crate::network::{
    Feeds, FloatState, Interface, Normalization, Results, Role, Sequences, Side, StateId, normalize,
};
use pipsqueak::fixed::CELL_BITS;
use pipsqueak::image::{self, Input, Reads};
use pipsqueak::{Feed, Image, State};

/// An image and the names of its graph's arrays.
#[derive(Debug)]
pub struct IntegerNetwork<'i> {
    image: &'i Image<'i>,
    /// Of each network, the encoder's first.
    interfaces: Vec<Interface>,
}

/// An image that does not say what its arrays are.
#[derive(Debug, thiserror::Error)]
#[error(
    "the image does not hold the names of its graph's arrays, as those that `trainer export` makes do: export it anew, or run the ONNX file that it came from"
)]
pub struct NoInterface;

impl<'i> IntegerNetwork<'i> {
    /// An image to run on arrays.
    ///
    /// # Errors
    /// If it does not hold the names of its graph's arrays, or other ones than it has networks and states.
    pub fn new(image: &'i Image<'i>) -> Result<Self, NoInterface> {
        let interfaces = Interface::from_bytes(image.interface()).ok_or(NoInterface)?;
        let fits = |(index, interface): (usize, &Interface)| {
            let layers = image.layers(index);
            let ports = interface.inputs.iter().chain(&interface.outputs);
            ports.into_iter().all(|port| match &port.role {
                Role::States(ids) => ids.iter().all(|id| {
                    let layer = layers.get(id.layer).map(|recurrent| recurrent.layer.cell);
                    layer.is_some_and(|cell| !id.cell || cell == pipsqueak::Cell::Lstm)
                }),
                _ => true,
            })
        };
        let same = interfaces.len() == image.networks();
        match same && interfaces.iter().enumerate().all(fits) {
            true => Ok(Self { image, interfaces }),
            false => Err(NoInterface),
        }
    }

    /// The image.
    pub fn image(&self) -> &'i Image<'i> {
        self.image
    }

    fn network(&self, index: usize) -> &image::Network {
        self.image.network(index).expect("a network of the image")
    }

    /// Runs network `index` from its starts, which are set.
    fn run(&self, state: &mut State, index: usize, feeds: &Feeds) -> Results {
        let network = self.network(index);
        for (StateId { layer, cell }, values) in &feeds.states {
            if *cell {
                let values: Vec<i32> = values.iter().map(|v| fixed(*v, CELL_BITS as i32)).collect();
                state.set_cell(index, *layer, &values);
            } else {
                let bits = self.state_bits(index, *layer);
                let values: Vec<i16> = values.iter().map(|v| half(*v, bits)).collect();
                state.set_hidden(index, *layer, &values);
            }
        }
        let outputs = &self.interfaces[index].outputs;
        let wanted = outputs.iter().any(|port| port.role == Role::Head);
        let mut head = Vec::new();
        let mut read = |state: &mut State| {
            if wanted {
                let one = power(-(self.image.output_bits(index) as i32));
                let outputs = state.outputs_of(index);
                let mut values: Vec<f32> = outputs.iter().map(|&v| f32::from(v) * one).collect();
                normalize(normalization(network), &mut values);
                head.append(&mut values);
            }
        };
        let each = network.reads == Reads::EveryStep;
        let mut step = |feed: Feed| {
            state.feed(index, feed);
            if each {
                read(state);
            }
        };
        match network.input {
            Input::Table | Input::Embedding(_) | Input::Tied { .. } => {
                feeds
                    .tokens
                    .iter()
                    .for_each(|&token| step(Feed::Token(token as u16)));
            }
            Input::Vectors => {
                let channels = self.image.channels(index);
                for vector in feeds.vectors.chunks(channels.len()) {
                    step(Feed::Vector(&in_channels(vector, channels)));
                }
            }
            Input::Features { steps } => (0..steps).for_each(|_| step(Feed::Again)),
        }
        if !each {
            read(state);
        }
        let layers = 0..self.image.layers(index).len();
        let hidden = |layer| {
            let one = power(-self.state_bits(index, layer));
            state
                .hidden_of(index, layer)
                .iter()
                .map(|&v| f32::from(v) * one)
                .collect()
        };
        let cell = |layer| {
            let one = power(-(CELL_BITS as i32));
            state
                .cell_of(index, layer)
                .iter()
                .map(|&v| v as f32 * one)
                .collect()
        };
        Results {
            state: FloatState {
                hidden: layers.clone().map(hidden).collect(),
                cell: layers.map(cell).collect(),
            },
            head,
            encoder: None,
        }
    }

    fn state_bits(&self, index: usize, layer: usize) -> i32 {
        15 - i32::from(self.image.layers(index)[layer].shift)
    }
}

impl Sequences for IntegerNetwork<'_> {
    fn sides(&self) -> Vec<Side<'_>> {
        let side = |index: usize| {
            let network = self.network(index);
            let layers = self.image.layers(index).iter();
            Side {
                interface: &self.interfaces[index],
                tokens: network.count.into(),
                units: layers
                    .map(|recurrent| recurrent.layer.hidden.into())
                    .collect(),
                steps: match network.input {
                    Input::Features { steps } => Some(steps.into()),
                    _ => None,
                },
            }
        };
        (0..self.image.networks()).rev().map(side).collect()
    }

    fn run_sequence(&self, feeds: &Feeds) -> Results {
        let mut workspace = vec![0; self.image.workspace_len()];
        let mut state =
            State::new(self.image, &mut workspace).expect("the workspace has the length asked for");
        let main = self.image.main();
        let encoder_feeds = feeds.encoder.as_deref();
        for (index, feeds) in [(0, encoder_feeds), (main, Some(feeds))] {
            let channels = self.image.feature_channels(index);
            if let Some(feeds) = feeds.filter(|feeds| !feeds.features.is_empty()) {
                state.features(&in_channels(&feeds.features, channels));
            }
        }
        let encoder = encoder_feeds.map(|feeds| Box::new(self.run(&mut state, 0, feeds)));
        if encoder.is_some() {
            state.hand_over();
        }
        let results = self.run(&mut state, main, feeds);
        Results { encoder, ..results }
    }
}

/// A vector in Q15 of its channels.
pub fn in_channels(vector: &[f32], channels: &[i8]) -> Vec<i16> {
    let pairs = vector.iter().zip(channels);
    pairs
        .map(|(value, channel)| half(*value, 15 - i32::from(*channel)))
        .collect()
}

fn normalization(network: &image::Network) -> Normalization {
    match network.normalization {
        image::Normalization::None => Normalization::None,
        image::Normalization::Softmax => Normalization::Softmax,
        image::Normalization::LogSoftmax => Normalization::LogSoftmax,
    }
}

fn power(exponent: i32) -> f32 {
    2f32.powi(exponent)
}

/// `value` with so many fraction bits, rounded to nearest. The cast saturates.
fn fixed(value: f32, bits: i32) -> i32 {
    (f64::from(value) * 2f64.powi(bits)).round() as i32
}

fn half(value: f32, bits: i32) -> i16 {
    fixed(value, bits).clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
