//! tract as the independent judge of what is written: it runs the file itself and knows nothing of our equations.

use super::{ReadError, read};
use crate::network::{Layer, Network};
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
        Self::Tract(format!("{error:#}"))
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
    /// tract computes other logits.
    #[error(
        "at step {step} tract gives {found} for the logit of token {token}, the float network {expected}"
    )]
    Logit {
        /// Steps done before.
        step: usize,
        /// Token of the logit.
        token: usize,
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
        let hidden: Vec<usize> = network.layers.iter().map(Layer::hidden).collect();
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

/// Checks that `bytes` is `network`: read back it is equal, and tract computes the same logits over a few steps.
///
/// # Errors
/// What differs, and where.
pub fn check(network: &Network, bytes: &[u8]) -> Result<(), CheckError> {
    const STEPS: usize = 16;
    if read(bytes).map_err(ReferenceError::from)? != *network {
        return Err(CheckError::Different);
    }
    let mut reference = Reference::new(bytes)?;
    // Steps of a prime number visit tokens from all over the vocabulary.
    let tokens: Vec<u16> = (0..STEPS)
        .map(|i| (i * 7919 % network.tokens()) as u16)
        .collect();
    let found = reference.run(&tokens)?;
    let mut state = network.state();
    for (step, (&token, found)) in tokens.iter().zip(found).enumerate() {
        network.step(&mut state, token);
        agree(step, &found, &network.logits(&state))?;
    }
    Ok(())
}

/// That two vectors of logits agree to 1e-4 of the largest: rounding stays far below, a wrong gate far above.
fn agree(step: usize, found: &[f32], expected: &[f32]) -> Result<(), CheckError> {
    let largest = expected
        .iter()
        .fold(1f32, |largest, logit| largest.max(logit.abs()));
    for (token, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let close = (found - expected).abs() <= 1e-4 * largest;
        if !close {
            return Err(CheckError::Logit {
                step,
                token,
                found,
                expected,
            });
        }
    }
    Ok(())
}
