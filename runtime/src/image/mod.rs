//! The image: trained, quantized networks in one run of bytes that is read where it stands.
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | magic `PIPS` |
//! | 4..8 | CRC-32 (ISO-HDLC) of everything after |
//! | 8..10 | format version |
//! | 10..12 | length of the metadata, m |
//! | 12..16 | length of the image |
//! | 16..20 | digest of the outputs over a fixed sequence of inputs: [`crate::selftest::digest`] |
//! | 20..20+m | metadata, postcard: [`Metadata`], then [`Provenance`] |
//! | then | sections, each 4-byte aligned by zeros, in this order and with no lengths of their own: the shapes say them |
//!
//! All numbers are little-endian. H, E and V below are padded to multiples of 4, but V stands as it is where tokens index.
//!
//! | section | type and shape |
//! |---|---|
//! | each vocabulary but one of bytes | u32 offsets `[V + 1]`, u16 ids by text `[V - specials]`, texts |
//! | of each network, the encoder's first: | |
//! | token table | i8 `[V][gates x H]`, in the order of [`pipsqueak_kernels::cell`]: what a token adds, times its row's factor |
//! | or embedding | i8 `[V][E]`, in 1/128 of each column's scale, which the weights hold |
//! | or channels | i8 `[count]`: an element of the input is below 2^this |
//! | features | i8 `[features]`: the same of the feature vector; where the input is made of it, this alone |
//! | the input's dense layers | [`pipsqueak_kernels::dense`] |
//! | each layer | [`pipsqueak_kernels::cell`]; its weights and those of a dense layer have 8 bits, or 4 in groups that have scales; those over its input may have 8 beside 4 |
//! | each layer's starts | i16 or i32 `[H]`, or dense layers |
//! | the head's dense layers | [`pipsqueak_kernels::dense`] |
//! | of all networks: interface | names of the graph's arrays, for the host |
//!
//! Numbers from outside and dense layers in between have a format of their own: a hidden state has 15 less its layer's shift
//! fraction bits, a cell state is Q8.23 and enters a dense layer as Q5.10, a vector's element is Q15 of its channel's power of 2.
//!
//! The CRC finds accidents, not intent: whoever can write an image can write its CRC. So nothing is trusted for being
//! covered by it, and [`Image::parse`] checks shapes, vocabulary and the range of every row from the weights themselves.

use crate::certificate;
use crate::vocabulary::Vocabulary;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use pipsqueak_kernels::cell::RecurrentConfig;
use pipsqueak_kernels::packed::{GateGroup, PANEL_ROWS, round_up as padded};
use serde::{Deserialize, Serialize};

mod error;
mod metadata;

pub use crate::bits::{Bits, Columns};
pub use error::ImageError;
pub use metadata::{
    Dense, Input, Layer, MAX_DENSE, MAX_LAYERS, MAX_NETWORKS, MAX_STEPS_PER_TOKEN, MAX_UNITS,
    Metadata, Network, Normalization, Reads, Recurrent, Specials, Start, StartFrom,
    VocabularyShape,
};
pub use pipsqueak_kernels::cell::{Cell, MAX_STATE_SHIFT};
pub use pipsqueak_kernels::dense::Activation;
use pipsqueak_kernels::dense::DenseConfig;

/// The first bytes of an image.
pub const MAGIC: [u8; 4] = *b"PIPS";
/// The format that this library reads and writes.
pub const VERSION: u16 = 4;
/// Bytes before the metadata.
pub const HEADER_LEN: usize = 20;
/// The cell state enters a dense layer with this many fraction bits less than 15.
pub const CELL_SHIFT: u32 = 5;

/// Where a network comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance<'a> {
    /// The corpus' file name.
    pub corpus: &'a str,
    /// The part of it that was trained on.
    pub split: &'a str,
    /// Optimizer steps done.
    pub steps: u32,
    /// Seed of the training.
    pub seed: u64,
    /// Loss on the training part in 1/1000 nats per token.
    pub train_loss: Option<u16>,
    /// Loss on the validation part in 1/1000 nats per token.
    pub validation_loss: Option<u16>,
}

/// What an image does with a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A language model: it goes on with it.
    Continue,
    /// An encoder and a decoder: they make another text of it.
    Translate,
    /// A network with one output for all of it: it names its class.
    Classify,
    /// A network that makes a text of a feature vector: the line is that, `name=value` by `name=value`.
    Describe,
    /// Nothing: it takes or gives numbers, or its tokens' texts are not known.
    Numbers,
}

/// A checked image. It borrows the bytes and holds no copy of them.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The image and nothing after it.
    bytes: &'a [u8],
    networks: heapless::Vec<Placed, MAX_NETWORKS>,
    layers: heapless::Vec<Recurrent, MAX_LAYERS>,
    dense: heapless::Vec<Dense, MAX_DENSE>,
    /// Of what goes in, if another, and of what comes out.
    vocabularies: [Vocabulary<'a>; 2],
    limit: u16,
}

/// A network and where its sections are, in bytes.
#[derive(Clone, Copy, Debug)]
struct Placed {
    network: Network,
    /// Its table, embedding or channels.
    input: u32,
    /// Everything in words, from the input's dense layers on.
    rows: u32,
    /// The head's first dense layer.
    head: u32,
    /// Elements, padded, of what the first layer reads, or the head where there is no layer.
    width: u16,
    /// Where its recurrent layers begin in the image's list.
    layers: u8,
    /// Where its dense layers begin in the image's list, and where they end.
    dense: [u8; 2],
}

/// A part of a network that is made of words, in the order of the image.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    /// A dense layer of the input, of a start, or of the head, over so many columns.
    Dense {
        dense: Dense,
        columns: usize,
        head: bool,
    },
    /// A recurrent layer.
    Layer(RecurrentConfig),
    /// A constant start of so many words.
    Constant(usize),
}

impl Group {
    /// Its words.
    pub fn words(&self) -> usize {
        match self {
            Self::Dense { dense, columns, .. } => dense.config(*columns).weights_len(),
            Self::Layer(shape) => shape.weights_len(),
            Self::Constant(words) => *words,
        }
    }
}

impl Dense {
    pub(crate) fn config(self, columns: usize) -> DenseConfig {
        DenseConfig {
            input_size: columns,
            output_size: padded(self.outputs.into()),
            format: self.bits().formats()[0],
            activation: self.activation,
        }
    }
}

/// What does not fit together.
fn misfit<T>(what: &'static str) -> Result<T, ImageError> {
    Err(ImageError::Parts { what })
}

impl<'a> Image<'a> {
    /// Checks `bytes` and reads them in place. They may go on after the image, as a board's slot does.
    ///
    /// Whatever this accepts runs without a panic, an overflow or a read out of bounds, be the CRC right or made to be right.
    ///
    /// # Errors
    /// The first [`ImageError`] met. Never panics, for any bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ImageError> {
        let (bytes, metadata) = frame(bytes)?;
        let header = HEADER_LEN + metadata.len();
        let (metadata, _) = Metadata::decode(metadata).ok_or(ImageError::Metadata)?;
        metadata.check()?;
        let mut sections = Sections {
            rest: bytes.get(padded(header)..).unwrap_or_default(),
            taken: padded(header),
        };
        let [source, target] = &metadata.vocabularies;
        let mut image = Self {
            bytes,
            networks: heapless::Vec::new(),
            vocabularies: [
                Vocabulary::take(&mut sections, source)?,
                Vocabulary::take(&mut sections, target)?,
            ],
            layers: metadata.layers,
            dense: metadata.dense,
            limit: metadata.limit,
        };
        for network in metadata.networks {
            image.place(&mut sections, network)?;
        }
        sections.take::<u8>(metadata.interface_len as usize)?;
        if !sections.rest.is_empty() {
            return Err(ImageError::Length {
                expected: sections.taken as u32,
                found: bytes.len() as u32,
            });
        }
        image.check_vocabularies()?;
        let last = image.networks.last();
        let ends = last.map_or((0, 0), |last| {
            let layers = last.layers + last.network.layers;
            (usize::from(layers), usize::from(last.dense[1]))
        });
        if ends != (image.layers.len(), image.dense.len()) {
            return misfit("layers that no network has");
        }
        let mut refused = Ok(());
        image.panels(&mut |panel| {
            refused = certificate::check(panel).map_err(|lane| ImageError::Range {
                layer: panel.layer,
                row: panel.row + lane,
            });
            refused.is_ok()
        });
        refused.map(|()| image)
    }

    /// Takes the sections of `network`, the next one.
    fn place(&mut self, sections: &mut Sections<'a>, network: Network) -> Result<(), ImageError> {
        let index = self.networks.len();
        let at = |sections: &Sections| sections.taken as u32;
        let before = self.networks.last();
        let mut placed = Placed {
            network,
            input: at(sections),
            rows: 0,
            head: 0,
            width: 0,
            layers: before.map_or(0, |before| before.layers + before.network.layers),
            dense: [before.map_or(0, |before| before.dense[1]); 2],
        };
        // Both lists are short: no sum of lengths that they have leaves 8 bits, and others are refused.
        let layers = self.layers.get(placed.layers.into()..).unwrap_or_default();
        let starts = layers
            .iter()
            .take(network.layers.into())
            .flat_map(|layer| layer.starts);
        let starts = starts.map(|start| start.dense);
        placed.dense[1] = starts.fold(placed.dense[0], u8::saturating_add);
        for count in [network.dense, network.head] {
            placed.dense[1] = placed.dense[1].saturating_add(count);
        }
        if placed.dense[1] as usize > MAX_DENSE || network.layers as usize > MAX_LAYERS {
            return misfit("too few layers");
        }
        // What follows asks for its layers.
        let _ = self.networks.push(placed);
        let chain = self.dense(index).get(..network.dense.into());
        let width = chain
            .and_then(<[_]>::last)
            .map_or(self.raw_width(index), |last| padded(last.outputs.into()));
        // A chain may end in 65,533 to 65,535 outputs.
        let Ok(width) = u16::try_from(width) else {
            return misfit("a layer over too many elements");
        };
        placed.width = width;
        if let Some(last) = self.networks.last_mut() {
            *last = placed;
        }
        let input = self.token_len(index).saturating_mul(match network.input {
            Input::Table | Input::Embedding(_) => network.count.into(),
            _ => 1,
        });
        sections.take::<u8>(input)?;
        sections.take::<u8>(network.features.into())?;
        placed.rows = at(sections);
        let mut head = None;
        self.groups(index, &mut |group| {
            if matches!(group, Group::Dense { head: true, .. }) {
                head.get_or_insert(at(sections));
            }
            sections.take::<u32>(group.words()).map(|_| ())
        })?;
        placed.head = head.unwrap_or(at(sections));
        if let Some(last) = self.networks.last_mut() {
            *last = placed;
        }
        Ok(())
    }

    /// That vocabularies are of what they are used for.
    fn check_vocabularies(&self) -> Result<(), ImageError> {
        let Some(first) = self.networks.first() else {
            return Ok(());
        };
        let [source, target] = &self.vocabularies;
        let in_count = match (first.network.features, first.network.input) {
            (0, _) => first.network.count,
            (features, _) => features,
        };
        if !source.is_empty() && source.len() != usize::from(in_count) {
            return misfit("a vocabulary of another size than the inputs");
        }
        if !target.is_empty() && target.len() != self.outputs() {
            return misfit("a vocabulary of another size than the outputs");
        }
        // Steps are counted for one.
        let mean = |placed: &&Placed| placed.network.reads == Reads::Mean;
        if self.networks.iter().filter(mean).count() > 1 {
            return misfit("two heads that read a mean");
        }
        Ok(())
    }

    /// What it does with a line of text.
    pub fn task(&self) -> Task {
        let [source, target] = [self.source(), self.vocabulary()].map(|v| !v.is_empty());
        let main = self.network(self.main());
        let features = main.is_some_and(|network| network.features > 0);
        let tokens = main.is_some_and(Network::reads_tokens);
        let once = main.is_some_and(|network| network.reads != Reads::EveryStep);
        match (self.generates() && target, source) {
            (true, true) if features => Task::Describe,
            (true, true) => Task::Translate,
            (true, false) if !features && self.networks.len() == 1 => Task::Continue,
            (false, true) if once && tokens && !features => Task::Classify,
            _ => Task::Numbers,
        }
    }

    /// Whether the outputs are tokens that are fed back: a language model, or what makes a text of a source or of features.
    pub fn generates(&self) -> bool {
        let Some(main) = self.network(self.main()) else {
            return false;
        };
        let same = self.networks.len() > 1 || main.features > 0 || self.source().is_empty();
        let back = main.reads_tokens() && usize::from(main.count) == self.outputs();
        same && back && main.reads == Reads::EveryStep
    }

    /// Visits the parts of network `index` in the order of the image, until `visit` fails.
    ///
    /// # Errors
    /// The visit's, or that they do not fit together. What [`parse`](Self::parse) accepted fits.
    pub(crate) fn groups(&self, index: usize, visit: Visit) -> Result<(), ImageError> {
        let (Some(network), layers) = (self.network(index), self.layers(index)) else {
            return Ok(());
        };
        if layers.len() != usize::from(network.layers) {
            return misfit("too few layers");
        }
        let mut dense = self.dense(index);
        let mut width = self.raw_width(index);
        if network.dense > 0 && network.reads_tokens() {
            return misfit("dense layers between a token and the first layer");
        }
        if width == 0 && (layers.is_empty() || network.input != Input::Table) {
            return misfit("nothing that the first layer reads");
        }
        width = chain(&mut dense, network.dense, width, false, visit)?;
        for recurrent in layers {
            visit(Group::Layer(recurrent.shape(width)))?;
            width = recurrent.units();
        }
        for recurrent in layers {
            let units = recurrent.units();
            let cell = recurrent.layer.cell == Cell::Lstm;
            for (is_cell, start) in [(false, recurrent.starts[0]), (true, recurrent.starts[1])] {
                let from = match start.from() {
                    StartFrom::Zero => continue,
                    _ if is_cell && !cell => return misfit("a cell state that is not there"),
                    StartFrom::Constant if is_cell => {
                        visit(Group::Constant(units))?;
                        continue;
                    }
                    StartFrom::Constant => {
                        visit(Group::Constant(units / 2))?;
                        continue;
                    }
                    StartFrom::Features if start.dense == 0 => 0,
                    StartFrom::Features => padded(network.features.into()),
                    StartFrom::Encoder { layer, cell } => self.encoder_units(index, layer, cell),
                };
                let made = chain(&mut dense, start.dense, from, false, visit)?;
                if made != units {
                    return misfit("a start of another size than the state");
                }
            }
        }
        chain(&mut dense, network.head, width, true, visit)?;
        if !dense.is_empty() {
            return misfit("dense layers that nothing reads");
        }
        if network.head == 0 && layers.is_empty() {
            return misfit("no outputs");
        }
        match (network.input, self.dense(index).last()) {
            (Input::Tied { .. }, Some(last))
                if network.head > 0 && last.outputs == network.count =>
            {
                match last.bits() {
                    Bits::Eight => Ok(()),
                    Bits::Four | Bits::Mixed => misfit("an embedding that is a head of 4 bits"),
                }
            }
            (Input::Tied { .. }, _) => misfit("an embedding that is not the head's"),
            _ => Ok(()),
        }
    }

    /// Visits the panels of rows in the order of the image, until `visit` is false.
    pub(crate) fn panels(&self, visit: &mut dyn FnMut(&PanelWords) -> bool) {
        let mut go_on = true;
        let mut layer = 0;
        for index in 0..self.networks.len() {
            let mut words = self.rows(index);
            // What was parsed fits together.
            let _ = self.groups(index, &mut |group| {
                let words = words.split_off(..group.words()).unwrap_or_default();
                let mut row = 0;
                let mut take = |group: GateGroup| {
                    go_on = go_on && visit(&PanelWords { layer, row, group });
                    row += (PANEL_ROWS * group.num_gates()) as u32;
                };
                match group {
                    Group::Constant(_) => return Ok(()),
                    Group::Layer(config) => {
                        let layer = config.layer(words);
                        layer
                            .iter()
                            .flat_map(|l| l.gate_groups())
                            .for_each(&mut take);
                    }
                    Group::Dense { dense, columns, .. } => {
                        let layer = dense.config(columns).layer(words);
                        layer
                            .iter()
                            .flat_map(|l| l.gate_groups())
                            .for_each(&mut take);
                    }
                }
                layer += 1;
                Ok(())
            });
        }
    }

    /// The number of networks: 1, or 2 for an encoder and then a decoder. The last one is what gives the outputs.
    pub fn networks(&self) -> usize {
        self.networks.len()
    }

    /// Network `index`, from 0.
    pub fn network(&self, index: usize) -> Option<&Network> {
        self.networks.get(index).map(|placed| &placed.network)
    }

    /// The last network, the one that gives the outputs.
    pub fn main(&self) -> usize {
        self.networks.len().saturating_sub(1)
    }

    /// The recurrent layers of network `index`, from the input on.
    pub fn layers(&self, index: usize) -> &[Recurrent] {
        let placed = self.networks.get(index);
        placed.map_or(&[], |placed| {
            let start = usize::from(placed.layers);
            let end = start + usize::from(placed.network.layers);
            self.layers.get(start..end).unwrap_or_default()
        })
    }

    /// The dense layers of network `index`: its input's, its starts', its head's.
    pub fn dense(&self, index: usize) -> &[Dense] {
        let placed = self.networks.get(index);
        placed.map_or(&[], |placed| {
            let [start, end] = placed.dense.map(usize::from);
            self.dense.get(start..end).unwrap_or_default()
        })
    }

    /// Elements, padded, of what comes into network `index` at a step: 0 where a table of tokens has the products.
    pub(crate) fn raw_width(&self, index: usize) -> usize {
        let Some(network) = self.network(index) else {
            return 0;
        };
        padded(match network.input {
            Input::Table => 0,
            Input::Embedding(columns) => columns.into(),
            Input::Vectors => network.count.into(),
            Input::Features { .. } => network.features.into(),
            Input::Tied { .. } => {
                let above = match (network.head, self.dense(index)) {
                    (2.., [.., before, _]) => before.outputs,
                    _ => self
                        .layers(index)
                        .last()
                        .map_or(0, |last| last.layer.hidden),
                };
                above.into()
            }
        })
    }

    /// Elements, padded, of what the first layer of network `index` reads, or the head where there is no layer; 0 over a
    /// token table.
    pub fn width(&self, index: usize) -> usize {
        self.networks
            .get(index)
            .map_or(0, |placed| placed.width.into())
    }

    /// Elements, padded, of a state of the encoder of network `index`; 0 where there is none.
    fn encoder_units(&self, index: usize, layer: usize, cell: bool) -> usize {
        let encoder = index.checked_sub(1).map(|encoder| self.layers(encoder));
        let layer = encoder.and_then(|layers| layers.get(layer));
        layer.map_or(0, |layer| {
            if cell {
                layer.shape(0).cell_state_len()
            } else {
                layer.units()
            }
        })
    }

    /// Bytes of a token's row in the table or embedding of network `index`, or of its channels.
    fn token_len(&self, index: usize) -> usize {
        let Some(network) = self.network(index) else {
            return 0;
        };
        match network.input {
            Input::Table => {
                let first = self.layers(index).first();
                first.map_or(0, |layer| layer.layer.cell.num_gates() * layer.units())
            }
            Input::Embedding(columns) => padded(columns.into()),
            Input::Vectors => network.count.into(),
            Input::Tied { .. } | Input::Features { .. } => 0,
        }
    }

    /// The row of `token` in the table or embedding of network `index`; token 0's for one that is not there.
    pub(crate) fn token_row(&self, index: usize, token: u16) -> &'a [i8] {
        let Some(Placed { network, input, .. }) = self.networks.get(index) else {
            return &[];
        };
        let token = if token < network.count { token } else { 0 };
        let length = self.token_len(index);
        let start = *input as usize + usize::from(token) * length;
        bytemuck::cast_slice(self.bytes.get(start..start + length).unwrap_or_default())
    }

    /// The channels of the vectors that network `index` is fed: an element is below 2^channel.
    pub fn channels(&self, index: usize) -> &'a [i8] {
        match self.network(index).map(|network| network.input) {
            Some(Input::Vectors) => self.token_row(index, 0),
            _ => &[],
        }
    }

    /// The channels of the feature vector of network `index`: an element is below 2^channel.
    pub fn feature_channels(&self, index: usize) -> &'a [i8] {
        let Some(Placed { network, rows, .. }) = self.networks.get(index) else {
            return &[];
        };
        let features = usize::from(network.features);
        let start = (*rows as usize).saturating_sub(padded(features));
        let channels = self.bytes.get(start..start + features);
        bytemuck::cast_slice(channels.unwrap_or_default())
    }

    /// The words of network `index` from its input's dense layers on, and of all that comes after them.
    pub(crate) fn rows(&self, index: usize) -> &'a [u32] {
        self.words_from(self.networks.get(index).map_or(0, |placed| placed.rows))
    }

    /// The words of the head of network `index`, and of all that comes after them.
    pub(crate) fn head(&self, index: usize) -> &'a [u32] {
        self.words_from(self.networks.get(index).map_or(0, |placed| placed.head))
    }

    fn words_from(&self, start: u32) -> &'a [u32] {
        // Names at the end may have any length.
        let words = self.bytes.len() & !3;
        let bytes = self.bytes.get(start as usize..words).unwrap_or_default();
        bytemuck::try_cast_slice(bytes).unwrap_or_default()
    }

    /// Bytes of the image.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// 32-bit words of memory that a [`crate::State`] or [`crate::Generator`] of this image needs.
    pub fn workspace_len(&self) -> usize {
        crate::state::Plan::new(self).words()
    }

    /// The texts of what comes out: tokens, or classes. It is empty where they are not known.
    pub fn vocabulary(&self) -> Vocabulary<'a> {
        self.vocabularies[1]
    }

    /// The texts of what goes in first, where it is something else than what comes out: tokens of an encoder or a
    /// classifier, or names of channels. Else it is empty.
    pub fn source(&self) -> Vocabulary<'a> {
        self.vocabularies[0]
    }

    /// Values that the head gives: tokens or classes, V.
    pub fn outputs(&self) -> usize {
        self.outputs_of(self.main())
    }

    /// Values that the head of network `index` gives.
    pub fn outputs_of(&self, index: usize) -> usize {
        let dense = self.dense(index).last();
        let head = self.network(index).is_some_and(|network| network.head > 0);
        let top = || self.layers(index).last().map(|layer| layer.layer.hidden);
        let outputs = dense
            .filter(|_| head)
            .map(|dense| dense.outputs)
            .or_else(top);
        outputs.map_or(self.width(index), usize::from)
    }

    /// Elements of the embedding of the last network, or 0 where it has a token table or no tokens.
    pub fn embedding(&self) -> usize {
        match self.network(self.main()).map(|network| network.input) {
            Some(Input::Embedding(columns)) => columns.into(),
            Some(Input::Tied { .. }) => self.raw_width(self.main()),
            _ => 0,
        }
    }

    /// The token that a text without a prompt begins after.
    pub fn start(&self) -> u16 {
        self.vocabulary().start()
    }

    /// The most tokens of a text; 0: no limit.
    pub fn limit(&self) -> u16 {
        self.limit
    }

    /// Fraction bits of an output.
    pub fn logit_bits(&self) -> u32 {
        self.output_bits(self.main())
    }

    /// Fraction bits of an output of network `index`.
    pub fn output_bits(&self, index: usize) -> u32 {
        let head = self.network(index).is_some_and(|network| network.head > 0);
        let dense = self.dense(index).last().filter(|_| head);
        let top = self
            .layers(index)
            .last()
            .map_or(15, |layer| 15 - u32::from(layer.shift));
        dense.map_or(top, |dense| dense.fraction().into())
    }

    /// What [`selftest::digest`](crate::selftest::digest) gave when the image was made.
    pub fn digest(&self) -> u32 {
        let header = self.bytes.first_chunk::<HEADER_LEN>();
        header.map_or(0, |&[.., a, b, c, d]| u32::from_le_bytes([a, b, c, d]))
    }

    /// Where the network comes from; nothing if that cannot be read.
    pub fn provenance(&self) -> Provenance<'a> {
        frame_unchecked(self.bytes)
            .and_then(Metadata::decode)
            .and_then(|(_, rest)| postcard::from_bytes(rest).ok())
            .unwrap_or_default()
    }

    /// The bytes that the host keeps the names of the graph's arrays in.
    pub fn interface(&self) -> &'a [u8] {
        let metadata = frame_unchecked(self.bytes).and_then(Metadata::decode);
        let length = metadata.map_or(0, |(metadata, _)| metadata.interface_len as usize);
        let start = self.bytes.len().saturating_sub(padded(length));
        self.bytes.get(start..start + length).unwrap_or_default()
    }
}

/// What is called with each part.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(Group) -> Result<(), ImageError>;

/// Visits the next `count` dense layers of `list`, the first over `columns`: what comes out of the last one.
fn chain(
    list: &mut &[Dense],
    count: u8,
    mut columns: usize,
    head: bool,
    visit: Visit,
) -> Result<usize, ImageError> {
    for _ in 0..count {
        let Some(dense) = list.split_off_first() else {
            return misfit("too few dense layers");
        };
        if columns == 0 {
            return misfit("a dense layer over nothing");
        }
        let dense = *dense;
        visit(Group::Dense {
            dense,
            columns,
            head,
        })?;
        columns = padded(dense.outputs.into());
    }
    Ok(columns)
}

impl Network {
    /// Whether it is fed tokens.
    pub fn reads_tokens(&self) -> bool {
        matches!(
            self.input,
            Input::Table | Input::Embedding(_) | Input::Tied { .. }
        )
    }
}

impl Recurrent {
    /// Units, padded.
    pub(crate) fn units(&self) -> usize {
        padded(self.layer.hidden.into())
    }

    /// Its shape over a vector of `inputs` elements; over a token table if there are none.
    pub(crate) fn shape(&self, inputs: usize) -> RecurrentConfig {
        RecurrentConfig {
            cell: self.layer.cell,
            input_size: inputs,
            hidden_size: self.units(),
            state_shift: self.shift.into(),
            formats: self.layer.bits.formats(),
        }
    }
}

/// The words of a panel, and whose they are.
pub(crate) struct PanelWords<'a> {
    /// The layer, recurrent or dense, from 0 in the order of the image.
    pub layer: u8,
    /// Its first row, counted through the layer in the order of the image.
    pub row: u32,
    pub group: GateGroup<'a>,
}

/// The image's own bytes and its metadata's, after everything that can be said without decoding.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8]), ImageError> {
    let truncated = |expected: usize| ImageError::Truncated {
        expected: expected as u32,
        found: bytes.len() as u32,
    };
    if !bytes.as_ptr().addr().is_multiple_of(4) {
        return Err(ImageError::Misaligned);
    }
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(truncated(HEADER_LEN));
    };
    if header.iter().all(|&b| b == 0xff) || header.iter().all(|&b| b == 0) {
        return Err(ImageError::Empty);
    }
    let [fields @ .., _, _, _, _] = *header;
    let [m0, m1, m2, m3, c0, c1, c2, c3, v0, v1, _, _, l0, l1, l2, l3] = fields;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(ImageError::NotAnImage {
            found: [m0, m1, m2, m3],
        });
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(ImageError::Version {
            expected: VERSION,
            found: version,
        });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let image = bytes
        .get(..length.max(HEADER_LEN))
        .ok_or(truncated(length))?;
    let expected = checksum(image);
    let found = u32::from_le_bytes([c0, c1, c2, c3]);
    if expected != found {
        return Err(ImageError::Checksum { expected, found });
    }
    Ok((image, frame_unchecked(image).ok_or(ImageError::Metadata)?))
}

/// The metadata's bytes.
fn frame_unchecked(image: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes([*image.get(10)?, *image.get(11)?]);
    image.get(HEADER_LEN..)?.get(..length.into())
}

/// CRC-32 of everything after the CRC.
pub(crate) fn checksum(image: &[u8]) -> u32 {
    crc(image.get(8..).unwrap_or_default())
}

/// CRC-32 (ISO-HDLC).
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    // Without a table: an image is checked once at start, and flash is scarce.
    const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

/// The rest of an image, taken section by section.
pub(crate) struct Sections<'a> {
    rest: &'a [u8],
    /// Bytes before `rest`, or how many would have been needed.
    taken: usize,
}

impl<'a> Sections<'a> {
    /// The next `count` values, and the zeros that align what follows.
    pub(crate) fn take<T: bytemuck::AnyBitPattern>(
        &mut self,
        count: usize,
    ) -> Result<&'a [T], ImageError> {
        let bytes = self.bytes(count.saturating_mul(size_of::<T>()))?;
        bytemuck::try_cast_slice(bytes).map_err(|_| ImageError::Misaligned)
    }

    #[inline(never)]
    fn bytes(&mut self, used: usize) -> Result<&'a [u8], ImageError> {
        // Saturated, it is more than there is.
        let needed = used.saturating_add(3) & !3;
        let Some((section, rest)) = self.rest.split_at_checked(needed) else {
            return Err(ImageError::Length {
                expected: self.taken.saturating_add(needed) as u32,
                found: (self.taken + self.rest.len()) as u32,
            });
        };
        self.rest = rest;
        self.taken += needed;
        Ok(section.get(..used).unwrap_or_default())
    }
}
