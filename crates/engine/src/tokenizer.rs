//! Text to ids and back, with byte offsets both ways.
//!
//! Place in the flow: beside the model, not under it; `datanet`, `serving` and `attribution` use it
//! for spans. Wraps the `tokenizers` crate for encoding; decoding is our own, because receipts need
//! the bytes of every id. Invariants: only BPE tokenizers whose decoder we can name (byte-level, or
//! `▁` with byte fallback) are loaded; training is a function of texts and settings. Not here: what
//! a chat template means (`serving`); its text is only carried along.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Model as _};

use crate::error::LoadError;
use crate::files;
use crate::settings::{FolderTemplate, Special, TokenizerSettings};

/// Ids that a vocabulary may have at most.
const MAX_VOCAB: usize = 1 << 20;

/// Classes of transformers that put bos before a text unless a file says otherwise.
const BOS_CLASSES: [&str; 6] = [
    "LlamaTokenizer",
    "LlamaTokenizerFast",
    "CodeLlamaTokenizer",
    "CodeLlamaTokenizerFast",
    "GemmaTokenizer",
    "GemmaTokenizerFast",
];

/// A BPE tokenizer and the bytes of each of its ids.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    /// Bytes by id; empty for special tokens.
    pieces: Vec<Vec<u8>>,
    /// Whether decoding drops one leading space, which encoding had added.
    strips_space: bool,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    chat_template: Option<String>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`, or the one in folder `path`, with what the files beside it say
    /// ([`TokenizerSettings`]).
    ///
    /// # Errors
    ///
    /// [`LoadError`] for unreadable or broken files and for kinds of tokenizers the engine cannot
    /// decode.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let path = if path.is_dir() { files::within(path, "tokenizer.json") } else { path.to_owned() };
        let json = files::read_limited(&path, files::MAX_JSON_BYTES)?;
        let settings = TokenizerSettings::load(path.parent().unwrap_or(Path::new("")))?;
        Self::parse(json, &settings, &path)
    }

    /// Reads the bytes of a `tokenizer.json`, without files beside it.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::load`].
    pub fn from_json(json: Vec<u8>) -> Result<Self, LoadError> {
        Self::parse(json, &TokenizerSettings::default(), Path::new("tokenizer.json"))
    }

    /// Learns a byte-level BPE from `texts`, in their order.
    ///
    /// `specials` take the first ids: the first one starts a sequence, the second ends it. The same
    /// texts give the same tokenizer, byte for byte. A small corpus may give fewer than
    /// `vocab_size` ids.
    ///
    /// # Errors
    ///
    /// [`LoadError::Unsupported`] when `vocab_size` has no room for the 256 bytes and the specials.
    pub fn train_bpe<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
        specials: &[&str],
    ) -> Result<Self, LoadError> {
        if vocab_size < 256 + specials.len() || vocab_size > MAX_VOCAB {
            return Err(LoadError::Unsupported { what: format!("a vocabulary of {vocab_size}") });
        }
        let malformed =
            |e: tokenizers::Error| LoadError::Malformed { path: "trained tokenizer".into(), reason: e.to_string() };
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(vocab_size)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .special_tokens(specials.iter().map(|s| AddedToken::from(*s, true)).collect())
            .build();
        let mut inner: tokenizers::TokenizerImpl<BPE, tokenizers::NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel> =
            tokenizers::TokenizerImpl::new(BPE::default());
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::default()));
        inner.train(&mut trainer, texts).map_err(malformed)?;
        let mut json = inner.to_string(true).map_err(malformed)?.into_bytes();
        json.push(b'\n');
        let (bos, eos) = (specials.first().copied(), specials.get(1).copied());
        let config = token_config(bos, eos, bos.is_some(), None);
        let settings = TokenizerSettings::parse(&config, &Value::Null);
        Self::parse(json, &settings, Path::new("trained tokenizer"))
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into folder `dir`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Io`] when a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), LoadError> {
        std::fs::create_dir_all(dir).map_err(|source| LoadError::Io { path: dir.to_owned(), source })?;
        files::write(&files::within(dir, "tokenizer.json"), &self.json)?;
        let name = |id: Option<u32>| id.and_then(|id| self.inner.id_to_token(id));
        let template = self.chat_template.as_deref();
        let config = token_config(name(self.bos).as_deref(), name(self.eos).as_deref(), self.adds_bos, template);
        files::write(&files::within(dir, "tokenizer_config.json"), format!("{config:#}\n").as_bytes())
    }

    /// Ids of `text`, after [`Tokenizer::start`] if `with_start`.
    ///
    /// Special tokens spelled out in the text become their ids. Gives no text ids when a pattern of
    /// the tokenizer gives up on the text.
    pub fn encode(&self, text: &str, with_start: bool) -> Vec<u32> {
        let mut ids: Vec<u32> = self.start().filter(|_| with_start).into_iter().collect();
        if let Ok(encoding) = self.inner.encode_fast(text, false) {
            ids.extend_from_slice(encoding.get_ids());
        }
        ids
    }

    /// Ids of `text`, without a start token, each with the byte range of `text` it stands for; ids
    /// inside one character share its range.
    pub fn encode_with_offsets(&self, text: &str) -> Vec<(u32, Range<usize>)> {
        let Ok(encoding) = self.inner.encode(text, false) else { return Vec::new() };
        let ranges = encoding.get_offsets().iter().map(|&(start, end)| {
            // Ids of one byte of a character are widened to it.
            let (mut start, mut end) = (start.min(text.len()), end.min(text.len()));
            while !text.is_char_boundary(start) {
                start -= 1;
            }
            while !text.is_char_boundary(end) {
                end += 1;
            }
            start..end
        });
        let mut out: Vec<(u32, Range<usize>)> = encoding.get_ids().iter().copied().zip(ranges).collect();
        // A space that encoding put before the text stands for none of it.
        if let Some((id, range)) = out.first_mut()
            && self.strips_space
            && self.piece(*id) == b" "
        {
            *range = 0..0;
        }
        out
    }

    /// The text of `ids`: special tokens left out, bytes that are not UTF-8 replaced by U+FFFD, one
    /// leading space dropped where encoding adds one.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_with_offsets(ids).0
    }

    /// As [`Tokenizer::decode`], with the byte range of each id in the text; ids inside one
    /// character share its range, special tokens have an empty one.
    pub fn decode_with_offsets(&self, ids: &[u32]) -> (String, Vec<Range<usize>>) {
        self.text_of(ids, self.strips_space)
    }

    /// As [`Tokenizer::decode_with_offsets`], for ids that go on with a text: a leading space is
    /// the text's and stays.
    pub fn decode_continuation(&self, ids: &[u32]) -> (String, Vec<Range<usize>>) {
        self.text_of(ids, false)
    }

    fn text_of(&self, ids: &[u32], strip: bool) -> (String, Vec<Range<usize>>) {
        let mut bytes = Vec::new();
        let mut raw = Vec::with_capacity(ids.len());
        for id in ids {
            let start = bytes.len();
            bytes.extend_from_slice(self.piece(*id));
            raw.push(start..bytes.len());
        }
        if strip && bytes.first() == Some(&b' ') {
            bytes.remove(0);
            for range in &mut raw {
                *range = range.start.saturating_sub(1)..range.end.saturating_sub(1);
            }
        }
        let mut text = String::new();
        // Where the character of each byte starts and ends in the text.
        let mut chars: Vec<Range<usize>> = Vec::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let start = text.len();
                text.push(c);
                chars.extend(std::iter::repeat_n(start..text.len(), c.len_utf8()));
            }
            if !chunk.invalid().is_empty() {
                let start = text.len();
                text.push(char::REPLACEMENT_CHARACTER);
                chars.extend(std::iter::repeat_n(start..text.len(), chunk.invalid().len()));
            }
        }
        let place = |range: Range<usize>| match chars.get(range.clone()) {
            Some([first, .., last]) => first.start..last.end,
            Some([only]) => only.clone(),
            _ => {
                let at = chars.get(range.start).map_or(text.len(), |c| c.start);
                at..at
            }
        };
        let ranges = raw.into_iter().map(place).collect();
        (text, ranges)
    }

    /// Bytes of one id; empty for special tokens and ids beyond the vocabulary.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The id of a token by its spelling in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// SHA-256 of the bytes of `tokenizer.json`.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.json).into()
    }

    /// The id that comes before every text, where the tokenizer puts one there: what serving,
    /// training and crediting start a text with.
    pub fn start(&self) -> Option<u32> {
        self.bos.filter(|_| self.adds_bos)
    }

    /// The id that is named as the start of a sequence, whether or not texts begin with it
    /// ([`Tokenizer::start`]).
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Id that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether the reference puts bos before a text of its own accord: the configuration says
    /// `add_bos_token`, or it says nothing and the tokenizer's template starts with a special token
    /// or its class puts one there.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The chat template (Jinja) that came with the tokenizer; of several named ones, `default`.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.pieces.len()
    }

    fn parse(json: Vec<u8>, settings: &TokenizerSettings, path: &Path) -> Result<Self, LoadError> {
        let malformed = |reason: String| LoadError::Malformed { path: PathBuf::from(path), reason };
        let value: Value = serde_json::from_slice(&json).map_err(|e| malformed(e.to_string()))?;
        let (style, strips_space) = Style::of(&value)?;
        let mut inner = tokenizers::Tokenizer::from_bytes(&json).map_err(|e| malformed(e.to_string()))?;
        // Limits of a training set-up are no part of the text's meaning.
        inner.with_truncation(None).map_err(|e| malformed(e.to_string()))?;
        inner.with_padding(None);
        let vocab = inner.get_vocab(true);
        let size = vocab.values().max().map_or(0, |id| *id as usize + 1);
        if size == 0 || size > MAX_VOCAB {
            return Err(malformed(format!("{size} ids")));
        }
        let mut pieces = vec![Vec::new(); size];
        for (token, id) in inner.get_model().get_vocab() {
            pieces[id as usize] = style.bytes(&token);
        }
        for (id, token) in inner.get_added_tokens_decoder() {
            pieces[id as usize] = if token.special { Vec::new() } else { token.content.into_bytes() };
        }
        let named = |special: &Special| special.name().and_then(|name| inner.token_to_id(name));
        // A file that says `null` means that there is none; one that says nothing leaves it to the
        // usual names.
        let usual = |special: &Special, names: &[&str]| match special {
            Special::None => None,
            _ => names.iter().find_map(|name| inner.token_to_id(name)),
        };
        let template = first_of_template(&value["post_processor"]).and_then(|name| inner.token_to_id(name));
        let bos = named(&settings.bos)
            .or(template)
            .or_else(|| usual(&settings.bos, &["<s>", "<|begin_of_text|>", "<|bos|>"]));
        let ends = ["</s>", "<|end_of_text|>", "<|endoftext|>", "<|eos|>"];
        let eos = named(&settings.eos).or_else(|| usual(&settings.eos, &ends));
        let by_class = settings.class.as_deref().is_some_and(|class| BOS_CLASSES.contains(&class));
        let adds_bos = bos.is_some() && settings.add_bos.unwrap_or(template.is_some() || by_class);
        let chat_template = match &settings.template {
            FolderTemplate::Text(text) => Some(text.clone()),
            FolderTemplate::None | FolderTemplate::NoDefault => None,
        };
        Ok(Self { inner, json, pieces, strips_space, bos, eos, adds_bos, chat_template })
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocab", &self.vocab_size()).field("bos", &self.bos).finish()
    }
}

/// The special token that a post-processor puts first.
fn first_of_template(processor: &Value) -> Option<&str> {
    match processor["type"].as_str()? {
        "TemplateProcessing" => processor["single"][0]["SpecialToken"]["id"].as_str(),
        "Sequence" => processor["processors"].as_array()?.iter().find_map(first_of_template),
        _ => None,
    }
}

/// How a vocabulary spells bytes.
#[derive(Clone, Copy)]
enum Style {
    /// GPT-2: every byte is a printable character.
    ByteLevel,
    /// SentencePiece: `▁` is a space, `<0xNN>` a byte.
    Spaces,
}

impl Style {
    /// From `tokenizer.json`; also whether decoding strips a leading space.
    fn of(json: &Value) -> Result<(Self, bool), LoadError> {
        let refuse = |what: String| Err(LoadError::Unsupported { what });
        let (model, decoder) = (&json["model"], &json["decoder"]);
        // Old files leave the type out.
        if model["type"].as_str().is_some_and(|kind| kind != "BPE") || !model["merges"].is_array() {
            return refuse(format!("tokenizer model {} (only BPE)", model["type"]));
        }
        if let Some(unk) = model["unk_token"].as_str()
            && model["vocab"][unk].is_null()
        {
            return refuse(format!("unknown token `{unk}` that is not in the vocabulary"));
        }
        match decoder["type"].as_str() {
            Some("ByteLevel") => Ok((Style::ByteLevel, false)),
            Some("Metaspace") => Ok((Style::Spaces, decoder["prepend_scheme"].as_str() != Some("never"))),
            Some("Sequence") => {
                let parts: Vec<&str> = decoder["decoders"]
                    .as_array()
                    .map(|list| list.iter().filter_map(|d| d["type"].as_str()).collect())
                    .unwrap_or_default();
                match parts.as_slice() {
                    ["Replace", "ByteFallback", "Fuse"] => Ok((Style::Spaces, false)),
                    ["Replace", "ByteFallback", "Fuse", "Strip"] => Ok((Style::Spaces, true)),
                    other => refuse(format!("tokenizer decoder {other:?}")),
                }
            }
            _ => refuse(format!("tokenizer decoder {}", decoder["type"])),
        }
    }

    /// Bytes of one vocabulary entry.
    fn bytes(self, token: &str) -> Vec<u8> {
        match self {
            Style::ByteLevel => token
                .chars()
                .flat_map(|c| match byte_of(c) {
                    Some(byte) => vec![byte],
                    None => c.to_string().into_bytes(),
                })
                .collect(),
            Style::Spaces => {
                let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
                match hex.filter(|h| h.len() == 2).and_then(|h| u8::from_str_radix(h, 16).ok()) {
                    Some(byte) => vec![byte],
                    None => token.replace('▁', " ").into_bytes(),
                }
            }
        }
    }
}

/// The byte that GPT-2's alphabet writes as `c`: printable Latin-1 stands for itself, the other 68
/// bytes follow from U+0100.
fn byte_of(c: char) -> Option<u8> {
    let plain = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(c);
    if plain(code) {
        return u8::try_from(code).ok();
    }
    let rank = code.checked_sub(0x100)? as usize;
    (0..=255u32).filter(|b| !plain(*b)).nth(rank).and_then(|b| u8::try_from(b).ok())
}

/// A `tokenizer_config.json`.
fn token_config(bos: Option<&str>, eos: Option<&str>, add_bos: bool, template: Option<&str>) -> Value {
    let mut config = serde_json::json!({
        "add_bos_token": add_bos,
        "bos_token": bos,
        "eos_token": eos,
        "tokenizer_class": "PreTrainedTokenizerFast",
    });
    if let Some(template) = template {
        config["chat_template"] = template.into();
    }
    config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXTS: [&str; 4] = [
        "the river gauge rose by two feet in the night",
        "the night desk wrote it down: two feet, the river is rising",
        "água, 水位, and the river",
        "feet of the river, feet of the night",
    ];

    fn trained() -> Tokenizer {
        Tokenizer::train_bpe(TEXTS.into_iter(), 300, &["<s>", "</s>"]).unwrap()
    }

    #[test]
    fn training_twice_gives_the_same_bytes() {
        assert_eq!(trained().hash(), trained().hash());
        assert_eq!((trained().bos(), trained().eos()), (Some(0), Some(1)));
        assert!(trained().vocab_size() > 258);
    }

    #[test]
    fn any_text_survives_encoding_and_decoding_with_offsets() {
        let tokenizer = trained();
        for text in ["the river", " two  spaces\n", "水位 rose 🌊!", "", "\u{0}\u{7f}é"] {
            let ids = tokenizer.encode(text, true);
            assert_eq!(ids[0], 0);
            let (decoded, ranges) = tokenizer.decode_with_offsets(&ids);
            assert_eq!(decoded, text);
            let with_offsets = tokenizer.encode_with_offsets(text);
            assert_eq!(with_offsets.iter().map(|t| t.0).collect::<Vec<_>>(), ids[1..]);
            assert_eq!(with_offsets.into_iter().map(|t| t.1).collect::<Vec<_>>(), ranges[1..], "{text:?}");
        }
    }

    #[test]
    fn ids_inside_one_character_share_its_range() {
        let tokenizer = trained();
        let ids = tokenizer.encode("🌊", false);
        assert_eq!(ids.len(), 4);
        let (_, ranges) = tokenizer.decode_with_offsets(&ids);
        assert!(ranges.iter().all(|r| *r == (0..4)));
        let (text, ranges) = tokenizer.decode_with_offsets(&ids[..2]);
        assert_eq!((text.as_str(), ranges[1].clone()), ("\u{fffd}", 0..3));
    }

    #[test]
    fn a_saved_tokenizer_loads_with_the_same_hash_and_specials() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = trained();
        tokenizer.save(dir.path()).unwrap();
        let loaded = Tokenizer::load(dir.path()).unwrap();
        assert_eq!(loaded.hash(), tokenizer.hash());
        assert_eq!((loaded.bos(), loaded.eos()), (Some(0), Some(1)));
        assert_eq!(loaded.encode(TEXTS[0], true), tokenizer.encode(TEXTS[0], true));
    }

    /// A SentencePiece-like vocabulary: three specials, 256 bytes, then words and an added token.
    fn byte_fallback() -> Value {
        let mut vocab = serde_json::Map::new();
        let bytes = (0..256).map(|b| format!("<0x{b:02X}>"));
        let specials = ["<unk>", "<s>", "</s>"].into_iter().map(str::to_owned);
        for token in specials.chain(bytes).chain(["▁", "a", "b", "▁a", "▁ab"].map(str::to_owned)) {
            vocab.insert(token, vocab.len().into());
        }
        let added = |id: u32, content: &str, special: bool| {
            json!({
                "id": id, "content": content, "special": special, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false,
            })
        };
        json!({
            "version": "1.0",
            "added_tokens": [
                added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true), added(264, "<tool>", false),
            ],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ]},
            "post_processor": {"type": "Sequence", "processors": [{
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
            }]},
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
            "model": {
                "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
                "merges": ["▁ a", "▁a b"],
            },
        })
    }

    #[test]
    fn byte_fallback_spells_unknown_characters_by_their_bytes() {
        let tokenizer = Tokenizer::from_json(byte_fallback().to_string().into_bytes()).unwrap();
        assert_eq!(tokenizer.encode("ab é", true), [1, 263, 259, 3 + 0xc3, 3 + 0xa9]);
        for text in ["ab é", "水位 a", "", " a  b", "\n"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(text, true)), text, "{text:?}");
        }
        let ids = [263, 259, 3 + 0xc3, 3 + 0xa9];
        let (text, ranges) = tokenizer.decode_with_offsets(&ids);
        assert_eq!((text.as_str(), ranges), ("ab é", vec![0..2, 2..3, 3..5, 3..5]));
        let (text, ranges) = tokenizer.decode_continuation(&ids);
        assert_eq!((text.as_str(), ranges), (" ab é", vec![0..3, 3..4, 4..6, 4..6]));
    }

    #[test]
    fn added_tokens_are_one_id_each_and_only_special_ones_are_silent() {
        let tokenizer = Tokenizer::from_json(byte_fallback().to_string().into_bytes()).unwrap();
        let ids = tokenizer.encode("a<tool>b</s>", false);
        assert!(ids.contains(&264) && ids.contains(&2), "{ids:?}");
        assert_eq!((tokenizer.piece(264), tokenizer.piece(2)), (b"<tool>".as_slice(), b"".as_slice()));
        assert!(tokenizer.decode(&ids).contains("<tool>"));
        assert_eq!((tokenizer.vocab_size(), tokenizer.bos(), tokenizer.adds_bos()), (265, Some(1), true));
    }

    #[test]
    fn the_configuration_beside_it_names_bos_eos_and_the_chat_template() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("tokenizer.json", byte_fallback().to_string());
        let load = |config: Value| {
            write("tokenizer_config.json", config.to_string());
            Tokenizer::load(dir.path()).unwrap()
        };
        let named = load(json!({"bos_token": {"content": "<tool>"}, "eos_token": "<s>", "add_bos_token": false}));
        assert_eq!((named.bos(), named.eos(), named.adds_bos()), (Some(264), Some(1), false));
        assert_eq!((named.start(), named.encode("a", true)), (None, named.encode("a", false)));
        assert_eq!((named.chat_template(), load(json!({"eos_token": null})).eos()), (None, None));
        // What no file says is what the class does, and what `tokenizer.json` itself says comes
        // before that.
        let mut plain = byte_fallback();
        plain["post_processor"] = Value::Null;
        write("tokenizer.json", plain.to_string());
        let class = |name: &str| load(json!({"tokenizer_class": name, "bos_token": "<s>"})).start();
        assert_eq!((class("LlamaTokenizerFast"), class("PreTrainedTokenizerFast")), (Some(1), None));
        write("special_tokens_map.json", json!({"eos_token": {"content": "<tool>"}}).to_string());
        assert_eq!((load(json!({})).eos(), load(json!({"eos_token": "<s>"})).eos()), (Some(264), Some(1)));
        std::fs::remove_file(dir.path().join("special_tokens_map.json")).unwrap();
        write("tokenizer.json", byte_fallback().to_string());
        let several = json!([{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]);
        assert_eq!(load(json!({"chat_template": several})).chat_template(), Some("d"));
        let one = load(json!({"chat_template": "{{ messages }}"}));
        assert_eq!(one.chat_template(), Some("{{ messages }}"));
        let saved = tempfile::tempdir().unwrap();
        one.save(saved.path()).unwrap();
        assert_eq!(Tokenizer::load(saved.path()).unwrap().chat_template(), one.chat_template());
        write("chat_template.jinja", "{{ file }}".into());
        assert_eq!(load(json!({"chat_template": "x"})).chat_template(), Some("{{ file }}"));
    }

    #[test]
    fn other_kinds_of_tokenizers_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, br#"{"model": {"type": "WordPiece", "vocab": {}}}"#).unwrap();
        let error = Tokenizer::load(&path).unwrap_err().to_string();
        assert!(error.contains("WordPiece"), "{error}");
        std::fs::write(&path, b"{").unwrap();
        assert!(matches!(Tokenizer::load(&path), Err(LoadError::Malformed { .. })));
    }
}
