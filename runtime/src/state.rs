//! The states of networks, and the step.

use crate::image::{CELL_SHIFT, Dense, Image, Input, Reads, Recurrent, Start, StartFrom};
use crate::say::{Part, Say, display};
use pipsqueak_kernels::fixed::{CELL_FRAC_BITS as CELL_BITS, saturate_i16 as saturate};
use pipsqueak_kernels::packed::{I16x4, round_up as padded};

/// Where things stand in a workspace, in i16 elements.
///
/// Each network in turn has `[what comes in][hidden state of each layer][cell states][sum of the top]`, the last two in i32;
/// then comes scratch for all. A layer's input stands right before its state, so the two are one vector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Where each network ends, the last one before the scratch.
    ends: [usize; 2],
    /// Where each network's cell states begin.
    cells: [usize; 2],
    /// End of the scratch, which serves the steps in turn and then the outputs.
    len: usize,
}

impl Plan {
    pub(crate) fn new(image: &Image) -> Self {
        let mut plan = Self {
            ends: [0; 2],
            cells: [0; 2],
            len: 0,
        };
        let (mut end, mut scratch) = (0, 0);
        for index in 0..image.networks() {
            let mut width = image.width(index);
            end += width;
            let (mut top, mut cells) = (width, 0);
            for recurrent in image.layers(index) {
                let shape = recurrent.shape(width);
                scratch = scratch.max(shape.scratch_len());
                (width, top) = (shape.hidden_size, shape.hidden_size);
                end += shape.hidden_size;
                cells += shape.cell_state_len();
            }
            let Some(network) = image.network(index) else {
                break;
            };
            // A chain of dense layers keeps all that comes out of them, and what goes into the first.
            let outputs = |dense: &[Dense]| -> usize {
                dense.iter().map(|dense| padded(dense.outputs.into())).sum()
            };
            let mean = network.reads == Reads::Mean;
            let dense = image.dense(index);
            let (before, head) = dense
                .split_at_checked(dense.len().saturating_sub(network.head.into()))
                .unwrap_or_default();
            let vector = match network.reads_tokens() {
                true => 0,
                false => image.raw_width(index),
            };
            let features = padded(network.features.into());
            let encoder = index.checked_sub(1).map(|encoder| image.layers(encoder));
            let states = encoder.unwrap_or_default().iter().map(Recurrent::units);
            let longest = states.fold(vector.max(features), usize::max);
            scratch = scratch.max(longest + outputs(before));
            scratch = scratch.max(if mean { top } else { 0 } + outputs(head));
            if mean {
                cells += top;
            }
            let (Some(start), Some(ended)) = (plan.cells.get_mut(index), plan.ends.get_mut(index))
            else {
                break;
            };
            *start = end;
            end += 2 * cells;
            *ended = end;
        }
        plan.len = end + scratch;
        plan
    }

    /// 32-bit words of all.
    pub(crate) fn words(&self) -> usize {
        self.len.div_ceil(2)
    }
}

/// The memory for a state is too small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkspaceError {
    /// 32-bit words needed.
    pub needed: usize,
    /// 32-bit words given.
    pub found: usize,
}

impl Say for WorkspaceError {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        let bytes = |words: usize| Part::Number((words * 4) as u32);
        out(Part::Text("the model needs a workspace of "));
        out(bytes(self.needed));
        out(Part::Text(" bytes, but "));
        out(bytes(self.found));
        out(Part::Text(" are there"));
    }
}

impl core::fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for WorkspaceError {}

/// What a network is fed at a step. What is not of its kind is token 0 or a vector of zeros to it.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'x> {
    /// A token; token 0 in place of one that is not there.
    Token(u16),
    /// A vector in Q15 of its [channels](Image::channels); zeros in place of what is missing.
    Vector(&'x [i16]),
    /// What was made of the feature vector at the start.
    Again,
}

/// One network's part of a workspace.
struct Memory<'w> {
    /// What comes in, and the hidden states.
    hidden: &'w mut [i16],
    /// Cell states, and the sum of the top.
    cells: &'w mut [i32],
    scratch: &'w mut [i16],
}

/// The states of an image's networks as they run: at their starts in the beginning.
#[derive(Debug)]
pub struct State<'i, 'w> {
    image: &'i Image<'i>,
    memory: &'w mut [i16],
    plan: Plan,
    /// Steps of the network whose head reads their mean.
    steps: i32,
}

impl<'i, 'w> State<'i, 'w> {
    /// A state in `workspace`, of which it uses the first [`Image::workspace_len`] words.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn new(image: &'i Image<'i>, workspace: &'w mut [u32]) -> Result<Self, WorkspaceError> {
        let plan = Plan::new(image);
        let error = WorkspaceError {
            needed: plan.words(),
            found: workspace.len(),
        };
        let memory = workspace.get_mut(..error.needed).ok_or(error)?;
        let mut state = Self {
            image,
            memory: bytemuck::cast_slice_mut(memory),
            plan,
            steps: 0,
        };
        state.reset();
        Ok(state)
    }

    /// The image that runs.
    pub fn image(&self) -> &'i Image<'i> {
        self.image
    }

    /// All of its memory: room for a vector of any layer or the head. [`reset`](Self::reset) before the next step.
    pub(crate) fn memory(&mut self) -> &mut [i16] {
        self.memory
    }

    fn part(&mut self, index: usize) -> Memory<'_> {
        let plan = self.plan;
        let of = |all: [usize; 2], index: usize| all.get(index).copied().unwrap_or_default();
        let start = index
            .checked_sub(1)
            .map_or(0, |before| of(plan.ends, before));
        let last = of(plan.ends, self.image.main());
        let (states, scratch) = self.memory.split_at_mut_checked(last).unwrap_or_default();
        let states = states
            .get_mut(start..of(plan.ends, index))
            .unwrap_or_default();
        let hidden = of(plan.cells, index).saturating_sub(start);
        let (hidden, cells) = states.split_at_mut_checked(hidden).unwrap_or_default();
        let cells = bytemuck::try_cast_slice_mut(cells).unwrap_or_default();
        Memory {
            hidden,
            cells,
            scratch,
        }
    }

    /// Sets every state to its start: zero, or what the image says. What is made of features or of an encoder is zero.
    pub fn reset(&mut self) {
        self.memory.fill(0);
        self.steps = 0;
        for index in 0..self.image.networks() {
            self.start(index, StartFrom::Constant);
        }
    }

    /// Sets the starts that are made of the feature vector, and the input that is: Q15 of its
    /// [channels](Image::feature_channels), zeros in place of what is missing. [`reset`](Self::reset) comes before.
    pub fn features(&mut self, features: &[i16]) {
        self.features_by(|index, _| features.get(index).copied().unwrap_or(0));
    }

    /// The same, each element by its index and its channel.
    pub(crate) fn features_by(&mut self, mut value: impl FnMut(usize, i8) -> i16) {
        for index in 0..self.image.networks() {
            let channels = self.image.feature_channels(index);
            let part = self.part(index);
            let raw = part.scratch.get_mut(..padded(channels.len()));
            let raw = raw.unwrap_or_default();
            raw.fill(0);
            for (place, (to, channel)) in raw.iter_mut().zip(channels).enumerate() {
                *to = value(place, *channel);
            }
            self.start(index, StartFrom::Features);
            self.input_of_features(index);
        }
    }

    /// Sets the starts of the last network that are made of the encoder's states.
    pub fn hand_over(&mut self) {
        self.start(
            self.image.main(),
            StartFrom::Encoder {
                layer: 0,
                cell: false,
            },
        );
    }

    /// Feeds the last network `token`.
    pub fn step(&mut self, token: u16) {
        self.feed(self.image.main(), Feed::Token(token));
    }

    /// Feeds network `index`: all its layers step, for a token as often as the network says.
    pub fn feed(&mut self, index: usize, feed: Feed) {
        let image = self.image;
        let Some(network) = image.network(index) else {
            return;
        };
        let width = image.width(index);
        let Memory {
            hidden,
            cells,
            scratch,
        } = self.part(index);
        let x = hidden.get_mut(..width).unwrap_or_default();
        let list = image.dense(index).get(..network.dense.into());
        let (list, raw_width) = (list.unwrap_or_default(), image.raw_width(index));
        let mut rows = image.rows(index);
        let mut row: &[i8] = &[];
        let token = if let Feed::Token(token) = feed {
            token
        } else {
            0
        };
        match network.input {
            Input::Table => row = image.token_row(index, token),
            Input::Embedding(_) => {
                // Full scale in 1/128 of a column's scale: Q15.
                for (to, &from) in x.iter_mut().zip(image.token_row(index, token)) {
                    *to = i16::from(from) << 8;
                }
            }
            Input::Tied { shift } => tied(image, index, token, shift, x),
            Input::Vectors => {
                let (raw, free) = scratch.split_at_mut_checked(raw_width).unwrap_or_default();
                raw.fill(0);
                if let Feed::Vector(vector) = feed {
                    let known = vector.len().min(network.count.into());
                    copy(vector.get(..known).unwrap_or_default(), raw);
                }
                let mut words = rows;
                copy(chain(list, &mut words, raw, free), x);
            }
            Input::Features { .. } => {}
        }
        skip(list, raw_width, &mut rows);
        // Elements of the last layer's state, or of what came in, and of all layers' cell states.
        let (mut top, mut used) = (width, 0);
        for _ in 0..network.steps_per_token {
            let (mut rows, mut start) = (rows, 0);
            (top, used) = (width, 0);
            for recurrent in image.layers(index) {
                let shape = recurrent.shape(top);
                let words = rows.split_off(..shape.weights_len()).unwrap_or_default();
                let cell = cells.get_mut(used..used + shape.cell_state_len());
                let end = start + shape.input_size + shape.hidden_size;
                if let Some(joint) = hidden.get_mut(start..end) {
                    if let Some(layer) = shape.layer(words) {
                        let cell = cell.unwrap_or_default().as_chunks_mut().0;
                        layer.step(row, quads_mut(joint), cell, quads_mut(scratch));
                    }
                }
                start += shape.input_size;
                top = shape.hidden_size;
                used += shape.cell_state_len();
            }
        }
        if network.reads == Reads::Mean {
            let top = hidden.get(hidden.len().saturating_sub(top)..);
            let sums = cells.get_mut(used..).unwrap_or_default();
            for (sum, &top) in sums.iter_mut().zip(top.unwrap_or_default()) {
                *sum = sum.saturating_add(top.into());
            }
            self.steps = self.steps.saturating_add(1);
        }
    }

    /// Where the hidden state and the cell state of a layer are in memory; both empty for a layer that is not there.
    fn places(&self, index: usize, layer: usize) -> [core::ops::Range<usize>; 2] {
        let base = index
            .checked_sub(1)
            .and_then(|before| self.plan.ends.get(before));
        let mut hidden = base.copied().unwrap_or(0) + self.image.width(index);
        let mut cell = self.plan.cells.get(index).copied().unwrap_or(0);
        for (place, recurrent) in self.image.layers(index).iter().enumerate() {
            let (units, cells) = (recurrent.units(), 2 * recurrent.shape(0).cell_state_len());
            if place == layer {
                return [hidden..hidden + units, cell..cell + cells];
            }
            (hidden, cell) = (hidden + units, cell + cells);
        }
        [0..0, 0..0]
    }

    fn units(&self, index: usize, layer: usize) -> usize {
        let layer = self.image.layers(index).get(layer);
        layer.map_or(0, |l| l.layer.hidden.into())
    }

    /// The hidden state of layer `layer` of network `index`, with 15 less its shift fraction bits; nothing for one that is
    /// not there.
    pub fn hidden_of(&self, index: usize, layer: usize) -> &[i16] {
        let [hidden, _] = self.places(index, layer);
        let values = self.memory.get(hidden).unwrap_or_default();
        values.get(..self.units(index, layer)).unwrap_or_default()
    }

    /// The cell state of layer `layer` of network `index`, Q8.23; nothing for one that has none.
    pub fn cell_of(&self, index: usize, layer: usize) -> &[i32] {
        let [_, cell] = self.places(index, layer);
        let memory = self.memory.get(cell).unwrap_or_default();
        let values: &[i32] = bytemuck::try_cast_slice(memory).unwrap_or_default();
        values.get(..self.units(index, layer)).unwrap_or_default()
    }

    /// The state of layer `layer` of the last network.
    pub fn hidden(&self, layer: usize) -> &[i16] {
        self.hidden_of(self.image.main(), layer)
    }

    /// Sets the hidden state of layer `layer` of network `index`, in the format of [`hidden_of`](Self::hidden_of).
    pub fn set_hidden(&mut self, index: usize, layer: usize, values: &[i16]) {
        let [hidden, _] = self.places(index, layer);
        copy(values, self.memory.get_mut(hidden).unwrap_or_default());
    }

    /// Sets the cell state of layer `layer` of network `index`, Q8.23.
    pub fn set_cell(&mut self, index: usize, layer: usize, values: &[i32]) {
        let [_, cell] = self.places(index, layer);
        let values: &[i16] = bytemuck::cast_slice(values);
        copy(values, self.memory.get_mut(cell).unwrap_or_default());
    }

    /// Computes what the head of the last network makes of the last step, or of all: [`Image::outputs`] values with
    /// [`Image::logit_bits`] fraction bits. They stand in the workspace until the next step.
    pub fn logits(&mut self) -> &mut [i16] {
        self.outputs_of(self.image.main())
    }

    /// The same of network `index`.
    pub fn outputs_of(&mut self, index: usize) -> &mut [i16] {
        let image = self.image;
        let (outputs, steps) = (image.outputs_of(index), self.steps);
        let Some(network) = image.network(index) else {
            return &mut [];
        };
        let units = image
            .layers(index)
            .last()
            .map_or(image.width(index), Recurrent::units);
        let Memory {
            hidden,
            cells,
            scratch,
        } = self.part(index);
        let (_, top) = hidden
            .split_at_mut_checked(hidden.len().saturating_sub(units))
            .unwrap_or_default();
        let (mean, free) = if network.reads == Reads::Mean {
            let (mean, free) = scratch.split_at_mut_checked(units).unwrap_or_default();
            let sums = cells
                .get(cells.len().saturating_sub(units)..)
                .unwrap_or_default();
            for (mean, &sum) in mean.iter_mut().zip(sums) {
                // Rounded to nearest, as far as an i32 goes.
                let steps = steps.max(1);
                let half = if sum < 0 { -(steps / 2) } else { steps / 2 };
                *mean = saturate(sum.saturating_add(half) / steps);
            }
            (mean, free)
        } else {
            (top, scratch)
        };
        let list = image.dense(index);
        let head = list
            .get(list.len().saturating_sub(network.head.into())..)
            .unwrap_or_default();
        let mut words = image.head(index);
        let made = match head.is_empty() {
            // A copy: who draws moves outputs about.
            true if network.reads != Reads::Mean => {
                copy(mean, free);
                free
            }
            true => mean,
            false => chain(head, &mut words, mean, free),
        };
        made.get_mut(..outputs).unwrap_or_default()
    }

    /// Sets the starts of network `index` that are from where `from` is, whatever state of an encoder it names.
    /// The feature vector stands at the beginning of the scratch.
    fn start(&mut self, index: usize, from: StartFrom) {
        let image = self.image;
        let layers = image.layers(index);
        let Some(network) = image.network(index) else {
            return;
        };
        // The starts' words come after the layers'.
        let mut rows = image.rows(index);
        let (input, mut list) = image
            .dense(index)
            .split_at_checked(network.dense.into())
            .unwrap_or_default();
        skip(input, image.raw_width(index), &mut rows);
        let mut inputs = image.width(index);
        for recurrent in layers {
            let shape = recurrent.shape(inputs);
            rows = rows.get(shape.weights_len()..).unwrap_or_default();
            inputs = shape.hidden_size;
        }
        for (layer, recurrent) in layers.iter().enumerate() {
            for (cell, start) in [(false, recurrent.starts[0]), (true, recurrent.starts[1])] {
                let dense = list
                    .split_off(..usize::from(start.dense))
                    .unwrap_or_default();
                let same = core::mem::discriminant(&start.from()) == core::mem::discriminant(&from);
                match start.from() {
                    StartFrom::Zero => {}
                    StartFrom::Constant => {
                        let units = recurrent.units();
                        let words = if cell { units } else { units / 2 };
                        let words = rows.split_off(..words).unwrap_or_default();
                        match (same, cell) {
                            (true, true) => {
                                self.set_cell(index, layer, bytemuck::cast_slice(words))
                            }
                            (true, false) => {
                                self.set_hidden(index, layer, bytemuck::cast_slice(words))
                            }
                            _ => {}
                        }
                    }
                    StartFrom::Features | StartFrom::Encoder { .. } => {
                        let width = self.start_width(index, start);
                        let words = rows;
                        skip(dense, width, &mut rows);
                        if same {
                            self.start_through(index, layer, cell, start, dense, words);
                        }
                    }
                }
            }
        }
    }

    /// Elements, padded, of what a start is made of.
    fn start_width(&self, index: usize, start: Start) -> usize {
        match start.from() {
            StartFrom::Encoder { layer, .. } => {
                let encoder = self.image.layers(index.saturating_sub(1));
                encoder.get(layer).map_or(0, Recurrent::units)
            }
            _ => padded(self.image.feature_channels(index).len()),
        }
    }

    /// Sets one state to what dense layers make of the feature vector or of an encoder's state.
    fn start_through(
        &mut self,
        index: usize,
        layer: usize,
        cell: bool,
        start: Start,
        list: &[Dense],
        mut words: &[u32],
    ) {
        let image = self.image;
        let shift = |index, layer| {
            let recurrent: Option<&Recurrent> = image.layers(index).get(layer);
            recurrent.map_or(0, |recurrent| u32::from(recurrent.shift))
        };
        let [hidden_place, cell_place] = self.places(index, layer);
        let width = self.start_width(index, start);
        let mut from_place = None;
        // Fraction bits of what comes in.
        let mut bits = 15;
        if let StartFrom::Encoder {
            layer: from,
            cell: from_cell,
        } = start.from()
        {
            let encoder = index.saturating_sub(1);
            let [hidden, from_cells] = self.places(encoder, from);
            if from_cell && cell && list.is_empty() {
                // An element at a time: a move of memory would be half a kilobyte of flash, and more.
                for (from, to) in from_cells.zip(cell_place) {
                    let value = self.memory.get(from).copied().unwrap_or_default();
                    if let Some(to) = self.memory.get_mut(to) {
                        *to = value;
                    }
                }
                return;
            }
            bits -= if from_cell {
                CELL_SHIFT
            } else {
                shift(encoder, from)
            };
            from_place = Some(if from_cell { from_cells } else { hidden });
        }
        let last = self.plan.ends.get(image.main()).copied().unwrap_or(0);
        let (states, scratch) = self.memory.split_at_mut_checked(last).unwrap_or_default();
        let (raw, free) = scratch.split_at_mut_checked(width).unwrap_or_default();
        if let Some(place) = from_place {
            let from = states.get(place).unwrap_or_default();
            if from.len() == raw.len() {
                copy(from, raw);
            } else {
                let cells: &[i32] = bytemuck::try_cast_slice(from).unwrap_or_default();
                for (to, from) in raw.iter_mut().zip(cells) {
                    *to = rescale(*from, CELL_BITS, bits);
                }
            }
        }
        let made = chain(list, &mut words, raw, free);
        if let Some(last) = list.last() {
            bits = last.fraction().into();
        }
        if cell {
            let cells = states.get_mut(cell_place).unwrap_or_default();
            let cells: &mut [i32] = bytemuck::try_cast_slice_mut(cells).unwrap_or_default();
            for (to, from) in cells.iter_mut().zip(made) {
                // With less than 7 bits it may be beyond a cell state's range.
                *to = i32::from(*from).saturating_mul(1 << (CELL_BITS - bits));
            }
        } else {
            let hidden = states.get_mut(hidden_place).unwrap_or_default();
            let wanted = 15 - shift(index, layer);
            for (to, from) in hidden.iter_mut().zip(made) {
                *to = rescale((*from).into(), bits, wanted);
            }
        }
    }

    /// Sets what network `index` is fed at every step to what its dense layers make of the feature vector.
    fn input_of_features(&mut self, index: usize) {
        let image = self.image;
        let Some(network) = image.network(index) else {
            return;
        };
        if !matches!(network.input, Input::Features { .. }) {
            return;
        }
        let width = image.width(index);
        let mut rows = image.rows(index);
        let raw = image.raw_width(index);
        let Memory {
            hidden, scratch, ..
        } = self.part(index);
        let (raw, free) = scratch.split_at_mut_checked(raw).unwrap_or_default();
        let dense = image
            .dense(index)
            .get(..network.dense.into())
            .unwrap_or_default();
        let made = chain(dense, &mut rows, raw, free);
        copy(made, hidden.get_mut(..width).unwrap_or_default());
    }
}

/// As many values as there are on both sides.
fn copy(from: &[i16], to: &mut [i16]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// `value` from `bits` to `wanted` fraction bits, rounded to nearest and saturated.
fn rescale(value: i32, bits: u32, wanted: u32) -> i16 {
    match bits.checked_sub(wanted) {
        Some(right) => saturate(value.saturating_add(1 << right >> 1) >> right),
        None => saturate(value << (wanted - bits)),
    }
}

/// Leaves out the words of dense layers over `columns`.
fn skip(list: &[Dense], mut columns: usize, words: &mut &[u32]) {
    for dense in list {
        let rows = padded(dense.outputs.into());
        *words = words
            .get(dense.config(columns).weights_len()..)
            .unwrap_or_default();
        columns = rows;
    }
}

/// What dense layers make of `x`, each after the other at the beginning of `free`; `x` itself if there is none.
#[inline(never)]
fn chain<'s>(
    list: &[Dense],
    words: &mut &[u32],
    x: &'s mut [i16],
    free: &'s mut [i16],
) -> &'s mut [i16] {
    let (mut x, mut free) = (x, free);
    for layer in list {
        let rows = padded(layer.outputs.into());
        let (out, rest) = free.split_at_mut_checked(rows).unwrap_or_default();
        let config = layer.config(x.len());
        let own = words.split_off(..config.weights_len()).unwrap_or_default();
        if let Some(layer) = config.layer(own) {
            layer.forward(quads(x), quads_mut(out));
        }
        (x, free) = (out, rest);
    }
    x
}

/// The row of `token` of the last dense layer of the head, as what comes in: weights times the row's multiplier.
fn tied(image: &Image, index: usize, token: u16, least: u8, x: &mut [i16]) {
    let mut words = image.head(index);
    let list = image.dense(index);
    let head = image
        .network(index)
        .map_or(0, |network| usize::from(network.head));
    let (before, last) = match list.get(list.len().saturating_sub(head)..) {
        Some([before @ .., last]) => (before, last),
        _ => return,
    };
    let top = image.layers(index).last();
    let top = top.map_or(image.width(index), Recurrent::units);
    skip(before, top, &mut words);
    let token = if token < last.outputs {
        usize::from(token)
    } else {
        0
    };
    let Some((scale, weights)) = words
        .get(..last.config(x.len()).weights_len())
        .and_then(|words| last.config(x.len()).layer(words)?.row(token))
    else {
        return;
    };
    // A multiplier has 14 bits and a weight 7: 6 bits less than their product leave 15.
    let shift = (6 + scale.shift().saturating_sub(least.into())).min(31);
    for (x, weight) in x.iter_mut().zip(weights) {
        let product = i32::from(weight) * (scale.multiplier() & 0x3fff) as i32;
        *x = saturate((product + (1 << shift >> 1)) >> shift);
    }
}

/// Vectors of a workspace are aligned and padded.
pub(crate) fn quads(x: &[i16]) -> &[I16x4] {
    bytemuck::try_cast_slice(x.as_chunks::<4>().0).unwrap_or_default()
}

fn quads_mut(x: &mut [i16]) -> &mut [I16x4] {
    bytemuck::try_cast_slice_mut(x.as_chunks_mut::<4>().0).unwrap_or_default()
}
