// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    DuplicateFault,
    EntryFault,
    OmissionFault,
    OrderFault,
    PayeeFault,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "../libraries/Faults.sol";
import {IPayouts} from "./IPayouts.sol";

/// @dev What can be wrong with a proposal and be proven on chain; see the function of that name.
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
/// @notice Judges a claim that the pending proposal of a `Payouts` is false. It holds no money and writes nothing.
/// @dev Every function returns who was to lose by the fault (zero when nobody in particular) and reverts when the proof
/// does not show it. So a dry run is an `eth_call` of the function itself.
/// @dev Warning: a challenge shows its proof to everyone. The chunks of a private record are readable from then on.
interface IVerifier {
    /// @notice There is nothing to judge.
    error NothingPending();
    /// @notice The leaf is not in the tree.
    error NotInTree();
    /// @notice The leaf of an entry or receipt is an empty place where a real one is needed.
    error EmptyLeaf();
    /// @notice Parts of the proof speak of different receipts, records, epochs or chunks.
    error Unrelated();
    /// @notice The leaves given do not enclose the place in question.
    error NotEnclosing();
    /// @notice The proof is sound and shows no fault.
    error NoFault();

    /// @notice Judges the caller's pending proposal.
    /// @param fault What is claimed to be wrong.
    /// @param proof `abi.encode` of the struct of that fault.
    function judge(Fault fault, bytes calldata proof) external view returns (address harmed);

    /// @notice A span of a receipt does not stand in the record it names, or not in the output.
    /// @dev The record is the one in the batch as registered, whatever the version's root says.
    function spanFault(IPayouts payouts, SpanFault calldata f) external view returns (address harmed);

    /// @notice A span names a version never published, a contribution never registered, one of another datanet, or a
    /// record beyond its count.
    function recordFault(IPayouts payouts, RecordFault calldata f) external view returns (address harmed);

    /// @notice An account's payout is not its last payout and what the entries of the epoch give it; so also: lowered.
    function totalFault(IPayouts payouts, TotalFault calldata f) external view returns (address harmed);

    /// @notice A receipt that an earlier epoch already held.
    function duplicateFault(IPayouts payouts, DuplicateFault calldata f) external view returns (address harmed);

    /// @notice The shares of a receipt are not its model's, or a line is not what those shares give.
    function splitFault(IPayouts payouts, SplitFault calldata f) external view returns (address harmed);

    /// @notice A receipt that its node did not sign, whose node never had a bond, or that is filed under another id.
    function signatureFault(IPayouts payouts, SignatureFault calldata f) external view returns (address harmed);

    /// @notice A receipt that the proposer itself signed, timed within the epoch, is missing from it.
    function omissionFault(IPayouts payouts, OmissionFault calldata f) external view returns (address harmed);

    /// @notice An entry pays someone who did not hold the contribution or model when the receipt's block was the newest.
    function payeeFault(IPayouts payouts, PayeeFault calldata f) external view returns (address harmed);

    /// @notice Leaves out of order, doubled, after a gap, or (receipts) not as many as the proposal says.
    function orderFault(IPayouts payouts, OrderFault calldata f) external view returns (address harmed);

    /// @notice An entry of a receipt that the epoch does not hold.
    function entryFault(IPayouts payouts, EntryFault calldata f) external view returns (address harmed);
}
