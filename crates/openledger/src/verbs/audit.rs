//! `openledger audit`: a node recomputes its books and compares them with the chain. Only its
//! operator can call for it.

use clap::{Args, ValueEnum};
use openledger_api::{Audit, AuditCheck, AuditScope};

use super::print_json;
use crate::connection::NodeArgs;
use crate::console::one_line;
use crate::error::{CliError, Exit, Result};

/// Scope of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// Money: what is held, burned and minted is the supply, and contracts hold what they owe.
    Supply,
    /// Chain: its payout root and its events are those of the node.
    Chain,
    /// Books: epochs computed again from their receipts, and each receipt verified.
    Books,
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

fn in_scope(asked: Scope, scope: AuditScope) -> bool {
    match asked {
        Scope::All => true,
        Scope::Supply => scope == AuditScope::Supply,
        Scope::Chain => scope == AuditScope::Chain,
        Scope::Books => scope == AuditScope::Books,
    }
}

/// A check as a line of text.
fn line(check: &AuditCheck) -> String {
    let verdict = if check.ok { "ok   " } else { "FAULT" };
    format!("{verdict}  {}: {}", one_line(&check.name), one_line(&check.detail))
}

/// Audits and prints each check; fails when one does.
pub(crate) async fn run(args: AuditArgs) -> Result<()> {
    let audit = args.node.client()?.audit(args.whole).await?;
    let checks: Vec<AuditCheck> = audit.checks.into_iter().filter(|check| in_scope(args.scope, check.scope)).collect();
    if args.json {
        let ok = checks.iter().all(|check| check.ok);
        print_json(&Audit { ok, checks: checks.clone(), epoch: audit.epoch })?;
    } else if checks.is_empty() {
        // An audit goes on where the last one without a fault stopped.
        println!("ok     nothing of this scope since the last audit, which covers epoch {}", audit.epoch);
    } else {
        for check in &checks {
            println!("{}", line(check));
        }
    }
    let faults = checks.iter().filter(|c| !c.ok).count();
    if faults > 0 {
        let message = format!("{faults} of {} checks failed; mend what they name and audit again", checks.len());
        return Err(CliError::refused(Exit::Failure, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_check_move_no_cursor() {
        let check = AuditCheck {
            scope: AuditScope::Books,
            name: "every receipt".to_owned(),
            ok: false,
            detail: "2 of 3,\nnot \u{1b}[2Jok".to_owned(),
        };
        assert_eq!(line(&check), "FAULT  every receipt: 2 of 3, not \\u{1b}[2Jok");
    }
}
