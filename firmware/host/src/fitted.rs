//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.882, 494.298, 27.114, -1258.154, 378.005, 0.0, 0.0, 764.350, 177.207, 2296.415]),
    ("Cortex-M0+", [3.867, 462.403, 26.810, -1175.248, 352.533, 0.0, 0.0, 727.014, 166.889, 2138.545]),
    ("Cortex-M4F", [1.216, 243.067, 2.113, -562.317, 186.719, 0.0, 0.0, 344.367, 74.817, 1366.240]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 24224, stack: 1588 },
    Footprint { board: "pico", flash: 32616, stack: 1860 },
    Footprint { board: "stm32f405", flash: 28856, stack: 1604 },
];
