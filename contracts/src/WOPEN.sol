// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title Wrapped OPEN
/// @notice ERC-20 over the gas coin, one for one, in the shape of WETH9, with permits (ERC-2612) and authorisations (ERC-3009).
/// @dev The supply equals the coin held, but for coin forced in by `selfdestruct` or as a block reward, which nobody owns.
contract WOPEN is ERC20, ERC20Permit, ERC3009 {
    /// @notice The coin could not be sent to the caller, who is a contract that refuses it.
    error WithdrawalRefused(address account, uint256 amount);

    /// @notice `account` wrapped `amount` base units.
    event Deposit(address indexed account, uint256 amount);
    /// @notice `account` unwrapped `amount` base units.
    event Withdrawal(address indexed account, uint256 amount);

    constructor() ERC20("Wrapped OPEN", "WOPEN") ERC20Permit("Wrapped OPEN") {}

    /// @notice Coin sent without data is wrapped for its sender.
    receive() external payable {
        deposit();
    }

    /// @notice Wraps the coin sent with the call.
    function deposit() public payable {
        _mint(msg.sender, msg.value);
        emit Deposit(msg.sender, msg.value);
    }

    /// @notice Unwraps `amount` base units and sends the coin to the caller.
    /// @dev Burns before it sends, so a re-entering caller finds its balance already lowered.
    function withdraw(uint256 amount) external {
        _burn(msg.sender, amount);
        emit Withdrawal(msg.sender, amount);
        (bool sent,) = msg.sender.call{value: amount}("");
        require(sent, WithdrawalRefused(msg.sender, amount));
    }
}
