// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IContributions} from "../interfaces/IContributions.sol";
import {FormatsLib} from "./FormatsLib.sol";
import {SumNode} from "./MerkleLib.sol";
import {NOTE_WORDS} from "./NoteLib.sol";
import {RECEIPT_WORDS} from "./ReceiptLib.sol";

// The proofs of challengers, one struct per `Fault`; `challenge` takes `abi.encode` of it.

/// @dev A place in a Merkle tree: index and siblings from leaf to root.
struct Path {
    uint256 index;
    bytes32[] siblings;
}

/// @dev A place in a sum tree.
struct SumPath {
    uint256 index;
    SumNode[] siblings;
}

/// @dev A receipt of the pending epoch, with all its words. `noteHash` is the struct hash of its credit note, zero where
/// it has none.
struct ReceiptProof {
    bytes32[RECEIPT_WORDS] words;
    bytes32 signatureHash;
    bytes32 noteHash;
    SumPath path;
}

/// @dev A leaf of a receipts tree by its preimage and its sum, or an empty place.
struct ReceiptAt {
    bool empty;
    bytes32 id;
    bytes32 structHash;
    bytes32 signatureHash;
    bytes32 noteHash;
    uint128 price;
    SumPath path;
}

/// @dev A leaf of the pending entries tree, or an empty place.
struct EntryAt {
    bool empty;
    FormatsLib.Entry entry;
    SumPath path;
}

/// @dev A leaf of a payout tree, or an empty place.
struct PayoutAt {
    bool empty;
    address account;
    uint128 cumulative;
    SumPath path;
}

/// @dev A chunk of a text, or (`empty`) the proof that no chunk stands there; `path.index` is its number.
struct ChunkAt {
    bool empty;
    bytes32 salt;
    bytes data;
    Path path;
}

/// @dev At byte `offset` of the span, record and output differ, or one of them has no such byte. `note` is the receipt's
/// credit note where it has one, and empty otherwise; so too below.
struct SpanFault {
    ReceiptProof receipt;
    bytes32[NOTE_WORDS][] note;
    FormatsLib.Span span;
    Path spanPath;
    IContributions.Batch batch;
    bytes32 contentRoot;
    uint64 length;
    bytes32[] recordSiblings;
    uint64 offset;
    ChunkAt record;
    ChunkAt output;
}

/// @dev The span names a version, contribution or record that does not exist; `batch` is the contribution as registered,
/// where it exists.
struct RecordFault {
    ReceiptProof receipt;
    bytes32[NOTE_WORDS][] note;
    FormatsLib.Span span;
    Path spanPath;
    IContributions.Batch batch;
}

/// @dev `before` and `after_` show the account in the finalized and the pending payout tree: its leaf, or the neighbours
/// between which it is missing. `from` and `to` show where its entries begin and where they end.
struct TotalFault {
    address account;
    PayoutAt[] before;
    PayoutAt[] after_;
    EntryAt[] from;
    EntryAt[] to;
}

/// @dev The same receipt id in the pending epoch and in an earlier one.
struct DuplicateFault {
    ReceiptAt receipt;
    uint64 earlierEpoch;
    ReceiptAt earlier;
}

/// @dev No entry: the receipt's shares are not its model's, or its governed numbers were not in force. One: that line is
/// wrong. Two: that line is there twice.
struct SplitFault {
    ReceiptProof receipt;
    EntryAt[] entries;
}

/// @dev The leaf at `path` names `id` and `noteHash` and counts `price`; the receipt's own id or price, its credit state,
/// its format, its node or its signature does not fit.
struct SignatureFault {
    bytes32 id;
    bytes32[RECEIPT_WORDS] words;
    bytes signature;
    bytes32 noteHash;
    uint128 price;
    SumPath path;
}

/// @dev A receipt the proposer signed, and the neighbours between which it is missing; or another one under its id.
struct OmissionFault {
    bytes32[RECEIPT_WORDS] words;
    bytes signature;
    ReceiptAt[] gap;
}

/// @dev An owner's or contributor's line of the receipt that pays someone else than the holder.
struct PayeeFault {
    ReceiptProof receipt;
    EntryAt entry;
}

/// @dev Two leaves of one tree of which the first stands to the left; exactly one of the lists is used.
struct OrderFault {
    ReceiptAt[] receipts;
    EntryAt[] entries;
    PayoutAt[] payouts;
}

/// @dev An entry, and the neighbours between which its receipt is missing.
struct EntryFault {
    EntryAt entry;
    ReceiptAt[] gap;
}

/// @dev No leaf: the two nodes `top` under the root of the receipt's lines do not sum to its price. One: the tree of that
/// leaf does not. Two: an entry of the epoch, and the different leaf at its place among the receipt's lines.
struct LinesFault {
    ReceiptProof receipt;
    bytes32[NOTE_WORDS][] note;
    SumNode[] top;
    EntryAt[] leaves;
}

/// @dev A receipt of the pending epoch and a credit note of its node. With its signature: the node signed it, and the leaf
/// has another one, or none although it came in time. Without: it is the leaf's, and another receipt's or too late.
struct NoteFault {
    ReceiptAt receipt;
    bytes32[NOTE_WORDS] note;
    bytes signature;
}
