// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Channels} from "../src/Channels.sol";
import {Payouts} from "../src/Payouts.sol";
import {IChannels} from "../src/interfaces/IChannels.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {World} from "./base/World.sol";
import {Wallet} from "./Titles.t.sol";

contract ChannelsTest is World {
    bytes32 private constant RECEIVE = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant PERMIT =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    IChannels.Config private c;

    function setUp() public override {
        super.setUp();
        c = config("salt");
    }

    function deposit(uint128 amount) private {
        vm.prank(payer);
        channels.deposit(c, amount);
    }

    function redeemed() private view returns (uint128) {
        return channels.channels(channels.channelOf(c)).redeemed;
    }

    function test_a_channel_is_the_hash_of_what_it_is() public view {
        eq(
            channels.channelOf(c),
            keccak256(abi.encode(block.chainid, channels, payer, addressOf("session"), node, 1 hours, bytes32("salt"))),
            "id"
        );
    }

    function test_a_voucher_moves_what_it_owes_to_payouts() public {
        deposit(10 ether);
        eq(channels.redeem(voucher(c, 4 ether)), 4 ether, "moved");
        eq(payouts.funded(), 4 ether, "funded");
        eq(open.balanceOf(address(payouts)), 4 ether, "held by payouts");
        eq(open.balanceOf(address(channels)), 6 ether, "the rest stays");
    }

    function test_redeeming_twice_or_an_older_voucher_does_nothing() public {
        deposit(10 ether);
        channels.redeem(voucher(c, 4 ether));
        eq(channels.redeem(voucher(c, 4 ether)), 0, "twice");
        eq(channels.redeem(voucher(c, 3 ether)), 0, "older");
        eq(payouts.funded(), 4 ether, "funded once");
    }

    function testFuzz_any_order_of_vouchers_gives_one_result(uint128 x, uint128 y, uint128 z, uint8 order) public {
        deposit(10 ether);
        uint128[3] memory sums =
            [uint128(bound(x, 0, 20 ether)), uint128(bound(y, 0, 20 ether)), uint128(bound(z, 0, 20 ether))];
        for (uint256 i; i < 3; ++i) {
            channels.redeem(voucher(c, sums[(order + i) % 3]));
            channels.redeem(voucher(c, sums[(order + 2 * i) % 3]));
        }
        uint128 most = sums[0] > sums[1] ? sums[0] : sums[1];
        if (sums[2] > most) most = sums[2];
        if (most > 10 ether) most = 10 ether;
        eq(redeemed(), most, "the highest voucher, at most the balance");
        eq(payouts.funded(), most, "and as much went to payouts");
    }

    function test_a_voucher_beyond_the_balance_takes_the_rest_after_the_next_deposit() public {
        deposit(3 ether);
        eq(channels.redeem(voucher(c, 5 ether)), 3 ether, "what is there");
        deposit(10 ether);
        eq(channels.redeem(voucher(c, 5 ether)), 2 ether, "the rest");
    }

    function test_vouchers_of_many_channels_move_with_one_payment() public {
        IChannels.Voucher[] memory list = new IChannels.Voucher[](3);
        for (uint256 i; i < 3; ++i) {
            c = config(bytes32(i));
            deposit(10 ether);
            list[i] = voucher(c, uint128(i) * 1 ether);
        }
        eq(channels.redeemMany(list), 3 ether, "moved");
        eq(channels.redeemMany(list), 0, "once");
        eq(payouts.funded(), 3 ether, "funded");
    }

    function test_a_voucher_of_another_key_is_refused() public {
        deposit(10 ether);
        IChannels.Voucher memory v = voucher(c, 1 ether);
        v.cumulative = 2 ether;
        vm.expectRevert(abi.encodeWithSelector(IChannels.NotSignedByPayer.selector, channels.channelOf(c)));
        channels.redeem(v);
        v.signature = "short";
        vm.expectRevert(abi.encodeWithSelector(IChannels.NotSignedByPayer.selector, channels.channelOf(c)));
        channels.redeem(v);
    }

    function test_without_a_session_key_the_payer_signs() public {
        c.payerAuthorizer = address(0);
        deposit(1 ether);
        IChannels.Voucher memory v = voucher(c, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IChannels.NotSignedByPayer.selector, channels.channelOf(c)));
        channels.redeem(v);
        v.signature = sign(keyOf("payer"), channels.voucherDigest(channels.channelOf(c), 1 ether));
        eq(channels.redeem(v), 1 ether, "moved");
    }

    function test_a_wallet_of_code_signs_by_erc_1271() public {
        c.payerAuthorizer = address(new Wallet(addressOf("session")));
        deposit(1 ether);
        eq(channels.redeem(voucher(c, 1 ether)), 1 ether, "moved");
    }

    function test_anyone_may_pay_into_a_channel_and_only_its_payer_gets_it_back() public {
        open.approve(address(channels), 1 ether);
        channels.deposit(c, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IChannels.NotPayer.selector, address(this)));
        channels.requestWithdrawal(c, 1 ether);
        uint256 had = open.balanceOf(payer);
        vm.prank(payer);
        channels.requestWithdrawal(c, 1 ether);
        vm.warp(block.timestamp + 1 hours);
        channels.withdraw(c);
        eq(open.balanceOf(payer), had + 1 ether, "the payer has it");
    }

    function test_a_withdrawal_waits_and_leaves_what_was_redeemed() public {
        deposit(10 ether);
        vm.prank(payer);
        channels.requestWithdrawal(c, 8 ether);
        uint64 readyAt = uint64(block.timestamp) + 1 hours;
        eq(channels.withdrawals(channels.channelOf(c)).readyAt, readyAt, "ready at");
        vm.warp(readyAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IChannels.WithdrawalNotDue.selector, readyAt));
        channels.withdraw(c);
        channels.redeem(voucher(c, 4 ether));
        vm.warp(readyAt);
        eq(channels.withdraw(c), 6 ether, "what is left");
        vm.expectRevert(abi.encodeWithSelector(IChannels.WithdrawalNotDue.selector, 0));
        channels.withdraw(c);
        eq(channels.redeem(voucher(c, 5 ether)), 0, "nothing left to redeem");
        deposit(1 ether);
        eq(channels.redeem(voucher(c, 5 ether)), 1 ether, "until the next deposit");
    }

    function test_a_withdrawal_of_a_part_leaves_the_rest() public {
        deposit(10 ether);
        vm.prank(payer);
        channels.requestWithdrawal(c, 3 ether);
        vm.warp(block.timestamp + 1 hours);
        eq(channels.withdraw(c), 3 ether, "part");
        eq(channels.channels(channels.channelOf(c)).balance, 7 ether, "rest");
    }

    function test_channels_with_a_delay_out_of_bounds_or_without_parties_are_refused() public {
        vm.startPrank(payer);
        c.withdrawDelay = 15 minutes - 1;
        vm.expectRevert(IChannels.BadConfig.selector);
        channels.deposit(c, 1);
        c.withdrawDelay = 30 days + 1;
        vm.expectRevert(IChannels.BadConfig.selector);
        channels.deposit(c, 1);
        c = config("salt");
        c.node = address(0);
        vm.expectRevert(IChannels.BadConfig.selector);
        channels.deposit(c, 1);
        c = config("salt");
        c.payer = address(0);
        vm.expectRevert(IChannels.BadConfig.selector);
        channels.deposit(c, 1);
    }

    function test_deposits_rest_while_paused_and_redemptions_and_withdrawals_do_not() public {
        deposit(10 ether);
        vm.prank(guardian);
        payouts.pause();
        vm.prank(payer);
        vm.expectRevert(abi.encodeWithSelector(IChannels.DepositsPaused.selector, block.timestamp + 3 days));
        channels.deposit(c, 1);
        channels.redeem(voucher(c, 1 ether));
        vm.prank(payer);
        channels.requestWithdrawal(c, 1 ether);
        vm.warp(block.timestamp + 1 hours);
        eq(channels.withdraw(c), 1 ether, "withdrawn while paused");
        vm.warp(block.timestamp + 3 days);
        deposit(1 ether);
    }

    function permitOf(uint256 amount) private view returns (uint8 v, bytes32 r, bytes32 s) {
        bytes32 structHash =
            keccak256(abi.encode(PERMIT, payer, channels, amount, open.nonces(payer), type(uint256).max));
        return vm.sign(keyOf("payer"), keccak256(abi.encodePacked(hex"1901", open.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_a_permit_deposits_without_an_approval_even_when_someone_used_it_first() public {
        vm.prank(payer);
        open.approve(address(channels), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitOf(2 ether);
        vm.prank(payer);
        channels.depositWithPermit(c, 2 ether, type(uint256).max, v, r, s);
        (v, r, s) = permitOf(3 ether);
        open.permit(payer, address(channels), 3 ether, type(uint256).max, v, r, s);
        vm.prank(payer);
        bytes32 channel = channels.depositWithPermit(c, 3 ether, type(uint256).max, v, r, s);
        eq(channels.channels(channel).balance, 5 ether, "balance");
    }

    function test_someone_elses_permit_deposits_nothing() public {
        vm.prank(payer);
        open.approve(address(channels), 0);
        (uint8 v, bytes32 r, bytes32 s) = permitOf(2 ether);
        vm.expectRevert();
        channels.depositWithPermit(c, 2 ether, type(uint256).max, v, r, s);
    }

    function test_an_authorization_pays_into_the_one_channel_it_names() public {
        bytes32 channel = channels.channelOf(c);
        bytes32 nonce = keccak256(abi.encode(channel, bytes32("deposit 1")));
        bytes32 structHash =
            keccak256(abi.encode(RECEIVE, payer, channels, uint256(2 ether), 0, type(uint256).max, nonce));
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(keyOf("payer"), keccak256(abi.encodePacked(hex"1901", open.DOMAIN_SEPARATOR(), structHash)));
        IChannels.Config memory thief = config("other");
        vm.expectRevert();
        channels.depositWithAuthorization(thief, 2 ether, 0, type(uint256).max, "deposit 1", v, r, s);
        channels.depositWithAuthorization(c, 2 ether, 0, type(uint256).max, "deposit 1", v, r, s);
        eq(channels.channels(channel).balance, 2 ether, "balance");
        vm.expectRevert();
        channels.depositWithAuthorization(c, 2 ether, 0, type(uint256).max, "deposit 1", v, r, s);
    }

    function test_on_a_local_network_a_second_is_a_day() public {
        IPayouts.Settings memory p = settings();
        (p.day, p.window) = (1, 1);
        Channels local = Channels(address(new Payouts(p).CHANNELS()));
        eq(local.MIN_DELAY(), 1, "shortest delay");
        eq(local.MAX_DELAY(), 30, "longest delay");
        eq(channels.MIN_DELAY(), 15 minutes, "shortest delay in production");
    }
}
