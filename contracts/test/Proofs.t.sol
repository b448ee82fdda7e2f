// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CumulativeLib} from "../src/libraries/CumulativeLib.sol";
import {MerkleLib, SumNode} from "../src/libraries/MerkleLib.sol";
import {SplitLib} from "../src/libraries/SplitLib.sol";

/// @dev The rule of a claim, as `Payouts._pay` applies it to one account.
contract ClaimRule {
    uint128 public claimed;
    uint256 public paid;

    function claim(uint128 cumulative) external {
        uint128 due = CumulativeLib.due(claimed, cumulative);
        paid += due;
        claimed += due;
    }
}

/// @dev The rule of a redemption, as `Channels._redeem` applies it to one channel.
contract RedeemRule {
    uint128 public balance;
    uint128 public redeemed;
    uint256 public moved;

    constructor(uint128 balance_) {
        balance = balance_;
    }

    function redeem(uint128 cumulative) external {
        uint128 due = CumulativeLib.dueWithin(redeemed, cumulative, balance);
        moved += due;
        redeemed += due;
    }
}

/// @dev Statements that hold for every input, proven with halmos (`check_`) and sampled by forge (`testFuzz_`).
contract Proofs {
    function max(uint128 a, uint128 b) private pure returns (uint128) {
        return a > b ? a : b;
    }

    /// @dev Whatever cumulative claims come in whatever order, an account is paid the highest one, once.
    function check_claims_pay_the_highest_total_once(uint128 a, uint128 b, uint128 c) public {
        ClaimRule rule = new ClaimRule();
        rule.claim(a);
        rule.claim(b);
        rule.claim(c);
        rule.claim(b);
        assert(rule.paid() == max(a, max(b, c)));
        assert(rule.claimed() == rule.paid());
    }

    /// @dev Vouchers in any order move the highest one or the balance, whichever is less.
    function check_vouchers_move_the_highest_once(uint128 balance, uint128 a, uint128 b) public {
        RedeemRule one = new RedeemRule(balance);
        one.redeem(a);
        one.redeem(b);
        one.redeem(a);
        RedeemRule other = new RedeemRule(balance);
        other.redeem(b);
        other.redeem(a);
        assert(one.redeemed() == other.redeemed());
        assert(one.moved() == one.redeemed());
        uint128 most = max(a, b);
        assert(one.redeemed() == (most < balance ? most : balance));
    }

    /// @dev A parent's sum is its children's, or there is no parent: no sum is ever lost to overflow.
    function check_a_sum_node_holds_the_sum_of_its_children(bytes32 l, uint128 x, bytes32 r, uint128 y) public view {
        try this.parent(l, x, r, y) returns (uint128 sum) {
            assert(uint256(sum) == uint256(x) + uint256(y));
        } catch {
            assert(uint256(x) + uint256(y) > type(uint128).max);
        }
    }

    function parent(bytes32 l, uint128 x, bytes32 r, uint128 y) external pure returns (uint128 sum) {
        (, sum) = MerkleLib.parent(l, x, r, y);
    }

    /// @dev A proof of one level gives total and prefix exactly, on either side.
    function check_a_proof_gives_total_and_prefix(bytes32 leaf, uint128 x, bytes32 s, uint128 y, bool right)
        public
        view
    {
        SumNode[] memory siblings = new SumNode[](1);
        siblings[0] = SumNode(s, y);
        try this.climb(leaf, x, right ? 1 : 0, siblings) returns (uint128 total, uint128 prefix) {
            assert(uint256(total) == uint256(x) + uint256(y));
            assert(prefix == (right ? y : 0));
        } catch {
            assert(uint256(x) + uint256(y) > type(uint128).max);
        }
    }

    function climb(bytes32 leaf, uint128 sum, uint256 index, SumNode[] calldata siblings)
        external
        pure
        returns (uint128 total, uint128 prefix)
    {
        (, total, prefix) = MerkleLib.sumRoot(leaf, sum, index, siblings);
    }

    /// @dev Within the bounds of `Params` every line fits in the price, and the lines never exceed it.
    function check_the_split_never_exceeds_the_price(uint64 price, uint16 p, uint16 m, uint16 s) public pure {
        if (p > 2000 || m < 1000 || m > 4000 || s > 3000 || uint256(p) + m + s > 7000) return;
        uint256 platform = uint256(price) * p / 10_000;
        uint256 model = uint256(price) * m / 10_000;
        uint256 stakers = SplitLib.stakers(price, s);
        uint256 contributors = SplitLib.contributors(price, p, m, s);
        assert(platform + model + stakers + contributors == price);
        (uint256 treasury, uint256 validation) = SplitLib.platform(price, p, 6000, 2000);
        assert(treasury + validation <= platform);
        (uint256 node, uint256 owner) = SplitLib.model(price, m, 4000);
        assert(node + owner == model);
    }

    function testFuzz_claims_pay_the_highest_total_once(uint128 a, uint128 b, uint128 c) public {
        check_claims_pay_the_highest_total_once(a, b, c);
    }

    function testFuzz_vouchers_move_the_highest_once(uint128 balance, uint128 a, uint128 b) public {
        check_vouchers_move_the_highest_once(balance, a, b);
    }

    function testFuzz_a_sum_node_holds_the_sum_of_its_children(bytes32 l, uint128 x, bytes32 r, uint128 y) public view {
        check_a_sum_node_holds_the_sum_of_its_children(l, x, r, y);
    }

    function testFuzz_a_proof_gives_total_and_prefix(bytes32 leaf, uint128 x, bytes32 s, uint128 y, bool right)
        public
        view
    {
        check_a_proof_gives_total_and_prefix(leaf, x, s, y, right);
    }

    function testFuzz_the_split_never_exceeds_the_price(uint64 price, uint16 p, uint16 m, uint16 s) public pure {
        check_the_split_never_exceeds_the_price(price, p % 2001, m % 4001, s % 3001);
    }
}
