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
            let free := mload(0x40)
            mstore(free, tag)
            let sibling := siblings.offset
            for { let end := add(sibling, shl(5, depth)) } lt(sibling, end) { sibling := add(sibling, 32) } {
                // The running hash goes to the left place when the bit is zero, to the right one otherwise.
                let side := shl(5, and(index, 1))
                mstore(add(add(free, 32), side), hash)
                mstore(sub(add(free, 64), side), calldataload(sibling))
                hash := keccak256(free, 96)
                index := shr(1, index)
            }
        }
    }

    /// @dev Hash and sum of the parent of two nodes; reverts when the sum does not fit 128 bits.
    function parent(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum)
        internal
        pure
        returns (bytes32 hash, uint128 sum)
    {
        sum = leftSum + rightSum;
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
        uint256 depth = siblings.length;
        require(index >> depth == 0, IndexTooLarge(index, depth));
        bytes32 tag = FormatsLib.TAG_SUM_NODE;
        uint256 sums = sum;
        uint256 before;
        uint256 overflow;
        hash = leaf;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            let sibling := siblings.offset
            for { let end := add(sibling, shl(6, depth)) } lt(sibling, end) { sibling := add(sibling, 64) } {
                let siblingSum := calldataload(add(sibling, 32))
                let isRight := and(index, 1)
                // The running node goes to the left place when the bit is zero, to the right one otherwise.
                let side := shl(6, isRight)
                let own := add(add(free, 32), side)
                mstore(own, hash)
                mstore(add(own, 32), sums)
                let other := sub(add(free, 96), side)
                mstore(other, calldataload(sibling))
                mstore(add(other, 32), siblingSum)
                hash := keccak256(free, 160)
                before := add(before, mul(isRight, siblingSum))
                sums := add(sums, siblingSum)
                // Both fit 128 bits, or the sum is refused below; so no addition wraps before it is noticed.
                overflow := or(overflow, or(shr(128, siblingSum), shr(128, sums)))
                index := shr(1, index)
            }
        }
        require(overflow == 0, SumTooLarge());
        (total, prefix) = (uint128(sums), uint128(before));
    }

    /// @dev Root of the sum tree of `depth` levels that holds several leaves. `places` is three words for each: index
    /// (strictly ascending), hash, sum. `proof` lists, level by level and left to right, only the siblings that the leaves
    /// do not give.
    /// @dev Warning: overwrites `places`.
    function sumRootMany(uint256[] memory places, uint256 depth, SumNode[] calldata proof)
        internal
        pure
        returns (bytes32 hash)
    {
        uint256 count = places.length / 3;
        require(count != 0, LeavesNotAscending());
        for (uint256 i = 1; i < count; ++i) {
            require(places[3 * i - 3] < places[3 * i], LeavesNotAscending());
        }
        uint256 last = places[3 * count - 3];
        require(last >> depth == 0, IndexTooLarge(last, depth));

        bytes32 tag = FormatsLib.TAG_SUM_NODE;
        uint256 overflow;
        bool exact;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            let base := add(places, 32)
            let end := add(base, mul(count, 96))
            let next := proof.offset
            let proofEnd := add(next, shl(6, proof.length))
            for {} depth { depth := sub(depth, 1) } {
                let write := base
                for { let read := base } lt(read, end) {} {
                    let index := mload(read)
                    let sums := mload(add(read, 64))
                    let isRight := and(index, 1)
                    let side := shl(6, isRight)
                    let own := add(add(free, 32), side)
                    mstore(own, mload(add(read, 32)))
                    mstore(add(own, 32), sums)
                    read := add(read, 96)
                    let other := sub(add(free, 96), side)
                    // The sibling of a left node may be the next of the leaves; otherwise it comes from the proof.
                    switch and(and(lt(read, end), iszero(isRight)), eq(mload(read), add(index, 1)))
                    case 1 {
                        mcopy(other, add(read, 32), 64)
                        read := add(read, 96)
                    }
                    default {
                        // Past the end of the proof this reads what is not part of it; `exact` then tells.
                        calldatacopy(other, next, 64)
                        next := add(next, 64)
                    }
                    let otherSum := mload(add(other, 32))
                    sums := add(sums, otherSum)
                    overflow := or(overflow, or(shr(128, otherSum), shr(128, sums)))
                    mstore(write, shr(1, index))
                    mstore(add(write, 32), keccak256(free, 160))
                    mstore(add(write, 64), sums)
                    write := add(write, 96)
                }
                end := write
            }
            hash := mload(add(base, 32))
            exact := eq(next, proofEnd)
        }
        require(exact, WrongProofLength());
        require(overflow == 0, SumTooLarge());
    }
}
