//! Names of models and files of the hub, checked before they become parts of paths.

/// Files without which a model cannot run.
pub(super) const NEEDED: [&str; 2] = ["config.json", "tokenizer.json"];
/// The weights, if they are one file.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// The list of files of the weights, if they are several.
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// A model's name on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Id {
    /// `org/name`.
    pub(super) name: String,
    /// A branch, tag or commit.
    pub(super) revision: String,
}

impl Id {
    /// `text` as `org/name[@revision]`, if it can be one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, model) = name.split_once('/')?;
        let good = [org, model, revision].into_iter().all(is_plain);
        good.then(|| Self { name: name.to_owned(), revision: revision.to_owned() })
    }
}

/// Whether `text` is one step of a path and nothing that leads elsewhere.
pub(super) fn is_plain(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 200 && !text.starts_with('.') && text.chars().all(good)
}
