//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.880, 443.721, 26.957, -1104.380, 346.048, 657.210, 174.809, 2449.819]),
    ("Cortex-M0+", [3.864, 413.306, 26.657, -1025.990, 321.569, 622.893, 164.474, 2293.656]),
    ("Cortex-M4F", [1.215, 239.738, 2.066, -551.867, 184.485, 373.609, 75.442, 1398.905]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 24408, stack: 1684 },
    Footprint { board: "pico", flash: 31520, stack: 1812 },
    Footprint { board: "stm32f405", flash: 27932, stack: 1548 },
];
