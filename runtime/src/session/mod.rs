//! A model that runs: its states, and the layers phase by phase.

mod convert;
mod error;
mod layers;
mod memory;

pub use error::{InputKind, SessionError};

use crate::feature::Source;
use crate::format::Phase;
use crate::model::{Layer, ModelView, Op, Output, Place, Recurrent, Region, Segment};
use memory::Memory;
use pipsqueak_kernels::packed::{I16x4, elements, elements_mut};

/// What a model reads in one step.
#[derive(Clone, Copy, Debug)]
pub enum StepInput<'x> {
    /// A token.
    Token(u16),
    /// A frame: element i is Q15 of 2^exponent, by the exponent i of the [layer that reads it](Layer::exponents).
    Frame(&'x [i16]),
    /// Nothing: the model repeats what it computed from the conditioning features.
    Repeat,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Reset,
    Source,
    Step,
}

/// The states of a model in the caller's memory.
///
/// After [`reset`](Self::reset), the order of calls is: [`set_conditioning`](Self::set_conditioning) if the model has features,
/// [`push_source`](Self::push_source) for each token or frame of an encoder, then [`push`](Self::push) for each step, with
/// [`logits`](Self::logits) or [`outputs`](Self::outputs) where they are needed.
#[derive(Debug)]
pub struct Session<'m, 'w> {
    model: &'m ModelView<'m>,
    workspace: &'w mut [u32],
    progress: Progress,
}

/// The outputs of a session.
#[derive(Debug)]
pub struct Outputs<'s> {
    outputs: &'s [Output],
    /// The scratch region.
    scratch: &'s [I16x4],
}

impl Outputs<'_> {
    /// The values of output `index`, with [`frac_bits`](crate::Output::frac_bits) fraction bits.
    pub fn get(&self, index: usize) -> Option<&[i16]> {
        let output = self.outputs.get(index)?;
        let values = self.scratch.get(output.place.start()..)?;
        elements(values).get(..output.len())
    }
}

impl<'m, 'w> Session<'m, 'w> {
    /// A session in the first [`ModelView::workspace_len`] words of `workspace`.
    ///
    /// # Errors
    /// If the workspace is too small.
    pub fn new(model: &'m ModelView<'m>, workspace: &'w mut [u32]) -> Result<Self, SessionError> {
        let error = SessionError::Workspace {
            expected: model.workspace_len(),
            found: workspace.len(),
        };
        let workspace = workspace.get_mut(..model.workspace_len()).ok_or(error)?;
        let mut session = Self {
            model,
            workspace,
            progress: Progress::Reset,
        };
        session.reset();
        Ok(session)
    }

    /// The model.
    pub fn model(&self) -> &'m ModelView<'m> {
        self.model
    }

    /// The workspace, to test kernels in. [`reset`](Self::reset) before the next step.
    pub(crate) fn workspace(&mut self) -> &mut [u32] {
        self.workspace
    }

    fn memory(&mut self) -> Option<Memory<'_>> {
        Memory::new(self.workspace, self.model.plan())
    }

    /// Starts again: all states and features are zero. States with other initial values have them from the first step on.
    pub fn reset(&mut self) {
        self.workspace.fill(0);
        self.progress = Progress::Reset;
    }

    /// Sets the conditioning features, element i in Q15 of 2^exponent i of [`ModelView::conditioning`].
    ///
    /// # Errors
    /// If the model has no features or another number of them, or a text has begun.
    pub fn set_conditioning(&mut self, features: &[i16]) -> Result<(), SessionError> {
        self.set_conditioning_by(&mut by_index(features), Some(features.len()))
    }

    /// Sets the conditioning features, each from its index and its exponent.
    pub(crate) fn set_conditioning_by(
        &mut self,
        value: &mut dyn FnMut(usize, i8) -> i16,
        count: Option<usize>,
    ) -> Result<(), SessionError> {
        if self.progress != Progress::Reset {
            return Err(SessionError::AlreadyStarted);
        }
        let layer = self.model.conditioning().ok_or(SessionError::InputKind {
            expected: InputKind::NoFeatures,
        })?;
        check_length(layer, count)?;
        self.set_frame(layer, value)
    }

    /// Sets the vector of a frame layer, each element from its index and its exponent.
    fn set_frame(
        &mut self,
        layer: &Layer,
        value: &mut dyn FnMut(usize, i8) -> i16,
    ) -> Result<(), SessionError> {
        let exponents = layer.exponents().ok_or(SessionError::Internal)?;
        let mut memory = self.memory().ok_or(SessionError::Internal)?;
        let elements = memory.vector(layer.result, layer.quads());
        let elements = elements_mut(elements.ok_or(SessionError::Internal)?);
        for (element, index) in elements.iter_mut().zip(0..) {
            // The padding is zero, whatever was in the workspace before.
            *element = exponents
                .get(index)
                .map_or(0, |exponent| value(index, *exponent));
        }
        Ok(())
    }

    /// Runs one step of the encoder.
    ///
    /// # Errors
    /// If the model has no encoder, it reads something else, or its first step has run.
    pub fn push_source(&mut self, input: StepInput) -> Result<(), SessionError> {
        if self.progress == Progress::Step {
            return Err(SessionError::AlreadyStarted);
        }
        self.push_to(Phase::Source, input)
    }

    /// Runs one step; the recurrent layers run [`ModelView::steps_per_token`] times.
    ///
    /// # Errors
    /// If the model reads something else.
    pub fn push(&mut self, input: StepInput) -> Result<(), SessionError> {
        self.push_to(Phase::Step, input)
    }

    pub(crate) fn push_to(&mut self, phase: Phase, input: StepInput) -> Result<(), SessionError> {
        match input {
            StepInput::Token(token) => self.push_token_to(phase, token),
            StepInput::Frame(frame) => {
                self.push_frame_by(phase, &mut by_index(frame), Some(frame.len()))
            }
            StepInput::Repeat => {
                self.reader(phase, InputKind::Nothing)?;
                self.run_steps(phase, 0)
            }
        }
    }

    fn push_token_to(&mut self, phase: Phase, token: u16) -> Result<(), SessionError> {
        let vocab_size = self
            .reader(phase, InputKind::Tokens)?
            .and_then(Layer::vocab_size);
        match vocab_size.ok_or(SessionError::Internal)? {
            size if usize::from(token) < size => self.run_steps(phase, token),
            expected => Err(SessionError::Token {
                expected,
                found: token,
            }),
        }
    }

    /// Runs one step on a frame, each of whose elements comes from its index and its exponent.
    pub(crate) fn push_frame_by(
        &mut self,
        phase: Phase,
        value: &mut dyn FnMut(usize, i8) -> i16,
        count: Option<usize>,
    ) -> Result<(), SessionError> {
        let layer = self
            .reader(phase, InputKind::Frames)?
            .ok_or(SessionError::Internal)?;
        check_length(layer, count)?;
        // The begin layers use memory that the frame may be in.
        self.begin(phase).ok_or(SessionError::Internal)?;
        self.set_frame(layer, value)?;
        self.run_steps(phase, 0)
    }

    /// The layer that reads the caller's input in `phase`, which must be `given`.
    fn reader(
        &self,
        phase: Phase,
        given: InputKind,
    ) -> Result<Option<&'m Layer<'m>>, SessionError> {
        let model = self.model;
        let reader = model.input_of(phase);
        let expected = match reader {
            None if phase == Phase::Source && !model.has_source() => InputKind::NoSource,
            None => InputKind::Nothing,
            Some(layer) if layer.exponents().is_some() => InputKind::Frames,
            Some(_) => InputKind::Tokens,
        };
        match expected == given {
            true => Ok(reader),
            false => Err(SessionError::InputKind { expected }),
        }
    }

    /// [`push`](Self::push) of a token.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_token(&mut self, token: u16) -> Result<(), SessionError> {
        self.push_token_to(Phase::Step, token)
    }

    /// Computes the initial states of the step from the features and the encoder's states. The first [`push`](Self::push) does
    /// it by itself; only who wants to see or change these states calls it.
    ///
    /// # Errors
    /// [`SessionError::Internal`].
    pub fn begin_steps(&mut self) -> Result<(), SessionError> {
        self.begin(Phase::Step).ok_or(SessionError::Internal)
    }

    /// Does what comes before the first step of `phase`.
    fn begin(&mut self, phase: Phase) -> Option<()> {
        if Source::AVAILABLE.is_none() {
            return Some(());
        }
        let has_source = self.model.has_source();
        if self.progress == Progress::Reset {
            self.progress = Progress::Source;
            // Without a source, all begin layers are one segment, which runs before the step.
            let next = if has_source {
                Segment::Source
            } else {
                Segment::Step
            };
            self.run_begin(Segment::BeginSource, next)?;
        }
        if phase == Phase::Step && self.progress == Progress::Source {
            self.progress = Progress::Step;
            if has_source {
                self.run_begin(Segment::BeginStep, Segment::Step)?;
            }
        }
        Some(())
    }

    /// Runs the layers of `begin`, and sets the initial states of the recurrent layers of `next`.
    fn run_begin(&mut self, begin: Segment, next: Segment) -> Option<()> {
        let model = self.model;
        let mut memory = self.memory()?;
        for index in model.segments().range(begin) {
            layers::run(model, &mut memory, index, 0, &mut &[][..])?;
        }
        for index in model.segments().range(next) {
            layers::initialize(model, &mut memory, index)?;
        }
        Some(())
    }

    /// Runs the layers of the source or of the step.
    fn run_steps(&mut self, phase: Phase, token: u16) -> Result<(), SessionError> {
        let run = |session: &mut Self| {
            session.begin(phase)?;
            let model = session.model;
            let (parts, steps) = model.segments().parts(phase);
            let mut memory = session.memory()?;
            let mut gate_row: &[i8] = &[];
            for (part, times) in parts.into_iter().zip([1, steps, 1]) {
                for _ in 0..times {
                    for index in part.clone() {
                        layers::run(model, &mut memory, index, token, &mut gate_row)?;
                    }
                }
            }
            Some(())
        };
        run(self).ok_or(SessionError::Internal)
    }

    /// Computes the outputs from the last step.
    ///
    /// # Errors
    /// [`SessionError::Internal`].
    pub fn outputs(&mut self) -> Result<Outputs<'_>, SessionError> {
        let outputs = self.model.outputs();
        self.run_outputs().ok_or(SessionError::Internal)?;
        let memory = self.memory().ok_or(SessionError::Internal)?;
        let start = Place::new(Region::Scratch, 0);
        Ok(Outputs {
            outputs,
            scratch: memory.into_vectors(start).ok_or(SessionError::Internal)?,
        })
    }

    fn run_outputs(&mut self) -> Option<()> {
        let model = self.model;
        let mut memory = self.memory()?;
        for index in model.segments().range(Segment::Step) {
            layers::finish(model, &mut memory, index)?;
        }
        for index in model.segments().range(Segment::Output) {
            layers::run(model, &mut memory, index, 0, &mut &[][..])?;
        }
        for output in model.outputs().iter().filter(|output| output.copied) {
            layers::copy(model, &mut memory, output.config.vector, output.place)?;
        }
        Some(())
    }

    /// Computes the outputs from the last step and returns the first one: logits, scores or values, `[len]` with
    /// [`frac_bits`](crate::Output::frac_bits) fraction bits. The caller may reorder them; they are valid until the next step.
    ///
    /// # Errors
    /// [`SessionError::Internal`].
    pub fn logits(&mut self) -> Result<&mut [i16], SessionError> {
        let model = self.model;
        let logits = self.run_outputs().and_then(|()| {
            let output = model.output()?;
            self.memory()?.into_elements(output.place, output.len())
        });
        logits.ok_or(SessionError::Internal)
    }

    /// The hidden state of recurrent layer `layer`, `[hidden_size]`: Q15, or what [`Layer::frac_bits`] says.
    ///
    /// # Errors
    /// If the layer has no hidden state.
    pub fn hidden(&mut self, layer: usize) -> Result<&mut [i16], SessionError> {
        let (layer, _) = self.recurrent(layer)?;
        let memory = self.memory().ok_or(SessionError::Internal)?;
        let hidden = memory.into_elements(layer.result, layer.len());
        hidden.ok_or(SessionError::Internal)
    }

    /// The cell state of LSTM layer `layer`, `[hidden_size]` in Q8.23.
    ///
    /// # Errors
    /// If the layer has no cell state.
    pub fn cell_state(&mut self, layer: usize) -> Result<&mut [i32], SessionError> {
        let (layer, recurrent) = self.recurrent(layer)?;
        if recurrent.layer.config().cell_state_len() == 0 {
            return Err(SessionError::NoSuchVector);
        }
        let memory = self.memory().ok_or(SessionError::Internal)?;
        let cell = memory.into_wide(recurrent.cell, layer.len());
        cell.ok_or(SessionError::Internal)
    }

    fn recurrent(&self, layer: usize) -> Result<(&'m Layer<'m>, &'m Recurrent<'m>), SessionError> {
        match self.model.layer(layer) {
            Some(
                layer @ Layer {
                    op: Op::Recurrent(recurrent),
                    ..
                },
            ) => Ok((layer, recurrent)),
            _ => Err(SessionError::NoSuchVector),
        }
    }
}

/// Checks that a frame of `count` elements, if that is known, fits `layer`.
fn check_length(layer: &Layer, count: Option<usize>) -> Result<(), SessionError> {
    match count {
        Some(found) if found != layer.len() => Err(SessionError::FrameLength {
            expected: layer.len(),
            found,
        }),
        _ => Ok(()),
    }
}

/// The elements of `values`.
fn by_index(values: &[i16]) -> impl FnMut(usize, i8) -> i16 {
    |index, _| values.get(index).copied().unwrap_or(0)
}
