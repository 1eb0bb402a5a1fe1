//! The integer step, starts and outputs against the [`equations`] in f64, for many shapes.
//!
//! Each step begins at the integer states, so errors do not add up over steps.

mod equations;

use equations::{
    Fed, Near, Q15, Q23, States, bits, chain, exact, floats, hold, input, start, states, step,
};
use pipsqueak::encode::{InputParts, NetworkParts, Parts, StartParts, bytes, encode, shapes};
use pipsqueak::fixed::Scale;
use pipsqueak::image::{
    Activation, Bits, Dense, Input, Metadata, Network, Normalization, Reads, Recurrent, Start,
    StartFrom,
};
use pipsqueak::{Cell, Feed, Image, Layer, State};
use rand_core::Rng;

fn check_starts(
    state: &State,
    index: usize,
    network: &NetworkParts,
    features: &[i16],
    encoder: Option<(&NetworkParts, &States)>,
    // Which starts are set by now; the others are zero.
    set: impl Fn(&StartParts) -> bool,
) {
    for (layer, parts) in network.layers.iter().enumerate() {
        let units = usize::from(parts.layer.hidden);
        let of = |index: usize, one| match &parts.starts[index] {
            from if set(from) => start(from, units, one, features, encoder),
            _ => vec![(0.0, 0.0); units],
        };
        let hidden = of(0, bits(15 - u32::from(parts.shift)));
        hold("start", &hidden, &floats(state.hidden_of(index, layer)));
        if parts.layer.cell == Cell::Lstm {
            hold(
                "cell start",
                &of(1, Q23),
                &floats(state.cell_of(index, layer)),
            );
        }
    }
}

/// Runs an image on random input and holds every state and output to the equations. Largest magnitudes of states and outputs.
///
/// Steps within a token are those of the same image that takes one for each, and is fed the token as often.
fn check(parts: &Parts) -> [f64; 2] {
    let words = encode(parts).expect("the parts fit");
    let image = Image::parse(bytes(&words)).expect("it is an image");
    let mut workspace = vec![0; image.workspace_len()];
    let mut state = State::new(&image, &mut workspace).expect("as large as asked for");
    let mut single = parts.clone();
    for network in &mut single.networks {
        network.steps_per_token = 1;
    }
    let words = encode(&single).expect("the parts fit");
    let single = Image::parse(bytes(&words)).expect("it is an image");
    let mut workspace = vec![0; single.workspace_len()];
    let mut single = State::new(&single, &mut workspace).expect("as large as asked for");
    let mut rng = pipsqueak::Pcg32::new(7, 7);
    let mut vector =
        |count: usize| -> Vec<i16> { (0..count).map(|_| (rng.next_u32() >> 16) as i16).collect() };
    let main = parts.networks.len() - 1;
    let features = vector(
        parts
            .networks
            .iter()
            .map(|n| n.features.len())
            .max()
            .unwrap(),
    );
    let constant = |from: &StartParts| matches!(from, StartParts::Constant(_));
    let mut encoder: Option<(&NetworkParts, States)> = None;
    for (index, network) in parts.networks.iter().enumerate() {
        check_starts(&state, index, network, &features, None, constant);
    }
    state.features(&features);
    single.features(&features);
    let (mut moved, mut largest) = (0f64, 0f64);
    for (index, network) in parts.networks.iter().enumerate() {
        if index == main {
            state.hand_over();
            single.hand_over();
        }
        let from = encoder.as_ref().map(|(network, states)| (*network, states));
        check_starts(&state, index, network, &features, from, |_| true);
        let mut sums: Vec<f64> = vec![];
        for i in 0..12usize {
            let fed = match network.input {
                InputParts::Vectors(_) => Fed::Vector(vector(network.count)),
                InputParts::Features { .. } => Fed::Again,
                _ => Fed::Token((i * 7919 % network.count) as u16),
            };
            let feed = match &fed {
                Fed::Token(token) => Feed::Token(*token),
                Fed::Vector(vector) => Feed::Vector(vector),
                Fed::Again => Feed::Again,
            };
            state.feed(index, feed);
            let mut x = vec![];
            for _ in 0..network.steps_per_token {
                let before = states(&single, index, network);
                single.feed(index, feed);
                let (row, input) = input(network, &fed, &features);
                x = input;
                for (layer, old) in before.iter().enumerate() {
                    let row = row.filter(|_| layer == 0);
                    let [hidden, cell] = step(&network.layers[layer], row, &x, old);
                    let found = floats(single.hidden_of(index, layer));
                    let most = hold(&format!("step {i}, layer {layer}, unit"), &hidden, &found);
                    moved = moved.max(most / bits(15 - u32::from(network.layers[layer].shift)));
                    hold("cell", &cell, &floats(single.cell_of(index, layer)));
                    x = exact(&found);
                }
            }
            let after = states(&state, index, network);
            assert_eq!(after, states(&single, index, network), "step {i}");
            sums.resize(x.len(), 0.0);
            sums.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x.0);
            if network.reads == Reads::Mean {
                let steps = i as f64 + 1.0;
                // Where no layer makes it a whole number, what comes in may be off.
                let mean = |(sum, x): (&f64, &Near)| (sum / steps, x.1 + 0.5);
                x = sums.iter().zip(&x).map(mean).collect();
            }
            let expected = chain(&network.head, x);
            let found = floats(state.outputs_of(index));
            let most = hold(&format!("step {i}, output"), &expected, &found);
            if index == main {
                largest = largest.max(most);
            }
        }
        encoder = Some((network, states(&state, index, network)));
    }
    [moved, largest]
}

/// A language model without a vocabulary.
const MODEL: Network = Network {
    input: Input::Table,
    count: 11,
    features: 0,
    dense: 0,
    layers: 1,
    steps_per_token: 1,
    head: 1,
    reads: Reads::EveryStep,
    normalization: Normalization::None,
};

fn layer(cell: Cell, hidden: u16, shift: u8) -> Recurrent {
    starting(cell, hidden, shift, [Start::default(); 2])
}

fn starting(cell: Cell, hidden: u16, shift: u8, starts: [Start; 2]) -> Recurrent {
    let layer = Layer::new(cell, hidden);
    Recurrent {
        layer,
        shift,
        starts,
    }
}

fn dense(outputs: u16, activation: Activation) -> Dense {
    dense_of(outputs, activation, Bits::Eight)
}

fn dense_of(outputs: u16, activation: Activation, bits: Bits) -> Dense {
    let fraction = match activation {
        Activation::Tanh | Activation::Sigmoid => 15,
        Activation::Linear | Activation::Relu => 9,
    };
    Dense::new(outputs, activation, fraction, bits)
}

fn linear(outputs: u16) -> Dense {
    dense(outputs, Activation::Linear)
}

fn image(networks: &[Network], layers: &[Recurrent], dense: &[Dense]) -> Metadata {
    Metadata {
        networks: networks.iter().copied().collect(),
        layers: layers.iter().copied().collect(),
        dense: dense.iter().copied().collect(),
        ..Metadata::default()
    }
}

#[test]
fn every_size_of_units_tokens_and_embedding() {
    let lively = |parts: Parts| assert!(check(&parts)[0] > 0.05);
    for cell in Cell::ALL {
        for size in [1u16, 3, 17, 24, 65, 100, 127, 1024] {
            let n = usize::from(size);
            let hidden = |hidden| Layer::new(cell, hidden);
            lively(Parts::random(7, n, 0, &[hidden(size)]));
            lively(Parts::random(7, n, n, &[hidden(5)]));
            let layers = [hidden(9), hidden(size.min(127))];
            lively(Parts::random(7, 3, n.min(127), &layers));
        }
    }
}

#[test]
fn layers_of_all_kinds_stack() {
    let layer = |cell, hidden| Layer::new(cell, hidden);
    let [after, before, lstm, rnn] = Cell::ALL;
    let layers = [
        (after, 24),
        (before, 17),
        (lstm, 12),
        (rnn, 20),
        (after, 40),
    ];
    check(&Parts::random(
        7,
        30,
        0,
        &layers.map(|(cell, n)| layer(cell, n)),
    ));
    let layers = [
        (before, 8),
        (after, 5),
        (lstm, 3),
        (rnn, 1),
        (lstm, 2),
        (before, 3),
        (rnn, 4),
        (after, 8),
    ];
    check(&Parts::random(
        7,
        30,
        6,
        &layers.map(|(cell, n)| layer(cell, n)),
    ));
}

#[test]
fn weights_of_four_and_of_mixed_bits_in_every_cell_and_two_steps_for_a_token() {
    for cell in Cell::ALL {
        for size in [1, 5, 31, 33, 64, 100] {
            for (input, shift, bits) in [
                (Input::Table, 0, Bits::Four),
                (Input::Table, 2, Bits::Four),
                (Input::Embedding(37), 0, Bits::Four),
                (Input::Table, 0, Bits::Mixed),
                (Input::Embedding(37), 0, Bits::Mixed),
                (Input::Embedding(2), 1, Bits::Mixed),
            ] {
                let networks = [Network {
                    input,
                    layers: 2,
                    steps_per_token: 2,
                    ..MODEL
                }];
                let of_bits = |mut recurrent: Recurrent| {
                    recurrent.layer.bits = bits;
                    recurrent
                };
                let layers = [layer(cell, size, shift), layer(cell, 40, 0)].map(of_bits);
                let head = dense_of(11, Activation::Linear, Bits::Four);
                let [moved, largest] =
                    check(&Parts::random_of(5, &image(&networks, &layers, &[head])));
                assert!(
                    moved > 0.05 && largest > 50.0,
                    "{cell:?} {size} {input:?} {bits:?}: {moved}, {largest}"
                );
            }
        }
    }
}

#[test]
fn the_named_shapes() {
    for (name, shapes) in shapes() {
        let [moved, largest] = check(&Parts::random_of(3, &shapes));
        assert!(
            moved > 0.05 && largest > 300.0,
            "{name}: {moved}, {largest}"
        );
    }
}

#[test]
fn states_with_fewer_fraction_bits() {
    for cell in Cell::ALL {
        for shift in [1, 2, 5, 8] {
            for input in [Input::Table, Input::Embedding(6)] {
                let networks = [Network {
                    input,
                    layers: 2,
                    ..MODEL
                }];
                let layers = [layer(cell, 10, shift), layer(cell, 7, 8 - shift)];
                let mut parts = Parts::random_of(5, &image(&networks, &layers, &[linear(11)]));
                // A state's number counts for more by its shift.
                for layer in &mut parts.networks[0].layers {
                    for rows in &mut layer.gates {
                        for scale in &mut rows.scale {
                            let shift = scale.shift() as u8;
                            *scale = Scale::new(scale.multiplier() as u16, shift.saturating_sub(3));
                        }
                        rows.bias.iter_mut().for_each(|bias| *bias >>= 3);
                    }
                }
                assert!(check(&parts)[0] > 0.05);
            }
        }
    }
}

#[test]
fn heads_of_all_kinds() {
    use Activation::{Linear, Relu, Sigmoid, Tanh};
    for reads in [Reads::EveryStep, Reads::LastStep, Reads::Mean] {
        for cell in [Cell::GruResetAfter, Cell::Lstm] {
            let heads: [&[Activation]; 6] = [
                &[],
                &[Tanh],
                &[Sigmoid],
                &[Relu, Linear],
                &[Tanh, Relu, Sigmoid, Linear],
                &[Linear; 10],
            ];
            for head in heads {
                let networks = [Network {
                    input: Input::Vectors,
                    count: 5,
                    head: head.len() as u8,
                    reads,
                    ..MODEL
                }];
                let sizes = [17, 5, 33, 4, 70, 3, 20, 6, 9, 2];
                let head: Vec<Dense> = head.iter().zip(sizes).map(|(&a, n)| dense(n, a)).collect();
                check(&Parts::random_of(
                    5,
                    &image(&networks, &[layer(cell, 6, 1)], &head),
                ));
            }
        }
    }
}

#[test]
fn networks_without_layers() {
    let plain = Network {
        input: Input::Vectors,
        count: 9,
        layers: 0,
        ..MODEL
    };
    let list = [
        dense(20, Activation::Tanh),
        dense(6, Activation::Relu),
        linear(3),
    ];
    for (dense, head) in [(0, 3), (1, 2), (2, 1)] {
        for reads in [Reads::EveryStep, Reads::Mean] {
            let networks = [Network {
                dense,
                head,
                reads,
                ..plain
            }];
            if reads == Reads::EveryStep || dense == 0 {
                check(&Parts::random_of(5, &image(&networks, &[], &list)));
            }
            let networks = [Network {
                input: Input::Features { steps: 1 },
                features: 9,
                dense,
                head,
                ..plain
            }];
            check(&Parts::random_of(5, &image(&networks, &[], &list)));
        }
    }
    let embedded = Network {
        input: Input::Embedding(6),
        layers: 0,
        head: 3,
        ..MODEL
    };
    check(&Parts::random_of(
        5,
        &image(&[embedded], &[], &[list[0], list[1], linear(11)]),
    ));
}

#[test]
fn tied_embeddings_are_the_rows_of_the_head() {
    for count in [1, 5, 16, 17, 40, 70] {
        for head in [1, 2] {
            for layers in [0, 1, 2] {
                if layers == 0 && head == 1 {
                    continue;
                }
                let networks = [Network {
                    input: Input::Tied { shift: 0 },
                    count,
                    layers,
                    head,
                    ..MODEL
                }];
                let all = [layer(Cell::Lstm, 9, 0), layer(Cell::GruResetBefore, 6, 0)];
                let list = [dense(11, Activation::Tanh), linear(count)];
                let (all, list) = (&all[..layers.into()], &list[2 - usize::from(head)..]);
                let mut parts = Parts::random_of(5, &image(&networks, all, list));
                // Rows of other sizes.
                let rows = &mut parts.networks[0].head.last_mut().unwrap().rows;
                for (row, scale) in rows.scale.iter_mut().enumerate() {
                    let shift = scale.shift() as u8 + [0, 2, 1][row % 3];
                    *scale = Scale::new(scale.multiplier() as u16, shift);
                }
                check(&parts);
            }
        }
    }
}

#[test]
fn vectors_through_dense_layers() {
    for layers in [1, 2] {
        for list in [
            &[][..],
            &[dense(18, Activation::Tanh)],
            &[linear(7), dense(5, Activation::Relu)],
        ] {
            let networks = [Network {
                input: Input::Vectors,
                count: 10,
                dense: list.len() as u8,
                layers,
                ..MODEL
            }];
            for cell in Cell::ALL {
                let all = [layer(cell, 7, 0), layer(Cell::Rnn, 6, 2)];
                let list = [list, &[linear(11)]].concat();
                check(&Parts::random_of(
                    5,
                    &image(&networks, &all[..layers.into()], &list),
                ));
            }
        }
    }
}

#[test]
fn starts_of_constants_and_features() {
    let from = Start::new;
    let constant = from(StartFrom::Constant, 0);
    for cell in Cell::ALL {
        for input in [
            Input::Table,
            Input::Embedding(5),
            Input::Features { steps: 3 },
        ] {
            let networks = [Network {
                input,
                features: 6,
                layers: 2,
                ..MODEL
            }];
            let cell_start = |start: Start| {
                if cell == Cell::Lstm {
                    start
                } else {
                    Start::default()
                }
            };
            let lstm = cell == Cell::Lstm;
            let layers = [
                starting(
                    cell,
                    9,
                    1,
                    [from(StartFrom::Features, 2), cell_start(constant)],
                ),
                starting(
                    cell,
                    6,
                    3,
                    [constant, cell_start(from(StartFrom::Features, 1))],
                ),
            ];
            let mut list = vec![dense(30, Activation::Relu), dense(9, Activation::Tanh)];
            if lstm {
                list.push(linear(6));
            }
            list.push(linear(11));
            check(&Parts::random_of(5, &image(&networks, &layers, &list)));
        }
    }
}

#[test]
fn starts_of_the_encoder() {
    let encoder = |layer, cell, dense| Start::new(StartFrom::Encoder { layer, cell }, dense);
    for fraction in [0, 6, 11, 15] {
        for through in [0, 1, 2] {
            for (input, sizes) in [(Input::Table, [7, 70]), (Input::Embedding(5), [70, 7])] {
                // Straight over needs the same size.
                let sizes = if through == 0 { [7, 7] } else { sizes };
                let networks = [
                    Network {
                        input,
                        layers: 2,
                        head: 0,
                        ..MODEL
                    },
                    Network { layers: 2, ..MODEL },
                ];
                let layers = [
                    layer(Cell::Lstm, sizes[0], 0),
                    layer(Cell::Lstm, sizes[1], 2),
                    // Hidden to hidden and to cell, cell to cell and to hidden.
                    starting(
                        Cell::Lstm,
                        7,
                        1,
                        [encoder(0, false, through), encoder(1, true, through)],
                    ),
                    starting(
                        Cell::Lstm,
                        7,
                        0,
                        [encoder(1, true, through), encoder(0, false, through)],
                    ),
                ];
                let mut list = vec![];
                for _ in 0..4 {
                    if through == 2 {
                        list.push(dense(12, Activation::Tanh));
                    }
                    if through > 0 {
                        list.push(Dense::new(7, Activation::Linear, fraction, Bits::Eight));
                    }
                }
                list.push(linear(11));
                check(&Parts::random_of(5, &image(&networks, &layers, &list)));
            }
        }
    }
}

/// What is not of a network's kind, or not there, is a zero or token 0, and moves no part of the image that is read.
#[test]
fn what_cannot_be_fed_is_replaced() {
    let list = [linear(7), linear(11)];
    let inputs = [
        (Input::Table, 0),
        (Input::Embedding(5), 0),
        (Input::Tied { shift: 0 }, 0),
        (Input::Vectors, 1),
        (Input::Features { steps: 3 }, 1),
    ];
    for cell in Cell::ALL {
        for (input, dense) in inputs {
            let networks = [Network {
                input,
                features: 4,
                dense,
                ..MODEL
            }];
            let layers = [layer(cell, 9, 0)];
            let list = &list[1 - usize::from(dense)..];
            let words = encode(&Parts::random_of(5, &image(&networks, &layers, list))).unwrap();
            let image = Image::parse(bytes(&words)).unwrap();
            let states: Vec<Vec<i16>> = [
                Feed::Token(0),
                Feed::Token(999),
                Feed::Vector(&[]),
                Feed::Again,
            ]
            .map(|feed| {
                let mut workspace = vec![0; image.workspace_len()];
                let mut state = State::new(&image, &mut workspace).unwrap();
                state.feed(0, feed);
                state.feed(7, feed);
                [state.hidden(0).to_vec(), state.logits().to_vec()].concat()
            })
            .to_vec();
            for other in &states[1..] {
                assert_eq!(states[0], *other, "{cell:?}, {input:?}");
            }
        }
    }
}

/// Far from its equations after 9,000 steps no more than after 1,000, though its steps begin at its own states.
#[test]
fn states_do_not_drift() {
    for cell in Cell::ALL {
        let mut parts = Parts::random(11, 20, 0, &[Layer::new(cell, 24)]);
        // It forgets: where differences grow by themselves, roundings do too.
        for rows in &mut parts.networks[0].layers[0].gates {
            for scale in &mut rows.scale {
                *scale = Scale::new(scale.multiplier() as u16, scale.shift() as u8 + 1);
            }
        }
        let network = &parts.networks[0];
        let words = encode(&parts).unwrap();
        let image = Image::parse(bytes(&words)).unwrap();
        let mut workspace = vec![0; image.workspace_len()];
        let mut state = State::new(&image, &mut workspace).unwrap();
        let mut float = (vec![0f64; 24], vec![0f64; 24]);
        let mut rng = pipsqueak::Pcg32::new(1, 1);
        let mut errors = vec![];
        for _ in 0..10_000 {
            let token = rng.next_u32() as u16 % 20;
            state.step(token);
            let (row, _) = input(network, &Fed::Token(token), &[]);
            let next = step(&network.layers[0], row, &[], &float);
            let [hidden, cell] =
                next.map(|values| values.into_iter().map(|(value, _)| value).collect());
            float = (hidden, cell);
            let pairs = float.0.iter().zip(state.hidden(0));
            let sum: f64 = pairs.map(|(f, &i)| (f - f64::from(i)).abs()).sum();
            errors.push(sum / 24.0 / Q15);
        }
        let mean = |from: usize| errors[from..from + 1000].iter().sum::<f64>() / 1000.0;
        let (early, late) = (mean(1000), mean(9000));
        println!("{cell:?}: {early:.2e} after 1,000 steps, {late:.2e} after 9,000");
        assert!(
            late <= 1.2 * early && early < 2e-4,
            "{cell:?}: {early} became {late}"
        );
    }
}
