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
import {NOTE_WORDS, NoteLib} from "../../src/libraries/NoteLib.sol";
import {RECEIPT_WORDS, ReceiptLib} from "../../src/libraries/ReceiptLib.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev An honest epoch of three receipts over two contributions, the third of which is credited by a note, and the proofs
/// of each of its leaves. Tests change one thing in it, seal it again and propose.
abstract contract Epochs is World {
    uint8 internal constant TREASURY = 0;
    uint8 internal constant VALIDATION = 1;
    uint8 internal constant INSURANCE = 2;
    uint8 internal constant OWNER = 3;
    uint8 internal constant NODE = 4;
    uint8 internal constant STAKERS = 5;
    uint8 internal constant CONTRIBUTOR = 6;
    uint8 internal constant PARENT = 7;

    uint128 internal constant PRICE = 1_000_000_007;
    uint256 internal constant CUMULATIVE = 6;
    uint256 internal constant SEED = 20;
    uint256 internal constant TOKENS_IN = 23;
    uint256 internal constant TOKENS_OUT = 24;
    uint256 internal constant COVERAGE = 33;

    /// @dev A receipt as it is filed: id, hash of its note and price are those of its leaf.
    struct Receipt {
        bytes32 id;
        bytes32[RECEIPT_WORDS] words;
        bytes signature;
        bytes32 noteHash;
        uint128 price;
    }

    Receipt[] internal receipts;
    /// @dev By receipt id.
    mapping(bytes32 => bytes32[NOTE_WORDS]) internal notes;
    FormatsLib.Entry[] internal entries;
    Total[] internal totals;
    Total[] internal lastTotals;
    uint64 internal cutoff;
    address internal proposer;

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
        (cutoff, proposer) = (1000, node);
        addReceipt(0, 1);
        addReceipt(1, 2);
        addDeferred(2, 3);
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

    function wordsOf(uint64 channel, uint64 time) internal view returns (bytes32[RECEIPT_WORDS] memory w) {
        for (uint256 i; i < RECEIPT_WORDS; ++i) {
            w[i] = keccak256(abi.encode("word", i));
        }
        (w[ReceiptLib.VERSION], w[ReceiptLib.KIND]) = (bytes32(uint256(2)), 0);
        w[ReceiptLib.CREDIT_STATE] = 0;
        w[ReceiptLib.NODE] = bytes32(uint256(uint160(node)));
        w[ReceiptLib.CHANNEL] = keccak256(abi.encode("channel", channel));
        (w[ReceiptLib.NONCE], w[CUMULATIVE]) = (bytes32(uint256(1)), bytes32(uint256(9 ether)));
        w[ReceiptLib.PARAMS] = params.hash();
        w[ReceiptLib.MODEL] = bytes32(uint256(model));
        w[SEED] = bytes32(uint256(42));
        w[ReceiptLib.OUTPUT] = Trees.root(outputLeaves);
        (w[TOKENS_IN], w[TOKENS_OUT]) = (bytes32(uint256(57)), bytes32(uint256(128)));
        w[ReceiptLib.PRICE] = bytes32(uint256(PRICE));
        (w[ReceiptLib.PLATFORM_BPS], w[ReceiptLib.MODEL_BPS]) = (bytes32(uint256(1000)), bytes32(uint256(2000)));
        (w[ReceiptLib.STAKERS_BPS], w[ReceiptLib.CONTRIBUTORS_BPS]) = (bytes32(uint256(2000)), bytes32(uint256(5000)));
        w[ReceiptLib.SPANS_ROOT] = Trees.root(spanLeaves());
        (w[COVERAGE], w[COVERAGE + 1]) = (bytes32(uint256(910_000)), bytes32(uint256(1_000_000)));
        w[COVERAGE + 2] = 0;
        w[ReceiptLib.HOLDER_BLOCK] = bytes32(block.number - 50);
        w[ReceiptLib.TIME] = bytes32(uint256(time));
    }

    function idOf(bytes32[RECEIPT_WORDS] memory w) internal pure returns (bytes32) {
        return keccak256(abi.encode(w[ReceiptLib.NODE], w[ReceiptLib.CHANNEL], w[ReceiptLib.NONCE]));
    }

    function structHashOf(bytes32[RECEIPT_WORDS] memory w) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(ReceiptLib.TYPEHASH, w));
    }

    function signed(bytes32[RECEIPT_WORDS] memory w, uint256 key) internal view returns (bytes memory) {
        return sign(key, keccak256(abi.encodePacked(hex"1901", payouts.domainSeparator(), structHashOf(w))));
    }

    function addReceipt(uint64 channel, uint64 time) internal {
        bytes32[RECEIPT_WORDS] memory w = wordsOf(channel, time);
        addEntries(idOf(w), PRICE);
        fileWithLines(w);
    }

    /// @dev Files a receipt of the node whose lines are the entries that name it.
    function fileWithLines(bytes32[RECEIPT_WORDS] memory w) internal {
        w[ReceiptLib.LINES] = Trees.root(lineLeaves(idOf(w))).hash;
        file(w, keyOf("node"));
    }

    /// @dev As `addReceipt`, credited by a note a second later; the lines of the receipt itself pay by training weights.
    function addDeferred(uint64 channel, uint64 time) internal {
        bytes32[RECEIPT_WORDS] memory w = wordsOf(channel, time);
        addEntries(idOf(w), PRICE);
        notes[idOf(w)] = noteOf(idOf(w), time + 1);
        w[ReceiptLib.CREDIT_STATE] = bytes32(ReceiptLib.DEFERRED);
        w[ReceiptLib.LINES] = Trees.root(fallbackLeaves(idOf(w))).hash;
        w[ReceiptLib.SPANS_ROOT] = 0;
        file(w, keyOf("node"));
        receipts[receipts.length - 1].noteHash = noteHashOf(notes[idOf(w)]);
    }

    /// @dev The note that credits receipt `id` with the spans and with the lines that the entries have.
    function noteOf(bytes32 id, uint64 time) internal view returns (bytes32[NOTE_WORDS] memory note) {
        (note[NoteLib.RECEIPT], note[NoteLib.SPANS_ROOT]) = (id, Trees.root(spanLeaves()));
        (note[2], note[3], note[4]) = (keccak256("scores"), bytes32(uint256(910_000)), bytes32(uint256(1_000_000)));
        (note[NoteLib.LINES], note[NoteLib.TIME]) = (Trees.root(lineLeaves(id)).hash, bytes32(uint256(time)));
    }

    function noteHashOf(bytes32[NOTE_WORDS] memory note) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(NoteLib.TYPEHASH, note));
    }

    function signedNote(bytes32[NOTE_WORDS] memory note, uint256 key) internal view returns (bytes memory) {
        return sign(key, keccak256(abi.encodePacked(hex"1901", payouts.domainSeparator(), noteHashOf(note))));
    }

    /// @dev What a deferred receipt pays without a note: here, the contributors' lines the other way round.
    function fallbackLines(bytes32 id) internal view returns (FormatsLib.Entry[] memory lines) {
        lines = linesOf(id);
        (lines[6].amount, lines[7].amount) = (lines[7].amount, lines[6].amount);
    }

    function fallbackLeaves(bytes32 id) internal view returns (SumNode[] memory) {
        return leavesOf(fallbackLines(id));
    }

    function file(bytes32[RECEIPT_WORDS] memory w, uint256 key) internal {
        receipts.push(Receipt(idOf(w), w, signed(w, key), 0, uint128(uint256(w[ReceiptLib.PRICE]))));
    }

    /// @dev The entries that name receipt `id`, in order of line.
    function linesOf(bytes32 id) internal view returns (FormatsLib.Entry[] memory lines) {
        uint256 count;
        for (uint256 i; i < entries.length; ++i) {
            if (entries[i].receiptId == id) ++count;
        }
        lines = new FormatsLib.Entry[](count);
        for (uint256 i = entries.length; i != 0; --i) {
            if (entries[i - 1].receiptId != id) continue;
            lines[--count] = entries[i - 1];
            for (uint256 j = count; j + 1 < lines.length && lines[j + 1].line < lines[j].line; ++j) {
                (lines[j], lines[j + 1]) = (lines[j + 1], lines[j]);
            }
        }
    }

    function lineLeaves(bytes32 id) internal view returns (SumNode[] memory) {
        return leavesOf(linesOf(id));
    }

    /// @dev Two places at least, as trees that the chain sees have.
    function leavesOf(FormatsLib.Entry[] memory list) internal pure returns (SumNode[] memory leaves) {
        leaves = new SumNode[](list.length < 2 ? 2 : list.length);
        for (uint256 i; i < list.length; ++i) {
            leaves[i] = SumNode(FormatsLib.entryLeaf(list[i]), list[i].amount);
        }
    }

    /// @dev Takes from the lines of other receipts than `id`, or gives to one of them, what makes all entries sum to the
    /// prices of all receipts; so that the chain takes a proposal in which `id` is wrong.
    function balance(bytes32 id) internal {
        uint256 sum;
        uint256 prices;
        for (uint256 i; i < entries.length; ++i) {
            sum += entries[i].amount;
        }
        for (uint256 i; i < receipts.length; ++i) {
            prices += receipts[i].price;
        }
        for (uint256 i; i < entries.length && sum != prices; ++i) {
            FormatsLib.Entry storage entry = entries[i];
            if (entry.receiptId == id) continue;
            if (sum < prices) {
                (entry.amount, sum) = (entry.amount + uint128(prices - sum), prices);
            } else {
                uint128 less = sum - prices < entry.amount ? uint128(sum - prices) : entry.amount;
                (entry.amount, sum) = (entry.amount - less, sum - less);
            }
        }
        eq(sum, prices, "balanced");
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

    function receiptLeaf(uint256 i) internal view returns (SumNode memory) {
        Receipt memory r = receipts[i];
        bytes32 structHash = structHashOf(r.words);
        bytes32 leaf = FormatsLib.receiptLeaf(address(payouts), r.id, structHash, keccak256(r.signature), r.noteHash);
        return SumNode(leaf, r.price);
    }

    function receiptLeaves() internal view returns (SumNode[] memory leaves) {
        leaves = new SumNode[](receipts.length < 2 ? 2 : receipts.length);
        for (uint256 i; i < receipts.length; ++i) {
            leaves[i] = receiptLeaf(i);
        }
    }

    function entryLeaves() internal view returns (SumNode[] memory) {
        return leavesOf(entries);
    }

    function submit() internal {
        SumNode[] memory r = receiptLeaves();
        SumNode[] memory e = entryLeaves();
        SumNode[] memory t = payoutLeaves(totals);
        (uint64 epoch,,) = payouts.head();
        SumNode memory root = Trees.root(t);
        if (payouts.funded() < root.sum) payouts.fund(root.sum - payouts.funded());
        IPayouts.Proposal memory p = IPayouts.Proposal({
            epoch: epoch + 1,
            cutoff: cutoff,
            receiptCount: uint32(receipts.length),
            receiptsRoot: Trees.root(r).hash,
            entriesRoot: Trees.root(e).hash,
            entriesTotal: Trees.root(e).sum,
            payoutRoot: root.hash,
            total: root.sum
        });
        vm.prank(proposer);
        payouts.propose(p, Trees.top(r), Trees.top(e), Trees.top(t), "");
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
        addReceipt(uint64(block.number), cutoff + 1);
        addReceipt(uint64(block.number) + 1, cutoff + 2);
        addDeferred(uint64(block.number) + 2, cutoff + 3);
        cutoff += 1000;
    }

    // --- proofs -----------------------------------------------------------------------------------------------------

    function receiptProof(uint256 i) internal view returns (ReceiptProof memory) {
        Receipt memory r = receipts[i];
        return ReceiptProof(r.words, keccak256(r.signature), r.noteHash, SumPath(i, Trees.prove(receiptLeaves(), i)));
    }

    /// @dev The note of receipt `i`, where it has one.
    function shownNote(uint256 i) internal view returns (bytes32[NOTE_WORDS][] memory shown) {
        if (receipts[i].noteHash == 0) return shown;
        shown = new bytes32[NOTE_WORDS][](1);
        shown[0] = notes[receipts[i].id];
    }

    /// @dev The leaf at `i`, or the empty place there.
    function receiptAt(uint256 i) internal view returns (ReceiptAt memory a) {
        a.path = SumPath(i, Trees.prove(receiptLeaves(), i));
        if (i >= receipts.length) {
            a.empty = true;
        } else {
            Receipt memory r = receipts[i];
            (a.id, a.structHash, a.signatureHash) = (r.id, structHashOf(r.words), keccak256(r.signature));
            (a.noteHash, a.price) = (r.noteHash, r.price);
        }
    }

    function entryAt(uint256 i) internal view returns (EntryAt memory) {
        return entryOf(entries, i);
    }

    /// @dev The leaf at `i` of the tree over `list`, or the empty place there.
    function entryOf(FormatsLib.Entry[] memory list, uint256 i) internal pure returns (EntryAt memory a) {
        a.path = SumPath(i, Trees.prove(leavesOf(list), i));
        if (i >= list.length) a.empty = true;
        else a.entry = list[i];
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
        uint256 places = 1 << Trees.depth(receiptLeaves().length);
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
        (f.receipt, f.note) = (receiptProof(receipt), shownNote(receipt));
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
        (, address pending,) = payouts.pending();
        eq(pending, address(0), "the proposal fell");
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
        bytes4[12] memory functions = [
            IVerifier.spanFault.selector,
            IVerifier.recordFault.selector,
            IVerifier.totalFault.selector,
            IVerifier.duplicateFault.selector,
            IVerifier.splitFault.selector,
            IVerifier.signatureFault.selector,
            IVerifier.omissionFault.selector,
            IVerifier.payeeFault.selector,
            IVerifier.orderFault.selector,
            IVerifier.entryFault.selector,
            IVerifier.linesFault.selector,
            IVerifier.noteFault.selector
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
