// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FormatsLib} from "./FormatsLib.sol";

/// @dev A node of a sum tree: its hash and the sum of the leaves below it, in base units of OPEN.
struct SumNode {
    bytes32 hash;
    uint128 sum;
}

/// @title MerkleLib
/// @notice Positional Merkle trees and Merkle sum trees: roots from a leaf, its index and its siblings, leaf side first.
/// @dev Bit `i` of an index says on which side the sibling of level `i` stands; an index with bits above the depth is refused.
library MerkleLib {
    /// @dev The index has bits above the depth of the proof.
    error IndexTooLarge(uint256 index, uint256 depth);
    /// @dev A sum of the tree does not fit 128 bits.
    error SumTooLarge();
    /// @dev The leaves of a multiproof are not in strictly ascending order of index, or there are none.
    error LeavesNotAscending();
    /// @dev A multiproof has more or fewer nodes than its leaves need.
    error WrongProofLength();

    /// @dev Root of the tree in which `leaf` stands at `index`.
    function root(bytes32 leaf, uint256 index, bytes32[] calldata siblings) internal pure returns (bytes32 hash) {
        uint256 depth = siblings.length;
        require(index >> depth == 0, IndexTooLarge(index, depth));
        bytes32 tag = FormatsLib.TAG_NODE;
        hash = leaf;
        assembly ("memory-safe") {
            // The places of left and right differ in one bit of their addresses; the sum of both gives the other of each.
            let left := and(add(mload(0x40), 95), not(63))
            let node := sub(left, 32)
            let both := add(left, add(left, 32))
            mstore(node, tag)
            let sibling := siblings.offset
            let bits := shl(5, index)
            for { let end := add(sibling, shl(5, depth)) } lt(sibling, end) { sibling := add(sibling, 32) } {
                // The running hash goes to the left place when the bit is zero, to the right one otherwise.
                let place := or(left, and(bits, 32))
                mstore(place, hash)
                mstore(sub(both, place), calldataload(sibling))
                hash := keccak256(node, 96)
                bits := shr(1, bits)
            }
        }
    }

    /// @dev Hash and sum of the parent of two nodes; reverts when the sum does not fit 128 bits.
    function parent(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum)
        internal
        pure
        returns (bytes32 hash, uint128 sum)
    {
        return (sumHash(left, leftSum, right, rightSum), leftSum + rightSum);
    }

    /// @dev Hash of the parent of two nodes, whether or not their sum fits.
    function sumHash(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum)
        internal
        pure
        returns (bytes32 hash)
    {
        bytes32 tag = FormatsLib.TAG_SUM_NODE;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), left)
            mstore(add(free, 64), leftSum)
            mstore(add(free, 96), right)
            mstore(add(free, 128), rightSum)
            hash := keccak256(free, 160)
        }
    }

    /// @dev Root and total of the sum tree in which `leaf`, worth `sum`, stands at `index`, and the sum of all leaves before it.
    function sumRoot(bytes32 leaf, uint128 sum, uint256 index, SumNode[] calldata siblings)
        internal
        pure
        returns (bytes32 hash, uint128 total, uint128 prefix)
    {
        require(index >> siblings.length == 0, IndexTooLarge(index, siblings.length));
        bytes32 tag = FormatsLib.TAG_SUM_NODE;
        uint256 bad;
        (hash, total) = (leaf, sum);
        assembly ("memory-safe") {
            let node := mload(0x40)
            mstore(node, tag)
            for { let sibling := siblings.offset } lt(sibling, add(siblings.offset, shl(6, siblings.length))) {
                sibling := add(sibling, 64)
            } {
                let other := calldataload(add(sibling, 32))
                // The running node goes to the left place when the bit is zero, to the right one otherwise.
                let side := shl(6, and(index, 1))
                mstore(add(add(node, 32), side), hash)
                mstore(add(add(node, 64), side), total)
                calldatacopy(sub(add(node, 96), side), sibling, 64)
                hash := keccak256(node, 160)
                if side { prefix := add(prefix, other) }
                total := add(total, other)
                // Both fit 128 bits, or the proof is refused below; so no addition wraps before it is noticed.
                bad := or(bad, or(shr(128, other), shr(128, total)))
                index := shr(1, index)
            }
        }
        require(bad == 0, SumTooLarge());
    }

    /// @dev Root of the sum tree of `depth` levels that holds several leaves. `places` is three words for each: index
    /// (strictly ascending), hash, sum; and one word more. `proof` lists, level by level and left to right, only the
    /// siblings that the leaves do not give: 48 bytes each, hash and sum.
    /// @dev Warning: overwrites `places`.
    function sumRootMany(uint256[] memory places, uint256 depth, bytes calldata proof) internal pure returns (bytes32) {
        _requireAscending(places, depth);
        bytes32 tag = FormatsLib.TAG_SUM_NODE;
        uint256 used;
        assembly ("memory-safe") {
            // Five words in which every parent is put together; the tag stays.
            let node := mload(0x40)
            mstore(node, tag)
            let left := add(node, 32)
            let right := add(node, 96)
            let first := add(places, 32)
            let end := add(places, shl(5, mload(places)))
            // Past the end of the proof this reads other bytes; the count of used bytes then shows it.
            let sibling := proof.offset
            for {} depth { depth := sub(depth, 1) } {
                // No index after the last: zero is nobody's right neighbour.
                mstore(end, 0)
                // The nodes of a level are replaced by their parents, which are never more.
                let write := first
                for { let read := first } lt(read, end) {} {
                    let index := mload(read)
                    let side := shl(6, and(index, 1))
                    let other := sub(right, side)
                    mcopy(add(left, side), add(read, 32), 64)
                    let sum := mload(add(read, 64))
                    read := add(read, 96)
                    // The sibling of a left node may be the next of the nodes; otherwise it comes from the proof.
                    switch eq(mload(read), or(index, 1))
                    case 0 {
                        let added := shr(128, calldataload(add(sibling, 32)))
                        mstore(other, calldataload(sibling))
                        mstore(add(other, 32), added)
                        sum := add(sum, added)
                        sibling := add(sibling, 48)
                    }
                    default {
                        mcopy(other, add(read, 32), 64)
                        sum := add(sum, mload(add(read, 64)))
                        read := add(read, 96)
                    }
                    mstore(write, shr(1, index))
                    mstore(add(write, 32), keccak256(node, 160))
                    mstore(add(write, 64), sum)
                    write := add(write, 96)
                }
                end := write
            }
            used := sub(sibling, proof.offset)
        }
        // Leaves and nodes of the proof fit 128 bits, so no sum above them wraps 256, and the root's bounds all.
        require(places[2] >> 128 == 0, SumTooLarge());
        require(used == proof.length, WrongProofLength());
        return bytes32(places[1]);
    }

    /// @dev There are leaves, in strictly ascending order of index, all within a tree of `depth` levels.
    function _requireAscending(uint256[] memory places, uint256 depth) private pure {
        bool ascending = places.length > 1;
        uint256 last;
        assembly ("memory-safe") {
            let end := add(places, shl(5, mload(places)))
            last := mload(add(places, 32))
            for { let place := add(places, 128) } lt(place, end) { place := add(place, 96) } {
                let index := mload(place)
                ascending := and(ascending, lt(last, index))
                last := index
            }
        }
        require(ascending, LeavesNotAscending());
        require(last >> depth == 0, IndexTooLarge(last, depth));
    }
}
