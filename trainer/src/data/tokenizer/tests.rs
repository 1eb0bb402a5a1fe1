//! Texts at every level, there and back.

use super::*;

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
        let measure = vocabulary.measure(&found, 0..found.tokens.len());
        assert_eq!(measure.characters, 20);
    }
}

#[test]
fn what_a_vocabulary_lacks_is_told_skipped_or_unknown() {
    let plain = Vocabulary::new(texts(&["a", "b"])).unwrap();
    let error = plain.encode("a?b!?", false).unwrap_err().to_string();
    assert!(
        error.contains("3 character(s)") && error.contains("'!' (U+0021), '?' (U+003F)"),
        "{error}"
    );
    let skipped = plain.encode("a?b!?", true).unwrap();
    assert_eq!((skipped.tokens, skipped.skipped), (vec![0, 1], 3));
    let words = Vocabulary::with(
        Tokenization::SpacedWord { lowercase: false },
        SpecialTokens::default(),
        texts(&["cat", "A"]),
    )
    .unwrap();
    let error = words.encode("A dog cat", false).unwrap_err().to_string();
    assert!(
        error.contains("1 word(s)") && error.contains("\"dog\""),
        "{error}"
    );
    assert_eq!(words.encode("A dog cat", true).unwrap().skipped, 3);
    let unk = texts(&["<unk>", "cat", "A"]);
    let words = Vocabulary::with(
        Tokenization::SpacedWord { lowercase: false },
        specials(None, Some(0)),
        unk,
    )
    .unwrap();
    let found = words.encode("A dog cat", false).unwrap();
    assert_eq!((&found.tokens[..], found.skipped), (&[2, 0, 1][..], 0));
    let text = "dog".into();
    assert_eq!(found.unknown, [Unknown { at: 1, text }]);
}

#[test]
fn words_are_cut_as_on_the_board() {
    let list = texts(&["I", " don't", "\n", " ", ".", "i", "don't"]);
    let with = |level| Vocabulary::with(level, SpecialTokens::default(), list.clone()).unwrap();
    let text = "I don't.\n ";
    let words = with(Tokenization::Word).encode(text, false).unwrap().tokens;
    assert_eq!(words, [0, 1, 4, 2, 3]);
    assert_eq!(with(Tokenization::Word).decode(&words), text);
    let spaced = with(Tokenization::SpacedWord { lowercase: false })
        .encode(text, false)
        .unwrap()
        .tokens;
    assert_eq!(spaced, [0, 6, 4]);
    assert_eq!(
        with(Tokenization::SpacedWord { lowercase: false }).decode(&spaced),
        "I don't ."
    );
    let lower = with(Tokenization::SpacedWord { lowercase: true })
        .encode("I DON'T", false)
        .unwrap();
    assert_eq!(lower.tokens, [5, 6]);
}

#[test]
fn bytes_are_any_text() {
    let bytes = Vocabulary::of_bytes();
    assert_eq!((bytes.len(), bytes.start()), (256, 10));
    let text = "aé🦀\0\n";
    let found = bytes.encode(text, false).unwrap();
    assert_eq!(
        found.tokens,
        text.bytes().map(u16::from).collect::<Vec<_>>()
    );
    assert_eq!(bytes.decode(&found.tokens), text);
    assert_eq!(bytes.measure(&found, 0..found.tokens.len()).characters, 5);
    assert_eq!(bytes.decode(&[0x61, 0xff]), "a\u{fffd}");
    let error =
        Vocabulary::with(Tokenization::Byte, SpecialTokens::default(), texts(&["a"])).unwrap_err();
    assert_eq!(error, VocabularyError::Bytes(1));
    let mut names = bytes.tokens().to_vec();
    names.push("<eos>".into());
    let good = Vocabulary::with(Tokenization::Byte, specials(Some(256), None), names.clone());
    assert_eq!(good.unwrap().start(), 256);
    Vocabulary::with(Tokenization::Byte, specials(Some(3), None), names).unwrap_err();
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
    let vocabulary = Vocabulary::with(Tokenization::Subword, all, list.clone()).unwrap();
    let found = vocabulary.encode("<s>x", false).unwrap();
    assert_eq!(found.tokens, [4, 5, 6, 1]);
    assert_eq!(vocabulary.decode(&[2, 4, 0, 5, 1, 6, 3]), "<s>");
    assert_eq!(vocabulary.initial_token(), 2);
    let none = Vocabulary::with(
        Tokenization::Subword,
        SpecialTokens::default(),
        list.clone(),
    )
    .unwrap();
    assert_eq!(none.start(), 7);
    let missing = specials(Some(8), None);
    let error = Vocabulary::with(Tokenization::Subword, missing, list).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("eos has the id 8: expected one below 8"),
        "{error}"
    );
    let only = Vocabulary::with(
        Tokenization::Subword,
        specials(Some(0), None),
        texts(&["x"]),
    );
    assert_eq!(only.unwrap_err(), VocabularyError::OnlySpecial);
}

#[test]
fn lines_are_texts_of_their_own() {
    let text = "ab\n\nb\r\n";
    let vocabulary = Kind::Char.vocabulary(text, text, 0, true).unwrap();
    assert_eq!(vocabulary.tokens(), ["a", "b", "<eos>"]);
    assert!(vocabulary.line_documents());
    let found = vocabulary.encode_stream(text, false).unwrap();
    assert_eq!(found.tokens, [2, 0, 1, 2, 1, 2]);
    // Each end is the character that it stands for.
    assert_eq!(vocabulary.measure(&found, 1..6).characters, 5);
    // Bytes have a line's end, and yet each line is a text.
    let bytes = Kind::Byte.vocabulary(text, text, 0, true).unwrap();
    assert_eq!(
        bytes.encode_stream("a\n", false).unwrap().tokens,
        [256, 97, 256]
    );
    let plain = Kind::Char.vocabulary(text, text, 0, false).unwrap();
    assert_eq!(plain.encode_stream("a\nb", false).unwrap().tokens.len(), 3);
}

#[test]
fn unknown_words_cost_their_spelling() {
    let list = texts(&["<unk>", "ab", " b"]);
    let words = Vocabulary::with(Tokenization::Word, specials(None, Some(0)), list).unwrap();
    let found = words.encode("ab ba b", false).unwrap();
    assert_eq!(found.tokens, [1, 0, 2]);
    let measure = words.measure(&found, 1..3);
    let spelling = spelling::Spelling::new(["ab", " b"].into_iter()).nats(" ba");
    assert_eq!((measure.characters, measure.unknown), (5, 1));
    assert_eq!(measure.spelling, spelling);
    assert_eq!(words.measure(&found, 2..3).spelling, 0.0);
}

#[test]
fn subwords_are_pieces_of_words_and_always_the_same() {
    let text = "the thesis of the theologian is the theme of the theater\n".repeat(20) + "ü";
    let make = || Vocabulary::of_subwords(&text, &text[..400], 40).unwrap();
    let vocabulary = make();
    assert_eq!(vocabulary, make());
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
    let error = Vocabulary::of_subwords(&text, &text, 5)
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected at most 5"), "{error}");
}
