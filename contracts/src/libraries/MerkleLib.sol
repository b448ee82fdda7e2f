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
        (hash, total) = (leaf, sum);
        for (uint256 i; i < depth; ++i) {
            SumNode calldata sibling = siblings[i];
            if (index & 1 == 0) {
                (hash, total) = parent(hash, total, sibling.hash, sibling.sum);
            } else {
                prefix += sibling.sum;
                (hash, total) = parent(sibling.hash, sibling.sum, hash, total);
            }
            index >>= 1;
        }
    }

    /// @dev Root of the sum tree of `depth` levels that holds all of `nodes` at `indices` (strictly ascending).
    /// `proof` lists, level by level and left to right, only the siblings that cannot be computed.
    /// @dev Warning: overwrites `indices` and `nodes`.
    function sumRootMany(uint256[] memory indices, SumNode[] memory nodes, uint256 depth, SumNode[] calldata proof)
        internal
        pure
        returns (bytes32)
    {
        uint256 width = indices.length;
        require(width != 0 && width == nodes.length, LeavesNotAscending());
        for (uint256 i = 1; i < width; ++i) {
            require(indices[i - 1] < indices[i], LeavesNotAscending());
        }
        require(indices[width - 1] >> depth == 0, IndexTooLarge(indices[width - 1], depth));

        uint256 used;
        for (; depth != 0; --depth) {
            uint256 write;
            for (uint256 read; read < width; ++write) {
                uint256 index = indices[read];
                SumNode memory node = nodes[read];
                (bytes32 hash, uint128 sum) = (node.hash, node.sum);
                ++read;
                if (index & 1 == 1) {
                    require(used < proof.length, WrongProofLength());
                    SumNode calldata left = proof[used++];
                    (hash, sum) = parent(left.hash, left.sum, hash, sum);
                } else if (read < width && indices[read] == index + 1) {
                    SumNode memory right = nodes[read++];
                    (hash, sum) = parent(hash, sum, right.hash, right.sum);
                } else {
                    require(used < proof.length, WrongProofLength());
                    SumNode calldata right = proof[used++];
                    (hash, sum) = parent(hash, sum, right.hash, right.sum);
                }
                indices[write] = index >> 1;
                SumNode memory target = nodes[write];
                (target.hash, target.sum) = (hash, sum);
            }
            width = write;
        }
        require(used == proof.length, WrongProofLength());
        return nodes[0].hash;
    }
}
