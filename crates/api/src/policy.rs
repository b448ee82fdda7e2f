//! Who may call a route: one row of accesses for each route, closed by default.
//!
//! The gateway authenticates a request to one [`Principal`], looks up the route's [`Access`] and
//! refuses before it reads the body. A service that gets [`Reach::Own`] decides which objects are
//! the principal's own.

use openledger_protocol::{Address, ChannelId};
use schemars::JsonSchema;
use serde::Serialize;

/// The caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// The operator of the node, by its token.
    Operator,
    /// A person or company by account: an owner, a contributor or a bonded challenger.
    Account(Address),
    /// The payer of a channel, by the channel's API key.
    Payer {
        /// The payer's account.
        account: Address,
        /// The channel.
        channel: ChannelId,
    },
    /// An agent, by its account; it acts within its owner's budget.
    Agent(Address),
    /// A caller without credentials.
    Anonymous,
}

/// A kind of principal: a column of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrincipalKind {
    /// [`Principal::Operator`].
    Operator,
    /// [`Principal::Account`].
    Account,
    /// [`Principal::Payer`].
    Payer,
    /// [`Principal::Agent`].
    Agent,
    /// [`Principal::Anonymous`].
    Anonymous,
}

impl PrincipalKind {
    /// All kinds, in the order of the policy's columns.
    pub const ALL: [Self; 5] = [Self::Operator, Self::Account, Self::Payer, Self::Agent, Self::Anonymous];
}

impl Principal {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> PrincipalKind {
        match self {
            Self::Operator => PrincipalKind::Operator,
            Self::Account(_) => PrincipalKind::Account,
            Self::Payer { .. } => PrincipalKind::Payer,
            Self::Agent(_) => PrincipalKind::Agent,
            Self::Anonymous => PrincipalKind::Anonymous,
        }
    }
}

/// How far a principal's access to a route reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// Nothing: the request is refused.
    None,
    /// Objects whose terms are public.
    Public,
    /// The principal's own objects, and those whose terms are public.
    Own,
    /// Everything.
    All,
}

/// The access of every kind of principal to one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Access {
    /// The operator's.
    pub operator: Reach,
    /// An account's.
    pub account: Reach,
    /// A payer's.
    pub payer: Reach,
    /// An agent's.
    pub agent: Reach,
    /// An anonymous caller's.
    pub anonymous: Reach,
}

impl Access {
    /// Nobody.
    pub const CLOSED: Self = Self::same(Reach::None);
    /// Everybody.
    pub const OPEN: Self = Self::same(Reach::All);
    /// The operator only.
    pub const OPERATOR: Self = Self { operator: Reach::All, ..Self::CLOSED };
    /// The holder of a channel's API key only: the channel pays.
    pub const PAYER: Self = Self { payer: Reach::Own, ..Self::CLOSED };
    /// The operator, and every principal for its own and for public objects.
    pub const OWN: Self = Self {
        operator: Reach::All,
        account: Reach::Own,
        payer: Reach::Own,
        agent: Reach::Own,
        anonymous: Reach::Public,
    };

    const fn same(reach: Reach) -> Self {
        Self { operator: reach, account: reach, payer: reach, agent: reach, anonymous: reach }
    }

    /// The reach of one kind of principal.
    #[must_use]
    pub const fn of(&self, kind: PrincipalKind) -> Reach {
        match kind {
            PrincipalKind::Operator => self.operator,
            PrincipalKind::Account => self.account,
            PrincipalKind::Payer => self.payer,
            PrincipalKind::Agent => self.agent,
            PrincipalKind::Anonymous => self.anonymous,
        }
    }
}
