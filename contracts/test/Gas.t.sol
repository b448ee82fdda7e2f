// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IContributions} from "../src/interfaces/IContributions.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Fault, IVerifier} from "../src/interfaces/IVerifier.sol";
import {ChunkAt, EntryFault, LinesFault, Path, SpanFault, SumPath} from "../src/libraries/Faults.sol";
import {FormatsLib} from "../src/libraries/FormatsLib.sol";
import {SumNode} from "../src/libraries/MerkleLib.sol";
import {RECEIPT_WORDS, ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Trees} from "./base/Trees.sol";
import {Epochs} from "./base/Epochs.sol";
import {Judging} from "./base/Judging.sol";
import {World} from "./base/World.sol";

/// @dev Whole transactions (21,000 and calldata included, refunds taken off), each with storage as it is after the first
/// time. The figures are kept in `snapshots/`; the bars are those of the project.
/// forge-config: default.isolate = true
contract GasTest is World {
    function bar(string memory name, uint256 most) private {
        uint256 used = vm.snapshotGasLastCall(name);
        ok(used <= most, string.concat(name, " takes ", vm.toString(used)));
    }

    function barEach(string memory name, uint256 each, uint256 most) private {
        uint256 used = vm.snapshotGasLastCall(name) / each;
        ok(used <= most, string.concat(name, " takes ", vm.toString(used), " each"));
    }

    function proposeOnly(Total[] memory totals) private {
        uint128 sum;
        for (uint256 i; i < totals.length; ++i) {
            sum += totals[i].cumulative;
        }
        payouts.fund(sum - payouts.funded());
        propose(totals);
    }

    function test_an_epoch_costs_the_same_whatever_its_number_of_payees() public {
        bondNode();
        settle(many(2, 1 ether));
        settle(many(2, 2 ether));
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = (fundedPlain(many(1000, 3 ether)));
        vm.prank(node);
        payouts.propose(p, e, e, t, "sha256:0000000000000000000000000000000000000000000000000000000000000000");
        bar("propose", 115_000);
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
        bar("finalize", 48_000);
    }

    function fundedPlain(Total[] memory totals)
        private
        returns (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t)
    {
        (p, e, t) = plain(totals);
        payouts.fund(p.total);
    }

    /// @dev The worst case: 64 of 1,024 accounts, none near another. Pays them, and settles as much again, so that claims
    /// find used slots. The siblings of the 64 leaves four levels up are random nodes; building the whole tree would take a
    /// billion gas.
    function test_sixty_four_claims_with_one_proof() public {
        for (uint128 round = 1; round <= 2; ++round) {
            bytes memory leaves = "";
            bytes[4] memory siblings;
            SumNode[] memory level = new SumNode[](64);
            for (uint256 i; i < 64; ++i) {
                (bytes memory leaf, SumNode memory node_) = payee(round, i * 16 + 5);
                leaves = bytes.concat(leaves, leaf);
                for (uint256 h; h < 4; ++h) {
                    SumNode memory sibling = SumNode(keccak256(abi.encode(round, i, h)), 0.123_456_789 ether);
                    siblings[h] = bytes.concat(siblings[h], Trees.packed(sibling));
                    node_ = (5 >> h) & 1 == 0 ? Trees.node(node_, sibling) : Trees.node(sibling, node_);
                }
                level[i] = node_;
            }
            accept(Trees.root(level), Trees.top(level));
            payouts.claimMulti(leaves, 10, bytes.concat(siblings[0], siblings[1], siblings[2], siblings[3]));
        }
        barEach("64 scattered claims with one proof", 64, 22_000);
    }

    /// @dev A relayer that sweeps the tree: neighbours need few siblings.
    function test_sixty_four_neighbours_with_one_proof() public {
        for (uint128 round = 1; round <= 2; ++round) {
            bytes memory leaves = "";
            bytes memory proof = "";
            SumNode[] memory level = new SumNode[](64);
            for (uint256 i; i < 64; ++i) {
                bytes memory leaf;
                (leaf, level[i]) = payee(round, i);
                leaves = bytes.concat(leaves, leaf);
            }
            SumNode memory node_ = Trees.root(level);
            SumNode[2] memory top;
            for (uint256 h; h < 4; ++h) {
                top = [node_, SumNode(keccak256(abi.encode(round, h)), 123.456_789 ether)];
                proof = bytes.concat(proof, Trees.packed(top[1]));
                node_ = Trees.node(top[0], top[1]);
            }
            accept(node_, top);
            payouts.claimMulti(leaves, 10, proof);
        }
        barEach("64 neighbours' claims with one proof", 64, 19_000);
    }

    /// @dev The leaf at `index` of the tree of `round`, packed and as a node; accounts and totals have as many bytes that
    /// are not zero as real ones.
    function payee(uint128 round, uint256 index) private view returns (bytes memory leaf, SumNode memory node_) {
        address account = address(uint160(uint256(keccak256(abi.encode(index)))));
        uint128 cumulative = round * uint128(1.234_567_890_123_456_789 ether + index * 1e15);
        leaf = packed(index, account, cumulative);
        node_ = SumNode(FormatsLib.payoutLeaf(address(payouts), account, cumulative), cumulative);
    }

    /// @dev Makes `root` the finalized payout root.
    function accept(SumNode memory root, SumNode[2] memory top) private {
        (,, uint128 last) = payouts.head();
        (IPayouts.Proposal memory p, SumNode[2] memory e,) = plain(two(address(1), last, address(2), 1));
        (p.payoutRoot, p.total, p.entriesTotal) = (root.hash, root.sum, root.sum - last);
        e[0].sum = p.entriesTotal;
        (p.receiptsRoot, p.entriesRoot) = (Trees.node(e[0], e[1]).hash, Trees.node(e[0], e[1]).hash);
        payouts.fund(p.entriesTotal);
        if (last == 0) bondNode();
        vm.prank(node);
        payouts.propose(p, e, e, top, "");
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
    }

    function test_a_claim_at_depth_10() public {
        claimAtDepth(10);
        bar("claim at depth 10", 62_000);
    }

    function test_a_claim_at_depth_20() public {
        claimAtDepth(20);
        bar("claim at depth 20", 75_000);
    }

    /// @dev All but one path of the tree are random nodes.
    function claimAtDepth(uint256 depth) private {
        address account = address(0x1234);
        for (uint128 round = 1; round <= 2; ++round) {
            uint128 cumulative = round * 3.123_456_789 ether;
            SumNode[] memory siblings = new SumNode[](depth);
            SumNode memory node_ = payoutLeaves(two(account, cumulative, address(0x9999), 1))[0];
            SumNode[2] memory top;
            for (uint256 i; i < depth; ++i) {
                siblings[i] = SumNode(keccak256(abi.encode(round, i)), round * 1.234_567_89 ether + uint128(i));
                top = [node_, siblings[i]];
                node_ = Trees.node(top[0], top[1]);
            }
            accept(node_, top);
            payouts.claim(account, cumulative, 0, siblings);
        }
    }

    function test_redeeming_a_voucher() public {
        IChannels.Config memory c = config("salt");
        vm.prank(payer);
        channels.deposit(c, 100 ether);
        channels.redeem(voucher(c, 1 ether));
        channels.redeem(voucher(c, 2.5 ether));
        bar("redeem a voucher", 60_000);
    }

    function test_redeeming_sixty_vouchers() public {
        IChannels.Voucher[] memory list = new IChannels.Voucher[](60);
        for (uint128 round = 1; round <= 2; ++round) {
            for (uint256 i; i < 60; ++i) {
                IChannels.Config memory c = config(keccak256(abi.encode(i)));
                vm.prank(payer);
                if (round == 1) channels.deposit(c, 100 ether);
                vm.stopPrank();
                list[i] = voucher(c, round * 1.234_567_8 ether);
            }
            channels.redeemMany(list);
        }
        barEach("60 vouchers in one batch", 60, 25_000);
    }

    function test_registering_a_batch() public {
        uint64 net = datanets.create("terms", "");
        contributions.register(prepared("river-gauge", net, keccak256("one"), 1000));
        IContributions.Registration memory r = prepared("river-gauge", net, keccak256("two"), 1_000_000);
        r.salt = keccak256("salt");
        prepare(r, keyOf("river-gauge"));
        contributions.register(r);
        bar("register a batch", 105_000);
    }

    function test_committing_to_a_batch() public {
        contributions.commit(keccak256("commitment"));
        bar("commit to a batch", 46_000);
    }

    function test_depositing() public {
        IChannels.Config memory c = config("salt");
        vm.prank(payer);
        channels.deposit(c, 1 ether);
        vm.prank(payer);
        channels.deposit(c, 1 ether);
        bar("deposit", 60_000);
    }

    function test_publishing_a_version() public {
        uint64 net = datanets.create("terms", "");
        datanets.publish(net, 1, keccak256("one"), 10);
        datanets.publish(net, 2, keccak256("two"), 20);
        bar("publish a version", 65_000);
    }
}

/// @dev A false span in a record 26 levels below the root of its batch (2^20 records of up to 2^6 chunks), in an epoch of
/// 2^10 receipts. The neighbours on every path are random nodes.
/// forge-config: default.isolate = true
contract SpanGasTest is Epochs {
    function climb(bytes32 leaf, uint256 index, uint256 depth) private pure returns (bytes32 root, Path memory path) {
        (root, path) = (leaf, Path(index, new bytes32[](depth)));
        for (uint256 i; i < depth; ++i) {
            bytes32 sibling = keccak256(abi.encode(leaf, i));
            path.siblings[i] = sibling;
            root = index >> i & 1 == 0 ? Trees.node(root, sibling) : Trees.node(sibling, root);
        }
    }

    /// @dev As `climb` in a sum tree; returns the two nodes under its root.
    function climbSum(SumNode memory node_, uint256 index, uint256 depth)
        private
        pure
        returns (SumNode[2] memory top, SumPath memory path)
    {
        path = SumPath(index, new SumNode[](depth));
        for (uint256 i; i < depth; ++i) {
            // Prices of a tenth of OPEN and more, doubling with each level.
            SumNode memory sibling = SumNode(keccak256(abi.encode(node_.hash, i)), uint128(0.123_456_789 ether << i));
            path.siblings[i] = sibling;
            top = index >> i & 1 == 0 ? [node_, sibling] : [sibling, node_];
            node_ = Trees.node(top[0], top[1]);
        }
    }

    function test_refuting_a_span_26_levels_deep() public {
        SpanFault memory f;
        Path memory path;
        bytes memory truth = textOf("truth", 256);
        bytes memory lie = textOf("lie", 256);
        f.record = ChunkAt(false, keccak256("salt"), truth, path);
        (f.contentRoot, f.record.path) = climb(FormatsLib.chunkLeaf(f.record.salt, 39, keccak256(truth)), 39, 6);
        f.length = 16_300;
        uint256 id = contributions.contributionOf(gauge, 1);
        bytes32 root = FormatsLib.recordLeaf(net, id, 654_321, f.contentRoot, f.length);
        (root, path) = climb(root, 654_321, 20);
        f.recordSiblings = path.siblings;
        batch = prepared("river-gauge", net, root, 1_000_000);
        contributions.register(batch);
        f.batch = batchOf(batch);

        f.output = ChunkAt(false, 0, lie, path);
        bytes32[RECEIPT_WORDS] memory words = wordsOf(0, 1);
        (words[ReceiptLib.OUTPUT], f.output.path) = climb(FormatsLib.chunkLeaf(0, 2, keccak256(lie)), 2, 2);
        f.span = FormatsLib.Span(net, 1, id, 654_321, 9990, 300, 512, 9000);
        f.offset = 17;
        (words[ReceiptLib.SPANS_ROOT], f.spanPath) = climb(FormatsLib.spanLeaf(f.span), 5, 3);
        f.receipt.words = words;
        f.receipt.signatureHash = keccak256(signed(words, keyOf("node")));
        bytes32 leaf =
            FormatsLib.receiptLeaf(address(payouts), idOf(words), structHashOf(words), f.receipt.signatureHash, 0);
        SumNode[2] memory r;
        (r, f.receipt.path) = climbSum(SumNode(leaf, PRICE), 777, 10);

        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) =
            plain(two(gauge, r[0].sum, desk, r[1].sum));
        payouts.fund(p.total);
        p.receiptsRoot = Trees.node(r[0], r[1]).hash;
        vm.prank(node);
        payouts.propose(p, r, e, t, "");
        measure(f);
    }

    function measure(SpanFault memory f) private {
        // The proof alone, as the project's bar counts it, and the whole challenge with the slash it pays out.
        bytes memory call = abi.encodeCall(verifier.spanFault, (payouts, f));
        verifier.spanFault(payouts, f);
        // A call that only reads is not a transaction here, so what a transaction adds is added.
        uint256 used = 21_000 + vm.lastCallGas().gasTotalUsed;
        for (uint256 i; i < call.length; ++i) {
            used += call[i] == 0 ? 4 : 16;
        }
        vm.snapshotValue("GasTest", "prove a span false, 26 levels deep", used);
        ok(used <= 130_000, vm.toString(used));
        payouts.challenge(Fault.Span, abi.encode(f));
        used = vm.snapshotGasLastCall("GasTest", "challenge with it, challenger paid");
        ok(used <= 140_000, vm.toString(used));
        give(insurance, 1);
        give(payouts.BURN(), 1);
        payouts.sweep();
        vm.snapshotGasLastCall("GasTest", "sweep what challenges left");
    }
}

/// @dev What a proof of each other fault takes, in an epoch of three receipts and 27 entries: 21,000, calldata and judging. An
/// honest epoch is judged, so that each proof is refused at its end.
/// forge-config: default.isolate = true
contract FaultGasTest is Judging {
    function cost(string memory what, uint256 most, Fault fault, bytes memory proof) private {
        bytes memory call = abi.encodeCall(IVerifier.judge, (fault, proof));
        vm.prank(address(payouts));
        (bool found, bytes memory reason) = address(verifier).staticcall(call);
        uint256 used = 21_000 + vm.lastCallGas().gasTotalUsed;
        ok(!found && bytes4(reason) == NO_FAULT, what);
        for (uint256 i; i < call.length; ++i) {
            used += call[i] == 0 ? 4 : 16;
        }
        vm.snapshotValue("GasTest", string.concat("judge: ", what), used);
        ok(used <= most, string.concat(what, " takes ", vm.toString(used)));
    }

    function test_judging_each_fault() public {
        propose();
        (uint256 t, uint256 c) = (indexOf(TREASURY), indexOf(CONTRIBUTOR));
        cost("shares of a receipt", 70_000, Fault.Split, abi.encode(splitProof(0, 0, 0, 0)));
        cost("a line's amount", 95_000, Fault.Split, abi.encode(splitProof(receiptOf(t), 1, t, 0)));
        cost("a line's payee", 85_000, Fault.Payee, abi.encode(payeeProof(c)));
        cost("a signature", 70_000, Fault.Signature, abi.encode(signatureProof(0)));
        cost("an omission", 72_000, Fault.Omission, abi.encode(omission(receipts[0].words, keyOf("node"))));
        cost("order of receipts", 60_000, Fault.Order, abi.encode(orderOfReceipts(0, 1)));
        cost("order of entries", 70_000, Fault.Order, abi.encode(orderOfEntries(0, 1)));
        cost("a total", 105_000, Fault.Total, abi.encode(totalProof(desk)));
        bytes memory entry = abi.encode(EntryFault(entryAt(0), receiptGap(entries[0].receiptId)));
        cost("an entry's receipt", 62_000, Fault.Entry, entry);
        cost("a record", 72_000, Fault.Record, abi.encode(recordProof(0, 1)));
        LinesFault memory lines = lineProof(c, linesOf(entries[c].receiptId), entries[c].line);
        cost("an entry's line", 90_000, Fault.Lines, abi.encode(lines));
        cost("the sum of lines", 60_000, Fault.Lines, abi.encode(topProof(0, linesOf(receipts[0].id))));
        uint256 i;
        while (receipts[i].noteHash == 0) ++i;
        cost("a note", 55_000, Fault.Note, abi.encode(noteProof(i)));
    }

    function test_registering_a_model() public {
        models.register(newModel(), "ipfs://card");
        models.register(newModel(), "ipfs://card");
        uint256 used = vm.snapshotGasLastCall("GasTest", "register a model");
        ok(used <= 175_000, vm.toString(used));
    }
}
