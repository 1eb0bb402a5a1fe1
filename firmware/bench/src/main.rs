//! What is counted on emulated cores: one function per item, by the runtime that the boards' firmware has, in the same
//! profile. Whoever runs this program counts from a function's first instruction to its return.
#![no_std]
#![no_main]

mod start;

use core::hint::black_box;
use pipsqueak::selftest::{self, Extent};
use pipsqueak::{Generator, Image, ImageError, Pcg32, Sampler, Settings, State};
use pipsqueak_kernels::cell::{LSTM_RECORDS, RECORDS, gates_portable, lstm_gates_portable};
use pipsqueak_kernels::draw::{Weight, largest_portable};
use pipsqueak_kernels::fixed::Scale;
use pipsqueak_kernels::kernel::{Operand, ROWS, gates, grouped_words, largest, lstm_gates, walk};

#[repr(align(4))]
struct Aligned<T: ?Sized>(T);

static IMAGE_128: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/128.pip")));
static IMAGE_256: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/256.pip")));
static IMAGE_LSTM: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/lstm.pip")));
static TEXT_128: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/128.txt"));
static TEXT_256: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/256.txt"));

/// Some weights, the same for every matrix.
static WEIGHTS: [u32; 1536 * 512 / 4] = {
    let mut weights = [0; _];
    let mut i = 0;
    while i < weights.len() {
        weights[i] = (i as u32).wrapping_mul(2_654_435_761);
        i += 1;
    }
    weights
};

/// What matrices are multiplied with.
static VECTOR: Aligned<[i16; 512]> = Aligned([321; 512]);

/// Defines items. Each is one symbol, whatever its body has in common with another's.
macro_rules! benchmark {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $name($($argument: $type),*) $(-> $result)? $body
    )*};
}

benchmark! {
    matvec_384x128(x: &[i16], out: &mut [[i32; 4]; 384 / 4]) {
        Operand::new(x).products(&WEIGHTS[..384 * 128 / 4], out);
    }
    matvec_768x256(x: &[i16], out: &mut [[i32; 4]; 768 / 4]) {
        Operand::new(x).products(&WEIGHTS[..768 * 256 / 4], out);
    }
    matvec_1536x512(x: &[i16], out: &mut [[i32; 4]; 1536 / 4]) {
        Operand::new(x).products(&WEIGHTS[..1536 * 512 / 4], out);
    }
    matvec_1056x352(x: &[i16], out: &mut [[i32; 4]; 1056 / 4]) {
        Operand::new(x).products(&WEIGHTS[..1056 * 352 / 4], out);
    }
    matvec_384x128_4bit(x: &[i16], out: &mut [[i32; 4]; 384 / 4]) {
        Operand::new(x).add_grouped(&WEIGHTS[..384 / 4 * grouped_words(128)], out);
    }
    matvec_768x256_4bit(x: &[i16], out: &mut [[i32; 4]; 768 / 4]) {
        Operand::new(x).add_grouped(&WEIGHTS[..768 / 4 * grouped_words(256)], out);
    }
    matvec_1056x352_4bit(x: &[i16], out: &mut [[i32; 4]; 1056 / 4]) {
        Operand::new(x).add_grouped(&WEIGHTS[..1056 / 4 * grouped_words(352)], out);
    }
    image_parse() -> Result<Image<'static>, ImageError> {
        Image::parse(&IMAGE_128.0)
    }
    selftest_boot(state: &mut State) -> bool {
        selftest::kernel(state, Extent::Start).is_ok()
    }
    gru_step_128(state: &mut State) {
        state.step(12);
    }
    gru_step_256(state: &mut State) {
        state.step(25);
    }
    lstm_step_128(state: &mut State) {
        state.step(27);
    }
    logits_64x128(state: &mut State) {
        state.logits();
    }
    draw_64(sampler: &Sampler, logits: &[i16], bits: u32, rng: &mut Pcg32) -> u16 {
        sampler.draw(logits, bits, rng)
    }
    whole_character_128(generator: &mut Generator<'static, '_>) -> &'static [u8] {
        generator.next().unwrap_or_default()
    }
}

/// Characters of each shape: a function with the shape's name, and one that calls them all.
macro_rules! shapes {
    ($($name:ident)*) => {
        $(#[unsafe(no_mangle)]
        #[inline(never)]
        fn $name<'i>(generator: &mut Generator<'i, '_>) -> &'i [u8] {
            // Functions with the same body would become one.
            black_box(stringify!($name));
            generator.next().unwrap_or_default()
        })*

        #[inline(never)]
        fn characters_of_shapes(workspace: &mut [u32]) {
            $({
                static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".pip")));
                let text = include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".txt"));
                make_text(&IMAGE.0, workspace, text, $name);
            })*
        }
    };
}
include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// Makes the text that the host has made, by `next`.
#[inline(never)]
fn make_text(
    image: &[u8],
    workspace: &mut [u32],
    expected: &[u8],
    mut next: impl for<'i> FnMut(&mut Generator<'i, '_>) -> &'i [u8],
) {
    let Ok(image) = Image::parse(image) else {
        panic!("the image is refused")
    };
    let Ok(mut generator) = Generator::new(&image, workspace, Settings::default()) else {
        panic!("the workspace is too small")
    };
    expect(expected, || next(&mut generator));
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    start::paint_stack();
    let parsed = image_parse();
    let Ok(image) = black_box(&parsed) else {
        panic!("the image is refused")
    };
    // SAFETY: main does not return, so its image lives as long as the program.
    let image: &'static Image<'static> = unsafe { &*core::ptr::from_ref(image) };
    let mut workspace = [0; 256];
    text(image, &mut workspace, TEXT_128);
    start::report_peak_stack();

    let settings = Settings::default();
    let Ok(mut state) = State::new(image, &mut workspace) else {
        panic!("the workspace is too small")
    };
    assert!(selftest_boot(&mut state));
    for _ in 0..8 {
        gru_step_128(&mut state);
        logits_64x128(&mut state);
    }
    let sampler = Sampler::new(settings.temperature, settings.top_k);
    let (logits, mut rng) = (state.logits(), settings.rng());
    for _ in 0..64 {
        black_box(draw_64(&sampler, logits, image.logit_bits(), &mut rng));
    }

    let Ok(image) = Image::parse(&IMAGE_256.0) else {
        panic!("the image is refused")
    };
    let mut workspace = [0; 512];
    let Ok(mut generator) = Generator::new(&image, &mut workspace, settings) else {
        panic!("the workspace is too small")
    };
    expect(TEXT_256, || generator.next().unwrap_or_default());
    let Ok(mut state) = State::new(&image, &mut workspace) else {
        panic!("the workspace is too small")
    };
    for _ in 0..8 {
        gru_step_256(&mut state);
    }

    let Ok(image) = Image::parse(&IMAGE_LSTM.0) else {
        panic!("the image is refused")
    };
    let Ok(mut state) = State::new(&image, &mut workspace) else {
        panic!("the workspace is too small")
    };
    for _ in 0..8 {
        lstm_step_128(&mut state);
    }

    characters_of_shapes(&mut workspace);

    products_are_exact();
    gates_are_exact();
    lstm_gates_are_exact();
    walks_are_exact();
    let mut out = [[0; ROWS]; 1536 / ROWS];
    macro_rules! product {
        ($($name:ident $rows:literal $columns:literal)*) => {$(
            if let Some(out) = out.first_chunk_mut::<{ $rows / ROWS }>() {
                $name(black_box(&VECTOR.0[..$columns]), black_box(out));
            }
        )*};
    }
    product! {
        matvec_384x128 384 128
        matvec_768x256 768 256
        matvec_1536x512 1536 512
        matvec_1056x352 1056 352
        matvec_384x128_4bit 384 128
        matvec_768x256_4bit 768 256
        matvec_1056x352_4bit 1056 352
    }
    start::finish()
}

/// Makes the text that the host has made.
#[inline(always)]
fn text(image: &'static Image<'static>, workspace: &mut [u32], expected: &[u8]) {
    let Ok(mut generator) = Generator::new(image, workspace, Settings::default()) else {
        panic!("the workspace is too small")
    };
    expect(expected, || whole_character_128(&mut generator));
}

/// Takes parts of a text until the expected one is whole.
#[inline(always)]
fn expect<'t>(expected: &[u8], mut next: impl FnMut() -> &'t [u8]) {
    let mut rest = expected;
    while !rest.is_empty() {
        let part = next();
        match rest.strip_prefix(part) {
            Some(more) if !part.is_empty() => rest = more,
            _ => panic!("the text is not the host's"),
        }
    }
}

/// Compares the core's kernels with the portable ones, by every count of columns and blocks about its rounds.
#[inline(never)]
fn products_are_exact() {
    let mut x = Aligned([0; 132]);
    for (x, weight) in x.0.iter_mut().zip(WEIGHTS.iter().rev()) {
        *x = (weight >> 8) as i16;
    }
    x.0[1] = i16::MIN;
    for length in (4..=x.0.len()).step_by(4) {
        let x = Operand::new(&x.0[..length]);
        for count in 1..=7 {
            let weights = &WEIGHTS[length..][..count * length];
            // One block more, which must stay as it is.
            let [mut found, mut expected] = [[[77; ROWS]; 8]; 2];
            x.products(weights, &mut found[..count]);
            x.products_portable(weights, &mut expected[..count]);
            assert!(found == expected);
            let weights = &WEIGHTS[length..][..count * grouped_words(length)];
            x.add_grouped(weights, &mut found[..count]);
            x.add_grouped_portable(weights, &mut expected[..count]);
            assert!(found == expected);
        }
    }
}

/// Random numbers: a linear congruential generator, of which the high bits are random enough.
struct Random(u32);

impl Random {
    /// A signed number of this many bits.
    fn bits(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 as i32 >> (32 - bits)
    }
}

/// Compares the core's gates with the portable ones, from sums that saturate everywhere to such as trained networks have.
#[inline(never)]
fn gates_are_exact() {
    let mut random = Random(1);
    for round in 0..400 {
        let bits = 20 + round % 11;
        let mut records = [0; RECORDS];
        for (index, word) in records.iter_mut().enumerate() {
            *word = match index / ROWS {
                1 | 4 | 7 => {
                    Scale::new(
                        random.bits(14).unsigned_abs() as u16,
                        (round / 11 % 20) as u8,
                    )
                    .0
                }
                2 | 5 | 9 => random.bits(14) as u32,
                _ => random.bits(bits) as u32,
            };
        }
        let token = core::array::from_fn(|_| random.bits(8) as i8);
        let products = core::array::from_fn(|_| core::array::from_fn(|_| random.bits(bits)));
        let old = core::array::from_fn(|_| random.bits(16) as i16);
        let [mut found, mut expected] = [[0; ROWS]; 2];
        gates(&records, &token, &products, &old, &mut found);
        gates_portable(&records, &token, &products, &old, &mut expected);
        assert!(found == expected);
    }
}

/// The same for an LSTM's.
#[inline(never)]
fn lstm_gates_are_exact() {
    let mut random = Random(3);
    for round in 0..400 {
        let bits = 20 + round % 11;
        let mut records = [0; LSTM_RECORDS];
        for (index, word) in records.iter_mut().enumerate() {
            *word = match index / ROWS % 3 {
                0 => random.bits(bits) as u32,
                1 => {
                    let multiplier = random.bits(14).unsigned_abs() as u16;
                    Scale::new(multiplier, (round / 11 % 20) as u8).0
                }
                _ => random.bits(14) as u32,
            };
        }
        let token = core::array::from_fn(|_| random.bits(8) as i8);
        let products = core::array::from_fn(|_| core::array::from_fn(|_| random.bits(bits)));
        // Now and then at an end, where the addition saturates.
        let cell = core::array::from_fn(|lane| match (round + lane as u32) % 9 {
            0 => i32::MAX,
            1 => i32::MIN,
            n => random.bits(32) >> n,
        });
        let ([mut found_cell, mut expected_cell], [mut found, mut expected]) =
            ([cell; 2], [[0; ROWS]; 2]);
        lstm_gates(&records, &token, &products, &mut found_cell, &mut found);
        lstm_gates_portable(
            &records,
            &token,
            &products,
            &mut expected_cell,
            &mut expected,
        );
        assert!(found == expected && found_cell == expected_cell);
    }
}

/// Compares the core's walks along weights, and its largest logit, with the portable ones.
#[inline(never)]
fn walks_are_exact() {
    let mut random = Random(2);
    for round in 0..100 {
        let logits: [i16; 24] = core::array::from_fn(|_| random.bits(4 + round % 13) as i16);
        let (fours, _) = logits.as_chunks();
        let max = largest(fours);
        assert!(max == largest_portable(fours));
        let weight = Weight {
            max,
            coefficient: random.bits(17).unsigned_abs(),
            shift: round % 17,
            down: 1 + round % 7,
        };
        let end = 1 + (((1 << 21) - 1) << weight.shift.min(10)) / weight.coefficient.max(1);
        for count in 0..logits.len() {
            let (logits, rest) = (&logits[..count], random.bits(32) as u32 >> (round % 9));
            let found = walk(&weight, logits, end, rest);
            assert!(found == weight.walk_portable(logits, end, rest));
        }
    }
}
