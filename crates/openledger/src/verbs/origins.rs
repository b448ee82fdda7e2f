//! Which web pages may call a server, as the command line names them.

use clap::Args;
use openledger_gateway::Origins;

use crate::error::{CliError, Exit, Result};

/// The arguments that `serve` and `node` share.
#[derive(Args, Debug, Default)]
pub(crate) struct OriginArgs {
    /// Web pages of these origins may call `/v1`, such as `https://studio.example`; `*` allows all.
    /// Without it, pages of this machine (`localhost`, `127.0.0.1`, `[::1]`) on any port.
    #[arg(long = "allowed-origins", value_name = "ORIGIN", value_delimiter = ',')]
    allowed: Vec<String>,
}

impl OriginArgs {
    /// The origins named.
    pub(crate) fn origins(&self) -> Result<Origins> {
        Origins::parse(&self.allowed).map_err(|bad| {
            let message =
                format!("--allowed-origins: `{bad}` is no origin; write scheme, host and port: https://studio.example");
            CliError::refused(Exit::Usage, message)
        })
    }
}
