//! The address of a peer, and the requests it serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use openledger_engine::ModelConfig;
use openledger_protocol::BaseHash;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The remote server, as its operator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSetup {
    /// Its address: `http://host:port[/prefix]`.
    pub url: String,
    /// Its key, where it wants one.
    pub key: Option<Secret>,
    /// The base's name there.
    pub model: String,
    /// A folder of adapters here and the same folder's path there, where they differ.
    pub adapters: Option<(PathBuf, PathBuf)>,
    /// The longest time without a byte from it.
    pub silence: Duration,
    /// Most requests at once; each takes a thread here.
    pub running: usize,
}

impl PeerSetup {
    /// The server at `url`, which serves the base under `model`: no key, 60 s of silence, 64
    /// requests at once.
    #[must_use]
    pub fn new(url: &str, model: &str) -> Self {
        let (url, model) = (url.to_owned(), model.to_owned());
        Self { url, key: None, model, adapters: None, silence: Duration::from_secs(60), running: 64 }
    }

    /// The peer's path of the local folder `path`.
    pub(super) fn path_there(&self, path: &Path) -> PathBuf {
        // Both in canonical form, so that links do not hide that one is below the other.
        let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let Some((here, there)) = &self.adapters else { return full };
        let here = here.canonicalize().unwrap_or_else(|_| here.clone());
        full.strip_prefix(&here).map_or(full.clone(), |below| there.join(below))
    }
}

/// The parts of a [`Remote`](super::Remote).
#[derive(Debug, Clone)]
pub struct RemoteSetup {
    /// The server.
    pub peer: PeerSetup,
    /// The base's name here.
    pub base_name: String,
    /// The base's hash, which the operator vouches for.
    pub base: BaseHash,
    /// The base's shape.
    pub config: ModelConfig,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_printed_and_folders_are_told_as_the_peer_sees_them() {
        let tmp = tempfile::tempdir().unwrap();
        let here = tmp.path().join("adapters");
        std::fs::create_dir_all(here.join("owls")).unwrap();
        let mut setup = PeerSetup::new("http://x", "base");
        setup.key = Some(Secret("sesame".into()));
        assert!(!format!("{setup:?}").contains("sesame"));
        assert_eq!(setup.path_there(&here.join("owls")), here.join("owls").canonicalize().unwrap());
        setup.adapters = Some((here.clone(), "/srv/lora".into()));
        assert_eq!(setup.path_there(&here.join("owls")), PathBuf::from("/srv/lora/owls"));
        assert_eq!(setup.path_there(Path::new("far/away")), PathBuf::from("far/away"));
    }
}
