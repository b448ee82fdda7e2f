// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title SplitLib
/// @notice The lines of a price that follow from its shares alone, as the `ledger` crate draws them.
/// @dev All amounts in base units of OPEN, all shares in basis points. Parts are floored; what the model part's halves
/// leave goes to the owner, everything else that flooring leaves goes to insurance.
library SplitLib {
    uint256 internal constant BPS = 10_000;
    /// @dev Of the platform part.
    uint256 internal constant TREASURY_BPS = 6000;
    uint256 internal constant VALIDATION_BPS = 2000;
    /// @dev Of the model part; the owner has the rest.
    uint256 internal constant NODE_BPS = 4000;
    /// @dev Most that all ancestors together take of the owner's line.
    uint256 internal constant PARENTS_BPS = 5000;

    /// @dev Treasury's and validation's lines; the rest of the platform part is insurance's.
    function platform(uint256 price, uint256 bps) internal pure returns (uint256 treasury, uint256 validation) {
        uint256 part = price * bps / BPS;
        return (part * TREASURY_BPS / BPS, part * VALIDATION_BPS / BPS);
    }

    /// @dev The node's line, and the owner's before parents take theirs.
    function model(uint256 price, uint256 bps) internal pure returns (uint256 node, uint256 owner) {
        uint256 part = price * bps / BPS;
        node = part * NODE_BPS / BPS;
        owner = part - node;
    }

    /// @dev The stakers' line.
    function stakers(uint256 price, uint256 bps) internal pure returns (uint256) {
        return price * bps / BPS;
    }

    /// @dev What contributors share: the price less the other three parts.
    function contributors(uint256 price, uint256 platformBps, uint256 modelBps, uint256 stakersBps)
        internal
        pure
        returns (uint256)
    {
        return price - price * platformBps / BPS - price * modelBps / BPS - price * stakersBps / BPS;
    }
}
