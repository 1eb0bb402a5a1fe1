//! Fuzzes the reader of model files. The target corrects length and checksum first, so that the fuzzer reaches the checks behind
//! them. Every accepted model runs in every way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipsqueak::encode::{aligned, bytes, seal};
use pipsqueak::image::HEADER_LEN;
use pipsqueak::selftest::{self, Extent};
use pipsqueak::{Feed, Generator, Image, Settings, State, Temperature};

/// In words. A model that needs more is parsed, but does not run: no board has as much.
const MAX_WORKSPACE: usize = 1 << 20;
const TEXTS: [&str; 3] = ["", "ab, the\n\u{e9}", "length=0.5, a"];

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if file.len() >= HEADER_LEN {
        let length = file.len() as u32;
        file[12..16].copy_from_slice(&length.to_le_bytes());
        seal(&mut file);
    }
    let words = aligned(&file);
    let Ok(image) = Image::parse(&bytes(&words)[..file.len()]) else {
        return;
    };
    let (_, _) = (image.provenance(), image.interface());
    if image.workspace_len() > MAX_WORKSPACE {
        return;
    }
    let mut workspace = vec![0; image.workspace_len()];
    generate(&image, &mut workspace);
    step(&image, &mut workspace);
});

/// Every way to read a text and to generate one.
fn generate(image: &Image, workspace: &mut [u32]) {
    for (temperature, top_k) in [("0.8", 0), ("100", 3), ("0", 0)] {
        let settings = Settings {
            temperature: Temperature::parse(temperature).expect("a temperature"),
            top_k,
            seed: 1,
        };
        let mut generator =
            Generator::new(image, workspace, settings).expect("the workspace is large enough");
        let text: Vec<u8> = generator.by_ref().take(8).flatten().copied().collect();
        let text = String::from_utf8_lossy(&text);
        for text in TEXTS.into_iter().chain([&*text]) {
            let known = generator.prompt(text).is_ok();
            assert_eq!(generator.score(text).is_ok(), known);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.source(text);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.describe(text);
            generator.by_ref().take(3).for_each(drop);
            let _ = generator.classify(text).map(<[i16]>::len);
        }
        generator.restart(settings);
        generator.next_token();
    }
}

/// Every way to feed each network; and the self test, which must find no difference.
fn step(image: &Image, workspace: &mut [u32]) {
    let values = [i16::MIN, i16::MAX, -1, 20_000, 7];
    let mut state = State::new(image, workspace).expect("the workspace is large enough");
    state.features(&values);
    for index in 0..image.networks() {
        for feed in [Feed::Token(0), Feed::Vector(&values), Feed::Again] {
            state.feed(index, feed);
        }
        state.set_hidden(index, 0, &[i16::MIN; 3]);
        state.set_cell(index, 0, &[i32::MIN; 3]);
        state.feed(index, Feed::Token(u16::MAX));
        state.hand_over();
        assert_eq!(state.outputs_of(index).len(), image.outputs_of(index));
    }
    selftest::kernel(&mut state, Extent::All).expect("the kernel equals the generic one");
    selftest::digest(&mut state);
}
