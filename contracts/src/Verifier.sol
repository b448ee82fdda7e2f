// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IContributions} from "./interfaces/IContributions.sol";
import {IDatanets} from "./interfaces/IDatanets.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IPayouts} from "./interfaces/IPayouts.sol";
import {Fault, IVerifier} from "./interfaces/IVerifier.sol";
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
    ReceiptProof,
    RecordFault,
    SignatureFault,
    SpanFault,
    SplitFault,
    TotalFault
} from "./libraries/Faults.sol";
import {FormatsLib} from "./libraries/FormatsLib.sol";
import {MerkleLib} from "./libraries/MerkleLib.sol";
import {ReceiptLib} from "./libraries/ReceiptLib.sol";
import {SignatureLib} from "./libraries/SignatureLib.sol";
import {SplitLib} from "./libraries/SplitLib.sol";

/// @title Verifier
/// @notice Proofs of what can be wrong with an epoch. Stateless: titles are its only evidence beside the proof.
contract Verifier is IVerifier {
    using ReceiptLib for bytes32[29];

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

    /// @dev A leaf that was opened: its key in the order of its tree, its place and what its path tells.
    struct Seen {
        uint256 key;
        uint256 index;
        uint256 depth;
        uint128 prefix;
        uint128 total;
    }

    /// @param datanets The `Datanets` contract.
    /// @param contributions The `Contributions` contract.
    /// @param models The `Models` contract.
    constructor(IDatanets datanets, IContributions contributions, IModels models) {
        (DATANETS, CONTRIBUTIONS, MODELS) = (datanets, contributions, models);
    }

    /// @inheritdoc IVerifier
    function judge(Fault fault, bytes calldata proof) external view returns (address harmed) {
        // Each struct is read where it lies in the calldata, behind the offset that `abi.encode` puts first. Solidity
        // still checks every access against the length of the calldata.
        IPayouts payouts = IPayouts(msg.sender);
        if (fault == Fault.Span) return spanFault(payouts, _span(proof));
        if (fault == Fault.Record) return recordFault(payouts, _record(proof));
        if (fault == Fault.Total) return totalFault(payouts, _total(proof));
        if (fault == Fault.Duplicate) return duplicateFault(payouts, _duplicate(proof));
        if (fault == Fault.Split) return splitFault(payouts, _split(proof));
        if (fault == Fault.Signature) return signatureFault(payouts, _signature(proof));
        if (fault == Fault.Omission) return omissionFault(payouts, _omission(proof));
        if (fault == Fault.Payee) return payeeFault(payouts, _payee(proof));
        if (fault == Fault.Order) return orderFault(payouts, _order(proof));
        return entryFault(payouts, _entry(proof));
    }

    /// @inheritdoc IVerifier
    function spanFault(IPayouts payouts, SpanFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        _require(f.receipt.words.spansRoot(), FormatsLib.spanLeaf(f.span), f.spanPath);
        require(f.offset < f.span.length, Unrelated());

        // The record, from the title of its contribution down to its content.
        bytes32 batchHash = CONTRIBUTIONS.batchHash(f.span.contribution);
        require(keccak256(abi.encode(f.batch)) == batchHash && f.batch.datanet == f.span.datanet, Unrelated());
        bytes32 leaf = FormatsLib.recordLeaf(f.span.datanet, f.span.contribution, f.span.index, f.contentRoot, f.length);
        require(MerkleLib.root(leaf, f.span.index, f.recordSiblings) == f.batch.root, NotInTree());

        uint256 inRecord = uint256(f.span.recordOffset) + f.offset;
        if (inRecord >= f.length) return address(0);
        (bool there, bytes1 truth) = _byteAt(f.contentRoot, inRecord, f.record);
        // The record is as long as its leaf says; a place without a byte in it is the contributor's lie, not the node's.
        require(there, NoFault());
        bytes1 said;
        (there, said) = _byteAt(f.receipt.words.output(), uint256(f.span.outputOffset) + f.offset, f.output);
        require(!there || truth != said, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function recordFault(IPayouts payouts, RecordFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        _require(f.receipt.words.spansRoot(), FormatsLib.spanLeaf(f.span), f.spanPath);
        if (DATANETS.rootOf(f.span.datanet, f.span.version) == 0) return address(0);
        bytes32 batchHash = CONTRIBUTIONS.batchHash(f.span.contribution);
        if (batchHash == 0) return address(0);
        require(keccak256(abi.encode(f.batch)) == batchHash, Unrelated());
        require(f.batch.datanet != f.span.datanet || f.span.index >= f.batch.count, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function totalFault(IPayouts payouts, TotalFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        uint256 key = uint160(f.account);
        uint256 expected = _cumulative(payouts, payouts.payoutRoot(), f.account, f.before);
        // The first entry at or above the account, and the first one above it: between them lie the account's.
        expected += _entriesBelow(p.entriesRoot, key + 1, f.to) - _entriesBelow(p.entriesRoot, key, f.from);
        uint256 found = _cumulative(payouts, p.payoutRoot, f.account, f.after_);
        require(found != expected, NoFault());
        return found < expected ? f.account : address(0);
    }

    /// @inheritdoc IVerifier
    function duplicateFault(IPayouts payouts, DuplicateFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        require(f.earlierEpoch < p.epoch && f.receipt.id == f.earlier.id, Unrelated());
        require(!f.receipt.empty && !f.earlier.empty, EmptyLeaf());
        _see(payouts, p.receiptsRoot, f.receipt);
        _see(payouts, payouts.receiptsRootOf(f.earlierEpoch), f.earlier);
        return address(0);
    }

    /// @inheritdoc IVerifier
    function splitFault(IPayouts payouts, SplitFault calldata f) public view returns (address) {
        _openReceipt(payouts, f.receipt);
        if (f.entries.length == 0) {
            require(!_hasModelSplit(f.receipt.words), NoFault());
            return address(0);
        }
        IPayouts.Proposal memory p = _pending(payouts);
        bytes32 id = f.receipt.words.id();
        EntryAt calldata first = f.entries[0];
        _requireEntry(p.entriesRoot, first, id);
        if (f.entries.length == 1) return _wrongLine(payouts, f.receipt.words, first.entry);

        EntryAt calldata second = f.entries[1];
        _requireEntry(p.entriesRoot, second, id);
        uint8 role = first.entry.role;
        require(role == second.entry.role && first.path.index != second.path.index, Unrelated());
        require(role != INSURANCE && role != CONTRIBUTOR && role != PARENT, NoFault());
        return address(0);
    }

    /// @inheritdoc IVerifier
    function signatureFault(IPayouts payouts, SignatureFault calldata f) public view returns (address) {
        IPayouts.Proposal memory p = _pending(payouts);
        bytes32 structHash = f.words.structHash();
        bytes32 leaf = FormatsLib.receiptLeaf(address(payouts), f.id, structHash, keccak256(f.signature));
        _require(p.receiptsRoot, leaf, f.path);
        address node = f.words.node();
        require(
            f.id != f.words.id() || !_isSignedBy(payouts, node, structHash, f.signature)
                || payouts.operators(node).since == 0,
            NoFault()
        );
        return address(0);
    }

    /// @inheritdoc IVerifier
    function omissionFault(IPayouts payouts, OmissionFault calldata f) public view returns (address) {
        (IPayouts.Proposal memory p, address proposer,) = payouts.pending();
        require(proposer != address(0), NothingPending());
        (, uint64 lastCutoff,) = payouts.head();
        uint256 time = f.words.time();
        require(f.words.node() == proposer && time > lastCutoff && time <= p.cutoff, Unrelated());
        require(_isSignedBy(payouts, proposer, f.words.structHash(), f.signature), Unrelated());
        _requireMissing(payouts, p.receiptsRoot, f.words.id(), f.gap);
        return address(0);
    }

    /// @inheritdoc IVerifier
    function payeeFault(IPayouts payouts, PayeeFault calldata f) public view returns (address harmed) {
        _openReceipt(payouts, f.receipt);
        IPayouts.Proposal memory p = _pending(payouts);
        _requireEntry(p.entriesRoot, f.entry, f.receipt.words.id());
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
        Seen memory left;
        Seen memory right;
        if (f.receipts.length != 0) {
            left = _see(payouts, p.receiptsRoot, f.receipts[0]);
            // As many places are taken as the proposal says.
            if (f.receipts[0].empty == left.index < p.receiptCount) return address(0);
            right = _see(payouts, p.receiptsRoot, f.receipts[1]);
        } else if (f.payouts.length != 0) {
            left = _see(payouts, p.payoutRoot, f.payouts[0]);
            right = _see(payouts, p.payoutRoot, f.payouts[1]);
        } else {
            left = _see(p.entriesRoot, f.entries[0]);
            right = _see(p.entriesRoot, f.entries[1]);
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
        _see(p.entriesRoot, f.entry);
        _requireMissing(payouts, p.receiptsRoot, f.entry.entry.receiptId, f.gap);
        return address(0);
    }

    function _pending(IPayouts payouts) private view returns (IPayouts.Proposal memory p) {
        address proposer;
        (p, proposer,) = payouts.pending();
        require(proposer != address(0), NothingPending());
    }

    /// @dev The receipt is in the pending epoch.
    function _openReceipt(IPayouts payouts, ReceiptProof calldata r) private view {
        bytes32 root = payouts.pendingReceiptsRoot();
        require(root != 0, NothingPending());
        bytes32 leaf = FormatsLib.receiptLeaf(address(payouts), r.words.id(), r.words.structHash(), r.signatureHash);
        _require(root, leaf, r.path);
    }

    function _require(bytes32 root, bytes32 leaf, Path calldata path) private pure {
        require(MerkleLib.root(leaf, path.index, path.siblings) == root, NotInTree());
    }

    /// @dev A real entry of the receipt `id`.
    function _requireEntry(bytes32 root, EntryAt calldata place, bytes32 id) private pure {
        require(!place.empty, EmptyLeaf());
        require(place.entry.receiptId == id, Unrelated());
        _see(root, place);
    }

    function _isSignedBy(IPayouts payouts, address node, bytes32 structHash, bytes calldata signature)
        private
        view
        returns (bool)
    {
        bytes32 digest = MessageHashUtils.toTypedDataHash(payouts.domainSeparator(), structHash);
        return SignatureLib.isKey(node, digest, signature);
    }

    /// @dev The byte at `position` of the text under `root`; `there` is false when the text is proven to end before it.
    function _byteAt(bytes32 root, uint256 position, ChunkAt calldata chunk)
        private
        pure
        returns (bool there, bytes1 value)
    {
        uint256 number = position / FormatsLib.CHUNK_BYTES;
        uint256 index = chunk.path.index;
        bytes32 leaf = chunk.empty ? bytes32(0) : FormatsLib.chunkLeaf(chunk.salt, index, chunk.data);
        _require(root, leaf, chunk.path);
        if (index == number) {
            uint256 offset = position % FormatsLib.CHUNK_BYTES;
            if (chunk.empty || offset >= chunk.data.length) return (false, 0);
            return (true, chunk.data[offset]);
        }
        // Another chunk tells nothing but the depth of the tree, and so how many chunks there can be.
        require(!chunk.empty && number >> chunk.path.siblings.length != 0, Unrelated());
        return (false, 0);
    }

    /// @dev Whether the receipt's shares are its model's.
    function _hasModelSplit(bytes32[29] calldata words) private view returns (bool) {
        (uint256 platform, uint256 model, uint256 stakers, uint256 contributors) = words.split();
        uint64 id = words.model();
        if (id == 0 || id > MODELS.count()) return false;
        IModels.Model memory m = MODELS.models(id);
        return platform == m.platformBps && model == m.modelBps && stakers == m.stakersBps
            && contributors == SplitLib.BPS - platform - model - stakers;
    }

    /// @dev Returns who loses when `entry` is not the line of its role; reverts when it is.
    function _wrongLine(IPayouts payouts, bytes32[29] calldata words, FormatsLib.Entry calldata entry)
        private
        view
        returns (address)
    {
        // Where the shares themselves are wrong, that is the fault to show; below they are the model's.
        require(_hasModelSplit(words), Unrelated());
        uint256 price = words.price();
        (uint256 platformBps, uint256 modelBps, uint256 stakersBps,) = words.split();
        uint8 role = entry.role;
        address account;
        uint256 least = 0;
        uint256 most = 0;
        if (role == TREASURY) {
            account = payouts.TREASURY();
            (least,) = SplitLib.platform(price, platformBps);
        } else if (role == VALIDATION) {
            account = payouts.VALIDATION();
            (, least) = SplitLib.platform(price, platformBps);
        } else if (role == NODE) {
            account = words.node();
            (least,) = SplitLib.model(price, modelBps);
        } else if (role == STAKERS) {
            account = MODELS.models(words.model()).stakeVault;
            if (account == address(0)) account = payouts.INSURANCE();
            least = SplitLib.stakers(price, stakersBps);
        } else if (role == OWNER) {
            // The account is a matter of `payeeFault`.
            account = entry.account;
            (, most) = SplitLib.model(price, modelBps);
            least = MODELS.models(words.model()).parent == 0 ? most : most - most * SplitLib.PARENTS_BPS / SplitLib.BPS;
        } else if (role == PARENT) {
            account = entry.account;
            (, most) = SplitLib.model(price, modelBps);
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

    /// @dev `account`'s lifetime total under `root`, by its leaf or by the neighbours between which it is missing.
    function _cumulative(IPayouts payouts, bytes32 root, address account, PayoutAt[] calldata leaves)
        private
        view
        returns (uint256)
    {
        // No epoch yet, so nobody has anything.
        if (root == 0) return 0;
        uint256 key = uint160(account);
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = _see(payouts, root, leaves[i]);
            if (seen[i].key == key) return leaves[i].cumulative;
        }
        _boundary(key, seen);
        return 0;
    }

    /// @dev Sum of all entries of accounts below `key`, by the two leaves around the place where `key` would begin.
    function _entriesBelow(bytes32 root, uint256 key, EntryAt[] calldata leaves) private pure returns (uint256) {
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = _see(root, leaves[i]);
        }
        return _boundary(key, seen);
    }

    /// @dev Reverts unless no receipt under `root` has `id`.
    function _requireMissing(IPayouts payouts, bytes32 root, bytes32 id, ReceiptAt[] calldata leaves) private view {
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = _see(payouts, root, leaves[i]);
            require(seen[i].key != uint256(id), NoFault());
        }
        _boundary(uint256(id), seen);
    }

    /// @dev The sum of all leaves below `key`. `seen` encloses the place where `key` begins: two neighbours, the first
    /// below and the second not; or the very first leaf, not below; or the very last one, below.
    function _boundary(uint256 key, Seen[] memory seen) private pure returns (uint128) {
        if (seen.length == 2) {
            require(seen[0].index + 1 == seen[1].index, NotEnclosing());
            require(seen[0].key < key && key <= seen[1].key, NotEnclosing());
            return seen[1].prefix;
        }
        require(seen.length == 1, NotEnclosing());
        Seen memory only = seen[0];
        if (only.index == 0 && key <= only.key) return 0;
        require(only.index + 1 == 1 << only.depth && only.key < key, NotEnclosing());
        return only.total;
    }

    function _see(IPayouts payouts, bytes32 root, ReceiptAt calldata place) private view returns (Seen memory seen) {
        bytes32 leaf = place.empty
            ? bytes32(0)
            : FormatsLib.receiptLeaf(address(payouts), place.id, place.structHash, place.signatureHash);
        _require(root, leaf, place.path);
        seen.key = place.empty ? type(uint256).max : uint256(place.id);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }

    function _see(bytes32 root, EntryAt calldata place) private pure returns (Seen memory seen) {
        (bytes32 leaf, uint128 sum) =
            place.empty ? (bytes32(0), uint128(0)) : (FormatsLib.entryLeaf(place.entry), place.entry.amount);
        bytes32 found;
        (found, seen.total, seen.prefix) = MerkleLib.sumRoot(leaf, sum, place.path.index, place.path.siblings);
        require(found == root, NotInTree());
        seen.key = place.empty ? type(uint256).max : uint160(place.entry.account);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }

    function _see(IPayouts payouts, bytes32 root, PayoutAt calldata place) private view returns (Seen memory seen) {
        (bytes32 leaf, uint128 sum) = place.empty
            ? (bytes32(0), uint128(0))
            : (FormatsLib.payoutLeaf(address(payouts), place.account, place.cumulative), place.cumulative);
        bytes32 found;
        (found, seen.total, seen.prefix) = MerkleLib.sumRoot(leaf, sum, place.path.index, place.path.siblings);
        require(found == root, NotInTree());
        seen.key = place.empty ? type(uint256).max : uint160(place.account);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }

    /// @dev Where in the calldata the struct that `proof` encodes begins.
    function _at(bytes calldata proof) private pure returns (uint256 start) {
        (start) = uint256(bytes32(proof));
        assembly ("memory-safe") {
            start := add(proof.offset, start)
        }
    }

    function _span(bytes calldata proof) private pure returns (SpanFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _record(bytes calldata proof) private pure returns (RecordFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _total(bytes calldata proof) private pure returns (TotalFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _duplicate(bytes calldata proof) private pure returns (DuplicateFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _split(bytes calldata proof) private pure returns (SplitFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _signature(bytes calldata proof) private pure returns (SignatureFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _omission(bytes calldata proof) private pure returns (OmissionFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _payee(bytes calldata proof) private pure returns (PayeeFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _order(bytes calldata proof) private pure returns (OrderFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }

    function _entry(bytes calldata proof) private pure returns (EntryFault calldata f) {
        uint256 start = _at(proof);
        assembly ("memory-safe") {
            f := start
        }
    }
}
