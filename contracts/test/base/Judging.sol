// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IVerifier} from "../../src/interfaces/IVerifier.sol";
import {
    DuplicateFault,
    EntryAt,
    LinesFault,
    NoteFault,
    OmissionFault,
    OrderFault,
    Path,
    PayeeFault,
    PayoutAt,
    ReceiptAt,
    RecordFault,
    SignatureFault,
    SplitFault,
    SumPath,
    TotalFault
} from "../../src/libraries/Faults.sol";
import {FormatsLib} from "../../src/libraries/FormatsLib.sol";
import {SumNode} from "../../src/libraries/MerkleLib.sol";
import {RECEIPT_WORDS} from "../../src/libraries/ReceiptLib.sol";
import {Epochs} from "./Epochs.sol";
import {Trees} from "./Trees.sol";

/// @dev What the tests of the Verifier share: refusals, and a proof of each kind over an epoch.
abstract contract Judging is Epochs {
    bytes4 internal constant NO_FAULT = IVerifier.NoFault.selector;
    bytes4 internal constant UNRELATED = IVerifier.Unrelated.selector;
    bytes4 internal constant NOT_IN_TREE = IVerifier.NotInTree.selector;
    bytes4 internal constant NOT_ENCLOSING = IVerifier.NotEnclosing.selector;
    bytes4 internal constant EMPTY_LEAF = IVerifier.EmptyLeaf.selector;

    function propose() internal {
        seal();
        submit();
    }

    /// @dev Rewrites word `i` of the first receipt and signs it again.
    function rewrite(uint256 i, uint256 value) internal {
        receipts[0].words[i] = bytes32(value);
        receipts[0].signature = signed(receipts[0].words, keyOf("node"));
    }

    /// @dev Files `words` in place of the first receipt, signed by `key`; its lines are then the new one's.
    function refile(bytes32[RECEIPT_WORDS] memory words, uint256 key) internal {
        bytes32 last = receipts[0].id;
        (receipts[0].id, receipts[0].words, receipts[0].signature) = (idOf(words), words, signed(words, key));
        for (uint256 i; i < entries.length; ++i) {
            if (entries[i].receiptId == last) entries[i].receiptId = idOf(words);
        }
    }

    /// @dev The place of receipt `id` in the epoch.
    function placeOf(bytes32 id) internal view returns (uint256 i) {
        while (receipts[i].id != id) ++i;
    }

    function indexOf(uint8 role) internal view returns (uint256 i) {
        while (entries[i].role != role) ++i;
    }

    function receiptOf(uint256 entry) internal view returns (uint256) {
        return placeOf(entries[entry].receiptId);
    }

    function recordProof(uint256 receipt, uint256 span) internal view returns (RecordFault memory f) {
        (f.receipt, f.note) = (receiptProof(receipt), shownNote(receipt));
        f.span = spans[span];
        f.spanPath = Path(span, Trees.prove(spanLeaves(), span));
        f.batch = batchOf(batch);
    }

    function totalProof(address account) internal view returns (TotalFault memory f) {
        f.account = account;
        f.before = payoutEdge(lastTotals, account);
        f.after_ = payoutEdge(totals, account);
        f.from = entryEdge(uint160(account));
        f.to = entryEdge(uint256(uint160(account)) + 1);
    }

    function everyone() internal view returns (address[9] memory) {
        return [treasury, validation, insurance, maker, node, gauge, desk, address(1), address(type(uint160).max)];
    }

    function duplicate(uint256 now_, uint64 epoch, ReceiptAt memory earlier)
        internal
        view
        returns (DuplicateFault memory f)
    {
        (f.receipt, f.earlierEpoch, f.earlier) = (receiptAt(now_), epoch, earlier);
    }

    function splitProof(uint256 receipt, uint256 n, uint256 a, uint256 b) internal view returns (SplitFault memory f) {
        f.receipt = receiptProof(receipt);
        f.entries = new EntryAt[](n);
        if (n > 0) f.entries[0] = entryAt(a);
        if (n > 1) f.entries[1] = entryAt(b);
    }

    function signatureProof(uint256 i) internal view returns (SignatureFault memory) {
        Receipt memory r = receipts[i];
        SumPath memory path = SumPath(i, Trees.prove(receiptLeaves(), i));
        return SignatureFault(r.id, r.words, r.signature, r.noteHash, r.price, path);
    }

    function omission(bytes32[RECEIPT_WORDS] memory words, uint256 key) internal view returns (OmissionFault memory) {
        return OmissionFault(words, signed(words, key), receiptGap(idOf(words)));
    }

    /// @dev Over the lines that receipt `i` pays by: no leaf of them yet.
    function linesProof(uint256 i) internal view returns (LinesFault memory f) {
        (f.receipt, f.note) = (receiptProof(i), shownNote(i));
    }

    /// @dev The two nodes under the lines' root of receipt `i`, whose lines are `lines`.
    function topProof(uint256 i, FormatsLib.Entry[] memory lines) internal view returns (LinesFault memory f) {
        f = linesProof(i);
        SumNode[2] memory top = Trees.top(leavesOf(lines));
        f.top = new SumNode[](2);
        (f.top[0], f.top[1]) = (top[0], top[1]);
    }

    /// @dev Entry `entry` beside place `line` of its receipt's lines, which are `lines`.
    function lineProof(uint256 entry, FormatsLib.Entry[] memory lines, uint256 line)
        internal
        view
        returns (LinesFault memory f)
    {
        f = linesProof(receiptOf(entry));
        f.leaves = new EntryAt[](2);
        (f.leaves[0], f.leaves[1]) = (entryAt(entry), entryOf(lines, line));
    }

    /// @dev The note of receipt `i` as it is filed.
    function noteProof(uint256 i) internal view returns (NoteFault memory) {
        return NoteFault(receiptAt(i), notes[receipts[i].id], "");
    }

    function payeeProof(uint256 entry) internal view returns (PayeeFault memory) {
        return PayeeFault(receiptProof(receiptOf(entry)), entryAt(entry));
    }

    function orderOfReceipts(uint256 a, uint256 b) internal view returns (OrderFault memory f) {
        f.receipts = new ReceiptAt[](2);
        (f.receipts[0], f.receipts[1]) = (receiptAt(a), receiptAt(b));
    }

    function orderOfEntries(uint256 a, uint256 b) internal view returns (OrderFault memory f) {
        f.entries = new EntryAt[](2);
        (f.entries[0], f.entries[1]) = (entryAt(a), entryAt(b));
    }

    function orderOfPayouts(uint256 a, uint256 b) internal view returns (OrderFault memory f) {
        f.payouts = new PayoutAt[](2);
        (f.payouts[0], f.payouts[1]) = (payoutAt(totals, a), payoutAt(totals, b));
    }
}
