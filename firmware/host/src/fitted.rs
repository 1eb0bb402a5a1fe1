//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.882, 526.484, 27.968, -1354.278, 407.773, -1279.644, -1313.817, -278.033, 542.071, 180.794, 4489.100]),
    ("Cortex-M0+", [3.866, 491.744, 27.439, -1262.740, 380.423, -1198.865, -1231.920, -260.990, 525.868, 170.272, 4194.811]),
    ("Cortex-M4F", [1.220, 269.918, 0.999, -640.502, 201.278, -579.697, -842.374, -122.133, 404.062, 76.268, 2982.078]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 45392, stack: 2692 },
    Footprint { board: "pico", flash: 53912, stack: 2852 },
    Footprint { board: "stm32f405", flash: 51608, stack: 2640 },
];
