//! From bytes to checked layers.

use super::layer::{Layer, Op, Place, Recurrent};
use super::{ModelInfo, Output, Segment, Segments, bounds, plan};
use crate::format::{
    ConstantKind, HEADER_LEN, LayerConfig, MAX_DIM, Metadata, ModelError, OpConfig, OutputConfig,
    Phase, RecurrentLayerConfig, Role, SectionReader, StateInit, TokenRowsConfig, VarintReader,
    VectorId, check_range, split_header,
};
use crate::vocabulary::Vocabulary;
use pipsqueak_kernels::cell::{Cell, MAX_STATE_SHIFT, RecurrentConfig};
use pipsqueak_kernels::dense::{Activation, DenseConfig};
use pipsqueak_kernels::fixed::MAX_SHIFT;
use pipsqueak_kernels::packed::{WeightFormat, round_up};

/// Elements, with padding, of the longest vector that a layer reads or gives.
const MAX_VECTOR: usize = 65_532;

/// The layers read so far.
type Slots<'a> = [Option<Layer<'a>>];

/// Checks `bytes` and fills `layers`.
pub(super) fn parse<'a>(
    bytes: &'a [u8],
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
    let Some(id) = init else {
        return Ok(());
    };
    let vector = vector(before, id, index)?;
    if is_cell && config.cell != Cell::Lstm {
        return inconsistent(index, "an initial cell state without a cell state");
    }
    if vector.size != usize::from(config.hidden_size)
        || vector.frac_bits.is_none() && !vector.cell_state
    {
        return inconsistent(
            index,
            "an initial state of another size or without a format",
        );
    }
    Ok(())
}

/// Divides the list of layers by their phases.
fn segments(layers: &Slots, count: u8, steps: [u8; 2]) -> Result<Segments, ModelError> {
    let mut segments = Segments {
        steps_per_token: steps,
        ..Segments::default()
    };
    let mut current = 0;
    for (layer, index) in layers.iter().flatten().zip(0u8..) {
        let next = match layer.phase {
            Phase::Begin if current == 0 => 0,
            Phase::Begin => 2,
            Phase::Source => 1,
            Phase::Step => 3,
            Phase::Output => 4,
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
        match (&input.op, &layer.op) {
            (Op::GateRows { rows: _, dim }, Op::Recurrent(recurrent)) => {
                let config = recurrent.layer.config();
                let gates = config.cell.num_gates() * config.hidden_size;
                if *dim as usize != gates || input.phase != layer.phase {
                    return inconsistent(index, "gate inputs of another size or phase");
                }
            }
            (Op::GateRows { .. }, _) => {
                return inconsistent(index, "only a recurrent layer can read gate inputs");
            }
            (Op::Mean { .. }, _) if segment != Segment::Output => {
                return inconsistent(index, "a mean can be read by output layers only");
            }
            _ => {}
        }
    }
    match layer.op {
        Op::TiedEmbedding {
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
        _ => Ok(()),
    }
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
        place: Place::NONE,
        copied: false,
        size: vector.size as u16,
        frac_bits: frac_bits as u8,
    })
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
    let outputs = info.outputs.first().map(Output::len);
    if !target.is_empty() && outputs != Some(target.len()) {
        return inconsistent(count, "a vocabulary of another size than the outputs");
    }
    Ok(())
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
