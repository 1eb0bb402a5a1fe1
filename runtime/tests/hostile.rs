//! Bytes that are not, or no longer, an image: refused, or run without a panic. Overflow checks are on in every profile.

use pipsqueak::encode::{Parts, aligned, bytes, encode, seal};
use pipsqueak::image::{HEADER_LEN, VERSION};
use pipsqueak::{Cell, Generator, Image, ImageError, Layer, Settings, Temperature};

fn images() -> Vec<Vec<u8>> {
    let layer = |cell, hidden| Layer { cell, hidden };
    let shapes: [(usize, usize, &[Layer]); 4] = [
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
    let image = |(tokens, embedding, layers)| {
        bytes(&encode(&Parts::random(9, tokens, embedding, layers)).unwrap()).to_vec()
    };
    shapes.into_iter().map(image).collect()
}

/// Parses a copy; what is accepted runs 64 steps and 64 draws. Tells whether it was accepted.
fn survives(image: &[u8]) -> Result<(), ImageError> {
    let words = aligned(image);
    let image = Image::parse(&bytes(&words)[..image.len()])?;
    let mut workspace = vec![0; image.workspace_len()];
    for (temperature, top_k) in [("0.8", 0), ("100", 3)] {
        let settings = Settings {
            temperature: Temperature::parse(temperature).unwrap(),
            top_k,
            seed: 1,
        };
        let mut generator = Generator::new(&image, &mut workspace, settings).unwrap();
        let text: Vec<&str> = generator.by_ref().take(64).collect();
        assert!(text.iter().all(|t| !t.is_empty()));
        // Whatever the vocabulary is now, its own text is a prompt.
        generator.prompt(text[0]).unwrap();
        generator.score(text[0]).unwrap();
    }
    image.provenance();
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
        let mut accepted = 0;
        for bit in 0..image.len() * 8 {
            let mut flipped = image.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(survives(&flipped).is_err(), "bit {bit} passes the CRC");
            seal(&mut flipped);
            accepted += usize::from(survives(&flipped).is_ok());
        }
        // Weights, factors and names may change; shapes may not.
        assert!(accepted > image.len(), "{accepted}");
    }
}

#[test]
fn random_bytes_behind_a_good_seal() {
    use rand_core::Rng;
    let mut rng = pipsqueak::Pcg32::new(2, 2);
    for image in images() {
        for _ in 0..20_000 {
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
        "image format: expected version 2, found 9; export the model anew"
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
    let layers = [Layer {
        cell: Cell::GruResetAfter,
        hidden: 1024,
    }];
    let mut parts = Parts::random(1, 2, 0, &layers);
    // Norm 65,535 passes with no bias; one more does not.
    let row = &mut parts.layers[0].gates[0];
    row.weights[..1024].fill(63);
    row.weights[..1023]
        .iter_mut()
        .take(1023)
        .for_each(|w| *w = 64);
    row.weights[1023] = 63;
    row.bias[0] = 0;
    parts.layers[0].factors[0] = 0;
    encode(&parts).unwrap();
    parts.layers[0].gates[0].weights[1023] = 64;
    let error = encode(&parts).unwrap_err().to_string();
    assert_eq!(
        error,
        "the image would be refused: row 0 of layer 0 could leave 32 bits or has a bad scale"
    );
}

/// Metadata that says other shapes than the sections have, behind a good seal.
#[test]
fn absurd_shapes_are_refused_by_name() {
    use pipsqueak::image::{MAX_LAYERS, Metadata};
    let image = images().remove(1);
    let length = usize::from(u16::from_le_bytes([image[10], image[11]]));
    let found: Metadata = postcard::from_bytes(&image[HEADER_LEN..][..length]).unwrap();
    // The image with other metadata; the sections stay.
    let refused = |change: &dyn Fn(&mut Metadata)| {
        let mut metadata = found.clone();
        change(&mut metadata);
        let mut buffer = [0; 1024];
        let encoded = postcard::to_slice(&metadata, &mut buffer).unwrap();
        let mut mutant = image[..HEADER_LEN].to_vec();
        mutant[10..12].copy_from_slice(&(encoded.len() as u16).to_le_bytes());
        mutant.extend_from_slice(encoded);
        mutant.resize(mutant.len().next_multiple_of(4), 0);
        mutant.extend_from_slice(&image[(HEADER_LEN + length).next_multiple_of(4)..]);
        let total = mutant.len() as u32;
        mutant[12..16].copy_from_slice(&total.to_le_bytes());
        seal(&mut mutant);
        survives(&mutant)
    };
    assert_eq!(refused(&|_| ()), Ok(()));
    type Change<'c> = &'c dyn Fn(&mut Metadata);
    let bounds: [(&str, Change); 7] = [
        ("number of tokens", &|m| m.tokens = 0),
        ("start token (0 or more)", &|m| m.start = m.tokens),
        ("embedding (0 or more)", &|m| m.embedding = u16::MAX),
        ("number of layers", &|m| m.layers.clear()),
        ("units of a layer", &|m| m.layers[0].hidden = 0),
        ("units of a layer", &|m| m.layers[1].hidden = u16::MAX),
        ("fraction bits of a logit (0 or more)", &|m| {
            m.logit_bits = 16
        }),
    ];
    for (name, change) in bounds {
        match refused(change) {
            Err(ImageError::Bounds { what, .. }) => assert_eq!(what, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let others: [Change; 8] = [
        &|m| m.tokens += 1,
        &|m| m.tokens = u16::MAX,
        &|m| m.text_len = u32::MAX,
        &|m| m.text_len += 1,
        &|m| m.layers[0].hidden = 16_384,
        &|m| m.embedding = 16_384,
        &|m| m.layers[0].cell = Cell::GruResetAfter,
        &|m| {
            while m.layers.len() < MAX_LAYERS {
                m.layers.push(m.layers[0]).unwrap();
            }
        },
    ];
    for (index, change) in others.into_iter().enumerate() {
        let error = refused(change).unwrap_err();
        let named = matches!(
            error,
            ImageError::Length { .. } | ImageError::Vocabulary { .. } | ImageError::Range { .. }
        );
        assert!(named, "change {index}: {error}");
    }
}
