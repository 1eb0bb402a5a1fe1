//! Calls the whole public API of the runtime on inputs that the compiler cannot see. The panic handler calls a function that
//! does not exist, so this program links only if the linker has removed every panic. It never runs.
#![no_std]
#![no_main]

mod handler;

use core::convert::Infallible;
use core::hint::black_box;
use pipsqueak::selftest::{self, Coverage};
use pipsqueak::{
    Fragment, Generator, Message, Model, ModelView, Sampler, SamplingParams, Session, StepInput,
    Temperature, argmax, surprisal_bits,
};
use rand_core::TryRng;

/// The entry point. The linker removes everything that it does not reach.
#[unsafe(no_mangle)]
extern "C" fn _start() {
    let (bytes, mut workspace) = (black_box(&[0; 4096]), [0; 2048]);
    let bytes: &[u8] = black_box(bytes);
    let workspace: &mut [u32] = black_box(&mut workspace);
    match Model::parse(bytes) {
        Ok(model) => {
            describe(&model);
            generate(&model, workspace);
            step(&model, workspace);
        }
        Err(error) => print(&error),
    }
    sample();
}

/// Everything that a model reports about itself.
#[inline(never)]
fn describe(model: &ModelView) {
    black_box((model.task(), model.is_autoregressive(), model.len()));
    black_box((
        model.workspace_len(),
        model.max_tokens(),
        model.fixed_steps(),
    ));
    black_box((model.steps_per_token(), model.has_source(), model.digest()));
    black_box((
        model.training_info(),
        model.io_names(),
        model.conditioning(),
    ));
    black_box((model.layer(black_box(0)), model.output()));
    for layer in model.layers() {
        black_box((
            layer.phase(),
            layer.inputs(),
            layer.len(),
            layer.frac_bits(),
        ));
        black_box((
            layer.recurrent(),
            layer.dense(),
            layer.vocab_size(),
            layer.exponents(),
        ));
        black_box(model.input_of(layer.phase()));
    }
    for output in model.outputs() {
        black_box((output.len(), output.frac_bits(), output.role()));
        black_box((output.every_step(), output.normalization()));
    }
    for vocabulary in [model.vocabulary(), model.source_vocabulary()] {
        black_box((
            vocabulary.len(),
            vocabulary.is_empty(),
            vocabulary.tokenization(),
        ));
        black_box((vocabulary.special_tokens(), vocabulary.initial_token()));
        black_box(vocabulary.text(black_box(0)));
        if let Err(error) = vocabulary.check(text()) {
            print(&error);
        }
        vocabulary.tokenize(text()).for_each(|token| {
            let _ = black_box(token);
        });
        black_box(vocabulary.longest_match(text()));
        vocabulary
            .tokenization()
            .split_words(text())
            .for_each(|word| {
                black_box(word);
            });
    }
}

/// Every task: text continued, mapped, generated from features, scored, classified; with any random number generator.
#[inline(never)]
fn generate(model: &ModelView, workspace: &mut [u32]) {
    match Generator::new(model, workspace, params()) {
        Ok(mut generator) => {
            if let Err(error) = generator.prompt(text()) {
                print(&error);
            }
            generator.by_ref().for_each(|piece| {
                black_box(piece);
            });
            let _ = black_box(generator.encode_source(text()));
            let _ = black_box(generator.next_token());
            let _ = black_box(generator.set_conditioning(values()));
            if let Err(error) = generator.set_conditioning_text(text()) {
                print(&error);
            }
            black_box(generator.next());
            let _ = black_box(generator.bits_per_char(text()));
            let _ = black_box(generator.classify(text()));
            generator.reset(params());
            black_box(generator.model().len());
            self_test(generator.session());
        }
        Err(error) => print(&error),
    }
    if let Ok(mut generator) = Generator::with_rng(model, workspace, params(), Opaque) {
        black_box(generator.next());
    }
}

/// Every input of a session, and every way to read or set its states.
#[inline(never)]
fn step(model: &ModelView, workspace: &mut [u32]) {
    let Ok(mut session) = Session::new(model, workspace) else {
        return;
    };
    session.reset();
    let _ = black_box(session.set_conditioning(values()));
    let inputs = || {
        [
            StepInput::Token(black_box(0)),
            StepInput::Frame(values()),
            StepInput::Repeat,
        ]
    };
    for input in inputs() {
        let _ = black_box(session.push_source(input));
    }
    let _ = black_box(session.begin_steps());
    for input in inputs() {
        let _ = black_box(session.push(input));
    }
    let _ = black_box(session.push_token(black_box(0)));
    let _ = black_box(session.hidden(black_box(0)));
    let _ = black_box(session.cell_state(black_box(0)));
    let _ = black_box(session.logits());
    if let Ok(outputs) = session.outputs() {
        black_box(outputs.get(black_box(0)));
    }
    self_test(&mut session);
}

#[inline(never)]
fn self_test(session: &mut Session) {
    for coverage in [Coverage::Quick, Coverage::Full] {
        match selftest::verify_kernels(session, coverage) {
            Ok(weights) => {
                black_box(weights);
            }
            Err(mismatch) => print(&mismatch),
        }
    }
    let _ = black_box(selftest::output_digest(session));
}

/// Logits of any number and size at any temperature.
#[inline(never)]
fn sample() {
    let mut logits = [0; 64];
    let logits: &mut [i16] = black_box(&mut logits);
    let params = params();
    let (sampler, bits) = (Sampler::new(params.temperature, params.top_k), black_box(9));
    print(&params.temperature);
    black_box(argmax(logits));
    black_box(sampler.sample(logits, bits, &mut params.rng()));
    black_box(sampler.sample_masked(logits, bits, black_box(Default::default()), &mut Opaque));
    sampler.weights(logits, bits).for_each(|weight| {
        black_box(weight);
    });
    black_box(surprisal_bits(logits, bits, black_box(0)));
    black_box(pipsqueak::kernel_name());
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

fn params() -> SamplingParams {
    let parsed = Temperature::parse(text()).or_else(|_| Temperature::from_f32(black_box(0.8)));
    let temperature = parsed.unwrap_or(Temperature::DEFAULT);
    SamplingParams {
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

/// A message in all its fragments.
fn print(message: &dyn Message) {
    message.write_to(&mut |fragment: Fragment| {
        black_box(fragment);
    });
}
