// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Splitter
/// @notice Holds the titles of batches made by several contributors and shares their earnings equally.
/// @dev A clone whose code ends with its contributors (one 32-byte word each); nobody can change them.
/// @dev The remainder, less than one base unit for each contributor and release, goes to the first.
contract Splitter {
    using SafeERC20 for IERC20;

    /// @notice `amount` of `token` was shared out.
    event Released(IERC20 indexed token, uint256 amount);

    /// @notice Shares out all of `token` held here; anyone may call.
    /// @param token The token, usually OPEN.
    /// @return amount Base units shared out.
    function release(IERC20 token) external returns (uint256 amount) {
        address[] memory list = contributors();
        amount = token.balanceOf(address(this));
        uint256 share = amount / list.length;
        emit Released(token, amount);
        token.safeTransfer(list[0], amount - share * (list.length - 1));
        for (uint256 i = 1; i < list.length; ++i) {
            token.safeTransfer(list[i], share);
        }
    }

    /// @notice The contributors, in order.
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
