//! What a session refuses, and that a refused input changes nothing.

mod common;

use common::{Network, linear, model_file, sample};
use pipsqueak::encode::{ModelConfig, ModelParams, OpParams, as_bytes, encode, to_words};
use pipsqueak::format::{OpConfig, Phase};
use pipsqueak::{Cell, InputKind, Model, RecurrentLayerConfig, Session, SessionError, StepInput};

/// Calls `test` with a session of random parameters for `config`.
fn with_session<T>(config: &ModelConfig, test: impl FnOnce(&mut Session) -> T) -> T {
    let words = to_words(&model_file(5, config));
    let model = Model::parse(as_bytes(&words)).unwrap();
    let mut workspace = vec![0xdead_beef; model.workspace_len()];
    test(&mut Session::new(&model, &mut workspace).unwrap())
}

fn reads(expected: InputKind) -> Result<(), SessionError> {
    Err(SessionError::InputKind { expected })
}

#[test]
fn a_small_workspace_is_refused_with_both_sizes() {
    let words = to_words(&model_file(5, &sample("lstm")));
    let model = Model::parse(as_bytes(&words)).unwrap();
    let expected = model.workspace_len();
    let mut workspace = vec![0; expected - 1];
    let error = Session::new(&model, &mut workspace).unwrap_err();
    let found = expected - 1;
    assert_eq!(error, SessionError::Workspace { expected, found });
    let [expected, found] = [expected, found].map(|words| 4 * words);
    let text = format!("the model needs a workspace of {expected} bytes, found {found}");
    assert_eq!(error.to_string(), text);
    let mut larger = vec![7; model.workspace_len() + 3];
    let mut session = Session::new(&model, &mut larger).unwrap();
    session.push_token(1).unwrap();
    assert_eq!(
        larger[model.workspace_len()..],
        [7; 3],
        "it stays in its part"
    );
}

#[test]
fn tokens_out_of_the_vocabulary_are_refused() {
    for (name, tokens) in [("lstm", 31), ("lstm-rnn", 26), ("words", 30)] {
        with_session(&sample(name), |session| {
            session.push_token(tokens - 1).unwrap();
            let before = session.logits().unwrap().to_vec();
            for found in [tokens, u16::MAX] {
                let expected = usize::from(tokens);
                let error = Err(SessionError::Token { expected, found });
                assert_eq!(session.push(StepInput::Token(found)), error, "{name}");
                assert_eq!(session.push_token(found), error, "{name}");
            }
            assert_eq!(session.logits().unwrap(), before, "{name}");
        });
    }
}

#[test]
fn the_wrong_kind_of_input_is_refused() {
    with_session(&sample("lstm"), |session| {
        assert_eq!(session.push(StepInput::Repeat), reads(InputKind::Tokens));
        assert_eq!(
            session.push(StepInput::Frame(&[])),
            reads(InputKind::Tokens)
        );
        assert_eq!(
            session.push_source(StepInput::Token(0)),
            reads(InputKind::NoSource)
        );
        assert_eq!(
            session.push_source(StepInput::Frame(&[])),
            reads(InputKind::NoSource)
        );
        assert_eq!(
            session.push_source(StepInput::Repeat),
            reads(InputKind::NoSource)
        );
        assert_eq!(session.set_conditioning(&[]), reads(InputKind::NoFeatures));
        assert_eq!(
            reads(InputKind::Tokens).unwrap_err().to_string(),
            "the model reads tokens here"
        );
    });
    with_session(&sample("sensors"), |session| {
        assert_eq!(session.push(StepInput::Token(0)), reads(InputKind::Frames));
        assert_eq!(session.push_token(0), reads(InputKind::Frames));
        assert_eq!(session.push(StepInput::Repeat), reads(InputKind::Frames));
    });
    with_session(&sample("features"), |session| {
        assert_eq!(session.push(StepInput::Token(0)), reads(InputKind::Nothing));
        assert_eq!(
            session.push(StepInput::Frame(&[0; 5])),
            reads(InputKind::Nothing)
        );
        assert_eq!(session.push(StepInput::Repeat), Ok(()));
    });
    with_session(&sample("translator"), |session| {
        assert_eq!(
            session.push_source(StepInput::Frame(&[0; 5])),
            reads(InputKind::Tokens)
        );
        assert_eq!(
            session.push_source(StepInput::Repeat),
            reads(InputKind::Tokens)
        );
    });
}

/// An encoder of frames that begins at conditioning features, and a decoder of frames.
fn frames() -> ModelConfig {
    let mut network = Network::new();
    let gru = |init| RecurrentLayerConfig {
        init: [Some(init), None],
        ..RecurrentLayerConfig::new(Cell::GruResetAfter, 6)
    };
    network.add(Phase::Begin, &[], OpConfig::Frame { size: 2 });
    let features = network.then(Phase::Begin, linear(6));
    network.add(Phase::Source, &[], OpConfig::Frame { size: 3 });
    let encoder = network.then(Phase::Source, OpConfig::Recurrent(gru(features)));
    network.add(Phase::Step, &[], OpConfig::Frame { size: 4 });
    network.then(Phase::Step, OpConfig::Recurrent(gru(encoder)));
    network.then(Phase::Output, linear(3));
    network.values()
}

#[test]
fn frames_of_another_length_are_refused_and_change_nothing() {
    let run = |refused: bool| {
        with_session(&frames(), |session| {
            let wrong = |result, expected| {
                assert_eq!(
                    result,
                    Err(SessionError::FrameLength { expected, found: 7 })
                );
            };
            if refused {
                wrong(session.set_conditioning(&[1; 7]), 2);
                wrong(session.push_source(StepInput::Frame(&[1; 7])), 3);
                wrong(session.push(StepInput::Frame(&[1; 7])), 4);
            }
            session.set_conditioning(&[20_000, -9000]).unwrap();
            if refused {
                wrong(session.set_conditioning(&[1; 7]), 2);
                wrong(session.push_source(StepInput::Frame(&[1; 7])), 3);
                wrong(session.push(StepInput::Frame(&[1; 7])), 4);
            }
            session
                .push_source(StepInput::Frame(&[1000, -20_000, 7]))
                .unwrap();
            if refused {
                wrong(session.push(StepInput::Frame(&[1; 7])), 4);
            }
            session
                .push_source(StepInput::Frame(&[9000, 3, -9]))
                .unwrap();
            session.push(StepInput::Frame(&[30_000, 1, 2, 3])).unwrap();
            session.logits().unwrap().to_vec()
        })
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn the_order_of_calls_is_enforced() {
    with_session(&frames(), |session| {
        let started = Err(SessionError::AlreadyStarted);
        session.set_conditioning(&[1, 2]).unwrap();
        session.push_source(StepInput::Frame(&[1; 3])).unwrap();
        assert_eq!(session.set_conditioning(&[1, 2]), started);
        session.push_source(StepInput::Frame(&[1; 3])).unwrap();
        session.push(StepInput::Frame(&[1; 4])).unwrap();
        assert_eq!(session.push_source(StepInput::Frame(&[1; 3])), started);
        assert_eq!(session.set_conditioning(&[1, 2]), started);
        session.reset();
        session.set_conditioning(&[1, 2]).unwrap();
        session.push_source(StepInput::Frame(&[1; 3])).unwrap();
        session.begin_steps().unwrap();
        assert_eq!(session.push_source(StepInput::Frame(&[1; 3])), started);
    });
    with_session(&sample("features"), |session| {
        session.set_conditioning(&[1; 5]).unwrap();
        session.push(StepInput::Repeat).unwrap();
        let error = session.set_conditioning(&[1; 5]).unwrap_err();
        assert_eq!(error, SessionError::AlreadyStarted);
        assert_eq!(
            error.to_string(),
            "a text has already begun: reset the session first"
        );
    });
}

#[test]
fn only_recurrent_layers_have_states() {
    // frame, gru, mean, dense, dense, dense.
    with_session(&sample("sensors"), |session| {
        let none = SessionError::NoSuchVector;
        for layer in [0, 2, 3, 5, 6, usize::MAX] {
            assert_eq!(session.hidden(layer).unwrap_err(), none, "layer {layer}");
            assert_eq!(
                session.cell_state(layer).unwrap_err(),
                none,
                "layer {layer}"
            );
        }
        assert_eq!(session.hidden(1).unwrap().len(), 9);
        assert_eq!(
            session.cell_state(1).unwrap_err(),
            none,
            "a GRU has no cell state"
        );
        assert!(session.outputs().unwrap().get(1).is_none());
    });
    with_session(&sample("lstm"), |session| {
        assert_eq!(session.hidden(1).unwrap().len(), 14);
        assert_eq!(session.cell_state(1).unwrap().len(), 14);
    });
}

/// Outputs can be read as often as wanted, and a reset session is like a new one.
#[test]
fn outputs_do_not_change_the_state_and_reset_forgets() {
    for name in ["lstm", "mixed", "joined", "sensors", "features"] {
        with_session(&sample(name), |session| {
            let model = session.model();
            let mut text = |outputs: usize| {
                session.reset();
                if let Some(layer) = model.conditioning() {
                    session
                        .set_conditioning(&vec![12_000; layer.len()])
                        .unwrap();
                }
                for i in 0..6 {
                    let frame = [[i * 5000; 8], [-3000; 8]].concat();
                    let input = match model.input_of(Phase::Step) {
                        None => StepInput::Repeat,
                        Some(layer) if layer.vocab_size().is_some() => StepInput::Token(i as u16),
                        Some(layer) => StepInput::Frame(&frame[..layer.len()]),
                    };
                    session.push(input).unwrap();
                    (0..outputs).for_each(|_| {
                        session.logits().unwrap().reverse();
                    });
                }
                session.logits().unwrap().to_vec()
            };
            let once = text(0);
            assert_eq!(text(3), once, "{name}");
            assert_eq!(text(0), once, "{name}");
            assert!(once.iter().any(|&value| value != 0), "{name}");
        });
    }
}

/// A model whose weights over the padding of a frame are not zero: results do not depend on what was in the workspace.
#[test]
fn the_padding_of_a_frame_is_zero() {
    let mut network = Network::new();
    let frame = network.add(Phase::Step, &[], OpConfig::Frame { size: 5 });
    network.add(Phase::Output, &[frame; 2], linear(9));
    let mut params = ModelParams::random(3, &network.values());
    let OpParams::Dense(dense) = &mut params.layers[1].op else {
        panic!("layer 1 is dense");
    };
    for row in dense.matrix.weights.chunks_exact_mut(13) {
        row[5..8].fill(100);
    }
    let words = encode(&params).unwrap();
    let model = Model::parse(as_bytes(&words)).unwrap();
    let mut workspace = vec![0; model.workspace_len()];
    let mut session = Session::new(&model, &mut workspace).unwrap();
    let mut outputs = |fill: i16| {
        session
            .push(StepInput::Frame(&[1000, 2000, -3000, 9, 30_000]))
            .unwrap();
        let outputs = session.logits().unwrap().to_vec();
        session.logits().unwrap().fill(fill);
        outputs
    };
    let first = outputs(i16::MAX);
    assert_eq!(outputs(i16::MIN), first);
    assert_eq!(outputs(0), first);
}

/// Before the first step, the outputs are those of zero states.
#[test]
fn outputs_before_the_first_step() {
    with_session(&sample("mixed"), |session| {
        let outputs = session.logits().unwrap().to_vec();
        assert_eq!(outputs.len(), 4);
        session.push_token(3).unwrap();
        assert_ne!(session.logits().unwrap(), outputs);
    });
}
