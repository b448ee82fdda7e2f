// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SumNode} from "../src/libraries/MerkleLib.sol";
import {MerkleHarness} from "./Merkle.t.sol";
import {Base, Vm} from "./base/Base.sol";
import {Draw, Draws} from "./base/Draws.sol";
import {Split, Splits} from "./base/Splits.sol";
import {Trees} from "./base/Trees.sol";

/// @dev The seeded generator of `docs/formats.md`: its digests are those Rust wrote to `vectors/differential.json`.
contract DifferentialTest is Base {
    using Draws for Draw;

    bytes32 private constant REFUSED = bytes32(type(uint256).max);

    string private json;
    MerkleHarness private lib;

    /// @dev One leaf of a tree, a proof of its place, and how the proof was spoilt.
    struct Place {
        uint256 at;
        uint256 index;
        uint256 level;
        uint256 spoil;
    }

    function setUp() public {
        // Coverage runs unoptimised code, in which this would take an hour and show nothing new.
        vm.skip(vm.isContext(Vm.Context.Coverage));
        json = vm.readFile("../vectors/differential.json");
        lib = new MerkleHarness();
    }

    /// @dev The numbers of the runs: one, and in the long profile the second too.
    function runs() private view returns (uint256) {
        return keccak256(bytes(vm.envOr("FOUNDRY_PROFILE", "default"))) == keccak256("long") ? 2 : 1;
    }

    function member(uint256 run, string memory name) private pure returns (string memory) {
        return string.concat(".runs[", vm.toString(run), "].", name);
    }

    function seed() private view returns (bytes32) {
        return keccak256(bytes(vm.parseJsonString(json, ".seed")));
    }

    function test_generated_splits_fold_to_the_committed_digest() public view {
        Draw memory draw = Draws.from(seed(), "split");
        bytes32 digest;
        uint256 done;
        for (uint256 run; run < runs(); ++run) {
            uint256 count = vm.parseJsonUint(json, member(run, "splits"));
            for (; done < count; ++done) {
                // Each case leaves memory as it found it; a hundred thousand would not fit otherwise.
                uint256 free = Draws.mark();
                digest = foldSplit(digest, draw, done);
                Draws.release(free);
            }
            eq(digest, vm.parseJsonBytes32(json, member(run, "splitsDigest")), "splits");
        }
    }

    function test_generated_trees_fold_to_the_committed_digest() public view {
        Draw memory draw = Draws.from(seed(), "tree");
        bytes32 digest;
        uint256 done;
        for (uint256 run; run < runs(); ++run) {
            uint256 count = vm.parseJsonUint(json, member(run, "trees"));
            for (; done < count; ++done) {
                uint256 free = Draws.mark();
                digest = foldTree(digest, draw, done);
                Draws.release(free);
            }
            eq(digest, vm.parseJsonBytes32(json, member(run, "treesDigest")), "trees");
        }
    }

    function foldSplit(bytes32 digest, Draw memory draw, uint256 number) private pure returns (bytes32) {
        draw.start(number);
        Split memory s = Splits.generate(draw);
        if (!Splits.isAllowed(s)) return keccak256(abi.encode(digest, REFUSED));
        return keccak256(abi.encodePacked(digest, Splits.lines(s)));
    }

    function foldTree(bytes32 digest, Draw memory draw, uint256 number) private view returns (bytes32) {
        draw.start(number);
        uint256 count = draw.below(4) < 3 ? 1 + draw.below(8) : 1 + draw.below(64);
        bool huge = draw.below(16) == 0;
        SumNode[] memory leaves = new SumNode[](count);
        bytes32[] memory hashes = new bytes32[](count);
        uint256 total;
        for (uint256 i; i < count; ++i) {
            hashes[i] = draw.hash();
            uint256 sum;
            if (draw.below(8) != 0) sum = huge ? draw.wide() : draw.next();
            leaves[i] = SumNode(hashes[i], uint128(sum));
            total += sum;
        }
        Place memory p;
        uint256 depth = Trees.depth(count);
        p.at = draw.below(1 << depth);
        p.level = draw.below(depth == 0 ? 1 : depth);
        p.spoil = draw.below(depth == 0 ? 2 : 4);
        p.index = p.at;
        if (p.spoil == 1) p.index |= 1 << depth;
        if (p.spoil == 2) p.index ^= 1 << p.level;
        digest = keccak256(abi.encodePacked(digest, foldPlain(hashes, p), foldSums(leaves, p, total)));
        return digest;
    }

    function foldPlain(bytes32[] memory leaves, Place memory p) private view returns (bytes memory words) {
        bytes32 leaf = p.at < leaves.length ? leaves[p.at] : bytes32(0);
        bytes32 root = Trees.root(leaves);
        bytes32[] memory siblings = Trees.prove(leaves, p.at);
        ok(holds(root, leaf, p.at, siblings), "a proof does not hold");
        words = abi.encodePacked(root, siblings);
        if (p.spoil == 0) leaf ^= bytes32(uint256(1));
        if (p.spoil == 3) siblings[p.level] ^= bytes32(uint256(1));
        bool held = holds(root, leaf, p.index, siblings);
        ok(!held || p.spoil == 2, "a spoilt proof holds");
        return abi.encodePacked(words, held ? uint256(1) : 0);
    }

    function holds(bytes32 root, bytes32 leaf, uint256 index, bytes32[] memory siblings) private view returns (bool) {
        try lib.root(leaf, index, siblings) returns (bytes32 found) {
            return found == root;
        } catch {
            return false;
        }
    }

    function foldSums(SumNode[] memory leaves, Place memory p, uint256 total)
        private
        view
        returns (bytes memory words)
    {
        if (total >> 128 != 0) return abi.encodePacked(REFUSED);
        SumNode memory leaf;
        if (p.at < leaves.length) leaf = SumNode(leaves[p.at].hash, leaves[p.at].sum);
        SumNode memory root = Trees.root(leaves);
        SumNode[] memory siblings = Trees.prove(leaves, p.at);
        words = abi.encodePacked(root.hash, uint256(root.sum));
        for (uint256 i; i < siblings.length; ++i) {
            words = abi.encodePacked(words, siblings[i].hash, uint256(siblings[i].sum));
        }
        (bool held, uint128 prefix) = climbs(root, leaf, p.at, siblings);
        ok(held, "a sum proof does not hold");
        if (p.spoil == 0) leaf.sum ^= 1;
        if (p.spoil == 3) siblings[p.level] = SumNode(siblings[p.level].hash, siblings[p.level].sum ^ 1);
        (held,) = climbs(root, leaf, p.index, siblings);
        ok(!held || p.spoil == 2, "a spoilt sum proof holds");
        return abi.encodePacked(words, uint256(prefix), held ? uint256(1) : 0);
    }

    function climbs(SumNode memory root, SumNode memory leaf, uint256 index, SumNode[] memory siblings)
        private
        view
        returns (bool, uint128)
    {
        try lib.sumRoot(leaf.hash, leaf.sum, index, siblings) returns (bytes32 hash, uint128 sum, uint128 prefix) {
            return (hash == root.hash && sum == root.sum, prefix);
        } catch {
            return (false, 0);
        }
    }
}
