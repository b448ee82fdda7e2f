//! Grants: the check before a row is read.
//!
//! **Invariant:** a use passes only when the signed grant, the chain's slots and the terms of today
//! all allow it. **Not here:** fetching the slots (`chain`), reading rows (`node`).

use openledger_protocol::{Address, B256, DatanetId, Domain, Grant, Purpose, Purposes, Signature, SignatureError};

/// The use that is about to be made, and the state of the world it is made in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantUse {
    /// Who owns the datanet now: the signature must be theirs.
    pub owner: Address,
    /// Where grants count: the chain and the `Datanets` contract.
    pub domain: Domain,
    /// The datanet to be read.
    pub datanet: DatanetId,
    /// The version to be read.
    pub version: u64,
    /// Who is about to read it.
    pub grantee: Address,
    /// For what.
    pub needed: Purposes,
    /// The hash of the datanet's terms as they are now.
    pub terms: B256,
    /// Unix seconds.
    pub now: u64,
}

/// Why a grant does not allow a use. Nothing may be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// The grant is for another datanet; ask this one's owner.
    #[error("the grant is for datanet {granted}, not {wanted}")]
    WrongDatanet {
        /// In the grant.
        granted: DatanetId,
        /// To be read.
        wanted: DatanetId,
    },
    /// The grant is for another version; ask for one for this version.
    #[error("the grant is for version {granted}, not {wanted}")]
    WrongVersion {
        /// In the grant.
        granted: u64,
        /// To be read.
        wanted: u64,
    },
    /// The grant is for somebody else; it cannot be passed on.
    #[error("the grant is for {granted}, not {wanted}")]
    WrongGrantee {
        /// In the grant.
        granted: Address,
        /// Who wants to read.
        wanted: Address,
    },
    /// The grant does not cover the use; ask for these purposes.
    #[error("the grant does not allow {missing:?}")]
    WrongPurpose {
        /// What it lacks.
        missing: Purposes,
    },
    /// A use without a purpose, or with bits that name none: nothing can allow that.
    #[error("the use names no known purpose (bits {bits:#x})")]
    NoPurpose {
        /// The bits.
        bits: u32,
    },
    /// The terms are not those of the grant any more; ask for a grant under the new ones.
    #[error("the terms have changed since the grant: {granted} then, {current} now")]
    TermsChanged {
        /// Hash of the terms of the grant.
        granted: B256,
        /// Hash of the terms of today.
        current: B256,
    },
    /// The grant has ended; ask for a new one.
    #[error("the grant ended at {until}, now is {now}")]
    Expired {
        /// When it ended, Unix seconds.
        until: u64,
        /// Now, Unix seconds.
        now: u64,
    },
    /// Somebody other than the datanet's owner signed, or nobody did.
    #[error("the grant is not signed by the datanet's owner")]
    WrongSigner(#[from] SignatureError),
    /// The chain's slot of this purpose is empty: revoked, or never registered.
    #[error("the grant is revoked on chain for {purpose:?}")]
    Revoked {
        /// The purpose.
        purpose: Purpose,
    },
    /// The chain's slot of this purpose has ended, whatever the signed grant says.
    #[error("the grant ended on chain at {until} for {purpose:?}, now is {now}")]
    SlotExpired {
        /// The purpose.
        purpose: Purpose,
        /// When it ended, Unix seconds.
        until: u64,
        /// Now, Unix seconds.
        now: u64,
    },
}

/// Whether `grant` allows a use. A grant until time T is good before T and not at T.
///
/// `slot_until` gives the chain's slot of a purpose for the grant's datanet and grantee: Unix
/// seconds, 0 for revoked.
///
/// # Errors
/// [`GrantError`]: the first thing that fails, what is in the grant before what is on chain.
pub fn check_grant(
    grant: &Grant,
    signature: &Signature,
    wanted: &GrantUse,
    slot_until: impl Fn(Purpose) -> u64,
) -> Result<(), GrantError> {
    let known = Purposes::of(&Purpose::ALL);
    if wanted.needed.0 == 0 || !known.allow(wanted.needed) {
        return Err(GrantError::NoPurpose { bits: wanted.needed.0 });
    }
    if grant.datanet != wanted.datanet {
        return Err(GrantError::WrongDatanet { granted: grant.datanet, wanted: wanted.datanet });
    }
    if grant.version != wanted.version {
        return Err(GrantError::WrongVersion { granted: grant.version, wanted: wanted.version });
    }
    if grant.grantee != wanted.grantee {
        return Err(GrantError::WrongGrantee { granted: grant.grantee, wanted: wanted.grantee });
    }
    let missing = Purposes(wanted.needed.0 & !grant.purposes.0);
    if missing.0 != 0 {
        return Err(GrantError::WrongPurpose { missing });
    }
    if grant.terms != wanted.terms {
        return Err(GrantError::TermsChanged { granted: grant.terms, current: wanted.terms });
    }
    let now = wanted.now;
    if grant.until <= now {
        return Err(GrantError::Expired { until: grant.until, now });
    }
    signature.verify(wanted.domain.digest(grant.struct_hash()), wanted.owner)?;
    for purpose in wanted.needed.iter() {
        match slot_until(purpose) {
            0 => return Err(GrantError::Revoked { purpose }),
            until if until <= now => return Err(GrantError::SlotExpired { purpose, until, now }),
            _ => {}
        }
    }
    Ok(())
}
