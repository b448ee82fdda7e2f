//! Options of the backend that computes answers: the engine of this process, or a remote server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use openledger_engine::{LoadError, NumericMode};
use openledger_node::AnswerSource;
use openledger_serving::{PeerSetup, Secret};

use crate::error::{CliError, Exit, Result};

/// The arguments that `serve` and `node` share.
#[derive(Args, Debug, Default)]
pub(crate) struct AnsweringArgs {
    /// Numeric mode of answers: `f32fma-1` (default), `bf16dot-1` or `q8-2`.
    #[arg(long, value_name = "NAME", conflicts_with = "remote")]
    mode: Option<String>,
    /// URL of a remote server with vLLM's dialect of the OpenAI API, `http://host:port`. Its
    /// answers have the mode `remote` and are not repeatable. Base and adapters must exist on both
    /// sides.
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// Name of the base at the remote server; default: its local name.
    #[arg(long, value_name = "NAME", requires = "remote")]
    remote_model: Option<String>,
    /// File with the API key of the remote server; default: `OPENLEDGER_REMOTE_KEY`, if set.
    #[arg(long, value_name = "FILE", requires = "remote")]
    remote_key_file: Option<PathBuf>,
    /// Path of the folder of adapters at the remote server; default: its local path.
    #[arg(long, value_name = "DIR", requires = "remote")]
    remote_adapters: Option<PathBuf>,
    /// Maximum silence of the remote server, in seconds.
    #[arg(long, value_name = "S", default_value_t = 60, requires = "remote")]
    remote_silence: u64,
    /// Maximum number of concurrent requests to the remote server.
    #[arg(long, value_name = "N", default_value_t = 64, requires = "remote")]
    remote_running: usize,
}

impl AnsweringArgs {
    /// The backend for the base named `base` and the adapters below `adapters`.
    pub(crate) fn choice(&self, base: &str, adapters: Option<&Path>) -> Result<AnswerSource> {
        let Some(url) = &self.remote else {
            return Ok(AnswerSource::Embedded(match &self.mode {
                None => NumericMode::default(),
                Some(name) => mode(name)?,
            }));
        };
        let key = match &self.remote_key_file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(CliError::file(file))?),
            None => std::env::var("OPENLEDGER_REMOTE_KEY").ok(),
        };
        let key = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).map(Secret);
        let folders = match (&self.remote_adapters, adapters) {
            (None, _) => None,
            (Some(there), Some(here)) => Some((here.to_owned(), there.clone())),
            (Some(_), None) => {
                let message =
                    "--remote-adapters is the remote path of the folder of --adapters; give --adapters as well";
                return Err(CliError::refused(Exit::Usage, message));
            }
        };
        let named = PeerSetup::new(url, self.remote_model.as_deref().unwrap_or(base));
        let (silence, running) = (Duration::from_secs(self.remote_silence), self.remote_running);
        Ok(AnswerSource::Remote(PeerSetup { key, adapters: folders, silence, running, ..named }))
    }
}

/// The numeric mode of that name; an unknown name is refused.
pub(crate) fn mode(name: &str) -> Result<NumericMode> {
    let known = || NumericMode::ALL.map(NumericMode::name).join(", ");
    let unknown = || LoadError::Unsupported { what: format!("numeric mode `{name}`; this engine has {}", known()) };
    Ok(NumericMode::from_name(name).ok_or_else(unknown)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_taken_by_name_and_others_refused_by_name() {
        let asked = |name: &str| AnsweringArgs { mode: Some(name.to_owned()), ..AnsweringArgs::default() };
        for known in NumericMode::ALL {
            let choice = asked(known.name()).choice("base", None).ok();
            assert!(matches!(choice, Some(AnswerSource::Embedded(mode)) if mode == known));
        }
        let error = asked("f16-1").choice("base", None).err().unwrap();
        assert!(error.to_string().contains("`f16-1`") && error.to_string().contains("q8-2"), "{error}");
    }

    #[test]
    fn a_key_comes_from_its_file_without_its_line_end() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("key");
        std::fs::write(&file, "sesame\n").unwrap();
        let args = AnsweringArgs {
            remote: Some("http://127.0.0.1:1".into()),
            remote_key_file: Some(file),
            ..AnsweringArgs::default()
        };
        let Ok(AnswerSource::Remote(peer)) = args.choice("base", None) else { panic!("no peer") };
        assert_eq!((peer.key, peer.model.as_str()), (Some(Secret("sesame".into())), "base"));
        let args = AnsweringArgs { remote: Some("http://x".into()), remote_adapters: Some("/srv".into()), ..args };
        assert!(args.choice("base", None).is_err());
    }
}
