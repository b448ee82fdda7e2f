//! The check before a row is read: each way to fail, by name.

use openledger_datanet::{GrantError, GrantUse, check_grant};
use openledger_protocol::{Address, B256, DatanetId, Domain, Grant, Key, Purpose, Purposes};

struct Case {
    grant: Grant,
    wanted: GrantUse,
    signer: Key,
    slots: fn(Purpose) -> u64,
}

fn good() -> Case {
    let owner = Key::demo(1, "river-gauge");
    let grantee = Address::repeat_byte(4);
    let purposes = Purposes::of(&[Purpose::Finetune, Purpose::Infer]);
    Case {
        grant: Grant { datanet: DatanetId(2), version: 5, grantee, purposes, until: 100, terms: B256::repeat_byte(1) },
        wanted: GrantUse {
            owner: owner.address(),
            domain: Domain { chain_id: 1, contract: Address::repeat_byte(8) },
            datanet: DatanetId(2),
            version: 5,
            grantee,
            needed: purposes,
            terms: B256::repeat_byte(1),
            now: 99,
        },
        signer: owner,
        slots: |_| 100,
    }
}

/// Changes the good case and checks it; the domain the owner signs for is that of the good case.
#[track_caller]
fn check(change: impl FnOnce(&mut Case), expected: Result<(), GrantError>) {
    let mut case = good();
    let domain = case.wanted.domain;
    change(&mut case);
    let signature = case.signer.sign(domain.digest(case.grant.struct_hash()));
    assert_eq!(check_grant(&case.grant, &signature, &case.wanted, case.slots), expected);
}

#[test]
fn a_live_grant_allows_its_use() {
    check(|_| {}, Ok(()));
    check(|case| case.wanted.needed = Purposes::of(&[Purpose::Infer]), Ok(()));
    check(|case| case.slots = |purpose| if purpose == Purpose::Derive { 0 } else { u64::MAX }, Ok(()));
}

#[test]
fn each_failure_is_named() {
    let infer = Purpose::Infer;
    check(|c| c.wanted.now = 100, Err(GrantError::Expired { until: 100, now: 100 }));
    check(|c| c.grant.version = 4, Err(GrantError::WrongVersion { granted: 4, wanted: 5 }));
    check(
        |c| c.grant.datanet = DatanetId(1),
        Err(GrantError::WrongDatanet { granted: DatanetId(1), wanted: DatanetId(2) }),
    );
    let (granted, wanted) = (Address::ZERO, Address::repeat_byte(4));
    check(|c| c.grant.grantee = granted, Err(GrantError::WrongGrantee { granted, wanted }));
    let missing = Purposes::of(&[Purpose::Commercial]);
    check(|c| c.wanted.needed.0 |= missing.0, Err(GrantError::WrongPurpose { missing }));
    check(|c| c.wanted.needed = Purposes(0), Err(GrantError::NoPurpose { bits: 0 }));
    check(|c| c.wanted.needed = Purposes(256), Err(GrantError::NoPurpose { bits: 256 }));
    let (granted, current) = (B256::repeat_byte(1), B256::ZERO);
    check(|c| c.wanted.terms = current, Err(GrantError::TermsChanged { granted, current }));
    check(|c| c.slots = |p| if p == Purpose::Infer { 0 } else { 100 }, Err(GrantError::Revoked { purpose: infer }));
    let ended = GrantError::SlotExpired { purpose: infer, until: 99, now: 99 };
    check(|c| c.slots = |p| if p == Purpose::Infer { 99 } else { 100 }, Err(ended));
}

#[test]
fn only_the_owners_signature_for_this_contract_counts() {
    let case = good();
    let refused = |change: fn(&mut Case)| {
        let mut changed = good();
        change(&mut changed);
        let signature = changed.signer.sign(case.wanted.domain.digest(case.grant.struct_hash()));
        matches!(
            check_grant(&changed.grant, &signature, &changed.wanted, changed.slots),
            Err(GrantError::WrongSigner(_))
        )
    };
    assert!(refused(|case| case.signer = Key::demo(1, "night-desk")));
    assert!(refused(|case| case.wanted.owner = Address::ZERO));
    assert!(refused(|case| case.wanted.domain.chain_id = 2));
    assert!(refused(|case| case.grant.until = 101)); // a grant changed after it was signed
}
