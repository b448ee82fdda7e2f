// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {FormatsLib} from "../../src/libraries/FormatsLib.sol";
import {SumNode} from "../../src/libraries/MerkleLib.sol";

/// @dev Builds trees the long way, level by level from `docs/formats.md`, as a second opinion on `MerkleLib`.
library Trees {
    function depth(uint256 count) internal pure returns (uint256 d) {
        while (1 << d < count) ++d;
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encode(FormatsLib.TAG_NODE, left, right));
    }

    function node(SumNode memory left, SumNode memory right) internal pure returns (SumNode memory) {
        bytes32 hash = keccak256(
            abi.encode(FormatsLib.TAG_SUM_NODE, left.hash, uint256(left.sum), right.hash, uint256(right.sum))
        );
        return SumNode(hash, left.sum + right.sum);
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        bytes32[] memory level = _pad(leaves);
        while (level.length > 1) level = _up(level);
        return level[0];
    }

    function prove(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory level = _pad(leaves);
        siblings = new bytes32[](depth(level.length));
        for (uint256 i; i < siblings.length; ++i) {
            siblings[i] = level[index ^ 1];
            level = _up(level);
            index >>= 1;
        }
    }

    function root(SumNode[] memory leaves) internal pure returns (SumNode memory) {
        SumNode[] memory level = _pad(leaves);
        while (level.length > 1) level = _up(level);
        return level[0];
    }

    /// @dev The two nodes under the root.
    function top(SumNode[] memory leaves) internal pure returns (SumNode[2] memory) {
        SumNode[] memory level = _pad(leaves);
        while (level.length > 2) level = _up(level);
        return [level[0], level[1]];
    }

    function prove(SumNode[] memory leaves, uint256 index) internal pure returns (SumNode[] memory siblings) {
        SumNode[] memory level = _pad(leaves);
        siblings = new SumNode[](depth(level.length));
        for (uint256 i; i < siblings.length; ++i) {
            siblings[i] = level[index ^ 1];
            level = _up(level);
            index >>= 1;
        }
    }

    /// @dev The multiproof of ascending `indices`.
    function proveMany(SumNode[] memory leaves, uint256[] memory indices) internal pure returns (bytes memory proof) {
        SumNode[] memory level = _pad(leaves);
        bool[] memory known = new bool[](level.length);
        for (uint256 i; i < indices.length; ++i) {
            known[indices[i]] = true;
        }
        while (level.length > 1) {
            bool[] memory above = new bool[](level.length / 2);
            for (uint256 i; i < level.length; i += 2) {
                above[i / 2] = known[i] || known[i + 1];
                if (known[i] && !known[i + 1]) proof = bytes.concat(proof, packed(level[i + 1]));
                if (!known[i] && known[i + 1]) proof = bytes.concat(proof, packed(level[i]));
            }
            (level, known) = (_up(level), above);
        }
    }

    /// @dev A node as a multiproof has it.
    function packed(SumNode memory node_) internal pure returns (bytes memory) {
        return abi.encodePacked(node_.hash, node_.sum);
    }

    function _pad(bytes32[] memory leaves) private pure returns (bytes32[] memory level) {
        level = new bytes32[](1 << depth(leaves.length));
        for (uint256 i; i < leaves.length; ++i) {
            level[i] = leaves[i];
        }
    }

    function _pad(SumNode[] memory leaves) private pure returns (SumNode[] memory level) {
        level = new SumNode[](1 << depth(leaves.length));
        for (uint256 i; i < leaves.length; ++i) {
            level[i] = leaves[i];
        }
    }

    function _up(bytes32[] memory level) private pure returns (bytes32[] memory above) {
        above = new bytes32[](level.length / 2);
        for (uint256 i; i < above.length; ++i) {
            above[i] = node(level[2 * i], level[2 * i + 1]);
        }
    }

    function _up(SumNode[] memory level) private pure returns (SumNode[] memory above) {
        above = new SumNode[](level.length / 2);
        for (uint256 i; i < above.length; ++i) {
            above[i] = node(level[2 * i], level[2 * i + 1]);
        }
    }
}
