//! Texts at every level, there and back.

use super::spelling::OovSpellingModel;
use super::*;
use crate::data::corpus::{Corpus, CorpusOptions};

fn corpus(bytes: &[u8], chunk_bytes: usize) -> Corpus {
    let options = CorpusOptions {
        chunk_bytes,
        ..CorpusOptions::default()
    };
    Corpus::from_bytes("text", bytes.to_vec(), options).unwrap()
}

/// The vocabulary of a whole text.
fn build(tokenizer: Tokenizer, text: &str, size: usize, line_documents: bool) -> Vocabulary {
    let corpus = corpus(text.as_bytes(), 1 << 20);
    let built = tokenizer.build_vocabulary(&corpus, corpus.all(), size, line_documents);
    built.unwrap()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().copied().map(String::from).collect()
}

fn specials(eos: Option<u16>, unk: Option<u16>) -> SpecialTokens {
    SpecialTokens {
        eos,
        unk,
        ..SpecialTokens::default()
    }
}

/// The cheapest way to be sure of the longest match: try every token.
fn by_trying(tokens: &[&str], mut text: &str) -> Vec<u16> {
    let mut ids = Vec::new();
    while !text.is_empty() {
        let fits = |(_, token): &(usize, &&str)| text.starts_with(**token);
        let best = tokens
            .iter()
            .enumerate()
            .filter(fits)
            .max_by_key(|(_, token)| token.len());
        let (id, token) = best.expect("a token that fits");
        ids.push(id as u16);
        text = &text[token.len()..];
    }
    ids
}

#[test]
fn pieces_are_the_longest_match() {
    let tokens = ["a", "b", "ab", "aba", "é", "éa", "bb", " "];
    let vocabulary = Vocabulary::new(texts(&tokens)).unwrap();
    let mut x = 1u32;
    for _ in 0..200 {
        let mut text = String::new();
        for _ in 0..20 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text += ["a", "b", "é", " "][(x >> 30) as usize];
        }
        let found = vocabulary.encode(&text, false).unwrap();
        assert_eq!(found.tokens, by_trying(&tokens, &text), "{text}");
        assert_eq!(vocabulary.decode(&found.tokens), text);
        let stats = vocabulary.char_stats(&found, 0..found.tokens.len());
        assert_eq!(stats.characters, 20);
    }
}

#[test]
fn what_a_vocabulary_lacks_is_told_skipped_or_unknown() {
    let plain = Vocabulary::new(texts(&["a", "b"])).unwrap();
    let error = plain.encode("a?b!?", false).unwrap_err().to_string();
    assert!(
        error.contains("3 characters are not in the vocabulary (e.g. '!' U+0021, '?' U+003F)")
            && !error.contains("--skip-unknown"),
        "{error}"
    );
    let skipped = plain.encode("a?b!?", true).unwrap();
    assert_eq!(
        (skipped.tokens, skipped.skipped.characters),
        (vec![0, 1], 3)
    );
    let words = Vocabulary::with(
        Tokenizer::WHITESPACE,
        SpecialTokens::default(),
        texts(&["cat", "A"]),
    )
    .unwrap();
    let error = words.encode("A dog cat", false).unwrap_err().to_string();
    assert!(
        error.contains("1 word is not in the vocabulary (e.g. \"dog\")"),
        "{error}"
    );
    assert_eq!(
        words.encode("A dog cat", true).unwrap().skipped.characters,
        3
    );
    let unk = texts(&["<unk>", "cat", "A"]);
    let words = Vocabulary::with(Tokenizer::WHITESPACE, specials(None, Some(0)), unk).unwrap();
    let found = words.encode("A dog cat", false).unwrap();
    assert_eq!(
        (&found.tokens[..], found.skipped.count),
        (&[2, 0, 1][..], 0)
    );
    let text = "dog".into();
    assert_eq!(found.unknown, [OovToken { at: 1, text }]);
}

#[test]
fn words_are_cut_as_on_the_board() {
    let list = texts(&["I", " don't", "\n", " ", ".", "i", "don't"]);
    let with = |level| Vocabulary::with(level, SpecialTokens::default(), list.clone()).unwrap();
    let text = "I don't.\n ";
    let words = with(Tokenizer::WORD).encode(text, false).unwrap().tokens;
    assert_eq!(words, [0, 1, 4, 2, 3]);
    assert_eq!(with(Tokenizer::WORD).decode(&words), text);
    let spaced = with(Tokenizer::WHITESPACE)
        .encode(text, false)
        .unwrap()
        .tokens;
    assert_eq!(spaced, [0, 6, 4]);
    assert_eq!(with(Tokenizer::WHITESPACE).decode(&spaced), "I don't .");
    let lower = with(Tokenizer::WHITESPACE_LOWERCASE)
        .encode("I DON'T", false)
        .unwrap();
    assert_eq!(lower.tokens, [5, 6]);
}

#[test]
fn bytes_are_any_text() {
    let bytes = Vocabulary::of_bytes();
    assert_eq!((bytes.len(), bytes.initial_token()), (256, 10));
    let text = "aé🦀\0\n";
    let found = bytes.encode(text, false).unwrap();
    assert_eq!(
        found.tokens,
        text.bytes().map(u16::from).collect::<Vec<_>>()
    );
    assert_eq!(bytes.decode(&found.tokens), text);
    assert_eq!(
        bytes.char_stats(&found, 0..found.tokens.len()).characters,
        5
    );
    assert_eq!(bytes.decode(&[0x61, 0xff]), "a\u{fffd}");
    let error =
        Vocabulary::with(Tokenizer::BYTE, SpecialTokens::default(), texts(&["a"])).unwrap_err();
    assert_eq!(error, VocabularyError::Bytes(1));
    let mut names = bytes.tokens().to_vec();
    names.push("<eos>".into());
    let good = Vocabulary::with(Tokenizer::BYTE, specials(Some(256), None), names.clone());
    assert_eq!(good.unwrap().initial_token(), 256);
    Vocabulary::with(Tokenizer::BYTE, specials(Some(3), None), names).unwrap_err();
}

#[test]
fn special_tokens_are_no_text() {
    let list = texts(&["<pad>", "<unk>", "<s>", "</s>", "<", "s", ">", "\n"]);
    let all = SpecialTokens {
        bos: Some(2),
        eos: Some(3),
        pad: Some(0),
        unk: Some(1),
    };
    let vocabulary = Vocabulary::with(Tokenizer::SUBWORD, all, list.clone()).unwrap();
    let found = vocabulary.encode("<s>x", false).unwrap();
    assert_eq!(found.tokens, [4, 5, 6, 1]);
    assert_eq!(vocabulary.decode(&[2, 4, 0, 5, 1, 6, 3]), "<s>");
    assert_eq!(vocabulary.initial_token(), 2);
    let none =
        Vocabulary::with(Tokenizer::SUBWORD, SpecialTokens::default(), list.clone()).unwrap();
    assert_eq!(none.initial_token(), 7);
    let missing = specials(Some(8), None);
    let error = Vocabulary::with(Tokenizer::SUBWORD, missing, list).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("eos has the id 8: expected one below 8"),
        "{error}"
    );
    let only = Vocabulary::with(Tokenizer::SUBWORD, specials(Some(0), None), texts(&["x"]));
    assert_eq!(only.unwrap_err(), VocabularyError::OnlySpecial);
}

#[test]
fn lines_are_texts_of_their_own() {
    let text = "ab\n\nb\r\n";
    let vocabulary = build(Tokenizer::CHAR, text, 0, true);
    assert_eq!(vocabulary.tokens(), ["a", "b", "<eos>"]);
    assert!(vocabulary.line_documents());
    let found = vocabulary.encode_stream(text, false).unwrap();
    assert_eq!(found.tokens, [2, 0, 1, 2, 1, 2]);
    // Each end is the character that it stands for.
    assert_eq!(vocabulary.char_stats(&found, 1..6).characters, 5);
    // Bytes have a line's end, and yet each line is a text.
    let bytes = build(Tokenizer::BYTE, text, 0, true);
    assert_eq!(
        bytes.encode_stream("a\n", false).unwrap().tokens,
        [256, 97, 256]
    );
    let plain = build(Tokenizer::CHAR, text, 0, false);
    assert_eq!(plain.encode_stream("a\nb", false).unwrap().tokens.len(), 3);
}

#[test]
fn unknown_words_cost_their_spelling() {
    let list = texts(&["<unk>", "ab", " b"]);
    let words = Vocabulary::with(Tokenizer::WORD, specials(None, Some(0)), list).unwrap();
    let found = words.encode("ab ba b", false).unwrap();
    assert_eq!(found.tokens, [1, 0, 2]);
    let stats = words.char_stats(&found, 1..3);
    let spelling = OovSpellingModel::new(["ab", " b"].into_iter()).nats(" ba");
    assert_eq!((stats.characters, stats.unknown), (5, 1));
    assert_eq!(stats.spelling, spelling);
    assert_eq!(words.char_stats(&found, 2..3).spelling, 0.0);
}

#[test]
fn subwords_are_pieces_of_words_and_always_the_same() {
    let text = "the thesis of the theologian is the theme of the theater ü\n".repeat(20);
    let corpus = corpus(text.as_bytes(), 100);
    let [part, _] = corpus.parts(0.6, false).unwrap();
    let make = |size| Tokenizer::SUBWORD.build_vocabulary(&corpus, part, size, false);
    let vocabulary = make(40).unwrap();
    assert_eq!(vocabulary, make(40).unwrap());
    assert!(vocabulary.len() <= 40, "{}", vocabulary.len());
    assert!(
        vocabulary.tokens().contains(&" the".to_owned()),
        "{:?}",
        vocabulary.tokens()
    );
    let found = vocabulary.encode(&text, false).unwrap();
    assert_eq!(vocabulary.decode(&found.tokens), text);
    assert!(
        found.tokens.len() < text.len() / 2,
        "{}",
        found.tokens.len()
    );
    let error = make(5).unwrap_err().to_string();
    assert!(error.contains("expected at most 5"), "{error}");
}

#[test]
fn words_are_the_most_frequent_ones() {
    let text = "the cat and the dog and the bird";
    let vocabulary = build(Tokenizer::WORD, text, 3, false);
    assert_eq!(vocabulary.tokens(), ["<unk>", " and", " the", " bird"]);
    let text = "The cat THE dog The  a";
    let lower = build(Tokenizer::WHITESPACE_LOWERCASE, text, 2, false);
    assert_eq!(lower.tokens(), ["<unk>", "the", "a"]);
    let ids = lower.encode(text, false).unwrap().tokens;
    assert_eq!(ids, [1, 0, 1, 0, 1, 2]);
}

/// Words that end in each way, white space, and characters of 1 to 4 bytes.
const MIXED: &str = "I don't--know; rock-'n'-roll  it's 'so'.\n\n  Größe 10€, naïve—café 🦀🦀 x- y' \r\n \tשלום עולם\n\
    the theme of the thesis\u{a0}is the\n日本語のテキスト end-";

fn all_tokenizers() -> [Tokenizer; 6] {
    [
        Tokenizer::CHAR,
        Tokenizer::BYTE,
        Tokenizer::WORD,
        Tokenizer::SUBWORD,
        Tokenizer::WHITESPACE,
        Tokenizer::WHITESPACE_LOWERCASE,
    ]
}

#[test]
fn tokens_do_not_depend_on_chunks() {
    let text = MIXED.repeat(30);
    let text = text.replace('\r', "");
    for tokenizer in all_tokenizers() {
        for line_documents in [false, true] {
            let whole = corpus(text.as_bytes(), 1 << 20);
            let build = |corpus: &Corpus, size| {
                let [train, _] = corpus.parts(0.3, line_documents).unwrap();
                let built = tokenizer.build_vocabulary(corpus, train, size, line_documents);
                built.unwrap()
            };
            // Few words, so that some are unknown.
            let size = if tokenizer == Tokenizer::SUBWORD {
                120
            } else {
                12
            };
            let vocabulary = build(&whole, size);
            let expected = vocabulary.encode_stream(&text, true).unwrap();
            assert!(expected.tokens.len() > 100, "{tokenizer}");
            for chunk_bytes in [1, 2, 3, 7, 64 << 10] {
                let what = format!("{tokenizer}, lines {line_documents}, chunks of {chunk_bytes}");
                let corpus = corpus(text.as_bytes(), chunk_bytes);
                assert_eq!(build(&corpus, size), vocabulary, "{what}");
                let found = vocabulary.encode_part(&corpus, corpus.all(), true).unwrap();
                assert_eq!(found, expected, "{what}");
                if found.skipped.count == 0 {
                    let ids = vocabulary.encode_streaming(&corpus, corpus.all()).unwrap();
                    assert_eq!(ids.len(), expected.tokens.len(), "{what}");
                    let same = (0..ids.len()).all(|i| ids.get(i) == expected.tokens[i]);
                    assert!(same, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_stream_is_the_text_split_as_a_whole() {
    // Independent of the streaming code: the runtime's own words, and lines by the standard library.
    for tokenizer in [Tokenizer::WORD, Tokenizer::WHITESPACE] {
        let vocabulary = build(tokenizer, MIXED, 1000, false);
        let corpus = corpus(MIXED.as_bytes(), 5);
        let found = vocabulary
            .encode_part(&corpus, corpus.all(), false)
            .unwrap();
        let text = corpus.text(corpus.all()).unwrap();
        let words: Vec<&str> = tokenizer.tokenization().split_words(&text).collect();
        let tokens: Vec<&str> = found
            .tokens
            .iter()
            .map(|id| vocabulary.token(*id))
            .collect();
        assert_eq!(tokens, words);
    }
    let lines = build(Tokenizer::CHAR, MIXED, 0, true);
    let corpus = corpus(MIXED.as_bytes(), 5);
    let found = lines.encode_part(&corpus, corpus.all(), false).unwrap();
    let text = corpus.text(corpus.all()).unwrap();
    let mut expected = vec![lines.initial_token()];
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        expected.extend(line.chars().map(|c| lines.id(&c.to_string()).unwrap()));
        expected.extend(lines.specials().eos);
    }
    assert_eq!(found.tokens, expected);
}

#[test]
fn bytes_are_any_bytes() {
    let mut random = 1u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 24) as u8
    })
    .take(10_000)
    .collect();
    assert!(std::str::from_utf8(&bytes).is_err() && bytes.contains(&b'\r'));
    for chunk_bytes in [1, 7, 1 << 20] {
        let options = CorpusOptions {
            bytes: true,
            chunk_bytes,
            ..CorpusOptions::default()
        };
        let corpus = Corpus::from_bytes("random", bytes.clone(), options).unwrap();
        assert_eq!(corpus.notices, []);
        let [first, last] = corpus.parts(0.1, false).unwrap();
        assert_eq!(first.bytes() + last.bytes(), 10_000);
        let vocabulary = Tokenizer::BYTE
            .build_vocabulary(&corpus, first, 0, false)
            .unwrap();
        let ids = vocabulary.encode_streaming(&corpus, corpus.all()).unwrap();
        assert_eq!(ids, TokenIds::Bytes(bytes.clone()));
        let found = vocabulary.encode_part(&corpus, last, false).unwrap().tokens;
        let expected = bytes[first.bytes() as usize..]
            .iter()
            .map(|b| u16::from(*b));
        assert!(found.into_iter().eq(expected));
        // Lines of any bytes.
        let lines = Tokenizer::BYTE
            .build_vocabulary(&corpus, first, 0, true)
            .unwrap();
        let found = lines.encode_part(&corpus, corpus.all(), false).unwrap();
        let ends = found.tokens.iter().filter(|id| **id == 256).count();
        let not_empty = |line: &&[u8]| {
            let text = std::str::from_utf8(line);
            !text.is_ok_and(|text| text.trim().is_empty())
        };
        assert_eq!(
            ends,
            1 + bytes.split(|b| *b == b'\n').filter(not_empty).count()
        );
        for tokenizer in [Tokenizer::CHAR, Tokenizer::WORD, Tokenizer::SUBWORD] {
            let error = tokenizer.build_vocabulary(&corpus, first, 50, false);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("expected a byte tokenizer"), "{error}");
        }
    }
}

#[test]
fn a_vocabulary_comes_from_the_training_part() {
    let corpus = corpus("abcabcabca€z€".as_bytes(), 1 << 20);
    let [train, dev] = corpus.parts(0.3, false).unwrap();
    let vocabulary = Tokenizer::CHAR
        .build_vocabulary(&corpus, train, 0, false)
        .unwrap();
    assert_eq!(vocabulary.tokens(), ["a", "b", "c"]);
    let found = vocabulary.encode_part(&corpus, dev, true).unwrap();
    assert_eq!(found.tokens, [0]);
    let skipped = &found.skipped;
    assert_eq!((skipped.count, skipped.characters), (3, 3));
    assert!(
        skipped
            .summary(vocabulary.oov_name())
            .starts_with("3 characters are not in the vocabulary (e.g. 'z' U+007A, '€' U+20AC)")
    );
    let error = vocabulary.encode_part(&corpus, dev, false).unwrap_err();
    assert!(
        error.to_string().contains("3 characters are not"),
        "{error}"
    );
    // Only the part's own tokens count, also where its words meet the next part.
    let corpus = Corpus::from_bytes("w", b"aa bb aab".to_vec(), CorpusOptions::default()).unwrap();
    let parts = corpus.split(&[8], false).unwrap();
    let words = Tokenizer::WORD.build_vocabulary(&corpus, parts[0], 9, false);
    assert_eq!(words.unwrap().tokens(), ["<unk>", " aa", " bb", "aa"]);
}

#[test]
fn names_of_tokenizers_can_be_read() {
    for tokenizer in all_tokenizers() {
        assert_eq!(tokenizer.to_string().parse(), Ok(tokenizer));
        assert_eq!(
            Tokenizer::from(tokenizer.tokenization()).tokenization(),
            tokenizer.tokenization()
        );
    }
    let error = "pieces".parse::<Tokenizer>().unwrap_err().to_string();
    assert!(
        error.contains("\"pieces\" is not a tokenizer: expected char"),
        "{error}"
    );
}
