//! Fits what a character costs to counts on emulated cores.

use std::{fmt::Write as _, path::Path};

use pipsqueak::Model;
use pipsqueak::encode::{ModelParams, as_bytes, encode};

use crate::{
    BOARDS, BoardSpec, Firmware, Session, SessionError,
    cost::Shape,
    measure::Runs,
    measurement::{MeasureError, Measurement},
    quantities::{Footprint, QUANTITIES, Quantities},
};

#[path = "../../bench/shape.rs"]
mod shape;

/// Cores of boards, and on which their instructions are counted.
static CORES: [(&str, &str); 3] = [
    ("Cortex-M0", "cortex-m0plus"),
    ("Cortex-M0+", "cortex-m0plus"),
    ("Cortex-M4F", "cortex-m4"),
];

/// What a character of some shape takes on a core, as counted.
#[derive(Clone, Debug)]
pub struct Character {
    /// The core, as the catalogue of boards calls it.
    pub core: &'static str,
    /// The shape's function in `firmware/bench`.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// Whether the costs are fitted to it; else it is there to try them.
    pub fitted: bool,
    /// Cycles, a mean over some characters.
    pub cycles: u64,
}

/// What the program of `firmware/bench` and the boards' firmware take.
#[derive(Clone, Debug)]
pub struct Measurements {
    /// What the runtime takes on every core, as [`measure`](crate::measure()) returns it.
    pub measurements: Vec<Measurement>,
    /// Every shape on every core that a board has.
    pub characters: Vec<Character>,
    /// Every board.
    pub footprints: Vec<Footprint>,
}

impl Measurements {
    /// Counts what `make bench-programs` and `make firmware` have built in a checkout of the repository.
    ///
    /// # Errors
    /// Something is not built or not installed.
    pub fn take(repository: &Path) -> Result<Self, MeasureError> {
        let runs = Runs::new(repository)?;
        let mut characters = Vec::new();
        let mut footprints = Vec::new();
        for counted in ["cortex-m0plus", "cortex-m4"] {
            let cores = CORES.iter().filter(|(_, by)| *by == counted);
            for &(core, _) in cores {
                // To refill its pipeline after a jump takes a Cortex-M0 a cycle more than a Cortex-M0+.
                let refill = u64::from(core == "Cortex-M0");
                for (name, calls) in &runs.on(counted).calls {
                    if let Some((fitted, shape)) = parse(name) {
                        characters.push(Character {
                            core,
                            name: name.clone(),
                            shape,
                            fitted,
                            cycles: calls.mean(calls.cycles + refill * calls.jumps),
                        });
                    }
                }
                for board in BOARDS.iter().filter(|board| board.core == core) {
                    let firmware = Firmware::read(&board.firmware(repository))?;
                    footprints.push(Footprint {
                        board: board.name,
                        flash: firmware.segments.iter().map(|s| s.bytes.len()).sum(),
                        stack: peak_stack(board, repository)?,
                    });
                }
            }
        }
        Ok(Self {
            measurements: runs.measurements(repository)?,
            characters,
            footprints,
        })
    }

    /// The source text of `fitted.rs` by these measurements.
    #[must_use]
    pub fn fit(&self) -> String {
        let mut source = String::from(FITTED_HEAD);
        for (core, _) in CORES {
            let fitted = self
                .characters
                .iter()
                .filter(|c| c.core == core && c.fitted);
            let costs = least_squares(fitted.map(|c| (c.shape.quantities(), c.cycles as f64)));
            let costs = costs.map(|cost| format!("{cost:.3}")).join(", ");
            let _ = writeln!(source, "    (\"{core}\", [{costs}]),");
        }
        source += FITTED_MIDDLE;
        for Footprint {
            board,
            flash,
            stack,
        } in &self.footprints
        {
            let _ = writeln!(
                source,
                "    Footprint {{ board: \"{board}\", flash: {flash}, stack: {stack} }},"
            );
        }
        source += "];\n";
        source
    }
}

const FITTED_HEAD: &str = "\
//! What the predictions were fitted to. Written by
//! `cargo run --release --package pipsqueak-boards --bin measure -- --fit`.

use crate::quantities::{Footprint, Quantities};

/// Cycles that each of the quantities costs, by core.
#[rustfmt::skip]
pub(crate) static CYCLES: &[(&str, Quantities)] = &[
";
const FITTED_MIDDLE: &str = "];

/// What each board's firmware takes.
#[rustfmt::skip]
pub(crate) static FOOTPRINTS: &[Footprint] = &[
";

/// The deepest stack of a board that has written, told and tested itself.
fn peak_stack(board: &'static BoardSpec, repository: &Path) -> Result<usize, SessionError> {
    let model = repository.join("models/shakespeare/model.pip");
    let (mut session, _) = Session::start(board, &board.firmware(repository), Some(&model))?;
    session.command("length 20")?;
    session.generate("ROMEO:", 20, |_| ())?;
    for command in ["top-k 5", "info", "selftest", "help"] {
        session.command(command)?;
    }
    session.peak_stack()
}

/// Whether the costs are fitted to the shape of this name, and the shape.
fn parse(name: &str) -> Option<(bool, Shape)> {
    let params = ModelParams::random(1, &shape::parse(name)?);
    let words = encode(&params).ok()?;
    let model = Model::parse(as_bytes(&words)).ok()?;
    Some((name.starts_with("fitted"), Shape::of(&model)))
}

/// The costs whose sums come nearest to the cycles, by the squares of the differences in proportion to the cycles.
fn least_squares(rows: impl Iterator<Item = (Quantities, f64)>) -> Quantities {
    const N: usize = QUANTITIES.len();
    // The normal equations, the right side in the last column.
    let mut matrix = [[0.0; N + 1]; N];
    for (quantities, cycles) in rows {
        let row = quantities.map(|quantity| quantity / cycles);
        for (equation, a) in matrix.iter_mut().zip(row) {
            for (sum, b) in equation.iter_mut().zip(row.into_iter().chain([1.0])) {
                *sum += a * b;
            }
        }
    }
    // Gauss and Jordan. The matrix is symmetric and positive definite: no pivoting is needed.
    for pivot in 0..N {
        let divisor = matrix[pivot][pivot];
        matrix[pivot] = matrix[pivot].map(|value| value / divisor);
        for row in (0..N).filter(|&row| row != pivot) {
            let (factor, subtracted) = (matrix[row][pivot], matrix[pivot]);
            for (value, subtracted) in matrix[row].iter_mut().zip(subtracted) {
                *value -= factor * subtracted;
            }
        }
    }
    matrix.map(|row| row[N])
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipsqueak::{Activation, Cell, DenseConfig, RecurrentConfig, WeightFormat};

    #[test]
    fn a_name_says_the_shape() {
        let (fitted, shape) = parse("unseen_v65four_e16_s2_after164mixed_lstm64").unwrap();
        let after = RecurrentConfig {
            cell: Cell::GruResetAfter,
            input_size: 16,
            hidden_size: 164,
            state_shift: 0,
            formats: [WeightFormat::Int8Scaled, WeightFormat::Int4],
        };
        let lstm = RecurrentConfig {
            cell: Cell::Lstm,
            input_size: 164,
            hidden_size: 64,
            state_shift: 0,
            formats: [WeightFormat::Int8; 2],
        };
        let output = DenseConfig {
            input_size: 64,
            output_size: 68,
            format: WeightFormat::Int4,
            activation: Activation::Linear,
        };
        assert!(!fitted);
        assert_eq!(
            shape,
            Shape {
                layers: vec![after, lstm],
                dense: vec![output],
                logits: 65,
                steps_per_token: 2,
            }
        );
        for other in [
            "gru_step_128",
            "fitted_v64",
            "fitted_v64_e0_gru32",
            "fitted_v64_e0_after32five",
        ] {
            assert!(parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn least_squares_finds_the_costs_that_cycles_were_made_of() {
        let costs = [
            1.2, 1.5, 420.0, 190.0, 56.0, 40.0, 12.0, 300.0, 45.0, -20.0, 350.0, 70.0, 900.0,
            150.0, 2000.0,
        ];
        let shapes = [
            "v64_e0_after32",
            "v65_e0_after200",
            "v9_e0_after64_after16",
            "v70_e32_after128",
            "v128_e16_before64",
            "v30_e0_before128",
            "v99_e0_after20_after30_after40",
            "v40_e8_after16",
            "v40_e0_before16_before64",
            "v50_e0_lstm32",
            "v50_e12_lstm64_lstm20",
            "v50_e0_rnn32",
            "v50_e12_rnn64_rnn20",
            "v64_e16_after128four",
            "v70four_e0_after100four",
            "v48four_e16_s2_after64mixed",
            "v50_e20_lstm40four",
            "v44_e24_lstm36mixed_rnn52four",
        ];
        let rows = shapes.map(|name| {
            let (_, shape) = parse(&format!("fitted_{name}")).unwrap();
            let quantities = shape.quantities();
            let cycles = quantities.iter().zip(costs).map(|(q, c)| q * c).sum();
            (quantities, cycles)
        });
        for (found, expected) in least_squares(rows.into_iter()).into_iter().zip(costs) {
            assert!(
                (found - expected).abs() < 1e-3 * expected.abs(),
                "{found}, expected {expected}"
            );
        }
    }
}
