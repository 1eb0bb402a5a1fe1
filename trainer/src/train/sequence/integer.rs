//! What an image says to examples, by the boards' own code.

use pipsqueak::{Feed, Generator, Image, Settings, State, Temperature};

use super::data::Example;
use super::evaluate::Predictor;
use super::settings::Task;
use super::trainer::{END, START};
use crate::network::nats;
use crate::sequence::best;

impl Predictor for Image<'_> {
    fn nats(&self, task: Task, example: &Example) -> f64 {
        let mut workspace = vec![0; self.workspace_len()];
        let mut state = begin(self, &mut workspace, example);
        if task == Task::Classify {
            return nats(&logits(&mut state), example.target[0]);
        }
        let fed = [START].into_iter().chain(example.target.iter().copied());
        let targets = example.target.iter().chain([&END]);
        fed.zip(targets)
            .map(|(token, target)| {
                state.step(token);
                nats(&logits(&mut state), *target)
            })
            .sum()
    }

    fn class(&self, example: &Example) -> u16 {
        let mut workspace = vec![0; self.workspace_len()];
        best(&logits(&mut begin(self, &mut workspace, example)))
    }

    fn translation(&self, example: &Example, limit: usize) -> Vec<u16> {
        let mut workspace = vec![0; self.workspace_len()];
        let settings = Settings {
            temperature: Temperature::GREEDY,
            ..Settings::default()
        };
        let mut generator = Generator::new(self, &mut workspace, settings)
            .expect("the workspace has the length asked for");
        let eos = self.source().specials().eos;
        for token in example.source.iter().copied().chain(eos) {
            generator.state().feed(0, Feed::Token(token));
        }
        generator.state().hand_over();
        let tokens = std::iter::repeat_with(|| generator.next_token());
        tokens
            .take(limit)
            .take_while(|token| *token != END)
            .collect()
    }
}

/// A state that has read the example's source, or begins at its features.
fn begin<'i, 'w>(
    image: &'i Image<'i>,
    workspace: &'w mut [u32],
    example: &Example,
) -> State<'i, 'w> {
    let mut state = State::new(image, workspace).expect("the workspace has the length asked for");
    let channels = image.feature_channels(image.main());
    if !channels.is_empty() {
        let fixed = |(value, channel): (&f32, &i8)| {
            (value * f32::from(15 - i16::from(*channel)).exp2()).round() as i16
        };
        let features: Vec<i16> = example.features.iter().zip(channels).map(fixed).collect();
        state.features(&features);
    }
    for &token in &example.source {
        state.feed(0, Feed::Token(token));
    }
    if image.networks() > 1 {
        if let Some(eos) = image.source().specials().eos {
            state.feed(0, Feed::Token(eos));
        }
        state.hand_over();
    }
    state
}

fn logits(state: &mut State) -> Vec<f32> {
    let one = f32::from(1u16 << state.image().logit_bits());
    state
        .logits()
        .iter()
        .map(|&logit| f32::from(logit) / one)
        .collect()
}
