//! How a node is set up: where its data lies, what it listens on, which chain and which base model it uses.

use std::net::SocketAddr;
use std::path::PathBuf;

use openledger_engine::NumericMode;
use openledger_protocol::{Address, Amount, Key};
use openledger_serving::PeerSetup;

/// Where times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeClock {
    /// The machine's clock.
    Wall,
    /// The embedded chain's block times, one second a block: the same run gives the same records on any day.
    Logical,
}

/// Which chain settles.
#[derive(Clone, Debug)]
pub enum ChainChoice {
    /// A chain inside this process, in the data folder.
    Embedded {
        /// EIP-155 chain id.
        chain_id: u64,
        /// Accounts that hold OPEN from genesis on.
        genesis_accounts: Vec<(Address, Amount)>,
    },
    /// Any Ethereum JSON-RPC.
    External {
        /// Its address.
        url: String,
        /// OPEN there; none where OPEN is the native coin.
        token: Option<Address>,
    },
}

/// Where answers are computed. Training and crediting are computed in this process in any case.
#[derive(Clone, Debug)]
pub enum AnswerSource {
    /// The engine in this process. Another mode than the default holds the base a second time, since gradients are
    /// computed in the default mode only.
    Embedded(NumericMode),
    /// Another server. Its answers are not repeatable to the byte: their receipts name the mode `remote`.
    Remote(PeerSetup),
}

/// The accounts of the platform's lines of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlatformAccounts {
    /// Treasury.
    pub treasury: Address,
    /// Validation budget.
    pub validation: Address,
    /// Disputes and insurance.
    pub insurance: Address,
}

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Holds everything the node keeps.
    pub data: PathBuf,
    /// The database; none for SQLite in the data folder.
    pub database: Option<String>,
    /// The blob store; none for a folder in the data folder.
    pub blobs: Option<String>,
    /// Where HTTP listens; port 0 takes a free one, and the address is written to `<data>/node.address`.
    pub listen: SocketAddr,
    /// The folder of the Studio's built pages, when there is one.
    pub studio: Option<PathBuf>,
    /// The base model's folder.
    pub base: PathBuf,
    /// What the base is called.
    pub base_name: String,
    /// Where answers are computed.
    pub answers: AnswerSource,
    /// The chain.
    pub chain: ChainChoice,
    /// The clock.
    pub clock: NodeClock,
    /// The node's key: it signs receipts, relays and proposes.
    pub key: Key,
    /// The platform's accounts.
    pub platform: PlatformAccounts,
    /// What the node puts at stake to propose epochs.
    pub bond: Amount,
    /// How long a proposal may be refuted, in seconds, where the node deploys the contracts.
    ///
    /// None for the network's own: a day, or on a local network a second that is hurried along. The
    /// day of a local network is a seventh of a longer window.
    pub window_s: Option<u64>,
}

impl Config {
    /// The file that tells where the node listens.
    #[must_use]
    pub fn address_file(&self) -> PathBuf {
        self.data.join("node.address")
    }

    /// The file with the operator's token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data.join("operator.token")
    }
}
