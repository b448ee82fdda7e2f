// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

/// @title OPEN
/// @notice The token where OPEN is not the gas coin of the chain: a fixed supply, minted once, with permits and authorisations.
/// @dev No owner, no mint, no pause, no upgrade. 18 decimals.
contract Open is ERC20, ERC20Permit, ERC3009 {
    /// @notice All that ever exists: 1,000,000,000 OPEN in base units.
    uint256 public constant SUPPLY = 1e27;

    /// @param treasury Receives the whole supply.
    constructor(address treasury) ERC20("OPEN", "OPEN") ERC20Permit("OPEN") {
        _mint(treasury, SUPPLY);
    }
}
