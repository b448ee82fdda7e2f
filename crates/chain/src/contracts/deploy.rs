//! Puts our contracts on a chain, at addresses known beforehand.
//!
//! # Invariants
//!
//! - Addresses follow from the parameters alone, so that a dry run, another network and another
//!   deployer agree.
//! - Deploying twice does nothing the second time; an interrupted deployment is finished by the
//!   next one.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolConstructor;
use openledger_protocol::Amount;

use super::bindings::contributions::Contributions;
use super::bindings::datanets::Datanets;
use super::bindings::models::Models;
use super::bindings::params::Params;
use super::bindings::payouts::{IPayouts, Payouts};
use super::bindings::verifier::Verifier;
use super::bindings::wopen::WOPEN;
use super::{Addresses, CREATE2_DEPLOYER};
use crate::rpc::{Client, RpcError};
use crate::sender::{SendError, Sender};

/// What money is on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// OPEN is the native coin: WOPEN is deployed to wrap it.
    Native,
    /// OPEN is this ERC-20 already on the network.
    Erc20(Address),
}

/// What is fixed at deployment. Times are in seconds; `day_s` scales every other period of the
/// contracts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeployParams {
    /// What money is.
    pub token: Token,
    /// May set the governed numbers within their bounds, and may hand that right on.
    pub owner: Address,
    /// May rest new proposals and deposits; zero for nobody.
    pub guardian: Address,
    /// May drop a pending proposal; zero for nobody.
    pub jury: Address,
    /// Account of the treasury line.
    pub treasury: Address,
    /// Account of the validation line.
    pub validation: Address,
    /// Account of what nobody is owed.
    pub insurance: Address,
    /// What an operator must have at stake to propose.
    pub bond: Amount,
    /// How long a proposal may be refuted, in seconds.
    pub window_s: u64,
    /// Seconds in a day: 86,400, less on local networks.
    pub day_s: u64,
}

impl DeployParams {
    /// The parameters of a local network: a day passes in a second, a challenge has one second. The
    /// treasury owns the governed numbers.
    #[must_use]
    pub fn local(treasury: Address, validation: Address, insurance: Address, bond: Amount) -> Self {
        Self {
            token: Token::Native,
            owner: treasury,
            guardian: Address::ZERO,
            jury: Address::ZERO,
            treasury,
            validation,
            insurance,
            bond,
            window_s: 1,
            day_s: 1,
        }
    }
}

/// One contract to be put at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The contract's name.
    pub name: &'static str,
    /// Where it will be.
    pub address: Address,
    /// CREATE2 salt.
    pub salt: B256,
    /// Creation code with constructor arguments.
    pub init_code: Bytes,
}

/// All contracts, in an order in which each finds those it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Where everything is afterwards.
    pub addresses: Addresses,
    /// What has to be there.
    pub steps: Vec<Step>,
}

/// What became of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The contract's name.
    pub name: &'static str,
    /// Where it is, or would be.
    pub address: Address,
    /// Whether it was there before.
    pub present: bool,
    /// Gas it took; what is estimated in a dry run, and none where that depends on steps before it.
    pub gas: Option<u64>,
}

/// Why deploying failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// The network lacks the deterministic deployment proxy; deploy it first by its published
    /// transaction.
    #[error("this network has no deterministic deployment proxy at {CREATE2_DEPLOYER}; deploy it first")]
    NoDeployer,
    /// The proxy ran, and still there is no code where it should be; the constructor refused its
    /// parameters.
    #[error("{name} is not at {address} after its deployment; its constructor refused the parameters")]
    NotThere {
        /// The contract.
        name: &'static str,
        /// Where it should be.
        address: Address,
    },
    /// Sending failed; deploying again goes on where it stopped.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The network failed to answer; deploying again goes on where it stopped.
    #[error(transparent)]
    Rpc(#[from] RpcError),
}

impl Deployment {
    /// Works out the addresses and creation codes. Pure.
    #[must_use]
    pub fn plan(params: &DeployParams) -> Self {
        let mut steps = Vec::new();
        let mut add = |name: &'static str, code: &Bytes, arguments: Vec<u8>| {
            let salt = keccak256(format!("openledger/{name}/v1"));
            let init_code: Bytes = [code.as_ref(), &arguments].concat().into();
            let address = CREATE2_DEPLOYER.create2_from_code(salt, &init_code);
            steps.push(Step { name, address, salt, init_code });
            address
        };
        let wopen = match params.token {
            Token::Native => add("WOPEN", &WOPEN::BYTECODE, Vec::new()),
            Token::Erc20(token) => token,
        };
        let datanets = add("Datanets", &Datanets::BYTECODE, Vec::new());
        let arguments = Contributions::constructorCall { datanets }.abi_encode();
        let contributions = add("Contributions", &Contributions::BYTECODE, arguments);
        let params_at = add("Params", &Params::BYTECODE, Params::constructorCall { owner_: params.owner }.abi_encode());
        let models = add("Models", &Models::BYTECODE, Models::constructorCall { params: params_at }.abi_encode());
        let arguments = Verifier::constructorCall { datanets, contributions, models, params: params_at }.abi_encode();
        let verifier = add("Verifier", &Verifier::BYTECODE, arguments);
        let p = IPayouts::Settings {
            open: wopen,
            verifier,
            guardian: params.guardian,
            jury: params.jury,
            treasury: params.treasury,
            validation: params.validation,
            insurance: params.insurance,
            bond: params.bond.0,
            window: params.window_s,
            day: params.day_s,
        };
        let payouts = add("Payouts", &Payouts::BYTECODE, Payouts::constructorCall { p }.abi_encode());
        // The constructor of `Payouts` makes `Channels`; it is the first thing it ever makes.
        let channels = payouts.create(1);
        let addresses =
            Addresses { wopen, datanets, contributions, models, channels, payouts, verifier, params: params_at };
        Self { addresses, steps }
    }

    /// What of the plan is on the network, and what the rest would cost. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`DeployError::NoDeployer`], [`DeployError::Rpc`].
    pub async fn dry_run(&self, client: &Client, deployer: Address) -> Result<Vec<Deployed>, DeployError> {
        require_deployer(client).await?;
        let mut report = Vec::new();
        for step in &self.steps {
            let present = !client.code(step.address).await?.is_empty();
            let mut gas = None;
            if !present {
                let call = crate::rpc::CallRequest {
                    from: Some(deployer),
                    to: CREATE2_DEPLOYER,
                    value: U256::ZERO,
                    data: step.call_data(),
                };
                match client.estimate_gas(&call).await {
                    Ok(estimate) => gas = Some(estimate),
                    // A constructor that calls a contract not deployed yet cannot be estimated.
                    Err(RpcError::Refused { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            report.push(Deployed { name: step.name, address: step.address, present, gas });
        }
        Ok(report)
    }

    /// Sends what is missing.
    ///
    /// # Errors
    ///
    /// [`DeployError`]; deploying again goes on where it stopped.
    pub async fn deploy(&self, sender: &Sender) -> Result<Vec<Deployed>, DeployError> {
        let client = sender.client();
        require_deployer(client).await?;
        let mut report = Vec::new();
        for step in &self.steps {
            let present = !client.code(step.address).await?.is_empty();
            let mut gas = None;
            if !present {
                let key = format!("deploy/{}/{}", step.name, step.address);
                let mined = sender.send(&key, CREATE2_DEPLOYER, step.call_data(), U256::ZERO).await?;
                gas = Some(mined.gas_used);
                if client.code(step.address).await?.is_empty() {
                    return Err(DeployError::NotThere { name: step.name, address: step.address });
                }
            }
            report.push(Deployed { name: step.name, address: step.address, present, gas });
        }
        Ok(report)
    }
}

impl Step {
    /// What the deployment proxy is called with.
    fn call_data(&self) -> Bytes {
        [self.salt.as_slice(), &self.init_code].concat().into()
    }
}

async fn require_deployer(client: &Client) -> Result<(), DeployError> {
    if client.code(CREATE2_DEPLOYER).await?.is_empty() { Err(DeployError::NoDeployer) } else { Ok(()) }
}
