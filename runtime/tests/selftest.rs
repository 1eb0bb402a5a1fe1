//! The digest finds what the CRC cannot: an image that was changed and sealed again.

use pipsqueak::encode::{
    DenseParts, NetworkParts, Parts, Rows, StartParts, aligned, bytes, encode, seal, shapes,
};
use pipsqueak::image::{Activation, Bits};
use pipsqueak::selftest::{Extent, digest, kernel};
use pipsqueak::{Cell, Image, Layer, State};

/// Networks of every kind of matrix, whose few tokens the sequence visits all.
fn all() -> Vec<(String, Parts<'static>)> {
    let stack = |cell, embedding| {
        let layer = |hidden| Layer::new(cell, hidden);
        let name = format!("{cell:?} over {embedding}");
        (name, Parts::random(5, 7, embedding, &[layer(6), layer(9)]))
    };
    let stacks = Cell::ALL
        .into_iter()
        .flat_map(|cell| [0, 5].map(|embedding| stack(cell, embedding)));
    let named = shapes().into_iter().map(|(name, mut shapes)| {
        for dense in &mut shapes.dense {
            // What relu holds at zero counts nothing.
            if dense.activation == Activation::Relu {
                dense.activation = Activation::Tanh;
            }
        }
        (name.to_string(), Parts::random_of(5, &shapes))
    });
    stacks.chain(named).collect()
}

/// Every matrix.
fn matrices<'p>(parts: &'p mut Parts) -> Vec<&'p mut Rows> {
    fn rows(list: &mut [DenseParts]) -> impl Iterator<Item = &mut Rows> {
        list.iter_mut().map(|dense| &mut dense.rows)
    }
    let mut all = vec![];
    for NetworkParts {
        dense,
        layers,
        head,
        ..
    } in &mut parts.networks
    {
        all.extend(rows(dense));
        for layer in layers {
            all.extend(&mut layer.gates);
            for start in &mut layer.starts {
                if let StartParts::Features(list) | StartParts::Encoder { dense: list, .. } = start
                {
                    all.extend(rows(list));
                }
            }
        }
        all.extend(rows(head));
    }
    all
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
    for (name, mut parts) in all() {
        let words = encode(&parts).unwrap();
        let (found, expected) = computed(bytes(&words));
        assert_eq!(found, expected, "{name}");
        let recorded = &bytes(&words)[16..20];
        let first = &mut *matrices(&mut parts)[0];
        first.weights[5] ^= match first.bits() {
            Bits::Eight => 0x20,
            Bits::Four | Bits::Mixed => 4,
        };
        let words = encode(&parts).unwrap();
        let mut changed = bytes(&words).to_vec();
        changed[16..20].copy_from_slice(recorded);
        seal(&mut changed);
        let (found, unchanged) = computed(&changed);
        assert_eq!(unchanged, expected);
        assert_ne!(found, expected, "{name}");
    }
}

#[test]
fn every_weight_counts() {
    for (name, mut parts) in all() {
        let before = recorded(&parts);
        let (mut hidden, mut all) = (0, 0);
        for matrix in 0..matrices(&mut parts).len() {
            for at in 0..matrices(&mut parts)[matrix].weights.len() {
                let old = matrices(&mut parts)[matrix].weights[at];
                let columns = matrices(&mut parts)[matrix].columns;
                let [small, large] = match columns.bits {
                    Bits::Mixed if at % columns.count() < columns.parts[0] => [8, 100],
                    Bits::Eight => [8, 100],
                    Bits::Four | Bits::Mixed => [1, 7],
                };
                let mut is_seen = |by: i8| {
                    let new = if old > 0 { old - by } else { old + by };
                    matrices(&mut parts)[matrix].weights[at] = new;
                    recorded(&parts) != before
                };
                // Rounding may hide a small change of what counts once, as a start's weights do, but not a large one.
                if !is_seen(small) {
                    hidden += 1;
                    assert!(is_seen(large), "{name}: matrix {matrix}, weight {at}");
                }
                matrices(&mut parts)[matrix].weights[at] = old;
                all += 1;
            }
            for at in 0..matrices(&mut parts)[matrix].scales.len() {
                // More would leave 32 bits where it is times 8.
                let change = match matrices(&mut parts)[matrix].bits() {
                    Bits::Mixed => 8,
                    _ => 0x80,
                };
                matrices(&mut parts)[matrix].scales[at] ^= change;
                assert_ne!(recorded(&parts), before, "{name}: {matrix}, scale {at}");
                matrices(&mut parts)[matrix].scales[at] ^= change;
            }
        }
        assert!(hidden * 100 <= all, "{name}: {hidden} of {all}");
    }
}

#[test]
fn every_constant_start_counts() {
    let (_, shapes) = shapes()
        .into_iter()
        .find(|(name, _)| *name == "rnn")
        .unwrap();
    let mut parts = Parts::random_of(5, &shapes);
    let before = recorded(&parts);
    for unit in 0..11 {
        let mut changed = parts.clone();
        let StartParts::Constant(values) = &mut changed.networks[0].layers[0].starts[0] else {
            panic!("the start is constant");
        };
        values[unit] ^= 1 << 10;
        assert_ne!(recorded(&changed), before, "unit {unit}");
    }
    parts.networks[0].layers[0].starts[0] = StartParts::Zero;
    assert_ne!(recorded(&parts), before);
}

/// The weights of each matrix, padded.
#[test]
fn the_kernel_is_compared_on_all_weights() {
    let pad = |n: usize| n.next_multiple_of(4);
    for (name, mut parts) in all() {
        let words = encode(&parts).unwrap();
        let image = Image::parse(bytes(&words)).unwrap();
        let mut workspace = vec![0; image.workspace_len()];
        let mut state = State::new(&image, &mut workspace).unwrap();
        state.step(1);
        let all = matrices(&mut parts);
        let weights = |rows: &&mut Rows| {
            pad(rows.bias.len()) * rows.columns.parts.map(pad).iter().sum::<usize>()
        };
        let expected = all.iter().map(weights).sum();
        assert_eq!(kernel(&mut state, Extent::All), Ok(expected), "{name}");
        for index in 0..image.networks() {
            for layer in 0..image.layers(index).len() {
                assert!(
                    state
                        .hidden_of(index, layer)
                        .iter()
                        .all(|&h| h == 0 || name == "rnn")
                );
            }
        }
        let Ok(ends) = kernel(&mut state, Extent::Start) else {
            panic!("what holds for all weights holds for some");
        };
        assert!(0 < ends && ends < expected, "{name}: {ends} of {expected}");
    }
}
