// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title SplitLib
/// @notice The lines of a price that follow from its shares alone, as the `ledger` crate draws them.
/// @dev All amounts in base units of OPEN, all shares in basis points. Parts are floored; what the model part's halves
/// leave goes to the owner, everything else that flooring leaves goes to insurance.
library SplitLib {
    uint256 internal constant BPS = 10_000;

    /// @dev Treasury's and validation's lines; the rest of the platform part is insurance's.
    function platform(uint256 price, uint256 bps, uint256 treasuryBps, uint256 validationBps)
        internal
        pure
        returns (uint256 treasury, uint256 validation)
    {
        uint256 part = price * bps / BPS;
        return (part * treasuryBps / BPS, part * validationBps / BPS);
    }

    /// @dev The node's line, and the owner's before parents take theirs.
    function model(uint256 price, uint256 bps, uint256 nodeBps) internal pure returns (uint256 node, uint256 owner) {
        uint256 part = price * bps / BPS;
        node = part * nodeBps / BPS;
        owner = part - node;
    }

    /// @dev The stakers' line.
    function stakers(uint256 price, uint256 bps) internal pure returns (uint256) {
        return price * bps / BPS;
    }

    /// @dev The contributors' part: the price less the other three.
    function contributors(uint256 price, uint256 platformBps, uint256 modelBps, uint256 stakersBps)
        internal
        pure
        returns (uint256)
    {
        return price - price * platformBps / BPS - price * modelBps / BPS - price * stakersBps / BPS;
    }
}
