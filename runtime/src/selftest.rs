//! Whether this machine computes what was exported: its kernels against the generic ones, and its outputs against a digest.
//!
//! ```
//! # use pipsqueak::encode::{ModelParams, as_bytes, encode};
//! # use pipsqueak::{Cell, RecurrentLayerConfig};
//! use pipsqueak::selftest::{Coverage, output_digest, verify_kernels};
//! use pipsqueak::{Model, Session};
//!
//! # let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, 16)];
//! # let words = encode(&ModelParams::random_language_model(1, 20, 0, &layers)).unwrap();
//! # let bytes: &[u8] = as_bytes(&words);
//! let model = Model::parse(bytes)?;
//! let mut workspace = [0; 64];
//! let mut session = Session::new(&model, &mut workspace).unwrap();
//! assert_eq!(verify_kernels(&mut session, Coverage::Full), Ok(3 * 16 * 16 + 20 * 16));
//! assert_eq!(output_digest(&mut session), Ok(model.digest()));
//! # Ok::<(), pipsqueak::ModelError>(())
//! ```

use crate::format::{Phase, crc32};
use crate::message::{Fragment, Message, display};
use crate::session::{Session, SessionError, StepInput};
use pipsqueak_kernels::gemv::Rhs;
use pipsqueak_kernels::packed::{GateGroup, I16x4, PANEL_ROWS};
#[cfg(feature = "selftest-full")]
use pipsqueak_kernels::{dispatch, generic, packed};

/// Steps of the sequence that [`output_digest`] runs over.
pub const STEPS: u32 = 32;
/// Token i of that sequence is `i * STRIDE` modulo the vocabulary size. A prime: unless the vocabulary size is a multiple of it, a
/// token comes back only after all others.
pub const STRIDE: u32 = 7919;
/// Elements of a frame that [`output_digest`] fills; the others are zero.
const FRAME_LEN: usize = 64;
/// Columns that [`Coverage::Quick`] compares.
const QUICK_COLUMNS: usize = 64;
/// The most gates of a gate group.
const MAX_GATES: usize = 4;

/// A linear congruential generator (Numerical Recipes, "quick and dirty"), whose high halves are used.
struct Lcg(u32);

impl Lcg {
    fn next(&mut self) -> i16 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 16) as i16
    }

    /// The elements of a frame.
    fn frame(&mut self) -> [i16; FRAME_LEN] {
        core::array::from_fn(|_| self.next())
    }
}

/// The digest of the first output over a fixed sequence of [`STEPS`] steps. It begins at 0; each step rotates it left by one bit
/// and XORs the CRC-32 (ISO-HDLC) of the output's values as little-endian i16.
///
/// Tokens are `i * STRIDE` modulo the vocabulary size. The elements of frames and conditioning features are pseudo-random numbers
/// of the whole range of i16. An encoder reads such a sequence first.
///
/// It equals [`ModelView::digest`](crate::ModelView::digest) if the model is the exported one and this machine computes as the
/// exporting one did. Only the rows of these tokens take part, and a change that rounding hides is not seen. Resets the session.
///
/// # Errors
/// [`SessionError::Internal`].
pub fn output_digest(session: &mut Session) -> Result<u32, SessionError> {
    session.reset();
    let model = session.model();
    let mut random = Lcg(0);
    let features = random.frame();
    let element = |frame: &[i16], index: usize| frame.get(index).copied().unwrap_or(0);
    if model.conditioning().is_some() {
        session.set_conditioning_by(&mut |index, _| element(&features, index), None)?;
    }
    let mut digest = 0u32;
    for phase in [Phase::Source, Phase::Step] {
        if phase == Phase::Source && !model.has_source() {
            continue;
        }
        let reader = model.input_of(phase);
        let vocab_size = reader.and_then(|layer| layer.vocab_size()).unwrap_or(0) as u32;
        for i in 0..STEPS {
            if reader.is_some_and(|layer| layer.exponents().is_some()) {
                let frame = random.frame();
                session.push_frame_by(phase, &mut |index, _| element(&frame, index), None)?;
            } else {
                let input = match (i * STRIDE).checked_rem(vocab_size) {
                    Some(token) => StepInput::Token(token as u16),
                    None => StepInput::Repeat,
                };
                session.push_to(phase, input)?;
            }
            if phase == Phase::Step {
                let outputs = crc32(bytemuck::must_cast_slice(&*session.logits()?));
                digest = digest.rotate_left(1) ^ outputs;
            }
        }
    }
    session.reset();
    Ok(digest)
}

/// How much [`verify_kernels`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// The first 64 columns of the first gate group of each layer: milliseconds.
    Quick,
    /// All weights.
    Full,
}

/// The first row whose product differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The layer, counted from 0 in execution order; the number of layers for the sampler.
    pub layer: u32,
    /// The row, counted through the layer's gate groups; the number of logits for the sampler.
    pub row: u32,
    /// The value by the generic kernel, modulo 2^32.
    pub expected: u32,
    /// The value by the kernel of this machine.
    pub found: u32,
}

impl Message for Mismatch {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        out(Fragment::Text("layer "));
        out(Fragment::Number(self.layer));
        out(Fragment::Text(", row "));
        out(Fragment::Number(self.row));
        out(Fragment::Text(": expected "));
        out(Fragment::Hex(self.expected, 8));
        out(Fragment::Text(", found "));
        out(Fragment::Hex(self.found, 8));
    }
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for Mismatch {}

/// Compares the kernels of this machine, [`crate::kernel_name`], with the generic ones: the weights of each layer, gate group by
/// gate group as a step takes them, times pseudo-random activations of the whole range of i16. Returns how many weights it compared.
/// With the feature `selftest-full` it also compares the kernels of gates and of the sampler. Resets the session.
///
/// # Errors
/// The first row that differs.
pub fn verify_kernels(session: &mut Session, coverage: Coverage) -> Result<usize, Mismatch> {
    let model = session.model();
    let (quads, _) = session.workspace().as_chunks_mut::<2>();
    let x: &mut [I16x4] = bytemuck::must_cast_slice_mut(quads);
    let mut random = Lcg(0);
    x.fill_with(|| I16x4(core::array::from_fn(|_| random.next())));
    let (mut compared, mut result) = (0, Ok(()));
    for (layer, index) in model.layers().zip(0..) {
        let mut row = 0;
        layer.for_each_gate_group(&mut |group| {
            if coverage == Coverage::Full || row == 0 {
                match compare(&group, x, coverage, index, row) {
                    Ok(weights) => compared += weights,
                    Err(mismatch) => result = Err(mismatch),
                }
            }
            row += (PANEL_ROWS * group.num_gates()) as u32;
            result.is_ok()
        });
        if result.is_err() {
            break;
        }
    }
    #[cfg(feature = "selftest-full")]
    if result.is_ok() && coverage == Coverage::Full {
        result = compare_sampler(packed::elements(x), model.layers().count() as u32);
    }
    session.reset();
    result.map(|()| compared)
}

/// An error if the two differ.
fn check_equal(layer: u32, row: u32, expected: u32, found: u32) -> Result<(), Mismatch> {
    match expected == found {
        true => Ok(()),
        false => Err(Mismatch {
            layer,
            row,
            expected,
            found,
        }),
    }
}

/// Compares the products of one gate group.
fn compare(
    group: &GateGroup,
    x: &[I16x4],
    coverage: Coverage,
    layer: u32,
    row: u32,
) -> Result<usize, Mismatch> {
    let gates = group.num_gates();
    let format = match coverage {
        // Any words are panels of fewer columns.
        Coverage::Quick => group.format().truncate(QUICK_COLUMNS),
        Coverage::Full => group.format(),
    };
    let columns = format.num_columns();
    let (mut expected, mut found) = ([[0; PANEL_ROWS]; MAX_GATES], [[0; PANEL_ROWS]; MAX_GATES]);
    // A workspace is longer than any operand in it, and a gate group has at most four gates.
    if let (Some(x), Some(weights), Some(expected), Some(found)) = (
        x.get(..columns / 4),
        group.weights().get(..format.panel_len() * gates),
        expected.get_mut(..gates),
        found.get_mut(..gates),
    ) {
        let rhs = Rhs::new(x, format);
        rhs.gemv_generic(weights, expected);
        rhs.gemv(weights, found);
    }
    let rows = expected.as_flattened().iter().zip(found.as_flattened());
    for ((expected, found), row) in rows.zip(row..) {
        check_equal(layer, row, *expected as u32, *found as u32)?;
    }
    #[cfg(feature = "selftest-full")]
    {
        // The accumulator bounds hold for products of whole rows, and for zeros.
        if coverage == Coverage::Quick {
            expected = [[0; PANEL_ROWS]; MAX_GATES];
        }
        compare_gates(group, &expected, x, layer, row)?;
    }
    Ok(columns * gates * PANEL_ROWS)
}

/// Compares the kernels of gates, if the group has the parameters of one over gate inputs.
#[cfg(feature = "selftest-full")]
fn compare_gates(
    group: &GateGroup,
    products: &[[i32; PANEL_ROWS]; MAX_GATES],
    x: &[I16x4],
    layer: u32,
    row: u32,
) -> Result<(), Mismatch> {
    let params: &[u8] = bytemuck::must_cast_slice(group.params());
    let values: &[[i8; PANEL_ROWS]] = bytemuck::must_cast_slice(x);
    let (Some(previous), Some(cells)) = (x.first(), x.first_chunk::<2>()) else {
        return Ok(());
    };
    let mut states = [[I16x4([0; PANEL_ROWS]); 2], [I16x4([0; PANEL_ROWS]); 2]];
    let [[expected, found], [lstm_expected, lstm_found]] = &mut states;
    #[cfg(feature = "gru")]
    if let (Ok(params), Some(token), [z, r, h, _]) = (
        bytemuck::try_from_bytes::<packed::GruParams>(params),
        values.first_chunk(),
        products,
    ) {
        let products = [*z, *r, *h];
        generic::gru_gates(params, token, &products, previous, expected);
        dispatch::gru_gates(params, token, &products, previous, found);
    }
    #[cfg(feature = "lstm")]
    if let (Ok(params), Some(token)) = (
        bytemuck::try_from_bytes::<packed::LstmParams>(params),
        values.first_chunk(),
    ) {
        let cell: [i32; PANEL_ROWS] = bytemuck::cast(*cells);
        let (mut expected_cell, mut found_cell) = (cell, cell);
        generic::lstm_gates(params, token, products, &mut expected_cell, lstm_expected);
        dispatch::lstm_gates(params, token, products, &mut found_cell, lstm_found);
        for ((expected, found), row) in expected_cell.into_iter().zip(found_cell).zip(row..) {
            check_equal(layer, row, expected as u32, found as u32)?;
        }
    }
    for [I16x4(expected), I16x4(found)] in states {
        for ((expected, found), row) in expected.into_iter().zip(found).zip(row..) {
            check_equal(layer, row, expected as u32, found as u32)?;
        }
    }
    Ok(())
}

/// Compares the kernels of the sampler on pseudo-random logits.
#[cfg(feature = "selftest-full")]
fn compare_sampler(logits: &[i16], layer: u32) -> Result<(), Mismatch> {
    let (fours, _) = logits.as_chunks();
    let max = generic::max_i16(fours);
    // No distance of two i16 leaves the exponents' range of 2^21.
    let term = generic::SoftmaxTerm {
        max,
        inverse_temperature: 40_000,
        shift: 11,
        weight_shift: 1,
    };
    let cutoff = 1 << 16;
    let (_, expected) = generic::cumulative_search(&term, logits, cutoff, u32::MAX);
    let (_, found) = dispatch::cumulative_search(&term, logits, cutoff, u32::MAX);
    let row = logits.len() as u32;
    check_equal(layer, row, max as u32, dispatch::max_i16(fours) as u32)?;
    check_equal(layer, row, expected, found)
}
