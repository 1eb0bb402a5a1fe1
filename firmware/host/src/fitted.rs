//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.882, 497.505, 27.321, -1265.648, 386.242, -1175.645, -1208.633, -256.824, 473.822, 177.434, 4316.399]),
    ("Cortex-M0+", [3.867, 465.645, 26.960, -1183.146, 360.974, -1105.465, -1137.780, -241.773, 463.110, 167.109, 4034.137]),
    ("Cortex-M4F", [1.220, 247.954, 1.507, -576.666, 188.424, -503.525, -759.120, -107.611, 298.318, 74.614, 2845.979]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 41220, stack: 2380 },
    Footprint { board: "pico", flash: 49624, stack: 2588 },
    Footprint { board: "stm32f405", flash: 46816, stack: 2436 },
];
