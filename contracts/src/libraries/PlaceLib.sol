// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPayouts} from "../interfaces/IPayouts.sol";
import {IVerifier} from "../interfaces/IVerifier.sol";
import {ChunkAt, EntryAt, Path, PayoutAt, ReceiptAt, SumPath} from "./Faults.sol";
import {FormatsLib} from "./FormatsLib.sol";
import {MerkleLib} from "./MerkleLib.sol";

/// @title PlaceLib
/// @notice Leaves opened by their paths, and proofs that a leaf is missing between two of them.
library PlaceLib {
    /// @dev A leaf that was opened: its key in the order of its tree, its place, and the sums that its path shows.
    struct Seen {
        uint256 key;
        uint256 index;
        uint256 depth;
        uint128 prefix;
        uint128 total;
    }

    function requireLeaf(bytes32 root, bytes32 leaf, Path calldata path) internal pure {
        require(MerkleLib.root(leaf, path.index, path.siblings) == root, IVerifier.NotInTree());
    }

    function requireLeaf(bytes32 root, bytes32 leaf, uint128 sum, SumPath calldata path) internal pure {
        (bytes32 found,,) = MerkleLib.sumRoot(leaf, sum, path.index, path.siblings);
        require(found == root, IVerifier.NotInTree());
    }

    /// @dev A real entry of the receipt `id`.
    function requireEntry(bytes32 root, EntryAt calldata place, bytes32 id) internal pure {
        require(!place.empty, IVerifier.EmptyLeaf());
        require(place.entry.receiptId == id, IVerifier.Unrelated());
        see(root, place);
    }

    /// @dev The byte at `position` of the text under `root`; `there` is false when the text is proven to end before it.
    function byteAt(bytes32 root, uint256 position, ChunkAt calldata chunk)
        internal
        pure
        returns (bool there, bytes1 value)
    {
        uint256 number = position / FormatsLib.CHUNK_BYTES;
        Path calldata path = chunk.path;
        bytes calldata data = chunk.data;
        bool empty = chunk.empty;
        uint256 index = path.index;
        requireLeaf(root, empty ? bytes32(0) : FormatsLib.chunkLeaf(chunk.salt, index, keccak256(data)), path);
        if (index == number) {
            uint256 offset = position % FormatsLib.CHUNK_BYTES;
            if (empty || offset >= data.length) return (false, 0);
            return (true, data[offset]);
        }
        // Another chunk shows nothing but the depth of the tree, and so how many chunks there can be.
        require(!empty && number >> path.siblings.length != 0, IVerifier.Unrelated());
        return (false, 0);
    }

    /// @dev `account`'s lifetime total under `root`, by its leaf or by the neighbours between which it is missing.
    function cumulative(IPayouts payouts, bytes32 root, address account, PayoutAt[] calldata leaves)
        internal
        view
        returns (uint256)
    {
        // No epoch yet, so nobody has anything.
        if (root == 0) return 0;
        uint256 key = uint160(account);
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = see(payouts, root, leaves[i]);
            if (seen[i].key == key) return leaves[i].cumulative;
        }
        _boundary(key, seen);
        return 0;
    }

    /// @dev Sum of all entries of accounts below `key`, by the two leaves around the place where `key` would begin.
    function entriesBelow(bytes32 root, uint256 key, EntryAt[] calldata leaves) internal pure returns (uint256) {
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = see(root, leaves[i]);
        }
        return _boundary(key, seen);
    }

    /// @dev Reverts unless no receipt under `root` has `id`.
    function requireMissing(IPayouts payouts, bytes32 root, bytes32 id, ReceiptAt[] calldata leaves) internal view {
        Seen[] memory seen = new Seen[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            seen[i] = see(payouts, root, leaves[i]);
            require(seen[i].key != uint256(id), IVerifier.NoFault());
        }
        _boundary(uint256(id), seen);
    }

    /// @dev The sum of all leaves below `key`. `seen` encloses the place where `key` begins: two neighbours, the first
    /// below and the second not; or the very first leaf, not below; or the very last one, below.
    function _boundary(uint256 key, Seen[] memory seen) private pure returns (uint128) {
        if (seen.length == 2) {
            require(seen[0].index + 1 == seen[1].index, IVerifier.NotEnclosing());
            require(seen[0].key < key && key <= seen[1].key, IVerifier.NotEnclosing());
            return seen[1].prefix;
        }
        require(seen.length == 1, IVerifier.NotEnclosing());
        Seen memory only = seen[0];
        if (only.index == 0 && key <= only.key) return 0;
        require(only.index + 1 == 1 << only.depth && only.key < key, IVerifier.NotEnclosing());
        return only.total;
    }

    function see(IPayouts payouts, bytes32 root, ReceiptAt calldata place) internal view returns (Seen memory seen) {
        (bytes32 leaf, uint128 sum) = place.empty
            ? (bytes32(0), uint128(0))
            : (
                FormatsLib.receiptLeaf(
                    address(payouts), place.id, place.structHash, place.signatureHash, place.noteHash
                ),
                place.price
            );
        requireLeaf(root, leaf, sum, place.path);
        seen.key = place.empty ? type(uint256).max : uint256(place.id);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }

    function see(bytes32 root, EntryAt calldata place) internal pure returns (Seen memory seen) {
        (bytes32 leaf, uint128 sum) =
            place.empty ? (bytes32(0), uint128(0)) : (FormatsLib.entryLeaf(place.entry), place.entry.amount);
        bytes32 found;
        (found, seen.total, seen.prefix) = MerkleLib.sumRoot(leaf, sum, place.path.index, place.path.siblings);
        require(found == root, IVerifier.NotInTree());
        seen.key = place.empty ? type(uint256).max : uint160(place.entry.account);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }

    function see(IPayouts payouts, bytes32 root, PayoutAt calldata place) internal view returns (Seen memory seen) {
        (bytes32 leaf, uint128 sum) = place.empty
            ? (bytes32(0), uint128(0))
            : (FormatsLib.payoutLeaf(address(payouts), place.account, place.cumulative), place.cumulative);
        bytes32 found;
        (found, seen.total, seen.prefix) = MerkleLib.sumRoot(leaf, sum, place.path.index, place.path.siblings);
        require(found == root, IVerifier.NotInTree());
        seen.key = place.empty ? type(uint256).max : uint160(place.account);
        (seen.index, seen.depth) = (place.path.index, place.path.siblings.length);
    }
}
