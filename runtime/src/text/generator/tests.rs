use super::*;
use crate::encode::{ModelConfig, ModelParams, as_bytes, encode, language_model, sample_configs};
use crate::format::{Inputs, OpConfig, Role, TokenRowsConfig, VectorId};
use crate::model::Model;
use crate::sampler::Temperature;
use crate::{Cell, RecurrentLayerConfig, Task};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

fn model(params: &ModelParams) -> &'static ModelView<'static> {
    let words = encode(params).unwrap().leak();
    let model = Model::parse(as_bytes(words)).unwrap();
    alloc::boxed::Box::leak(alloc::boxed::Box::new(model))
}

fn config(name: &str) -> ModelConfig {
    let mut all = sample_configs().into_iter();
    all.find(|(other, _)| *other == name).unwrap().1
}

fn sample(name: &str) -> ModelParams<'static> {
    ModelParams::random(3, &config(name))
}

fn session(model: &'static ModelView<'static>) -> Session<'static, 'static> {
    Session::new(model, vec![0; model.workspace_len()].leak()).unwrap()
}

fn generator(
    model: &'static ModelView<'static>,
    params: SamplingParams,
) -> Generator<'static, 'static> {
    let workspace = vec![0; model.workspace_len()].leak();
    Generator::new(model, workspace, params).unwrap()
}

fn text(generator: &mut Generator, pieces: usize) -> String {
    let pieces: Vec<u8> = generator.take(pieces).flatten().copied().collect();
    String::from_utf8(pieces).unwrap()
}

fn lossy(pieces: &[&[u8]]) -> Vec<String> {
    let lossy = |piece: &&[u8]| String::from_utf8_lossy(piece).into_owned();
    pieces.iter().map(lossy).collect()
}

#[test]
fn special_tokens_are_never_sampled_and_eos_ends() {
    let model = model(&sample("words"));
    let special_tokens = model.vocabulary().special_tokens();
    let (mut ended, mut sampled) = (0, 0);
    for seed in 0..400 {
        for temperature in ["0", "0.8", "100"] {
            let params = SamplingParams {
                temperature: Temperature::parse(temperature).unwrap(),
                top_k: [0, 3][seed as usize % 2],
                seed,
            };
            let mut generator = generator(model, params);
            for piece in generator.by_ref().take(60) {
                let hidden = special_tokens.all();
                let hidden = hidden.map(|id| model.vocabulary().text(id.unwrap()));
                assert!(!hidden.contains(&piece), "{:?}", lossy(&[piece]));
                sampled += 1;
            }
            if generator.finished {
                ended += 1;
                assert_eq!((generator.next(), generator.next()), (None, None));
                // It continues after more was read.
                generator.prompt("e").unwrap();
                assert!(!generator.finished);
            }
            generator.reset(params);
            for _ in 0..20 {
                let token = generator.next_token().unwrap();
                assert!(
                    !special_tokens.contains(token) || special_tokens.eos == Some(token),
                    "{token}"
                );
            }
        }
    }
    assert!(
        ended > 100 && sampled > 10_000,
        "{ended} ended, {sampled} sampled"
    );
}

#[test]
fn words_are_printed_with_a_space_between() {
    let model = model(&sample("words"));
    let mut first = generator(model, SamplingParams::default());
    let text = text(&mut first, 9);
    let words: Vec<&str> = text.split(' ').collect();
    assert!(
        words.len() == 5 && words.iter().all(|word| word.chars().count() == 1),
        "{text:?}"
    );
    // After a prompt, the next word comes after a space.
    let mut after = generator(model, SamplingParams::default());
    after.prompt("E  c").unwrap();
    assert_eq!(after.next(), Some(&b" "[..]));
    assert_ne!(after.next(), Some(&b" "[..]));
    after.prompt("e").unwrap();
    assert_eq!(after.next(), Some(&b" "[..]));
}

#[test]
fn max_tokens_counts_again_after_more_was_read() {
    for (max_tokens, pieces) in [(1, 1), (4, 7)] {
        let mut params = sample("words");
        params.max_tokens = max_tokens;
        // No end but the maximum.
        params.vocabularies[1].special_tokens.eos = None;
        let mut generator = generator(model(&params), SamplingParams::default());
        assert_eq!(generator.by_ref().take(100).count(), pieces);
        assert_eq!(generator.next(), None);
        generator.prompt("e").unwrap();
        assert_eq!(generator.by_ref().take(100).count(), pieces + 1);
        generator.reset(SamplingParams::default());
        assert_eq!(generator.by_ref().take(100).count(), pieces);
    }
}

#[test]
fn unknown_words_are_refused_with_their_place_or_are_unk() {
    let mut params = sample("words");
    let with_unk = model(&params);
    params.vocabularies[1].special_tokens.unk = None;
    let without_unk = model(&params);
    let mut with = generator(with_unk, SamplingParams::default());
    with.prompt("E zebra c").unwrap();
    let mut session = session(with_unk);
    // The text begins after the initial token, and 29 is unknown; c is pending.
    for token in [3, 4, 29] {
        session.push_token(token).unwrap();
    }
    assert_eq!(with.session.hidden(1), session.hidden(1));
    let mut without = generator(without_unk, SamplingParams::default());
    let error = TextError::OutOfVocabulary(OutOfVocabulary {
        character: 'z',
        position: 3,
    });
    assert_eq!(without.prompt("e  zebra c"), Err(error));
    assert_eq!(without.bits_per_char("e  zebra c").unwrap_err(), error);
    let hidden = without.session.hidden(1).unwrap();
    assert!(hidden.iter().all(|&h| h == 0), "nothing was read");
}

#[test]
fn a_source_is_read_with_its_end_and_begins_the_decoder() {
    let model = model(&sample("translator"));
    let mut found = generator(model, SamplingParams::default());
    // Something before, which must not count.
    found.encode_source("zz").unwrap();
    text(&mut found, 3);
    found.encode_source("ca b").unwrap();
    let mut session = session(model);
    // The space is unknown, and 26 is EOS.
    for token in [2, 0, 28, 1, 26] {
        session.push_source(StepInput::Token(token)).unwrap();
    }
    session.begin_steps().unwrap();
    // Layers 1 and 5 are the LSTMs of the encoder and of the decoder.
    for layer in [1, 5] {
        assert_eq!(found.session.hidden(layer), session.hidden(layer));
        assert_eq!(found.session.cell_state(layer), session.cell_state(layer));
    }
    assert!(session.cell_state(5).unwrap().iter().any(|&c| c != 0));
}

/// The sample of features, as a language model: the step reads tokens instead of a vector of the features.
fn conditional() -> ModelParams<'static> {
    let mut config = config("features");
    let OpConfig::Recurrent(lstm) = config.layers[4].op else {
        panic!("layer 4 is recurrent");
    };
    let token = OpConfig::Token {
        vocab_size: 6,
        dim: (lstm.cell.num_gates() * 12) as u32,
        rows: TokenRowsConfig::Gates,
    };
    let rows = VectorId::result(4);
    config.layers.insert(
        4,
        crate::format::LayerConfig {
            phase: Phase::Step,
            inputs: Inputs::default(),
            op: token,
        },
    );
    config.layers[5].inputs = Inputs::new([rows]).unwrap();
    config.layers[6].inputs = Inputs::new([VectorId::result(5)]).unwrap();
    config.metadata.outputs[0].vector = VectorId::result(6);
    config.metadata.outputs[0].role = Role::Logits;
    config.metadata.vocabularies[1].tokens = 6;
    ModelParams::random(3, &config)
}

#[test]
fn a_text_begins_at_the_states_of_features() {
    let model = model(&conditional());
    assert_eq!(model.task(), Task::ConditionalGenerator);
    let features = [9000, -20_000, 30_000, 1, -4];
    let mut session = session(model);
    session.set_conditioning(&features).unwrap();
    session
        .push_token(model.vocabulary().initial_token())
        .unwrap();
    let logits = session.logits().unwrap().to_vec();
    let largest = logits.iter().max();
    let expected = logits.iter().position(|logit| Some(logit) == largest);
    let greedy = SamplingParams {
        temperature: Temperature::GREEDY,
        ..SamplingParams::default()
    };
    let mut found = generator(model, greedy);
    found.set_conditioning(&[i16::MAX; 5]).unwrap();
    found.next_token().unwrap();
    found.set_conditioning(&features).unwrap();
    assert_eq!(found.next_token().ok().map(usize::from), expected);
    assert_eq!(found.session.cell_state(5), session.cell_state(5));
    assert!(session.cell_state(5).unwrap().iter().any(|&c| c != 0));
    // The same features as a text: 1 is the largest value, and -1 its opposite.
    found
        .set_conditioning(&[i16::MAX, 0, -i16::MAX, 0, 16_384])
        .unwrap();
    found.next_token().unwrap();
    let by_numbers = found.session.hidden(5).unwrap().to_vec();
    found.set_conditioning_text("a, c=-1 e=0.5").unwrap();
    found.next_token().unwrap();
    assert_eq!(found.session.hidden(5).unwrap(), by_numbers);
    // What is refused changes nothing.
    let error = found.set_conditioning_text("a, length=2").unwrap_err();
    let TextError::Features(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.position, 3);
    assert_eq!(found.session.hidden(5).unwrap(), by_numbers);
}

#[test]
fn bits_per_char_is_the_mean_surprisal() {
    let layers = [RecurrentLayerConfig::new(Cell::Rnn, 9)];
    let model = model(&ModelParams::random_language_model(1, 20, 0, &layers));
    let mut session = session(model);
    let mut bits = 0.0;
    for [before, token] in [[0, 1], [1, 0], [0, 2]] {
        session.push_token(before).unwrap();
        let nats = |token: u16, logits: &[i16]| f64::from(logits[usize::from(token)]) / 512.0;
        let logits = session.logits().unwrap().to_vec();
        let sum: f64 = (0..20).map(|token| nats(token, &logits).exp()).sum();
        bits += (sum.ln() - nats(token, &logits)) / core::f64::consts::LN_2;
    }
    let mut generator = generator(model, SamplingParams::default());
    let found = f64::from(generator.bits_per_char("bac").unwrap());
    assert!((found - bits / 3.0).abs() < 0.03, "{found}, {bits}");
}

#[test]
fn a_classifier_reads_all_of_a_text() {
    let mut config = language_model(20, 4, &[RecurrentLayerConfig::new(Cell::Lstm, 9)]);
    config.metadata.vocabularies.swap(0, 1);
    config.metadata.outputs[0].role = Role::Scores;
    config.metadata.outputs[0].every_step = false;
    let model = model(&ModelParams::random(1, &config));
    assert_eq!(model.task(), Task::Classifier);
    let mut session = session(model);
    for token in [2, 0, 1] {
        session.push_token(token).unwrap();
    }
    let mut generator = generator(model, SamplingParams::default());
    generator.classify("zzz").unwrap_err();
    generator.classify("tt").unwrap();
    assert_eq!(
        generator.classify("cab").unwrap(),
        session.logits().unwrap()
    );
}

/// A model that does not generate text, or reads no source or features, says so and generates nothing.
#[test]
fn other_tasks_are_refused() {
    let refused = |result: Result<(), TextError>, expected| {
        let error = TextError::Session(SessionError::InputKind { expected });
        assert_eq!(result, Err(error));
    };
    let mut lstm = generator(model(&sample("lstm")), SamplingParams::default());
    refused(lstm.encode_source(""), InputKind::NoSourceText);
    refused(lstm.set_conditioning_text(""), InputKind::NoFeatures);
    let error = SessionError::InputKind {
        expected: InputKind::NoFeatures,
    };
    assert_eq!(lstm.set_conditioning(&[1]), Err(error));
    for name in ["features", "sensors", "mixed"] {
        let mut generator = generator(model(&sample(name)), SamplingParams::default());
        refused(generator.prompt("a"), InputKind::NoPrompt);
        refused(
            generator.bits_per_char("a").map(|_| ()),
            InputKind::NoPrompt,
        );
        let expected = InputKind::NotItsTokens;
        assert_eq!(
            generator.next_token(),
            Err(SessionError::InputKind { expected }),
            "{name}"
        );
        assert_eq!(generator.next(), None, "{name}");
    }
    let mut sensors = generator(model(&sample("sensors")), SamplingParams::default());
    refused(sensors.classify("a").map(|_| ()), InputKind::Frames);
}
