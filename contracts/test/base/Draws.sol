// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev The generator of `docs/formats.md`: draws of a case are the 64-bit pieces of `H(seed ‖ domain ‖ case ‖ 0)`,
/// `H(seed ‖ domain ‖ case ‖ 1)`, … The first four members are what is hashed, so their order matters.
struct Draw {
    bytes32 seed;
    bytes32 domain;
    uint256 number;
    uint256 block_;
    uint256 pieces;
    uint256 left;
}

/// @title Draws
library Draws {
    function from(bytes32 seed, string memory domain) internal pure returns (Draw memory draw) {
        (draw.seed, draw.domain) = (seed, keccak256(bytes(domain)));
    }

    function start(Draw memory draw, uint256 number) internal pure {
        (draw.number, draw.block_, draw.left) = (number, 0, 0);
    }

    function next(Draw memory draw) internal pure returns (uint256 piece) {
        assembly ("memory-safe") {
            let left := mload(add(draw, 160))
            if iszero(left) {
                mstore(add(draw, 128), keccak256(draw, 128))
                mstore(add(draw, 96), add(mload(add(draw, 96)), 1))
                left := 4
            }
            left := sub(left, 1)
            mstore(add(draw, 160), left)
            piece := and(shr(shl(6, left), mload(add(draw, 128))), 0xffffffffffffffff)
        }
    }

    function below(Draw memory draw, uint256 bound) internal pure returns (uint256) {
        return next(draw) % bound;
    }

    function wide(Draw memory draw) internal pure returns (uint256 high) {
        high = next(draw) << 64;
        return high | next(draw);
    }

    function hash(Draw memory draw) internal pure returns (bytes32) {
        uint256 high = wide(draw) << 128;
        return bytes32(high | wide(draw));
    }

    /// @dev Where free memory begins.
    function mark() internal pure returns (uint256 free) {
        assembly ("memory-safe") {
            free := mload(0x40)
        }
    }

    /// @dev Gives back what was taken since `mark`; nothing of it may be used afterwards. New memory must read as zero,
    /// so it is cleared.
    function release(uint256 free) internal pure {
        assembly ("memory-safe") {
            calldatacopy(free, calldatasize(), sub(mload(0x40), free))
            mstore(0x40, free)
        }
    }
}
