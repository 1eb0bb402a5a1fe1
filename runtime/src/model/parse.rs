//! From bytes to checked layers.

use super::layer::{Layer, Op, Place, Recurrent};
use super::plan::{self, Uses};
use super::{ModelInfo, Output, Segment, Segments, bounds};
use crate::feature::{Graph, Source};
use crate::format::{
    ConstantKind, Feature, Field, HEADER_LEN, Inconsistency, LayerConfig, MAX_VECTOR, Metadata,
    ModelError, OpConfig, OutputConfig, Phase, RecurrentLayerConfig, Role, SectionReader,
    TokenRowsConfig, VarintReader, VectorId, VocabularyConfig, split_header,
};
#[cfg(feature = "text")]
use crate::vocabulary::Vocabulary;
use pipsqueak_kernels::cell::{Cell, MAX_STATE_SHIFT, RecurrentConfig};
use pipsqueak_kernels::dense::{Activation, DenseConfig};
use pipsqueak_kernels::packed::{WeightFormat, round_up};

/// The layers read so far.
type Slots<'a> = [Option<Layer<'a>>];

/// Checks `bytes` and fills `info` and `layers`, which are empty.
#[inline(never)]
pub(super) fn parse<'a>(
    bytes: &'a [u8],
    info: &mut ModelInfo<'a>,
    layers: &mut Slots<'a>,
) -> Result<(), ModelError> {
    let (bytes, metadata_bytes) = split_header(bytes)?;
    let mut numbers = VarintReader::new(metadata_bytes);
    let Some(metadata) = Metadata::read(&mut numbers) else {
        return Err(numbers.error());
    };
    let mut sections = SectionReader::new(bytes);
    if sections
        .section::<u8>(HEADER_LEN + metadata_bytes.len())
        .is_none()
    {
        return Err(sections.error());
    }
    let [source, target] = &metadata.vocabularies;
    #[cfg(feature = "text")]
    {
        read_vocabulary(&mut sections, source, info.vocabularies.get_mut(1))?;
        read_vocabulary(&mut sections, target, info.vocabularies.first_mut())?;
    }
    #[cfg(not(feature = "text"))]
    for vocabulary in [source, target] {
        skip_vocabulary(&mut sections, vocabulary).ok_or_else(|| sections.error())?;
    }
    let (count, capacity) = (metadata.layers, layers.len());
    let Some(layers) = layers.get_mut(..count.into()) else {
        return Err(ModelError::OutOfRange {
            what: Field::NumLayers,
            expected: capacity as u32,
            found: count.into(),
        });
    };
    info.bytes = bytes;
    (info.max_tokens, info.fixed_steps) = (metadata.max_tokens, metadata.fixed_steps);
    info.segments.steps_per_token = metadata.steps_per_token;
    let (segments, mut uses) = (&mut info.segments, Uses::default());
    for index in 0..count {
        let Some(config) = LayerConfig::read(&mut numbers) else {
            return Err(numbers.error());
        };
        let mut reader = Reader {
            before: layers.get(..index.into()).unwrap_or(&[]),
            segment: segments.next(config.phase),
            config: &config,
            sections: &mut sections,
            uses: &mut uses,
        };
        match reader.read() {
            Ok(layer) => {
                segments.push(index, &layer);
                if let Some(slot) = layers.get_mut(usize::from(index)) {
                    *slot = Some(layer);
                }
            }
            Err(Refusal::Section) => return Err(sections.error()),
            Err(refusal) => return Err(refusal.of(index)),
        }
    }
    if sections
        .section::<u8>(metadata.io_names_len as usize)
        .is_none()
        || !sections.is_finished()
    {
        return Err(sections.error());
    }
    check_model(&metadata, layers, info, &mut uses).map_err(|refusal| refusal.of(count))?;
    let plan = plan::place(layers, &info.segments, &uses, &mut info.outputs);
    info.plan = plan.ok_or(ModelError::OutOfRange {
        what: Field::Workspace,
        expected: 8 * u32::from(Place::MAX_START),
        found: u32::MAX,
    })?;
    check_bounds(layers)
}

/// Passes over the section of a vocabulary.
#[cfg(not(feature = "text"))]
fn skip_vocabulary(sections: &mut SectionReader, config: &VocabularyConfig) -> Option<()> {
    if let Some(lens) = config.section_lens() {
        sections.section::<u32>(lens.offsets)?;
        sections.section::<u16>(lens.sorted)?;
        sections.section::<u8>(lens.texts)?;
    }
    Some(())
}

/// Reads a vocabulary into `slot`; there is none in a build without the feature `source` for that of the inputs.
#[cfg(feature = "text")]
fn read_vocabulary<'a>(
    sections: &mut SectionReader<'a>,
    config: &VocabularyConfig,
    slot: Option<&mut Vocabulary<'a>>,
) -> Result<(), ModelError> {
    let Some(slot) = slot else {
        let is_absent = config.tokens == 0;
        return ensure(is_absent, Feature::Source).map_err(|refusal| refusal.of(0));
    };
    *slot = Vocabulary::read(sections, config).ok_or_else(|| sections.error())?;
    slot.validate(config.text_len)
        .map_err(|token| ModelError::Vocabulary {
            token: token.into(),
        })
}

/// Why a layer or the model as a whole is refused.
enum Refusal {
    /// The model is too short for a section.
    Section,
    Unsupported(Feature),
    Inconsistent(Inconsistency),
}

impl From<Inconsistency> for Refusal {
    fn from(what: Inconsistency) -> Self {
        Self::Inconsistent(what)
    }
}

impl From<Feature> for Refusal {
    fn from(feature: Feature) -> Self {
        Self::Unsupported(feature)
    }
}

impl Refusal {
    /// The error at `layer`.
    fn of(self, layer: u8) -> ModelError {
        match self {
            Self::Section => ModelError::Metadata,
            Self::Unsupported(feature) => ModelError::Unsupported { layer, feature },
            Self::Inconsistent(what) => ModelError::Inconsistent { layer, what },
        }
    }
}

/// The error `error` unless `condition`.
fn ensure<E>(condition: bool, error: E) -> Result<(), Refusal>
where
    Refusal: From<E>,
{
    if condition { Ok(()) } else { Err(error.into()) }
}

impl Segments {
    /// The segment of the next layer, of which the phase is given.
    fn next(&self, phase: Phase) -> Segment {
        let [begin_source, .., last] = self.ends;
        match phase {
            Phase::Begin if begin_source == last => Segment::BeginSource,
            Phase::Begin => Segment::BeginStep,
            Phase::Source => Segment::Source,
            Phase::Step => Segment::Step,
            Phase::Output => Segment::Output,
        }
    }

    /// Adds layer `index`.
    fn push(&mut self, index: u8, layer: &Layer) {
        for end in self.ends.iter_mut().skip(layer.segment as usize) {
            *end = index + 1;
        }
        if Graph::AVAILABLE.is_none() {
            return;
        }
        let [source, step] = &mut self.recurrent;
        let recurrent = match layer.segment {
            Segment::Source => source,
            Segment::Step => step,
            _ => return,
        };
        let is_recurrent = matches!(layer.op, Op::Recurrent(_));
        let [first, end] = recurrent;
        if first == end {
            // None before: an empty range after this layer, or only this layer.
            *first = index + u8::from(!is_recurrent);
            *end = index + 1;
        } else if is_recurrent {
            *end = index + 1;
        }
    }
}

/// The layer that gives the vector `id`.
fn layer_of<'l, 'a>(layers: &'l Slots<'a>, id: VectorId) -> Result<&'l Layer<'a>, Inconsistency> {
    let layer = layers.get(id.layer()).and_then(Option::as_ref);
    let layer = layer.ok_or(Inconsistency::InputOrder)?;
    let matches = match &layer.op {
        Op::ConstantCell { .. } => id.is_cell_state(),
        Op::Recurrent(recurrent) if recurrent.layer.config().cell == Cell::Lstm => true,
        _ => !id.is_cell_state(),
    };
    if matches {
        Ok(layer)
    } else {
        Err(Inconsistency::NoCellState)
    }
}

/// Fraction bits of the vector `id`, which `layer` gives; `None` without a format of its own.
fn frac_bits(layer: &Layer, id: VectorId) -> Option<u8> {
    match id.is_cell_state() {
        true => None,
        false => layer.frac_bits().map(|bits| bits as u8),
    }
}

/// Reads one layer.
struct Reader<'r, 'a> {
    config: &'r LayerConfig,
    segment: Segment,
    /// The layers before it.
    before: &'r Slots<'a>,
    sections: &'r mut SectionReader<'a>,
    uses: &'r mut Uses,
}

impl<'a> Reader<'_, 'a> {
    #[inline(never)]
    fn read(&mut self) -> Result<Layer<'a>, Refusal> {
        self.check_phase()?;
        let input_size = self.check_inputs()?;
        let (op, size) = match self.config.op {
            OpConfig::Token {
                vocab_size,
                dim,
                rows,
            } => self.token(vocab_size, dim, rows)?,
            OpConfig::Frame { size } => {
                if self.segment.phase() == Phase::Begin {
                    // The caller sets it before the layers run.
                    self.uses.keep(self.before.len());
                }
                let exponents = self.section(size.into())?;
                (Op::Frame { exponents }, size)
            }
            OpConfig::Constant { size, kind } => (self.constant(size, kind)?, size),
            OpConfig::Dense {
                output_size,
                activation,
                frac_bits,
                format,
            } => {
                let is_bounded = matches!(activation, Activation::Tanh | Activation::Sigmoid);
                ensure(
                    !is_bounded || frac_bits == 15,
                    Inconsistency::ActivationFormat,
                )?;
                ensure(format.is_supported(), Feature::Int4)?;
                let dense = DenseConfig {
                    input_size,
                    output_size: round_up(output_size.into()),
                    format,
                    activation,
                };
                let layer = dense.layer(self.section(dense.weights_len())?);
                let layer = layer.ok_or(Inconsistency::WeightsLen)?;
                (Op::Dense { layer, frac_bits }, output_size)
            }
            OpConfig::Recurrent(config) => {
                (self.recurrent(&config, input_size)?, config.hidden_size)
            }
            OpConfig::Sum { frac_bits } => self.sum(frac_bits)?,
            OpConfig::Mean => self.mean()?,
        };
        Ok(Layer {
            segment: self.segment,
            inputs: self.config.inputs,
            size,
            gather: false,
            operand: Place::default(),
            result: Place::default(),
            op,
        })
    }

    fn section<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<&'a [T], Refusal> {
        self.sections.section(count).ok_or(Refusal::Section)
    }

    /// Checks that the layer can run when it does.
    fn check_phase(&self) -> Result<(), Refusal> {
        let segment = self.segment;
        let last = self.before.last().and_then(Option::as_ref);
        let in_order = last.is_none_or(|last| last.segment <= segment);
        ensure(in_order, Inconsistency::PhaseOrder)?;
        if segment < Segment::Step {
            Source::AVAILABLE.ok_or(Feature::Source)?;
        }
        let is_allowed = match self.config.op {
            OpConfig::Token { .. } | OpConfig::Recurrent(_) => {
                matches!(segment, Segment::Source | Segment::Step)
            }
            OpConfig::Mean => segment == Segment::Step,
            OpConfig::Frame { .. } => segment != Segment::Output,
            OpConfig::Constant { .. } => segment.phase() == Phase::Begin,
            OpConfig::Dense { .. } | OpConfig::Sum { .. } => true,
        };
        ensure(is_allowed, Inconsistency::WrongPhase)?;
        if let OpConfig::Token { .. } | OpConfig::Frame { .. } = self.config.op {
            let mut same_phase = self
                .before
                .iter()
                .flatten()
                .filter(|other| other.reads_caller() && other.phase() == segment.phase());
            ensure(same_phase.next().is_none(), Inconsistency::SecondReader)?;
        }
        Ok(())
    }

    /// Checks the vectors that the layer reads, and returns the number of elements of all, each padded.
    #[inline(never)]
    fn check_inputs(&mut self) -> Result<usize, Refusal> {
        let inputs = &self.config.inputs;
        match self.config.op {
            OpConfig::Token { .. } | OpConfig::Frame { .. } | OpConfig::Constant { .. } => {
                ensure(inputs.is_empty(), Inconsistency::UnusedInputs)?;
            }
            _ => ensure(!inputs.is_empty(), Inconsistency::NoInputs)?,
        }
        let mut size = 0;
        for id in inputs.iter() {
            let input = layer_of(self.before, id)?;
            let previous = VectorId::result(self.before.len().saturating_sub(1));
            let is_chain = inputs.single() == Some(previous);
            ensure(is_chain || Graph::AVAILABLE.is_some(), Feature::Graph)?;
            let recurrent = match &self.config.op {
                OpConfig::Recurrent(config) => Some(config),
                _ => None,
            };
            match input.op {
                Op::GateRows { dim, .. } => {
                    let config = recurrent.ok_or(Inconsistency::GateRowsReader)?;
                    ensure(inputs.single().is_some(), Inconsistency::JoinedGateRows)?;
                    let gates = config.cell.num_gates() * round_up(config.hidden_size.into());
                    let fits = dim as usize == gates && input.segment == self.segment;
                    ensure(fits, Inconsistency::GateRowsShape)?;
                }
                Op::Mean { .. } => {
                    ensure(self.segment == Segment::Output, Inconsistency::MeanReader)?;
                }
                _ => {}
            }
            size += 4 * input.quads();
            if !id.is_cell_state() {
                let is_alone = recurrent.is_some() && inputs.single().is_some();
                self.uses.read(id.layer(), is_alone);
                if input.segment != self.segment {
                    self.uses.keep(id.layer());
                }
            }
        }
        ensure(size <= MAX_VECTOR.into(), Inconsistency::InputsTooLong)?;
        Ok(size)
    }

    fn token(
        &mut self,
        vocab_size: u16,
        dim: u32,
        rows: TokenRowsConfig,
    ) -> Result<(Op<'a>, u16), Refusal> {
        let vocab = usize::from(vocab_size);
        // The range of embedding dimensions is that of u16.
        let size = dim as u16;
        Ok(match rows {
            TokenRowsConfig::Gates => {
                let rows = self.section(vocab.saturating_mul(dim as usize))?;
                (Op::GateRows { rows, dim }, 0)
            }
            TokenRowsConfig::Embedding => {
                let rows = self.section(vocab.saturating_mul(round_up(size.into())))?;
                (Op::Embedding { rows }, size)
            }
            TokenRowsConfig::Tied { layer, min_shift } => {
                let op = Op::TiedEmbedding {
                    vocab_size,
                    table: layer,
                    min_shift,
                    _feature: Graph::AVAILABLE.ok_or(Feature::Graph)?,
                };
                (op, size)
            }
        })
    }

    fn constant(&mut self, size: u16, kind: ConstantKind) -> Result<Op<'a>, Refusal> {
        let _feature = Source::AVAILABLE.ok_or(Feature::Source)?;
        let quads = round_up(size.into()) / 4;
        Ok(match kind {
            ConstantKind::Vector { frac_bits } => Op::Constant {
                values: self.section(quads)?,
                frac_bits,
                _feature,
            },
            ConstantKind::CellState => Op::ConstantCell {
                values: self.section(quads)?,
                _feature,
            },
        })
    }

    fn recurrent(
        &mut self,
        config: &RecurrentLayerConfig,
        input_size: usize,
    ) -> Result<Op<'a>, Refusal> {
        let feature = match config.cell {
            Cell::GruResetAfter | Cell::GruResetBefore => Feature::Gru,
            Cell::Lstm => Feature::Lstm,
            Cell::Rnn => Feature::Rnn,
        };
        ensure(config.cell.is_supported(), feature)?;
        let supported = config.formats.iter().all(|format| format.is_supported());
        ensure(supported, Feature::Int4)?;
        let state_shift = u32::from(config.state_shift);
        ensure(state_shift <= MAX_STATE_SHIFT, Feature::Source)?;
        let [hidden, cell] = config.init;
        ensure(
            cell.is_none() || config.cell == Cell::Lstm,
            Inconsistency::InitialCellState,
        )?;
        for id in [hidden, cell].into_iter().flatten() {
            self.check_init(id, config.hidden_size)?;
        }
        let recurrent = RecurrentConfig {
            cell: config.cell,
            input_size,
            hidden_size: round_up(config.hidden_size.into()),
            state_shift,
            formats: config.formats,
        };
        let layer = recurrent.layer(self.section(recurrent.weights_len())?);
        Ok(Op::Recurrent(Recurrent {
            layer: layer.ok_or(Inconsistency::WeightsLen)?,
            init: config.init,
            cell: 0,
            scratch: 0,
        }))
    }

    /// Checks a vector that a state begins as.
    fn check_init(&mut self, id: VectorId, hidden_size: u16) -> Result<(), Refusal> {
        Source::AVAILABLE.ok_or(Feature::Source)?;
        let layer = layer_of(self.before, id)?;
        let has_format = id.is_cell_state() || layer.frac_bits().is_some();
        let fits = layer.size == hidden_size && has_format;
        ensure(fits, Inconsistency::InitialStateSize)?;
        ensure(
            layer.segment != self.segment,
            Inconsistency::InitialStatePhase,
        )?;
        // States are set right after the begin layers before them have run.
        let has_source = self
            .before
            .iter()
            .flatten()
            .any(|layer| layer.segment == Segment::Source);
        let begin = match self.segment {
            Segment::Step if has_source => Segment::BeginStep,
            _ => Segment::BeginSource,
        };
        if !id.is_cell_state() && layer.segment != begin {
            self.uses.keep(id.layer());
        }
        Ok(())
    }

    fn sum(&mut self, frac_bits: u8) -> Result<(Op<'a>, u16), Refusal> {
        let _feature = Graph::AVAILABLE.ok_or(Feature::Graph)?;
        let mut size = None;
        for id in self.config.inputs.iter() {
            let input = layer_of(self.before, id)?;
            let fits = *size.get_or_insert(input.size) == input.size;
            let has_format = self::frac_bits(input, id).is_some();
            ensure(fits && has_format, Inconsistency::SumInputs)?;
        }
        let size = size.ok_or(Inconsistency::NoInputs)?;
        Ok((
            Op::Sum {
                frac_bits,
                _feature,
            },
            size,
        ))
    }

    fn mean(&mut self) -> Result<(Op<'a>, u16), Refusal> {
        let _feature = Graph::AVAILABLE.ok_or(Feature::Graph)?;
        let id = self
            .config
            .inputs
            .single()
            .ok_or(Inconsistency::MeanInputs)?;
        let input = layer_of(self.before, id)?;
        let op = Op::Mean {
            frac_bits: frac_bits(input, id).ok_or(Inconsistency::MeanInputs)?,
            sums: 0,
            _feature,
        };
        Ok((op, input.size))
    }
}

/// Checks what concerns several layers, and reads the outputs.
#[inline(never)]
fn check_model(
    metadata: &Metadata,
    layers: &Slots,
    info: &mut ModelInfo,
    uses: &mut Uses,
) -> Result<(), Refusal> {
    let has_step = !info.segments.range(Segment::Step).is_empty();
    ensure(has_step, Inconsistency::NoStep)?;
    if Graph::AVAILABLE.is_none() {
        let is_chain = metadata.steps_per_token == [1; 2] && metadata.outputs.len() == 1;
        ensure(is_chain, Feature::Graph)?;
    }
    for layer in layers.iter().flatten() {
        if let Op::TiedEmbedding {
            vocab_size, table, ..
        } = layer.op
        {
            let table = layers.get(usize::from(table)).and_then(Option::as_ref);
            let fits = table.is_some_and(|output| match &output.op {
                Op::Dense { layer: dense, .. } => {
                    let config = dense.config();
                    output.size == vocab_size
                        && config.format == WeightFormat::Int8
                        && config.input_size == round_up(layer.len())
                }
                _ => false,
            });
            ensure(fits, Inconsistency::TiedTable)?;
        }
    }
    for config in &metadata.outputs {
        let output = read_output(config, layers, uses)?;
        ensure(info.outputs.push(output).is_ok(), Feature::Graph)?;
    }
    #[cfg(feature = "text")]
    check_vocabularies(info, layers)?;
    Ok(())
}

/// Reads an output.
fn read_output(config: &OutputConfig, layers: &Slots, uses: &mut Uses) -> Result<Output, Refusal> {
    let layer = layer_of(layers, config.vector)?;
    let frac_bits = frac_bits(layer, config.vector).ok_or(Inconsistency::OutputFormat)?;
    if layer.segment != Segment::Output {
        uses.keep(config.vector.layer());
    }
    if config.role == Role::Logits {
        let tokens = reader_size(layers, Phase::Step, |layer| layer.vocab_size());
        let fits = tokens == Some(layer.len()) && config.every_step;
        ensure(fits, Inconsistency::LogitsSize)?;
    }
    Ok(Output {
        config: *config,
        place: Place::default(),
        copied: false,
        size: layer.size,
        frac_bits,
    })
}

/// The size of what a layer of `phase` reads from the caller.
fn reader_size(layers: &Slots, phase: Phase, size: fn(&Layer) -> Option<usize>) -> Option<usize> {
    let mut layers = layers.iter().flatten();
    size(layers.find(|layer| layer.phase() == phase && layer.reads_caller())?)
}

/// Checks that vocabularies have the sizes of what they name.
#[cfg(feature = "text")]
fn check_vocabularies(info: &ModelInfo, layers: &Slots) -> Result<(), Refusal> {
    if let [_, source] = &info.vocabularies[..]
        && !source.is_empty()
    {
        let size = |layer: &Layer| match layer.op {
            Op::Frame { .. } => Some(layer.len()),
            _ => layer.vocab_size(),
        };
        let first = [Phase::Begin, Phase::Source, Phase::Step]
            .into_iter()
            .find_map(|phase| reader_size(layers, phase, size));
        ensure(
            first == Some(source.len()),
            Inconsistency::SourceVocabularySize,
        )?;
    }
    let [target, ..] = &info.vocabularies;
    let outputs = info.outputs.first().map(Output::len);
    let fits = target.is_empty() || outputs == Some(target.len());
    ensure(fits, Inconsistency::VocabularySize)
}

/// Checks the accumulator bounds of all layers.
fn check_bounds(layers: &Slots) -> Result<(), ModelError> {
    for (layer, index) in layers.iter().flatten().zip(0..) {
        let (mut first, mut result) = (0, Ok(()));
        layer.for_each_gate_group(&mut |group| {
            result = bounds::check(&group).map_err(|row| ModelError::AccumulatorOverflow {
                layer: index,
                row: first + row,
            });
            first += 4 * group.num_gates() as u32;
            result.is_ok()
        });
        result?;
    }
    Ok(())
}
