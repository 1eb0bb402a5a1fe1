//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::quantities::{Footprint, Quantities};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.879, 4.318, 299.033, 193.421, 56.921, 471.902, 31.812, -1204.476, 382.299, -1056.948, -1118.056, -253.990, 1023.833, 171.768, 3588.452]),
    ("Cortex-M0+", [3.863, 4.281, 279.134, 186.617, 55.412, 439.155, 30.947, -1116.450, 355.990, -978.550, -1038.245, -236.978, 960.375, 162.550, 3356.110]),
    ("Cortex-M4F", [1.209, 1.458, 245.993, 85.019, 40.424, 265.153, 2.130, -626.868, 209.661, -540.173, -834.475, -121.439, 464.575, 71.171, 2602.595]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 53348, stack: 4804 },
    Footprint { board: "pico", flash: 63720, stack: 4819 },
    Footprint { board: "stm32f405", flash: 60660, stack: 4708 },
];
