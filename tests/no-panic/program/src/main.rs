//! Calls the whole public API of the runtime on inputs that the compiler cannot see. The panic handler calls a function that
//! does not exist, so this program links only if the linker has removed every panic. It never runs.
#![no_std]
#![no_main]

mod handler;

use core::convert::Infallible;
use core::hint::black_box;
use pipsqueak::selftest::{self, Extent};
use pipsqueak::{
    Feed, Generator, Image, Part, Sampler, Say, Settings, State, Temperature, surprise,
};
use rand_core::TryRng;

/// The entry point. The linker removes everything that it does not reach.
#[unsafe(no_mangle)]
extern "C" fn _start() {
    let (bytes, mut workspace) = (black_box(&[0; 4096]), [0; 2048]);
    let bytes: &[u8] = black_box(bytes);
    let workspace: &mut [u32] = black_box(&mut workspace);
    match Image::parse(bytes) {
        Ok(image) => {
            describe(&image);
            generate(&image, workspace);
            step(&image, workspace);
        }
        Err(error) => say(&error),
    }
    sample();
}

/// Everything that a model reports about itself.
#[inline(never)]
fn describe(image: &Image) {
    black_box((
        image.task(),
        image.generates(),
        image.len(),
        image.workspace_len(),
    ));
    black_box((
        image.networks(),
        image.main(),
        image.outputs(),
        image.embedding(),
    ));
    black_box((
        image.start(),
        image.limit(),
        image.logit_bits(),
        image.digest(),
    ));
    black_box((image.provenance(), image.interface()));
    let index = black_box(0);
    black_box((
        image.network(index),
        image.layers(index),
        image.dense(index),
    ));
    black_box((
        image.width(index),
        image.outputs_of(index),
        image.output_bits(index),
    ));
    black_box((image.channels(index), image.feature_channels(index)));
    for vocabulary in [image.vocabulary(), image.source()] {
        black_box((vocabulary.len(), vocabulary.is_empty(), vocabulary.level()));
        black_box((vocabulary.specials(), vocabulary.start()));
        black_box(vocabulary.text(black_box(0)));
        let _ = black_box(vocabulary.first(text()));
        black_box(vocabulary.longest_match(text()));
        vocabulary.level().words(text()).for_each(|word| {
            black_box(word);
        });
        black_box(vocabulary.level().first_word(text()));
    }
}

/// Every task: text continued, translated, generated from features, scored, classified; with any random number generator.
#[inline(never)]
fn generate(image: &Image, workspace: &mut [u32]) {
    match Generator::new(image, workspace, settings()) {
        Ok(mut generator) => {
            let _ = black_box(generator.prompt(text()));
            generator.by_ref().for_each(|piece| {
                black_box(piece);
            });
            let _ = black_box(generator.source(text()));
            black_box(generator.next_token());
            generator.features(values());
            if let Err(error) = generator.describe(text()) {
                say(&error);
            }
            black_box(generator.next());
            let _ = black_box(generator.score(text()));
            let _ = black_box(generator.classify(text()));
            generator.restart(settings());
            black_box(generator.image().len());
            self_test(generator.state());
        }
        Err(error) => say(&error),
    }
    if let Ok(mut generator) = Generator::with_rng(image, workspace, settings(), Opaque) {
        black_box(generator.next());
    }
}

/// Every way to feed a network and to read or set its state.
#[inline(never)]
fn step(image: &Image, workspace: &mut [u32]) {
    let Ok(mut state) = State::new(image, workspace) else {
        return;
    };
    let (index, layer) = black_box((0, 0));
    state.reset();
    state.features(values());
    state.step(black_box(0));
    for feed in [
        Feed::Token(black_box(0)),
        Feed::Vector(values()),
        Feed::Again,
    ] {
        state.feed(index, feed);
    }
    state.hand_over();
    black_box((
        state.hidden_of(index, layer),
        state.cell_of(index, layer),
        state.hidden(layer),
    ));
    state.set_hidden(index, layer, values());
    state.set_cell(index, layer, black_box(&[0; 64]));
    black_box(state.logits());
    black_box(state.outputs_of(index));
    self_test(&mut state);
}

#[inline(never)]
fn self_test(state: &mut State) {
    for extent in [Extent::Start, Extent::All] {
        match selftest::kernel(state, extent) {
            Ok(weights) => {
                black_box(weights);
            }
            Err(mismatch) => say(&mismatch),
        }
    }
    black_box(selftest::digest(state));
}

/// Logits of any number and size at any temperature.
#[inline(never)]
fn sample() {
    let mut logits = [0; 64];
    let logits: &mut [i16] = black_box(&mut logits);
    let settings = settings();
    let (sampler, bits) = (
        Sampler::new(settings.temperature, settings.top_k),
        black_box(9),
    );
    say(&settings.temperature);
    black_box(sampler.draw(logits, bits, &mut settings.rng()));
    black_box(sampler.draw_allowed(logits, black_box(Default::default()), bits, &mut Opaque));
    sampler.weights(logits, bits).for_each(|weight| {
        black_box(weight);
    });
    black_box(surprise(logits, bits, black_box(0)));
    black_box(pipsqueak::kernel());
}

/// A random number generator with unknown output.
struct Opaque;

impl TryRng for Opaque {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(black_box(0))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(black_box(0))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        black_box(bytes);
        Ok(())
    }
}

fn settings() -> Settings {
    let parsed = Temperature::parse(text()).or_else(|_| Temperature::from_f32(black_box(0.8)));
    let temperature = parsed.unwrap_or(Temperature::DEFAULT);
    Settings {
        temperature,
        top_k: black_box(0),
        seed: black_box(0),
    }
}

fn text() -> &'static str {
    black_box("text")
}

fn values() -> &'static [i16] {
    black_box(&[0; 64])
}

/// A message in all its parts.
fn say(message: &dyn Say) {
    message.say(&mut |part: Part| {
        black_box(part);
    });
}
