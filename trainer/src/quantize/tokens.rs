//! Token layers in integers.

use super::layers::Quantizer;
use super::operand::Vector;
use super::token_input::{self, TokenEncoding, TokenTable};
use super::{QuantizeError, unsupported};
use crate::network::formats::INT8;
use crate::network::{Matrix, Phase, RecurrentCell, VectorId};
use pipsqueak::encode::{OpParams, TokenRows};

impl<'n> Quantizer<'n, '_> {
    /// The recurrent layer that alone reads layer `index`, and reads nothing else.
    fn only_reader(&self, index: usize) -> Option<(usize, &'n RecurrentCell)> {
        let id = VectorId::result(index);
        let layers = self.network.layers().iter().enumerate();
        let mut readers = layers.filter(|(_, layer)| layer.inputs.contains(&id));
        let (reader, layer) = readers.next()?;
        let is_alone = readers.next().is_none() && layer.inputs == [id];
        layer.cell().filter(|_| is_alone).map(|cell| (reader, cell))
    }

    /// The dense layer of the outputs whose rows are `embedding`, bit for bit, in int8.
    fn tied_dense(&self, embedding: &Matrix) -> Option<usize> {
        let outputs = self.network.outputs().iter();
        let mut last = outputs.map(|output| output.vector.layer);
        last.find(|&index| {
            let layer = &self.network.layers()[index];
            layer.dense().is_some_and(|dense| dense.w == *embedding)
                && layer.inputs.len() == 1
                && self.format(index).formats == INT8
        })
    }

    /// Chooses how a token layer is encoded; returns its vector, if it has one that is known by now.
    pub(super) fn token(
        &mut self,
        index: usize,
        vocab_size: usize,
        embedding: Option<&Matrix>,
    ) -> Result<Vector, QuantizeError> {
        let layer = &self.network.layers()[index];
        let reader = self.only_reader(index);
        let tied = embedding.and_then(|embedding| self.tied_dense(embedding));
        let tied = tied.filter(|_| layer.phase == Phase::Step);
        let format = reader.map(|(reader, _)| self.format(reader));
        let weights = format.map_or(INT8[0], |format| format.formats[0]);
        let cell = reader.map(|(_, cell)| cell);
        let encodings =
            token_input::encodings(cell, vocab_size, embedding, tied.is_some(), weights);
        let given = reader.and_then(|(reader, cell)| {
            let name = &self.network.layers()[reader].name;
            self.format(reader).reads_vector(name, cell.hidden())
        });
        let encoding = token_input::choose_encoding(&encodings, self.hessians.is_some(), given);
        self.encodings.push(encodings);
        let prefix = super::prefix(layer.phase);
        let (rows, vector) = match (encoding, embedding, cell, tied) {
            (Some(TokenEncoding::Table), _, Some(cell), _) => {
                let folded = match embedding {
                    Some(_) => " (embedding folded)",
                    None => "",
                };
                let table = TokenTable::new(cell, embedding, vocab_size);
                self.tensors[index].push(table.report(format!("{prefix}token table{folded}")));
                let rows = TokenRows::Gates(table.values.clone());
                self.tables[index] = Some(table);
                (rows, Vector::default())
            }
            (Some(TokenEncoding::Tied), Some(embedding), _, Some(layer)) => {
                let rows = TokenRows::Tied {
                    dim: embedding.columns,
                    layer,
                    min_shift: 0,
                };
                (rows, Vector::default())
            }
            (Some(_), Some(embedding), ..) => {
                let name = format!("{prefix}embedding");
                let (values, vector, report) = token_input::quantize_embedding(name, embedding);
                self.tensors[index].push(report);
                let dim = embedding.columns;
                (TokenRows::Embedding { dim, values }, vector)
            }
            _ => {
                return unsupported(
                    "one-hot tokens that another layer than one recurrent layer reads",
                    "an embedding, or a recurrent layer",
                );
            }
        };
        self.ops[index] = Some(OpParams::Token { vocab_size, rows });
        Ok(vector)
    }

    /// Sets the formats of tied embeddings, whose rows have the scales of a dense layer's.
    pub(super) fn tied_embeddings(&mut self) {
        for index in 0..self.ops.len() {
            let Some(OpParams::Token {
                rows: TokenRows::Tied { dim, layer, .. },
                ..
            }) = &self.ops[index]
            else {
                continue;
            };
            let (dim, layer) = (*dim, *layer);
            let Some(OpParams::Dense(dense)) = &self.ops[layer] else {
                unreachable!("a tied embedding is that of a dense layer");
            };
            let multipliers = dense.matrix.multiplier.iter();
            let shift = multipliers.map(|multiplier| multiplier.shift()).min();
            let shift = shift.unwrap_or(0);
            // The rows hold the scale of what they read.
            let read = self.vector(self.network.layers()[layer].inputs[0]).scales[0];
            let scale = 2f64.powi(21 - shift as i32 - i32::from(dense.frac_bits)) / read;
            self.vectors[index] = Vector::scaled(vec![scale; dim]);
            if let Some(OpParams::Token {
                rows: TokenRows::Tied { min_shift, .. },
                ..
            }) = &mut self.ops[index]
            {
                *min_shift = shift as u8;
            }
        }
    }
}
