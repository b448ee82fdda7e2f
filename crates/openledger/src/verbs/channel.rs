//! `openledger channel`: prepaid money for answers, and the API key that spends it.

use clap::Subcommand;
use openledger_api::{NewChannel, SessionKeyRequest};
use openledger_protocol::{Amount, B256, ChannelConfig, sha256};

use super::signing::Signer;
use super::{body_key, print_json};
use crate::connection::NodeArgs;
use crate::error::Result;

/// Default delay of a withdrawal, in seconds.
const WITHDRAW_DELAY_S: u64 = 3_600;
/// Default delay on a local network, where a day is a second.
const LOCAL_DELAY_S: u64 = 1;

/// Verbs on channels.
#[derive(Subcommand, Debug)]
pub(crate) enum ChannelVerb {
    /// Deposit OPEN for answers of a node and get an API key.
    Open {
        /// Amount to deposit with its unit, `50 OPEN` or `5000000 base` (base units, 10^-18 OPEN).
        amount: Amount,
        /// Name of the channel; distinguishes channels of one payer.
        #[arg(long, default_value = "channel")]
        name: String,
        /// Delay of a withdrawal in seconds; default: an hour, or one second on a local network.
        #[arg(long)]
        withdraw_delay: Option<u64>,
        #[command(flatten)]
        signer: Signer,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// Runs the verb.
pub(crate) async fn run(verb: ChannelVerb) -> Result<()> {
    let ChannelVerb::Open { amount, name, withdraw_delay, signer, node } = verb;
    signer.check()?;
    let client = node.client()?;
    let network = client.network().await?;
    let flow = signer.flow(&client, &network).await?;
    let payer = flow.account();
    let salt: B256 = sha256(&name);
    let request = SessionKeyRequest { payer, salt };
    let session = client.session_key(&request, &body_key("keys", &request)?).await?;
    let config = ChannelConfig {
        payer,
        authorizer: session.authorizer,
        node: network.node,
        withdraw_delay: withdraw_delay.unwrap_or(if signer.is_demo() { LOCAL_DELAY_S } else { WITHDRAW_DELAY_S }),
        salt,
    };
    flow.token().wrap("wrap", amount).await?;
    flow.token().approve("approve", network.addresses.channels, amount).await?;
    flow.channels().deposit("deposit", &config, amount).await?;
    let channel = NewChannel { config };
    print_json(&client.open_channel(&channel, &body_key("channel", &channel)?).await?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::Cli;

    #[test]
    fn a_deposit_without_a_unit_is_refused_and_both_units_are_named() {
        let typed = |amount| Cli::try_parse_from(["openledger", "channel", "open", amount, "--demo-seed", "1"]);
        let refused = typed("5").unwrap_err().to_string();
        assert!(refused.contains("`5 OPEN`") && refused.contains("`5 base`"), "{refused}");
        typed("5 OPEN").unwrap();
        typed("5000000 base").unwrap();
    }
}
