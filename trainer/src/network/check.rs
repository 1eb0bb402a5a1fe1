//! What makes a list of layers a network: order, phases and lengths. They are checked once, by [`Network::new`](super::Network::new).

use super::layer::{InitialState, Layer, Op, Output, Phase, VectorId};
use super::{Matrix, RecurrentCell, Signature, StateId, TensorRole};
use std::ops::Range;

/// The layers of a network and what belongs to them, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkParts {
    /// In execution order: begin layers that the source needs, source layers, begin layers that the step needs, step layers,
    /// output layers.
    pub layers: Vec<Layer>,
    /// At least one.
    pub outputs: Vec<Output>,
    /// How often the recurrent layers run per token, from the first to the last and all layers between them: of the source and of the
    /// step. 1 where no tokens are read.
    pub steps_per_token: [usize; 2],
    /// Steps of a source or a step that reads neither a token nor a frame; 0 where there is none such.
    pub fixed_steps: usize,
}

/// Why a list of layers is no network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: found {found}, expected {expected}")]
pub struct NetworkError {
    place: String,
    found: String,
    expected: String,
}

fn refused<T>(
    place: impl Into<String>,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> Result<T, NetworkError> {
    Err(NetworkError {
        place: place.into(),
        found: found.into(),
        expected: expected.into(),
    })
}

/// The layers that run one after another at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Segments {
    /// Begin layers that run before the source; all of them in a network without a source.
    pub begin_source: Range<usize>,
    pub source: Range<usize>,
    /// Begin layers that run after the source.
    pub begin_step: Range<usize>,
    pub step: Range<usize>,
    pub output: Range<usize>,
}

impl Segments {
    fn of(layers: &[Layer]) -> Result<Self, NetworkError> {
        let phases = [
            Phase::Begin,
            Phase::Source,
            Phase::Begin,
            Phase::Step,
            Phase::Output,
        ];
        let has_source = layers.iter().any(|layer| layer.phase == Phase::Source);
        let mut end = 0;
        let mut next = |(index, phase): (usize, Phase)| {
            let start = end;
            let is_empty = index == 2 && !has_source;
            let same = layers[start..]
                .iter()
                .take_while(|layer| layer.phase == phase);
            end += if is_empty { 0 } else { same.count() };
            start..end
        };
        let mut ranges = phases.into_iter().enumerate();
        let mut range = || ranges.next().map(&mut next).unwrap_or_default();
        let segments = Self {
            begin_source: range(),
            source: range(),
            begin_step: range(),
            step: range(),
            output: range(),
        };
        match layers.get(segments.output.end) {
            Some(layer) => refused(
                place(layer, segments.output.end),
                format!("the phase {:?} after a later one", layer.phase),
                "begin, source, begin, step, output",
            ),
            None => Ok(segments),
        }
    }

    /// The layers of the source or of the step.
    pub fn steps(&self, phase: Phase) -> Range<usize> {
        match phase {
            Phase::Source => self.source.clone(),
            _ => self.step.clone(),
        }
    }

    /// Layers before the recurrent ones, from the first recurrent one to the last, and after them.
    pub fn parts(&self, layers: &[Layer], phase: Phase) -> [Range<usize>; 3] {
        let all = self.steps(phase);
        let recurrent = |index: &usize| layers[*index].cell().is_some();
        let first = all.clone().find(recurrent).unwrap_or(all.end);
        let end = all
            .clone()
            .rev()
            .find(recurrent)
            .map_or(all.end, |last| last + 1);
        [all.start..first, first..end, end..all.end]
    }
}

fn place(layer: &Layer, index: usize) -> String {
    format!("layer {index} {:?}", layer.name)
}

/// The checked sizes of a network's vectors, by their layers, and the segments of its layers.
pub(super) fn check(parts: &NetworkParts) -> Result<(Vec<usize>, Segments), NetworkError> {
    let segments = Segments::of(&parts.layers)?;
    let mut sizes = Vec::with_capacity(parts.layers.len());
    for (index, layer) in parts.layers.iter().enumerate() {
        if parts.layers[..index]
            .iter()
            .any(|other| other.name == layer.name)
        {
            return refused(place(layer, index), "a second layer of this name", "one");
        }
        check_phase(parts, index)?;
        let size = size(parts, &sizes, index)?;
        if size == 0 {
            return refused(place(layer, index), "no elements", "at least one");
        }
        sizes.push(size);
    }
    if segments.step.is_empty() {
        return refused("network", "no layer in the step", "at least one");
    }
    for (phase, steps_per_token) in [Phase::Source, Phase::Step]
        .into_iter()
        .zip(parts.steps_per_token)
    {
        let layers = &parts.layers[segments.steps(phase)];
        let reader = layers.iter().find(|layer| layer.reads_caller());
        let reads_tokens = reader.is_some_and(|layer| matches!(layer.op, Op::Token { .. }));
        if steps_per_token == 0 || (steps_per_token > 1 && !reads_tokens) {
            let found = format!("{steps_per_token} steps per token in the {phase:?} phase");
            return refused("network", found, "one, or several of a token");
        }
        if !layers.is_empty() && reader.is_none() && parts.fixed_steps == 0 {
            let found = format!("a {phase:?} phase that reads nothing, and no number of steps");
            return refused("network", found, "a number of steps");
        }
    }
    if parts.outputs.is_empty() {
        return refused("network", "no output", "at least one");
    }
    for output in &parts.outputs {
        let place = format!("output {:?}", output.name);
        vector(parts, &place, parts.layers.len(), output.vector)?;
        if output.vector.is_cell_state {
            return refused(place, "a cell state", "the result of a layer");
        }
    }
    Ok((sizes, segments))
}

/// That layer `index` may run in its phase, as the only one there that reads what the caller gives.
fn check_phase(parts: &NetworkParts, index: usize) -> Result<(), NetworkError> {
    let layer = &parts.layers[index];
    let phase = layer.phase;
    let is_allowed = match layer.op {
        Op::Token { .. } | Op::Recurrent { .. } => matches!(phase, Phase::Source | Phase::Step),
        Op::Mean => phase == Phase::Step,
        Op::Frame { .. } => phase != Phase::Output,
        Op::Constant(_) => phase == Phase::Begin,
        Op::Dense(_) | Op::Sum => true,
    };
    if !is_allowed {
        let found = format!("the phase {phase:?}");
        return refused(place(layer, index), found, "one in which such a layer runs");
    }
    let mut before = parts.layers[..index].iter();
    if layer.reads_caller() && before.any(|other| other.reads_caller() && other.phase == phase) {
        let found = format!("a second token or frame in the phase {phase:?}");
        return refused(place(layer, index), found, "one");
    }
    Ok(())
}

/// That a vector exists before layer `end`.
fn vector(parts: &NetworkParts, place: &str, end: usize, id: VectorId) -> Result<(), NetworkError> {
    let Some(layer) = parts.layers[..end].get(id.layer) else {
        let found = format!("the vector of layer {}", id.layer);
        return refused(place, found, "that of an earlier layer");
    };
    let has_cell = layer.cell().is_some_and(RecurrentCell::has_cell);
    if id.is_cell_state && !has_cell {
        let found = format!("the cell state of {:?}", layer.name);
        return refused(place, found, "that of an LSTM layer");
    }
    Ok(())
}

/// The number of elements of layer `index`'s result; `sizes` are those of the layers before it.
fn size(parts: &NetworkParts, sizes: &[usize], index: usize) -> Result<usize, NetworkError> {
    let layer = &parts.layers[index];
    let place = place(layer, index);
    for id in &layer.inputs {
        vector(parts, &place, index, *id)?;
        if id.is_cell_state && layer.phase != Phase::Begin {
            // An ONNX file has it after the last step only.
            let found = format!("the cell state of {:?}", parts.layers[id.layer].name);
            return refused(place, found, "its hidden state");
        }
    }
    let lengths = layer.inputs.iter().map(|id| sizes[id.layer]);
    let joined: usize = lengths.clone().sum();
    let [least, most] = match layer.op {
        Op::Token { .. } | Op::Frame { .. } | Op::Constant(_) => [0, 0],
        Op::Mean => [1, 1],
        Op::Dense(_) | Op::Recurrent { .. } | Op::Sum => [1, usize::MAX],
    };
    if !(least..=most).contains(&layer.inputs.len()) {
        let found = format!("{} inputs", layer.inputs.len());
        return refused(place, found, format!("{least} to {most}"));
    }
    let matrix = |what: &str, matrix: &Matrix, rows: usize, columns: usize| {
        let shape = [matrix.rows, matrix.columns];
        if shape == [rows, columns] && matrix.data.len() == rows * columns {
            return Ok(());
        }
        let found = format!("{what} of shape {shape:?}");
        refused(&*place, found, format!("[{rows}, {columns}]"))
    };
    let length = |what: &str, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => refused(
            &*place,
            format!("{found} {what}"),
            format!("{expected} {what}"),
        ),
    };
    Ok(match &layer.op {
        Op::Token {
            vocab_size,
            embedding,
        } => {
            let columns = embedding.as_ref().map_or(*vocab_size, |e| e.columns);
            if let Some(embedding) = embedding {
                matrix("an embedding", embedding, *vocab_size, columns)?;
            }
            if *vocab_size == 0 { 0 } else { columns }
        }
        Op::Frame { size } => *size,
        Op::Constant(values) => values.len(),
        Op::Dense(dense) => {
            matrix("weights", &dense.w, dense.w.rows, joined)?;
            length("biases", dense.b.len(), dense.w.rows)?;
            dense.w.rows
        }
        Op::Recurrent { cell, init } => {
            let (w, r, wb, rb) = cell.weights();
            let units = cell.hidden();
            let rows = cell.num_gates() * units;
            matrix("weights over the input", w, rows, joined)?;
            matrix("weights over the hidden state", r, rows, units)?;
            length("input biases", wb.len(), rows)?;
            length("recurrent biases", rb.len(), rows)?;
            if !cell.has_cell() && init[1] != InitialState::Zero {
                return refused(
                    place,
                    "an initial cell state",
                    "none: there is no cell state",
                );
            }
            for init in init {
                let InitialState::Vector(id) = init else {
                    continue;
                };
                vector(parts, &place, index, *id)?;
                length("elements of an initial state", sizes[id.layer], units)?;
                let from = &parts.layers[id.layer];
                if from.phase == layer.phase || from.reads_caller() {
                    let found = format!("an initial state from {:?}", from.name);
                    return refused(
                        place,
                        found,
                        "a vector that is computed before the first step",
                    );
                }
            }
            units
        }
        Op::Sum => {
            let first = sizes[layer.inputs[0].layer];
            for found in lengths {
                length("elements of a term", found, first)?;
            }
            first
        }
        Op::Mean => joined,
    })
}

/// That the states which a signature names exist.
pub(super) fn check_states<'c>(
    recurrent: impl Iterator<Item = (usize, &'c RecurrentCell)>,
    signature: &Signature,
) -> Result<(), NetworkError> {
    let cells: Vec<&RecurrentCell> = recurrent.map(|(_, cell)| cell).collect();
    for tensor in signature.inputs.iter().chain(&signature.outputs) {
        let TensorRole::States(ids) = &tensor.role else {
            continue;
        };
        let exists = |id: &StateId| {
            let cell = cells.get(id.layer);
            cell.is_some_and(|cell| !id.cell || cell.has_cell())
        };
        if let Some(id) = ids.iter().find(|id| !exists(id)) {
            let place = format!("tensor {:?}", tensor.name);
            return refused(place, format!("{id:?}"), "a state of a recurrent layer");
        }
    }
    Ok(())
}
