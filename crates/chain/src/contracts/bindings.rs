//! Types of every call, event and error of our contracts, generated from their committed ABI.
//!
//! One module a contract; structs that an interface of the contract defines stand in a module of
//! that interface (`payouts::IPayouts::Proposal`). What the members mean stands in the contracts'
//! interfaces.
//!
//! **Invariant:** nothing here is written by hand, but for what the generator does not find (noted
//! where it is); changing a contract changes these types, and what no longer fits does not compile.
#![allow(missing_docs, clippy::too_many_arguments, reason = "generated from the ABI, documented in Solidity")]

/// The token where OPEN is the native coin.
pub mod wopen {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        WOPEN,
        "../../contracts/artifacts/WOPEN.json"
    );
}

/// The token where it is not.
pub mod open {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Open,
        "../../contracts/artifacts/Open.json"
    );
}

/// Titles, versions and grants of datanets.
pub mod datanets {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Datanets,
        "../../contracts/artifacts/Datanets.json"
    );
}

/// Titles of contributions.
pub mod contributions {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Contributions,
        "../../contracts/artifacts/Contributions.json"
    );
}

/// The governed numbers.
pub mod params {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Params,
        "../../contracts/artifacts/Params.json"
    );
}

/// Titles of models.
pub mod models {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Models,
        "../../contracts/artifacts/Models.json"
    );
}

/// The judge of refutations, and the proofs it takes.
pub mod verifier {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Verifier,
        "../../contracts/artifacts/Verifier.json"
    );
}

/// Operators, epochs, claims.
pub mod payouts {
    use alloy_sol_types::sol;

    // The generator puts structs of no contract into the contract, where structs of an interface do
    // not find them.
    sol! {
        #[sol(all_derives)]
        struct SumNode {
            bytes32 hash;
            uint128 sum;
        }
    }

    sol!(
        #[sol(all_derives)]
        Payouts,
        "../../contracts/artifacts/Payouts.json"
    );
}

/// Prepaid channels.
pub mod channels {
    use alloy_sol_types::sol;

    sol!(
        #[sol(all_derives)]
        Channels,
        "../../contracts/artifacts/Channels.json"
    );
}
