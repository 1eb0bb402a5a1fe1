//! What is counted on emulated cores: one function per item, by the runtime that the boards' firmware has, in the same
//! profile. Whoever runs this program counts from a function's first instruction to its return.
#![no_std]
#![no_main]

mod start;

use core::hint::black_box;
use pipsqueak::selftest::{self, Coverage};
use pipsqueak::{
    Generator, Layer, Model, ModelError, ModelView, Pcg32, Sampler, SamplingParams, Session,
};
use pipsqueak_kernels::fixed::QuantizedMultiplier;
use pipsqueak_kernels::generic::SoftmaxTerm;
use pipsqueak_kernels::packed::{
    CandidateTokenScale, GruParams, I16x4, LstmParams, PANEL_ROWS, PackedActivations, TokenScale,
    WeightFormat,
};
use pipsqueak_kernels::{dispatch, generic};

/// A model of at most three layers: tokens, a recurrent layer and an output layer.
type Small<'a> = Model<'a, [Option<Layer<'a>>; 3]>;

#[repr(align(4))]
struct Aligned<T: ?Sized>(T);

static MODEL_128: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/128.pip")));
static MODEL_256: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/256.pip")));
static MODEL_LSTM: &Aligned<[u8]> =
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
static VECTOR: [I16x4; 128] = [I16x4([321; 4]); 128];

/// Words of one panel of 4-bit weights.
const fn int4_len(columns: usize) -> usize {
    WeightFormat::Int4.panel_len(columns)
}

/// Defines items. Each is one symbol, whatever its body has in common with another's.
macro_rules! benchmark {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $name($($argument: $type),*) $(-> $result)? $body
    )*};
}

benchmark! {
    matvec_384x128(x: &[I16x4], out: &mut [[i32; 4]; 384 / 4]) {
        dispatch::gemv_int8(&WEIGHTS[..384 * 128 / 4], &PackedActivations::new(x), out);
    }
    matvec_768x256(x: &[I16x4], out: &mut [[i32; 4]; 768 / 4]) {
        dispatch::gemv_int8(&WEIGHTS[..768 * 256 / 4], &PackedActivations::new(x), out);
    }
    matvec_1536x512(x: &[I16x4], out: &mut [[i32; 4]; 1536 / 4]) {
        dispatch::gemv_int8(&WEIGHTS[..1536 * 512 / 4], &PackedActivations::new(x), out);
    }
    matvec_1056x352(x: &[I16x4], out: &mut [[i32; 4]; 1056 / 4]) {
        dispatch::gemv_int8(&WEIGHTS[..1056 * 352 / 4], &PackedActivations::new(x), out);
    }
    matvec_384x128_4bit(x: &[I16x4], out: &mut [[i32; 4]; 384 / 4]) {
        dispatch::gemv_int4(&WEIGHTS[..384 / 4 * int4_len(128)], &PackedActivations::new(x), out);
    }
    matvec_768x256_4bit(x: &[I16x4], out: &mut [[i32; 4]; 768 / 4]) {
        dispatch::gemv_int4(&WEIGHTS[..768 / 4 * int4_len(256)], &PackedActivations::new(x), out);
    }
    matvec_1056x352_4bit(x: &[I16x4], out: &mut [[i32; 4]; 1056 / 4]) {
        dispatch::gemv_int4(&WEIGHTS[..1056 / 4 * int4_len(352)], &PackedActivations::new(x), out);
    }
    model_parse() -> Result<Small<'static>, ModelError> {
        Model::parse_with_capacity(&MODEL_128.0)
    }
    selftest_boot(session: &mut Session) -> bool {
        selftest::verify_kernels(session, Coverage::Quick).is_ok()
    }
    gru_step_128(session: &mut Session) -> bool {
        session.push_token(12).is_ok()
    }
    gru_step_256(session: &mut Session) -> bool {
        session.push_token(25).is_ok()
    }
    lstm_step_128(session: &mut Session) -> bool {
        session.push_token(27).is_ok()
    }
    logits_64x128(session: &mut Session) -> bool {
        session.logits().is_ok()
    }
    sample_64(sampler: &Sampler, logits: &[i16], frac_bits: u32, rng: &mut Pcg32) -> u16 {
        sampler.sample(logits, frac_bits, rng)
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
                static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".pip")));
                let text = include_bytes!(concat!(env!("OUT_DIR"), "/", stringify!($name), ".txt"));
                make_text(&MODEL.0, workspace, text, $name);
            })*
        }
    };
}
include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// Makes the text that the host has made, by `next`.
#[inline(never)]
fn make_text(
    bytes: &[u8],
    workspace: &mut [u32],
    expected: &[u8],
    mut next: impl for<'i> FnMut(&mut Generator<'i, '_>) -> &'i [u8],
) {
    let Ok(model) = Model::parse(bytes) else {
        panic!("the model is refused")
    };
    let Ok(mut generator) = Generator::new(&model, workspace, SamplingParams::default()) else {
        panic!("the workspace is too small")
    };
    expect(expected, || next(&mut generator));
}

#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    start::paint_stack();
    let parsed = model_parse();
    let Ok(model) = black_box(&parsed) else {
        panic!("the model is refused")
    };
    // SAFETY: main does not return, so its model lives as long as the program.
    let model: &'static ModelView<'static> = unsafe { &*core::ptr::from_ref::<ModelView>(model) };
    let mut workspace = [0; 256];
    text(model, &mut workspace, TEXT_128);
    start::report_peak_stack();

    let params = SamplingParams::default();
    let Ok(mut session) = Session::new(model, &mut workspace) else {
        panic!("the workspace is too small")
    };
    assert!(selftest_boot(&mut session));
    for _ in 0..8 {
        assert!(gru_step_128(&mut session) && logits_64x128(&mut session));
    }
    let sampler = Sampler::new(params.temperature, params.top_k);
    let (Some(output), Ok(logits), mut rng) = (model.output(), session.logits(), params.rng())
    else {
        panic!("no logits")
    };
    for _ in 0..64 {
        black_box(sample_64(&sampler, logits, output.frac_bits(), &mut rng));
    }

    let Ok(model) = Model::parse(&MODEL_256.0) else {
        panic!("the model is refused")
    };
    let mut workspace = [0; 512];
    let Ok(mut generator) = Generator::new(&model, &mut workspace, params) else {
        panic!("the workspace is too small")
    };
    expect(TEXT_256, || generator.next().unwrap_or_default());
    let Ok(mut session) = Session::new(&model, &mut workspace) else {
        panic!("the workspace is too small")
    };
    for _ in 0..8 {
        assert!(gru_step_256(&mut session));
    }

    let Ok(model) = Model::parse(&MODEL_LSTM.0) else {
        panic!("the model is refused")
    };
    let Ok(mut session) = Session::new(&model, &mut workspace) else {
        panic!("the workspace is too small")
    };
    for _ in 0..8 {
        assert!(lstm_step_128(&mut session));
    }

    characters_of_shapes(&mut workspace);

    products_are_exact();
    gates_are_exact();
    lstm_gates_are_exact();
    searches_are_exact();
    let mut out = [[0; PANEL_ROWS]; 1536 / PANEL_ROWS];
    macro_rules! product {
        ($($name:ident $rows:literal $columns:literal)*) => {$(
            if let Some(out) = out.first_chunk_mut::<{ $rows / PANEL_ROWS }>() {
                $name(black_box(&VECTOR[..$columns / 4]), black_box(out));
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
fn text(model: &'static ModelView<'static>, workspace: &mut [u32], expected: &[u8]) {
    let Ok(mut generator) = Generator::new(model, workspace, SamplingParams::default()) else {
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

/// Compares the core's kernels with the generic ones, by every count of columns and panels about its rounds.
#[inline(never)]
fn products_are_exact() {
    let mut x = [I16x4::default(); 33];
    for (x, weights) in x.iter_mut().zip(WEIGHTS.rchunks(4)) {
        x.0 = core::array::from_fn(|lane| (weights[lane] >> 8) as i16);
    }
    x[0].0[1] = i16::MIN;
    for quads in 1..=x.len() {
        let length = 4 * quads;
        let x = PackedActivations::new(&x[..quads]);
        for count in 1..=7 {
            let weights = &WEIGHTS[length..][..count * length];
            // One panel more, which must stay as it is.
            let [mut found, mut expected] = [[[77; PANEL_ROWS]; 8]; 2];
            dispatch::gemv_int8(weights, &x, &mut found[..count]);
            generic::gemv_int8(weights, &x, &mut expected[..count]);
            assert!(found == expected);
            let weights = &WEIGHTS[length..][..count * int4_len(length)];
            dispatch::gemv_int4(weights, &x, &mut found[..count]);
            generic::gemv_int4(weights, &x, &mut expected[..count]);
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

    fn array<const N: usize>(&mut self, bits: u32) -> [i32; N] {
        core::array::from_fn(|_| self.bits(bits))
    }

    fn scale(&mut self, shift: u32) -> [QuantizedMultiplier; PANEL_ROWS] {
        core::array::from_fn(|_| {
            QuantizedMultiplier::new(self.bits(14).unsigned_abs() as u16, shift as u8)
        })
    }

    fn token_scale(&mut self, bits: u32, shift: u32) -> TokenScale {
        TokenScale {
            bias: self.array(bits),
            scale: self.scale(shift),
            token_scale: self.array(14),
        }
    }
}

/// Compares the core's gates of a GRU with the generic ones, from sums that saturate everywhere to such as trained networks have.
#[inline(never)]
fn gates_are_exact() {
    let mut random = Random(1);
    for round in 0..400 {
        let (bits, shift) = (20 + round % 11, round / 11 % 20);
        let params = GruParams {
            update: random.token_scale(bits, shift),
            reset: random.token_scale(bits, shift),
            candidate: CandidateTokenScale {
                bias: random.array(bits),
                scale: random.scale(shift),
                input_bias: random.array(bits),
                token_scale: random.array(14),
            },
        };
        let gate_row = core::array::from_fn(|_| random.array(8).map(|value| value as i8));
        let products = core::array::from_fn(|_| random.array(bits));
        let h = I16x4(random.array(16).map(|value| value as i16));
        let [mut found, mut expected] = [I16x4::default(); 2];
        dispatch::gru_gates(&params, &gate_row, &products, &h, &mut found);
        generic::gru_gates(&params, &gate_row, &products, &h, &mut expected);
        assert!(found == expected);
    }
}

/// The same for an LSTM's.
#[inline(never)]
fn lstm_gates_are_exact() {
    let mut random = Random(3);
    for round in 0..400 {
        let (bits, shift) = (20 + round % 11, round / 11 % 20);
        let params = LstmParams {
            input: random.token_scale(bits, shift),
            output: random.token_scale(bits, shift),
            forget: random.token_scale(bits, shift),
            candidate: random.token_scale(bits, shift),
        };
        let gate_row = core::array::from_fn(|_| random.array(8).map(|value| value as i8));
        let products = core::array::from_fn(|_| random.array(bits));
        // Now and then at an end, where the addition saturates.
        let cell = core::array::from_fn(|lane| match (round + lane as u32) % 9 {
            0 => i32::MAX,
            1 => i32::MIN,
            n => random.bits(32) >> n,
        });
        let ([mut found_cell, mut expected_cell], [mut found, mut expected]) =
            ([cell; 2], [I16x4::default(); 2]);
        dispatch::lstm_gates(&params, &gate_row, &products, &mut found_cell, &mut found);
        generic::lstm_gates(
            &params,
            &gate_row,
            &products,
            &mut expected_cell,
            &mut expected,
        );
        assert!(found == expected && found_cell == expected_cell);
    }
}

/// Compares the core's searches along weights, and its largest logit, with the generic ones.
#[inline(never)]
fn searches_are_exact() {
    let mut random = Random(2);
    for round in 0..100 {
        let logits: [i16; 24] = core::array::from_fn(|_| random.bits(4 + round % 13) as i16);
        let (fours, _) = logits.as_chunks();
        let max = dispatch::max_i16(fours);
        assert!(max == generic::max_i16(fours));
        let term = SoftmaxTerm {
            max,
            inverse_temperature: random.bits(17).unsigned_abs(),
            shift: round % 17,
            weight_shift: 1 + round % 7,
        };
        let cutoff = 1 + (((1 << 21) - 1) << term.shift.min(10)) / term.inverse_temperature.max(1);
        for count in 0..logits.len() {
            let (logits, remaining) = (&logits[..count], random.bits(32) as u32 >> (round % 9));
            let found = dispatch::cumulative_search(&term, logits, cutoff, remaining);
            assert!(found == generic::cumulative_search(&term, logits, cutoff, remaining));
        }
    }
}
