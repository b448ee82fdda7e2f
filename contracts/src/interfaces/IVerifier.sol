// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    DuplicateFault,
    EntryFault,
    LinesFault,
    NoteFault,
    OmissionFault,
    OrderFault,
    PayeeFault,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "../libraries/Faults.sol";
import {IParams} from "./IParams.sol";
import {IPayouts} from "./IPayouts.sol";

/// @dev The faults of a proposal that can be proven on chain; see the function of that name.
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
    Entry,
    Lines,
    Note
}

/// @title IVerifier
/// @notice Judges a claim that the pending proposal of a `Payouts` is false. It holds no money and writes nothing.
/// @dev Every function returns the account that the fault would have harmed (zero where it is no single account) and
/// reverts when the proof does not show the fault. So a dry run is an `eth_call` of the function itself.
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
    /// @param fault The claimed fault.
    /// @param proof `abi.encode` of the struct of that fault.
    function judge(Fault fault, bytes calldata proof) external view returns (address harmed);

    /// @notice A span of a receipt does not stand in the record it names, or not in the output.
    /// @dev The record is the one in the batch as registered, whatever the version's root says.
    function spanFault(IPayouts payouts, SpanFault calldata f) external view returns (address harmed);

    /// @notice A span names a version never published, a contribution never registered, one of another datanet, or a
    /// record beyond its count.
    function recordFault(IPayouts payouts, RecordFault calldata f) external view returns (address harmed);

    /// @notice An account's payout is not its last payout and the sum of its entries in the epoch; so also: lowered.
    function totalFault(IPayouts payouts, TotalFault calldata f) external view returns (address harmed);

    /// @notice A receipt that an earlier epoch already held.
    function duplicateFault(IPayouts payouts, DuplicateFault calldata f) external view returns (address harmed);

    /// @notice The shares of a receipt are not its model's, its governed numbers were not in force at its time, or a line does
    /// not follow from them.
    function splitFault(IPayouts payouts, SplitFault calldata f) external view returns (address harmed);

    /// @notice A receipt that the proposer did not sign as its node, of an unknown version, kind or credit state, filed under
    /// another id or at another price, or with a credit note although its credit is not deferred.
    function signatureFault(IPayouts payouts, SignatureFault calldata f) external view returns (address harmed);

    /// @notice A receipt that the proposer itself signed, timed within the epoch, is missing from it, or another one stands
    /// under its id.
    function omissionFault(IPayouts payouts, OmissionFault calldata f) external view returns (address harmed);

    /// @notice An entry pays someone who did not hold the contribution or model when the receipt's block was the newest.
    function payeeFault(IPayouts payouts, PayeeFault calldata f) external view returns (address harmed);

    /// @notice Leaves out of order, doubled, after a gap, or (receipts) not as many as the proposal says.
    function orderFault(IPayouts payouts, OrderFault calldata f) external view returns (address harmed);

    /// @notice An entry of a receipt that the epoch does not hold.
    function entryFault(IPayouts payouts, EntryFault calldata f) external view returns (address harmed);

    /// @notice The lines of a receipt do not sum to its price, or an entry is not the line of its receipt that it says it is.
    /// @dev The prices of all receipts sum to the amounts of all entries (checked by `propose`). So where every entry is a
    /// line of its receipt, and stands once, every line is there.
    function linesFault(IPayouts payouts, LinesFault calldata f) external view returns (address harmed);

    /// @notice A receipt is filed without the credit note that its node signed in time, its node signed two, or the one it is
    /// filed with is another receipt's or too late.
    function noteFault(IPayouts payouts, NoteFault calldata f) external view returns (address harmed);

    /// @notice The governed numbers that receipts are judged by.
    function PARAMS() external view returns (IParams);
}
