//! The events of our contracts, by contract.

use alloy_sol_types::SolEventInterface;

use crate::contracts::Addresses;
use crate::contracts::bindings::channels::Channels::ChannelsEvents;
use crate::contracts::bindings::contributions::Contributions::ContributionsEvents;
use crate::contracts::bindings::datanets::Datanets::DatanetsEvents;
use crate::contracts::bindings::models::Models::ModelsEvents;
use crate::contracts::bindings::payouts::Payouts::PayoutsEvents;
use crate::rpc::Log;

/// An event of one of our contracts, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainEvent {
    /// Of `Datanets`: creation, versions, grants, transfers of titles.
    Datanets(DatanetsEvents),
    /// Of `Contributions`: commitments, registrations, transfers of titles.
    Contributions(ContributionsEvents),
    /// Of `Models`: registration, prices, transfers of titles.
    Models(ModelsEvents),
    /// Of `Channels`: deposits, redemptions, withdrawals.
    Channels(ChannelsEvents),
    /// Of `Payouts`: operators, epochs, claims.
    Payouts(PayoutsEvents),
}

impl ChainEvent {
    /// Decodes a log by the contract that emitted it; none when it is not one of ours or not in its
    /// ABI.
    #[must_use]
    pub fn decode(addresses: &Addresses, log: &Log) -> Option<Self> {
        let (topics, data) = (&log.topics, &log.data);
        match log.address {
            at if at == addresses.datanets => DatanetsEvents::decode_raw_log(topics, data).ok().map(Self::Datanets),
            at if at == addresses.contributions => {
                ContributionsEvents::decode_raw_log(topics, data).ok().map(Self::Contributions)
            }
            at if at == addresses.models => ModelsEvents::decode_raw_log(topics, data).ok().map(Self::Models),
            at if at == addresses.channels => ChannelsEvents::decode_raw_log(topics, data).ok().map(Self::Channels),
            at if at == addresses.payouts => PayoutsEvents::decode_raw_log(topics, data).ok().map(Self::Payouts),
            _ => None,
        }
    }
}
