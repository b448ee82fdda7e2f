// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title CumulativeLib
/// @notice The one rule by which money leaves `Channels` and `Payouts`: pay up to a lifetime sum, never back.
library CumulativeLib {
    /// @dev The amount still due of `upTo` after `had`; zero for a repeated or older sum. So any sums in any
    /// order, each any number of times, pay the highest of them once.
    function due(uint128 had, uint128 upTo) internal pure returns (uint128) {
        unchecked {
            return upTo > had ? upTo - had : 0;
        }
    }

    /// @dev As `due`, where no more than `limit` may be paid in all.
    function dueWithin(uint128 had, uint128 upTo, uint128 limit) internal pure returns (uint128) {
        return due(had, upTo < limit ? upTo : limit);
    }
}
