//! Whether a core computes what was exported: its kernel against the portable one, and its outputs against a digest.
//!
//! ```
//! # use pipsqueak::{encode, Cell, Layer};
//! use pipsqueak::selftest::{Extent, digest, kernel};
//! use pipsqueak::{Image, State};
//!
//! # let parts = encode::Parts::random(1, 20, 0, &[Layer::new(Cell::GruResetAfter, 16)]);
//! # let words = encode::encode(&parts).unwrap();
//! # let bytes: &[u8] = encode::bytes(&words);
//! let image = Image::parse(bytes)?;
//! let mut workspace = [0; 64];
//! let mut state = State::new(&image, &mut workspace).unwrap();
//! assert_eq!(kernel(&mut state, Extent::All), Ok(3 * 16 * 16 + 20 * 16));
//! assert_eq!(digest(&mut state), image.digest());
//! # Ok::<(), pipsqueak::ImageError>(())
//! ```

use crate::image::{Input, PanelWords, crc};
use crate::say::{Part, Say, display};
use crate::state::quads;
use crate::state::{Feed, State};
use pipsqueak_kernels::gemv::Rhs;
use pipsqueak_kernels::packed::PANEL_ROWS as ROWS;
#[cfg(feature = "thorough")]
use pipsqueak_kernels::{
    dispatch::{self, HAS_LSTM_GATES},
    generic::{self, SoftmaxTerm},
    packed::{GruParams, I16x4, LstmParams},
};

/// Steps of the sequence that [`digest`] runs over.
pub const STEPS: u32 = 32;
/// Token i of that sequence is `i * STRIDE` modulo the size of the vocabulary. A prime: as long as the vocabulary is no
/// multiple of it, a token comes back only after all others.
pub const STRIDE: u32 = 7919;

/// The digest of all outputs over a fixed sequence of [`STEPS`] tokens from the zero state. It begins at 0; each step
/// rotates it left by one bit and adds, bit by bit modulo 2, the CRC-32 (ISO-HDLC) of all logits in the order of the
/// tokens, as little-endian i16.
///
/// An encoder first reads its own such sequence, and its outputs take part too; vectors that go in are pseudo-random numbers
/// of the whole range of i16.
///
/// It is [`Image::digest`](crate::Image::digest) wherever the image is the exported one and the core computes as the
/// exporting one did. Of a token table or an embedding only the rows of these tokens take part, and a change that rounding
/// hides is not seen. Leaves the state at zero.
pub fn digest(state: &mut State) -> u32 {
    state.reset();
    let image = state.image();
    let mut vector = [0; VECTOR];
    // A linear congruential generator, as in `kernel`.
    let mut random = 0u32;
    let mut fill = |vector: &mut [i16]| {
        vector.fill_with(|| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as i16
        });
    };
    fill(&mut vector);
    state.features(&vector);
    let mut digest = 0u32;
    for index in 0..image.networks() {
        if index == image.main() {
            state.hand_over();
        }
        let tokens = image
            .network(index)
            .map_or(1, |n| u32::from(n.count))
            .max(1);
        for i in 0..STEPS {
            match image.network(index).map(|network| network.input) {
                Some(Input::Vectors) => {
                    fill(&mut vector);
                    state.feed(index, Feed::Vector(&vector));
                }
                Some(Input::Features { .. }) => state.feed(index, Feed::Again),
                _ => state.feed(index, Feed::Token((i * STRIDE % tokens) as u16)),
            }
            let outputs = crc(bytemuck::cast_slice(state.outputs_of(index)));
            digest = digest.rotate_left(1) ^ outputs;
        }
    }
    state.reset();
    digest
}

/// Elements that [`digest`] fills of a vector that goes in; the rest is zero.
const VECTOR: usize = 64;

/// How much [`kernel`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The first 64 columns of the first panel of each layer and of the head: a matter of milliseconds.
    Start,
    /// All weights.
    All,
}

/// The first row whose product differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The layer, from 0; the number of layers for the head, and one more for a draw.
    pub layer: u32,
    /// The row in it, counted through its matrices in the order of the image's sections.
    pub row: u32,
    /// The portable kernel's product, modulo 2^32.
    pub expected: u32,
    /// The product of the core's kernel.
    pub found: u32,
}

impl Say for Mismatch {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        out(Part::Text("row "));
        out(Part::Number(self.row));
        out(Part::Text(" of layer "));
        out(Part::Number(self.layer));
        out(Part::Text(": expected "));
        out(Part::Hex(self.expected, 8));
        out(Part::Text(", found "));
        out(Part::Hex(self.found, 8));
    }
}

impl core::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for Mismatch {}

/// The most gates of a panel.
const MOST_GATES: usize = 4;

/// Columns that [`Extent::Start`] compares.
const COLUMNS: usize = 64;

/// Compares the kernel of this core, [`crate::kernel`], with the portable one: the weights of each layer and of the head,
/// panel by panel as a step takes them, times the same pseudo-random activations of the whole range of i16. Gives back how
/// many weights it compared. With the feature `thorough` it also compares what the core has of its own for gates and draws.
/// Leaves the state at zero.
///
/// # Errors
/// The first row that differs.
pub fn kernel(state: &mut State, extent: Extent) -> Result<usize, Mismatch> {
    let image = state.image();
    let memory = state.memory();
    // A linear congruential generator (Numerical Recipes, "quick and dirty"), of which the high half is random enough.
    let mut random = 0u32;
    memory.fill_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) as i16
    });
    let (mut compared, mut last) = (0, 0);
    let mut different = None;
    image.panels(&mut |panel| {
        last = panel.layer;
        if extent == Extent::All || panel.row == 0 {
            match compare(panel, memory, extent) {
                Ok(weights) => compared += weights,
                Err(mismatch) => different = Some(mismatch),
            }
        }
        different.is_none()
    });
    #[cfg(feature = "thorough")]
    if different.is_none() && extent == Extent::All {
        different = compare_draw(memory, u32::from(last) + 1).err();
    }
    state.reset();
    different.map_or(Ok(compared), Err)
}

/// Compares what a draw asks of the core, over pseudo-random logits. The row of a mismatch is how many there were.
#[cfg(feature = "thorough")]
fn compare_draw(logits: &[i16], layer: u32) -> Result<(), Mismatch> {
    let (fours, _) = logits.as_chunks();
    let max = generic::max_i16(fours);
    // No distance of two i16 leaves the exponents' range of 2^21.
    let weight = SoftmaxTerm {
        max,
        inverse_temperature: 40_000,
        shift: 11,
        weight_shift: 1,
    };
    let end = 1 << 16;
    let (_, expected) = generic::cumulative_search(&weight, logits, end, u32::MAX);
    let (_, found) = dispatch::cumulative_search(&weight, logits, end, u32::MAX);
    let row = logits.len() as u32;
    for (expected, found) in [
        (max as u32, dispatch::max_i16(fours) as u32),
        (expected, found),
    ] {
        differs(layer, row, expected, found)?;
    }
    Ok(())
}

/// An error if the two differ.
fn differs(layer: u32, row: u32, expected: u32, found: u32) -> Result<(), Mismatch> {
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

/// Compares the products of one panel.
fn compare(panel: &PanelWords, x: &[i16], extent: Extent) -> Result<usize, Mismatch> {
    let gates = panel.group.num_gates().clamp(1, MOST_GATES);
    let columns = match extent {
        // Any words are blocks of fewer columns.
        Extent::Start => panel.group.format().truncate(COLUMNS),
        Extent::All => panel.group.format(),
    };
    let weights = panel.group.weights().get(..columns.panel_len() * gates);
    let weights = weights.unwrap_or_default();
    let factor = Rhs::new(
        quads(x.get(..columns.num_columns()).unwrap_or_default()),
        columns,
    );
    let (mut expected, mut found) = ([[0; ROWS]; MOST_GATES], [[0; ROWS]; MOST_GATES]);
    factor.gemv_generic(weights, expected.get_mut(..gates).unwrap_or_default());
    factor.gemv(weights, found.get_mut(..gates).unwrap_or_default());
    let lanes = expected.as_flattened().iter().zip(found.as_flattened());
    for ((&expected, &found), row) in lanes.zip(panel.row..) {
        differs(panel.layer.into(), row, expected as u32, found as u32)?;
    }
    // The range certificate holds for products of whole rows, and of nothing.
    #[cfg(feature = "thorough")]
    if columns.num_columns() < panel.group.format().num_columns() {
        expected = [[0; ROWS]; MOST_GATES];
    }
    #[cfg(feature = "thorough")]
    if let (Ok(records), [products @ .., _]) = (panel.group.params().try_into(), &expected) {
        compare_gates(panel, records, products, x)?;
    }
    #[cfg(feature = "thorough")]
    if let (true, Ok(records)) = (HAS_LSTM_GATES, panel.group.params().try_into()) {
        compare_lstm(panel, records, &expected, x)?;
    }
    Ok(columns.num_columns() * gates * ROWS)
}

/// Compares the gates of a panel that has an LSTM's over a token table.
#[cfg(feature = "thorough")]
fn compare_lstm(
    panel: &PanelWords,
    params: &[u32; LstmParams::LEN],
    products: &[[i32; ROWS]; 4],
    x: &[i16],
) -> Result<(), Mismatch> {
    let Some(token) = bytemuck::cast_slice(x).as_chunks().0.first_chunk() else {
        return Ok(());
    };
    let Ok(&cell) = bytemuck::try_from_bytes::<[i32; ROWS]>(
        bytemuck::cast_slice(x).get(..4 * ROWS).unwrap_or_default(),
    ) else {
        return Ok(());
    };
    let ([mut expected_cell, mut found_cell], [mut expected, mut found]) =
        ([cell; 2], [I16x4::default(); 2]);
    let params: &LstmParams = bytemuck::must_cast_ref(params);
    generic::lstm_gates(params, token, products, &mut expected_cell, &mut expected);
    dispatch::lstm_gates(params, token, products, &mut found_cell, &mut found);
    let (expected, found) = (expected.0, found.0);
    for lane in 0..ROWS {
        let row = panel.row + lane as u32;
        let layer = panel.layer.into();
        differs(
            layer,
            row,
            expected_cell[lane] as u32,
            found_cell[lane] as u32,
        )?;
        differs(layer, row, expected[lane] as u32, found[lane] as u32)?;
    }
    Ok(())
}

/// Compares the gates of a panel that has a GRU's.
#[cfg(feature = "thorough")]
fn compare_gates(
    panel: &PanelWords,
    params: &[u32; GruParams::LEN],
    products: &[[i32; ROWS]; 3],
    x: &[i16],
) -> Result<(), Mismatch> {
    let (Some(h), Some(token)) = (
        quads(x).first(),
        bytemuck::cast_slice(x).as_chunks().0.first_chunk(),
    ) else {
        return Ok(());
    };
    let (mut expected, mut found) = (I16x4::default(), I16x4::default());
    let params: &GruParams = bytemuck::must_cast_ref(params);
    generic::gru_gates(params, token, products, h, &mut expected);
    dispatch::gru_gates(params, token, products, h, &mut found);
    for ((expected, found), row) in expected.0.into_iter().zip(found.0).zip(panel.row..) {
        differs(panel.layer.into(), row, expected as u32, found as u32)?;
    }
    Ok(())
}
