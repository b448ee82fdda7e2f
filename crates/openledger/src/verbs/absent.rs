//! Planned nouns: each is refused by name, with a description of its purpose.

use clap::Args;

use crate::error::{CliError, Exit, Result};

/// The arguments after the noun.
#[derive(Args, Debug)]
pub(crate) struct Rest {
    /// Ignored.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<String>,
}

fn absent(noun: &str, will: &str) -> Result<()> {
    let message = format!("`openledger {noun}` will {will}; this version does not have it yet");
    Err(CliError::refused(Exit::Unavailable, message))
}

/// Agents.
pub(crate) fn agent() -> Result<()> {
    absent(
        "agent",
        "run agents whose budget the ledger enforces before each charge, with a signed log of their actions",
    )
}

/// The marketplace.
pub(crate) fn market() -> Result<()> {
    absent("market", "list, sell, license and split titles of datanets, contributions, models and agents")
}

/// Governance.
pub(crate) fn gov() -> Result<()> {
    absent("gov", "propose, vote on and execute changes of bounded parameters through a timelock")
}

/// The attack kit.
pub(crate) fn attack() -> Result<()> {
    absent(
        "attack",
        "play sybil, duplicate, wash, collusion, poison and front-running attacks and print what each earns",
    )
}

/// The attribution benchmark.
pub(crate) fn poa() -> Result<()> {
    absent("poa bench", "compare attribution with leave-out retraining and print the rank correlation")
}
