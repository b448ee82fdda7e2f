// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Fault} from "../src/interfaces/IVerifier.sol";
import {
    ChunkAt,
    DuplicateFault,
    OmissionFault,
    Path,
    ReceiptAt,
    RecordFault,
    SignatureFault,
    SpanFault
} from "../src/libraries/Faults.sol";
import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {RECEIPT_WORDS, ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Judging} from "./base/Judging.sol";
import {Trees} from "./base/Trees.sol";

/// @dev Faults of receipts and of the spans in them.
contract VerifierReceiptsTest is Judging {
    // --- spans ----------------------------------------------------------------------------------------------------------

    function testFuzz_a_true_span_is_not_refuted_at_any_byte(uint64 offset) public {
        propose();
        stays(Fault.Span, abi.encode(spanProof(0, uint64(bound(offset, 0, 299)))), NO_FAULT);
    }

    function testFuzz_a_false_span_is_refuted_at_the_byte_that_differs(uint64 offset) public {
        offset = uint64(bound(offset, 0, 299));
        output[50 + offset] = "#";
        outputLeaves = chunksOf(output);
        for (uint256 i; i < 3; ++i) {
            receipts[i].words[ReceiptLib.OUTPUT] = Trees.root(outputLeaves);
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        propose();
        stays(Fault.Span, abi.encode(spanProof(0, offset == 0 ? 1 : offset - 1)), NO_FAULT);
        falls(Fault.Span, abi.encode(spanProof(0, offset)), address(0));
    }

    function relocate(uint64 recordOffset, uint64 length, uint64 outputOffset) private {
        FormatsLib.Span storage s = spans[0];
        (s.recordOffset, s.length, s.outputOffset) = (recordOffset, length, outputOffset);
        rewrite(ReceiptLib.SPANS_ROOT, uint256(Trees.root(spanLeaves())));
        propose();
    }

    function respanned() private view returns (uint256 i) {
        while (receipts[i].words[ReceiptLib.SPANS_ROOT] != Trees.root(spanLeaves())) ++i;
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
        rewrite(ReceiptLib.OUTPUT, uint256(Trees.root(outputLeaves)));
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
        rewrite(ReceiptLib.SPANS_ROOT, uint256(Trees.root(spanLeaves())));
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

    // --- records --------------------------------------------------------------------------------------------------------

    function respan() private {
        rewrite(ReceiptLib.SPANS_ROOT, uint256(Trees.root(spanLeaves())));
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

    // --- duplicates -----------------------------------------------------------------------------------------------------

    function test_a_receipt_of_an_earlier_epoch_is_refuted() public {
        propose();
        ReceiptAt memory earlier = receiptAt(1);
        Receipt memory again = receipts[1];
        next();
        receipts.push(again);
        addEntries(again.id, PRICE);
        propose();
        falls(Fault.Duplicate, abi.encode(duplicate(placeOf(again.id), 1, earlier)), address(0));
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

    // --- signatures -----------------------------------------------------------------------------------------------------

    function test_a_receipt_its_node_signed_is_not_refuted() public {
        propose();
        for (uint256 i; i < 3; ++i) {
            stays(Fault.Signature, abi.encode(signatureProof(i)), NO_FAULT);
        }
        SignatureFault memory f = signatureProof(0);
        f.signature = signed(receipts[0].words, keyOf("other"));
        stays(Fault.Signature, abi.encode(f), NOT_IN_TREE);
    }

    /// @dev The first receipt, as it is filed now, is refuted.
    function misfiled() private {
        bytes32 id = receipts[0].id;
        propose();
        falls(Fault.Signature, abi.encode(signatureProof(placeOf(id))), address(0));
    }

    function test_a_receipt_signed_by_another_key_is_refuted() public {
        receipts[0].signature = signed(receipts[0].words, keyOf("other"));
        misfiled();
    }

    function test_an_unsigned_receipt_is_refuted() public {
        receipts[0].signature = "";
        misfiled();
    }

    function test_a_receipt_of_another_operator_is_refuted() public {
        payouts.join(addressOf("other"), BOND);
        bytes32[RECEIPT_WORDS] memory words = receipts[0].words;
        words[ReceiptLib.NODE] = bytes32(uint256(uint160(addressOf("other"))));
        refile(words, keyOf("other"));
        misfiled();
    }

    function test_a_receipt_whose_node_is_more_than_an_address_is_refuted() public {
        bytes32[RECEIPT_WORDS] memory words = receipts[0].words;
        words[ReceiptLib.NODE] = bytes32(uint256(uint160(node)) | 1 << 160);
        refile(words, keyOf("node"));
        misfiled();
    }

    function test_a_receipt_filed_under_another_id_is_refuted() public {
        receipts[0].id = "id";
        misfiled();
    }

    function test_a_receipt_filed_at_another_price_is_refuted() public {
        receipts[0].price -= 1;
        balance(receipts[0].id);
        misfiled();
    }

    function test_a_price_beyond_128_bits_is_refuted() public {
        rewrite(ReceiptLib.PRICE, uint256(PRICE) | 1 << 128);
        misfiled();
    }

    function test_receipts_of_unknown_versions_kinds_and_credit_states_are_refuted() public {
        uint256[3] memory words = [ReceiptLib.VERSION, ReceiptLib.KIND, ReceiptLib.CREDIT_STATE];
        uint256[3] memory least = [uint256(2), 0, 0];
        uint256[3] memory most = [uint256(2), 3, 2];
        bytes32 id = receipts[0].id;
        for (uint256 i; i < 3; ++i) {
            uint256 place = placeOf(id);
            bytes32 right = receipts[place].words[words[i]];
            for (uint256 value = 0; value < 6; ++value) {
                receipts[place].words[words[i]] = bytes32(value);
                receipts[place].signature = signed(receipts[place].words, keyOf("node"));
                propose();
                bytes memory proof = abi.encode(signatureProof(placeOf(id)));
                if (value < least[i] || value > most[i]) {
                    falls(Fault.Signature, proof, address(0));
                } else {
                    stays(Fault.Signature, proof, NO_FAULT);
                    vm.prank(jury);
                    payouts.annul("again");
                }
            }
            receipts[place].words[words[i]] = right;
        }
    }

    // --- omissions ------------------------------------------------------------------------------------------------------

    function testFuzz_a_receipt_the_proposer_signed_and_left_out_is_refuted(uint64 channel, uint64 time) public {
        propose();
        bytes32[RECEIPT_WORDS] memory words =
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
        bytes32[RECEIPT_WORDS] memory words = wordsOf(200, 2000);
        words[ReceiptLib.NODE] = bytes32(uint256(uint160(addressOf("other"))));
        stays(Fault.Omission, abi.encode(omission(words, keyOf("other"))), UNRELATED);
        falls(Fault.Omission, abi.encode(omission(wordsOf(200, 1001), keyOf("node"))), address(0));
    }

    /// @dev The caller holds one receipt, the books another one with the same channel and nonce.
    function test_another_receipt_under_the_same_id_is_refuted() public {
        bytes32[RECEIPT_WORDS] memory shown = receipts[0].words;
        rewrite(ReceiptLib.OUTPUT, uint256(keccak256("another answer")));
        bytes32 id = receipts[0].id;
        propose();
        uint256 i = placeOf(id);
        OmissionFault memory f = OmissionFault(shown, signed(shown, keyOf("node")), new ReceiptAt[](1));
        f.gap[0] = receiptAt(i == 0 ? 1 : 0);
        stays(Fault.Omission, abi.encode(f), NOT_ENCLOSING);
        f.gap[0] = receiptAt(i);
        f.gap[0].structHash = structHashOf(shown);
        stays(Fault.Omission, abi.encode(f), NOT_IN_TREE);
        f.gap[0] = receiptAt(i);
        falls(Fault.Omission, abi.encode(f), address(0));
    }

    function test_a_receipt_is_named_by_its_node() public {
        // Another operator's receipt for the same channel and nonce, in an epoch of its own, takes no id of the node's.
        address other = addressOf("other");
        payouts.join(other, BOND);
        bytes32[RECEIPT_WORDS] memory words = receipts[0].words;
        words[ReceiptLib.NODE] = bytes32(uint256(uint160(other)));
        bytes32 id = receipts[0].id;
        ok(idOf(words) != id, "another id");
        (Receipt[3] memory honest, FormatsLib.Entry[] memory lines) = ([receipts[0], receipts[1], receipts[2]], entries);
        delete receipts;
        delete entries;
        words[ReceiptLib.PRICE] = bytes32(uint256(2));
        addEntry(other, idOf(words), 0, NODE, 0, 1);
        addEntry(insurance, idOf(words), 1, INSURANCE, 0, 1);
        file(words, keyOf("other"));
        proposer = other;
        propose();
        ReceiptAt memory squatted = receiptAt(0);
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
        for (uint256 i; i < totals.length; ++i) {
            lastTotals.push(totals[i]);
        }
        delete receipts;
        delete entries;
        for (uint256 i; i < 3; ++i) {
            honest[i].words[ReceiptLib.TIME] = bytes32(1001 + i);
            file(honest[i].words, keyOf("node"));
        }
        for (uint256 i; i < lines.length; ++i) {
            entries.push(lines[i]);
        }
        (proposer, cutoff) = (node, 2000);
        propose();
        stays(Fault.Duplicate, abi.encode(duplicate(placeOf(id), 1, squatted)), UNRELATED);
        squatted.id = id;
        stays(Fault.Duplicate, abi.encode(duplicate(placeOf(id), 1, squatted)), NOT_IN_TREE);
    }
}
