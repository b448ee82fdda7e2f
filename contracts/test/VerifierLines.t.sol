// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Fault} from "../src/interfaces/IVerifier.sol";
import {EntryAt, LinesFault, NoteFault, SumPath} from "../src/libraries/Faults.sol";
import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {SumNode} from "../src/libraries/MerkleLib.sol";
import {NOTE_WORDS, NoteLib} from "../src/libraries/NoteLib.sol";
import {ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Judging} from "./base/Judging.sol";
import {Trees} from "./base/Trees.sol";

/// @dev Faults of the lines of a receipt, and of the credit note that may bind them.
contract VerifierLinesTest is Judging {
    /// @dev Id of the receipt that has a note.
    bytes32 private deferred;

    function setUp() public override {
        super.setUp();
        deferred = receipts[2].id;
    }

    // --- lines ------------------------------------------------------------------------------------------------------

    function test_no_line_of_an_honest_epoch_is_refuted() public {
        propose();
        for (uint256 i; i < entries.length; ++i) {
            FormatsLib.Entry[] memory lines = linesOf(entries[i].receiptId);
            LinesFault memory f = lineProof(i, lines, entries[i].line);
            stays(Fault.Lines, abi.encode(f), NO_FAULT);
            stays(Fault.Lines, abi.encode(lineProof(i, lines, (entries[i].line + 1) % 9)), UNRELATED);
            f.leaves = new EntryAt[](1);
            f.leaves[0] = entryOf(lines, 9);
            stays(Fault.Lines, abi.encode(f), NO_FAULT);
        }
        for (uint256 i; i < 3; ++i) {
            LinesFault memory f = topProof(i, linesOf(receipts[i].id));
            stays(Fault.Lines, abi.encode(f), NO_FAULT);
            f.top[0].sum += 1;
            stays(Fault.Lines, abi.encode(f), NOT_IN_TREE);
            f.top = new SumNode[](1);
            stays(Fault.Lines, abi.encode(f), UNRELATED);
        }
    }

    function test_an_entry_of_another_receipt_is_not_a_line_of_this_one() public {
        propose();
        LinesFault memory f = lineProof(0, linesOf(entries[0].receiptId), entries[0].line);
        uint256 other = (receiptOf(0) + 1) % 3;
        (f.receipt, f.note) = (receiptProof(other), shownNote(other));
        f.leaves[1] = entryOf(linesOf(receipts[other].id), 0);
        stays(Fault.Lines, abi.encode(f), UNRELATED);
        f.leaves[0] = entryAt(27);
        stays(Fault.Lines, abi.encode(f), EMPTY_LEAF);
    }

    /// @dev Signs `lines` as those of the first receipt and proposes; returns the place of the receipt.
    function relined(bytes32 lines) private returns (uint256) {
        bytes32 id = receipts[0].id;
        rewrite(ReceiptLib.LINES, uint256(lines));
        propose();
        return placeOf(id);
    }

    function test_lines_that_do_not_sum_to_the_price_are_refuted() public {
        bytes32 id = receipts[0].id;
        FormatsLib.Entry[] memory lines = linesOf(id);
        lines[6].amount += 1;
        uint256 i = relined(Trees.root(leavesOf(lines)).hash);
        LinesFault memory one = linesProof(i);
        one.leaves = new EntryAt[](1);
        one.leaves[0] = entryOf(lines, 3);
        vm.prank(address(payouts));
        eq(verifier.judge(Fault.Lines, abi.encode(one)), address(0), "any leaf of them shows it");
        falls(Fault.Lines, abi.encode(topProof(i, lines)), address(0));
    }

    function test_lines_whose_sum_does_not_fit_are_refuted() public {
        SumNode[2] memory top = [SumNode("left", type(uint128).max), SumNode("right", PRICE + 1)];
        bytes32 root = keccak256(
            abi.encode(FormatsLib.TAG_SUM_NODE, top[0].hash, uint256(top[0].sum), top[1].hash, uint256(top[1].sum))
        );
        LinesFault memory f = linesProof(relined(root));
        f.top = new SumNode[](2);
        (f.top[0], f.top[1]) = (top[0], top[1]);
        falls(Fault.Lines, abi.encode(f), address(0));
    }

    function test_a_lonely_line_that_is_not_the_price_is_refuted() public {
        FormatsLib.Entry memory line = linesOf(receipts[0].id)[6];
        LinesFault memory f = linesProof(relined(FormatsLib.entryLeaf(line)));
        f.leaves = new EntryAt[](1);
        (f.leaves[0].entry, f.leaves[0].path) = (line, SumPath(0, new SumNode[](0)));
        falls(Fault.Lines, abi.encode(f), address(0));
    }

    function test_a_receipt_without_lines_is_refuted() public {
        LinesFault memory f = linesProof(relined(0));
        f.leaves = new EntryAt[](1);
        (f.leaves[0].empty, f.leaves[0].path) = (true, SumPath(0, new SumNode[](0)));
        falls(Fault.Lines, abi.encode(f), address(0));
    }

    /// @dev What the receipt says of its lines is true of `lines`; the epoch pays otherwise. Finds the entry at fault.
    function mispaid(FormatsLib.Entry[] memory lines, bytes32 id, uint32 line) private {
        balance(id);
        propose();
        uint256 i;
        while (entries[i].receiptId != id || entries[i].line != line) ++i;
        falls(Fault.Lines, abi.encode(lineProof(i, lines, line < 16 ? line : 0)), address(0));
    }

    function test_an_entry_of_another_amount_than_its_line_is_refuted() public {
        bytes32 id = receipts[0].id;
        FormatsLib.Entry[] memory lines = linesOf(id);
        seal();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].receiptId != id) ++i;
        entries[i].amount += 7;
        mispaid(lines, id, entries[i].line);
    }

    function test_an_entry_that_pays_another_account_than_its_line_is_refuted() public {
        bytes32 id = receipts[0].id;
        FormatsLib.Entry[] memory lines = linesOf(id);
        seal();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].receiptId != id) ++i;
        entries[i].account = address(0x7777);
        mispaid(lines, id, entries[i].line);
    }

    function test_an_entry_at_an_empty_place_of_the_lines_is_refuted() public {
        bytes32 id = receipts[0].id;
        FormatsLib.Entry[] memory lines = linesOf(id);
        addEntry(desk, id, 12, CONTRIBUTOR, second, 500);
        mispaid(lines, id, 12);
    }

    function test_an_entry_beyond_the_places_of_the_lines_is_refuted() public {
        bytes32 id = receipts[0].id;
        FormatsLib.Entry[] memory lines = linesOf(id);
        addEntry(desk, id, 16, CONTRIBUTOR, second, 500);
        mispaid(lines, id, 16);
    }

    /// @dev Twenty lines of one receipt, each of which alone is at most the contributors' part.
    function test_the_lines_of_one_receipt_cannot_exceed_its_price() public {
        bytes32 id = receipts[0].id;
        for (uint32 line = 20; line < 40; ++line) {
            addEntry(desk, id, line, CONTRIBUTOR, second, 90_000_000);
        }
        // As they are, the chain does not even take them: they are not what the receipts were priced at.
        seal();
        (SumNode[] memory r, SumNode[] memory e) = (receiptLeaves(), entryLeaves());
        IPayouts.Proposal memory p = IPayouts.Proposal({
            epoch: 1,
            cutoff: cutoff,
            receiptCount: 3,
            receiptsRoot: Trees.root(r).hash,
            entriesRoot: Trees.root(e).hash,
            entriesTotal: Trees.root(e).sum,
            payoutRoot: "",
            total: Trees.root(e).sum
        });
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.receiptsRoot, p.entriesTotal));
        payouts.propose(p, Trees.top(r), Trees.top(e), Trees.top(e), "");

        // At the cost of other receipts they are taken, and refuted with the receipt or with the lines.
        balance(id);
        FormatsLib.Entry[] memory lines = linesOf(id);
        rewriteLines(id, lines);
        propose();
        falls(Fault.Lines, abi.encode(topProof(placeOf(id), lines)), address(0));
    }

    function rewriteLines(bytes32 id, FormatsLib.Entry[] memory lines) private {
        Receipt storage r = receipts[placeOf(id)];
        r.words[ReceiptLib.LINES] = Trees.root(leavesOf(lines)).hash;
        r.signature = signed(r.words, keyOf("node"));
    }

    // --- lines of a note ----------------------------------------------------------------------------------------------

    function test_a_receipt_with_a_note_pays_the_lines_of_the_note() public {
        FormatsLib.Entry[] memory own = fallbackLines(deferred);
        propose();
        uint256 i = placeOf(deferred);
        LinesFault memory f = topProof(i, own);
        stays(Fault.Lines, abi.encode(f), NOT_IN_TREE);
        f.note = new bytes32[NOTE_WORDS][](0);
        stays(Fault.Lines, abi.encode(f), UNRELATED);
        f.note = new bytes32[NOTE_WORDS][](1);
        stays(Fault.Lines, abi.encode(f), UNRELATED);
    }

    function test_a_deferred_receipt_without_a_note_pays_its_own_lines() public {
        FormatsLib.Entry[] memory own = fallbackLines(deferred);
        receipts[2].noteHash = 0;
        propose();
        // The entries are still those of the note.
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].receiptId != deferred || entries[i].role != CONTRIBUTOR) ++i;
        stays(Fault.Lines, abi.encode(topProof(placeOf(deferred), own)), NO_FAULT);
        falls(Fault.Lines, abi.encode(lineProof(i, own, entries[i].line)), address(0));
    }

    function test_an_entry_that_is_not_the_notes_line_is_refuted() public {
        FormatsLib.Entry[] memory lines = linesOf(deferred);
        FormatsLib.Entry[] memory own = fallbackLines(deferred);
        seal();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].receiptId != deferred || entries[i].role != CONTRIBUTOR) ++i;
        entries[i].amount = own[entries[i].line].amount;
        mispaid(lines, deferred, entries[i].line);
    }

    // --- notes --------------------------------------------------------------------------------------------------------

    function test_a_note_its_node_signed_in_time_is_not_refuted() public {
        propose();
        uint256 i = placeOf(deferred);
        NoteFault memory f = noteProof(i);
        stays(Fault.Note, abi.encode(f), NO_FAULT);
        f.signature = signedNote(f.note, keyOf("node"));
        stays(Fault.Note, abi.encode(f), NO_FAULT);
        f.note[NoteLib.LINES] = "other";
        stays(Fault.Note, abi.encode(f), UNRELATED);
        f.signature = signedNote(f.note, keyOf("other"));
        stays(Fault.Note, abi.encode(f), UNRELATED);
        f.signature = "";
        stays(Fault.Note, abi.encode(f), UNRELATED);
        f = noteProof(i);
        f.receipt.noteHash = 0;
        stays(Fault.Note, abi.encode(f), NOT_IN_TREE);
        f.receipt = receiptAt(3);
        stays(Fault.Note, abi.encode(f), EMPTY_LEAF);
    }

    /// @dev The node signed `note`, which the deferred receipt is not filed with.
    function unfiled(bytes32[NOTE_WORDS] memory note) private returns (bytes memory proof) {
        propose();
        return abi.encode(NoteFault(receiptAt(placeOf(deferred)), note, signedNote(note, keyOf("node"))));
    }

    function test_two_notes_of_one_receipt_are_refuted_whenever_the_second_was_signed() public {
        bytes32[NOTE_WORDS] memory note = notes[deferred];
        note[NoteLib.SPANS_ROOT] = "other";
        note[NoteLib.TIME] = bytes32(uint256(cutoff) + 1);
        falls(Fault.Note, unfiled(note), address(0));
    }

    function test_a_note_signed_in_time_and_left_out_is_refuted() public {
        receipts[2].noteHash = 0;
        bytes32[NOTE_WORDS] memory note = notes[deferred];
        note[NoteLib.TIME] = bytes32(uint256(cutoff));
        falls(Fault.Note, unfiled(note), address(0));
    }

    function test_a_note_signed_after_the_cutoff_may_be_left_out() public {
        receipts[2].noteHash = 0;
        bytes32[NOTE_WORDS] memory note = notes[deferred];
        note[NoteLib.TIME] = bytes32(uint256(cutoff) + 1);
        stays(Fault.Note, unfiled(note), NO_FAULT);
    }

    function test_the_note_of_another_receipt_proves_nothing() public {
        bytes32[NOTE_WORDS] memory note = notes[deferred];
        note[NoteLib.RECEIPT] = "other";
        stays(Fault.Note, unfiled(note), UNRELATED);
    }

    /// @dev Files the deferred receipt with its note as it is in `notes` now.
    function filed() private returns (NoteFault memory) {
        receipts[2].noteHash = noteHashOf(notes[deferred]);
        propose();
        return noteProof(placeOf(deferred));
    }

    function test_a_receipt_filed_with_the_note_of_another_is_refuted() public {
        notes[deferred][NoteLib.RECEIPT] = "other";
        falls(Fault.Note, abi.encode(filed()), address(0));
    }

    function test_a_receipt_filed_with_a_note_after_the_cutoff_is_refuted() public {
        notes[deferred][NoteLib.TIME] = bytes32(uint256(cutoff) + 1);
        falls(Fault.Note, abi.encode(filed()), address(0));
    }

    function test_a_note_beside_inline_credit_is_refuted() public {
        bytes32 id = receipts[0].id;
        receipts[0].noteHash = "note";
        propose();
        falls(Fault.Signature, abi.encode(signatureProof(placeOf(id))), address(0));
    }

    function test_a_false_span_in_a_note_is_refuted() public {
        spans[0].recordOffset += 1;
        notes[deferred] = noteOf(deferred, 4);
        receipts[2].noteHash = noteHashOf(notes[deferred]);
        propose();
        falls(Fault.Span, abi.encode(spanProof(placeOf(deferred), 0)), address(0));
    }

    function test_a_record_that_is_not_there_in_a_note_is_refuted() public {
        spans[0].index = 2;
        notes[deferred] = noteOf(deferred, 4);
        receipts[2].noteHash = noteHashOf(notes[deferred]);
        propose();
        falls(Fault.Record, abi.encode(recordProof(placeOf(deferred), 0)), address(0));
    }
}
