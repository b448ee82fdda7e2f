// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev What can be wrong with a proposal and be proven on chain.
/// `Span`: a span of a receipt does not stand in the record it names.
/// `Record`: a span names a version, contribution or record that does not exist.
/// `Total`: an account's payout is not its last payout and what the entries of the epoch give it (so also: lowered).
/// `Duplicate`: a receipt that an earlier epoch already held.
/// `Split`: the split of a receipt is not its model's, or an entry is not what that split gives.
/// `Signature`: a receipt that its node did not sign, or whose node never had a bond.
/// `Omission`: a receipt that the proposer itself signed, in the time of this epoch, is missing.
/// `Payee`: an entry pays someone who did not hold the contribution or model at the receipt's block.
/// `Order`: leaves out of order, doubled or with a gap, so that absence could not be proven.
/// `Entry`: an entry of a receipt that the epoch does not hold.
enum Fault {
    Span,
    Record,
    Total,
    Duplicate,
    Split,
    Signature,
    Omission,
    Payee,
    Order,
    Entry
}

/// @title IVerifier
/// @notice Judges a claim that the pending proposal of the calling `Payouts` is false.
interface IVerifier {
    /// @notice Returns when the proof shows the fault; reverts when it does not.
    /// @dev The caller is the `Payouts` whose pending proposal is judged. It moves no money and writes nothing.
    /// @param fault What is claimed to be wrong.
    /// @param proof `abi.encode` of the struct of `FaultsLib` with the fault's name.
    /// @return harmed Who was to lose by it; zero when nobody in particular.
    function judge(Fault fault, bytes calldata proof) external view returns (address harmed);
}
