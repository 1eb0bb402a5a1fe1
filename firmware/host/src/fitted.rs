//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.863, 4.249, 422.512, 199.038, 58.680, 517.748, 24.182, -1307.951, 399.541, -1211.540, -1257.742, -258.894, -30.438, 181.573, 4758.721]),
    ("Cortex-M0+", [3.846, 4.215, 396.788, 193.039, 56.163, 482.047, 23.519, -1211.763, 371.665, -1126.073, -1170.281, -240.090, -38.072, 171.129, 4416.038]),
    ("Cortex-M4F", [1.210, 1.424, 313.218, 87.576, 41.723, 265.621, -0.300, -618.879, 200.138, -542.654, -817.700, -112.225, 145.356, 76.835, 3059.608]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 45408, stack: 2692 },
    Footprint { board: "pico", flash: 53928, stack: 2852 },
    Footprint { board: "stm32f405", flash: 51616, stack: 2640 },
];
