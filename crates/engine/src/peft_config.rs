//! What an `adapter_config.json` asks for, map by map.
//!
//! Place in the flow: under `peft`, before any weight is read. Invariant: a setting either has the
//! meaning PEFT gives it, or cannot change what the adapter computes, or is refused by name; new
//! settings of later versions are refused while they are switched on. Source:
//! `check_target_module_exists` and `get_pattern_key` of PEFT 0.21. Not here: tensors.

use fancy_regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use crate::config::ModelConfig;
use crate::error::LoadError;
use crate::lora::{LoraConfig, Low};
use crate::shapes::Target;

/// Name of the file.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// Steps a hostile pattern may take on one name.
const BACKTRACK_LIMIT: usize = 20_000;
/// Longest pattern, in bytes, and most entries of a list.
const MAX_PATTERN: usize = 4096;

/// Settings that do not change what the adapter computes, whatever their value.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Settings that are read below.
const READ: &[&str] = &[
    "alpha_pattern",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "r",
    "rank_pattern",
    "target_modules",
    "use_rslora",
];

/// Ways of initialising that leave the base weights alone; the others (`pissa`, `olora`, `corda`,
/// `loftq`, `lora_ga`) change them, so that the adapter means something else on the plain base.
const PLAIN_INITS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// Rank and strength of each map.
pub(crate) struct Plan {
    pub(crate) config: LoraConfig,
    /// By `layer · 7 + target`.
    pub(crate) maps: Vec<Option<Low>>,
}

impl Plan {
    /// Reads `adapter_config.json` for a model of that shape.
    ///
    /// # Errors
    ///
    /// [`LoadError::Malformed`] or [`LoadError::Unsupported`], naming the setting.
    pub(crate) fn parse(bytes: &[u8], model: &ModelConfig) -> Result<Self, LoadError> {
        let json: Value = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        let object = json.as_object().ok_or_else(|| malformed("not a JSON object".into()))?;
        refuse_other_meanings(object)?;
        let rank = json["r"].as_u64().and_then(|r| usize::try_from(r).ok());
        let alpha = json["lora_alpha"].as_f64();
        let (Some(rank), Some(alpha)) = (rank, alpha) else {
            return Err(malformed("`r` must be a whole number and `lora_alpha` a number".into()));
        };
        let rslora = match &json["use_rslora"] {
            Value::Null => false,
            value => value.as_bool().ok_or_else(|| malformed("`use_rslora` must be true or false".into()))?,
        };
        let default = Low { rank, alpha: alpha as f32 }.checked()?;
        let chosen = Chosen::parse(&json)?;
        let ranks = Patterns::parse("rank_pattern", &json["rank_pattern"])?;
        let alphas = Patterns::parse("alpha_pattern", &json["alpha_pattern"])?;
        chosen.refuse_other_modules(model)?;
        let mut maps = Vec::with_capacity(model.layers * Target::ALL.len());
        let mut targets = Vec::new();
        for layer in 0..model.layers {
            for target in Target::ALL {
                let name = module_name(layer, target);
                if !chosen.takes(layer, &name)? {
                    maps.push(None);
                    continue;
                }
                let rank = match ranks.value(&name)? {
                    None => default.rank,
                    Some(value) => value.as_u64().and_then(|r| usize::try_from(r).ok()).unwrap_or(0),
                };
                let alpha = match alphas.value(&name)? {
                    None => default.alpha,
                    Some(value) => value.as_f64().unwrap_or(f64::NAN) as f32,
                };
                maps.push(Some(Low { rank, alpha }.checked()?));
                targets.push(target);
            }
        }
        let config = LoraConfig { rank: default.rank, alpha: default.alpha, targets, rslora }.checked()?;
        Ok(Self { config, maps })
    }
}

/// The name of one map inside the base model.
pub(crate) fn module_name(layer: usize, target: Target) -> String {
    format!("model.layers.{layer}.{}", target.path())
}

/// Refuses what would give the adapter another meaning, and what is unknown and switched on.
fn refuse_other_meanings(object: &Map<String, Value>) -> Result<(), LoadError> {
    let get = |key: &str| object.get(key).unwrap_or(&Value::Null);
    if get("peft_type").as_str() != Some("LORA") {
        return refuse(format!("peft_type {}", get("peft_type")));
    }
    let init = get("init_lora_weights");
    let plain = matches!(init, Value::Null | Value::Bool(_)) || init.as_str().is_some_and(|i| PLAIN_INITS.contains(&i));
    if !plain {
        return refuse(format!("adapter setting `init_lora_weights` = {init} (it changes the base weights)"));
    }
    for (key, value) in object {
        let known = HARMLESS.contains(&key.as_str()) || READ.contains(&key.as_str());
        let no_bias = key == "bias" && value.as_str() == Some("none");
        if !known && !no_bias && !is_off(value) {
            return refuse(format!("adapter setting `{key}` = {value}"));
        }
    }
    Ok(())
}

/// A list of module names or a pattern over them.
enum Names {
    /// Whole names, or ends of names after a dot.
    List(Vec<String>),
    /// A pattern for whole names.
    Pattern(Regex),
}

impl Names {
    fn parse(key: &str, value: &Value) -> Result<Self, LoadError> {
        match value {
            Value::String(pattern) => Ok(Names::Pattern(regex(key, pattern, |p| format!(r"\A(?:{p})\z"))?)),
            Value::Array(list) if list.len() <= MAX_PATTERN => {
                let names = list.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                Ok(Names::List(names.ok_or_else(|| malformed(format!("`{key}` must list names")))?))
            }
            other => refuse(format!("{key} {other}")),
        }
    }

    fn matches(&self, name: &str) -> Result<bool, LoadError> {
        match self {
            Names::List(list) => Ok(list.iter().any(|end| ends_with(name, end))),
            Names::Pattern(regex) => run(regex, name),
        }
    }
}

/// Which maps get an adapter.
struct Chosen {
    /// `None` is all linear maps.
    wanted: Option<Names>,
    excluded: Option<Names>,
    layers: Option<Vec<u64>>,
}

impl Chosen {
    fn parse(json: &Value) -> Result<Self, LoadError> {
        let targets = &json["target_modules"];
        let wanted = match targets {
            Value::String(all) if all.eq_ignore_ascii_case("all-linear") => None,
            Value::Array(list) if list.is_empty() => return refuse("a LoRA without target modules".into()),
            other => Some(Names::parse("target_modules", other)?),
        };
        let excluded = match &json["exclude_modules"] {
            off if is_off(off) => None,
            other => Some(Names::parse("exclude_modules", other)?),
        };
        let bad = || malformed("`layers_to_transform` must be a layer or a list of layers".into());
        let layers = match &json["layers_to_transform"] {
            Value::Null => None,
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>().ok_or_else(bad)?),
            one => Some(vec![one.as_u64().ok_or_else(bad)?]),
        };
        if layers.is_some() && targets.is_string() {
            return refuse("layers_to_transform with target_modules that are no list".into());
        }
        let usual = |name: &Value| name.as_str() == Some("layers");
        match &json["layers_pattern"] {
            off if is_off(off) => {}
            one if usual(one) => {}
            Value::Array(list) if list.iter().all(usual) => {}
            other => return refuse(format!("layers_pattern {other}")),
        }
        Ok(Self { wanted, excluded, layers })
    }

    /// Whether the map of that name gets an adapter.
    fn takes(&self, layer: usize, name: &str) -> Result<bool, LoadError> {
        if let Some(excluded) = &self.excluded
            && excluded.matches(name)?
        {
            return Ok(false);
        }
        let wanted = self.wanted.as_ref().map_or(Ok(true), |names| names.matches(name))?;
        Ok(wanted && self.layers.as_ref().is_none_or(|layers| layers.contains(&(layer as u64))))
    }

    /// Refuses targets outside the linear maps of the layers, and names that fit none of those.
    fn refuse_other_modules(&self, model: &ModelConfig) -> Result<(), LoadError> {
        let Some(wanted) = &self.wanted else { return Ok(()) };
        let inner = ["", ".self_attn", ".mlp", ".mlp.act_fn", ".input_layernorm", ".post_attention_layernorm"];
        let heads = [".self_attn.q_norm", ".self_attn.k_norm"];
        let outer = ["lm_head", "model", "model.embed_tokens", "model.layers", "model.norm", "model.rotary_emb"];
        let layers =
            (0..model.layers).flat_map(|l| inner.iter().chain(&heads).map(move |n| format!("model.layers.{l}{n}")));
        for name in outer.into_iter().map(str::to_owned).chain(layers) {
            let excluded = self.excluded.as_ref().map_or(Ok(false), |names| names.matches(&name))?;
            if !excluded && wanted.matches(&name)? {
                return refuse(format!("target module `{name}` (only the linear maps of the layers)"));
            }
        }
        if let Names::List(list) = wanted {
            let known = |end: &String| {
                (0..model.layers).any(|l| Target::ALL.iter().any(|t| ends_with(&module_name(l, *t), end)))
            };
            if let Some(name) = list.iter().find(|end| !known(end)) {
                return refuse(format!("target module `{name}`, which this model does not have"));
            }
        }
        Ok(())
    }
}

/// Values by pattern over module names.
struct Patterns<'a> {
    key: &'static str,
    list: Vec<(Regex, &'a Value)>,
}

impl<'a> Patterns<'a> {
    fn parse(key: &'static str, value: &'a Value) -> Result<Self, LoadError> {
        let list = match value {
            off if is_off(off) => Vec::new(),
            Value::Object(map) if map.len() <= MAX_PATTERN => map
                .iter()
                .map(|(pattern, value)| Ok((regex(key, pattern, |p| format!(r"\A(?:.*\.)?(?:{p})\z"))?, value)))
                .collect::<Result<_, LoadError>>()?,
            other => return Err(malformed(format!("`{key}` must map names to numbers, not {other}"))),
        };
        Ok(Self { key, list })
    }

    /// The value for that module. PEFT takes the first pattern of the file, and a JSON object has
    /// no order; so two patterns with different values are refused.
    fn value(&self, name: &str) -> Result<Option<&'a Value>, LoadError> {
        let mut found: Option<&Value> = None;
        for (regex, value) in &self.list {
            if run(regex, name)? {
                if found.is_some_and(|first| first != *value) {
                    return refuse(format!("{} with two values for `{name}`", self.key));
                }
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Whether `name` is `end` or ends with it after a dot.
fn ends_with(name: &str, end: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A pattern of the file, anchored by `whole`.
fn regex(key: &str, pattern: &str, whole: impl Fn(&str) -> String) -> Result<Regex, LoadError> {
    if pattern.len() > MAX_PATTERN {
        return refuse(format!("a pattern of {} bytes in `{key}` (limit {MAX_PATTERN})", pattern.len()));
    }
    let compile = |text: &str| {
        let regex = RegexBuilder::new(text).backtrack_limit(BACKTRACK_LIMIT).build();
        regex.map_err(|e| LoadError::Unsupported { what: format!("`{key}` with the pattern `{pattern}`: {e}") })
    };
    // Compiled alone first, so that no pattern can close the group it is put into.
    compile(pattern)?;
    compile(&whole(pattern))
}

/// Matches, or refuses a pattern that takes too long.
fn run(regex: &Regex, name: &str) -> Result<bool, LoadError> {
    match regex.is_match(name) {
        Ok(found) => Ok(found),
        Err(error) => refuse(format!("the pattern `{}` on `{name}`: {error}", regex.as_str())),
    }
}

fn malformed(reason: String) -> LoadError {
    LoadError::Malformed { path: CONFIG.into(), reason }
}

fn refuse<T>(what: String) -> Result<T, LoadError> {
    Err(LoadError::Unsupported { what })
}

/// Whether a setting is switched off: null, false, zero, or an empty list, object or text.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
