//! The node's keys: its main key, keys derived from it for one purpose each, and the operator's token.

use std::path::Path;

use openledger_protocol::{Address, Key, keccak};

use crate::config::Config;
use crate::error::{Blame, NodeError, Result};
use crate::files::write_secret;

/// The node's signing key and what follows from it.
#[derive(Clone)]
pub(crate) struct NodeKeys {
    main: Key,
}

impl NodeKeys {
    pub(crate) fn new(main: Key) -> Self {
        Self { main }
    }

    /// The key that signs receipts, relays and proposes.
    pub(crate) fn main(&self) -> &Key {
        &self.main
    }

    /// The account of the main key.
    pub(crate) fn account(&self) -> Address {
        self.main.address()
    }

    /// A key for one purpose.
    pub(crate) fn derived(&self, purpose: &str) -> Key {
        let signature = self.main.sign(keccak(format!("openledger node key\n{purpose}")));
        let mut secret = keccak(signature.0);
        loop {
            match Key::from_bytes(&secret.0) {
                Ok(key) => return key,
                Err(_) => secret = keccak(secret), // happens once in 2^128
            }
        }
    }

    /// The operator's token: made at the first start, in a file that the operator alone can read.
    ///
    /// # Errors
    /// `bad-token` when the file is damaged.
    pub(crate) fn operator_token(&self, config: &Config) -> Result<String> {
        let file = config.token_file();
        match std::fs::read_to_string(&file) {
            Ok(token) => checked_token(token.trim(), &file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let signature = self.main.sign(keccak("openledger operator token"));
                let token = format!("olop_{}", hex::encode(keccak(signature.0)));
                write_secret(&file, &token)?;
                Ok(token)
            }
            Err(error) => Err(NodeError::file(&file)(error)),
        }
    }
}

fn checked_token(token: &str, file: &Path) -> Result<String> {
    if token.len() >= 32 {
        return Ok(token.to_owned());
    }
    let detail = format!("{} is damaged; remove it and start the node again", file.display());
    Err(NodeError::refused(Blame::Operator, "bad-token", detail))
}
