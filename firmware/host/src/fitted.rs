//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.919, 189.159, 20.052, 90.083, 178.368, 5315.349, 354.822, -375.073]),
    ("Cortex-M0+", [3.904, 177.554, 19.330, 82.879, 169.482, 4995.308, 329.705, -356.634]),
    ("Cortex-M4F", [1.196, 136.857, 14.215, -3.253, 154.485, 3621.851, 263.353, -856.001]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 25968, stack: 1784 },
    Footprint { board: "pico", flash: 33064, stack: 1888 },
    Footprint { board: "stm32f405", flash: 29544, stack: 1704 },
];
