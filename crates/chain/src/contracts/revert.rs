//! Why a contract refused, in the contract's own words.

use std::fmt;

use alloy_primitives::Bytes;
use alloy_sol_types::{Panic, Revert as Message, SolError, SolInterface};

use super::bindings::channels::Channels::ChannelsErrors;
use super::bindings::contributions::Contributions::ContributionsErrors;
use super::bindings::datanets::Datanets::DatanetsErrors;
use super::bindings::models::Models::ModelsErrors;
use super::bindings::params::Params::ParamsErrors;
use super::bindings::payouts::Payouts::PayoutsErrors;
use super::bindings::verifier::Verifier::VerifierErrors;
use super::bindings::wopen::WOPEN::WOPENErrors;
use crate::rpc::RpcError;

/// JSON-RPC code of a reverted execution.
const REVERTED: i64 = 3;

/// The reason of a revert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revert {
    /// Name of the contract's error (`NotDatanetOwner`), `Error` for a plain message, `Panic` for a
    /// failed check of the language; none when the contract gave no reason or one that no contract
    /// of ours has.
    pub name: Option<&'static str>,
    /// The error with its arguments, for people.
    pub detail: String,
    /// The bytes as they came.
    pub data: Bytes,
}

impl Revert {
    /// The revert in a refused call; none when the network refused for another reason.
    #[must_use]
    pub fn of(error: &RpcError) -> Option<Self> {
        let RpcError::Refused { code, message, data } = error else { return None };
        match data {
            Some(data) => Some(Self::decode(data)),
            None if *code == REVERTED || message.contains("revert") => {
                Some(Self { name: None, detail: message.clone(), data: Bytes::new() })
            }
            None => None,
        }
    }

    /// Reads revert data.
    #[must_use]
    pub fn decode(data: &Bytes) -> Self {
        let found = |name: &'static str, detail: String| Self { name: Some(name), detail, data: data.clone() };
        if let Ok(message) = Message::abi_decode(data) {
            return found("Error", message.reason);
        }
        if let Ok(panic) = Panic::abi_decode(data) {
            return found("Panic", format!("{panic}"));
        }
        custom::<DatanetsErrors>(data, DatanetsErrors::name_by_selector)
            .or_else(|| custom::<ContributionsErrors>(data, ContributionsErrors::name_by_selector))
            .or_else(|| custom::<ModelsErrors>(data, ModelsErrors::name_by_selector))
            .or_else(|| custom::<ParamsErrors>(data, ParamsErrors::name_by_selector))
            .or_else(|| custom::<ChannelsErrors>(data, ChannelsErrors::name_by_selector))
            .or_else(|| custom::<PayoutsErrors>(data, PayoutsErrors::name_by_selector))
            .or_else(|| custom::<VerifierErrors>(data, VerifierErrors::name_by_selector))
            .or_else(|| custom::<WOPENErrors>(data, WOPENErrors::name_by_selector))
            .map_or_else(
                || Self { name: None, detail: String::new(), data: data.clone() },
                |(name, detail)| found(name, detail),
            )
    }

    /// Whether the contract's error is the one of this name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name == Some(name)
    }
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name, self.detail.is_empty()) {
            (Some(name), true) => f.write_str(name),
            (Some(_), false) => f.write_str(&self.detail),
            (None, false) => f.write_str(&self.detail),
            (None, true) if self.data.is_empty() => f.write_str("without a reason"),
            (None, true) => write!(f, "for a reason unknown here, {}", self.data),
        }
    }
}

/// The name and arguments of a custom error of one contract.
fn custom<E: SolInterface + fmt::Debug>(
    data: &[u8],
    name: fn([u8; 4]) -> Option<&'static str>,
) -> Option<(&'static str, String)> {
    let selector = data.first_chunk::<4>()?;
    let name = name(*selector)?;
    let detail = E::abi_decode(data).map(|error| arguments(name, &format!("{error:?}")));
    Some((name, detail.unwrap_or_default()))
}

/// `Name(Name { a: 1 })`, as an error of an interface is printed, without the repetition.
fn arguments(name: &str, printed: &str) -> String {
    let inner =
        printed.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.strip_suffix(')'));
    inner.unwrap_or(printed).to_owned()
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::super::bindings::datanets::Datanets;
    use super::*;

    #[test]
    fn a_custom_error_is_named_with_its_arguments() {
        let error = Datanets::NotDatanetOwner { datanet: 7, caller: Address::repeat_byte(1) };
        let revert = Revert::decode(&error.abi_encode().into());
        assert!(revert.is("NotDatanetOwner"));
        let text = revert.to_string();
        assert!(text.starts_with("NotDatanetOwner {") && text.contains("datanet: 7"), "{text}");
    }

    #[test]
    fn a_plain_message_is_kept() {
        let revert = Revert::decode(&Message::from("too late").abi_encode().into());
        assert_eq!((revert.name, revert.to_string()), (Some("Error"), "too late".to_owned()));
    }

    #[test]
    fn an_unknown_reason_is_shown_as_bytes_and_none_as_none() {
        let unknown = Revert::decode(&Bytes::from_static(&[1, 2, 3, 4]));
        assert_eq!((unknown.name, unknown.to_string()), (None, "for a reason unknown here, 0x01020304".to_owned()));
        assert_eq!(Revert::decode(&Bytes::new()).to_string(), "without a reason");
    }

    #[test]
    fn a_refusal_without_a_revert_is_not_one() {
        let refused = |code, message: &str| RpcError::Refused { code, message: message.to_owned(), data: None };
        assert_eq!(Revert::of(&refused(-32601, "method not found")), None);
        assert!(Revert::of(&refused(3, "execution reverted")).is_some());
    }
}
