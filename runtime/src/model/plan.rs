//! Where vectors are in the workspace.
//!
//! | region | elements | what |
//! |---|---|---|
//! | state | i16 | vectors that are kept: hidden states, each right after the joined inputs of its layer, so that `[x; h]` is one slice, and what another phase reads |
//! | wide | i32 | cell states, and the sums and numbers of steps of means |
//! | scratch | i16 | vectors that live while one phase runs, and the recurrent layers' own memory |
//!
//! A layer whose only input ends where its hidden state would begin reads it in place: the layers of a stack stand one after
//! another and nothing is copied. Other inputs are joined by copying them.

use super::layer::{Layer, Op, Place, Region};
use super::{Output, Segment, Segments};

/// Sizes of the regions in units of four elements.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub state: u16,
    pub wide: u16,
    pub scratch: u16,
}

impl Plan {
    /// 32-bit words of the workspace: two per four i16, four per four i32.
    pub fn words(&self) -> usize {
        2 * usize::from(self.state) + 4 * usize::from(self.wide) + 2 * usize::from(self.scratch)
    }
}

/// How the results of layers are used: a bit per layer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    /// A layer reads the result.
    read: u32,
    /// One recurrent layer reads the result and nothing else, and nothing else reads it.
    alone: u32,
    /// The result is needed after its segment has run, or is there before.
    kept: u32,
}

impl Uses {
    /// A layer reads the result of layer `index`; `alone`: it is a recurrent layer that reads nothing else.
    pub fn read(&mut self, index: usize, alone: bool) {
        let bit = bit(index);
        if alone && self.read & bit == 0 {
            self.alone |= bit;
        } else {
            self.alone &= !bit;
        }
        self.read |= bit;
    }

    /// The result of layer `index` outlives its segment.
    pub fn keep(&mut self, index: usize) {
        self.kept |= bit(index);
    }

    /// The region of the result of layer `index`. The input of one recurrent layer goes right before its hidden state.
    fn region(&self, index: usize) -> Region {
        match (self.alone | self.kept) & bit(index) {
            0 => Region::Scratch,
            _ => Region::State,
        }
    }
}

/// The bit of layer `index`, which is less than [`MAX_LAYERS`](crate::format::MAX_LAYERS).
fn bit(index: usize) -> u32 {
    1 << (index % 32)
}

/// Gives out places in the regions.
#[derive(Default)]
struct Planner {
    plan: Plan,
    /// The end of the vectors of this segment in the scratch region.
    live: u16,
}

/// `quads` more than `end`: where they begin. `None` beyond what a [`Place`] can hold.
fn grow(end: &mut u16, quads: usize) -> Option<u16> {
    let (start, new) = (*end, usize::from(*end) + quads);
    if new > Place::MAX_START.into() {
        return None;
    }
    *end = new as u16;
    Some(start)
}

impl Planner {
    fn allocate(&mut self, region: Region, quads: usize) -> Option<Place> {
        let start = match region {
            Region::State => grow(&mut self.plan.state, quads)?,
            Region::Scratch => {
                let start = self.reserve(quads)?;
                self.live += quads as u16;
                start
            }
        };
        Some(Place::new(region, start))
    }

    /// Scratch memory after what lives there, for one layer.
    fn reserve(&mut self, quads: usize) -> Option<u16> {
        let mut end = self.live;
        grow(&mut end, quads)?;
        self.plan.scratch = self.plan.scratch.max(end);
        Some(self.live)
    }

    /// Places a layer, of which the result goes to `region` if it has the choice. `inputs`: where its joined inputs are, if they
    /// stand one after another.
    fn place(&mut self, layer: &mut Layer, inputs: Option<Place>, region: Region) -> Option<()> {
        let quads = layer.quads();
        let (region, input_quads) = match &layer.op {
            Op::GateRows { .. }
            | Op::Constant { .. }
            | Op::ConstantCell { .. }
            | Op::Mean { .. } => return Some(()),
            Op::Recurrent(recurrent) => (Region::State, recurrent.layer.config().input_size / 4),
            Op::Dense { layer: dense, .. } => (region, dense.config().input_size / 4),
            _ => (region, 0),
        };
        let is_recurrent = matches!(layer.op, Op::Recurrent(_));
        if input_quads > 0 {
            let in_place = inputs.filter(|place| {
                // The hidden state of a recurrent layer follows its inputs.
                let end = Place::new(Region::State, self.plan.state);
                !is_recurrent || place.offset(input_quads) == end
            });
            layer.gather = in_place.is_none();
            layer.operand = match in_place {
                Some(place) => place,
                None if is_recurrent => self.allocate(Region::State, input_quads)?,
                None => self.allocate(Region::Scratch, input_quads)?,
            };
        } else {
            layer.operand = Place::new(Region::State, self.plan.state);
        }
        layer.result = self.allocate(region, quads)?;
        if let Op::Recurrent(recurrent) = &mut layer.op {
            let config = recurrent.layer.config();
            recurrent.cell = grow(&mut self.plan.wide, config.cell_state_len() / 4)?;
            recurrent.scratch = self.reserve(config.scratch_len() / 4)?;
        }
        Some(())
    }

    /// A mean is computed when outputs are asked for.
    fn place_mean(&mut self, layer: &mut Layer) -> Option<()> {
        let quads = layer.quads();
        if let Op::Mean { sums, .. } = &mut layer.op {
            *sums = grow(&mut self.plan.wide, quads + 1)?;
            layer.result = self.allocate(Region::Scratch, quads)?;
        }
        Some(())
    }
}

/// Places the vectors of all layers and outputs; `None` if they are too large.
#[inline(never)]
pub(super) fn place(
    layers: &mut [Option<Layer>],
    segments: &Segments,
    uses: &Uses,
    outputs: &mut [Output],
) -> Option<Plan> {
    let mut planner = Planner::default();
    for segment in Segment::ALL {
        planner.live = 0;
        if segment == Segment::Output {
            for layer in layers.iter_mut().flatten() {
                planner.place_mean(layer)?;
            }
        }
        for index in segments.range(segment) {
            let (before, rest) = layers.split_at_mut_checked(index)?;
            let layer = rest.first_mut()?.as_mut()?;
            let inputs = contiguous(layer, before);
            planner.place(layer, inputs, uses.region(index))?;
        }
    }
    for output in outputs {
        let Some(layer) = layers.get(output.config.vector.layer())?.as_ref() else {
            continue;
        };
        // Every output can be read, and reordered, in the scratch region.
        output.copied = layer.result.region() == Region::State || is_constant(layer);
        output.place = match output.copied {
            true => planner.allocate(Region::Scratch, layer.quads())?,
            false => layer.result,
        };
    }
    Some(planner.plan)
}

fn is_constant(layer: &Layer) -> bool {
    matches!(layer.op, Op::Constant { .. } | Op::ConstantCell { .. })
}

/// Where the joined inputs of `layer` are, if they stand one after another.
fn contiguous(layer: &Layer, layers: &[Option<Layer>]) -> Option<Place> {
    let mut joined: Option<(Place, Place)> = None;
    for id in layer.inputs.iter() {
        let input = layers.get(id.layer())?.as_ref()?;
        if id.is_cell_state() || is_constant(input) {
            return None;
        }
        let (place, end) = (input.result, input.result.offset(input.quads()));
        joined = match joined {
            None => Some((place, end)),
            Some((first, before)) if before == place => Some((first, end)),
            _ => return None,
        };
    }
    joined.map(|(place, _)| place)
}

#[cfg(test)]
mod tests;
