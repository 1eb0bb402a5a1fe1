//! The tokens of a long text, as small as they get.

/// Ids in a text's order: a byte each where the vocabulary has at most 256 tokens, else two.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenIds {
    /// Ids below 256.
    Bytes(Vec<u8>),
    /// Any ids.
    Pairs(Vec<u16>),
}

impl TokenIds {
    /// No tokens yet, of a vocabulary of `vocabulary` tokens.
    pub fn new(vocabulary: usize) -> Self {
        if vocabulary <= 256 {
            Self::Bytes(Vec::new())
        } else {
            Self::Pairs(Vec::new())
        }
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(ids) => ids.len(),
            Self::Pairs(ids) => ids.len(),
        }
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The id at `at`, from 0.
    ///
    /// # Panics
    /// If `at` is not below [`len`](Self::len).
    pub fn get(&self, at: usize) -> u16 {
        match self {
            Self::Bytes(ids) => ids[at].into(),
            Self::Pairs(ids) => ids[at],
        }
    }

    /// Appends an id.
    ///
    /// # Panics
    /// If `id` is not one of the vocabulary that this is for.
    pub fn push(&mut self, id: u16) {
        match self {
            Self::Bytes(ids) => ids.push(id.try_into().expect("an id of at most 256 tokens")),
            Self::Pairs(ids) => ids.push(id),
        }
    }
}

impl From<Vec<u16>> for TokenIds {
    fn from(ids: Vec<u16>) -> Self {
        Self::Pairs(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_holds_the_ids_of_256_tokens_and_no_more() {
        for (vocabulary, bytes) in [(1, true), (256, true), (257, false), (65_535, false)] {
            let mut tokens = TokenIds::new(vocabulary);
            assert!(tokens.is_empty());
            assert_eq!(matches!(tokens, TokenIds::Bytes(_)), bytes);
            let last = vocabulary as u16 - 1;
            for id in [0, last, last / 2] {
                tokens.push(id);
            }
            assert_eq!([0, 1, 2].map(|at| tokens.get(at)), [0, last, last / 2]);
            assert_eq!(tokens.len(), 3);
        }
    }
}
