//! What can be typed: nouns, then verbs. The words here are the ones `README.md` and others hold on to.

use clap::{Parser, Subcommand};

use crate::demo::DemoArgs;
use crate::verbs::{
    absent, ask, audit, channel, claim, datanet, deploy, epoch, influence, model, node, receipt, serve, trace, train,
};

/// Keeps the thread from a contribution to its pay: datanets, models trained on them, answers with receipts, payouts.
///
/// Exit status: 0 done, 1 failed or a check found a fault, 2 usage, 3 not found, 4 not allowed, 5 not paid, 6 conflict,
/// 65 malformed data, 69 unavailable, 78 wrong set-up.
#[derive(Parser, Debug)]
#[command(name = "openledger", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The nouns and verbs.
#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// Run a node: API, embedded chain or a client of another, worker, Studio.
    Node(node::NodeArgs),
    /// Run a node on a local network whose accounts hold OPEN from the start.
    Dev(node::DevArgs),
    /// Walk the whole economy through a fresh node, on real input, and say what happened at every step.
    Demo(DemoArgs),
    /// Ask a model and see what the answer rests on.
    Ask(ask::AskArgs),
    /// Receipts: list, show, verify from files.
    #[command(subcommand)]
    Receipt(receipt::ReceiptVerb),
    /// Channels: deposit OPEN for answers, get an API key.
    #[command(subcommand)]
    Channel(channel::ChannelVerb),
    /// Have what accounts earned paid out to them.
    Claim(claim::ClaimArgs),
    /// Recompute what the node claims about itself and the chain.
    Audit(audit::AuditArgs),
    /// Put the contracts on an Ethereum network, or say what is missing there; needs no node.
    Deploy(deploy::DeployArgs),
    /// Datanets of a node.
    #[command(subcommand)]
    Datanet(datanet::DatanetVerb),
    /// Epochs of a node: list, export for `receipt verify`.
    #[command(subcommand)]
    Epoch(epoch::EpochVerb),
    /// Models: those of a node, and making a base model from its recipe.
    #[command(subcommand)]
    Model(model::ModelVerb),
    /// Train an adapter on a file of records; needs no node.
    Train(train::TrainArgs),
    /// Serve adapters over the OpenAI API; needs no node.
    Serve(serve::ServeArgs),
    /// Exact spans of records in a text; needs no node.
    #[command(subcommand)]
    Trace(trace::TraceVerb),
    /// Influence of records on answers; needs no node.
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_verb_names_its_arguments_once() {
        super::Cli::command().debug_assert();
    }
}
