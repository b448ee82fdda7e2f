// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {IModels} from "../src/interfaces/IModels.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {ITitle} from "../src/interfaces/ITitle.sol";
import {Fault, IVerifier} from "../src/interfaces/IVerifier.sol";
import {
    ChunkAt,
    DuplicateFault,
    EntryAt,
    EntryFault,
    OmissionFault,
    OrderFault,
    Path,
    PayeeFault,
    PayoutAt,
    ReceiptAt,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "../src/libraries/Faults.sol";
import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {SumNode} from "../src/libraries/MerkleLib.sol";
import {Epochs} from "./base/Epochs.sol";
import {Trees} from "./base/Trees.sol";

contract VerifierTest is Epochs {
    bytes4 private constant NO_FAULT = IVerifier.NoFault.selector;
    bytes4 private constant UNRELATED = IVerifier.Unrelated.selector;
    bytes4 private constant NOT_IN_TREE = IVerifier.NotInTree.selector;
    bytes4 private constant NOT_ENCLOSING = IVerifier.NotEnclosing.selector;
    bytes4 private constant EMPTY_LEAF = IVerifier.EmptyLeaf.selector;

    function propose() private {
        seal();
        submit();
    }

    /// @dev Rewrites word `i` of the first receipt and signs it again.
    function rewrite(uint256 i, uint256 value) private {
        receipts[0].words[i] = bytes32(value);
        receipts[0].signature = signed(receipts[0].words, keyOf("node"));
    }

    function indexOf(uint8 role) private view returns (uint256 i) {
        while (entries[i].role != role) ++i;
    }

    function receiptOf(uint256 entry) private view returns (uint256 i) {
        while (receipts[i].id != entries[entry].receiptId) ++i;
    }

    // --- spans ----------------------------------------------------------------------------------------------------

    function testFuzz_a_true_span_is_not_refuted_at_any_byte(uint64 offset) public {
        propose();
        stays(Fault.Span, abi.encode(spanProof(0, uint64(bound(offset, 0, 299)))), NO_FAULT);
    }

    function testFuzz_a_false_span_is_refuted_at_the_byte_that_differs(uint64 offset) public {
        offset = uint64(bound(offset, 0, 299));
        output[50 + offset] = "#";
        outputLeaves = chunksOf(output);
        for (uint256 i; i < 3; ++i) {
            receipts[i].words[13] = Trees.root(outputLeaves);
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        propose();
        stays(Fault.Span, abi.encode(spanProof(0, offset == 0 ? 1 : offset - 1)), NO_FAULT);
        falls(Fault.Span, abi.encode(spanProof(0, offset)), address(0));
    }

    function relocate(uint64 recordOffset, uint64 length, uint64 outputOffset) private {
        FormatsLib.Span storage s = spans[0];
        (s.recordOffset, s.length, s.outputOffset) = (recordOffset, length, outputOffset);
        rewrite(22, uint256(Trees.root(spanLeaves())));
        propose();
    }

    function respanned() private view returns (uint256 i) {
        while (receipts[i].words[22] != Trees.root(spanLeaves())) ++i;
    }

    function test_a_span_beyond_the_end_of_its_record_is_refuted() public {
        relocate(500, 101, 50);
        falls(Fault.Span, abi.encode(spanProof(respanned(), 100)), address(0));
    }

    function test_a_span_beyond_the_last_chunk_of_the_output_is_refuted() public {
        // The output has 500 bytes in two chunks; byte 512 would be in a third one, which the tree has no place for.
        relocate(0, 600, 0);
        SpanFault memory f = spanProof(respanned(), 512);
        f.output = ChunkAt(false, 0, chunk(output, 1), Path(1, Trees.prove(outputLeaves, 1)));
        falls(Fault.Span, abi.encode(f), address(0));
    }

    function test_a_span_beyond_the_bytes_of_the_last_chunk_is_refuted() public {
        relocate(0, 600, 0);
        falls(Fault.Span, abi.encode(spanProof(respanned(), 505)), address(0));
    }

    function test_a_span_over_an_empty_place_of_the_output_is_refuted() public {
        output = textOf("longer", 700);
        for (uint256 i; i < 50; ++i) {
            output[i] = text[i];
        }
        outputLeaves = chunksOf(output);
        rewrite(13, uint256(Trees.root(outputLeaves)));
        relocate(0, 600, 200);
        SpanFault memory f = spanProof(respanned(), 599);
        // Byte 799 would be in chunk 3, which is empty.
        f.output = ChunkAt(true, 0, "", Path(3, Trees.prove(outputLeaves, 3)));
        falls(Fault.Span, abi.encode(f), address(0));
    }

    function test_a_chunk_that_has_nothing_to_do_with_the_byte_proves_nothing() public {
        propose();
        SpanFault memory f = spanProof(0, 0);
        f.output = ChunkAt(false, 0, chunk(output, 1), Path(1, Trees.prove(outputLeaves, 1)));
        stays(Fault.Span, abi.encode(f), UNRELATED);
        f = spanProof(0, 0);
        f.record = ChunkAt(true, 0, "", Path(3, Trees.prove(chunkLeaves, 3)));
        stays(Fault.Span, abi.encode(f), UNRELATED);
        f = spanProof(0, 0);
        f.record.data[0] = "#";
        stays(Fault.Span, abi.encode(f), NOT_IN_TREE);
        f = spanProof(0, 0);
        f.record.salt = "salt";
        stays(Fault.Span, abi.encode(f), NOT_IN_TREE);
    }

    function test_a_byte_outside_the_span_proves_nothing() public {
        propose();
        stays(Fault.Span, abi.encode(spanProof(0, 300)), UNRELATED);
    }

    function test_a_record_shorter_than_its_leaf_says_is_not_the_nodes_fault() public {
        // The contributor committed to 600 bytes and three chunks, of which the last is cut short.
        bytes memory cut = slice(text, 0, 520);
        chunkLeaves = chunksOf(cut);
        recordLeaves[0] =
            FormatsLib.recordLeaf(net, contributions.contributionOf(gauge, 1), 0, Trees.root(chunkLeaves), 600);
        batch = prepared("river-gauge", net, Trees.root(recordLeaves), 2);
        uint256 id = contributions.register(batch);
        spans[0].contribution = id;
        rewrite(22, uint256(Trees.root(spanLeaves())));
        relocate(400, 200, 50);
        SpanFault memory f = spanProof(respanned(), 150);
        f.record = ChunkAt(false, 0, chunk(cut, 2), Path(2, Trees.prove(chunkLeaves, 2)));
        stays(Fault.Span, abi.encode(f), NO_FAULT);
    }

    function test_evidence_from_another_batch_or_record_proves_nothing() public {
        propose();
        SpanFault memory f = spanProof(0, 0);
        f.batch.count += 1;
        stays(Fault.Span, abi.encode(f), UNRELATED);
        f = spanProof(0, 0);
        f.length = 50;
        stays(Fault.Span, abi.encode(f), NOT_IN_TREE);
        f = spanProof(0, 0);
        f.span.weight += 1;
        stays(Fault.Span, abi.encode(f), NOT_IN_TREE);
        f = spanProof(0, 0);
        f.receipt.signatureHash = 0;
        stays(Fault.Span, abi.encode(f), NOT_IN_TREE);
    }

    function test_a_span_of_a_batch_that_is_in_another_datanet_is_a_matter_of_records() public {
        uint64 other = datanets.create("terms", "");
        datanets.publish(other, 1, "root", 1);
        spans[0].datanet = other;
        relocate(100, 300, 50);
        uint256 i = respanned();
        stays(Fault.Span, abi.encode(spanProof(i, 0)), UNRELATED);
        falls(Fault.Record, abi.encode(recordProof(i, 0)), address(0));
    }

    // --- records --------------------------------------------------------------------------------------------------

    function recordProof(uint256 receipt, uint256 span) private view returns (RecordFault memory f) {
        f.receipt = receiptProof(receipt);
        f.span = spans[span];
        f.spanPath = Path(span, Trees.prove(spanLeaves(), span));
        f.batch = batchOf(batch);
    }

    function respan() private {
        rewrite(22, uint256(Trees.root(spanLeaves())));
        propose();
    }

    function test_a_record_that_exists_is_no_fault() public {
        propose();
        stays(Fault.Record, abi.encode(recordProof(0, 1)), NO_FAULT);
        RecordFault memory f = recordProof(0, 1);
        f.batch.count = 1;
        stays(Fault.Record, abi.encode(f), UNRELATED);
    }

    function test_a_record_beyond_the_batch_is_refuted() public {
        spans[0].index = 2;
        respan();
        falls(Fault.Record, abi.encode(recordProof(respanned(), 0)), address(0));
    }

    function test_a_version_never_published_is_refuted() public {
        spans[0].version = 2;
        respan();
        falls(Fault.Record, abi.encode(recordProof(respanned(), 0)), address(0));
    }

    function test_a_contribution_never_registered_is_refuted() public {
        spans[0].contribution = 42;
        respan();
        falls(Fault.Record, abi.encode(recordProof(respanned(), 0)), address(0));
    }

    // --- totals ---------------------------------------------------------------------------------------------------

    function totalProof(address account) private view returns (TotalFault memory f) {
        f.account = account;
        f.before = payoutEdge(lastTotals, account);
        f.after_ = payoutEdge(totals, account);
        f.from = entryEdge(uint160(account));
        f.to = entryEdge(uint256(uint160(account)) + 1);
    }

    function everyone() private view returns (address[9] memory) {
        return [treasury, validation, insurance, maker, node, gauge, desk, address(1), address(type(uint160).max)];
    }

    function test_totals_that_follow_from_entries_are_not_refuted() public {
        propose();
        for (uint256 i; i < 9; ++i) {
            stays(Fault.Total, abi.encode(totalProof(everyone()[i])), NO_FAULT);
        }
        next();
        propose();
        for (uint256 i; i < 9; ++i) {
            stays(Fault.Total, abi.encode(totalProof(everyone()[i])), NO_FAULT);
        }
    }

    /// @dev Moves `amount` from one account's total to another's, so that the sum still fits.
    function divert(address from, address to, uint128 amount) private {
        seal();
        for (uint256 i; i < totals.length; ++i) {
            if (totals[i].account == from) totals[i].cumulative -= amount;
        }
        addTo(to, amount);
        submit();
    }

    function test_a_lowered_total_is_refuted_and_its_owner_compensated() public {
        propose();
        next();
        // Even below what was final already.
        divert(desk, gauge, 3e8);
        falls(Fault.Total, abi.encode(totalProof(desk)), desk);
    }

    function test_a_raised_total_is_refuted() public {
        divert(desk, gauge, 1);
        falls(Fault.Total, abi.encode(totalProof(gauge)), address(0));
    }

    function test_a_total_from_nothing_is_refuted() public {
        address thief = address(0x7777);
        divert(treasury, thief, 5);
        falls(Fault.Total, abi.encode(totalProof(thief)), address(0));
    }

    function test_an_account_left_out_is_refuted() public {
        propose();
        next();
        seal();
        // Everything `desk` ever had goes to the account beside it.
        uint128 all;
        uint256 at_;
        for (uint256 i; i < totals.length; ++i) {
            if (totals[i].account == desk) (all, at_) = (totals[i].cumulative, i);
        }
        for (uint256 i = at_; i + 1 < totals.length; ++i) {
            totals[i] = totals[i + 1];
        }
        totals.pop();
        totals[0].cumulative += all;
        submit();
        falls(Fault.Total, abi.encode(totalProof(desk)), desk);
    }

    function test_leaves_that_do_not_enclose_the_account_prove_nothing() public {
        propose();
        TotalFault memory f = totalProof(desk);
        f.from = entryEdge(uint256(uint160(desk)) + 1);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.to = entryEdge(uint160(desk));
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.from = new EntryAt[](3);
        for (uint256 i; i < 3; ++i) {
            f.from[i] = entryAt(i);
        }
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.from = new EntryAt[](1);
        f.from[0] = entryAt(1);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.from[0] = entryAt(31);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.from = new EntryAt[](2);
        (f.from[0], f.from[1]) = (entryAt(0), entryAt(26));
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.after_ = new PayoutAt[](1);
        f.after_[0] = payoutAt(totals, totals[2].account == desk ? 3 : 2);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.after_[0].cumulative += 1;
        stays(Fault.Total, abi.encode(f), NOT_IN_TREE);
        f = totalProof(desk);
        f.from[0].entry.line += 1;
        stays(Fault.Total, abi.encode(f), NOT_IN_TREE);
    }

    function test_full_trees_are_enclosed_by_their_last_leaf() public {
        // Eight payees fill the payout tree, thirty-two entries the entries tree; neither has an empty place.
        for (uint32 line = 100; line < 105; ++line) {
            addEntry(address(0x10000), receipts[0].id, line, INSURANCE, 0, 1);
        }
        seal();
        submit();
        eq(entries.length, 32, "entries");
        eq(totals.length, 8, "payouts");
        stays(Fault.Total, abi.encode(totalProof(address(type(uint160).max))), NO_FAULT);
        stays(Fault.Total, abi.encode(totalProof(totals[7].account)), NO_FAULT);
    }

    // --- duplicates -----------------------------------------------------------------------------------------------

    function duplicate(uint256 now_, uint64 epoch, ReceiptAt memory earlier)
        private
        view
        returns (DuplicateFault memory f)
    {
        (f.receipt, f.earlierEpoch, f.earlier) = (receiptAt(now_), epoch, earlier);
    }

    function test_a_receipt_of_an_earlier_epoch_is_refuted() public {
        propose();
        ReceiptAt memory earlier = receiptAt(1);
        Receipt memory again = receipts[1];
        next();
        receipts.push(again);
        addEntries(again.id, 1_000_000_007);
        propose();
        uint256 i;
        while (receipts[i].id != again.id) ++i;
        falls(Fault.Duplicate, abi.encode(duplicate(i, 1, earlier)), address(0));
    }

    function test_a_receipt_is_not_a_duplicate_of_itself_or_of_others() public {
        propose();
        ReceiptAt memory earlier = receiptAt(0);
        stays(Fault.Duplicate, abi.encode(duplicate(0, 1, receiptAt(0))), UNRELATED);
        next();
        propose();
        stays(Fault.Duplicate, abi.encode(duplicate(0, 1, earlier)), UNRELATED);
        stays(Fault.Duplicate, abi.encode(duplicate(0, 1, receiptAt(0))), NOT_IN_TREE);
        stays(Fault.Duplicate, abi.encode(duplicate(3, 1, receiptAt(3))), EMPTY_LEAF);
        DuplicateFault memory f = duplicate(0, 1, receiptAt(3));
        f.earlier.id = f.receipt.id;
        stays(Fault.Duplicate, abi.encode(f), EMPTY_LEAF);
    }

    // --- splits ---------------------------------------------------------------------------------------------------

    function splitProof(uint256 receipt, uint256 n, uint256 a, uint256 b) private view returns (SplitFault memory f) {
        f.receipt = receiptProof(receipt);
        f.entries = new EntryAt[](n);
        if (n > 0) f.entries[0] = entryAt(a);
        if (n > 1) f.entries[1] = entryAt(b);
    }

    function test_no_line_of_an_honest_split_is_refuted() public {
        propose();
        for (uint256 i; i < entries.length; ++i) {
            stays(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), NO_FAULT);
        }
        stays(Fault.Split, abi.encode(splitProof(0, 0, 0, 0)), NO_FAULT);
        uint256 other = (receiptOf(0) + 1) % 3;
        stays(Fault.Split, abi.encode(splitProof(other, 1, 0, 0)), UNRELATED);
        stays(Fault.Split, abi.encode(splitProof(0, 1, 27, 0)), EMPTY_LEAF);
    }

    function wrongShare(uint256 word, uint256 value) private {
        rewrite(word, value);
        bytes32 id = receipts[0].id;
        propose();
        uint256 i;
        while (receipts[i].id != id) ++i;
        // A line under wrong shares is not judged; the shares are.
        uint256 e;
        while (entries[e].receiptId != id) ++e;
        stays(Fault.Split, abi.encode(splitProof(i, 1, e, 0)), UNRELATED);
        falls(Fault.Split, abi.encode(splitProof(i, 0, 0, 0)), address(0));
    }

    function test_a_platform_share_that_is_not_the_models_is_refuted() public {
        wrongShare(17, 1001);
    }

    function test_a_model_share_that_is_not_the_models_is_refuted() public {
        wrongShare(18, 3000);
    }

    function test_a_stakers_share_that_is_not_the_models_is_refuted() public {
        wrongShare(19, 0);
    }

    function test_a_contributors_share_that_is_not_the_rest_is_refuted() public {
        wrongShare(20, 3000);
    }

    function test_a_model_that_does_not_exist_is_refuted() public {
        wrongShare(5, 3);
    }

    function test_no_model_is_refuted() public {
        wrongShare(5, 0);
    }

    /// @dev Moves one unit between the line of `role` and insurance, which keeps the sum.
    function wrongAmount(uint8 role, bool more) private {
        seal();
        uint256 i = indexOf(role);
        uint256 j = indexOf(INSURANCE);
        while (entries[j].receiptId != entries[i].receiptId || entries[j].role != INSURANCE) ++j;
        if (more) (entries[i].amount, entries[j].amount) = (entries[i].amount + 1, entries[j].amount - 1);
        else (entries[i].amount, entries[j].amount) = (entries[i].amount - 1, entries[j].amount + 1);
        propose();
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), address(0));
    }

    function test_a_treasury_line_one_unit_too_low_is_refuted() public {
        wrongAmount(TREASURY, false);
    }

    function test_a_validation_line_one_unit_too_high_is_refuted() public {
        wrongAmount(VALIDATION, true);
    }

    function test_a_node_line_one_unit_too_high_is_refuted() public {
        wrongAmount(NODE, true);
    }

    function test_a_stakers_line_one_unit_too_low_is_refuted() public {
        wrongAmount(STAKERS, false);
    }

    /// @dev Gives the line of `role` `amount`, whatever that makes of the sum, and expects it to be refuted.
    function absurdAmount(uint8 role, uint128 amount) private {
        seal();
        uint256 i = indexOf(role);
        entries[i].amount = amount;
        propose();
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), address(0));
    }

    function test_an_owner_line_beyond_the_models_part_is_refuted() public {
        absurdAmount(OWNER, 120_000_002);
    }

    function test_an_owner_line_below_half_of_its_own_is_refuted() public {
        absurdAmount(OWNER, 60_000_000);
    }

    function test_a_parent_line_beyond_the_owners_is_refuted() public {
        absurdAmount(PARENT, 120_000_002);
    }

    function test_a_contributor_line_beyond_the_contributors_part_is_refuted() public {
        absurdAmount(CONTRIBUTOR, 500_000_006);
    }

    function test_an_insurance_line_beyond_the_price_is_refuted() public {
        absurdAmount(INSURANCE, 1_000_000_008);
    }

    function test_a_model_without_parents_pays_its_owner_in_full() public {
        for (uint256 i; i < 3; ++i) {
            receipts[i].words[5] = bytes32(uint256(1));
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        propose();
        // The lines are those of a model with a parent: too little for the owner, and a parent's line at all.
        uint256 owner = indexOf(OWNER);
        uint256 parent = indexOf(PARENT);
        vm.prank(address(payouts));
        eq(
            verifier.judge(Fault.Split, abi.encode(splitProof(receiptOf(owner), 1, owner, 0))),
            address(0),
            "the owner's line is too low"
        );
        falls(Fault.Split, abi.encode(splitProof(receiptOf(parent), 1, parent, 0)), address(0));
    }

    /// @dev Pays the line of `role` to someone else; `harmed` is whose it was.
    function wrongAccount(uint8 role, address harmed) private {
        seal();
        uint256 i = indexOf(role);
        bytes32 id = entries[i].receiptId;
        entries[i].account = address(0x7777);
        propose();
        i = 0;
        while (entries[i].account != address(0x7777)) ++i;
        eq(entries[i].receiptId, id, "same receipt");
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), harmed);
    }

    function test_a_treasury_line_paid_elsewhere_is_refuted() public {
        wrongAccount(TREASURY, treasury);
    }

    function test_a_validation_line_paid_elsewhere_is_refuted() public {
        wrongAccount(VALIDATION, validation);
    }

    function test_a_node_line_paid_elsewhere_is_refuted() public {
        wrongAccount(NODE, node);
    }

    function test_a_stakers_line_paid_elsewhere_is_refuted() public {
        wrongAccount(STAKERS, insurance);
    }

    function test_an_insurance_line_paid_elsewhere_is_refuted() public {
        wrongAccount(INSURANCE, insurance);
    }

    function test_the_stakers_line_goes_to_the_models_vault_where_it_has_one() public {
        address vault = address(0x7777);
        vm.startPrank(maker);
        (uint256 i, uint256 j) = (0, 0);
        IModels.NewModel memory m = newModel();
        m.stakeVault = vault;
        models.register(m, "");
        vm.stopPrank();
        for (; i < 3; ++i) {
            receipts[i].words[5] = bytes32(uint256(3));
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        seal();
        uint256 right = indexOf(STAKERS);
        entries[right].account = vault;
        propose();
        while (entries[j].account != vault) ++j;
        stays(Fault.Split, abi.encode(splitProof(receiptOf(j), 1, j, 0)), NO_FAULT);
        uint256 wrong = indexOf(STAKERS);
        while (entries[wrong].account == vault || entries[wrong].role != STAKERS) ++wrong;
        falls(Fault.Split, abi.encode(splitProof(receiptOf(wrong), 1, wrong, 0)), vault);
    }

    function test_a_role_that_does_not_exist_is_refuted() public {
        seal();
        entries[0].role = 8;
        propose();
        falls(Fault.Split, abi.encode(splitProof(receiptOf(0), 1, 0, 0)), address(0));
    }

    function test_a_line_that_is_there_twice_is_refuted() public {
        addEntry(treasury, receipts[0].id, 9, TREASURY, 0, 60_000_000);
        propose();
        uint256 a = indexOf(TREASURY);
        while (entries[a + 1].receiptId != entries[a].receiptId) ++a;
        stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, a)), UNRELATED);
        falls(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, a + 1)), address(0));
    }

    function test_two_lines_of_an_honest_receipt_are_not_the_same_line() public {
        bytes32 twin = receipts[0].id;
        addEntry(gauge, receipts[0].id, 10, CONTRIBUTOR, first, 1);
        addEntry(insurance, receipts[0].id, 11, INSURANCE, 0, 1);
        addEntry(gauge, receipts[0].id, 12, PARENT, 0, 1);
        propose();
        uint8[3] memory roles = [CONTRIBUTOR, INSURANCE, PARENT];
        for (uint256 r; r < 3; ++r) {
            bytes32 id = twin;
            (uint256 a, uint256 b) = (0, entries.length - 1);
            while (entries[a].role != roles[r] || entries[a].receiptId != id) ++a;
            while (entries[b].role != roles[r] || entries[b].receiptId != id) --b;
            stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, b)), NO_FAULT);
            b = 0;
            while (entries[b].role == roles[r] || entries[b].receiptId != entries[a].receiptId) ++b;
            stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, b)), UNRELATED);
        }
    }

    // --- signatures -----------------------------------------------------------------------------------------------

    function signatureProof(uint256 i) private view returns (SignatureFault memory) {
        Receipt memory r = receipts[i];
        return SignatureFault(r.id, r.words, r.signature, Path(i, Trees.prove(receiptLeaves(), i)));
    }

    function test_a_receipt_its_node_signed_is_not_refuted() public {
        propose();
        for (uint256 i; i < 3; ++i) {
            stays(Fault.Signature, abi.encode(signatureProof(i)), NO_FAULT);
        }
        SignatureFault memory f = signatureProof(0);
        f.signature = signed(receipts[0].words, keyOf("other"));
        stays(Fault.Signature, abi.encode(f), NOT_IN_TREE);
    }

    function badlySigned(bytes memory signature) private {
        bytes32 id = receipts[0].id;
        receipts[0].signature = signature;
        propose();
        uint256 i;
        while (receipts[i].id != id) ++i;
        falls(Fault.Signature, abi.encode(signatureProof(i)), address(0));
    }

    function test_a_receipt_signed_by_another_key_is_refuted() public {
        badlySigned(signed(receipts[0].words, keyOf("other")));
    }

    function test_an_unsigned_receipt_is_refuted() public {
        badlySigned("");
    }

    function test_a_receipt_of_a_node_that_never_had_a_bond_is_refuted() public {
        receipts[0].words[0] = bytes32(uint256(uint160(addressOf("other"))));
        badlySigned(signed(receipts[0].words, keyOf("other")));
    }

    function test_a_receipt_of_a_node_that_left_still_counts() public {
        payouts.join(addressOf("other"), BOND);
        vm.prank(addressOf("other"));
        payouts.requestExit();
        vm.warp(block.timestamp + 14 days);
        vm.prank(addressOf("other"));
        payouts.exit();
        receipts[0].words[0] = bytes32(uint256(uint160(addressOf("other"))));
        receipts[0].signature = signed(receipts[0].words, keyOf("other"));
        propose();
        for (uint256 i; i < 3; ++i) {
            stays(Fault.Signature, abi.encode(signatureProof(i)), NO_FAULT);
        }
    }

    function test_a_receipt_filed_under_another_id_is_refuted() public {
        receipts[0].id = "id";
        propose();
        uint256 i;
        while (receipts[i].id != "id") ++i;
        falls(Fault.Signature, abi.encode(signatureProof(i)), address(0));
    }

    // --- omissions ------------------------------------------------------------------------------------------------

    function omission(bytes32[29] memory words, uint256 key) private view returns (OmissionFault memory) {
        return OmissionFault(words, signed(words, key), receiptGap(idOf(words)));
    }

    function testFuzz_a_receipt_the_proposer_signed_and_left_out_is_refuted(uint64 channel, uint64 time) public {
        propose();
        bytes32[29] memory words =
            wordsOf(uint64(bound(channel, 100, type(uint64).max)), uint64(bound(time, 1, cutoff)));
        falls(Fault.Omission, abi.encode(omission(words, keyOf("node"))), address(0));
    }

    function test_a_receipt_that_is_there_was_not_left_out() public {
        propose();
        for (uint256 i; i < 3; ++i) {
            OmissionFault memory f = omission(receipts[i].words, keyOf("node"));
            stays(Fault.Omission, abi.encode(f), NO_FAULT);
            f.gap = new ReceiptAt[](2);
            (f.gap[0], f.gap[1]) = (receiptAt(i), receiptAt(i + 1));
            stays(Fault.Omission, abi.encode(f), NO_FAULT);
            f.gap = new ReceiptAt[](1);
            f.gap[0] = receiptAt((i + 1) % 3);
            stays(Fault.Omission, abi.encode(f), NOT_ENCLOSING);
        }
    }

    function test_a_receipt_of_another_time_or_node_was_not_left_out() public {
        propose();
        next();
        propose();
        stays(Fault.Omission, abi.encode(omission(wordsOf(200, 1000), keyOf("node"))), UNRELATED);
        stays(Fault.Omission, abi.encode(omission(wordsOf(200, 2001), keyOf("node"))), UNRELATED);
        stays(Fault.Omission, abi.encode(omission(wordsOf(200, 2000), keyOf("other"))), UNRELATED);
        bytes32[29] memory words = wordsOf(200, 2000);
        words[0] = bytes32(uint256(uint160(addressOf("other"))));
        stays(Fault.Omission, abi.encode(omission(words, keyOf("other"))), UNRELATED);
        falls(Fault.Omission, abi.encode(omission(wordsOf(200, 1001), keyOf("node"))), address(0));
    }

    // --- payees ---------------------------------------------------------------------------------------------------

    function payeeProof(uint256 entry) private view returns (PayeeFault memory) {
        return PayeeFault(receiptProof(receiptOf(entry)), entryAt(entry));
    }

    function test_whoever_held_the_title_at_the_receipts_block_is_the_payee() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, desk, first);
        propose();
        for (uint256 i; i < entries.length; ++i) {
            bool judged = entries[i].role == CONTRIBUTOR || entries[i].role == OWNER;
            stays(Fault.Payee, abi.encode(payeeProof(i)), judged ? NO_FAULT : UNRELATED);
        }
    }

    function test_paying_the_old_holder_after_a_sale_is_refuted() public {
        uint256 sold = block.number - 60;
        vm.roll(sold);
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        vm.roll(sold + 60);
        propose();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].account != gauge || entries[i].role != CONTRIBUTOR) ++i;
        falls(Fault.Payee, abi.encode(payeeProof(i)), maker);
    }

    function test_paying_the_new_holder_for_the_time_before_the_sale_is_refuted() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        for (uint256 i; i < entries.length; ++i) {
            if (entries[i].account == gauge) entries[i].account = maker;
        }
        propose();
        uint256 at_;
        while (entries[at_].account != maker || entries[at_].role != CONTRIBUTOR) ++at_;
        falls(Fault.Payee, abi.encode(payeeProof(at_)), gauge);
    }

    function test_paying_a_models_old_owner_after_a_sale_is_refuted() public {
        uint256 sold = block.number - 60;
        vm.roll(sold);
        vm.prank(maker);
        models.transferFrom(maker, gauge, model);
        vm.roll(sold + 60);
        propose();
        falls(Fault.Payee, abi.encode(payeeProof(indexOf(OWNER))), gauge);
    }

    function test_a_holder_the_chain_no_longer_knows_is_not_judged() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        vm.roll(block.number + 1);
        vm.prank(maker);
        contributions.transferFrom(maker, desk, first);
        propose();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].contribution != first) ++i;
        bytes memory proof = abi.encode(payeeProof(i));
        vm.expectRevert(abi.encodeWithSelector(ITitle.HolderUnknown.selector, first, block.number - 51));
        payouts.challenge(Fault.Payee, proof);
    }

    function test_paying_for_a_contribution_that_does_not_exist_is_refuted() public {
        seal();
        uint256 i = indexOf(CONTRIBUTOR);
        entries[i].contribution = 42;
        propose();
        falls(Fault.Payee, abi.encode(payeeProof(i)), address(0));
    }

    function test_a_holder_block_that_has_not_been_is_refuted() public {
        bytes32 id = receipts[0].id;
        rewrite(27, block.number);
        propose();
        uint256 i;
        while (entries[i].receiptId != id) ++i;
        falls(Fault.Payee, abi.encode(payeeProof(i)), address(0));
    }

    // --- order ----------------------------------------------------------------------------------------------------

    function orderOfReceipts(uint256 a, uint256 b) private view returns (OrderFault memory f) {
        f.receipts = new ReceiptAt[](2);
        (f.receipts[0], f.receipts[1]) = (receiptAt(a), receiptAt(b));
    }

    function orderOfEntries(uint256 a, uint256 b) private view returns (OrderFault memory f) {
        f.entries = new EntryAt[](2);
        (f.entries[0], f.entries[1]) = (entryAt(a), entryAt(b));
    }

    function orderOfPayouts(uint256 a, uint256 b) private view returns (OrderFault memory f) {
        f.payouts = new PayoutAt[](2);
        (f.payouts[0], f.payouts[1]) = (payoutAt(totals, a), payoutAt(totals, b));
    }

    function test_leaves_in_order_are_not_refuted() public {
        propose();
        for (uint256 a; a < 4; ++a) {
            for (uint256 b; b < 4; ++b) {
                stays(Fault.Order, abi.encode(orderOfReceipts(a, b)), a < b ? NO_FAULT : UNRELATED);
            }
        }
        for (uint256 a; a < 8; ++a) {
            for (uint256 b; b < 8; ++b) {
                stays(Fault.Order, abi.encode(orderOfPayouts(a, b)), a < b ? NO_FAULT : UNRELATED);
            }
        }
        for (uint256 a; a < 31; ++a) {
            stays(Fault.Order, abi.encode(orderOfEntries(a, a + 1)), NO_FAULT);
            stays(Fault.Order, abi.encode(orderOfEntries(a + 1, a)), UNRELATED);
        }
    }

    function test_receipts_out_of_order_are_refuted() public {
        seal();
        (Receipt memory a, Receipt memory b) = (receipts[0], receipts[1]);
        (receipts[0], receipts[1]) = (b, a);
        submit();
        falls(Fault.Order, abi.encode(orderOfReceipts(0, 1)), address(0));
    }

    function test_a_receipt_twice_in_one_epoch_is_refuted() public {
        receipts.push(receipts[0]);
        propose();
        uint256 i;
        while (receipts[i].id != receipts[i + 1].id) ++i;
        falls(Fault.Order, abi.encode(orderOfReceipts(i, i + 1)), address(0));
    }

    function test_a_gap_among_receipts_is_refuted() public {
        // Three receipts, of which the second stands in the third place: the one place is empty, the other is beyond.
        propose();
        vm.prank(jury);
        payouts.annul("again");
        bytes32[] memory leaves = new bytes32[](4);
        (leaves[0], leaves[1], leaves[3]) = (receiptLeaf(0), receiptLeaf(1), receiptLeaf(2));
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(totals);
        (p.cutoff, p.receiptCount, p.receiptsRoot) = (cutoff, 3, Trees.root(leaves));
        vm.prank(node);
        payouts.propose(p, e, t, "");
        OrderFault memory f;
        f.receipts = new ReceiptAt[](1);
        f.receipts[0] = receiptAt(0);
        f.receipts[0].path = Path(0, Trees.prove(leaves, 0));
        vm.expectRevert();
        payouts.challenge(Fault.Order, abi.encode(f));
        f.receipts[0] = receiptAt(2);
        f.receipts[0].path = Path(3, Trees.prove(leaves, 3));
        vm.prank(address(payouts));
        eq(verifier.judge(Fault.Order, abi.encode(f)), address(0), "a receipt beyond the count");
        f.receipts[0] = receiptAt(3);
        f.receipts[0].path = Path(2, Trees.prove(leaves, 2));
        falls(Fault.Order, abi.encode(f), address(0));
    }

    function test_a_gap_among_payouts_is_refuted() public {
        seal();
        totals.push(totals[totals.length - 1]);
        delete totals[totals.length - 2];
        // The last account stands behind an empty place.
        SumNode[] memory leaves = payoutLeaves(totals);
        leaves[totals.length - 2] = SumNode(0, 0);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(totals);
        (p.payoutRoot, t) = (Trees.root(leaves).hash, Trees.top(leaves));
        payouts.fund(p.total);
        vm.prank(node);
        payouts.propose(p, e, t, "");
        OrderFault memory f = orderOfPayouts(totals.length - 2, totals.length - 1);
        f.payouts[0].empty = true;
        for (uint256 i; i < 2; ++i) {
            f.payouts[i].path.siblings = Trees.prove(leaves, totals.length - 2 + i);
        }
        falls(Fault.Order, abi.encode(f), address(0));
    }

    function test_entries_out_of_order_are_refuted() public {
        seal();
        (FormatsLib.Entry memory a, FormatsLib.Entry memory b) = (entries[0], entries[26]);
        (entries[0], entries[26]) = (b, a);
        submit();
        falls(Fault.Order, abi.encode(orderOfEntries(0, 26)), address(0));
    }

    function test_entries_of_one_account_out_of_order_are_refuted() public {
        seal();
        uint256 i = indexOf(TREASURY);
        (FormatsLib.Entry memory a, FormatsLib.Entry memory b) = (entries[i], entries[i + 1]);
        (entries[i], entries[i + 1]) = (b, a);
        submit();
        falls(Fault.Order, abi.encode(orderOfEntries(i, i + 1)), address(0));
    }

    function test_lines_of_one_receipt_out_of_order_are_refuted() public {
        addEntry(gauge, receipts[0].id, 6, CONTRIBUTOR, first, 1);
        propose();
        uint256 i;
        while (before(entries[i], entries[i + 1])) ++i;
        falls(Fault.Order, abi.encode(orderOfEntries(i, i + 1)), address(0));
    }

    function test_payouts_out_of_order_are_refuted() public {
        seal();
        (Total memory a, Total memory b) = (totals[0], totals[1]);
        (totals[0], totals[1]) = (b, a);
        submit();
        falls(Fault.Order, abi.encode(orderOfPayouts(0, 1)), address(0));
    }

    function test_an_account_twice_among_the_payouts_is_refuted() public {
        seal();
        totals.push(totals[totals.length - 1]);
        totals[totals.length - 1].cumulative = 0;
        submit();
        falls(Fault.Order, abi.encode(orderOfPayouts(totals.length - 2, totals.length - 1)), address(0));
    }

    // --- entries --------------------------------------------------------------------------------------------------

    function test_an_entry_of_a_receipt_that_is_not_there_is_refuted() public {
        addEntry(gauge, "ghost", 0, CONTRIBUTOR, first, 5);
        propose();
        uint256 i;
        while (entries[i].receiptId != "ghost") ++i;
        falls(Fault.Entry, abi.encode(EntryFault(entryAt(i), receiptGap("ghost"))), address(0));
    }

    function test_entries_of_receipts_that_are_there_are_not_refuted() public {
        propose();
        for (uint256 i; i < entries.length; ++i) {
            bytes memory proof = abi.encode(EntryFault(entryAt(i), receiptGap(entries[i].receiptId)));
            stays(Fault.Entry, proof, NO_FAULT);
        }
        bytes memory empty = abi.encode(EntryFault(entryAt(27), receiptGap("ghost")));
        stays(Fault.Entry, empty, EMPTY_LEAF);
    }

    // --- everything -----------------------------------------------------------------------------------------------

    function test_there_is_nothing_to_judge_without_a_proposal() public {
        seal();
        bytes memory span = abi.encode(spanProof(0, 0));
        vm.prank(address(payouts));
        vm.expectRevert(IVerifier.NothingPending.selector);
        verifier.judge(Fault.Span, span);
        bytes memory total = abi.encode(totalProof(desk));
        vm.prank(address(payouts));
        vm.expectRevert(IVerifier.NothingPending.selector);
        verifier.judge(Fault.Total, total);
        bytes memory left = abi.encode(omission(wordsOf(200, 1), keyOf("node")));
        vm.prank(address(payouts));
        vm.expectRevert(IVerifier.NothingPending.selector);
        verifier.judge(Fault.Omission, left);
    }

    /// @dev Whatever bytes are sent as whatever fault, an honest proposal stands.
    function testFuzz_no_bytes_slash_an_honest_proposer(uint8 fault, bytes calldata proof) public {
        propose();
        (bool fell,) = address(payouts)
            .call(abi.encodeWithSelector(IPayouts.challenge.selector, uint256(fault % 12), abi.encode(proof)));
        ok(!fell, "an honest proposal fell");
        (fell,) = address(payouts).call(abi.encodeWithSelector(IPayouts.challenge.selector, fault % 10, proof));
        ok(!fell, "an honest proposal fell");
        eq(payouts.operators(node).stake, 100 * BOND, "nothing was slashed");
    }

    /// @dev Every proof below is true of its leaves; put together in any way they show no fault in an honest epoch.
    function testFuzz_no_mixture_of_true_proofs_slashes_an_honest_proposer(uint256 a, uint256 b, uint256 c, uint256 d)
        public
    {
        propose();
        if (a & 1 == 1) {
            next();
            propose();
        }
        uint256[4] memory r = [bound(a >> 8, 0, 3), bound(b >> 8, 0, 3), bound(c >> 8, 0, 2), bound(d >> 8, 0, 2)];
        uint256[4] memory e =
            [bound(a >> 32, 0, 31), bound(b >> 32, 0, 31), bound(c >> 32, 0, 31), bound(d >> 32, 0, 31)];
        uint256[2] memory t = [bound(a >> 64, 0, 7), bound(b >> 64, 0, 7)];
        attempt(Fault.Duplicate, abi.encode(DuplicateFault(receiptAt(r[0]), uint64(d & 3), receiptAt(r[1]))));
        attempt(Fault.Split, abi.encode(splitProof(r[2], d % 3, e[0], e[1])));
        attempt(Fault.Payee, abi.encode(PayeeFault(receiptProof(r[2]), entryAt(e[0]))));
        attempt(Fault.Order, abi.encode(orderOfReceipts(r[0], r[1])));
        attempt(Fault.Order, abi.encode(orderOfEntries(e[0], e[1])));
        attempt(Fault.Order, abi.encode(orderOfPayouts(t[0], t[1])));
        attempt(Fault.Span, abi.encode(spanProof(r[3], uint64(bound(c, 0, 400)))));
        attempt(Fault.Record, abi.encode(recordProof(r[3], d & 1)));
        attempt(Fault.Signature, abi.encode(signatureProof(r[2])));

        EntryFault memory ef;
        (ef.entry, ef.gap) = (entryAt(e[0]), gapOf(b, r));
        attempt(Fault.Entry, abi.encode(ef));
        OmissionFault memory whole = omission(receipts[r[2]].words, keyOf("node"));
        whole.gap = gapOf(c, r);
        attempt(Fault.Omission, abi.encode(whole));

        TotalFault memory tf;
        tf.account = b & 1 == 0 ? totals[t[0] % totals.length].account : address(uint160(c));
        tf.before = payoutsOf(lastTotals, t, c);
        tf.after_ = payoutsOf(totals, t, d);
        (tf.from, tf.to) = (entriesOf(e, 0, c >> 1), entriesOf(e, 2, d >> 1));
        attempt(Fault.Total, abi.encode(tf));
        (tf.from, tf.to) = (entryEdge(uint160(tf.account)), entryEdge(uint256(uint160(tf.account)) + 1));
        attempt(Fault.Total, abi.encode(tf));
        (tf.before, tf.after_) = (payoutEdge(lastTotals, tf.account), payoutEdge(totals, tf.account));
        attempt(Fault.Total, abi.encode(tf));
        eq(payouts.operators(node).stake, 100 * BOND, "nothing was slashed");
    }

    function gapOf(uint256 seed, uint256[4] memory r) private view returns (ReceiptAt[] memory gap) {
        gap = new ReceiptAt[](1 + (seed & 1));
        gap[0] = receiptAt(r[0]);
        if (gap.length == 2) gap[1] = receiptAt(seed & 2 == 0 ? r[1] : (r[0] + 1) % 4);
    }

    function entriesOf(uint256[4] memory e, uint256 from, uint256 seed) private view returns (EntryAt[] memory edge) {
        edge = new EntryAt[](1 + (seed & 1));
        edge[0] = entryAt(e[from]);
        if (edge.length == 2) edge[1] = entryAt(seed & 2 == 0 ? e[from + 1] : (e[from] + 1) % 32);
    }

    function payoutsOf(Total[] memory whole, uint256[2] memory t, uint256 seed)
        private
        view
        returns (PayoutAt[] memory edge)
    {
        if (whole.length == 0) return new PayoutAt[](0);
        edge = new PayoutAt[](1 + (seed & 1));
        edge[0] = payoutAt(whole, t[0]);
        if (edge.length == 2) edge[1] = payoutAt(whole, seed & 2 == 0 ? t[1] : (t[0] + 1) % 8);
    }

    function attempt(Fault fault, bytes memory proof) private {
        (bool fell,) = address(payouts).call(abi.encodeCall(IPayouts.challenge, (fault, proof)));
        ok(!fell, "an honest proposal fell");
    }
}
