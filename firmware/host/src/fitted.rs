//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::{cost::Quantities, fit::Footprint};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
    ("Cortex-M0", [3.871, 4.228, 492.522, 202.651, 59.605, 466.770, 25.302, -1165.261, 365.373, -1028.997, -1077.765, -229.691, -68.856, 176.563, 4996.466]),
    ("Cortex-M0+", [3.854, 4.195, 464.782, 196.524, 57.065, 432.383, 24.613, -1072.688, 338.356, -948.395, -995.139, -211.575, -76.514, 166.246, 4649.029]),
    ("Cortex-M4F", [1.211, 1.422, 318.223, 87.948, 41.783, 262.426, -0.217, -610.132, 198.028, -531.304, -805.953, -110.605, 143.963, 76.518, 3074.349]),
];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
    Footprint { board: "microbit", flash: 45332, stack: 2692 },
    Footprint { board: "pico", flash: 53860, stack: 2852 },
    Footprint { board: "stm32f405", flash: 51584, stack: 2640 },
];
