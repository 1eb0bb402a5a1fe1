//! Fuzzes the reader of model files. The target corrects length and checksum first, so that the fuzzer reaches the checks behind
//! them. Every accepted model runs in every way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipsqueak::encode::{as_bytes, to_words, update_checksum};
use pipsqueak::format::{HEADER_LEN, Phase};
use pipsqueak::selftest::{self, Coverage};
use pipsqueak::{
    Generator, Model, ModelView, SamplingParams, Session, SessionError, StepInput, Temperature,
};

/// In words. A model that needs more is parsed, but does not run: no board has as much.
const MAX_WORKSPACE: usize = 1 << 20;
const TEXTS: [&str; 3] = ["", "ab, the\n\u{e9}", "length=0.5, a"];

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if file.len() >= HEADER_LEN {
        let length = file.len() as u32;
        file[12..16].copy_from_slice(&length.to_le_bytes());
        update_checksum(&mut file);
    }
    let words = to_words(&file);
    let Ok(model) = Model::parse(&as_bytes(&words)[..file.len()]) else {
        return;
    };
    let (_, _) = (model.training_info(), model.io_names());
    if model.workspace_len() > MAX_WORKSPACE {
        return;
    }
    let mut workspace = vec![0; model.workspace_len()];
    generate(&model, &mut workspace);
    step(&model, &mut workspace);
});

/// Every way to read a text and to generate one.
fn generate(model: &ModelView, workspace: &mut [u32]) {
    for (temperature, top_k) in [("0.8", 0), ("100", 3), ("0", 0)] {
        let params = SamplingParams {
            temperature: Temperature::parse(temperature).expect("a temperature"),
            top_k,
            seed: 1,
        };
        let mut generator =
            Generator::new(model, workspace, params).expect("the workspace is large enough");
        let text: Vec<u8> = generator.by_ref().take(8).flatten().copied().collect();
        let text = String::from_utf8_lossy(&text);
        for text in TEXTS.into_iter().chain([&*text]) {
            let known = generator.prompt(text).is_ok();
            assert_eq!(generator.bits_per_char(text).is_ok(), known);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.encode_source(text);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.set_conditioning_text(text);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.classify(text).map(<[i16]>::len);
        }
        generator.reset(params);
        assert_ne!(generator.next_token(), Err(SessionError::Internal));
    }
}

/// Every input in each phase; and the self-test, which must find no difference.
fn step(model: &ModelView, workspace: &mut [u32]) {
    let mut session = Session::new(model, workspace).expect("the workspace is large enough");
    let frame = |phase| {
        let size = model.input_of(phase).map_or(0, |layer| layer.len());
        vec![i16::MIN; size]
    };
    let check = |result| assert_ne!(result, Err(SessionError::Internal));
    check(session.set_conditioning(&frame(Phase::Begin)));
    for (phase, frame) in [Phase::Source, Phase::Step].map(|phase| (phase, frame(phase))) {
        for input in [
            StepInput::Token(0),
            StepInput::Token(u16::MAX),
            StepInput::Frame(&frame),
            StepInput::Frame(&[1; 3]),
            StepInput::Repeat,
        ] {
            check(match phase {
                Phase::Source => session.push_source(input),
                _ => session.push(input),
            });
        }
        for (layer, index) in model.layers().zip(0..) {
            if layer.cell().is_some() {
                session
                    .hidden(index)
                    .expect("a hidden state")
                    .fill(i16::MIN);
            }
            if let Ok(cell) = session.cell_state(index) {
                cell.fill(i32::MIN);
            }
        }
    }
    check(session.push(StepInput::Token(0)));
    let outputs = session.outputs().expect("outputs");
    for (output, index) in model.outputs().iter().zip(0..) {
        assert_eq!(outputs.get(index).map(<[i16]>::len), Some(output.len()));
    }
    selftest::verify_kernels(&mut session, Coverage::Full).expect("the kernels agree");
    selftest::output_digest(&mut session).expect("a digest");
}
