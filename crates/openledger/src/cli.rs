//! The command line: nouns, then verbs. `README.md` and scripts rely on these words.

use clap::{Parser, Subcommand};

use crate::demo::{self, DemoArgs};
use crate::error::Result;
use crate::verbs::{
    self, absent, ask, audit, channel, claim, datanet, deploy, epoch, influence, job, model, node, receipt, serve,
    trace, train,
};

/// Datanets, models trained on them, answers with receipts, and payouts to contributors.
///
/// Exit status: 0 success, 1 failure or a fault found by a check, 2 usage, 3 not found, 4 not
/// permitted, 5 payment required, 6 conflict, 65 malformed data, 69 unavailable, 78 configuration.
#[derive(Parser, Debug)]
#[command(name = "openledger", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The command.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The nouns and verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Run a node: HTTP API, worker, Studio, and an embedded chain unless --rpc names a network.
    Node(node::NodeArgs),
    /// Run a node on a local network with funded accounts.
    Dev(node::DevArgs),
    /// Run the whole economy on a fresh node with real input, and report each step.
    Demo(DemoArgs),
    /// Ask a model, and show the records that the answer rests on.
    Ask(ask::AskArgs),
    /// List and show receipts, or verify one from files.
    #[command(subcommand)]
    Receipt(receipt::ReceiptVerb),
    /// Open a channel: deposit OPEN for answers and get an API key.
    #[command(subcommand)]
    Channel(channel::ChannelVerb),
    /// Pay out the earnings of accounts.
    Claim(claim::ClaimArgs),
    /// Recompute and compare a node's supply, books and chain state; for its operator.
    Audit(audit::AuditArgs),
    /// Deploy the contracts to an Ethereum network, or list what is missing; needs no node.
    Deploy(deploy::DeployArgs),
    /// Create, extend, publish and license datanets.
    #[command(subcommand)]
    Datanet(datanet::DatanetVerb),
    /// List, settle, export and dispute epochs.
    #[command(subcommand)]
    Epoch(epoch::EpochVerb),
    /// List, train and publish models, or pretrain a base from its recipe.
    #[command(subcommand)]
    Model(model::ModelVerb),
    /// List, show, follow, cancel and retry the jobs of a node.
    #[command(subcommand)]
    Job(job::JobVerb),
    /// Train an adapter on a file of records; needs no node.
    Train(train::TrainArgs),
    /// Serve adapters over the OpenAI API; needs no node.
    Serve(serve::ServeArgs),
    /// Find exact spans of records in a text; needs no node.
    #[command(subcommand)]
    Trace(trace::TraceVerb),
    /// Estimate the influence of records on answers; needs no node.
    #[command(subcommand)]
    Influence(influence::InfluenceVerb),
    /// Agents (not in this version).
    #[command(disable_help_flag = true)]
    Agent(absent::Rest),
    /// The marketplace (not in this version).
    #[command(disable_help_flag = true)]
    Market(absent::Rest),
    /// Governance (not in this version).
    #[command(disable_help_flag = true)]
    Gov(absent::Rest),
    /// The attack kit (not in this version).
    #[command(disable_help_flag = true)]
    Attack(absent::Rest),
    /// Measuring attribution against leave-out retraining (not in this version).
    #[command(disable_help_flag = true)]
    Poa(absent::Rest),
}

impl Verb {
    /// Runs the verb.
    pub(crate) async fn run(self) -> Result<()> {
        match self {
            Self::Node(args) => Box::pin(node::run(args)).await,
            Self::Dev(args) => Box::pin(node::dev(args)).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Ask(args) => ask::run(args).await,
            Self::Receipt(verb) => receipt::run(verb).await,
            Self::Channel(verb) => channel::run(verb).await,
            Self::Claim(args) => claim::run(args).await,
            Self::Audit(args) => audit::run(args).await,
            Self::Deploy(args) => deploy::run(args).await,
            Self::Datanet(verb) => datanet::run(verb).await,
            Self::Epoch(verb) => epoch::run(verb).await,
            Self::Model(verb) => model::run(verb).await,
            Self::Job(verb) => job::run(verb).await,
            Self::Train(args) => train::run(args).await,
            Self::Serve(args) => serve::run(args).await,
            Self::Trace(verb) => verbs::blocking(move || trace::run(&verb)).await,
            Self::Influence(verb) => influence::run(verb).await,
            Self::Agent(_) => absent::agent(),
            Self::Market(_) => absent::market(),
            Self::Gov(_) => absent::gov(),
            Self::Attack(_) => absent::attack(),
            Self::Poa(_) => absent::poa(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_verb_names_its_arguments_once() {
        super::Cli::command().debug_assert();
    }

    /// The command column of the glossary's part on what exists: verbs, and at the end perhaps a
    /// value.
    #[test]
    fn commands_that_the_glossary_names_exist() {
        let glossary = include_str!("../../../GLOSSARY.md");
        let existing = glossary.split("\n# Planned").next().unwrap();
        let mut named = 0;
        for row in existing.lines().filter(|line| line.starts_with("| **")) {
            let cell = row.split('|').nth(5).unwrap();
            for line in cell.split('`').skip(1).step_by(2) {
                let mut at = super::Cli::command();
                for word in line.split(' ').take_while(|word| !word.starts_with("--")) {
                    let value =
                        at.get_positionals().flat_map(|a| a.get_possible_values()).any(|v| v.matches(word, false));
                    match at.find_subcommand(word) {
                        Some(found) => at = found.clone(),
                        None => assert!(value, "no command `{line}`: {row}"),
                    }
                }
                named += 1;
            }
        }
        assert!(named > 20, "the glossary was not read");
    }
}
