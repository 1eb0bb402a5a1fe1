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
use crate::format::{ModelError, VectorId};

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

/// Gives out places in the regions.
struct Planner {
    plan: Plan,
    /// The end of the vectors of this segment in the scratch region.
    live: usize,
}

fn too_large() -> ModelError {
    ModelError::OutOfRange {
        what: "bytes of workspace",
        expected: 8 * u32::from(u16::MAX),
        found: u32::MAX,
    }
}

/// `n` more than `end`: where they begin, and the new end.
fn grow(end: &mut u16, n: usize) -> Result<u16, ModelError> {
    let start = *end;
    *end = u16::try_from(usize::from(start) + n).map_err(|_| too_large())?;
    Ok(start)
}

impl Planner {
    fn allocate(&mut self, region: Region, quads: usize) -> Result<Place, ModelError> {
        let start = match region {
            Region::State => grow(&mut self.plan.state, quads)?,
            Region::Scratch => {
                let start = self.reserve(quads)?;
                self.live += quads;
                start
            }
        };
        Ok(Place { region, start })
    }

    /// Scratch memory after what lives there, for one layer.
    fn reserve(&mut self, quads: usize) -> Result<u16, ModelError> {
        let end = u16::try_from(self.live + quads).map_err(|_| too_large())?;
        self.plan.scratch = self.plan.scratch.max(end);
        Ok(self.live as u16)
    }
}

/// Places the vectors of all layers and outputs.
pub(super) fn place(
    layers: &mut [Option<Layer>],
    segments: &Segments,
    outputs: &mut [Output],
) -> Result<Plan, ModelError> {
    let mut planner = Planner {
        plan: Plan::default(),
        live: 0,
    };
    for segment in Segment::ALL {
        planner.live = 0;
        if segment == Segment::Output {
            place_means(layers, &mut planner)?;
        }
        for index in segments.range(segment) {
            let Some(layer) = layers.get(index).copied().flatten() else {
                continue;
            };
            let placed = place_layer(layer, index, layers, segments, outputs, &mut planner)?;
            if let Some(slot) = layers.get_mut(index) {
                *slot = Some(placed);
            }
        }
    }
    for output in outputs {
        let vector = layers.get(output.config.vector.layer()).copied().flatten();
        let Some(layer) = vector else { continue };
        // Every output can be read, and reordered, in the scratch region.
        output.copied = layer.result.region == Region::State || is_constant(&layer);
        output.place = match output.copied {
            true => planner.allocate(Region::Scratch, layer.quads())?,
            false => layer.result,
        };
    }
    Ok(planner.plan)
}

fn is_constant(layer: &Layer) -> bool {
    matches!(layer.op, Op::Constant { .. } | Op::ConstantCell { .. })
}

/// A mean is computed when outputs are asked for.
fn place_means(layers: &mut [Option<Layer>], planner: &mut Planner) -> Result<(), ModelError> {
    for layer in layers.iter_mut().flatten() {
        let quads = layer.quads();
        if let Op::Mean { sums, .. } = &mut layer.op {
            *sums = grow(&mut planner.plan.wide, quads + 1)?;
            layer.result = planner.allocate(Region::Scratch, quads)?;
        }
    }
    Ok(())
}

fn place_layer<'a>(
    mut layer: Layer<'a>,
    index: usize,
    layers: &[Option<Layer<'a>>],
    segments: &Segments,
    outputs: &[Output],
    planner: &mut Planner,
) -> Result<Layer<'a>, ModelError> {
    let quads = layer.quads();
    let inputs = contiguous(&layer, layers);
    match &mut layer.op {
        Op::GateRows { .. } | Op::Constant { .. } | Op::ConstantCell { .. } | Op::Mean { .. } => {}
        Op::Recurrent(recurrent) => {
            let config = recurrent.layer.config();
            let input_quads = config.input_size / 4;
            let in_place = inputs.filter(|place| {
                let end = usize::from(place.start) + input_quads;
                place.region == Region::State && end == usize::from(planner.plan.state)
            });
            layer.gather = input_quads > 0 && in_place.is_none();
            layer.operand = match in_place {
                Some(place) if input_quads > 0 => place,
                _ => planner.allocate(Region::State, input_quads)?,
            };
            layer.result = planner.allocate(Region::State, quads)?;
            recurrent.cell = grow(&mut planner.plan.wide, config.cell_state_len() / 4)?;
            recurrent.scratch = planner.reserve(config.scratch_len() / 4)?;
        }
        Op::Dense { layer: dense, .. } => {
            layer.gather = inputs.is_none();
            layer.operand = match inputs {
                Some(place) => place,
                None => planner.allocate(Region::Scratch, dense.config().input_size / 4)?,
            };
            let region = region(index, layers, segments, outputs);
            layer.result = planner.allocate(region, quads)?;
        }
        _ => {
            let region = region(index, layers, segments, outputs);
            layer.result = planner.allocate(region, quads)?;
        }
    }
    Ok(layer)
}

/// Where the joined inputs of `layer` are, if they stand one after another.
fn contiguous(layer: &Layer, layers: &[Option<Layer>]) -> Option<Place> {
    let mut joined: Option<(Place, usize)> = None;
    for id in layer.inputs.iter() {
        let input = layers.get(id.layer())?.as_ref()?;
        if id.is_cell_state() || is_constant(input) {
            return None;
        }
        let place = input.result;
        let end = usize::from(place.start) + input.quads();
        joined = match joined {
            None => Some((place, end)),
            Some((first, before))
                if first.region == place.region && before == usize::from(place.start) =>
            {
                Some((first, end))
            }
            _ => return None,
        };
    }
    joined.map(|(place, _)| place)
}

/// The region of the result of layer `index`.
fn region(
    index: usize,
    layers: &[Option<Layer>],
    segments: &Segments,
    outputs: &[Output],
) -> Region {
    let own = segments.of(index);
    let id = VectorId::result(index);
    let readers = || {
        let reads =
            move |(_, layer): &(usize, &Layer)| layer.inputs.iter().any(|input| input == id);
        layers.iter().flatten().enumerate().filter(reads)
    };
    let other_segment = readers().any(|(reader, _)| segments.of(reader) != own);
    // Initial states are set right after a begin segment has run.
    let begins = |layer: &Layer, reader: usize| {
        let Op::Recurrent(recurrent) = &layer.op else {
            return false;
        };
        let before = match segments.of(reader) {
            Segment::Source => Segment::BeginSource,
            _ if segments.range(Segment::Source).is_empty() => Segment::BeginSource,
            _ => Segment::BeginStep,
        };
        recurrent.init.contains(&Some(id)) && own != before
    };
    let initial = layers.iter().flatten().enumerate();
    let initial = initial
        .into_iter()
        .any(|(reader, layer)| begins(layer, reader));
    let output = own != Segment::Output && outputs.iter().any(|out| out.config.vector == id);
    let set_by_caller = matches!(own, Segment::BeginSource | Segment::BeginStep)
        && layers
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(|layer| layer.exponents().is_some());
    // The input of one recurrent layer goes right before its hidden state.
    let alone = {
        let mut readers = readers();
        let first = readers
            .next()
            .filter(|(_, layer)| layer.cell().is_some() && layer.inputs.single().is_some());
        first.is_some() && readers.next().is_none()
    };
    match other_segment || initial || output || set_by_caller || alone {
        true => Region::State,
        false => Region::Scratch,
    }
}

#[cfg(test)]
mod tests;
