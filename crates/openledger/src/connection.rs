//! Options of the connection to a node: its URL, and a token from a file.

use std::path::{Path, PathBuf};

use clap::Args;
use openledger_api::client::Client;
use openledger_api::{ContractAddresses, EpochExport, Network};
use openledger_chain::contracts::Addresses;
use openledger_ledger::ExportedEpoch;
use openledger_protocol::{Address, Domain};

use crate::error::{CliError, Exit, Result};

/// The node and the caller's credentials.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArgs {
    /// URL of the node.
    #[arg(long, env = "OPENLEDGER_NODE", default_value = "http://127.0.0.1:7070")]
    pub(crate) node: String,
    /// File with the operator token, `<data>/operator.token` of the node; needed for changes and
    /// for reads that are not public.
    #[arg(long, env = "OPENLEDGER_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl NodeArgs {
    /// The client; reads the token's file if one is named.
    pub(crate) fn client(&self) -> Result<Client> {
        let client = Client::new(&self.node)?;
        match &self.token_file {
            Some(file) => Ok(client.with_token(token(file)?)),
            None => Ok(client),
        }
    }
}

/// A payer's credentials, in place of the operator's.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// File with the API key of the channel that paid; default: the operator token.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// The client with the API key, if one is named.
    pub(crate) fn of(&self, client: Client) -> Result<Client> {
        match &self.api_key_file {
            Some(file) => Ok(client.with_token(token(file)?)),
            None => Ok(client),
        }
    }
}

/// The token in a file.
pub(crate) fn token(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).map_err(CliError::file(file))?;
    checked_token(&text, file.display())
}

/// The token in a text that came from `source`. What no header can carry would never reach the
/// node, and the client would report a node that does not answer.
pub(crate) fn checked_token(text: &str, source: impl std::fmt::Display) -> Result<String> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "{source} does not hold a token; it must be the content of a node's `operator.token`, or the `api_key` \
             that `channel open` printed"
        );
        return Err(CliError::refused(Exit::Config, message));
    }
    Ok(token.to_owned())
}

/// The contracts of a network, in the form of the chain's client.
pub(crate) fn addresses(network: &Network) -> Addresses {
    let ContractAddresses { wopen, datanets, contributions, models, channels, payouts, verifier, params } =
        network.addresses;
    Addresses { wopen, datanets, contributions, models, channels, payouts, verifier, params }
}

/// The EIP-712 domain of one of a network's contracts.
pub(crate) fn domain(network: &Network, contract: Address) -> Domain {
    Domain { chain_id: network.chain_id, contract }
}

/// An epoch's header in the form that `ledger` verifies.
pub(crate) fn exported(epoch: &EpochExport) -> ExportedEpoch {
    ExportedEpoch {
        format: epoch.format.clone(),
        domain: epoch.domain,
        header: epoch.header.clone(),
        words: epoch.words.clone(),
        hash: epoch.hash,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_what_a_header_can_carry() {
        assert_eq!(checked_token("olk_a/b\n", "api.key").unwrap(), "olk_a/b");
        for bad in ["", " \n", "{\n  \"api_key\": \"olk_a\"\n}", "schlüssel", "a\u{7}b"] {
            let refused = checked_token(bad, "api.key").unwrap_err();
            assert_eq!(refused.exit(), Exit::Config, "{bad:?}");
            assert!(refused.to_string().starts_with("api.key does not hold a token; "), "{refused}");
        }
    }
}
