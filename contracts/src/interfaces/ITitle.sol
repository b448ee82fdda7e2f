// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

/// @title ITitle
/// @notice The additions of every title to ERC-721 and ERC-2981: a memory of its last change of hands, and a resale royalty.
interface ITitle is IERC721 {
    /// @notice The holder at `blockNumber` does not follow from the last change of hands alone.
    error HolderUnknown(uint256 title, uint256 blockNumber);
    /// @notice A royalty is set by the first holder, before the title ever moved.
    error RoyaltyFixed(uint256 title);
    /// @notice The royalty is above `MAX_ROYALTY_BPS`.
    error RoyaltyTooHigh(uint256 bps);

    /// @notice Sales of `title` owe `bps` of their price to `receiver`.
    event RoyaltySet(uint256 indexed title, address indexed receiver, uint256 bps);

    /// @notice The last change of hands.
    /// @param title The token.
    /// @return from The holder before; zero when it never moved.
    /// @return inBlock Block of the change.
    /// @return lastBlock Block of the change before that one; zero when there was none.
    function lastTransfer(uint256 title) external view returns (address from, uint48 inBlock, uint48 lastBlock);

    /// @notice The holder of `title` when `blockNumber` was the newest block.
    /// @dev Warning: answers from the last change of hands; where two or more changes lie after `blockNumber` it reverts.
    /// @param title The token; reverts when there is no such token.
    /// @param blockNumber A block at or after the mint.
    function holderAt(uint256 title, uint256 blockNumber) external view returns (address);

    /// @notice Sets the resale royalty of the first holder, who calls; it is fixed once the title has moved.
    /// @dev ERC-2981 is a request to marketplaces; it binds nobody by itself.
    /// @param title The token.
    /// @param bps Share of the sale price in basis points, at most 1,000.
    function setRoyalty(uint256 title, uint96 bps) external;
}
