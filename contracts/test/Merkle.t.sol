// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {MerkleLib, SumNode} from "../src/libraries/MerkleLib.sol";
import {Base} from "./base/Base.sol";
import {Trees} from "./base/Trees.sol";

/// @dev Gives the library calldata.
contract MerkleHarness {
    function root(bytes32 leaf, uint256 index, bytes32[] calldata siblings) external pure returns (bytes32) {
        return MerkleLib.root(leaf, index, siblings);
    }

    function sumRoot(bytes32 leaf, uint128 sum, uint256 index, SumNode[] calldata siblings)
        external
        pure
        returns (bytes32, uint128, uint128)
    {
        return MerkleLib.sumRoot(leaf, sum, index, siblings);
    }

    function sumRootMany(uint256[] memory indices, SumNode[] memory nodes, uint256 depth, bytes calldata proof)
        external
        pure
        returns (bytes32)
    {
        uint256[] memory places = new uint256[](3 * indices.length + 1);
        for (uint256 i; i < indices.length; ++i) {
            (places[3 * i], places[3 * i + 1], places[3 * i + 2]) = (indices[i], uint256(nodes[i].hash), nodes[i].sum);
        }
        return MerkleLib.sumRootMany(places, depth, proof);
    }
}

contract MerkleTest is Base {
    MerkleHarness private lib;

    function setUp() public {
        lib = new MerkleHarness();
    }

    function leavesOf(uint256 seed, uint256 count) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            leaves[i] = keccak256(abi.encode(seed, i));
        }
    }

    function sumLeavesOf(uint256 seed, uint256 count) private pure returns (SumNode[] memory leaves) {
        leaves = new SumNode[](count);
        for (uint256 i; i < count; ++i) {
            bytes32 hash = keccak256(abi.encode(seed, i));
            leaves[i] = SumNode(hash, uint96(uint256(hash)));
        }
    }

    function testFuzz_every_leaf_opens_and_no_other(uint256 seed, uint256 count, uint256 index) public view {
        count = bound(count, 1, 40);
        index = bound(index, 0, count - 1);
        bytes32[] memory leaves = leavesOf(seed, count);
        bytes32 root = Trees.root(leaves);
        bytes32[] memory siblings = Trees.prove(leaves, index);
        eq(lib.root(leaves[index], index, siblings), root, "opens");
        ok(lib.root(keccak256("other"), index, siblings) != root, "another leaf does not");
        if (siblings.length != 0) ok(lib.root(leaves[index], index ^ 1, siblings) != root, "nor at another place");
    }

    function test_an_index_above_the_depth_is_refused() public {
        bytes32[] memory leaves = leavesOf(1, 4);
        bytes32[] memory siblings = Trees.prove(leaves, 1);
        vm.expectRevert(abi.encodeWithSelector(MerkleLib.IndexTooLarge.selector, 5, 2));
        lib.root(leaves[1], 5, siblings);
        SumNode[] memory sums = sumLeavesOf(1, 4);
        vm.expectRevert(abi.encodeWithSelector(MerkleLib.IndexTooLarge.selector, 4, 2));
        lib.sumRoot(sums[0].hash, sums[0].sum, 4, Trees.prove(sums, 0));
        uint256[] memory indices = new uint256[](1);
        indices[0] = 4;
        vm.expectRevert(abi.encodeWithSelector(MerkleLib.IndexTooLarge.selector, 4, 2));
        lib.sumRootMany(indices, new SumNode[](1), 2, "");
    }

    function test_an_empty_place_opens_as_zero() public view {
        bytes32[] memory leaves = leavesOf(1, 3);
        eq(lib.root(0, 3, Trees.prove(leaves, 3)), Trees.root(leaves), "the fourth place is empty");
    }

    function test_a_tree_of_one_leaf_is_the_leaf() public view {
        eq(lib.root(bytes32("leaf"), 0, new bytes32[](0)), bytes32("leaf"), "root");
    }

    function testFuzz_a_sum_proof_gives_total_and_prefix(uint256 seed, uint256 count, uint256 index) public view {
        count = bound(count, 1, 40);
        index = bound(index, 0, count - 1);
        SumNode[] memory leaves = sumLeavesOf(seed, count);
        SumNode memory root = Trees.root(leaves);
        uint128 before;
        for (uint256 i; i < index; ++i) {
            before += leaves[i].sum;
        }
        (bytes32 hash, uint128 total, uint128 prefix) =
            lib.sumRoot(leaves[index].hash, leaves[index].sum, index, Trees.prove(leaves, index));
        eq(hash, root.hash, "hash");
        eq(total, root.sum, "total");
        eq(prefix, before, "prefix");
    }

    function testFuzz_a_changed_sum_anywhere_changes_the_root(uint256 seed, uint256 index, uint128 extra) public view {
        SumNode[] memory leaves = sumLeavesOf(seed, 8);
        index = bound(index, 0, 7);
        extra = uint128(bound(extra, 1, type(uint96).max));
        bytes32 root = Trees.root(leaves).hash;
        SumNode[] memory siblings = Trees.prove(leaves, index);
        (bytes32 hash,,) = lib.sumRoot(leaves[index].hash, leaves[index].sum + extra, index, siblings);
        ok(hash != root, "the leaf's sum is bound");
        siblings[index % 3].sum += extra;
        (hash,,) = lib.sumRoot(leaves[index].hash, leaves[index].sum, index, siblings);
        ok(hash != root, "the siblings' sums are bound");
    }

    function test_sums_beyond_128_bits_are_refused() public {
        SumNode[] memory siblings = new SumNode[](1);
        siblings[0].sum = type(uint128).max;
        vm.expectRevert(MerkleLib.SumTooLarge.selector);
        lib.sumRoot(0, 1, 0, siblings);
        // Nor is a sibling's sum that only looks small in its lower half.
        (bool opened,) = address(lib)
            .staticcall(
                abi.encodeWithSelector(
                    MerkleHarness.sumRoot.selector, 0, 1, 0, 128, 1, bytes32("hash"), uint256(1) << 128
                )
            );
        ok(!opened, "upper bits are refused");
        (opened,) = address(lib)
            .staticcall(
                abi.encodeWithSelector(MerkleHarness.sumRoot.selector, 0, 1, 0, 128, 1, bytes32("hash"), uint256(7))
            );
        ok(opened, "and nothing else about that call is");
    }

    function testFuzz_a_multiproof_opens_any_set_of_leaves(uint256 seed, uint256 count, uint256 chosen) public {
        count = bound(count, 2, 40);
        SumNode[] memory leaves = sumLeavesOf(seed, count);
        (uint256[] memory indices, SumNode[] memory nodes) = pick(leaves, chosen);
        uint256 depth = Trees.depth(count);
        bytes memory proof = Trees.proveMany(leaves, indices);
        bytes32 root = Trees.root(leaves).hash;
        eq(lib.sumRootMany(indices, nodes, depth, proof), root, "opens");

        nodes[0].sum += 1;
        ok(lib.sumRootMany(indices, nodes, depth, proof) != root, "a changed leaf does not");
        nodes[0].sum -= 1;
        vm.expectRevert(MerkleLib.WrongProofLength.selector);
        lib.sumRootMany(indices, nodes, depth, bytes.concat(proof, hex"00"));
        if (proof.length != 0) {
            vm.expectRevert(MerkleLib.WrongProofLength.selector);
            lib.sumRootMany(indices, nodes, depth, new bytes(proof.length - 1));
        }
    }

    function pick(SumNode[] memory leaves, uint256 chosen)
        private
        pure
        returns (uint256[] memory indices, SumNode[] memory nodes)
    {
        indices = new uint256[](leaves.length);
        nodes = new SumNode[](leaves.length);
        uint256 n;
        for (uint256 i; i < leaves.length; ++i) {
            if (chosen >> i & 1 == 1 || (n == 0 && i + 1 == leaves.length)) {
                (indices[n], nodes[n]) = (i, leaves[i]);
                ++n;
            }
        }
        assembly ("memory-safe") {
            mstore(indices, n)
            mstore(nodes, n)
        }
    }

    function test_a_multiproof_without_its_left_sibling_is_refused() public {
        uint256[] memory indices = new uint256[](1);
        indices[0] = 1;
        vm.expectRevert(MerkleLib.WrongProofLength.selector);
        lib.sumRootMany(indices, new SumNode[](1), 1, "");
    }

    function test_a_multiproof_wants_leaves_in_ascending_order() public {
        uint256[] memory indices = new uint256[](2);
        SumNode[] memory leaves = sumLeavesOf(1, 2);
        vm.expectRevert(MerkleLib.LeavesNotAscending.selector);
        lib.sumRootMany(indices, leaves, 1, "");
        vm.expectRevert(MerkleLib.LeavesNotAscending.selector);
        lib.sumRootMany(new uint256[](0), new SumNode[](0), 1, "");
    }

    function test_a_multiproof_with_sums_beyond_128_bits_is_refused() public {
        SumNode[] memory leaves = sumLeavesOf(1, 2);
        leaves[0].sum = type(uint128).max;
        uint256[] memory indices = new uint256[](2);
        indices[1] = 1;
        vm.expectRevert(MerkleLib.SumTooLarge.selector);
        lib.sumRootMany(indices, leaves, 1, "");
        (indices, leaves) = (new uint256[](1), sumLeavesOf(1, 1));
        leaves[0].sum = type(uint128).max;
        lib.sumRootMany(indices, leaves, 1, Trees.packed(SumNode("hash", 0)));
        vm.expectRevert(MerkleLib.SumTooLarge.selector);
        lib.sumRootMany(indices, leaves, 1, Trees.packed(SumNode("hash", 1)));
    }
}
