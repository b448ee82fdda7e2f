// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Splitter
/// @notice Holds the titles of batches made by several contributors and shares what they earn equally.
/// @dev A clone whose code ends with its contributors (one 32-byte word each); nobody can change them.
/// @dev Shares are taken of everything ever received, so how often it is released changes nobody's total.
contract Splitter {
    using SafeERC20 for IERC20;

    /// @notice `amount` of `token` was shared out.
    event Released(IERC20 indexed token, uint256 amount);

    /// @notice Base units of a token shared out so far.
    mapping(IERC20 token => uint256) public released;

    /// @notice Shares out all of `token` held here; anyone may call.
    /// @dev Of a lifetime total T, each of k contributors has had floor(T / k); the first also what does not divide.
    /// @param token The token, usually OPEN.
    /// @return amount Base units shared out.
    function release(IERC20 token) external returns (uint256 amount) {
        address[] memory list = contributors();
        amount = token.balanceOf(address(this));
        uint256 had = released[token];
        uint256 total = had + amount;
        released[token] = total;
        emit Released(token, amount);

        uint256 share = total / list.length - had / list.length;
        token.safeTransfer(list[0], amount - share * (list.length - 1));
        for (uint256 i = 1; i < list.length; ++i) {
            token.safeTransfer(list[i], share);
        }
    }

    /// @notice Who shares, in order.
    function contributors() public view returns (address[] memory list) {
        bytes memory args = Clones.fetchCloneArgs(address(this));
        list = new address[](args.length / 32);
        for (uint256 i; i < list.length; ++i) {
            assembly ("memory-safe") {
                mstore(add(add(list, 32), shl(5, i)), mload(add(add(args, 32), shl(5, i))))
            }
        }
    }
}
