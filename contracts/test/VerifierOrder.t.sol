// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Fault, IVerifier} from "../src/interfaces/IVerifier.sol";
import {
    DuplicateFault,
    EntryAt,
    EntryFault,
    LinesFault,
    NoteFault,
    OmissionFault,
    OrderFault,
    PayeeFault,
    PayoutAt,
    ReceiptAt,
    SumPath,
    TotalFault
} from "../src/libraries/Faults.sol";
import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {SumNode} from "../src/libraries/MerkleLib.sol";
import {Judging} from "./base/Judging.sol";
import {Trees} from "./base/Trees.sol";

/// @dev Faults of the trees themselves; and that nothing at all shows a fault in an honest epoch.
contract VerifierOrderTest is Judging {
    // --- order ----------------------------------------------------------------------------------------------------------

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
        balance(receipts[0].id);
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
        SumNode[] memory leaves = new SumNode[](4);
        (leaves[0], leaves[1], leaves[3]) = (receiptLeaf(0), receiptLeaf(1), receiptLeaf(2));
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(totals);
        (p.cutoff, p.receiptCount, p.receiptsRoot) = (cutoff, 3, Trees.root(leaves).hash);
        vm.prank(node);
        payouts.propose(p, Trees.top(leaves), e, t, "");
        OrderFault memory f;
        f.receipts = new ReceiptAt[](1);
        f.receipts[0] = receiptAt(0);
        f.receipts[0].path = SumPath(0, Trees.prove(leaves, 0));
        vm.expectRevert();
        payouts.challenge(Fault.Order, abi.encode(f));
        f.receipts[0] = receiptAt(2);
        f.receipts[0].path = SumPath(3, Trees.prove(leaves, 3));
        vm.prank(address(payouts));
        eq(verifier.judge(Fault.Order, abi.encode(f)), address(0), "a receipt beyond the count");
        f.receipts[0] = receiptAt(3);
        f.receipts[0].path = SumPath(2, Trees.prove(leaves, 2));
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
        payouts.propose(p, e, e, t, "");
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
        balance(receipts[0].id);
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

    // --- entries --------------------------------------------------------------------------------------------------------

    function test_an_entry_of_a_receipt_that_is_not_there_is_refuted() public {
        addEntry(gauge, "ghost", 0, CONTRIBUTOR, first, 5);
        balance("ghost");
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

    // --- everything -----------------------------------------------------------------------------------------------------

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
            .call(abi.encodeWithSelector(IPayouts.challenge.selector, uint256(fault % 14), abi.encode(proof)));
        ok(!fell, "an honest proposal fell");
        (fell,) = address(payouts).call(abi.encodeWithSelector(IPayouts.challenge.selector, fault % 12, proof));
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
        attemptLines(r[2], r[3], e, d);

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

    /// @dev Lines and notes of receipts `i` and `j`, mixed.
    function attemptLines(uint256 i, uint256 j, uint256[4] memory e, uint256 seed) private {
        FormatsLib.Entry[] memory lines = linesOf(receipts[i].id);
        LinesFault memory lf = topProof(i, lines);
        attempt(Fault.Lines, abi.encode(lf));
        lf.leaves = new EntryAt[](1 + (seed & 1));
        lf.leaves[0] = seed & 2 == 0 ? entryAt(e[0]) : entryOf(lines, e[0] % 16);
        if (lf.leaves.length == 2) lf.leaves[1] = seed & 4 == 0 ? entryAt(e[1]) : entryOf(lines, e[1] % 16);
        attempt(Fault.Lines, abi.encode(lf));
        lf.note = shownNote(j);
        attempt(Fault.Lines, abi.encode(lf));
        NoteFault memory nf = NoteFault(receiptAt(i), notes[receipts[j].id], "");
        attempt(Fault.Note, abi.encode(nf));
        nf.signature = signedNote(nf.note, keyOf("node"));
        // A note that the node did sign, of no receipt at all where `j` has none.
        attempt(Fault.Note, abi.encode(nf));
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
