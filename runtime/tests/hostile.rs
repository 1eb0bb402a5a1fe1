//! Bytes that are not, or no longer, a model: refused, or run without a panic. Overflow checks are on in every profile.

mod common;

use common::{Network, dense, dense_of, linear, model_file, sample};
use pipsqueak::encode::{
    ModelConfig, ModelParams, OpParams, as_bytes, encode, random_config, sample_configs, to_words,
    update_checksum, with_config,
};
use pipsqueak::format::{
    ConstantKind, HEADER_LEN, Inputs, MAX_LAYERS, OpConfig, Phase, Role, TokenRowsConfig, VERSION,
    VectorId,
};
use pipsqueak::selftest::{Coverage, output_digest, verify_kernels};
use pipsqueak::{
    Activation, Cell, Generator, Layer, Model, ModelError, Pcg32, RecurrentLayerConfig,
    SamplingParams, Session, SessionError, StepInput, Temperature, TextError, Tokenization,
    WeightFormat,
};
use rand_core::Rng;

fn models() -> Vec<Vec<u8>> {
    let layer = RecurrentLayerConfig::new;
    let models: [(usize, usize, &[RecurrentLayerConfig]); 4] = [
        (5, 0, &[layer(Cell::GruResetAfter, 6)]),
        (
            3,
            0,
            &[
                layer(Cell::GruResetBefore, 5),
                layer(Cell::GruResetAfter, 3),
            ],
        ),
        (30, 4, &[layer(Cell::GruResetAfter, 7)]),
        (1, 1, &[layer(Cell::GruResetBefore, 1)]),
    ];
    let mut params: Vec<ModelParams> = models
        .iter()
        .map(|(tokens, dim, layers)| ModelParams::random_language_model(9, *tokens, *dim, layers))
        .collect();
    params.extend(
        sample_configs()
            .iter()
            .map(|(_, config)| ModelParams::random(9, config)),
    );
    params.extend(TOKENIZATIONS.map(with_tokenization));
    let bytes = |params| as_bytes(&encode(&params).unwrap()).to_vec();
    params.into_iter().map(bytes).collect()
}

const TOKENIZATIONS: [Tokenization; 3] = [
    Tokenization::Word,
    Tokenization::SpacedWord { lowercase: false },
    Tokenization::Byte,
];

/// A small model over words or bytes.
fn with_tokenization(tokenization: Tokenization) -> ModelParams<'static> {
    let layers = [RecurrentLayerConfig::new(Cell::Lstm, 2)];
    let words = ["I", " am", " don't", ".", "\n", "the", "é"];
    let count = if tokenization == Tokenization::Byte {
        257
    } else {
        words.len()
    };
    let mut params = ModelParams::random_language_model(9, count, 1, &layers);
    let vocabulary = &mut params.vocabularies[1];
    vocabulary.tokenization = tokenization;
    if tokenization == Tokenization::Byte {
        vocabulary.special_tokens.eos = Some(256);
    } else {
        vocabulary.tokens = words.map(String::from).to_vec();
        vocabulary.special_tokens.unk = Some(5);
    }
    params
}

/// Panics if the library contradicts itself.
fn not_internal<T>(result: Result<T, SessionError>) -> Result<T, SessionError> {
    assert_ne!(result.as_ref().err(), Some(&SessionError::Internal));
    result
}

fn text_not_internal<T>(result: Result<T, TextError>) -> Option<T> {
    let error = result.as_ref().err();
    assert_ne!(error, Some(&TextError::Session(SessionError::Internal)));
    result.ok()
}

/// Parses a copy; an accepted model does all that can be asked of it.
fn survives(bytes: &[u8]) -> Result<(), ModelError> {
    let words = to_words(bytes);
    let model = Model::parse(&as_bytes(&words)[..bytes.len()])?;
    let mut workspace = vec![0; model.workspace_len()];
    for (temperature, top_k) in [("0.8", 0), ("100", 3)] {
        let params = SamplingParams {
            temperature: Temperature::parse(temperature).unwrap(),
            top_k,
            seed: 1,
        };
        generate(&mut Generator::new(&model, &mut workspace, params).unwrap());
    }
    let mut session = Session::new(&model, &mut workspace).unwrap();
    run(&mut session);
    assert!(verify_kernels(&mut session, Coverage::Quick).is_ok());
    assert!(verify_kernels(&mut session, Coverage::Full).is_ok());
    not_internal(output_digest(&mut session)).expect("a digest");
    model.training_info();
    model.io_names();
    model.task();
    model.digest();
    Ok(())
}

fn generate(generator: &mut Generator) {
    let model = generator.model();
    let text: Vec<&[u8]> = generator.by_ref().take(12).collect();
    let vocabulary = model.vocabulary();
    if !vocabulary.is_empty() && vocabulary.tokenization() != Tokenization::Byte {
        let is_text = |text: &&[u8]| !text.is_empty() && std::str::from_utf8(text).is_ok();
        assert!(text.iter().all(is_text));
    }
    // Whatever the vocabulary is now, what it generates is a prompt, except for white space between words.
    let text = String::from_utf8_lossy(text.first().unwrap_or(&&b"a"[..])).into_owned();
    for text in [&text, "ab, the\n\u{e9}"] {
        text_not_internal(generator.encode_source(text));
        generator.by_ref().take(3).for_each(drop);
        let known = text_not_internal(generator.prompt(text)).is_some();
        assert_eq!(
            text_not_internal(generator.bits_per_char(text)).is_some(),
            known
        );
        generator.by_ref().take(3).for_each(drop);
        text_not_internal(generator.set_conditioning_text(text));
        text_not_internal(generator.classify(text));
    }
    let _ = not_internal(generator.set_conditioning(&[i16::MIN, i16::MAX, -1, 20_000, 7]));
    generator.by_ref().take(3).for_each(drop);
    let _ = not_internal(generator.next_token());
}

/// Runs all phases with every kind of input, from the most extreme states.
fn run(session: &mut Session) {
    let model = session.model();
    let extremes = |size: usize| [i16::MIN, i16::MAX, -1].into_iter().cycle().take(size);
    for conditioned in [false, true] {
        session.reset();
        if let Some(layer) = model.conditioning().filter(|_| conditioned) {
            let features: Vec<i16> = extremes(layer.len()).collect();
            session
                .set_conditioning(&features)
                .expect("features of the right size");
        }
        for phase in [Phase::Source, Phase::Step] {
            let reader = model.input_of(phase);
            let frame: Vec<i16> = extremes(reader.map_or(0, Layer::len)).collect();
            let right = match reader {
                None => StepInput::Repeat,
                Some(layer) if layer.vocab_size().is_some() => StepInput::Token(0),
                Some(_) => StepInput::Frame(&frame),
            };
            let push = |session: &mut Session, input| match phase {
                Phase::Source => not_internal(session.push_source(input)),
                _ => not_internal(session.push(input)),
            };
            for i in 0..3 {
                for wrong in [
                    StepInput::Token(u16::MAX),
                    StepInput::Frame(&[]),
                    StepInput::Repeat,
                ] {
                    let _ = push(session, wrong);
                }
                if phase == Phase::Step || model.has_source() {
                    push(session, right).expect("an input of the right kind");
                }
                let outputs = not_internal(session.outputs()).expect("outputs");
                for (index, output) in model.outputs().iter().enumerate() {
                    assert_eq!(outputs.get(index).map(<[i16]>::len), Some(output.len()));
                    assert!(output.frac_bits() <= 15);
                }
                for layer in 0..=model.layers().count() {
                    if let Ok(hidden) = not_internal(session.hidden(layer)) {
                        hidden.fill([i16::MIN, i16::MAX][i % 2]);
                    }
                    if let Ok(cell) = not_internal(session.cell_state(layer)) {
                        cell.fill([i32::MIN, i32::MAX][i % 2]);
                    }
                }
            }
            not_internal(session.begin_steps()).expect("initial states");
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for model in models() {
        survives(&model).unwrap();
        for length in 0..model.len() {
            assert!(survives(&model[..length]).is_err(), "{length} bytes");
            // The header has the shorter length, and the checksum fits.
            let mut short = model[..length].to_vec();
            if length >= HEADER_LEN {
                short[12..16].copy_from_slice(&(length as u32).to_le_bytes());
                update_checksum(&mut short);
                assert!(
                    survives(&short).is_err(),
                    "{length} bytes, with their checksum"
                );
            }
        }
        let mut longer = model.clone();
        longer.extend([0xff; 100]);
        survives(&longer).expect("bytes after a model do not matter");
    }
}

#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    let mut total = [0; 2];
    for model in models() {
        let (mut tried, mut accepted) = (0, 0);
        let front = 8 * model.len().min(100);
        // After the header and the metadata, every 29th bit reaches all bits of a word in time.
        for bit in (0..front).chain((front..model.len() * 8).step_by(29)) {
            let mut flipped = model.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(survives(&flipped).is_err(), "bit {bit} passes the checksum");
            update_checksum(&mut flipped);
            accepted += usize::from(survives(&flipped).is_ok());
            tried += 1;
        }
        // Weights, scales and names may change; shapes may not.
        assert!(
            tried / 20 < accepted && accepted < tried,
            "{accepted} of {tried}"
        );
        total = [total[0] + tried, total[1] + accepted];
    }
    println!(
        "flipped bits: {} models tried, {} accepted",
        total[0], total[1]
    );
}

#[test]
fn random_bytes_with_a_good_checksum() {
    let mut rng = Pcg32::new(2, 2);
    let (mut tried, mut accepted) = (0, 0);
    for model in models() {
        for _ in 0..1000 {
            let mut mutant = model.clone();
            for _ in 0..=rng.next_u32() % 4 {
                // Mostly in the header, metadata and vocabulary.
                let end = if rng.next_u32().is_multiple_of(4) {
                    mutant.len()
                } else {
                    mutant.len().min(120)
                };
                let at = rng.next_u32() as usize % end;
                mutant[at] =
                    [0, 0xff, 0x80, 0x7f, rng.next_u32() as u8][rng.next_u32() as usize % 5];
            }
            mutant[..4].copy_from_slice(b"PIPS");
            mutant[8..10].copy_from_slice(&VERSION.to_le_bytes());
            update_checksum(&mut mutant);
            accepted += usize::from(survives(&mutant).is_ok());
            tried += 1;
        }
    }
    println!("random bytes: {tried} models tried, {accepted} accepted");
    assert!(accepted * 20 > tried && accepted < tried);
}

#[test]
fn refusals_name_what_was_expected_and_found() {
    let model = models().remove(0);
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut model = model.clone();
        change(&mut model);
        survives(&model).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|model| model.truncate(9)),
        "the model is truncated: expected 20 bytes, found 9"
    );
    assert_eq!(
        refused(&|model| model[0] = b'Z'),
        "not a model: expected the bytes 50 49 50 53 (PIPS), found 5A 49 50 53"
    );
    assert_eq!(
        refused(&|model| model[8] = 9),
        "model format: expected version 5, found 9; export the model again"
    );
    for erased in [0xff, 0] {
        assert_eq!(
            refused(&|model| model.fill(erased)),
            "no model here: the memory is erased"
        );
    }
    assert!(refused(&|model| model[100] ^= 1).contains("expected CRC"));
    let words = to_words(&[&[0; 2][..], &model[..]].concat());
    let shifted = Model::parse(&as_bytes(&words)[2..]).unwrap_err();
    assert_eq!(shifted, ModelError::Misaligned);
}

/// The first recurrent layer of a model.
fn first_recurrent<'p>(params: &'p mut ModelParams) -> &'p mut pipsqueak::encode::RecurrentParams {
    let recurrent = params
        .layers
        .iter_mut()
        .find_map(|layer| match &mut layer.op {
            OpParams::Recurrent(recurrent) => Some(recurrent),
            _ => None,
        });
    recurrent.expect("a recurrent layer")
}

const OVERFLOW: &str = "the model would be refused: layer 1, row 0: \
    the sum could leave 32 bits, or the multiplier is out of range";

#[test]
fn a_row_that_could_overflow_is_refused() {
    let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 1024)];
    let mut params = ModelParams::random_language_model(1, 2, 0, &layers);
    // An L1 norm of 65,535 passes without a bias; one more does not.
    let first = first_recurrent(&mut params);
    let gate = &mut first.gates[0];
    gate.weights[..1023].fill(64);
    gate.weights[1023] = 63;
    gate.bias[0] = 0;
    first.token_scales[0] = 0;
    encode(&params).unwrap();
    first_recurrent(&mut params).gates[0].weights[1023] = 64;
    assert_eq!(encode(&params).unwrap_err().to_string(), OVERFLOW);
}

#[test]
fn an_int4_row_that_could_overflow_is_refused() {
    let layers = [RecurrentLayerConfig::new(Cell::Lstm, 36).with_formats([WeightFormat::Int4; 2])];
    let mut params = ModelParams::random_language_model(1, 2, 0, &layers);
    // 32 times 8 times 255, and 255 in the second group: the norm is 65,535.
    let first = first_recurrent(&mut params);
    let gate = &mut first.gates[0];
    gate.weights[..32].fill(-8);
    gate.weights[32..36].copy_from_slice(&[-5, 0, 0, 0]);
    gate.scales[..2].copy_from_slice(&[255, 51]);
    gate.bias[0] = 0;
    first.token_scales[0] = 0;
    encode(&params).unwrap();
    let gate = &mut first_recurrent(&mut params).gates[0];
    gate.scales[1] = 52;
    gate.weights[33] = 1;
    assert_eq!(encode(&params).unwrap_err().to_string(), OVERFLOW);
}

#[test]
fn a_mixed_row_that_could_overflow_is_refused_over_both_parts() {
    let formats = [WeightFormat::Int8Scaled, WeightFormat::Int4];
    let layers = [RecurrentLayerConfig::new(Cell::Lstm, 36).with_formats(formats)];
    let mut params = ModelParams::random_language_model(1, 2, 4, &layers);
    // 2 times 127 times 255, and 3 times 255: the norm is 65,535.
    let gate = &mut first_recurrent(&mut params).gates[0];
    gate.weights[..40].fill(0);
    gate.weights[..4].copy_from_slice(&[127, -127, 0, 0]);
    gate.weights[4..6].copy_from_slice(&[-2, 1]);
    gate.scales[..2].copy_from_slice(&[255, 255]);
    gate.bias[0] = 0;
    encode(&params).unwrap();
    for (place, more) in [(3, -1), (6, 1), (36, 1)] {
        let mut params = params.clone();
        let gate = &mut first_recurrent(&mut params).gates[0];
        gate.scales[2] = 1;
        gate.weights[place] = more;
        assert_eq!(encode(&params).unwrap_err().to_string(), OVERFLOW);
    }
    // Int8 products may wrap where their scale is 0: zero times them counts.
    let gate = &mut first_recurrent(&mut params).gates[0];
    gate.weights[..4].fill(127);
    gate.scales[0] = 0;
    let words = encode(&params).unwrap();
    assert_eq!(survives(as_bytes(&words)), Ok(()));
}

/// The error of the sample `name` with a changed configuration; its sections stay.
fn refused(name: &str, change: impl FnOnce(&mut ModelConfig)) -> ModelError {
    let config = sample(name);
    let model = model_file(9, &config);
    let mut changed = ModelConfig::of(&model);
    assert_eq!(with_config(&model, &changed).unwrap(), model);
    change(&mut changed);
    survives(&with_config(&model, &changed).unwrap()).expect_err(name)
}

type Change = fn(&mut ModelConfig);

fn recurrent(config: &mut ModelConfig, index: usize) -> &mut RecurrentLayerConfig {
    match &mut config.layers[index].op {
        OpConfig::Recurrent(recurrent) => recurrent,
        other => panic!("layer {index} is {other:?}"),
    }
}

fn set_token(config: &mut ModelConfig, index: usize, size: Option<u16>, columns: Option<u32>) {
    let OpConfig::Token {
        vocab_size, dim, ..
    } = &mut config.layers[index].op
    else {
        panic!("layer {index} reads no token");
    };
    *vocab_size = size.unwrap_or(*vocab_size);
    *dim = columns.unwrap_or(*dim);
}

fn set_inputs(config: &mut ModelConfig, index: usize, ids: &[VectorId]) {
    config.layers[index].inputs = Inputs::new(ids.iter().copied()).unwrap();
}

fn dense_with(output_size: u16, frac_bits: u8) -> OpConfig {
    OpConfig::Dense {
        output_size,
        activation: Activation::Linear,
        frac_bits,
        format: WeightFormat::Int8,
    }
}

fn constant(size: u16, frac_bits: u8) -> OpConfig {
    OpConfig::Constant {
        size,
        kind: ConstantKind::Vector { frac_bits },
    }
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    // Layers of the samples: lstm = [token, lstm, dense], rnn = [constant, token, rnn, dense], sensors = [frame, gru, mean, ...].
    let bounds: [(&str, &str, Change); 30] = [
        ("lstm", "initial token (0 or more)", |c| {
            c.metadata.vocabularies[1].initial_token = 31
        }),
        ("translator", "initial token (0 or more)", |c| {
            c.metadata.vocabularies[0].initial_token = 29
        }),
        ("words", "special token (0 or more)", |c| {
            c.metadata.vocabularies[1].special_tokens.pad = Some(30)
        }),
        ("four", "steps per token", |c| {
            c.metadata.steps_per_token[1] = 0
        }),
        ("lstm", "steps per token", |c| {
            c.metadata.steps_per_token[1] = 5
        }),
        ("lstm", "steps per token", |c| {
            c.metadata.steps_per_token[0] = 0
        }),
        ("lstm", "number of outputs", |c| c.metadata.outputs.clear()),
        ("lstm", "number of layers", |c| c.layers.clear()),
        ("lstm", "number of layers", |c| {
            c.layers.extend([c.layers[2]; MAX_LAYERS - 2])
        }),
        ("lstm", "vocabulary size", |c| {
            set_token(c, 0, Some(0), None)
        }),
        ("lstm-rnn", "embedding dimension", |c| {
            set_token(c, 0, None, Some(0))
        }),
        ("lstm-rnn", "embedding dimension", |c| {
            set_token(c, 0, None, Some(16_385))
        }),
        ("words", "embedding dimension", |c| {
            set_token(c, 0, None, Some(0))
        }),
        ("words", "shift (0 or more)", |c| {
            let OpConfig::Token { rows, .. } = &mut c.layers[0].op else {
                panic!("layer 0 reads tokens");
            };
            *rows = TokenRowsConfig::Tied {
                layer: 2,
                min_shift: 25,
            }
        }),
        ("sensors", "frame size", |c| {
            c.layers[0].op = OpConfig::Frame { size: 0 }
        }),
        ("sensors", "frame size", |c| {
            c.layers[0].op = OpConfig::Frame { size: 16_385 }
        }),
        ("features", "frame size", |c| {
            c.layers[0].op = OpConfig::Frame { size: u16::MAX }
        }),
        ("rnn", "size of a constant", |c| {
            c.layers[0].op = constant(0, 15)
        }),
        ("rnn", "size of a constant", |c| {
            c.layers[0].op = constant(16_385, 15)
        }),
        ("lstm", "size of a dense layer", |c| {
            c.layers[2].op = dense_with(0, 9)
        }),
        ("lstm", "size of a dense layer", |c| {
            c.layers[2].op = dense_with(65_533, 9)
        }),
        ("lstm", "fraction bits (0 or more)", |c| {
            c.layers[2].op = dense_with(31, 16)
        }),
        ("lstm", "fraction bits (0 or more)", |c| {
            c.layers[2].op = dense_with(31, 255)
        }),
        ("joined", "fraction bits (0 or more)", |c| {
            c.layers[6].op = OpConfig::Sum { frac_bits: 16 }
        }),
        ("lstm", "hidden size", |c| recurrent(c, 1).hidden_size = 0),
        ("lstm", "hidden size", |c| {
            recurrent(c, 1).hidden_size = 16_385
        }),
        ("lstm", "shift of a state (0 or more)", |c| {
            recurrent(c, 1).state_shift = 9
        }),
        ("lstm", "shift of a state (0 or more)", |c| {
            recurrent(c, 1).state_shift = 255
        }),
        ("translator", "hidden size", |c| {
            recurrent(c, 1).hidden_size = u16::MAX
        }),
        ("translator", "steps per token", |c| {
            c.metadata.steps_per_token[0] = 255
        }),
    ];
    for (name, expected, change) in bounds {
        match refused(name, change) {
            error @ ModelError::OutOfRange { .. } => {
                let message = error.to_string();
                assert!(message.starts_with(expected), "{name}: {message}");
            }
            other => panic!("{name}, {expected}: {other:?}"),
        }
    }
}

#[test]
fn inconsistent_layers_are_refused_by_name() {
    let changes: [(&str, u8, &str, Change); 42] = [
        (
            "lstm",
            1,
            "it reads a layer that does not come before it",
            |c| set_inputs(c, 1, &[VectorId::result(2)]),
        ),
        (
            "lstm",
            1,
            "it reads a layer that does not come before it",
            |c| set_inputs(c, 1, &[VectorId::result(1)]),
        ),
        (
            "lstm",
            2,
            "it reads a layer that does not come before it",
            |c| set_inputs(c, 2, &[VectorId::result(100)]),
        ),
        (
            "lstm",
            3,
            "it reads a layer that does not come before it",
            |c| c.metadata.outputs[0].vector = VectorId::result(3),
        ),
        (
            "lstm",
            1,
            "it reads a layer that does not come before it",
            |c| recurrent(c, 1).init[0] = Some(VectorId::result(1)),
        ),
        (
            "four",
            2,
            "it reads a cell state of a layer that has none",
            |c| set_inputs(c, 2, &[VectorId::cell_state(1)]),
        ),
        (
            "four",
            3,
            "it reads a cell state of a layer that has none",
            |c| c.metadata.outputs[0].vector = VectorId::cell_state(1),
        ),
        (
            "rnn",
            2,
            "it reads a cell state of a layer that has none",
            |c| {
                c.layers[0].op = OpConfig::Constant {
                    size: 11,
                    kind: ConstantKind::CellState,
                };
                c.metadata.io_names_len = 0;
            },
        ),
        (
            "translator",
            3,
            "it reads a cell state of a layer that has none",
            |c| recurrent(c, 1).cell = Cell::GruResetBefore,
        ),
        (
            "lstm",
            1,
            "gate inputs cannot be joined with other vectors",
            |c| set_inputs(c, 1, &[VectorId::result(0); 2]),
        ),
        ("lstm", 1, "it reads nothing", |c| set_inputs(c, 1, &[])),
        ("lstm", 2, "it reads nothing", |c| set_inputs(c, 2, &[])),
        ("joined", 6, "it reads nothing", |c| set_inputs(c, 6, &[])),
        ("rnn", 1, "it reads vectors that it does not use", |c| {
            set_inputs(c, 1, &[VectorId::result(0)])
        }),
        ("joined", 1, "it reads vectors that it does not use", |c| {
            set_inputs(c, 1, &[VectorId::result(0)])
        }),
        (
            "sensors",
            4,
            "tanh and sigmoid give 15 fraction bits",
            |c| {
                let OpConfig::Dense { frac_bits, .. } = &mut c.layers[4].op else {
                    panic!("layer 4 is dense");
                };
                *frac_bits = 14;
            },
        ),
        (
            "lstm",
            2,
            "only a recurrent layer can read gate inputs",
            |c| set_inputs(c, 2, &[VectorId::result(0)]),
        ),
        (
            "joined",
            6,
            "it adds vectors of different sizes or formats",
            |c| set_inputs(c, 6, &[3, 4].map(VectorId::result)),
        ),
        (
            "joined",
            6,
            "it adds vectors of different sizes or formats",
            |c| set_inputs(c, 6, &[VectorId::result(1)]),
        ),
        (
            "joined",
            6,
            "it adds vectors of different sizes or formats",
            |c| set_inputs(c, 6, &[VectorId::result(3), VectorId::cell_state(5)]),
        ),
        (
            "sensors",
            2,
            "a mean reads one vector with a format of its own",
            |c| set_inputs(c, 2, &[VectorId::result(1); 2]),
        ),
        ("sensors", 2, "it reads nothing", |c| set_inputs(c, 2, &[])),
        (
            "sensors",
            2,
            "a mean reads one vector with a format of its own",
            |c| set_inputs(c, 2, &[VectorId::result(0)]),
        ),
        (
            "lstm-rnn",
            0,
            "the embedding has too many dimensions",
            |c| set_token(c, 0, None, Some(65_536)),
        ),
        (
            "rnn",
            2,
            "an initial cell state without a cell state",
            |c| recurrent(c, 2).init[1] = Some(VectorId::result(0)),
        ),
        (
            "translator",
            5,
            "an initial state of another size or without a format",
            |c| recurrent(c, 5).init[0] = Some(VectorId::result(1)),
        ),
        (
            "translator",
            5,
            "an initial state of another size or without a format",
            |c| recurrent(c, 5).init[1] = Some(VectorId::cell_state(1)),
        ),
        (
            "features",
            4,
            "an initial state of another size or without a format",
            |c| recurrent(c, 4).init[0] = Some(VectorId::result(0)),
        ),
        (
            "joined",
            5,
            "an initial state that is not known when its phase begins",
            |c| recurrent(c, 5).init[0] = Some(VectorId::result(3)),
        ),
        ("lstm", 0, "it cannot run in its phase", |c| {
            c.layers[0].phase = Phase::Output
        }),
        (
            "sensors",
            1,
            "its phase is before that of the layer before it",
            |c| c.layers[1].phase = Phase::Begin,
        ),
        ("lstm", 3, "no layer runs in a step", |c| {
            c.layers
                .iter_mut()
                .for_each(|layer| layer.phase = Phase::Source)
        }),
        (
            "joined",
            1,
            "a second token or frame of the same phase",
            |c| c.layers[0].phase = Phase::Step,
        ),
        ("lstm", 0, "it cannot run in its phase", |c| {
            c.layers[0].phase = Phase::Begin
        }),
        ("sensors", 2, "it cannot run in its phase", |c| {
            c.layers[2].phase = Phase::Output
        }),
        ("rnn", 0, "it cannot run in its phase", |c| {
            c.layers[0].phase = Phase::Source
        }),
        (
            "sensors",
            3,
            "a mean can be read by output layers only",
            |c| c.layers[3].phase = Phase::Step,
        ),
        (
            "words",
            3,
            "a tied embedding needs an int8 dense layer of its size",
            |c| set_token(c, 0, Some(29), None),
        ),
        (
            "words",
            3,
            "a tied embedding needs an int8 dense layer of its size",
            |c| {
                let OpConfig::Token { rows, .. } = &mut c.layers[0].op else {
                    panic!("layer 0 reads tokens");
                };
                *rows = TokenRowsConfig::Tied {
                    layer: 1,
                    min_shift: 0,
                };
            },
        ),
        ("joined", 9, "an output without a format of its own", |c| {
            c.metadata.outputs[0].vector = VectorId::result(1)
        }),
        (
            "lstm",
            3,
            "logits of other tokens than the step reads",
            |c| c.metadata.outputs[0].every_step = false,
        ),
        (
            "sensors",
            6,
            "logits of other tokens than the step reads",
            |c| {
                c.metadata.outputs[0].role = Role::Logits;
                c.metadata.outputs[0].every_step = true;
            },
        ),
    ];
    let mut wrong = vec![];
    for (name, layer, what, change) in changes {
        let found = refused(name, change).to_string();
        let expected = match what {
            "the embedding has too many dimensions" => {
                "embedding dimension: expected at most 16384, found 65536".to_owned()
            }
            _ => format!("layer {layer}: {what}"),
        };
        if found != expected {
            wrong.push(format!("{name}: expected {expected}, found {found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Random parameters of a configuration that is refused.
fn encoding_refused(config: &ModelConfig) -> String {
    let error = encode(&ModelParams::random(9, config)).expect_err("it is refused");
    error.to_string()
}

/// Layers whose weights would have another length than those of a sample.
#[test]
fn inconsistent_layers_with_their_sections_are_refused_by_name() {
    let lstm = RecurrentLayerConfig::new(Cell::Lstm, 4);
    let mut network = Network::new();
    let frame = network.add(Phase::Step, &[], OpConfig::Frame { size: 16_384 });
    network.add(Phase::Step, &[frame; 4], linear(1));
    let error = encoding_refused(&network.values());
    assert_eq!(
        error,
        "the model would be refused: layer 1: its inputs are too long"
    );

    let mut network = Network::new();
    network.add(Phase::Step, &[], OpConfig::Frame { size: 1 });
    network.then(Phase::Step, linear(16_384));
    (0..20).for_each(|_| {
        network.then(Phase::Step, OpConfig::Sum { frac_bits: 9 });
    });
    let error = encoding_refused(&network.values());
    assert!(
        error.contains("bytes of workspace: expected at most"),
        "{error}"
    );

    let gate_rows = |dim| OpConfig::Token {
        vocab_size: 5,
        dim,
        rows: TokenRowsConfig::Gates,
    };
    for (dim, what) in [
        (12, "gate inputs of another size or phase"),
        (32, "gate inputs of another size or phase"),
        (0, "length of gate inputs: expected at most"),
    ] {
        let mut network = Network::new();
        network.add(Phase::Step, &[], gate_rows(16));
        network.then(Phase::Step, OpConfig::Recurrent(lstm));
        let config = network.values();
        let model = model_file(9, &config);
        let mut changed = config.clone();
        changed.layers[0].op = gate_rows(dim);
        // As many rows as fit.
        let error = grown(&with_config(&model, &changed).unwrap()).unwrap_err();
        assert!(error.to_string().contains(what), "{dim}: {error}");
    }

    // Gate inputs of the encoder, read in the step.
    let mut network = Network::new();
    let rows = network.add(Phase::Source, &[], gate_rows(16));
    network.add(Phase::Step, &[rows], OpConfig::Recurrent(lstm));
    let error = encoding_refused(&network.values());
    assert!(
        error.contains("layer 1: gate inputs of another size or phase"),
        "{error}"
    );

    // Gate inputs that nothing reads have no size that fits them, but they run.
    let mut network = Network::new();
    network.add(Phase::Step, &[], gate_rows(16));
    network.then(Phase::Step, OpConfig::Recurrent(lstm));
    network.add(
        Phase::Step,
        &[VectorId::result(0)],
        OpConfig::Recurrent(lstm),
    );
    let model = model_file(9, &network.values());
    assert_eq!(
        survives(&model),
        Ok(()),
        "two recurrent layers read the same gate inputs"
    );

    // A tied embedding of an int4 layer.
    let mut config = sample("words");
    config.layers[2].op = dense_of(30, Activation::Linear, WeightFormat::Int4);
    let error = encoding_refused(&config);
    assert!(
        error.contains("layer 3: a tied embedding needs an int8 dense layer"),
        "{error}"
    );

    // A mean cannot be an initial state.
    let mut network = Network::new();
    network.add(Phase::Step, &[], OpConfig::Frame { size: 4 });
    network.then(Phase::Step, dense(4, Activation::Tanh));
    let mean = network.then(Phase::Step, OpConfig::Mean);
    let gru = RecurrentLayerConfig {
        init: [Some(mean), None],
        ..RecurrentLayerConfig::new(Cell::GruResetAfter, 4)
    };
    network.add(
        Phase::Step,
        &[VectorId::result(0)],
        OpConfig::Recurrent(gru),
    );
    let error = encoding_refused(&network.values());
    assert!(error.contains("not known when its phase begins"), "{error}");
}

#[test]
fn vocabularies_of_other_sizes_are_refused() {
    for (name, what) in [
        ("lstm", "a vocabulary of another size than the outputs"),
        ("mixed", "a vocabulary of another size than the inputs"),
        ("features", "a vocabulary of another size than the inputs"),
    ] {
        let mut params = ModelParams::random(9, &sample(name));
        let vocabulary = params
            .vocabularies
            .iter_mut()
            .find(|v| !v.tokens.is_empty());
        vocabulary.unwrap().tokens.pop();
        let error = encode(&params).unwrap_err().to_string();
        assert!(error.ends_with(what), "{name}: {error}");
    }
}

/// Shapes within their ranges that the sections do not have.
#[test]
fn shapes_that_the_sections_do_not_have_are_refused() {
    let changes: [(&str, Change); 18] = [
        ("mixed", |c| {
            recurrent(c, 1).formats = [WeightFormat::Int8Scaled, WeightFormat::Int4]
        }),
        ("wide-input", |c| {
            recurrent(c, 1).formats = [WeightFormat::Int4; 2]
        }),
        ("wide-input", |c| {
            recurrent(c, 2).formats = [WeightFormat::Int8; 2]
        }),
        ("lstm", |c| {
            recurrent(c, 1).formats = [WeightFormat::Int4; 2]
        }),
        ("four", |c| {
            recurrent(c, 1).formats = [WeightFormat::Int8; 2]
        }),
        ("lstm", |c| {
            c.layers[2].op = dense_of(31, Activation::Linear, WeightFormat::Int4)
        }),
        ("four", |c| c.layers[2].op = linear(28)),
        ("lstm", |c| c.metadata.vocabularies[1].tokens += 1),
        ("lstm", |c| c.metadata.vocabularies[1].tokens = u16::MAX),
        ("lstm", |c| c.metadata.vocabularies[1].text_len = u32::MAX),
        ("lstm", |c| c.metadata.vocabularies[1].text_len += 1),
        ("lstm", |c| {
            c.metadata.vocabularies[1].tokenization = Tokenization::Byte
        }),
        ("lstm", |c| {
            c.metadata.vocabularies[1].special_tokens.eos = Some(3)
        }),
        ("lstm", |c| set_token(c, 0, Some(u16::MAX), Some(u32::MAX))),
        ("lstm", |c| c.metadata.io_names_len = u32::MAX),
        ("lstm-rnn", |c| set_token(c, 0, None, Some(16_384))),
        ("lstm-rnn", |c| recurrent(c, 1).cell = Cell::GruResetAfter),
        ("sensors", |c| c.layers[3].op = linear(65_532)),
    ];
    for (index, (name, change)) in changes.into_iter().enumerate() {
        let error = refused(name, change);
        let named = matches!(
            error,
            ModelError::SizeMismatch { .. } | ModelError::Vocabulary { .. }
        );
        assert!(named, "{name}, change {index}: {error}");
    }
}

#[test]
fn more_layers_than_the_capacity_are_refused() {
    let bytes = model_file(9, &sample("lstm"));
    let words = to_words(&bytes);
    let parse = Model::<[Option<Layer>; 3]>::parse_with_capacity;
    assert!(parse(as_bytes(&words)).is_ok());
    let error = Model::<[Option<Layer>; 2]>::parse_with_capacity(as_bytes(&words)).unwrap_err();
    let expected = "number of layers: expected at most 2, found 3";
    assert_eq!(error.to_string(), expected);
}

/// The numbers of a model's metadata, as postcard encodes them, and the training information after them.
fn metadata_numbers(bytes: &[u8]) -> (Vec<u32>, &[u8], &[u8]) {
    let length = usize::from(u16::from_le_bytes([bytes[10], bytes[11]]));
    let (metadata, sections) = bytes[HEADER_LEN..].split_at(length);
    let words = to_words(bytes);
    let model = Model::parse(as_bytes(&words)).unwrap();
    let mut buffer = [0; 256];
    let training = postcard::to_slice(&model.training_info().unwrap(), &mut buffer).unwrap();
    let (mut numbers, training) = metadata.split_at(length - training.len());
    let mut out = vec![];
    while !numbers.is_empty() {
        let (number, rest) = postcard::take_from_bytes(numbers).unwrap();
        out.push(number);
        numbers = rest;
    }
    let padding = length.next_multiple_of(4) - length;
    (out, training, &sections[padding..])
}

/// A model with these numbers in its metadata.
fn with_numbers(numbers: &[u32], training: &[u8], sections: &[u8]) -> Vec<u8> {
    let mut metadata = vec![];
    for number in numbers {
        metadata.extend_from_slice(postcard::to_slice(number, &mut [0; 8]).unwrap());
    }
    metadata.extend_from_slice(training);
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..4].copy_from_slice(b"PIPS");
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10..12].copy_from_slice(&(metadata.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&metadata);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(sections);
    set_length(&mut bytes);
    bytes
}

fn set_length(bytes: &mut [u8]) {
    let length = bytes.len() as u32;
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    update_checksum(bytes);
}

/// [`survives`], with as many bytes of sections as the metadata wants, if they are few.
fn grown(bytes: &[u8]) -> Result<(), ModelError> {
    let mut bytes = bytes.to_vec();
    for _ in 0..40 {
        match survives(&bytes) {
            Err(ModelError::SizeMismatch { expected, found })
                if found == bytes.len() as u32 && expected < 100_000 =>
            {
                bytes.resize(expected as usize, 0);
                set_length(&mut bytes);
            }
            other => return other,
        }
    }
    survives(&bytes)
}

/// Every number of the metadata in turn, with every value near a bound.
#[test]
fn every_number_of_the_metadata() {
    let (mut tried, mut accepted) = (0, 0);
    let mut files: Vec<Vec<u8>> = sample_configs()
        .iter()
        .map(|(_, config)| model_file(9, config))
        .collect();
    files.extend((0..10).map(|seed| model_file(seed, &random_config(seed))));
    for model in &files {
        let (numbers, training, sections) = metadata_numbers(model);
        assert_eq!(
            with_numbers(&numbers, training, sections)[20..],
            model[20..]
        );
        for index in 0..numbers.len() {
            let old = numbers[index];
            let near = [
                old.wrapping_add(1),
                old.wrapping_sub(1),
                old ^ 0x80,
                2 * old,
            ];
            let bounds = [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 24, 25, 127, 255, 256,
            ];
            let large = [
                16_384,
                16_385,
                65_531,
                65_532,
                65_535,
                65_536,
                1 << 31,
                u32::MAX,
            ];
            for value in near.into_iter().chain(bounds).chain(large) {
                let mut changed = numbers.clone();
                changed[index] = value;
                let bytes = with_numbers(&changed, training, sections);
                accepted += usize::from(grown(&bytes).is_ok());
                tried += 1;
            }
        }
    }
    println!("numbers of the metadata: {tried} models tried, {accepted} accepted");
    assert!(
        accepted > 1000 && accepted < tried / 2,
        "{accepted} of {tried}"
    );
}

/// Random references, phases and kinds of layers over sections that fit.
#[test]
fn random_metadata_is_refused_or_runs() {
    let mut rng = Pcg32::new(4, 4);
    let (mut tried, mut accepted) = (0, 0);
    for seed in 0..1000 {
        let config = random_config(seed);
        let model = model_file(seed, &config);
        for _ in 0..8 {
            let mut changed = config.clone();
            for _ in 0..=rng.next_u32() % 3 {
                mutate(&mut changed, &mut rng);
            }
            let bytes = with_config(&model, &changed).unwrap();
            accepted += usize::from(grown(&bytes).is_ok());
            tried += 1;
        }
    }
    println!("random metadata: {tried} models tried, {accepted} accepted");
    assert!(accepted > 1000 && accepted < tried, "{accepted} of {tried}");
}

fn mutate(config: &mut ModelConfig, rng: &mut Pcg32) {
    let mut below = |end: usize| rng.next_u32() as usize % end;
    let count = config.layers.len();
    let vector = |n: usize| match n % 2 {
        0 => VectorId::result(n / 2),
        _ => VectorId::cell_state(n / 2),
    };
    let index = below(count);
    match below(10) {
        0 => config.layers[index].phase = Phase::ALL[below(4)],
        1 | 2 => {
            let ids: Vec<VectorId> = (0..below(5))
                .map(|_| vector(below(2 * count + 1)))
                .collect();
            config.layers[index].inputs = Inputs::new(ids).unwrap();
        }
        3 => {
            let other = config.layers[below(count)];
            config.layers[index].op = other.op;
        }
        4 => config.layers.swap(index, (index + 1) % count),
        5 => {
            config.layers.remove(index);
        }
        6 => config.layers.insert(index, config.layers[index]),
        7 => {
            let output = below(config.metadata.outputs.len());
            config.metadata.outputs[output].vector = vector(below(2 * count + 1));
            config.metadata.outputs[output].role = Role::ALL[below(3)];
        }
        8 => {
            let id = Some(vector(below(2 * count + 1))).filter(|_| below(3) > 0);
            let state = below(2);
            if let OpConfig::Recurrent(recurrent) = &mut config.layers[index].op {
                recurrent.init[state] = id;
                recurrent.hidden_size = 1 + below(30) as u16;
                recurrent.cell = Cell::ALL[below(4)];
            }
        }
        _ => {
            let (small, activation) = (below(17) as u8, below(4));
            match &mut config.layers[index].op {
                OpConfig::Dense {
                    frac_bits,
                    activation: old,
                    ..
                } => {
                    *frac_bits = small;
                    *old = Activation::ALL[activation];
                }
                OpConfig::Sum { frac_bits } => *frac_bits = small,
                OpConfig::Frame { size } => *size = small.into(),
                OpConfig::Token { vocab_size, .. } => *vocab_size = small.into(),
                _ => config.metadata.steps_per_token[1] = small % 6,
            }
        }
    }
    if config.layers.is_empty() {
        config.layers = random_config(0).layers;
    }
}

/// A tagger: other tokens are outputs than inputs, so it generates no text, but it runs.
#[test]
fn a_model_with_other_outputs_than_inputs_is_not_autoregressive() {
    let autoregressive = |config: &ModelConfig| {
        let bytes = model_file(1, config);
        assert_eq!(survives(&bytes), Ok(()));
        let words = to_words(&bytes);
        Model::parse(as_bytes(&words)).unwrap().is_autoregressive()
    };
    for name in ["lstm", "lstm-rnn"] {
        let mut config = sample(name);
        assert!(autoregressive(&config), "{name}");
        config.metadata.vocabularies = Default::default();
        let last = config.layers.len() - 1;
        config.layers[last].op = linear(5);
        config.metadata.outputs[0].role = Role::Scores;
        assert!(!autoregressive(&config), "{name}");
        config.metadata.outputs[0].role = Role::Logits;
        let error = encoding_refused(&config);
        assert!(
            error.contains("logits of other tokens than the step reads"),
            "{error}"
        );
    }
}
