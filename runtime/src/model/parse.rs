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
) -> Result<ModelInfo<'a>, ModelError> {
    let (bytes, metadata_bytes) = split_header(bytes)?;
    let mut numbers = VarintReader(metadata_bytes);
    let metadata = Metadata::read(&mut numbers).ok_or(ModelError::Metadata)?;
    metadata.check()?;
    let mut sections = SectionReader::new(
        bytes,
        (HEADER_LEN + metadata_bytes.len()).next_multiple_of(4),
    )?;
    let [source, target] = &metadata.vocabularies;
    let vocabularies = [
        Vocabulary::read(&mut sections, source)?,
        Vocabulary::read(&mut sections, target)?,
    ];
    let count = metadata.layers;
    for index in 0..count {
        let config = LayerConfig::read(&mut numbers).ok_or(ModelError::Metadata)?;
        let (before, rest) = layers
            .split_at_mut_checked(index.into())
            .ok_or(ModelError::Metadata)?;
        let slot = rest.first_mut().ok_or(ModelError::OutOfRange {
            what: "number of layers",
            expected: index.into(),
            found: count.into(),
        })?;
        *slot = Some(read_layer(&config, index, before, &mut sections)?);
    }
    sections.section::<u8>(metadata.io_names_len as usize)?;
    sections.finish()?;

    let segments = segments(layers, count, metadata.steps_per_token)?;
    for index in 0..count {
        check_layer(layers, index, &segments)?;
    }
    let mut info = ModelInfo {
        bytes,
        vocabularies,
        outputs: heapless::Vec::new(),
        max_tokens: metadata.max_tokens,
        fixed_steps: metadata.fixed_steps,
        segments,
        plan: plan::Plan::default(),
    };
    for config in metadata.outputs {
        let output = read_output(&config, layers, count)?;
        info.outputs
            .push(output)
            .map_err(|_| ModelError::Metadata)?;
    }
    check_vocabularies(&info, layers)?;
    info.plan = plan::place(layers, &segments, &mut info.outputs)?;
    check_bounds(layers)?;
    Ok(info)
}

fn inconsistent<T>(layer: u8, what: &'static str) -> Result<T, ModelError> {
    Err(ModelError::Inconsistent { layer, what })
}

/// A vector that an earlier layer gives.
#[derive(Clone, Copy)]
struct Vector {
    size: usize,
    frac_bits: Option<u32>,
    cell_state: bool,
}

/// The vector `id`.
fn vector(layers: &Slots, id: VectorId, reader: u8) -> Result<Vector, ModelError> {
    let layer = layers.get(id.layer()).and_then(Option::as_ref);
    let Some(layer) = layer else {
        return inconsistent(reader, "it reads a layer that does not come before it");
    };
    let cell_state = match layer.op {
        Op::ConstantCell { .. } => true,
        Op::Recurrent(_) => layer.cell() == Some(Cell::Lstm),
        _ => false,
    };
    let only_cell = matches!(layer.op, Op::ConstantCell { .. });
    if id.is_cell_state() && !cell_state || only_cell && !id.is_cell_state() {
        return inconsistent(reader, "it reads a cell state of a layer that has none");
    }
    Ok(Vector {
        size: layer.len(),
        frac_bits: layer.frac_bits(),
        cell_state: id.is_cell_state(),
    })
}

/// Elements of the joined inputs, each padded; 0 for a row of gate inputs.
fn joined_size(layers: &Slots, config: &LayerConfig, index: u8) -> Result<usize, ModelError> {
    let mut size = 0;
    for id in config.inputs.iter() {
        let input = vector(layers, id, index)?;
        if input.size == 0 && config.inputs.single().is_none() {
            return inconsistent(index, "gate inputs cannot be joined with other vectors");
        }
        size += round_up(input.size);
    }
    if config.inputs.iter().next().is_none() {
        return inconsistent(index, "it reads nothing");
    }
    if size > MAX_VECTOR {
        return inconsistent(index, "its inputs are too long");
    }
    Ok(size)
}

/// Reads the sections of layer `index`.
fn read_layer<'a>(
    config: &LayerConfig,
    index: u8,
    before: &Slots<'a>,
    sections: &mut SectionReader<'a>,
) -> Result<Layer<'a>, ModelError> {
    let no_inputs = || match config.inputs.iter().next() {
        None => Ok(()),
        Some(_) => inconsistent(index, "it reads vectors that it does not use"),
    };
    let (op, size) = match config.op {
        OpConfig::Token {
            vocab_size,
            dim,
            rows,
        } => {
            no_inputs()?;
            read_token(index, vocab_size, dim, rows, sections)?
        }
        OpConfig::Frame { size } => {
            no_inputs()?;
            check_range("frame size", size, 1, MAX_DIM)?;
            let exponents = sections.section(size.into())?;
            (Op::Frame { exponents }, size)
        }
        OpConfig::Constant { size, kind } => {
            no_inputs()?;
            check_range("size of a constant", size, 1, MAX_DIM)?;
            let quads = round_up(size.into()) / 4;
            let op = match kind {
                ConstantKind::Vector { frac_bits } => {
                    check_range("fraction bits (0 or more)", frac_bits.into(), 0, 15)?;
                    Op::Constant {
                        values: sections.section(quads)?,
                        frac_bits,
                    }
                }
                ConstantKind::CellState => Op::ConstantCell {
                    values: sections.section(quads)?,
                },
            };
            (op, size)
        }
        OpConfig::Dense {
            output_size,
            activation,
            frac_bits,
            format,
        } => {
            check_range("size of a dense layer", output_size, 1, MAX_VECTOR as u16)?;
            check_range("fraction bits (0 or more)", frac_bits.into(), 0, 15)?;
            if matches!(activation, Activation::Tanh | Activation::Sigmoid) && frac_bits != 15 {
                return inconsistent(index, "tanh and sigmoid give 15 fraction bits");
            }
            supported(index, format.is_supported(), "int4")?;
            let input_size = joined_size(before, config, index)?;
            if input_size == 0 {
                return inconsistent(index, "a dense layer cannot read gate inputs");
            }
            let dense = DenseConfig {
                input_size,
                output_size: round_up(output_size.into()),
                format,
                activation,
            };
            let words = sections.section(dense.weights_len())?;
            let Some(layer) = dense.layer(words) else {
                return inconsistent(index, "its weights have another length");
            };
            (Op::Dense { layer, frac_bits }, output_size)
        }
        OpConfig::Recurrent(recurrent) => {
            let input_size = joined_size(before, config, index)?;
            let op = read_recurrent(index, recurrent, input_size, before, sections)?;
            (op, recurrent.hidden_size)
        }
        OpConfig::Sum { frac_bits } => {
            check_range("fraction bits (0 or more)", frac_bits.into(), 0, 15)?;
            joined_size(before, config, index)?;
            let size = config
                .inputs
                .iter()
                .next()
                .map(|id| vector(before, id, index));
            let size = size.transpose()?.map_or(0, |first| first.size);
            for id in config.inputs.iter() {
                let input = vector(before, id, index)?;
                if input.size != size || input.frac_bits.is_none() || input.cell_state {
                    return inconsistent(index, "it adds vectors of different sizes or formats");
                }
            }
            (Op::Sum { frac_bits }, size as u16)
        }
        OpConfig::Mean => {
            let Some(input) = config.inputs.single() else {
                return inconsistent(index, "a mean reads one vector");
            };
            let input = vector(before, input, index)?;
            let Some(frac_bits) = input.frac_bits.filter(|_| !input.cell_state) else {
                return inconsistent(index, "it averages a vector without a format of its own");
            };
            let frac_bits = frac_bits as u8;
            (Op::Mean { frac_bits, sums: 0 }, input.size as u16)
        }
    };
    Ok(Layer {
        phase: config.phase,
        inputs: config.inputs,
        size,
        gather: false,
        operand: Place::NONE,
        result: Place::NONE,
        op,
    })
}

fn supported(layer: u8, supported: bool, feature: &'static str) -> Result<(), ModelError> {
    match supported {
        true => Ok(()),
        false => Err(ModelError::Unsupported { layer, feature }),
    }
}

fn read_token<'a>(
    index: u8,
    vocab_size: u16,
    dim: u32,
    rows: TokenRowsConfig,
    sections: &mut SectionReader<'a>,
) -> Result<(Op<'a>, u16), ModelError> {
    check_range("vocabulary size", vocab_size, 1, u16::MAX)?;
    let vocab = usize::from(vocab_size);
    if let TokenRowsConfig::Gates = rows {
        let length = vocab.saturating_mul(dim as usize);
        let rows = sections.section(length)?;
        return Ok((Op::GateRows { rows, dim }, 0));
    }
    let Ok(size) = u16::try_from(dim) else {
        return inconsistent(index, "the embedding has too many dimensions");
    };
    check_range("embedding dimension", size, 1, MAX_DIM)?;
    let op = match rows {
        TokenRowsConfig::Tied { layer, min_shift } => {
            check_range("shift (0 or more)", min_shift.into(), 0, MAX_SHIFT as u16)?;
            Op::TiedEmbedding {
                vocab_size,
                table: layer,
                min_shift,
            }
        }
        _ => Op::Embedding {
            rows: sections.section(vocab.saturating_mul(round_up(size.into())))?,
        },
    };
    Ok((op, size))
}

fn read_recurrent<'a>(
    index: u8,
    config: RecurrentLayerConfig,
    input_size: usize,
    before: &Slots<'a>,
    sections: &mut SectionReader<'a>,
) -> Result<Op<'a>, ModelError> {
    check_range("hidden size", config.hidden_size, 1, MAX_DIM)?;
    let max_shift = MAX_STATE_SHIFT as u16;
    check_range(
        "shift of a state (0 or more)",
        config.state_shift.into(),
        0,
        max_shift,
    )?;
    let feature = match config.cell {
        Cell::GruResetAfter | Cell::GruResetBefore => "gru",
        Cell::Lstm => "lstm",
        Cell::Rnn => "rnn",
    };
    supported(index, config.cell.is_supported(), feature)?;
    let supports = |format: &WeightFormat| format.is_supported();
    supported(index, config.formats.iter().all(supports), "int4")?;
    for (init, is_cell) in config.init.into_iter().zip([false, true]) {
        check_init(before, index, &config, init, is_cell)?;
    }
    let recurrent = RecurrentConfig {
        cell: config.cell,
        input_size,
        hidden_size: round_up(config.hidden_size.into()),
        state_shift: config.state_shift.into(),
        formats: config.formats,
    };
    let words = sections.section(recurrent.weights_len())?;
    let Some(layer) = recurrent.layer(words) else {
        return inconsistent(index, "its weights have another length");
    };
    Ok(Op::Recurrent(Recurrent {
        layer,
        init: config.init,
        cell: 0,
        scratch: 0,
    }))
}

/// Checks the vector that a state begins as.
fn check_init(
    before: &Slots,
    index: u8,
    config: &RecurrentLayerConfig,
    init: StateInit,
    is_cell: bool,
) -> Result<(), ModelError> {
    let (bytes, metadata_bytes) = split_header(bytes)?;
    let mut numbers = VarintReader::new(metadata_bytes);
    let Some(metadata) = Metadata::read(&mut numbers) else {
        return Err(numbers.error());
    };
    let mut sections = SectionReader::new(bytes);
    if sections.section::<u8>(HEADER_LEN + metadata_bytes.len()).is_none() {
        return Err(sections.error());
    }
    let [source, target] = &metadata.vocabularies;
    #[cfg(feature = "text")]
    {
        return inconsistent(
            index,
            "an initial state of another size or without a format",
        );
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
        if next < current {
            return inconsistent(index, "its phase is before that of the layer before it");
        }
        // What is passed over is empty.
        segments
            .ends
            .iter_mut()
            .skip(current)
            .take(next - current)
            .for_each(|end| *end = index);
        current = next;
    }
    segments
        .ends
        .iter_mut()
        .skip(current)
        .for_each(|end| *end = count);
    for (recurrent, segment) in [(0, Segment::Source), (1, Segment::Step)] {
        let range = segments.range(segment);
        let mut found = [range.end as u8; 2];
        for index in range {
            let layer = layers.get(index).and_then(Option::as_ref);
            if layer.is_some_and(|layer| layer.cell().is_some()) {
                let [first, end] = &mut found;
                (*first, *end) = ((*first).min(index as u8), index as u8 + 1);
            }
        }
        if let Some(slot) = segments.recurrent.get_mut(recurrent) {
            *slot = found;
        }
    }
    if segments.range(Segment::Step).is_empty() {
        return inconsistent(count, "no layer runs in a step");
    }
    Ok(segments)
}

/// Checks what depends on the layers after layer `index`, and on phases.
fn check_layer(layers: &Slots, index: u8, segments: &Segments) -> Result<(), ModelError> {
    let at = |index: usize| layers.get(index).and_then(Option::as_ref);
    let Some(layer) = at(index.into()) else {
        return Err(ModelError::Metadata);
    };
    let segment = segments.of(index.into());
    let reads_caller = layer.vocab_size().is_some() || layer.exponents().is_some();
    let first_reader = |index: usize| {
        let earlier = layers.get(..index).into_iter().flatten().flatten();
        let mut earlier = earlier.filter(|other| other.phase == layer.phase);
        !earlier.any(|other| other.vocab_size().is_some() || other.exponents().is_some())
    };
    if reads_caller && !first_reader(index.into()) {
        return inconsistent(index, "a second token or frame of the same phase");
    }
    let stepped = matches!(segment, Segment::Source | Segment::Step);
    let allowed = match layer.op {
        Op::GateRows { .. } | Op::Embedding { .. } | Op::TiedEmbedding { .. } => stepped,
        Op::Recurrent(_) => stepped,
        Op::Mean { .. } => segment == Segment::Step,
        Op::Frame { .. } => segment != Segment::Output,
        Op::Constant { .. } | Op::ConstantCell { .. } => layer.phase == Phase::Begin,
        Op::Dense { .. } | Op::Sum { .. } => true,
    };
    if !allowed {
        return inconsistent(index, "it cannot run in its phase");
    }
    if let Op::Recurrent(recurrent) = &layer.op {
        let mut init = recurrent.init.into_iter().flatten();
        if init.any(|id| segments.of(id.layer()) == segment) {
            return inconsistent(
                index,
                "an initial state that is not known when its phase begins",
            );
        }
    }
    for id in layer.inputs.iter() {
        let Some(input) = at(id.layer()) else {
            return Err(ModelError::Metadata);
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
    if sections.section::<u8>(metadata.io_names_len as usize).is_none() || !sections.is_finished() {
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
    slot.validate(config.text_len).map_err(|token| ModelError::Vocabulary {
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
fn layer_of<'l, 'a>(
    layers: &'l Slots<'a>,
    id: VectorId,
) -> Result<&'l Layer<'a>, Inconsistency> {
    let layer = layers.get(id.layer()).and_then(Option::as_ref);
    let layer = layer.ok_or(Inconsistency::InputOrder)?;
    let matches = match &layer.op {
        Op::ConstantCell { .. } => id.is_cell_state(),
        Op::Recurrent(recurrent) if recurrent.layer.config().cell == Cell::Lstm => true,
        _ => !id.is_cell_state(),
    };
    if matches { Ok(layer) } else { Err(Inconsistency::NoCellState) }
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
                ensure(!is_bounded || frac_bits == 15, Inconsistency::ActivationFormat)?;
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
            OpConfig::Recurrent(config) => (self.recurrent(&config, input_size)?, config.hidden_size),
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
            let mut same_phase = self.before.iter().flatten().filter(|other| {
                other.reads_caller() && other.phase() == segment.phase()
            });
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
        ensure(cell.is_none() || config.cell == Cell::Lstm, Inconsistency::InitialCellState)?;
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
        // States are set right after the begin layers before them have run.
        let has_source = self.before.iter().flatten().any(|layer| layer.segment == Segment::Source);
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
        Ok((Op::Sum { frac_bits, _feature }, size))
    }

    fn mean(&mut self) -> Result<(Op<'a>, u16), Refusal> {
        let _feature = Graph::AVAILABLE.ok_or(Feature::Graph)?;
        let id = self.config.inputs.single().ok_or(Inconsistency::MeanInputs)?;
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
        } => match at(table.into()).map(|table| (table, &table.op)) {
            Some((output, Op::Dense { layer: dense, .. }))
                if output.size == vocab_size
                    && dense.config().format == WeightFormat::Int8
                    && dense.config().input_size == round_up(layer.len()) =>
            {
                Ok(())
            }
            _ => inconsistent(
                index,
                "a tied embedding needs an int8 dense layer of its size",
            ),
        },
        Op::GateRows { rows, dim } if rows.is_empty() || dim == 0 => {
            inconsistent(index, "gate inputs of no size")
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
fn read_output(config: &OutputConfig, layers: &Slots, count: u8) -> Result<Output, ModelError> {
    let vector = vector(layers, config.vector, count)?;
    let Some(frac_bits) = vector.frac_bits.filter(|_| !vector.cell_state) else {
        return inconsistent(count, "an output without a format of its own");
    };
    let step_tokens = layers
        .iter()
        .flatten()
        .find(|layer| layer.phase == Phase::Step);
    let step_tokens = step_tokens.and_then(Layer::vocab_size);
    if config.role == Role::Logits && (step_tokens != Some(vector.size) || !config.every_step) {
        return inconsistent(count, "logits of other tokens than the step reads");
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
fn reader_size(
    layers: &Slots,
    phase: Phase,
    size: fn(&Layer) -> Option<usize>,
) -> Option<usize> {
    let mut layers = layers.iter().flatten();
    size(layers.find(|layer| layer.phase() == phase && layer.reads_caller())?)
}

/// Checks that vocabularies have the sizes of what they name.
fn check_vocabularies(info: &ModelInfo, layers: &Slots) -> Result<(), ModelError> {
    let [source, target] = &info.vocabularies;
    let count = layers.iter().flatten().count() as u8;
    let mut inputs = [Phase::Begin, Phase::Source, Phase::Step]
        .into_iter()
        .map(|phase| {
            let mut layers = layers.iter().flatten().filter(|layer| layer.phase == phase);
            layers.find_map(|layer| {
                let frame = layer.exponents().map(<[i8]>::len);
                frame.or(layer.vocab_size())
            })
        });
    let first = inputs.find_map(|size| size);
    if !source.is_empty() && first != Some(source.len()) {
        return inconsistent(count, "a vocabulary of another size than the inputs");
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
