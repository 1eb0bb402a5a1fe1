//! tract as the independent judge of what is written: it runs the file itself and knows nothing of our equations.

use super::{ReadError, read};
use crate::network::{Array, Dim, Network, Phase, TensorSpec, Values};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use tract_onnx::prelude::*;

/// An ONNX file run by tract, with a state that it carries from call to call.
pub struct Reference {
    model: Arc<TypedRunnableModel>,
    /// The state of each layer, `[1, 1, H]`.
    states: Vec<TValue>,
    /// V
    tokens: usize,
    /// H of each layer.
    hidden: Vec<usize>,
}

/// Why the reference could not run.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// Our own reader refuses the file.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A token that the model does not have.
    #[error("token {found} is out of range: the model has {tokens} tokens")]
    Token {
        /// The token.
        found: u16,
        /// V.
        tokens: usize,
    },
    /// tract cannot load or run it.
    #[error("tract cannot run the model: {0}")]
    Tract(String),
}

impl From<TractError> for ReferenceError {
    fn from(error: TractError) -> Self {
        // It can print whole models.
        Self::Tract(
            format!("{error:#}")
                .lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect(),
        )
    }
}

/// What [`check`] found wrong.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The reader gives another network than was written.
    #[error("the ONNX file, read back, is not the network that was written")]
    Different,
    /// The file could not be run.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// tract computes other values.
    #[error(
        "at position {position} of output {output:?} tract gives {found}, the float network {expected}"
    )]
    Value {
        /// The output's name.
        output: String,
        /// Index in the output, row-major.
        position: usize,
        /// From tract.
        found: f32,
        /// From the network.
        expected: f32,
    },
}

impl Reference {
    /// Loads the ONNX file in `bytes`; the states are zero.
    ///
    /// # Errors
    /// If [`read`] refuses it, since tract may panic on a malformed file; or if tract cannot load it.
    pub fn new(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let network = read(bytes)?;
        let layers = network.recurrent(Phase::Step);
        let hidden: Vec<usize> = layers.map(|(_, cell)| cell.hidden()).collect();
        let mut model = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .model_for_read(&mut Cursor::new(bytes))?;
        let length = model.symbols.sym("T");
        model.set_input_fact(
            0,
            InferenceFact::dt_shape(i64::datum_type(), tvec![1.to_dim(), length.into()]),
        )?;
        let model = model.into_optimized()?.into_runnable()?;
        let mut reference = Self {
            model,
            states: Vec::new(),
            tokens: network.tokens(),
            hidden,
        };
        reference.reset()?;
        Ok(reference)
    }

    /// Sets every state to zero.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn reset(&mut self) -> Result<(), ReferenceError> {
        let zeros = |&units: &usize| Ok(Tensor::zero::<f32>(&[1, 1, units])?.into_tvalue());
        self.states = self.hidden.iter().map(zeros).collect::<TractResult<_>>()?;
        Ok(())
    }

    /// Feeds `tokens` in one call and gives the logits after each, `[V]`.
    ///
    /// # Errors
    /// If a token is out of range or tract fails.
    pub fn run(&mut self, tokens: &[u16]) -> Result<Vec<Vec<f32>>, ReferenceError> {
        if let Some(&found) = tokens
            .iter()
            .find(|&&token| usize::from(token) >= self.tokens)
        {
            return Err(ReferenceError::Token {
                found,
                tokens: self.tokens,
            });
        }
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = tokens.iter().map(|&token| token.into()).collect();
        let mut inputs = tvec![Tensor::from_shape(&[1, ids.len()], &ids)?.into_tvalue()];
        inputs.extend(self.states.iter().cloned());
        let mut outputs = self.model.run(inputs)?;
        let logits = outputs.remove(0);
        self.states = outputs.into_iter().collect();
        let logits = logits.to_plain_array_view::<f32>()?;
        let flat: Vec<f32> = logits.iter().copied().collect();
        Ok(flat.chunks(self.tokens).map(<[f32]>::to_vec).collect())
    }

    /// Feeds one token and gives the logits after it, `[V]`.
    ///
    /// # Errors
    /// If the token is out of range or tract fails.
    pub fn step(&mut self, token: u16) -> Result<Vec<f32>, ReferenceError> {
        Ok(self.run(&[token])?.remove(0))
    }
}

/// Checks that `bytes` is `network`: read back it is equal, and tract computes the same from random input.
///
/// tract knows the usual activations of cells only. A network with others is compared with what is read back alone.
///
/// # Errors
/// What differs, and where.
pub fn check(network: &Network, bytes: &[u8]) -> Result<(), CheckError> {
    if read(bytes).map_err(ReferenceError::from)? != network.clone().without_batch() {
        return Err(CheckError::Different);
    }
    let mut cells = network.layers().iter().filter_map(|layer| layer.cell());
    if cells.any(|cell| !cell.has_standard_activations()) {
        return Ok(());
    }
    let arrays = random_arrays(network);
    let expected = network
        .run_arrays(&arrays)
        .expect("the arrays are made for the network");
    let found = run_once(network, bytes, &arrays)?;
    for ((output, expected), found) in expected.iter().zip(found) {
        let Values::Float(expected) = &expected.values else {
            unreachable!("outputs are floats");
        };
        if expected.len() != found.len() {
            return Err(CheckError::Different);
        }
        // Small sums of large numbers are as far off as large ones.
        let largest = expected.iter().fold(1.0, |most: f32, y| most.max(y.abs()));
        for (position, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let close = (found - expected).abs() <= TOLERANCE * largest;
            if !close {
                let output = output.clone();
                return Err(CheckError::Value {
                    output,
                    position,
                    found,
                    expected,
                });
            }
        }
    }
    Ok(())
}

/// Of the larger of 1 and the largest value: rounding stays below, a wrong gate far above.
const TOLERANCE: f32 = 1e-5;

/// Steps of the sequences that networks are checked with.
const STEPS: usize = 12;

/// An array for every input.
pub(super) fn random_arrays(network: &Network) -> BTreeMap<String, Array> {
    let size = |dim: &Dim| match *dim {
        Dim::Fixed(size) => size,
        Dim::Batch => 1,
        Dim::Steps => STEPS,
    };
    let array = |(seed, port): (usize, &TensorSpec)| {
        let shape: Vec<usize> = port.shape.iter().map(size).collect();
        (
            port.name.clone(),
            network.random_array(&port.name, &shape, seed as u64),
        )
    };
    network.input_specs().enumerate().map(array).collect()
}

/// What tract makes of the file, for outputs in the network's order.
///
/// Its optimizer does not like every shape. So the model is run as it is written, with open lengths, and only where that fails
/// with the lengths of the arrays.
pub(super) fn run_once(
    network: &Network,
    bytes: &[u8],
    arrays: &BTreeMap<String, Array>,
) -> Result<Vec<Vec<f32>>, ReferenceError> {
    let run = |open: bool| -> TractResult<Vec<Vec<f32>>> {
        let mut model = tract_onnx::onnx()
            .with_ignore_value_info(true)
            .model_for_read(&mut Cursor::new(bytes))?;
        let mut inputs = tvec![];
        let subnets = [(Phase::Source, "S"), (Phase::Step, "T")].into_iter();
        let ports = subnets.flat_map(|(phase, length)| {
            let inputs = network.signature(phase).inputs.iter();
            inputs.map(move |port| (port, length))
        });
        for (index, (port, length)) in ports.enumerate() {
            let Array { shape, values } = &arrays[&port.name];
            let tensor = match values {
                Values::Float(values) => Tensor::from_shape(shape, values)?,
                Values::Int32(values) => Tensor::from_shape(shape, values)?,
                Values::Int64(values) => Tensor::from_shape(shape, values)?,
            };
            let dims = port.shape.iter().zip(shape).map(|(dim, &size)| match dim {
                Dim::Steps if open => model.symbols.sym(length).into(),
                _ => size.to_dim(),
            });
            let fact = InferenceFact::dt_shape(tensor.datum_type(), dims.collect::<TVec<TDim>>());
            model.set_input_fact(index, fact)?;
            inputs.push(tensor.into_tvalue());
        }
        let outputs = model.into_optimized()?.into_runnable()?.run(inputs)?;
        let floats = |output: &TValue| {
            Ok(output
                .to_plain_array_view::<f32>()?
                .iter()
                .copied()
                .collect())
        };
        outputs.iter().map(floats).collect()
    };
    Ok(run(true).or_else(|_| run(false))?)
}
