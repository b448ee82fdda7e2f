//! Who calls: the token or key of a request becomes a principal; what a principal may read follows from it.
//!
//! **Invariant:** the policy table of the API decides which routes a principal may call; [`Viewer`] decides which
//! objects of those routes it sees. Both are closed by default.
//!
//! **Invariant:** the key of a channel reaches what that channel paid for, and nothing else. Anyone
//! may deposit into a channel that names another account as its payer, so that the key does not
//! prove to be the payer's.

use openledger_api::policy::{Principal, Reach};
use openledger_protocol::{Address, B256, ChannelId, Purpose, Purposes, Rights, keccak, sha256};
use openledger_store::Store;
use openledger_store::api_keys::KeyKind;

use crate::clock::Clock;
use crate::error::{Blame, NodeError, Result};

/// Turns credentials into principals.
#[derive(Clone)]
pub struct Auth {
    store: Store,
    clock: Clock,
    operator: B256,
}

impl Auth {
    pub(crate) fn new(store: Store, clock: Clock, operator_token: &str) -> Self {
        Self { store, clock, operator: keccak(operator_token) }
    }

    /// The principal behind a bearer token; none: anonymous. Keeps when the key was last used, about
    /// once a minute.
    ///
    /// # Errors
    /// `invalid-api-key` for a token that is not known here.
    pub async fn principal(&self, bearer: Option<&str>) -> Result<Principal> {
        let Some(token) = bearer else { return Ok(Principal::Anonymous) };
        // Compared as hashes, so that the time it takes tells nothing about the token.
        if keccak(token) == self.operator {
            return Ok(Principal::Operator);
        }
        let unknown = || NodeError::refused(Blame::Unauthenticated, "invalid-api-key", "this key is not known here");
        let key = self.store.api_key(key_hash(token)).await?.filter(|key| key.revoked.is_none());
        let key = key.ok_or_else(unknown)?;
        // The time of the last use is for people; a request does not fail for it.
        if let Err(error) = self.store.touch_api_key(&key, self.clock.unix_ms()).await {
            tracing::warn!(%error, "the last use of an API key was not kept");
        }
        match (key.kind, key.channel) {
            (KeyKind::Channel, Some(channel)) => {
                let found = self.store.channel(channel).await?.ok_or_else(unknown)?;
                Ok(Principal::Payer { account: found.payer, channel })
            }
            (KeyKind::Account, _) => Ok(Principal::Account(parsed(&key.principal)?)),
            (KeyKind::Agent, _) => Ok(Principal::Agent(parsed(&key.principal)?)),
            (KeyKind::Operator | KeyKind::Channel, _) => Err(unknown()),
        }
    }
}

/// The hash under which a key is kept.
pub(crate) fn key_hash(token: &str) -> B256 {
    sha256(token)
}

fn parsed(principal: &str) -> Result<Address> {
    principal
        .parse()
        .map_err(|_| NodeError::refused(Blame::Operator, "damaged-key", "the account of a stored API key is damaged"))
}

/// A principal on a route: what it may read there.
#[derive(Clone, Debug)]
pub struct Viewer {
    principal: Principal,
    reach: Reach,
}

impl Viewer {
    /// A principal with the reach that the policy gives it on the route.
    #[must_use]
    pub fn new(principal: Principal, reach: Reach) -> Self {
        Self { principal, reach }
    }

    /// The principal.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The account that acts, when there is one. The key of a channel does not act as its payer.
    #[must_use]
    pub fn account(&self) -> Option<Address> {
        match &self.principal {
            Principal::Account(account) | Principal::Agent(account) => Some(*account),
            Principal::Operator | Principal::Payer { .. } | Principal::Anonymous => None,
        }
    }

    /// Whether the viewer is one of `accounts`, or may read everything.
    pub(crate) fn is_one_of(&self, accounts: &[Address]) -> bool {
        match self.reach {
            Reach::All => true,
            Reach::Own => self.account().is_some_and(|account| accounts.contains(&account)),
            Reach::None | Reach::Public => false,
        }
    }

    /// Whether the viewer may read what a channel of `payer` paid for.
    pub(crate) fn may_read_paid(&self, channel: ChannelId, payer: Address) -> bool {
        match (self.reach, &self.principal) {
            (Reach::Own, Principal::Payer { channel: own, .. }) => *own == channel,
            _ => self.is_one_of(&[payer]),
        }
    }

    /// Whether the viewer may read texts of a datanet: those of public terms, or of its own `accounts`.
    pub(crate) fn may_read(&self, rights: &Rights, accounts: &[Address]) -> bool {
        self.reach != Reach::None && (is_public(rights) || self.is_one_of(accounts))
    }
}

/// Whether terms let anyone read the records: they allow passing them on.
pub(crate) fn is_public(rights: &Rights) -> bool {
    rights.purposes.allow(Purposes::of(&[Purpose::Redistribute]))
}
