//! The digest finds what the CRC cannot: an image that was changed and sealed again.

use pipsqueak::encode::{Parts, Rows, aligned, bytes, encode, seal};
use pipsqueak::selftest::{Extent, digest, kernel};
use pipsqueak::{Cell, Image, Layer, State};

/// A network of every kind of matrix, whose few tokens the sequence visits all.
fn parts(cell: Cell, embedding: usize) -> Parts<'static> {
    let layer = |hidden| Layer { cell, hidden };
    Parts::random(5, 7, embedding, &[layer(6), layer(9)])
}

fn all() -> impl Iterator<Item = Parts<'static>> {
    [Cell::GruResetAfter, Cell::GruResetBefore]
        .into_iter()
        .flat_map(|cell| [0, 5].map(|embedding| parts(cell, embedding)))
}

fn recorded(parts: &Parts) -> u32 {
    let words = encode(parts).unwrap();
    Image::parse(bytes(&words)).unwrap().digest()
}

fn computed(image: &[u8]) -> (u32, u32) {
    let words = aligned(image);
    let image = Image::parse(bytes(&words)).unwrap();
    let mut workspace = vec![0; image.workspace_len()];
    let mut state = State::new(&image, &mut workspace).unwrap();
    (digest(&mut state), image.digest())
}

#[test]
fn a_changed_weight_behind_a_good_seal_is_found() {
    for mut parts in all() {
        let words = encode(&parts).unwrap();
        let (found, expected) = computed(bytes(&words));
        assert_eq!(found, expected);
        let recorded = &bytes(&words)[16..20];
        parts.layers[0].gates[2].weights[5] ^= 0x20;
        let words = encode(&parts).unwrap();
        let mut changed = bytes(&words).to_vec();
        changed[16..20].copy_from_slice(recorded);
        seal(&mut changed);
        let (found, unchanged) = computed(&changed);
        assert_eq!(unchanged, expected);
        assert_ne!(found, expected);
    }
}

#[test]
fn every_weight_counts() {
    for parts in all() {
        let before = recorded(&parts);
        let check = |what: String, change: &dyn Fn(&mut Parts)| {
            let mut changed = parts.clone();
            change(&mut changed);
            assert_ne!(recorded(&changed), before, "{what}");
        };
        let change = |rows: &mut Rows, at: usize| {
            let weight = &mut rows.weights[at];
            *weight += if *weight > 0 { -8 } else { 8 };
        };
        for at in 0..parts.head.weights.len() {
            check(format!("head {at}"), &|p| change(&mut p.head, at));
        }
        for (layer, gru) in parts.layers.iter().enumerate() {
            for (gate, rows) in gru.gates.iter().enumerate() {
                for at in 0..rows.weights.len() {
                    check(format!("layer {layer}, gate {gate}, weight {at}"), &|p| {
                        change(&mut p.layers[layer].gates[gate], at);
                    });
                }
            }
            for at in 0..gru.candidate.weights.len() {
                check(format!("layer {layer}, candidate {at}"), &|p| {
                    change(&mut p.layers[layer].candidate, at);
                });
            }
        }
    }
}

/// The weights of each matrix, padded.
#[test]
fn the_kernel_is_compared_on_all_weights() {
    let counts = [
        // Over a table, 3H x H; over a vector, 2H x (I + H), then H x H and H x I or once H x (I + H).
        3 * 8 * 8 + 3 * 12 * (8 + 12),
        3 * 8 * (8 + 8) + 3 * 12 * (8 + 12),
    ];
    for (index, parts) in all().enumerate() {
        let words = encode(&parts).unwrap();
        let image = Image::parse(bytes(&words)).unwrap();
        let mut workspace = vec![0; image.workspace_len()];
        let mut state = State::new(&image, &mut workspace).unwrap();
        state.step(1);
        let expected = counts[index % 2] + 8 * 12;
        assert_eq!(kernel(&mut state, Extent::All), Ok(expected));
        assert!(state.hidden(1).iter().all(|&h| h == 0));
        let Ok(ends) = kernel(&mut state, Extent::Start) else {
            panic!("what holds for all weights holds for some");
        };
        assert!(0 < ends && ends < expected, "{ends} of {expected}");
    }
}
