// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IContributions} from "./interfaces/IContributions.sol";
import {IDatanets} from "./interfaces/IDatanets.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IPayouts} from "./interfaces/IPayouts.sol";
import {Fault, IVerifier} from "./interfaces/IVerifier.sol";
import {
    DuplicateFault,
    EntryAt,
    EntryFault,
    LinesFault,
    NoteFault,
    OmissionFault,
    OrderFault,
    PayeeFault,
    ReceiptProof,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "./libraries/Faults.sol";
import {FaultLib} from "./libraries/FaultLib.sol";
import {FormatsLib} from "./libraries/FormatsLib.sol";
import {MerkleLib, SumNode} from "./libraries/MerkleLib.sol";
import {NOTE_WORDS, NoteLib} from "./libraries/NoteLib.sol";
import {PlaceLib} from "./libraries/PlaceLib.sol";
import {RECEIPT_WORDS, ReceiptLib} from "./libraries/ReceiptLib.sol";
import {SignatureLib} from "./libraries/SignatureLib.sol";
import {SplitLib} from "./libraries/SplitLib.sol";

/// @title Verifier
/// @notice Judges proofs of faults of an epoch. Stateless: titles and governed numbers are its only evidence beside the
/// proof.
contract Verifier is IVerifier {
    using ReceiptLib for bytes32[RECEIPT_WORDS];
    using NoteLib for bytes32[NOTE_WORDS];

    uint8 private constant TREASURY = 0;
    uint8 private constant VALIDATION = 1;
    uint8 private constant INSURANCE = 2;
    uint8 private constant OWNER = 3;
    uint8 private constant NODE = 4;
    uint8 private constant STAKERS = 5;
    uint8 private constant CONTRIBUTOR = 6;
    uint8 private constant PARENT = 7;

    IDatanets public immutable DATANETS;
    IContributions public immutable CONTRIBUTIONS;
    IModels public immutable MODELS;
    IParams public immutable PARAMS;

    /// @param datanets The `Datanets` contract.
    /// @param contributions The `Contributions` contract.
    /// @param models The `Models` contract.
    /// @param params The `Params` contract.
    constructor(IDatanets datanets, IContributions contributions, IModels models, IParams params) {
        (DATANETS, CONTRIBUTIONS, MODELS, PARAMS) = (datanets, contributions, models, params);
    }

    /// @inheritdoc IVerifier
    function judge(Fault fault, bytes calldata proof) external view returns (address harmed) {
        IPayouts payouts = IPayouts(msg.sender);
        if (fault == Fault.Span) return spanFault(payouts, FaultLib.span(proof));
        if (fault == Fault.Record) return recordFault(payouts, FaultLib.record(proof));
        if (fault == Fault.Total) return totalFault(payouts, FaultLib.total(proof));
        if (fault == Fault.Duplicate) return duplicateFault(payouts, FaultLib.duplicate(proof));
        if (fault == Fault.Split) return splitFault(payouts, FaultLib.split(proof));
        if (fault == Fault.Signature) return signatureFault(payouts, FaultLib.signature(proof));
        if (fault == Fault.Omission) return omissionFault(payouts, FaultLib.omission(proof));
        if (fault == Fault.Payee) return payeeFault(payouts, FaultLib.payee(proof));
        if (fault == Fault.Order) return orderFault(payouts, FaultLib.order(proof));
        if (fault == Fault.Entry) return entryFault(payouts, FaultLib.entry(proof));
        if (fault == Fault.Lines) return linesFault(payouts, FaultLib.lines(proof));
        return noteFault(payouts, FaultLib.note(proof));
    }

    /// @inheritdoc IVerifier
    function spanFault(IPayouts payouts, SpanFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        FormatsLib.Span memory span = f.span;
        PlaceLib.requireLeaf(_spansRoot(f.receipt, f.note), FormatsLib.spanLeaf(span), f.spanPath);
        uint256 offset = f.offset;
        require(offset < span.length, Unrelated());

        // The record, from the title of its contribution down to its content.
        IContributions.Batch memory batch = f.batch;
        bytes32 batchHash = CONTRIBUTIONS.batchHash(span.contribution);
        require(_hash(batch) == batchHash && batch.datanet == span.datanet, Unrelated());
        bytes32 content = f.contentRoot;
        bytes32 leaf = FormatsLib.recordLeaf(span.datanet, span.contribution, span.index, content, f.length);
        require(MerkleLib.root(leaf, span.index, f.recordSiblings) == batch.root, NotInTree());

        uint256 inRecord = span.recordOffset + offset;
        if (inRecord >= f.length) return address(0);
        (bool there, bytes1 truth) = PlaceLib.byteAt(content, inRecord, f.record);
        // The record is as long as its leaf says; a place without a byte in it is the contributor's lie, not the node's.
        require(there, NoFault());
        bytes1 said;
        (there, said) = PlaceLib.byteAt(f.receipt.words.output(), span.outputOffset + offset, f.output);
        require(!there || truth != said, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function recordFault(IPayouts payouts, RecordFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        PlaceLib.requireLeaf(_spansRoot(f.receipt, f.note), FormatsLib.spanLeaf(f.span), f.spanPath);
        if (DATANETS.rootOf(f.span.datanet, f.span.version) == 0) return address(0);
        bytes32 batchHash = CONTRIBUTIONS.batchHash(f.span.contribution);
        if (batchHash == 0) return address(0);
        require(_hash(f.batch) == batchHash, Unrelated());
        require(f.batch.datanet != f.span.datanet || f.span.index >= f.batch.count, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function totalFault(IPayouts payouts, TotalFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        uint256 key = uint160(f.account);
        uint256 expected = PlaceLib.cumulative(payouts, payouts.payoutRoot(), f.account, f.before);
        // The first entry at or above the account, and the first one above it: between them lie the account's.
        expected += PlaceLib.entriesBelow(p.entriesRoot, key + 1, f.to)
        - PlaceLib.entriesBelow(p.entriesRoot, key, f.from);
        uint256 found = PlaceLib.cumulative(payouts, p.payoutRoot, f.account, f.after_);
        require(found != expected, NoFault());
        return found < expected ? f.account : address(0);
    }

    /// @inheritdoc IVerifier
    function duplicateFault(IPayouts payouts, DuplicateFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        require(f.earlierEpoch < p.epoch && f.receipt.id == f.earlier.id, Unrelated());
        require(!f.receipt.empty && !f.earlier.empty, EmptyLeaf());
        PlaceLib.see(payouts, p.receiptsRoot, f.receipt);
        PlaceLib.see(payouts, payouts.receiptsRootOf(f.earlierEpoch), f.earlier);
        return address(0);
    }

    /// @inheritdoc IVerifier
    function splitFault(IPayouts payouts, SplitFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        if (f.entries.length == 0) {
            (bool inForce,) = _partsOf(f.receipt.words);
            require(!inForce || !_hasModelSplit(f.receipt.words), NoFault());
            return address(0);
        }
        IPayouts.Proposal memory p = _pending(payouts);
        bytes32 id = f.receipt.words.id();
        EntryAt calldata first = f.entries[0];
        PlaceLib.requireEntry(p.entriesRoot, first, id);
        if (f.entries.length == 1) return _wrongLine(payouts, f.receipt.words, first.entry);

        EntryAt calldata second = f.entries[1];
        PlaceLib.requireEntry(p.entriesRoot, second, id);
        uint8 role = first.entry.role;
        require(role == second.entry.role && first.path.index != second.path.index, Unrelated());
        require(role != INSURANCE && role != CONTRIBUTOR && role != PARENT, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function signatureFault(IPayouts payouts, SignatureFault calldata f) public view returns (address) {
        (IPayouts.Proposal memory p, address proposer) = _pendingOf(payouts);
        bytes32 structHash = f.words.structHash();
        bytes32 leaf = FormatsLib.receiptLeaf(address(payouts), f.id, structHash, keccak256(f.signature), f.noteHash);
        PlaceLib.requireLeaf(p.receiptsRoot, leaf, f.price, f.path);
        require(
            f.id != f.words.id() || f.price != f.words.price() || !f.words.isKnownFormat() || !f.words.isOf(proposer)
                || (f.noteHash != 0 && !f.words.isDeferred())
                || !_isSignedBy(payouts, proposer, structHash, f.signature),
            NoFault()
        );
        return address(0);
    }

    /// @inheritdoc IVerifier
    function omissionFault(IPayouts payouts, OmissionFault calldata f) public view returns (address) {
        (IPayouts.Proposal memory p, address proposer) = _pendingOf(payouts);
        (, uint64 lastCutoff,) = payouts.head();
        uint256 time = f.words.time();
        require(f.words.isOf(proposer) && time > lastCutoff && time <= p.cutoff, Unrelated());
        (bytes32 id, bytes32 structHash) = (f.words.id(), f.words.structHash());
        require(_isSignedBy(payouts, proposer, structHash, f.signature), Unrelated());
        if (f.gap.length == 1 && !f.gap[0].empty && f.gap[0].id == id) {
            PlaceLib.see(payouts, p.receiptsRoot, f.gap[0]);
            require(f.gap[0].structHash != structHash, NoFault());
        } else {
            PlaceLib.requireMissing(payouts, p.receiptsRoot, id, f.gap);
        }
        return address(0);
    }

    /// @inheritdoc IVerifier
    function payeeFault(IPayouts payouts, PayeeFault calldata f) public view returns (address harmed) {
        _openReceipt(payouts, f.receipt);
        IPayouts.Proposal memory p = _pending(payouts);
        PlaceLib.requireEntry(p.entriesRoot, f.entry, f.receipt.words.id());
        uint256 block_ = f.receipt.words.holderBlock();
        // A block that has not been yet is not one the node can have looked up.
        if (block_ >= block.number) return address(0);
        FormatsLib.Entry calldata entry = f.entry.entry;
        if (entry.role == CONTRIBUTOR) {
            if (CONTRIBUTIONS.batchHash(entry.contribution) == 0) return address(0);
            harmed = CONTRIBUTIONS.holderAt(entry.contribution, block_);
        } else {
            require(entry.role == OWNER, Unrelated());
            harmed = MODELS.holderAt(f.receipt.words.model(), block_);
        }
        require(entry.account != harmed, NoFault());
    }

    /// @inheritdoc IVerifier
    function orderFault(IPayouts payouts, OrderFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        PlaceLib.Seen memory left;
        PlaceLib.Seen memory right;
        if (f.receipts.length != 0) {
            left = PlaceLib.see(payouts, p.receiptsRoot, f.receipts[0]);
            // As many places are taken as the proposal says.
            if (f.receipts[0].empty == left.index < p.receiptCount) return address(0);
            right = PlaceLib.see(payouts, p.receiptsRoot, f.receipts[1]);
        } else if (f.payouts.length != 0) {
            left = PlaceLib.see(payouts, p.payoutRoot, f.payouts[0]);
            right = PlaceLib.see(payouts, p.payoutRoot, f.payouts[1]);
        } else {
            left = PlaceLib.see(p.entriesRoot, f.entries[0]);
            right = PlaceLib.see(p.entriesRoot, f.entries[1]);
            // Within one account, by receipt and line.
            if (left.key == right.key && !f.entries[0].empty) {
                FormatsLib.Entry calldata a = f.entries[0].entry;
                FormatsLib.Entry calldata b = f.entries[1].entry;
                (left.key, right.key) = a.receiptId == b.receiptId
                    ? (uint256(a.line), uint256(b.line))
                    : (uint256(a.receiptId), uint256(b.receiptId));
            }
        }
        require(left.index < right.index, Unrelated());
        // An empty place counts as the highest key, so a leaf to the right of a gap is out of order too.
        require(left.key > right.key || (left.key == right.key && left.key != type(uint256).max), NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function entryFault(IPayouts payouts, EntryFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        require(!f.entry.empty, EmptyLeaf());
        PlaceLib.see(p.entriesRoot, f.entry);
        PlaceLib.requireMissing(payouts, p.receiptsRoot, f.entry.entry.receiptId, f.gap);
        return address(0);
    }

    /// @inheritdoc IVerifier
    function linesFault(IPayouts payouts, LinesFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        bytes32 root = _hasNote(f.receipt, f.note) ? f.note[0].lines() : f.receipt.words.lines();
        uint256 price = f.receipt.words.price();
        if (f.leaves.length == 0) {
            require(f.top.length == 2, Unrelated());
            (SumNode calldata left, SumNode calldata right) = (f.top[0], f.top[1]);
            require(MerkleLib.sumHash(left.hash, left.sum, right.hash, right.sum) == root, NotInTree());
            // Also where the sum does not fit 128 bits, since the price does.
            require(uint256(left.sum) + right.sum != price, NoFault());
            return address(0);
        }
        EntryAt calldata line = f.leaves[f.leaves.length - 1];
        PlaceLib.Seen memory seen = PlaceLib.see(root, line);
        if (seen.total != price) return address(0);
        require(f.leaves.length == 2, NoFault());

        EntryAt calldata entry = f.leaves[0];
        PlaceLib.requireEntry(_pending(payouts).entriesRoot, entry, f.receipt.words.id());
        uint256 number = entry.entry.line;
        // The tree has no such place.
        if (number >> seen.depth != 0) return address(0);
        require(number == seen.index, Unrelated());
        require(line.empty || FormatsLib.entryLeaf(line.entry) != FormatsLib.entryLeaf(entry.entry), NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function noteFault(IPayouts payouts, NoteFault calldata f) public view returns (address) {
        (IPayouts.Proposal memory p, address proposer) = _pendingOf(payouts);
        require(!f.receipt.empty, EmptyLeaf());
        PlaceLib.see(payouts, p.receiptsRoot, f.receipt);
        (bytes32 shown, bytes32 filed) = (f.note.structHash(), f.receipt.noteHash);
        bool isOfReceipt = f.note.receipt() == f.receipt.id;
        bool isLate = f.note.time() > p.cutoff;
        if (f.signature.length == 0) {
            require(shown == filed, Unrelated());
            require(!isOfReceipt || isLate, NoFault());
        } else {
            require(isOfReceipt && _isSignedBy(payouts, proposer, shown, f.signature), Unrelated());
            require(shown != filed && (filed != 0 || !isLate), NoFault());
        }
        return address(0);
    }

    function _pending(IPayouts payouts) private view returns (IPayouts.Proposal memory p) {
        (p,) = _pendingOf(payouts);
    }

    function _pendingOf(IPayouts payouts) private view returns (IPayouts.Proposal memory p, address proposer) {
        (p, proposer,) = payouts.pending();
        require(proposer != address(0), NothingPending());
    }

    /// @dev `keccak256(abi.encode(batch))`: its members lie in memory as they are encoded.
    function _hash(IContributions.Batch memory batch) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(batch, 160)
        }
    }

    /// @dev The receipt is in the pending epoch.
    function _openReceipt(IPayouts payouts, ReceiptProof calldata r) private view {
        bytes32 root = payouts.pendingReceiptsRoot();
        require(root != 0, NothingPending());
        bytes32 leaf =
            FormatsLib.receiptLeaf(address(payouts), r.words.id(), r.words.structHash(), r.signatureHash, r.noteHash);
        // A price above 128 bits is cut here; `signatureFault` compares the whole word.
        PlaceLib.requireLeaf(root, leaf, uint128(r.words.price()), r.path);
    }

    /// @dev Whether the opened receipt has a credit note, which then is `note`.
    function _hasNote(ReceiptProof calldata r, bytes32[NOTE_WORDS][] calldata note) private pure returns (bool) {
        if (r.noteHash == 0) return false;
        require(note.length == 1 && note[0].structHash() == r.noteHash, Unrelated());
        return true;
    }

    /// @dev Root of the spans that the opened receipt is credited with.
    function _spansRoot(ReceiptProof calldata r, bytes32[NOTE_WORDS][] calldata note) private pure returns (bytes32) {
        return _hasNote(r, note) ? note[0].spansRoot() : r.words.spansRoot();
    }

    /// @dev Whether the governed numbers that the receipt names were in force at its time, and how they divide parts.
    function _partsOf(bytes32[RECEIPT_WORDS] calldata words)
        private
        view
        returns (bool inForce, IParams.Parts memory parts)
    {
        return PARAMS.partsAt(words.params(), words.time());
    }

    function _isSignedBy(IPayouts payouts, address node, bytes32 structHash, bytes calldata signature)
        private
        view
        returns (bool)
    {
        bytes32 digest = MessageHashUtils.toTypedDataHash(payouts.domainSeparator(), structHash);
        return SignatureLib.isKey(node, digest, signature);
    }

    /// @dev Whether the receipt's shares are its model's.
    function _hasModelSplit(bytes32[RECEIPT_WORDS] calldata words) private view returns (bool) {
        (uint256 platform, uint256 model, uint256 stakers, uint256 contributors) = words.split();
        (uint16 platformBps, uint16 modelBps, uint16 stakersBps) = MODELS.splitOf(words.model());
        return modelBps != 0 && platform == platformBps && model == modelBps && stakers == stakersBps
            && contributors == SplitLib.BPS - platform - model - stakers;
    }

    /// @dev The account that loses when `entry` is not the line of its role; reverts when it is.
    function _wrongLine(IPayouts payouts, bytes32[RECEIPT_WORDS] calldata words, FormatsLib.Entry calldata entry)
        private
        view
        returns (address)
    {
        (bool inForce, IParams.Parts memory parts) = _partsOf(words);
        // Where the shares or numbers themselves are wrong, that is the fault to show.
        require(inForce && _hasModelSplit(words), Unrelated());
        uint256 price = words.price();
        (uint256 platformBps, uint256 modelBps, uint256 stakersBps,) = words.split();
        uint8 role = entry.role;
        address account;
        uint256 least = 0;
        uint256 most = 0;
        if (role == TREASURY) {
            account = payouts.TREASURY();
            (least,) = SplitLib.platform(price, platformBps, parts.treasuryBps, parts.validationBps);
        } else if (role == VALIDATION) {
            account = payouts.VALIDATION();
            (, least) = SplitLib.platform(price, platformBps, parts.treasuryBps, parts.validationBps);
        } else if (role == NODE) {
            account = words.node();
            (least,) = SplitLib.model(price, modelBps, parts.nodeBps);
        } else if (role == STAKERS) {
            account = MODELS.models(words.model()).stakeVault;
            if (account == address(0)) account = payouts.INSURANCE();
            least = SplitLib.stakers(price, stakersBps);
        } else if (role == OWNER) {
            // The account is a matter of `payeeFault`.
            account = entry.account;
            (, most) = SplitLib.model(price, modelBps, parts.nodeBps);
            least = MODELS.models(words.model()).parent == 0 ? most : most - most * parts.maxParentsBps / SplitLib.BPS;
        } else if (role == PARENT) {
            account = entry.account;
            (, most) = SplitLib.model(price, modelBps, parts.nodeBps);
            if (MODELS.models(words.model()).parent == 0) most = 0;
        } else if (role == CONTRIBUTOR) {
            account = entry.account;
            most = SplitLib.contributors(price, platformBps, modelBps, stakersBps);
        } else {
            // There is no such role.
            if (role != INSURANCE) return address(0);
            account = payouts.INSURANCE();
            most = price;
        }
        if (role == TREASURY || role == VALIDATION || role == NODE || role == STAKERS) most = least;
        require(entry.account != account || entry.amount < least || entry.amount > most, NoFault());
        return account == entry.account ? address(0) : account;
    }
}
