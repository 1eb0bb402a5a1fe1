//! The order in which a session reads and writes the workspace, with the vector that each unit of four elements holds instead
//! of its values: whoever reads a vector must find all of it.

use crate::encode::{ModelParams, as_bytes, encode, random_config, sample_configs};
use crate::format::VectorId;
use crate::model::layer::{Op, Place, Region};
use crate::model::{Model, ModelView, Segment};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// What a unit of four elements holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Vector(VectorId),
    /// The inputs of a layer, joined.
    Operand(usize),
    /// The own memory of a recurrent layer.
    Scratch(usize),
    /// The sums of a mean and its steps.
    Sums(usize),
    Output(usize),
}

/// The three regions.
struct Shadow {
    state: Vec<Content>,
    wide: Vec<Content>,
    scratch: Vec<Content>,
}

impl Shadow {
    fn region(&mut self, place: Place, quads: usize) -> &mut [Content] {
        let start = place.start();
        let region = match place.region() {
            Region::State => &mut self.state,
            Region::Scratch => &mut self.scratch,
        };
        &mut region[start..start + quads]
    }

    fn wide(&mut self, start: u16, quads: usize) -> &mut [Content] {
        &mut self.wide[usize::from(start)..][..quads]
    }
}

struct Simulation<'m> {
    model: &'m ModelView<'m>,
    shadow: Shadow,
    gathered: usize,
    in_place: usize,
}

fn expect(found: &[Content], expected: Content, who: usize) {
    assert!(
        found.iter().all(|content| *content == expected),
        "layer {who} needs {expected:?}, found {found:?}"
    );
}

impl<'m> Simulation<'m> {
    fn new(model: &'m ModelView<'m>) -> Self {
        let plan = model.plan();
        let region = |quads: u16| vec![Content::Nothing; quads.into()];
        let shadow = Shadow {
            state: region(plan.state),
            wide: region(plan.wide),
            scratch: region(plan.scratch),
        };
        let mut simulation = Self {
            model,
            shadow,
            gathered: 0,
            in_place: 0,
        };
        // A reset writes zeros to all that is kept.
        for (index, layer) in model.layers().enumerate() {
            if layer.result.region() == Region::State && has_place(&layer.op) {
                simulation.write(index);
            }
            match &layer.op {
                Op::Recurrent(recurrent) => {
                    let quads = recurrent.layer.config().cell_state_len() / 4;
                    let content = Content::Vector(VectorId::cell_state(index));
                    simulation.shadow.wide(recurrent.cell, quads).fill(content);
                }
                Op::Mean { sums, .. } => {
                    let sums = simulation.shadow.wide(*sums, layer.quads() + 1);
                    sums.fill(Content::Sums(index));
                }
                _ => {}
            }
        }
        simulation
    }

    fn write(&mut self, index: usize) {
        let layer = self.model.layer(index).unwrap();
        let content = Content::Vector(VectorId::result(index));
        self.shadow
            .region(layer.result, layer.quads())
            .fill(content);
    }

    /// Checks that the vector `id` is where its readers look for it.
    fn read(&mut self, id: VectorId, who: usize) {
        let layer = self.model.layer(id.layer()).unwrap();
        let found = match &layer.op {
            Op::Constant { .. } | Op::ConstantCell { .. } | Op::GateRows { .. } => return,
            Op::Recurrent(recurrent) if id.is_cell_state() => {
                self.shadow.wide(recurrent.cell, layer.quads())
            }
            _ => self.shadow.region(layer.result, layer.quads()),
        };
        expect(found, Content::Vector(id), who);
    }

    fn run(&mut self, index: usize) {
        let layer = self.model.layer(index).unwrap();
        for id in layer.inputs.iter() {
            self.read(id, index);
        }
        let input_quads = match &layer.op {
            Op::Dense { layer, .. } => layer.config().input_size / 4,
            Op::Recurrent(recurrent) => recurrent.layer.config().input_size / 4,
            _ => 0,
        };
        if layer.gather {
            self.gathered += 1;
            self.shadow
                .region(layer.operand, input_quads)
                .fill(Content::Operand(index));
            // All inputs are still there when the last one is copied.
            layer.inputs.iter().for_each(|id| self.read(id, index));
        } else if input_quads > 0 {
            self.in_place += 1;
            let mut place = layer.operand;
            for id in layer.inputs.iter() {
                let input = self.model.layer(id.layer()).unwrap();
                assert!(
                    !id.is_cell_state() && input.result == place,
                    "layer {index}"
                );
                place = place.offset(input.quads());
            }
        }
        match &layer.op {
            Op::Recurrent(recurrent) => {
                let config = recurrent.layer.config();
                let end = layer.operand.start() + input_quads;
                assert_eq!(layer.result.region(), layer.operand.region());
                assert_eq!(layer.result.start(), end, "[x; h] is one slice");
                let place = Place::new(Region::Scratch, recurrent.scratch);
                let quads = config.scratch_len() / 4;
                self.shadow
                    .region(place, quads)
                    .fill(Content::Scratch(index));
                let hidden = VectorId::result(index);
                self.read(hidden, index);
                if layer.gather {
                    let operand = self.shadow.region(layer.operand, input_quads);
                    expect(operand, Content::Operand(index), index);
                } else {
                    layer.inputs.iter().for_each(|id| self.read(id, index));
                }
                let content = Content::Vector(VectorId::cell_state(index));
                let cell = self
                    .shadow
                    .wide(recurrent.cell, config.cell_state_len() / 4);
                expect(cell, content, index);
                self.write(index);
            }
            Op::Mean { sums, .. } => {
                let sums = self.shadow.wide(*sums, layer.quads() + 1);
                expect(sums, Content::Sums(index), index);
            }
            op if has_place(op) => {
                self.write(index);
                // What is read is not written.
                if !layer.gather {
                    layer.inputs.iter().for_each(|id| self.read(id, index));
                }
            }
            _ => {}
        }
    }

    fn run_all(&mut self, layers: Range<usize>) {
        layers.for_each(|index| self.run(index));
    }

    fn initialize(&mut self, segment: Segment) {
        for index in self.model.segments().range(segment) {
            let layer = self.model.layer(index).unwrap();
            let Op::Recurrent(recurrent) = &layer.op else {
                continue;
            };
            let [hidden, cell] = recurrent.init;
            if let Some(id) = hidden {
                self.read(id, index);
                self.write(index);
            }
            if let Some(id) = cell {
                self.read(id, index);
                let content = Content::Vector(VectorId::cell_state(index));
                self.shadow
                    .wide(recurrent.cell, layer.quads())
                    .fill(content);
            }
        }
    }

    fn steps(&mut self, segment: Segment) {
        let ([before, recurrent, after], steps) = self.model.segments().parts(segment.phase());
        self.run_all(before);
        for _ in 0..steps {
            self.run_all(recurrent.clone());
        }
        self.run_all(after);
    }

    fn outputs(&mut self) {
        let (model, segments) = (self.model, self.model.segments());
        for index in segments.range(Segment::Step) {
            if let Op::Mean { sums, .. } = model.layer(index).unwrap().op {
                let quads = model.layer(index).unwrap().quads();
                expect(
                    self.shadow.wide(sums, quads + 1),
                    Content::Sums(index),
                    index,
                );
                self.write(index);
            }
        }
        self.run_all(segments.range(Segment::Output));
        for (index, output) in model
            .outputs()
            .iter()
            .enumerate()
            .filter(|(_, out)| out.copied)
        {
            self.read(output.config.vector, index);
            let quads = output.len().div_ceil(4);
            self.shadow
                .region(output.place, quads)
                .fill(Content::Output(index));
        }
        for (index, output) in model.outputs().iter().enumerate() {
            let content = match output.copied {
                true => Content::Output(index),
                false => Content::Vector(output.config.vector),
            };
            assert_eq!(output.place.region(), Region::Scratch);
            expect(
                self.shadow.region(output.place, output.len().div_ceil(4)),
                content,
                index,
            );
        }
    }

    /// Everything that a session can do, with outputs between all of it.
    fn session(&mut self) {
        let segments = self.model.segments();
        let has_source = self.model.has_source();
        self.outputs();
        self.run_all(segments.range(Segment::BeginSource));
        if has_source {
            self.initialize(Segment::Source);
            for _ in 0..2 {
                self.steps(Segment::Source);
                self.outputs();
            }
            self.run_all(segments.range(Segment::BeginStep));
        }
        self.initialize(Segment::Step);
        for _ in 0..3 {
            self.steps(Segment::Step);
            self.outputs();
        }
        self.outputs();
    }
}

fn has_place(op: &Op) -> bool {
    !matches!(
        op,
        Op::GateRows { .. } | Op::Constant { .. } | Op::ConstantCell { .. } | Op::Mean { .. }
    )
}

#[test]
fn no_two_vectors_that_are_needed_overlap() {
    let samples = sample_configs().into_iter();
    let samples = samples.map(|(name, config)| (String::from(name), config));
    let random = (0..3000).map(|seed| (alloc::format!("seed {seed}"), random_config(seed)));
    let (mut gathered, mut in_place) = (0, 0);
    for (name, config) in samples.chain(random) {
        std::println!("{name}");
        let words = encode(&ModelParams::random(1, &config)).unwrap();
        let model = Model::parse(as_bytes(&words)).unwrap();
        let mut simulation = Simulation::new(&model);
        simulation.session();
        gathered += simulation.gathered;
        in_place += simulation.in_place;
    }
    assert!(gathered > 1000 && in_place > 1000, "{gathered}, {in_place}");
}

/// The layers of a stack stand one after another: only the first one's input is copied, if it is not in place.
#[test]
fn a_stack_copies_nothing() {
    for (name, config) in sample_configs() {
        let words = encode(&ModelParams::random(1, &config)).unwrap();
        let model = Model::parse(as_bytes(&words)).unwrap();
        let gathers = model.layers().filter(|layer| layer.gather).count();
        // The cell state and joined inputs are copied, and the input of each step that the begin layers compute is not.
        let expected = match name {
            "joined" => 3,
            "translator" => 1,
            _ => 0,
        };
        assert_eq!(gathers, expected, "{name}");
    }
}
