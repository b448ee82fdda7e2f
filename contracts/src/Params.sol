// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IParams} from "./interfaces/IParams.sol";

/// @title Params
/// @notice The governed numbers of a network. Every network begins with the same ones.
/// @dev The owner moves values within the bounds of `_check` and can do nothing else. Values are never deleted, since
/// receipts name them by their hash.
contract Params is IParams, Ownable2Step {
    uint16 private constant BPS = 10_000;

    /// @inheritdoc IParams
    uint64 public constant GRACE = 1 hours;

    /// @dev `values` take three slots, the period one. The first holds all that other contracts read but the period.
    struct Entry {
        Values values;
        uint64 since;
        uint64 until;
    }

    /// @inheritdoc IParams
    bytes32 public hash;

    mapping(bytes32 hash => Entry) private _entries;

    /// @param owner_ May set other values, and may hand that right on.
    constructor(address owner_) Ownable(owner_) {
        Values memory first;
        (first.version, first.influenceThreshold, first.retrievalThreshold) = (1, 1280, 1_000_000);
        (first.maxPlatformBps, first.minModelBps, first.maxModelBps) = (2000, 1000, 4000);
        (first.maxStakersBps, first.minContributorsBps) = (3000, 3000);
        (first.treasuryBps, first.validationBps, first.nodeBps) = (6000, 2000, 4000);
        (first.maxParentBps, first.maxParentsBps) = (2000, 5000);
        (first.challengerBps, first.harmedBps) = (3000, 3000);
        (first.spansNumerator, first.spansDenominator) = (10, 3);
        (first.mixes[0], first.mixes[1]) = (5000, 5000);
        (first.mixes[3], first.mixes[4], first.mixes[5]) = (4000, 4000, 2000);
        _put(first, 0);
    }

    /// @inheritdoc IParams
    function set(Values calldata values) external onlyOwner {
        Entry storage last = _entries[hash];
        uint32 expected = last.values.version + 1;
        require(values.version == expected, WrongVersion(values.version, expected));
        last.until = uint64(block.timestamp);
        _put(values, uint64(block.timestamp));
    }

    /// @inheritdoc IParams
    function current() external view returns (Values memory) {
        return _entries[hash].values;
    }

    /// @inheritdoc IParams
    function modelBounds() external view returns (ModelBounds memory) {
        Values storage v = _entries[hash].values;
        return ModelBounds(
            v.maxPlatformBps, v.minModelBps, v.maxModelBps, v.maxStakersBps, v.minContributorsBps, v.maxParentBps
        );
    }

    /// @inheritdoc IParams
    function valuesOf(bytes32 hash_) external view returns (Values memory) {
        return _entry(hash_).values;
    }

    /// @inheritdoc IParams
    function periodOf(bytes32 hash_) external view returns (uint64 since, uint64 until) {
        Entry storage entry = _entry(hash_);
        return (entry.since, entry.until);
    }

    /// @inheritdoc IParams
    function partsAt(bytes32 hash_, uint256 time) external view returns (bool inForce, Parts memory parts) {
        Entry storage entry = _entries[hash_];
        Values storage v = entry.values;
        parts = Parts(v.treasuryBps, v.validationBps, v.nodeBps, v.maxParentsBps);
        if (v.version == 0) return (false, parts);
        (uint64 since, uint64 until) = (entry.since, entry.until);
        // A time that does not fit 64 bits is none; sums with `GRACE` are then free of overflow.
        inForce = time <= type(uint64).max && time + GRACE >= since && (until == 0 || time < uint256(until) + GRACE);
    }

    function _entry(bytes32 hash_) private view returns (Entry storage entry) {
        entry = _entries[hash_];
        require(entry.values.version != 0, NeverInForce(hash_));
    }

    function _put(Values memory values, uint64 since) private {
        _check(values);
        bytes32 hash_ = keccak256(abi.encode(values));
        hash = hash_;
        Entry storage entry = _entries[hash_];
        (entry.values, entry.since) = (values, since);
        emit ValuesSet(hash_, values.version, values);
    }

    /// @dev The bounds that no owner can leave.
    function _check(Values memory v) private pure {
        require(v.maxPlatformBps <= 2000, OutOfBounds("maxPlatformBps"));
        require(v.minModelBps >= 1000 && v.minModelBps <= v.maxModelBps, OutOfBounds("minModelBps"));
        require(v.maxModelBps <= 4000, OutOfBounds("maxModelBps"));
        require(v.maxStakersBps <= 3000, OutOfBounds("maxStakersBps"));
        require(
            v.minContributorsBps >= 3000 && v.minContributorsBps <= BPS - v.minModelBps,
            OutOfBounds("minContributorsBps")
        );
        require(v.treasuryBps <= BPS, OutOfBounds("treasuryBps"));
        require(v.validationBps <= BPS - v.treasuryBps, OutOfBounds("validationBps"));
        require(v.nodeBps >= 3000 && v.nodeBps <= BPS, OutOfBounds("nodeBps"));
        require(v.maxParentBps <= 2000, OutOfBounds("maxParentBps"));
        require(v.maxParentsBps >= v.maxParentBps && v.maxParentsBps <= 5000, OutOfBounds("maxParentsBps"));
        require(v.challengerBps >= 1000 && v.challengerBps <= 5000, OutOfBounds("challengerBps"));
        require(v.harmedBps <= 5000 && v.challengerBps + v.harmedBps <= 6000, OutOfBounds("harmedBps"));
        require(v.spansDenominator != 0 && v.spansDenominator <= 1000, OutOfBounds("spansDenominator"));
        require(
            v.spansNumerator >= v.spansDenominator && v.spansNumerator <= 10 * v.spansDenominator,
            OutOfBounds("spansNumerator")
        );
        require(v.influenceThreshold >= 256 && v.influenceThreshold <= 25_600, OutOfBounds("influenceThreshold"));
        require(v.retrievalThreshold >= 1000 && v.retrievalThreshold <= 100_000_000, OutOfBounds("retrievalThreshold"));
        uint256 last = BPS;
        for (uint256 i; i < 12; i += 3) {
            uint256 sum = uint256(v.mixes[i]) + v.mixes[i + 1] + v.mixes[i + 2];
            // The first is a mix; none comes after an unused one.
            require(sum == BPS || (sum == 0 && i != 0), OutOfBounds("mixes"));
            require(sum <= last, OutOfBounds("mixes"));
            last = sum;
        }
    }
}
