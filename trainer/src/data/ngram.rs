//! N-gram models, the baseline that a network must beat: bytes against bits per character.
//!
//! An n-gram model of order `k` (a Markov chain of order `k`) predicts a token from the `k` tokens before it by the counts of
//! (k+1)-grams. Rare n-grams are interpolated with the next lower order by Kneser-Ney smoothing (R. Kneser and H. Ney,
//! "Improved backing-off for m-gram language modeling", 1995, in the interpolated form of S. Chen and J. Goodman, "An empirical
//! study of smoothing techniques for language modeling", 1998, section 2.7):
//!
//! ```text
//! p(w | h) = (max(c(h w) - D, 0) + D * n(h) * p(w | h without its first token)) / sum of c(h v) over all v
//! ```
//!
//! `n(h)` is the number of different tokens that follow `h`; below order 0 the distribution is uniform over the V tokens.
//! `c(h w)` is the count of `h w` in the highest order, and its continuation count in all lower orders: the number of different
//! tokens that precede `h w`. The discount of an order is `D = n1 / (n1 + 2 n2)`, where n1 and n2 are the numbers of n-grams
//! with `c` = 1 and `c` = 2; it is 1/2 if n1 = 0.
//!
//! The text is circular: its last token precedes its first one, so that every n-gram has a token before and after it.

use std::collections::HashMap;

/// Maps each distinct string to an id: 0, 1, ... in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct Interner(HashMap<String, u32>);

impl Interner {
    /// Returns the ids of `tokens`; an unseen token gets the next id.
    pub fn intern(&mut self, tokens: &[String]) -> Vec<u32> {
        let id = |token: &String| {
            let next = self.0.len() as u32;
            match self.0.get(token) {
                Some(id) => *id,
                None => *self.0.entry(token.clone()).or_insert(next),
            }
        };
        tokens.iter().map(id).collect()
    }

    /// The number of distinct strings, V.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no string was interned.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of all strings, plus one length byte each.
    pub fn bytes(&self) -> usize {
        self.0.keys().map(|text| text.len() + 1).sum()
    }
}

/// The n-gram models of one text, of every order from 0 to the highest, smoothed by interpolated Kneser-Ney.
#[derive(Clone, Debug)]
pub struct KneserNey {
    /// Number of different tokens, V.
    vocab_size: usize,
    /// Level `k` holds the (k+1)-grams, sorted.
    levels: Vec<Level>,
}

/// All n-grams of one length.
#[derive(Clone, Debug, Default)]
struct Level {
    grams: Vec<Ngram>,
    /// Discount by counts: for the model whose highest order this level is.
    highest: Discount,
    /// Discount by continuation counts: for models of a higher order.
    lower: Discount,
}

/// An n-gram: a node of a tree whose children are one token longer.
#[derive(Clone, Copy, Debug)]
struct Ngram {
    /// The last token.
    token: u32,
    /// Its occurrences in the text.
    count: u32,
    /// The number of different tokens that precede it in the text.
    continuation_count: u32,
    /// Index of its first child in the next level. The children of the next n-gram begin where these end.
    children: u32,
}

/// The discount of a level for one kind of count.
#[derive(Clone, Copy, Debug)]
struct Discount {
    count: fn(&Ngram) -> u32,
    discount: f64,
    /// Number of distinct counts.
    distinct: usize,
}

impl Default for Discount {
    fn default() -> Self {
        Self::new(&[], |gram| gram.count)
    }
}

impl Discount {
    fn new(grams: &[Ngram], count: fn(&Ngram) -> u32) -> Self {
        let mut counts: Vec<u32> = grams.iter().map(count).collect();
        counts.sort_unstable();
        let with = |n| counts.partition_point(|c| *c <= n) as f64;
        let (n1, n2) = (with(1), with(2) - with(1));
        counts.dedup();
        Self {
            count,
            discount: if n1 > 0.0 { n1 / (n1 + 2.0 * n2) } else { 0.5 },
            distinct: counts.len(),
        }
    }

    /// Returns `p(token | h)`. `children` are the n-grams that extend `h`, at least one; `lower` is the probability of the next
    /// lower order.
    fn smooth(&self, children: &[Ngram], token: u32, lower: f64) -> f64 {
        let total: u64 = children
            .iter()
            .map(|gram| u64::from((self.count)(gram)))
            .sum();
        let found = children.binary_search_by_key(&token, |gram| gram.token);
        let seen = found.map_or(0.0, |at| {
            f64::from((self.count)(&children[at])) - self.discount
        });
        (seen + self.discount * children.len() as f64 * lower) / total as f64
    }

    /// Replaces `p`, the distribution of the next lower order, by that of this level. `children` are the n-grams that extend `h`,
    /// at least one.
    fn interpolate(&self, children: &[Ngram], p: &mut [f64]) {
        let counts = || children.iter().map(|gram| f64::from((self.count)(gram)));
        let total: f64 = counts().sum();
        let lower = self.discount * children.len() as f64 / total;
        p.iter_mut().for_each(|p| *p *= lower);
        for (gram, count) in children.iter().zip(counts()) {
            p[gram.token as usize] += (count - self.discount) / total;
        }
    }
}

impl KneserNey {
    /// Counts the n-grams of `text`, whose token ids are below `vocab_size`, up to `order` + 1 tokens.
    ///
    /// # Panics
    /// Panics if the text has no token or 2^32 or more, or a token id is `vocab_size` or more.
    pub fn new(text: &[u32], vocab_size: usize, order: usize) -> Self {
        assert!(
            !text.is_empty() && u32::try_from(text.len()).is_ok(),
            "{} tokens",
            text.len()
        );
        assert!(
            text.iter().all(|token| (*token as usize) < vocab_size),
            "tokens are below {vocab_size}"
        );
        // Position `at` holds a token, followed by the longest n-gram after it.
        let circular: Vec<u32> = text
            .iter()
            .copied()
            .cycle()
            .take(text.len() + order + 1)
            .collect();
        let gram = |at: u32| &circular[at as usize + 1..][..order + 1];
        let mut positions: Vec<u32> = (0..text.len() as u32).collect();
        positions.sort_unstable_by_key(|at| gram(*at));
        let mut levels = vec![Level::default(); order + 1];
        // For each level and token: the last n-gram that the token preceded.
        let mut last_preceded = vec![vec![usize::MAX; vocab_size]; order + 1];
        let mut last: &[u32] = &[];
        for at in positions {
            let this = gram(at);
            let same = last.iter().zip(this).take_while(|(a, b)| a == b).count();
            for depth in 0..=order {
                let children = levels
                    .get(depth + 1)
                    .map_or(0, |next| next.grams.len() as u32);
                let grams = &mut levels[depth].grams;
                if depth >= same {
                    let token = this[depth];
                    grams.push(Ngram {
                        token,
                        count: 0,
                        continuation_count: 0,
                        children,
                    });
                }
                let number = grams.len();
                let gram = grams
                    .last_mut()
                    .expect("the first n-gram shares no prefix with the empty one");
                gram.count += 1;
                let seen = &mut last_preceded[depth][circular[at as usize] as usize];
                gram.continuation_count += u32::from(*seen != number);
                *seen = number;
            }
            last = this;
        }
        for Level {
            grams,
            highest,
            lower,
        } in &mut levels
        {
            *highest = Discount::new(grams, |gram| gram.count);
            *lower = Discount::new(grams, |gram| gram.continuation_count);
        }
        Self { vocab_size, levels }
    }

    /// The highest order.
    pub fn order(&self) -> usize {
        self.levels.len() - 1
    }

    /// The n-grams that extend `context` by one token; empty if `context` does not occur.
    fn children(&self, context: &[u32]) -> &[Ngram] {
        let mut range = 0..self.levels[0].grams.len();
        for (token, levels) in context.iter().zip(self.levels.windows(2)) {
            let (grams, next) = (&levels[0].grams, &levels[1].grams);
            let Ok(at) = grams[range.clone()].binary_search_by_key(token, |gram| gram.token) else {
                return &[];
            };
            let at = range.start + at;
            let end = grams
                .get(at + 1)
                .map_or(next.len(), |gram| gram.children as usize);
            range = grams[at].children as usize..end;
        }
        &self.levels[context.len()].grams[range]
    }

    /// Returns `p(token | history)` by the model of each order, from 0.
    pub fn probabilities(&self, history: &[u32], token: u32) -> Vec<f64> {
        let mut lower = 1.0 / self.vocab_size as f64;
        let mut all = Vec::with_capacity(self.levels.len());
        for (order, level) in self.levels.iter().enumerate() {
            let context = history.len().checked_sub(order);
            let children = context.map_or(&[][..], |from| self.children(&history[from..]));
            if children.is_empty() {
                all.push(lower);
            } else {
                all.push(level.highest.smooth(children, token, lower));
                lower = level.lower.smooth(children, token, lower);
            }
        }
        all
    }

    /// Returns the distribution of the token after `history` by the model of this order: V probabilities, whose sum is 1.
    ///
    /// # Panics
    /// Panics if `order` is above [`order`](Self::order).
    pub fn distribution(&self, history: &[u32], order: usize) -> Vec<f64> {
        let mut p = vec![1.0 / self.vocab_size as f64; self.vocab_size];
        for (length, level) in self.levels[..=order].iter().enumerate() {
            let context = history.len().checked_sub(length);
            let children = context.map_or(&[][..], |from| self.children(&history[from..]));
            if children.is_empty() {
                // A longer context does not occur either.
                break;
            }
            match length == order {
                true => level.highest.interpolate(children, &mut p),
                false => level.lower.interpolate(children, &mut p),
            }
        }
        p
    }

    /// Returns the total surprisal of `text` without its first token, in bits, by the model of each order, from 0.
    ///
    /// The context of a token is within `text`; the counted text is not part of it.
    pub fn bits(&self, text: &[u32]) -> Vec<f64> {
        let mut bits = vec![0.0; self.levels.len()];
        for at in 1..text.len() {
            let history = &text[at.saturating_sub(self.order())..at];
            for (bits, p) in bits.iter_mut().zip(self.probabilities(history, text[at])) {
                *bits -= p.log2();
            }
        }
        bits
    }

    /// The number of n-grams that the model of this order stores.
    ///
    /// # Panics
    /// Panics if `order` is above [`order`](Self::order).
    pub fn ngrams(&self, order: usize) -> usize {
        self.levels[..=order]
            .iter()
            .map(|level| level.grams.len())
            .sum()
    }

    /// The bytes of the model of this order as a compact, searchable tree, without the strings of its tokens.
    ///
    /// The n-grams of each level are sorted. Each n-gram stores its last token in `ceil(log2 V)` bits; its count, as an index into
    /// the level's distinct counts, in the fewest bits that hold the index; and, below the first level, one bit that marks its
    /// parent's last child (the LOUDS tree of T. Watanabe et al., "A succinct N-gram language model", 2009). Each level stores its
    /// distinct counts and its discount in 4 bytes each, and, below the first level, 4 bytes for every 256 parents to locate
    /// their children.
    ///
    /// # Panics
    /// Panics as [`ngrams`](Self::ngrams).
    pub fn bytes(&self, order: usize) -> usize {
        let mut parents = 0;
        let mut bytes = 0;
        for (depth, level) in self.levels[..=order].iter().enumerate() {
            let counts = if depth == order {
                &level.highest
            } else {
                &level.lower
            };
            let last_child = usize::from(depth > 0);
            let gram = width(self.vocab_size) + width(counts.distinct) + last_child;
            let directory = usize::div_ceil(parents, 256);
            bytes += (level.grams.len() * gram).div_ceil(8) + 4 * (counts.distinct + 1 + directory);
            parents = level.grams.len();
        }
        bytes
    }
}

/// The bits of a number below `count`.
fn width(count: usize) -> usize {
    (usize::BITS - count.saturating_sub(1).leading_zeros()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Small alphabets repeat and surprise at every order.
    fn text(length: usize, vocabulary: u32) -> Vec<u32> {
        let mut x = 1u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 16) % vocabulary
        };
        (0..length).map(|_| next().min(next())).collect()
    }

    /// `c` of every n-gram of `n` tokens, by looking at all places.
    fn counts(text: &[u32], n: usize, highest: bool) -> BTreeMap<Vec<u32>, usize> {
        let mut all: BTreeMap<Vec<u32>, BTreeSet<usize>> = BTreeMap::new();
        for at in 0..text.len() {
            let gram = (at + 1..=at + n).map(|at| text[at % text.len()]).collect();
            // What makes two occurrences different: the place, or the token before.
            let mark = if highest { at } else { text[at] as usize };
            all.entry(gram).or_default().insert(mark);
        }
        all.into_iter()
            .map(|(gram, marks)| (gram, marks.len()))
            .collect()
    }

    /// `p(. | context)` by the formula as it stands.
    fn plain(text: &[u32], vocabulary: usize, context: &[u32], highest: bool) -> Vec<f64> {
        let below = match context {
            [] => vec![1.0 / vocabulary as f64; vocabulary],
            [_, shorter @ ..] => plain(text, vocabulary, shorter, false),
        };
        let counts = counts(text, context.len() + 1, highest);
        let with = |n| counts.values().filter(|c| **c == n).count() as f64;
        let discount = if with(1) == 0.0 {
            0.5
        } else {
            with(1) / (with(1) + 2.0 * with(2))
        };
        let count = |token: usize| {
            let gram = [context, &[token as u32]].concat();
            counts.get(&gram).copied().unwrap_or(0) as f64
        };
        let total: f64 = (0..vocabulary).map(count).sum();
        if total == 0.0 {
            return below;
        }
        let followers = (0..vocabulary).filter(|token| count(*token) > 0.0).count();
        let rest = discount * followers as f64;
        let p = |token| ((count(token) - discount).max(0.0) + rest * below[token]) / total;
        (0..vocabulary).map(p).collect()
    }

    #[test]
    fn distributions_are_the_probabilities_of_each_token() {
        let text = text(300, 5);
        let model = KneserNey::new(&text, 5, 4);
        for history in [&text[40..44], &text[..2], &[], &[4, 4, 4, 4]] {
            for order in 0..=4 {
                let p = model.distribution(history, order);
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                for (token, p) in (0..).zip(p) {
                    let expected = model.probabilities(history, token)[order];
                    assert!(
                        (p - expected).abs() < 1e-12,
                        "{history:?}, order {order}: {p}, {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn probabilities_are_those_of_the_formula() {
        for (length, vocabulary) in [(1, 1), (2, 2), (7, 3), (60, 3), (200, 5)] {
            let text = text(length, vocabulary);
            let last = vocabulary - 1;
            let model = KneserNey::new(&text, vocabulary as usize, 4);
            // Short histories, one that was seen, and some that were hardly.
            for history in [
                &[][..],
                &[0],
                &text[..length.min(4)],
                &[0; 4],
                &[0, last, 0, last],
            ] {
                let mut sums = [0.0; 5];
                for token in 0..vocabulary {
                    let found = model.probabilities(history, token);
                    for (order, found) in found.iter().enumerate() {
                        let (from, highest) = match history.len().checked_sub(order) {
                            Some(from) => (from, true),
                            None => (0, false),
                        };
                        let expected = plain(&text, vocabulary as usize, &history[from..], highest);
                        let expected = expected[token as usize];
                        assert!(
                            (found - expected).abs() < 1e-12,
                            "{history:?} {token}, order {order}: {found}, expected {expected}"
                        );
                        sums[order] += found;
                    }
                }
                assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{sums:?}");
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_probabilities() {
        let (seen, text) = (text(300, 4), &text(340, 4)[300..]);
        let model = KneserNey::new(&seen, 4, 3);
        let mut expected = [0.0; 4];
        for at in 1..text.len() {
            let p = model.probabilities(&text[..at], text[at]);
            (0..4).for_each(|order| expected[order] -= p[order].log2());
        }
        for (found, expected) in model.bits(text).iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-9,
                "{found}, expected {expected}"
            );
        }
    }

    #[test]
    fn bytes_are_those_of_the_tree() {
        let model = KneserNey::new(&[0, 1, 0, 2], 3, 1);
        // Three tokens of 2 bits, seen 2, 1 and 1 times, also by different tokens before: 1 bit. Two counts and a discount.
        let first = 2 + 4 * 3;
        // 01, 02, 10 and 20 once each, 2 bits and 1 for the last child. One count, a discount, one part of the directory.
        let second = 2 + 4 * 3;
        assert_eq!((model.bytes(0), model.bytes(1)), (first, first + second));
        assert_eq!((model.ngrams(0), model.ngrams(1)), (3, 7));
        assert_eq!(
            [1, 2, 3, 4, 5, 65, 256, 257].map(width),
            [0, 1, 2, 2, 3, 7, 8, 9]
        );
    }

    #[test]
    fn tokens_are_the_text_and_have_ids_in_order() {
        use crate::data::tokenizer::Tokenizer;
        let text = "Über 3 cats, 3\u{a0}dogs…\n";
        for tokenizer in [Tokenizer::CHAR, Tokenizer::WORD] {
            assert_eq!(tokenizer.segment(text).concat(), text);
        }
        let words = Tokenizer::WORD.segment("Über 3 3, cats 3");
        assert_eq!(words, ["Über", " 3", " 3", ",", " cats", " 3"]);
        let mut ids = Interner::default();
        assert_eq!(ids.intern(&words), [0, 1, 1, 2, 3, 1]);
        assert_eq!(ids.intern(&[" 3".into(), "dogs".into()]), [1, 4]);
        assert_eq!(ids.len(), 5);
        assert_eq!(ids.bytes(), "Über 3, catsdogs".len() + 5);
        assert!(Tokenizer::WORD.segment("").is_empty());
    }
}
