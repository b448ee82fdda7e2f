// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {IChannels} from "../src/interfaces/IChannels.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Fault} from "../src/interfaces/IVerifier.sol";
import {SumNode} from "../src/libraries/MerkleLib.sol";
import {Trees} from "./base/Trees.sol";
import {World} from "./base/World.sol";
import {Judge} from "./Payouts.t.sol";

/// @dev Does what anyone may do, in any order, and remembers what it saw.
contract Handler is World {
    uint256 private constant ACCOUNTS = 6;
    /// @dev Moves without a new epoch after which the handler is led to one.
    uint256 private constant PATIENCE = 60;

    Judge public judge;
    uint256 public moves;
    uint256 private lastMove;
    uint256 private time;
    uint128 public deposited;
    uint128 public withdrawn;
    uint128 public given;
    uint128 public paid;
    uint128 public slashed;
    uint128 public lost;
    uint64 public lastEpoch;
    uint128 public lastTotal;
    bool public rootMovedAlone;
    bool public claimedFell;
    bool public claimBlocked;

    Total[] private live;
    Total[] private proposed;
    mapping(address => uint128) private seen;

    constructor() {
        setUp();
        time = block.timestamp;
        // A judge that the handler can make say anything: the money must be safe from any verifier.
        judge = new Judge();
        vm.etch(address(verifier), address(judge).code);
        judge = Judge(address(verifier));
        give(node, 1_000_000 ether);
        bondNode();
        vm.prank(payer);
        open.approve(address(channels), type(uint256).max);
        for (uint256 i; i < ACCOUNTS; ++i) {
            live.push(Total(account(i), 0));
        }
    }

    /// @dev The fuzzer may call it again; the world stays.
    function setUp() public override {
        if (address(open) == address(0)) super.setUp();
    }

    function account(uint256 i) public pure returns (address) {
        return address(uint160(0x1000 + i % ACCOUNTS));
    }

    function tokens() external view returns (IERC20) {
        return IERC20(address(open));
    }

    function channelsHeld() external view returns (uint256 held, uint256 owed, bool sound) {
        held = open.balanceOf(address(channels));
        sound = true;
        for (uint256 i; i < 4; ++i) {
            IChannels.Channel memory c = channels.channels(channels.channelOf(config(bytes32(i))));
            owed += c.balance - c.redeemed;
            sound = sound && c.redeemed <= c.balance;
        }
    }

    function payoutsHeld()
        external
        view
        returns (uint256 held, uint256 funded, uint256 stakes, uint256 unswept, uint256 claimed)
    {
        held = open.balanceOf(address(payouts));
        funded = payouts.funded();
        stakes = payouts.operators(node).stake;
        unswept = payouts.unswept();
        for (uint256 i; i < ACCOUNTS; ++i) {
            claimed += payouts.claimed(account(i));
        }
    }

    function finalTotal() external view returns (uint128 total) {
        (,, total) = payouts.head();
    }

    function wopen() external view returns (uint256 supply, uint256 coin) {
        return (open.totalSupply(), address(open).balance);
    }

    /// @dev forge forgets a warp between calls, so the handler keeps the time.
    modifier watched() {
        vm.warp(time);
        bytes32 root = payouts.payoutRoot();
        (uint64 epoch,,) = payouts.head();
        _;
        (uint64 now_,,) = payouts.head();
        if (payouts.payoutRoot() != root && now_ == epoch) rootMovedAlone = true;
        for (uint256 i; i < ACCOUNTS; ++i) {
            uint128 claimed = payouts.claimed(account(i));
            if (claimed < seen[account(i)]) claimedFell = true;
            seen[account(i)] = claimed;
        }
        ++moves;
    }

    function deposit(uint256 channel, uint128 amount) external watched {
        amount = uint128(bound(amount, 1, 100 ether));
        if (open.balanceOf(payer) < amount) give(payer, amount);
        vm.prank(payer);
        try channels.deposit(config(bytes32(channel % 4)), amount) {
            deposited += amount;
        } catch {}
    }

    function redeem(uint256 channel, uint128 cumulative) external watched {
        channels.redeem(voucher(config(bytes32(channel % 4)), uint128(bound(cumulative, 0, 400 ether))));
    }

    function withdraw(uint256 channel, uint128 amount, bool ask) external watched {
        IChannels.Config memory c = config(bytes32(channel % 4));
        if (ask) {
            vm.prank(payer);
            channels.requestWithdrawal(c, uint128(bound(amount, 0, 200 ether)));
        } else {
            try channels.withdraw(c) returns (uint128 got) {
                withdrawn += got;
            } catch {}
        }
    }

    function wrap(uint96 amount, bool back) external watched {
        if (back) {
            uint256 had = open.balanceOf(payer);
            vm.prank(payer);
            open.withdraw(bound(amount, 0, had));
        } else {
            give(payer, amount);
        }
    }

    function fund(uint128 amount) external watched {
        _fund(uint128(bound(amount, 0, 50 ether)));
    }

    function _fund(uint128 amount) private {
        payouts.fund(amount);
        given += amount;
    }

    /// @dev An epoch that is honest, or lies about its sum.
    function propose(uint256 seed, uint8 dice) external watched {
        (, address proposer,) = payouts.pending();
        if (proposer != address(0)) return;
        bool lie = dice % 8 == 0;
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = shared(seed);
        if (lie) p.total += uint128(bound(seed, 1, 1 ether));
        vm.prank(node);
        try payouts.propose(p, e, e, t, "") {
            if (lie) rootMovedAlone = true;
        } catch {}
    }

    /// @dev Splits what is funded and not yet earned among the accounts.
    function shared(uint256 seed)
        private
        returns (IPayouts.Proposal memory p, SumNode[2] memory entriesTop, SumNode[2] memory payoutTop)
    {
        (,, uint128 total) = payouts.head();
        uint128 left = payouts.funded() - total;
        delete proposed;
        for (uint256 i; i < ACCOUNTS; ++i) {
            uint128 share = left == 0 ? 0 : uint128(uint256(keccak256(abi.encode(seed, i))) % (left / ACCOUNTS + 1));
            proposed.push(Total(live[i].account, live[i].cumulative + share));
        }
        return plain(proposed);
    }

    function finalize() external watched {
        try payouts.finalize() {
            finalized();
        } catch {}
    }

    function finalized() private {
        (uint64 epoch,, uint128 total) = payouts.head();
        if (epoch != lastEpoch + 1 || total < lastTotal) rootMovedAlone = true;
        (lastEpoch, lastTotal, lastMove) = (epoch, total, moves);
        live = proposed;
    }

    /// @dev When luck has brought no epoch for long, the shortest way to one from wherever the run is: what is pending
    /// stands after its window, and after the guardian's rest an honest proposal is made, stands too and is paid. Nothing on
    /// this way may fail: the run's reverts tell.
    function settle(uint256 seed) external watched {
        if (moves < lastMove + PATIENCE) return;
        (, address proposer, uint64 closes) = payouts.pending();
        if (proposer != address(0)) finalizeAt(closes);
        wait(payouts.pausedUntil());
        _fund(uint128(ACCOUNTS * 1 ether));
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = shared(seed);
        vm.prank(node);
        payouts.propose(p, e, e, t, "");
        (,, closes) = payouts.pending();
        finalizeAt(closes);
        for (uint256 i; i < ACCOUNTS; ++i) {
            paid += payouts.claim(live[i].account, live[i].cumulative, i, Trees.prove(payoutLeaves(live), i));
        }
    }

    function finalizeAt(uint256 closes) private {
        wait(closes);
        payouts.finalize();
        finalized();
    }

    function wait(uint256 until) private {
        if (time < until) time = until;
        vm.warp(time);
    }

    function challenge(address harmed, uint8 dice) external watched {
        bool lenient = dice % 4 != 0;
        if (dice % 8 == 0) harmed = address(0);
        judge.set(harmed == address(payouts) || harmed == address(channels) ? address(0) : harmed, lenient);
        uint128 stake = payouts.operators(node).stake;
        (uint256 had, uint256 waiting) = (open.balanceOf(address(payouts)), payouts.unswept());
        try payouts.challenge(Fault.Split, "") {
            slashed += stake - payouts.operators(node).stake;
            lost += uint128(had - open.balanceOf(address(payouts)) + payouts.unswept() - waiting);
            if (payouts.operators(node).stake < BOND) {
                vm.prank(node);
                open.transfer(address(this), BOND);
                payouts.join(node, BOND);
            }
        } catch {}
    }

    function sweep() external watched {
        payouts.sweep();
    }

    function claim(uint256 i, bool redirect) external watched {
        if (payouts.payoutRoot() == 0) return;
        i %= ACCOUNTS;
        if (redirect) {
            vm.prank(live[i].account);
            payouts.setClaimer(address(0x9999));
        }
        try payouts.claim(live[i].account, live[i].cumulative, i, Trees.prove(payoutLeaves(live), i)) returns (
            uint128 got
        ) {
            paid += got;
        } catch {
            // Nothing may ever stop a claim.
            claimBlocked = true;
        }
    }

    function pause(uint8 dice) external watched {
        if (dice % 8 != 0) return;
        vm.prank(guardian);
        try payouts.pause() {} catch {}
    }

    /// @dev Seldom, as in life: otherwise no epoch would outlive its window.
    function annul(uint8 dice) external watched {
        if (dice % 16 != 0) return;
        vm.prank(jury);
        try payouts.annul("") {} catch {}
    }

    function pass(uint256 seconds_) external watched {
        time += bound(seconds_, 1, 2 days);
    }
}

/// @dev The numbers are those of the list of invariants the contracts are held to.
contract InvariantsTest {
    Handler private handler;

    bool public constant IS_TEST = true;

    error Broken(string what);

    function setUp() public {
        handler = new Handler();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(handler);
    }

    function ok(bool condition, string memory what) private pure {
        if (!condition) revert Broken(what);
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev Setting the world up is no move.
    function excludeSelectors() public view returns (FuzzSelector[] memory list) {
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(handler), new bytes4[](1));
        list[0].selectors[0] = Handler.setUp.selector;
    }

    function invariant_money_is_conserved() public view {
        (uint256 held, uint256 funded, uint256 stakes, uint256 unswept, uint256 claimed) = handler.payoutsHeld();
        uint128 total = handler.finalTotal();
        ok(
            held == funded - claimed + stakes + unswept,
            "I1: payouts hold what was paid in and not out, the stakes, and what is to be swept"
        );
        ok(claimed <= total && total <= funded, "I1: paid <= total <= funded");
        ok(claimed == handler.paid(), "I2: claimed is what was paid");
        ok(!handler.claimedFell(), "I3: claimed never falls");
        ok(!handler.rootMovedAlone(), "I4: roots and totals move by finalize alone, and only as they add up");
        bool sound;
        (held, stakes, sound) = handler.channelsHeld();
        ok(held == stakes, "I5: channels hold what is deposited and neither redeemed nor withdrawn");
        ok(sound, "I6: redeemed <= balance in each channel");
        ok(
            funded + handler.withdrawn() + held == handler.deposited() + handler.given(),
            "I6: redeemed, withdrawn and left are what came in"
        );
        ok(handler.slashed() % 5000 ether == 0, "I7: a refuted proposal loses its bond and no more");
        ok(handler.lost() == handler.slashed(), "I7: and all of it is paid out or waits to be swept");
        (uint256 supply, uint256 coin) = handler.wopen();
        ok(supply == coin, "I8: every wrapped unit is backed");
        ok(!handler.claimBlocked(), "I11: claims work in every state");
    }

    /// @dev A run in which nothing was finalized and paid would have shown little.
    function afterInvariant() public view {
        ok(handler.lastEpoch() != 0 && handler.paid() != 0, "the run went somewhere");
    }

    /// @dev The invariants would say little if the handler's moves led nowhere.
    function test_the_moves_lead_to_epochs_payments_and_slashes() public {
        handler.deposit(0, 50 ether);
        handler.redeem(0, 40 ether);
        handler.propose(1, 1);
        handler.challenge(address(0x77), 0);
        ok(handler.slashed() == 5000 ether, "a proposal was refuted");
        handler.propose(1, 1);
        handler.pass(2 days - 1);
        handler.finalize();
        ok(handler.lastEpoch() == 1, "an epoch was finalized");
        handler.claim(0, false);
        ok(handler.paid() != 0, "someone was paid");
        handler.propose(2, 0);
        handler.pass(2 days - 1);
        handler.finalize();
        ok(handler.lastEpoch() == 1, "a lie about the sum is no epoch");
        handler.withdraw(0, 5 ether, true);
        handler.pass(1 days);
        handler.withdraw(0, 5 ether, false);
        ok(handler.withdrawn() != 0, "a payer got money back");
    }
}
