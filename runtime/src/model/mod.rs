//! A parsed model: a list of layers in execution order, and what surrounds it.

mod bounds;
mod layer;
mod parse;
mod plan;

pub use layer::Layer;

pub(crate) use layer::{Op, Place, Recurrent, Region};
pub(crate) use plan::Plan;

use crate::feature::{Graph, Source};
use crate::format::{
    HEADER_LEN, LayerConfig, MAX_LAYERS, MAX_OUTPUTS, Metadata, ModelError, Normalization,
    OutputConfig, Phase, Role, TrainingInfo, VarintReader, metadata_bytes,
};
#[cfg(feature = "text")]
use crate::vocabulary::Vocabulary;
use core::ops::{Deref, Range};

/// What a model does with a line of text.
#[cfg(feature = "text")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// It continues the text.
    LanguageModel,
    /// It reads the text with an encoder and generates another text.
    SequenceToSequence,
    /// It reads the text and scores classes.
    Classifier,
    /// The text is a list of features, `name=value, name`; it generates a text for them.
    ConditionalGenerator,
    /// Nothing: its inputs or outputs are numbers, or the texts of its tokens are not known.
    Tensors,
}

/// An output of a model.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    pub(crate) config: OutputConfig,
    /// Where the values are when they have been computed, in the scratch region.
    pub(crate) place: Place,
    /// Whether they are copied there from the place of the vector.
    pub(crate) copied: bool,
    /// Number of values.
    pub(crate) size: u16,
    /// Fraction bits of a value.
    pub(crate) frac_bits: u8,
}

impl Output {
    /// Number of values: classes or tokens.
    #[allow(
        clippy::len_without_is_empty,
        reason = "an output has at least one value"
    )]
    pub fn len(&self) -> usize {
        self.size.into()
    }

    /// Fraction bits of a value, 0 to 15.
    pub fn frac_bits(&self) -> u32 {
        self.frac_bits.into()
    }

    /// What the values mean.
    pub fn role(&self) -> Role {
        self.config.role
    }

    /// Whether there are values after each step, or only after the last one.
    pub fn every_step(&self) -> bool {
        self.config.every_step
    }

    /// What the original network applied to the values.
    pub fn normalization(&self) -> Normalization {
        self.config.normalization
    }
}

/// A model that has been checked. It borrows the bytes and copies none of them.
///
/// `L` is the list of layers. [`Model::parse`] reserves room for [`MAX_LAYERS`]; [`Model::parse_with_capacity`] for as many as
/// its caller says, which saves RAM. Either kind dereferences to a [`ModelView`], which everything else takes.
#[derive(Clone, Debug)]
pub struct Model<'a, L: ?Sized = [Option<Layer<'a>>; MAX_LAYERS]> {
    info: ModelInfo<'a>,
    layers: L,
}

/// A [`Model`] whose capacity is not known at compile time.
pub type ModelView<'a> = Model<'a, [Option<Layer<'a>>]>;

/// The outputs that a model has room for.
const OUTPUT_CAPACITY: usize = if Graph::AVAILABLE.is_some() {
    MAX_OUTPUTS
} else {
    1
};

/// The vocabularies that a model has room for.
#[cfg(feature = "text")]
const VOCABULARY_CAPACITY: usize = if Source::AVAILABLE.is_some() { 2 } else { 1 };

/// All of a model but its layers.
#[derive(Clone, Debug, Default)]
struct ModelInfo<'a> {
    bytes: &'a [u8],
    /// That of the outputs, then that of the inputs.
    #[cfg(feature = "text")]
    vocabularies: [Vocabulary<'a>; VOCABULARY_CAPACITY],
    outputs: heapless::Vec<Output, OUTPUT_CAPACITY>,
    max_tokens: u16,
    fixed_steps: u16,
    segments: Segments,
    plan: Plan,
}

/// The layers by the time at which they run: the list is begin layers, source layers, begin layers, step layers and output
/// layers, each kind possibly absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Segments {
    /// Where each segment ends in the list of layers.
    ends: [u8; 5],
    /// The layers from the first to the last recurrent one of the source and of the step.
    recurrent: [[u8; 2]; 2],
    /// How often these run per token.
    steps_per_token: [u8; 2],
}

/// A segment of the list of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    BeginSource,
    Source,
    BeginStep,
    Step,
    Output,
}

impl Segment {
    pub const ALL: [Self; 5] = [
        Self::BeginSource,
        Self::Source,
        Self::BeginStep,
        Self::Step,
        Self::Output,
    ];

    pub fn phase(self) -> Phase {
        match self {
            Self::BeginSource | Self::BeginStep => Phase::Begin,
            Self::Source => Phase::Source,
            Self::Step => Phase::Step,
            Self::Output => Phase::Output,
        }
    }
}

impl Segments {
    /// The layers of `segment`.
    pub fn range(&self, segment: Segment) -> Range<usize> {
        let [a, b, c, d, e] = self.ends.map(usize::from);
        match segment {
            Segment::Output => d..e,
            Segment::Step => c..d,
            _ if Source::AVAILABLE.is_none() => 0..0,
            Segment::BeginSource => 0..a,
            Segment::Source => a..b,
            Segment::BeginStep => b..c,
        }
    }

    /// The layers of the source or of the step before, from and after the recurrent ones, and how often the middle part runs per
    /// token.
    pub fn parts(&self, phase: Phase) -> ([Range<usize>; 3], u8) {
        let (segment, [recurrent, _], [steps, _]) = match phase {
            Phase::Source => (Segment::Source, self.recurrent, self.steps_per_token),
            _ => {
                let ([a, b], [c, d]) = (self.recurrent, self.steps_per_token);
                (Segment::Step, [b, a], [d, c])
            }
        };
        let range = self.range(segment);
        if Graph::AVAILABLE.is_none() {
            return ([range, 0..0, 0..0], 1);
        }
        let [first, end] = recurrent.map(usize::from);
        ([range.start..first, first..end, end..range.end], steps)
    }
}

impl<'a> Model<'a> {
    /// Checks `bytes` and reads them in place. `bytes` begin at a multiple of 4 and may continue after the model, as a board's
    /// flash does.
    ///
    /// Whatever this accepts runs without a panic, an overflow or a read out of bounds: nothing is trusted because the checksum
    /// covers it.
    ///
    /// # Errors
    /// The first [`ModelError`] found. Never panics, for any bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ModelError> {
        Self::parse_with_capacity(bytes)
    }
}

impl<'a, const N: usize> Model<'a, [Option<Layer<'a>>; N]> {
    /// Like [`parse`](Model::parse) for models of at most `N` layers, in less RAM.
    ///
    /// # Errors
    /// As [`parse`](Model::parse), or if the model has more layers.
    pub fn parse_with_capacity(bytes: &'a [u8]) -> Result<Self, ModelError> {
        let mut model = Self {
            info: ModelInfo::default(),
            layers: [const { None }; N],
        };
        parse::parse(bytes, &mut model.info, &mut model.layers)?;
        Ok(model)
    }
}

impl<'a, const N: usize> Deref for Model<'a, [Option<Layer<'a>>; N]> {
    type Target = ModelView<'a>;

    fn deref(&self) -> &ModelView<'a> {
        self
    }
}

impl<'a> ModelView<'a> {
    /// Number of bytes of the model.
    #[allow(clippy::len_without_is_empty, reason = "a model is never empty")]
    pub fn len(&self) -> usize {
        self.info.bytes.len()
    }

    /// 32-bit words of memory that a [`Session`](crate::Session) or [`Generator`](crate::Generator) needs.
    pub fn workspace_len(&self) -> usize {
        self.info.plan.words()
    }

    /// The layers in execution order.
    pub fn layers(&self) -> impl Iterator<Item = &Layer<'a>> {
        self.layers.iter().flatten()
    }

    /// Layer `index` in execution order.
    pub fn layer(&self, index: usize) -> Option<&Layer<'a>> {
        self.layers.get(index)?.as_ref()
    }

    /// The outputs, at least one.
    pub fn outputs(&self) -> &[Output] {
        &self.info.outputs
    }

    /// The first output.
    pub fn output(&self) -> Option<&Output> {
        self.info.outputs.first()
    }

    /// The texts of the first output's values: tokens or classes. Empty if they are not known.
    #[cfg(feature = "text")]
    pub fn vocabulary(&self) -> Vocabulary<'a> {
        *self.output_vocabulary()
    }

    #[cfg(feature = "text")]
    pub(crate) fn output_vocabulary(&self) -> &Vocabulary<'a> {
        let [vocabulary, ..] = &self.info.vocabularies;
        vocabulary
    }

    /// The texts of the inputs, where they are something else than the outputs: tokens of an encoder or of a classifier, or names
    /// of conditioning features. Else empty.
    #[cfg(feature = "text")]
    pub fn source_vocabulary(&self) -> Vocabulary<'a> {
        self.info
            .vocabularies
            .get(1)
            .copied()
            .unwrap_or(Vocabulary::EMPTY)
    }

    /// Maximum number of tokens of a generated text; 0: no limit.
    pub fn max_tokens(&self) -> u16 {
        self.info.max_tokens
    }

    /// Number of steps of a model whose step reads neither a token nor a frame; 0 for other models.
    pub fn fixed_steps(&self) -> u16 {
        self.info.fixed_steps
    }

    /// How many steps the recurrent layers run per token.
    pub fn steps_per_token(&self) -> u8 {
        self.info.segments.steps_per_token[1]
    }

    /// Whether it has an encoder.
    pub fn has_source(&self) -> bool {
        !self.segments().range(Segment::Source).is_empty()
    }

    /// The frame that conditions the model: its features, if it has any.
    pub fn conditioning(&self) -> Option<&Layer<'a>> {
        self.input_of(Phase::Begin)
    }

    /// The layer that reads the caller's token or frame: an encoder's, or that of the step.
    pub fn input_of(&self, phase: Phase) -> Option<&Layer<'a>> {
        self.layers()
            .find(|layer| layer.phase() == phase && layer.reads_caller())
    }

    /// What it does with a line of text.
    #[cfg(feature = "text")]
    pub fn task(&self) -> Task {
        let [source, target] = [self.source_vocabulary(), self.vocabulary()];
        let Some(output) = self.output() else {
            return Task::Tensors;
        };
        let reads_tokens = self
            .input_of(Phase::Step)
            .is_some_and(|layer| layer.vocab_size().is_some());
        match (
            self.is_autoregressive() && !target.is_empty(),
            !source.is_empty(),
        ) {
            (true, true) if self.conditioning().is_some() => Task::ConditionalGenerator,
            (true, true) => Task::SequenceToSequence,
            (true, false) if self.conditioning().is_none() && !self.has_source() => {
                Task::LanguageModel
            }
            (false, true)
                if !output.every_step() && reads_tokens && self.conditioning().is_none() =>
            {
                Task::Classifier
            }
            _ => Task::Tensors,
        }
    }

    /// Whether the first output is the logits of the next token.
    pub fn is_autoregressive(&self) -> bool {
        self.output()
            .is_some_and(|output| output.role() == Role::Logits)
    }

    /// What [`selftest::output_digest`](crate::selftest::output_digest) returned when the model was exported.
    pub fn digest(&self) -> u32 {
        let header = self.info.bytes.first_chunk::<HEADER_LEN>();
        header.map_or(0, |&[.., a, b, c, d]| u32::from_le_bytes([a, b, c, d]))
    }

    /// How the network was trained; `None` if that cannot be decoded.
    pub fn training_info(&self) -> Option<TrainingInfo<'a>> {
        let mut reader = VarintReader::new(metadata_bytes(self.info.bytes)?);
        let metadata = Metadata::read(&mut reader)?;
        for _ in 0..metadata.layers {
            LayerConfig::read(&mut reader)?;
        }
        postcard::from_bytes(reader.rest()).ok()
    }

    /// The bytes in which the host keeps the names of the original network's inputs and outputs.
    pub fn io_names(&self) -> Option<&'a [u8]> {
        let metadata = Metadata::read(&mut VarintReader::new(metadata_bytes(self.info.bytes)?))?;
        let length = metadata.io_names_len as usize;
        let start = self
            .info
            .bytes
            .len()
            .checked_sub(length.checked_next_multiple_of(4)?)?;
        self.info.bytes.get(start..)?.get(..length)
    }

    pub(crate) fn segments(&self) -> &Segments {
        &self.info.segments
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.info.plan
    }
}
