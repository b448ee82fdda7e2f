//! `openledger audit`: a node recomputes its books and compares them with the chain.

use clap::{Args, ValueEnum};
use openledger_api::{Audit, AuditCheck};

use super::print_json;
use crate::connection::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// Scope of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Money: balances of contracts and accounts sum to the supply.
    Supply,
    /// Chain: roots and titles equal those of the node.
    Chain,
    /// Everything.
    All,
}

/// Arguments of `openledger audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Scope of the checks.
    scope: Scope,
    #[command(flatten)]
    node: NodeArgs,
    /// Audit from the beginning. Without it, an audit goes on from the last epoch and block that
    /// were found right, also after one that was interrupted.
    #[arg(long)]
    whole: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn in_scope(scope: Scope, name: &str) -> bool {
    let about = |words: &[&str]| words.iter().any(|word| name.to_lowercase().contains(word));
    match scope {
        Scope::All => true,
        Scope::Supply => about(&["supply", "holds"]),
        Scope::Chain => about(&["chain", "epoch"]),
    }
}

/// Audits and prints each check; fails when one does.
pub(crate) async fn run(args: AuditArgs) -> Result<()> {
    let audit = args.node.client()?.audit(args.whole).await?;
    let checks: Vec<AuditCheck> = audit.checks.into_iter().filter(|check| in_scope(args.scope, &check.name)).collect();
    if args.json {
        let ok = checks.iter().all(|check| check.ok);
        print_json(&Audit { ok, checks: checks.clone(), epoch: audit.epoch })?;
    } else {
        for check in &checks {
            println!("{}  {}: {}", if check.ok { "ok   " } else { "FAULT" }, check.name, check.detail);
        }
    }
    if checks.is_empty() {
        return Err(CliError::refused(Exit::Unavailable, "the node checks nothing of that kind"));
    }
    let faults = checks.iter().filter(|c| !c.ok).count();
    if faults > 0 {
        return Err(CliError::refused(Exit::Failure, format!("{faults} of {} checks failed", checks.len())));
    }
    Ok(())
}
