// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IContributions} from "../../src/interfaces/IContributions.sol";
import {IModels} from "../../src/interfaces/IModels.sol";
import {IPayouts} from "../../src/interfaces/IPayouts.sol";
import {Fault, IVerifier} from "../../src/interfaces/IVerifier.sol";
import {
    ChunkAt,
    EntryAt,
    Path,
    PayoutAt,
    ReceiptAt,
    ReceiptProof,
    SpanFault,
    SumPath
} from "../../src/libraries/Faults.sol";
import {FormatsLib} from "../../src/libraries/FormatsLib.sol";
import {SumNode} from "../../src/libraries/MerkleLib.sol";
import {ReceiptLib} from "../../src/libraries/ReceiptLib.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev An honest epoch of three receipts over two contributions, and the proofs of each of its leaves. Tests change one
/// thing in it, seal it again and propose.
abstract contract Epochs is World {
    uint8 internal constant TREASURY = 0;
    uint8 internal constant VALIDATION = 1;
    uint8 internal constant INSURANCE = 2;
    uint8 internal constant OWNER = 3;
    uint8 internal constant NODE = 4;
    uint8 internal constant STAKERS = 5;
    uint8 internal constant CONTRIBUTOR = 6;
    uint8 internal constant PARENT = 7;

    struct Receipt {
        bytes32 id;
        bytes32[29] words;
        bytes signature;
    }

    Receipt[] internal receipts;
    FormatsLib.Entry[] internal entries;
    Total[] internal totals;
    Total[] internal lastTotals;
    uint64 internal cutoff;

    address internal gauge = addressOf("river-gauge");
    address internal desk = addressOf("night-desk");
    address internal maker = addressOf("model-maker");
    uint64 internal net;
    uint256 internal first;
    uint256 internal second;
    uint64 internal model;
    bytes internal text;
    bytes internal output;
    IContributions.Registration internal batch;
    bytes32[] internal recordLeaves;
    bytes32[] internal chunkLeaves;
    bytes32[] internal outputLeaves;
    FormatsLib.Span[] internal spans;

    function setUp() public virtual override {
        super.setUp();
        give(node, 100_000 ether);
        payouts.join(node, 100 * BOND);
        net = datanets.create(keccak256("CC-BY-4.0"), "");
        text = textOf("record", 600);
        chunkLeaves = chunksOf(text);
        first = contributions.contributionOf(gauge, 0);
        recordLeaves.push(FormatsLib.recordLeaf(net, first, 0, Trees.root(chunkLeaves), 600));
        recordLeaves.push(FormatsLib.recordLeaf(net, first, 1, Trees.root(chunksOf("short")), 5));
        batch = prepared("river-gauge", net, Trees.root(recordLeaves), 2);
        contributions.register(batch);
        second = contributions.register(prepared("night-desk", net, "root", 7));
        bytes32[] memory leaves = new bytes32[](2);
        leaves[0] = FormatsLib.contributionLeaf(net, first, batch.root, 2);
        leaves[1] = FormatsLib.contributionLeaf(net, second, "root", 7);
        datanets.publish(net, 1, Trees.root(leaves), 9);

        vm.startPrank(maker);
        IModels.NewModel memory m = newModel();
        m.parent = models.register(m, "");
        m.parentBps = 1000;
        model = models.register(m, "");
        vm.stopPrank();
        vm.roll(block.number + 100);

        // The answer holds bytes 100 to 400 of the record from its byte 50 on.
        output = bytes.concat(textOf("before", 50), slice(text, 100, 300), textOf("after", 150));
        outputLeaves = chunksOf(output);
        spans.push(FormatsLib.Span(net, 1, first, 0, 100, 300, 50, 9000));
        spans.push(FormatsLib.Span(net, 1, first, 1, 0, 3, 460, 1000));
        cutoff = 1000;
        for (uint64 i; i < 3; ++i) {
            addReceipt(i, i + 1);
        }
    }

    // --- making -----------------------------------------------------------------------------------------------------

    function textOf(string memory seed, uint256 length) internal pure returns (bytes memory bytes_) {
        bytes_ = new bytes(length);
        for (uint256 i; i < length; ++i) {
            bytes_[i] = bytes1(uint8(97 + uint256(keccak256(abi.encode(seed, i))) % 26));
        }
    }

    function slice(bytes memory from, uint256 start, uint256 length) internal pure returns (bytes memory part) {
        part = new bytes(length);
        for (uint256 i; i < length; ++i) {
            part[i] = from[start + i];
        }
    }

    function chunk(bytes memory whole, uint256 index) internal pure returns (bytes memory) {
        uint256 start = index * 256;
        return slice(whole, start, whole.length - start < 256 ? whole.length - start : 256);
    }

    function chunksOf(bytes memory whole) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[]((whole.length + 255) / 256);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = FormatsLib.chunkLeaf(0, i, keccak256(chunk(whole, i)));
        }
    }

    function spanLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](spans.length);
        for (uint256 i; i < spans.length; ++i) {
            leaves[i] = FormatsLib.spanLeaf(spans[i]);
        }
    }

    function wordsOf(uint64 channel, uint64 time) internal view returns (bytes32[29] memory w) {
        for (uint256 i; i < 29; ++i) {
            w[i] = keccak256(abi.encode("word", i));
        }
        w[0] = bytes32(uint256(uint160(node)));
        (w[1], w[2], w[3]) = (keccak256(abi.encode("channel", channel)), bytes32(uint256(1)), bytes32(uint256(9 ether)));
        w[5] = bytes32(uint256(model));
        w[11] = bytes32(uint256(42));
        (w[14], w[15]) = (bytes32(uint256(57)), bytes32(uint256(128)));
        (w[24], w[25], w[26]) = (bytes32(uint256(910_000)), bytes32(uint256(1_000_000)), bytes32(0));
        w[13] = Trees.root(outputLeaves);
        w[16] = bytes32(uint256(1_000_000_007));
        (w[17], w[18]) = (bytes32(uint256(1000)), bytes32(uint256(2000)));
        (w[19], w[20]) = (bytes32(uint256(2000)), bytes32(uint256(5000)));
        w[22] = Trees.root(spanLeaves());
        w[27] = bytes32(block.number - 50);
        w[28] = bytes32(uint256(time));
    }

    function idOf(bytes32[29] memory w) internal pure returns (bytes32) {
        return keccak256(abi.encode(w[1], w[2]));
    }

    function structHashOf(bytes32[29] memory w) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(ReceiptLib.TYPEHASH, w));
    }

    function signed(bytes32[29] memory w, uint256 key) internal view returns (bytes memory) {
        return sign(key, keccak256(abi.encodePacked(hex"1901", payouts.domainSeparator(), structHashOf(w))));
    }

    function addReceipt(uint64 channel, uint64 time) internal {
        bytes32[29] memory w = wordsOf(channel, time);
        receipts.push(Receipt(idOf(w), w, signed(w, keyOf("node"))));
        addEntries(idOf(w), 1_000_000_007);
    }

    /// @dev The lines of a price under 10 % platform, 20 % model, 20 % stakers and a parent that takes 10 % of the owner's.
    function addEntries(bytes32 id, uint128 price) internal {
        uint128 platform = price / 10;
        uint128 model_ = price / 5;
        uint128 stakers = price / 5;
        uint128 contrib = price - platform - model_ - stakers;
        uint128 toNode = model_ * 4 / 10;
        uint128 parent = (model_ - toNode) / 10;
        addEntry(treasury, id, 0, TREASURY, 0, platform * 6 / 10);
        addEntry(validation, id, 1, VALIDATION, 0, platform * 2 / 10);
        addEntry(maker, id, 3, OWNER, 0, model_ - toNode - parent);
        addEntry(node, id, 4, NODE, 0, toNode);
        addEntry(insurance, id, 5, STAKERS, 0, stakers);
        addEntry(gauge, id, 6, CONTRIBUTOR, first, contrib * 3 / 5);
        addEntry(desk, id, 7, CONTRIBUTOR, second, contrib * 2 / 5);
        addEntry(maker, id, 8, PARENT, 0, parent);
        uint128 rest = platform - platform * 6 / 10 - platform * 2 / 10 + contrib - contrib * 3 / 5 - contrib * 2 / 5;
        addEntry(insurance, id, 2, INSURANCE, 0, rest);
    }

    function addEntry(address account, bytes32 id, uint32 line, uint8 role, uint256 contribution, uint128 amount)
        internal
    {
        entries.push(FormatsLib.Entry(account, id, line, role, contribution, amount));
    }

    // --- sealing and proposing --------------------------------------------------------------------------------------

    /// @dev Puts everything in order and adds the entries to the totals.
    function seal() internal {
        for (uint256 i; i < receipts.length; ++i) {
            for (uint256 j = i; j > 0 && receipts[j].id < receipts[j - 1].id; --j) {
                Receipt memory swap = receipts[j];
                receipts[j] = receipts[j - 1];
                receipts[j - 1] = swap;
            }
        }
        for (uint256 i; i < entries.length; ++i) {
            for (uint256 j = i; j > 0 && before(entries[j], entries[j - 1]); --j) {
                FormatsLib.Entry memory swap = entries[j];
                entries[j] = entries[j - 1];
                entries[j - 1] = swap;
            }
        }
        delete totals;
        for (uint256 i; i < lastTotals.length; ++i) {
            totals.push(lastTotals[i]);
        }
        for (uint256 i; i < entries.length; ++i) {
            addTo(entries[i].account, entries[i].amount);
        }
    }

    function before(FormatsLib.Entry memory a, FormatsLib.Entry memory b) internal pure returns (bool) {
        if (a.account != b.account) return a.account < b.account;
        if (a.receiptId != b.receiptId) return a.receiptId < b.receiptId;
        return a.line < b.line;
    }

    function addTo(address account, uint128 amount) internal {
        for (uint256 i; i < totals.length; ++i) {
            if (totals[i].account == account) {
                totals[i].cumulative += amount;
                return;
            }
        }
        totals.push(Total(account, amount));
        for (uint256 j = totals.length - 1; j > 0 && totals[j].account < totals[j - 1].account; --j) {
            (totals[j - 1].account, totals[j].account) = (totals[j].account, totals[j - 1].account);
            (totals[j - 1].cumulative, totals[j].cumulative) = (totals[j].cumulative, totals[j - 1].cumulative);
        }
    }

    function receiptLeaf(uint256 i) internal view returns (bytes32) {
        Receipt memory r = receipts[i];
        return FormatsLib.receiptLeaf(address(payouts), r.id, structHashOf(r.words), keccak256(r.signature));
    }

    function receiptLeaves() internal view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](receipts.length);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = receiptLeaf(i);
        }
    }

    function entryLeaves() internal view returns (SumNode[] memory leaves) {
        leaves = new SumNode[](entries.length);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = SumNode(FormatsLib.entryLeaf(entries[i]), entries[i].amount);
        }
    }

    function submit() internal {
        SumNode[] memory e = entryLeaves();
        SumNode[] memory t = payoutLeaves(totals);
        (uint64 epoch,,) = payouts.head();
        SumNode memory root = Trees.root(t);
        if (payouts.funded() < root.sum) payouts.fund(root.sum - payouts.funded());
        IPayouts.Proposal memory p = IPayouts.Proposal({
            epoch: epoch + 1,
            cutoff: cutoff,
            receiptCount: uint32(receipts.length),
            receiptsRoot: Trees.root(receiptLeaves()),
            entriesRoot: Trees.root(e).hash,
            entriesTotal: Trees.root(e).sum,
            payoutRoot: root.hash,
            total: root.sum
        });
        vm.prank(node);
        payouts.propose(p, Trees.top(e), Trees.top(t), "");
    }

    /// @dev Lets the pending epoch stand and begins the next one: same shape, other channels, later times.
    function next() internal {
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
        vm.roll(block.number + 100);
        delete lastTotals;
        for (uint256 i; i < totals.length; ++i) {
            lastTotals.push(totals[i]);
        }
        delete receipts;
        delete entries;
        for (uint64 i; i < 3; ++i) {
            addReceipt(uint64(block.number) + i, cutoff + 1 + i);
        }
        cutoff += 1000;
    }

    // --- proofs -----------------------------------------------------------------------------------------------------

    function receiptProof(uint256 i) internal view returns (ReceiptProof memory) {
        Receipt memory r = receipts[i];
        return ReceiptProof(r.words, keccak256(r.signature), Path(i, Trees.prove(receiptLeaves(), i)));
    }

    /// @dev The leaf at `i`, or the empty place there.
    function receiptAt(uint256 i) internal view returns (ReceiptAt memory a) {
        a.path = Path(i, Trees.prove(receiptLeaves(), i));
        if (i >= receipts.length) {
            a.empty = true;
        } else {
            Receipt memory r = receipts[i];
            (a.id, a.structHash, a.signatureHash) = (r.id, structHashOf(r.words), keccak256(r.signature));
        }
    }

    function entryAt(uint256 i) internal view returns (EntryAt memory a) {
        a.path = SumPath(i, Trees.prove(entryLeaves(), i));
        if (i >= entries.length) a.empty = true;
        else a.entry = entries[i];
    }

    function payoutAt(Total[] memory whole, uint256 i) internal view returns (PayoutAt memory a) {
        a.path = SumPath(i, Trees.prove(payoutLeaves(whole), i));
        if (i >= whole.length) a.empty = true;
        else (a.account, a.cumulative) = (whole[i].account, whole[i].cumulative);
    }

    /// @dev The leaves around the place where `id` would stand.
    function receiptGap(bytes32 id) internal view returns (ReceiptAt[] memory gap) {
        uint256 at_;
        while (at_ < receipts.length && receipts[at_].id < id) ++at_;
        uint256 places = 1 << Trees.depth(receipts.length);
        uint256 from = at_ == 0 ? 0 : at_ - 1;
        gap = new ReceiptAt[](at_ == 0 || at_ == places ? 1 : 2);
        for (uint256 i; i < gap.length; ++i) {
            gap[i] = receiptAt(from + i);
        }
    }

    /// @dev The leaves around the first entry of an account at or above `key`.
    function entryEdge(uint256 key) internal view returns (EntryAt[] memory edge) {
        uint256 at_;
        while (at_ < entries.length && uint160(entries[at_].account) < key) ++at_;
        uint256 places = 1 << Trees.depth(entries.length);
        uint256 from = at_ == 0 ? 0 : at_ - 1;
        edge = new EntryAt[](at_ == 0 || at_ == places ? 1 : 2);
        for (uint256 i; i < edge.length; ++i) {
            edge[i] = entryAt(from + i);
        }
    }

    /// @dev The account's leaf among `of`, or the leaves around its place.
    function payoutEdge(Total[] memory whole, address account) internal view returns (PayoutAt[] memory edge) {
        if (whole.length == 0) return new PayoutAt[](0);
        uint256 at_;
        while (at_ < whole.length && whole[at_].account < account) ++at_;
        uint256 places = 1 << Trees.depth(whole.length);
        bool there = at_ < whole.length && whole[at_].account == account;
        uint256 from = there || at_ == 0 ? at_ : at_ - 1;
        edge = new PayoutAt[](there || at_ == 0 || at_ == places ? 1 : 2);
        for (uint256 i; i < edge.length; ++i) {
            edge[i] = payoutAt(whole, from + i);
        }
    }

    /// @dev The proof that byte `offset` of the first span is as the receipt says, or not.
    function spanProof(uint256 receipt, uint64 offset) internal view returns (SpanFault memory f) {
        f.receipt = receiptProof(receipt);
        f.span = spans[0];
        f.spanPath = Path(0, Trees.prove(spanLeaves(), 0));
        f.batch = batchOf(batch);
        (f.contentRoot, f.length) = (Trees.root(chunkLeaves), 600);
        f.recordSiblings = Trees.prove(recordLeaves, 0);
        f.offset = offset;
        uint256 i = (spans[0].recordOffset + offset) / 256;
        if (i < 3) f.record = ChunkAt(false, 0, chunk(text, i), Path(i, Trees.prove(chunkLeaves, i)));
        uint256 o = (spans[0].outputOffset + offset) / 256;
        if (o < outputLeaves.length) {
            f.output = ChunkAt(false, 0, chunk(output, o), Path(o, Trees.prove(outputLeaves, o)));
        }
    }

    /// @dev The fault is proven: the proposal falls, and `harmed` has its share.
    function falls(Fault fault, bytes memory proof, address harmed) internal {
        if (harmed == address(0)) harmed = insurance;
        uint256 had = open.balanceOf(harmed);
        eq(harmed, dryRun(fault, proof), "a dry run says who was harmed");
        payouts.challenge(fault, proof);
        (, address proposer,) = payouts.pending();
        eq(proposer, address(0), "the proposal fell");
        payouts.sweep();
        eq(open.balanceOf(harmed), had + BOND * 3 / 10, "the harmed have their share");
    }

    /// @dev The challenge fails with `reason`, and the proposal stays.
    function stays(Fault fault, bytes memory proof, bytes4 reason) internal {
        vm.expectRevert(reason);
        payouts.challenge(fault, proof);
    }

    /// @dev The function of that fault, called by nobody in particular.
    function dryRun(Fault fault, bytes memory proof) internal view returns (address harmed) {
        bytes4[10] memory functions = [
            IVerifier.spanFault.selector,
            IVerifier.recordFault.selector,
            IVerifier.totalFault.selector,
            IVerifier.duplicateFault.selector,
            IVerifier.splitFault.selector,
            IVerifier.signatureFault.selector,
            IVerifier.omissionFault.selector,
            IVerifier.payeeFault.selector,
            IVerifier.orderFault.selector,
            IVerifier.entryFault.selector
        ];
        // The arguments are the payouts and the same struct, one word further on.
        bytes memory call =
            bytes.concat(functions[uint256(fault)], abi.encode(payouts, 64), slice(proof, 32, proof.length - 32));
        (bool shown, bytes memory answer) = address(verifier).staticcall(call);
        ok(shown, "a dry run shows the fault");
        harmed = abi.decode(answer, (address));
        if (harmed == address(0)) harmed = insurance;
    }
}
