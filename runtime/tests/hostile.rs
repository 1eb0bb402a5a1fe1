//! Bytes that are not, or no longer, an image: refused, or run without a panic. Overflow checks are on in every profile.

use pipsqueak::encode::{Parts, aligned, bytes, encode, metadata, seal, shapes, with_metadata};
use pipsqueak::image::{
    Activation, Bits, Dense, HEADER_LEN, Input, MAX_LAYERS, Metadata, Start, StartFrom, VERSION,
};
use pipsqueak::{
    Cell, Feed, Generator, Image, ImageError, Layer, SamplingParams, Temperature, Tokenization,
    selftest,
};

fn images() -> Vec<Vec<u8>> {
    let layer = |cell, hidden| Layer::new(cell, hidden);
    let models: [(usize, usize, &[Layer]); 4] = [
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
    let models =
        models.map(|(tokens, embedding, layers)| Parts::random(9, tokens, embedding, layers));
    let mut parts = models.to_vec();
    parts.extend(
        shapes()
            .iter()
            .map(|(_, shapes)| Parts::random_of(9, shapes)),
    );
    parts.extend(TOKENIZATIONS.map(with_tokenization));
    let image = |parts| bytes(&encode(&parts).unwrap()).to_vec();
    parts.into_iter().map(image).collect()
}

const TOKENIZATIONS: [Tokenization; 3] = [
    Tokenization::Word,
    Tokenization::SpacedWord { lowercase: false },
    Tokenization::Byte,
];

/// A small model over words or bytes.
fn with_tokenization(tokenization: Tokenization) -> Parts<'static> {
    let layers = [Layer::new(Cell::Lstm, 2)];
    let words = ["I", " am", " don't", ".", "\n", "the", "é"];
    let count = if tokenization == Tokenization::Byte {
        257
    } else {
        words.len()
    };
    let mut parts = Parts::random(9, count, 1, &layers);
    let vocabulary = &mut parts.vocabularies[1];
    vocabulary.tokenization = tokenization;
    if tokenization == Tokenization::Byte {
        vocabulary.special_tokens.eos = Some(256);
    } else {
        vocabulary.tokens = words.map(String::from).to_vec();
        vocabulary.special_tokens.unk = Some(5);
    }
    parts
}

/// Parses a copy; what is accepted does all that can be asked of it.
fn survives(image: &[u8]) -> Result<(), ImageError> {
    let words = aligned(image);
    let image = Image::parse(&bytes(&words)[..image.len()])?;
    let mut workspace = vec![0; image.workspace_len()];
    let features = [i16::MIN, i16::MAX, -1, 20_000, 7];
    for (temperature, top_k) in [("0.8", 0), ("100", 3)] {
        let settings = SamplingParams {
            temperature: Temperature::parse(temperature).unwrap(),
            top_k,
            seed: 1,
        };
        let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
        let text: Vec<&[u8]> = generator.by_ref().take(12).collect();
        let vocabulary = image.vocabulary();
        if !vocabulary.is_empty() && vocabulary.tokenization() != Tokenization::Byte {
            assert!(
                text.iter()
                    .all(|t| !t.is_empty() && std::str::from_utf8(t).is_ok())
            );
        }
        // Whatever the vocabulary is now, what it makes is a prompt, but for white space between words.
        let text = String::from_utf8_lossy(text.first().unwrap_or(&&b"a"[..])).into_owned();
        for text in [&text, "ab, the\n\u{e9}"] {
            let _ = generator.source(text);
            generator.by_ref().take(3).for_each(drop);
            let known = generator.prompt(text).is_ok();
            assert_eq!(generator.score(text).is_ok(), known);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.classify(text).map(<[i16]>::len);
        }
        generator.features(&features);
        generator.by_ref().take(3).for_each(drop);
        let state = generator.state();
        for index in 0..3 {
            for feed in [Feed::Token(u16::MAX), Feed::Vector(&features), Feed::Again] {
                state.feed(index, feed);
            }
            state.set_cell(index, 0, &[i32::MIN; 3]);
            state.set_hidden(index, 0, &[i16::MIN; 3]);
            state.feed(index, Feed::Token(0));
            state.hand_over();
            assert_eq!(
                state.outputs_of(index).len(),
                if index < image.networks() {
                    image.outputs_of(index)
                } else {
                    0
                }
            );
        }
        if top_k == 0 {
            assert!(selftest::kernel(state, selftest::Extent::All).is_ok());
            selftest::digest(state);
        }
    }
    image.provenance();
    image.interface();
    for index in 0..3 {
        let elements = image.channels(index).len() + image.feature_channels(index).len();
        assert!(elements < 1 << 16 && image.output_bits(index) <= 15);
    }
    Ok(())
}

#[test]
fn every_truncation_is_refused() {
    for image in images() {
        survives(&image).unwrap();
        for length in 0..image.len() {
            assert!(survives(&image[..length]).is_err(), "{length} bytes");
            // The header says the shorter length, and the CRC fits.
            let mut short = image[..length].to_vec();
            if length >= HEADER_LEN {
                short[12..16].copy_from_slice(&(length as u32).to_le_bytes());
                seal(&mut short);
                assert!(survives(&short).is_err(), "{length} bytes, sealed");
            }
        }
        let mut longer = image.clone();
        longer.extend([0xff; 100]);
        survives(&longer).expect("what follows an image does not matter");
    }
}

#[test]
fn every_flipped_bit_is_refused_or_harmless() {
    for image in images() {
        let (mut tried, mut accepted) = (0, 0);
        let front = 8 * image.len().min(100);
        // Behind the header and the metadata, every 29th bit reaches all bits of a word in time.
        for bit in (0..front).chain((front..image.len() * 8).step_by(29)) {
            let mut flipped = image.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(survives(&flipped).is_err(), "bit {bit} passes the CRC");
            seal(&mut flipped);
            accepted += usize::from(survives(&flipped).is_ok());
            tried += 1;
        }
        // Weights, factors and names may change; shapes may not.
        assert!(
            tried / 20 < accepted && accepted < tried,
            "{accepted} of {tried}"
        );
    }
}

#[test]
fn random_bytes_behind_a_good_seal() {
    use rand_core::Rng;
    let mut rng = pipsqueak::Pcg32::new(2, 2);
    for image in images() {
        for _ in 0..2000 {
            let mut mutant = image.clone();
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
            seal(&mut mutant);
            let _ = survives(&mutant);
        }
    }
}

#[test]
fn refusals_say_what_was_expected_and_found() {
    let image = images().remove(0);
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image.clone();
        change(&mut image);
        survives(&image).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&|i| i.truncate(9)),
        "the image is cut off: expected 20 bytes, found 9"
    );
    assert_eq!(
        refused(&|i| i[0] = b'Z'),
        "not an image: expected the bytes 50 49 50 53 (PIPS), found 5A 49 50 53"
    );
    assert_eq!(
        refused(&|i| i[8] = 9),
        "image format: expected version 4, found 9; export the model anew"
    );
    assert_eq!(
        refused(&|i| i.fill(0xff)),
        "no image here: the first bytes are all erased"
    );
    assert!(refused(&|i| i[100] ^= 1).contains("expected CRC"));
    let words = aligned(&[&[0; 2][..], &image[..]].concat());
    let shifted = Image::parse(&bytes(&words)[2..]).unwrap_err();
    assert_eq!(shifted, ImageError::Misaligned);
}

#[test]
fn a_row_that_could_overflow_is_refused() {
    let layers = [Layer::new(Cell::GruResetAfter, 1024)];
    let mut parts = Parts::random(1, 2, 0, &layers);
    // Norm 65,535 passes with no bias; one more does not.
    let first = &mut parts.networks[0].layers[0];
    let row = &mut first.gates[0];
    row.weights[..1023].fill(64);
    row.weights[1023] = 63;
    row.bias[0] = 0;
    first.factors[0] = 0;
    encode(&parts).unwrap();
    parts.networks[0].layers[0].gates[0].weights[1023] = 64;
    let error = encode(&parts).unwrap_err().to_string();
    assert_eq!(
        error,
        "the image would be refused: row 0 of layer 0 could leave 32 bits or has a bad scale"
    );
}

#[test]
fn a_row_of_four_bits_that_could_overflow_is_refused() {
    let layers = [Layer::new(Cell::Lstm, 36).with_bits(Bits::Four)];
    let mut parts = Parts::random(1, 2, 0, &layers);
    // 32 times 8 times 255, and 255 in the second group: the norm is 65,535.
    let first = &mut parts.networks[0].layers[0];
    let row = &mut first.gates[0];
    row.weights[..32].fill(-8);
    row.weights[32..36].copy_from_slice(&[-5, 0, 0, 0]);
    row.scales[..2].copy_from_slice(&[255, 51]);
    row.bias[0] = 0;
    first.factors[0] = 0;
    encode(&parts).unwrap();
    let row = &mut parts.networks[0].layers[0].gates[0];
    row.scales[1] = 52;
    row.weights[33] = 1;
    let error = encode(&parts).unwrap_err().to_string();
    assert!(error.contains("row 0 of layer 0 could leave 32 bits"));
}

#[test]
fn a_row_of_mixed_bits_that_could_overflow_is_refused_over_both_parts() {
    let layers = [Layer::new(Cell::Lstm, 36).with_bits(Bits::Mixed)];
    let mut parts = Parts::random(1, 2, 4, &layers);
    // 2 times 127 times 255, and 3 times 255: the norm is 65,535.
    let row = &mut parts.networks[0].layers[0].gates[0];
    row.weights[..40].fill(0);
    row.weights[..4].copy_from_slice(&[127, -127, 0, 0]);
    row.weights[4..6].copy_from_slice(&[-2, 1]);
    row.scales[..2].copy_from_slice(&[255, 255]);
    row.bias[0] = 0;
    encode(&parts).unwrap();
    for (place, more) in [(3, -1), (6, 1), (36, 1)] {
        let mut parts = parts.clone();
        let row = &mut parts.networks[0].layers[0].gates[0];
        row.scales[2] = 1;
        row.weights[place] = more;
        let error = encode(&parts).unwrap_err().to_string();
        assert!(error.contains("row 0 of layer 0 could leave 32 bits"));
    }
    // Products of 8 bits may wrap where their scale is 0: what counts is 0 times them.
    let row = &mut parts.networks[0].layers[0].gates[0];
    row.weights[..4].fill(127);
    row.scales[0] = 0;
    let words = encode(&parts).unwrap();
    assert_eq!(survives(bytes(&words)), Ok(()));
}

/// An image of shapes with other metadata; the sections stay.
fn with(image: &[u8], shapes: &Metadata, change: impl Fn(&mut Metadata)) -> Result<(), ImageError> {
    let mut changed = shapes.clone();
    change(&mut changed);
    survives(&with_metadata(image, &changed))
}

fn named(name: &str) -> (Vec<u8>, Metadata) {
    let all = shapes();
    let (_, found) = all.iter().find(|(other, _)| *other == name).unwrap();
    let parts = Parts::random_of(9, found);
    let image = bytes(&encode(&parts).unwrap()).to_vec();
    let metadata = metadata(&parts).unwrap();
    assert_eq!(with(&image, &metadata, |_| ()), Ok(()));
    (image, metadata)
}

type Change = fn(&mut Metadata);

#[test]
fn numbers_out_of_bounds_are_refused_by_name() {
    let bounds: [(&str, &str, Change); 21] = [
        ("lstm", "width of a dense layer (0 or more)", |m| {
            m.dense[0] = Dense::new(31, Activation::Linear, 9, Bits::Mixed)
        }),
        ("lstm", "fraction bits of an output (0 or more)", |m| {
            m.dense[0] = Dense::new(31, Activation::Linear, 255, Bits::Four)
        }),
        ("four", "steps per token", |m| {
            m.networks[0].steps_per_token = 0
        }),
        ("lstm", "steps per token", |m| {
            m.networks[0].steps_per_token = 5
        }),
        ("sensors", "steps per token", |m| {
            m.networks[0].steps_per_token = 2
        }),
        ("lstm", "number of networks", |m| m.networks.clear()),
        ("lstm", "inputs of a network", |m| m.networks[0].count = 0),
        ("lstm-rnn", "embedding", |m| {
            m.networks[0].input = Input::Embedding(0)
        }),
        ("lstm-rnn", "embedding", |m| {
            m.networks[0].input = Input::Embedding(u16::MAX)
        }),
        ("lstm", "units of a layer", |m| m.layers[0].layer.hidden = 0),
        ("lstm", "units of a layer", |m| {
            m.layers[0].layer.hidden = 16_385
        }),
        ("lstm", "shift of a state (0 or more)", |m| {
            m.layers[0].shift = 9
        }),
        ("lstm", "outputs of a dense layer", |m| {
            m.dense[0].outputs = 0
        }),
        ("lstm", "fraction bits of an output (0 or more)", |m| {
            m.dense[0] = Dense::new(31, Activation::Linear, 16, Bits::Eight)
        }),
        ("lstm", "initial token (0 or more)", |m| {
            m.vocabularies[1].initial_token = 31
        }),
        ("translator", "initial token (0 or more)", |m| {
            m.vocabularies[0].initial_token = 29
        }),
        ("words", "special token (0 or more)", |m| {
            m.vocabularies[1].special_tokens.pad = Some(30)
        }),
        ("words", "shift of an embedding (0 or more)", |m| {
            m.networks[0].input = Input::Tied { shift: 25 }
        }),
        ("sensors", "inputs of a network", |m| {
            m.networks[0].count = u16::MAX
        }),
        ("features", "inputs of a network", |m| {
            m.networks[0].count = u16::MAX
        }),
        ("features", "features (0 or more)", |m| {
            m.networks[0].features = u16::MAX
        }),
    ];
    for (name, what_expected, change) in bounds {
        let (image, metadata) = named(name);
        match with(&image, &metadata, change) {
            Err(ImageError::Bounds { what, .. }) => assert_eq!(what, what_expected, "{name}"),
            other => panic!("{name}, {what_expected}: {other:?}"),
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_by_name() {
    let one_more = |m: &mut Metadata| m.networks[0].head += 1;
    let changes: [(&str, &str, Change); 25] = [
        ("lstm", "layers that no network has", |m| {
            m.layers.push(m.layers[0]).unwrap()
        }),
        ("lstm", "layers that no network has", |m| {
            m.dense.push(m.dense[0]).unwrap()
        }),
        // The sections stay as long as they are: another layer than the one that was checked would be the head.
        ("lstm", "dense layers that nothing reads", |m| {
            m.layers[0].starts[0] = Start::new(StartFrom::Zero, 1);
            m.dense.push(m.dense[0]).unwrap();
        }),
        ("translator", "two heads that read a mean", |m| {
            for network in &mut m.networks {
                network.reads = pipsqueak::image::Reads::Mean;
            }
        }),
        ("lstm", "too few layers", |m| m.networks[0].layers = 2),
        ("lstm", "too few dense layers", one_more),
        ("lstm", "no outputs", |m| {
            m.networks[0].head = 0;
            m.networks[0].layers = 0;
            m.networks[0].input = Input::Vectors;
            m.layers.clear();
            m.dense.clear();
        }),
        (
            "lstm",
            "dense layers between a token and the first layer",
            |m| m.networks[0].dense = 1,
        ),
        ("lstm", "nothing that the first layer reads", |m| {
            m.networks[0].input = Input::Features { steps: 1 }
        }),
        ("lstm", "nothing that the first layer reads", |m| {
            m.networks[0].layers = 0;
            m.layers.clear();
        }),
        (
            "lstm",
            "a vocabulary of another size than the outputs",
            |m| m.vocabularies[1].tokens = 0x1e,
        ),
        ("lstm", "a start of another size than the state", |m| {
            m.layers[0].starts[0] = Start::new(StartFrom::Features, 0);
        }),
        ("lstm", "a start of another size than the state", |m| {
            m.layers[0].starts[1] = Start::new(
                StartFrom::Encoder {
                    layer: 0,
                    cell: true,
                },
                0,
            );
        }),
        ("rnn", "a cell state that is not there", |m| {
            m.layers[0].starts[1] = Start::new(StartFrom::Constant, 0);
        }),
        ("features", "a dense layer over nothing", |m| {
            m.networks[0].input = Input::Vectors;
            m.networks[0].features = 0;
        }),
        (
            "features",
            "a vocabulary of another size than the inputs",
            |m| m.networks[0].features = 8,
        ),
        (
            "translator",
            "a start of another size than the state",
            |m| {
                m.layers[1].starts[0] = Start::new(
                    StartFrom::Encoder {
                        layer: 0,
                        cell: false,
                    },
                    0,
                );
                m.dense.remove(0);
            },
        ),
        ("translator", "a dense layer over nothing", |m| {
            m.layers[1].starts[1] = Start::new(
                StartFrom::Encoder {
                    layer: 1,
                    cell: true,
                },
                1,
            );
        }),
        ("translator", "a dense layer over nothing", |m| {
            m.layers[0].starts[1] = Start::new(
                StartFrom::Encoder {
                    layer: 0,
                    cell: true,
                },
                1,
            );
        }),
        ("translator", "a dense layer over nothing", |m| {
            m.layers[0].layer.cell = Cell::GruResetBefore
        }),
        ("translator", "a cell state that is not there", |m| {
            m.layers[1].layer.cell = Cell::GruResetAfter
        }),
        (
            "translator",
            "a start of another size than the state",
            |m| m.dense[0].outputs = 9,
        ),
        ("words", "an embedding that is a head of 4 bits", |m| {
            m.dense[0] = Dense::new(30, Activation::Linear, 9, Bits::Four)
        }),
        ("words", "an embedding that is not the head's", |m| {
            m.networks[0].count = 29
        }),
        (
            "words",
            "a vocabulary of another size than the outputs",
            |m| {
                m.networks[0].count = 29;
                m.dense[0].outputs = 29;
            },
        ),
    ];
    for (name, what_expected, change) in changes {
        let (image, metadata) = named(name);
        match with(&image, &metadata, change) {
            Err(ImageError::Parts { what }) => assert_eq!(what, what_expected, "{name}"),
            // A vocabulary's own section may be found short before.
            Err(ImageError::Length { .. } | ImageError::Vocabulary { .. })
                if what_expected.starts_with("a vocabulary") => {}
            other => panic!("{name}, {what_expected}: {other:?}"),
        }
    }
}

/// Shapes within their bounds that the sections do not have.
#[test]
fn absurd_shapes_are_refused_by_name() {
    let changes: [(&str, Change); 21] = [
        ("mixed", |m| m.layers[0].layer.bits = Bits::Mixed),
        ("wide-input", |m| m.layers[0].layer.bits = Bits::Four),
        ("wide-input", |m| m.layers[1].layer.bits = Bits::Eight),
        ("lstm", |m| m.layers[0].layer.bits = Bits::Four),
        ("four", |m| m.layers[0].layer.bits = Bits::Eight),
        ("lstm", |m| {
            m.dense[0] = Dense::new(31, Activation::Linear, 9, Bits::Four)
        }),
        ("four", |m| {
            m.dense[0] = Dense::new(28, Activation::Linear, 9, Bits::Eight)
        }),
        ("lstm", |m| m.vocabularies[1].tokens += 1),
        ("lstm", |m| m.vocabularies[1].tokens = u16::MAX),
        ("lstm", |m| m.vocabularies[1].text_len = u32::MAX),
        ("lstm", |m| m.vocabularies[1].text_len += 1),
        ("lstm", |m| {
            m.vocabularies[1].tokenization = Tokenization::Byte
        }),
        ("lstm", |m| m.vocabularies[1].special_tokens.eos = Some(3)),
        ("lstm", |m| m.networks[0].count = u16::MAX),
        ("lstm", |m| m.layers[0].layer.hidden = 16_384),
        ("lstm", |m| m.interface_len = u32::MAX),
        ("lstm-rnn", |m| {
            m.networks[0].input = Input::Embedding(16_384)
        }),
        ("lstm-rnn", |m| m.layers[0].layer.cell = Cell::GruResetAfter),
        ("lstm-rnn", |m| {
            m.layers[1].layer.cell = Cell::GruResetBefore
        }),
        ("sensors", |m| m.dense[0].outputs = u16::MAX),
        ("lstm", |m| {
            while m.layers.len() < MAX_LAYERS {
                m.layers.push(m.layers[0]).unwrap();
            }
            m.networks[0].layers = MAX_LAYERS as u8;
        }),
    ];
    for (index, (name, change)) in changes.into_iter().enumerate() {
        let (image, metadata) = named(name);
        let error = with(&image, &metadata, change).unwrap_err();
        let named = matches!(
            error,
            ImageError::Length { .. } | ImageError::Vocabulary { .. } | ImageError::Range { .. }
        );
        assert!(named, "{name}, change {index}: {error}");
    }
}

/// Metadata of any numbers whatever before sections of one kind.
#[test]
fn random_metadata_is_refused_or_runs() {
    use rand_core::Rng;
    let mut rng = pipsqueak::Pcg32::new(4, 4);
    let mut below = |end: u32| rng.next_u32() % end;
    let mut accepted = 0;
    for (name, _) in shapes() {
        let (image, metadata) = named(name);
        for _ in 0..800 {
            let mut changed = metadata.clone();
            for _ in 0..=below(3) {
                let (network, layer) = (
                    below(9) as usize % changed.networks.len(),
                    below(9) as usize % changed.layers.len(),
                );
                let small = below(6) as u8;
                match below(13) {
                    0 => changed.networks[network].dense = small,
                    1 => changed.networks[network].head = small,
                    2 => changed.networks[network].layers = small % 3,
                    3 => changed.networks[network].features = small.into(),
                    4 => {
                        changed.networks[network].reads = [
                            pipsqueak::image::Reads::Mean,
                            pipsqueak::image::Reads::LastStep,
                        ][below(2) as usize]
                    }
                    5 => changed.layers[layer].shift = small,
                    6 => {
                        let from = [
                            StartFrom::Zero,
                            StartFrom::Constant,
                            StartFrom::Features,
                            StartFrom::Encoder {
                                layer: below(2) as usize,
                                cell: below(2) == 0,
                            },
                        ][below(4) as usize];
                        changed.layers[layer].starts[below(2) as usize] =
                            Start::new(from, small % 2);
                    }
                    7 => changed.layers[layer].layer.cell = Cell::ALL[below(4) as usize],
                    8 => {
                        let dense = below(changed.dense.len() as u32) as usize;
                        let activation = Activation::ALL[below(4) as usize];
                        let Dense { outputs, .. } = changed.dense[dense];
                        let bits = Bits::ALL[(below(24) as usize).saturating_sub(21)];
                        changed.dense[dense] = Dense::new(outputs, activation, small, bits);
                    }
                    9 => changed.networks[network].steps_per_token = small,
                    10 => changed.layers[layer].layer.bits = Bits::ALL[below(3) as usize],
                    11 => {
                        changed.vocabularies[below(2) as usize] =
                            metadata.vocabularies[below(2) as usize]
                    }
                    _ => {
                        changed.networks[network].input = [
                            Input::Table,
                            Input::Embedding(5),
                            Input::Tied { shift: small },
                            Input::Vectors,
                            Input::Features { steps: 1 },
                        ][below(5) as usize];
                    }
                }
            }
            accepted += usize::from(survives(&with_metadata(&image, &changed)).is_ok());
        }
    }
    assert!(accepted > 200, "{accepted}");
}

/// An encoder alone, a tagger: other tokens go in than come out, so no text is made, but they run.
#[test]
fn what_reads_tokens_and_makes_others_generates_nothing() {
    for (name, head) in [("lstm", 1), ("lstm-rnn", 0)] {
        let shapes = shapes().into_iter().find(|(other, _)| *other == name);
        let (_, mut shapes) = shapes.unwrap();
        let generates = |shapes: &Metadata| {
            let words = encode(&Parts::random_of(1, shapes)).unwrap();
            assert_eq!(survives(bytes(&words)), Ok(()));
            Image::parse(bytes(&words)).unwrap().generates()
        };
        assert!(generates(&shapes), "{name}");
        shapes.vocabularies = Default::default();
        shapes.networks[0].head = head;
        match head {
            0 => shapes.dense.clear(),
            _ => shapes.dense[0].outputs = 5,
        }
        assert!(!generates(&shapes), "{name}");
    }
}
