//! `openledger audit`: what a node finds when it computes its own promises again, and the chain's.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::print_json;
use crate::api::NodeArgs;
use crate::error::{CliError, Exit, Result};

/// Which promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Money: all OPEN is where it should be.
    Supply,
    /// The chain: roots and titles agree with what the node keeps.
    Chain,
    /// Everything.
    All,
}

/// Arguments of `openledger audit`.
#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// What to check.
    scope: Scope,
    #[command(flatten)]
    node: NodeArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One check of an audit.
pub(crate) struct Check {
    /// What was checked.
    pub(crate) name: String,
    /// Whether it holds.
    pub(crate) ok: bool,
    /// The figures.
    pub(crate) detail: String,
}

/// The checks of an audit document.
pub(crate) fn checks(audit: &Value) -> Result<Vec<Check>> {
    let list = audit["checks"].as_array().ok_or_else(|| CliError::lacks("GET audit", "checks"))?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(list
        .iter()
        .map(|c| Check { name: text(&c["name"]), ok: c["ok"] == Value::Bool(true), detail: text(&c["detail"]) })
        .collect())
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
    let audit = args.node.api()?.get("/api/v1/audit").await?;
    let checks: Vec<Check> = checks(&audit)?.into_iter().filter(|c| in_scope(args.scope, &c.name)).collect();
    if args.json {
        let list: Vec<Value> =
            checks.iter().map(|c| serde_json::json!({ "name": c.name, "ok": c.ok, "detail": c.detail })).collect();
        print_json(&serde_json::json!({ "ok": checks.iter().all(|c| c.ok), "checks": list }))?;
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
