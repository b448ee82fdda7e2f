//! Settings that Hugging Face keeps beside `config.json` and `tokenizer.json`.
//!
//! Place in the flow: read by `model` and `tokenizer` when a folder is loaded, and by `serving` for
//! chat templates. `tokenizer_config.json` comes before `special_tokens_map.json`, as in
//! transformers; `generation_config.json` adds tokens that end an answer. Invariant: a file that is
//! there and broken is an error, one that is missing is none. Not here: the generation config's
//! sampling settings, which are a request's.

use std::path::Path;

use serde_json::Value;

use crate::error::LoadError;
use crate::files;

/// What a file says of one special token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Special {
    /// Nothing; the usual names may stand for it.
    #[default]
    Unsaid,
    /// That there is none.
    None,
    /// Its spelling.
    Named(String),
}

impl Special {
    /// Its spelling, where it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Unsaid | Self::None => None,
        }
    }
}

/// The chat template that a folder brings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum FolderTemplate {
    /// None.
    #[default]
    None,
    /// This one, in Jinja.
    Text(String),
    /// Several, none of which is called `default`.
    NoDefault,
}

/// What the files beside a `tokenizer.json` say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenizerSettings {
    /// The token that starts a text.
    pub bos: Special,
    /// The token that ends a text.
    pub eos: Special,
    /// The token of what is unknown.
    pub unk: Special,
    /// The token that fills up.
    pub pad: Special,
    /// Whether every text starts with `bos`, where a file says so.
    pub add_bos: Option<bool>,
    /// The class that transformers loads the tokenizer with.
    pub class: Option<String>,
    /// The chat template.
    pub template: FolderTemplate,
}

impl TokenizerSettings {
    /// Reads `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja` in `dir`,
    /// as far as they are there.
    ///
    /// # Errors
    /// [`LoadError::Io`], [`LoadError::TooLarge`] and [`LoadError::Malformed`] of a file that is
    /// there.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        let config = json(dir, "tokenizer_config.json")?;
        let map = json(dir, "special_tokens_map.json")?;
        let mut settings = Self::parse(&config, &map);
        let path = files::within(dir, "chat_template.jinja");
        if path.exists() {
            let bytes = files::read_limited(&path, files::MAX_JSON_BYTES)?;
            let text = String::from_utf8(bytes);
            let text = text.map_err(|error| LoadError::Malformed { path, reason: error.to_string() })?;
            settings.template = FolderTemplate::Text(text);
        }
        Ok(settings)
    }

    /// From a `tokenizer_config.json` and a `special_tokens_map.json`; null stands for a missing
    /// file.
    pub(crate) fn parse(config: &Value, map: &Value) -> Self {
        let special = |key: &str| {
            let value = config.get(key).or_else(|| map.get(key));
            let name = |value: &Value| value.as_str().or(value["content"].as_str()).map(str::to_owned);
            match value {
                None => Special::Unsaid,
                Some(value) => name(value).map_or(Special::None, Special::Named),
            }
        };
        let template = match &config["chat_template"] {
            Value::Array(list) => {
                list.iter().find(|one| one["name"] == "default").and_then(|one| one["template"].as_str())
            }
            other => other.as_str(),
        };
        let template = match (template, &config["chat_template"]) {
            (Some(text), _) => FolderTemplate::Text(text.to_owned()),
            (None, Value::Null) => FolderTemplate::None,
            (None, _) => FolderTemplate::NoDefault,
        };
        Self {
            bos: special("bos_token"),
            eos: special("eos_token"),
            unk: special("unk_token"),
            pad: special("pad_token"),
            add_bos: config["add_bos_token"].as_bool(),
            class: config["tokenizer_class"].as_str().map(str::to_owned),
            template,
        }
    }
}

/// Ids that start and end a sequence by the `generation_config.json` in `dir`; none without that
/// file.
///
/// # Errors
/// [`LoadError::Malformed`] when an id is no whole number, and those of reading the file.
pub(crate) fn generation_ids(dir: &Path) -> Result<(Vec<u32>, Vec<u32>), LoadError> {
    const FILE: &str = "generation_config.json";
    let config = json(dir, FILE)?;
    let ids = |key: &str| {
        let bad = || LoadError::Malformed {
            path: files::within(dir, FILE),
            reason: format!("`{key}` must be a token id or a list of them"),
        };
        let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(bad);
        match &config[key] {
            Value::Null => Ok(Vec::new()),
            Value::Array(list) => list.iter().map(one).collect(),
            value => one(value).map(|id| vec![id]),
        }
    };
    Ok((ids("bos_token_id")?, ids("eos_token_id")?))
}

/// The JSON object in `dir` called `name`; null when it is not there.
fn json(dir: &Path, name: &str) -> Result<Value, LoadError> {
    let path = files::within(dir, name);
    if !path.exists() {
        return Ok(Value::Null);
    }
    let bytes = files::read_limited(&path, files::MAX_JSON_BYTES)?;
    serde_json::from_slice(&bytes).map_err(|error| LoadError::Malformed { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tokenizers_own_file_comes_before_the_map_and_null_says_that_there_is_none() {
        let map = json!({"bos_token": {"content": "<m>"}, "eos_token": "</m>", "unk_token": "<u>"});
        let settings = TokenizerSettings::parse(&json!({"bos_token": "<c>", "eos_token": null}), &map);
        assert_eq!(settings.bos.name(), Some("<c>"));
        assert_eq!(settings.eos, Special::None);
        assert_eq!((settings.unk.name(), &settings.pad), (Some("<u>"), &Special::Unsaid));
        let alone = TokenizerSettings::parse(&Value::Null, &map);
        assert_eq!((alone.bos.name(), alone.eos.name()), (Some("<m>"), Some("</m>")));
    }

    #[test]
    fn a_generation_config_gives_one_id_or_several_and_a_broken_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let ids = |text: &str| {
            std::fs::write(dir.path().join("generation_config.json"), text).unwrap();
            generation_ids(dir.path()).map(|(_, eos)| eos)
        };
        assert_eq!(ids(r#"{"eos_token_id": [0, 14]}"#).unwrap(), [0, 14]);
        assert_eq!(ids(r#"{"eos_token_id": 7}"#).unwrap(), [7]);
        assert_eq!(ids("{}").unwrap(), Vec::<u32>::new());
        for broken in [r#"{"eos_token_id": "x"}"#, r#"{"eos_token_id": [-1]}"#, "{"] {
            assert!(matches!(ids(broken), Err(LoadError::Malformed { .. })), "{broken}");
        }
    }
}
