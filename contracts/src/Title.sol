// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";

import {ITitle} from "./interfaces/ITitle.sol";

/// @title Title
/// @notice An ERC-721 whose holder at a past block can be proven on chain across its last change of hands.
/// @dev The memory is one slot per title, written only by transfers, so minting costs nothing for it.
abstract contract Title is ITitle, ERC721, ERC2981 {
    /// @notice Highest resale royalty, in basis points.
    uint96 public constant MAX_ROYALTY_BPS = 1000;

    struct Handover {
        address from;
        uint48 inBlock;
        uint48 lastBlock;
    }

    mapping(uint256 title => Handover) private _handovers;

    /// @inheritdoc ITitle
    function lastTransfer(uint256 title) external view returns (address from, uint48 inBlock, uint48 lastBlock) {
        Handover memory handover = _handovers[title];
        return (handover.from, handover.inBlock, handover.lastBlock);
    }

    /// @inheritdoc ITitle
    function holderAt(uint256 title, uint256 blockNumber) external view returns (address) {
        address holder = ownerOf(title);
        Handover memory handover = _handovers[title];
        if (blockNumber >= handover.inBlock) return holder;
        require(blockNumber >= handover.lastBlock, HolderUnknown(title, blockNumber));
        return handover.from;
    }

    /// @inheritdoc ITitle
    function setRoyalty(uint256 title, uint96 bps) external {
        require(bps <= MAX_ROYALTY_BPS, RoyaltyTooHigh(bps));
        require(ownerOf(title) == msg.sender && _handovers[title].inBlock == 0, RoyaltyFixed(title));
        _setTokenRoyalty(title, msg.sender, bps);
        emit RoyaltySet(title, msg.sender, bps);
    }

    /// @inheritdoc ERC721
    function supportsInterface(bytes4 interfaceId) public view override(IERC165, ERC721, ERC2981) returns (bool) {
        return super.supportsInterface(interfaceId);
    }

    /// @dev Several changes within one block count as one: the holder at the end of the block matters.
    function _update(address to, uint256 title, address auth) internal override returns (address from) {
        from = super._update(to, title, auth);
        if (from != address(0)) {
            Handover storage handover = _handovers[title];
            uint48 now_ = uint48(block.number);
            if (handover.inBlock != now_) {
                (handover.from, handover.lastBlock, handover.inBlock) = (from, handover.inBlock, now_);
            }
        }
    }
}
