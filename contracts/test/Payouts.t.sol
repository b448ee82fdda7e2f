// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Payouts} from "../src/Payouts.sol";
import {IPayouts} from "../src/interfaces/IPayouts.sol";
import {Fault} from "../src/interfaces/IVerifier.sol";
import {MerkleLib, SumNode} from "../src/libraries/MerkleLib.sol";
import {Trees} from "./base/Trees.sol";
import {World} from "./base/World.sol";

/// @dev Finds every proposal at fault, or none.
contract Judge {
    address public harmed;
    bool public lenient;

    error NoFault();

    function set(address harmed_, bool lenient_) external {
        (harmed, lenient) = (harmed_, lenient_);
    }

    function judge(Fault, bytes calldata) external view returns (address) {
        require(!lenient, NoFault());
        return harmed;
    }
}

contract PayoutsTest is World {
    address private a = addressOf("river-gauge");
    address private b = addressOf("night-desk");

    // --- operators ------------------------------------------------------------------------------------------------

    function test_an_operator_joins_with_the_bond_or_more() public {
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotBonded.selector, node));
        payouts.join(node, BOND - 1);
        payouts.join(node, BOND);
        eq(payouts.operators(node).stake, BOND, "stake");
        uint64 since = payouts.operators(node).since;
        vm.warp(block.timestamp + 5);
        payouts.join(node, 1);
        eq(payouts.operators(node).stake, BOND + 1, "topped up");
        eq(payouts.operators(node).since, since, "since it first joined");
    }

    function test_an_operator_leaves_after_fourteen_days_and_its_key_stays_known() public {
        bondNode();
        vm.startPrank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.ExitNotDue.selector, 0));
        payouts.exit();
        payouts.requestExit();
        uint64 exitAt = uint64(block.timestamp) + 14 days;
        vm.warp(exitAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.ExitNotDue.selector, exitAt));
        payouts.exit();
        vm.warp(exitAt);
        uint256 had = open.balanceOf(node);
        eq(payouts.exit(), BOND, "all of it");
        eq(open.balanceOf(node), had + BOND, "back at the operator");
        ok(payouts.operators(node).since != 0, "its receipts stay true");
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotBonded.selector, node));
        payouts.requestExit();
    }

    function test_a_leaving_operator_does_not_propose_until_it_joins_again() public {
        bondNode();
        payouts.fund(10);
        vm.prank(node);
        payouts.requestExit();
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 1, b, 2));
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotBonded.selector, node));
        payouts.propose(p, e, e, t, "");
        payouts.join(node, 0);
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotBonded.selector, node));
        payouts.propose(p, e, e, t, "");
        vm.startPrank(node);
        payouts.join(node, 0);
        payouts.propose(p, e, e, t, "");
    }

    function test_an_operator_does_not_leave_while_its_proposal_is_open() public {
        bondNode();
        payouts.join(a, BOND);
        payouts.fund(10);
        vm.prank(node);
        payouts.requestExit();
        vm.prank(a);
        payouts.requestExit();
        uint64 exitAt = uint64(block.timestamp) + 14 days;
        vm.prank(node);
        payouts.join(node, 0);
        vm.warp(exitAt - 1);
        propose(two(a, 1, b, 2));
        vm.prank(node);
        payouts.requestExit();
        vm.warp(exitAt + 14 days);
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.ExitNotDue.selector, exitAt - 1 + 14 days));
        payouts.exit();
        vm.prank(a);
        eq(payouts.exit(), BOND, "others may");
        payouts.finalize();
        vm.prank(node);
        eq(payouts.exit(), BOND, "and the proposer once it stands");
    }

    // --- proposals ------------------------------------------------------------------------------------------------

    function test_a_proposal_stands_after_its_window_and_not_before() public {
        bondNode();
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        (IPayouts.Proposal memory p, address proposer, uint64 closes) = payouts.pending();
        eq(proposer, node, "proposer");
        eq(closes, block.timestamp + WINDOW, "closes");
        eq(p.total, 7, "total");
        eq(p.entriesTotal, 7, "entries");
        vm.warp(closes - 1);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.WindowOpen.selector, closes));
        payouts.finalize();
        eq(payouts.payoutRoot(), 0, "nothing stands yet");
        vm.warp(closes);
        payouts.finalize();
        eq(payouts.payoutRoot(), p.payoutRoot, "the root stands");
        (uint64 epoch, uint64 cutoff, uint128 total) = payouts.head();
        eq(epoch, 1, "epoch");
        eq(cutoff, p.cutoff, "cutoff");
        eq(total, 7, "total");
        (, proposer,) = payouts.pending();
        eq(proposer, address(0), "nothing pending");
        vm.expectRevert(IPayouts.NothingPending.selector);
        payouts.finalize();
    }

    function test_only_one_proposal_is_open_at_a_time() public {
        bondNode();
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3, b, 4));
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.ProposalPending.selector, 1));
        payouts.propose(p, e, e, t, "");
    }

    function test_a_stranger_does_not_propose() public {
        payouts.fund(10);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3, b, 4));
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotBonded.selector, address(this)));
        payouts.propose(p, e, e, t, "");
    }

    function refused(IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t, bytes memory reason)
        private
    {
        vm.prank(node);
        vm.expectRevert(reason);
        payouts.propose(p, e, e, t, "");
    }

    function test_a_proposal_that_does_not_add_up_is_refused() public {
        bondNode();
        payouts.fund(7);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3, b, 4));
        p.epoch = 2;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.WrongEpoch.selector, 2, 1));
        p.epoch = 1;
        p.cutoff = uint64(block.timestamp) + 7 days + 1;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.BadCutoff.selector, p.cutoff));
        p.cutoff = 1;
        p.receiptCount = 0;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.EmptyEpoch.selector));
        p.receiptCount = 1;
        // Receipts and entries are one tree here, so that what is wrong with it is first wrong with the receipts.
        p.receiptsRoot = "other";
        refused(p, e, t, abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.receiptsRoot, 7));
        p.receiptsRoot = p.entriesRoot;
        p.entriesRoot = "other";
        refused(p, e, t, abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.entriesRoot, 7));
        p.entriesRoot = p.receiptsRoot;
        // The root says 7; the proposer says 6, or shows other nodes.
        p.total = 6;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.payoutRoot, 6));
        p.total = 7;
        t[0].sum += 1;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.payoutRoot, 7));
        t[0].sum -= 1;
        e[0].hash = "other";
        refused(p, e, t, abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.entriesRoot, 7));
        // Entries of 6 do not make a total of 7.
        e = [SumNode("x", 6), SumNode("y", 0)];
        (p.entriesRoot, p.entriesTotal) = (Trees.node(e[0], e[1]).hash, 6);
        p.receiptsRoot = p.entriesRoot;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.TotalMismatch.selector, 7, 6));
    }

    function test_entries_pay_what_the_receipts_were_priced_at() public {
        bondNode();
        payouts.fund(7);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3, b, 4));
        SumNode[2] memory r = [SumNode("receipt", 6), SumNode(0, 0)];
        p.receiptsRoot = Trees.node(r[0], r[1]).hash;
        vm.prank(node);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.SumMismatch.selector, p.receiptsRoot, 7));
        payouts.propose(p, r, e, t, "");
        r[1].sum = 1;
        p.receiptsRoot = Trees.node(r[0], r[1]).hash;
        vm.prank(node);
        payouts.propose(p, r, e, t, "");
    }

    function test_a_cutoff_never_goes_back() public {
        settle(two(a, 1, b, 1));
        payouts.fund(2);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 2, b, 2));
        p.cutoff = 0;
        refused(p, e, t, abi.encodeWithSelector(IPayouts.BadCutoff.selector, 0));
    }

    function test_a_root_never_pays_more_than_was_paid_in() public {
        bondNode();
        payouts.fund(6);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3, b, 4));
        refused(p, e, t, abi.encodeWithSelector(IPayouts.Underfunded.selector, 7, 6));
        payouts.fund(1);
        propose(two(a, 3, b, 4));
    }

    // --- challenges -----------------------------------------------------------------------------------------------

    function judged() private returns (Judge judge) {
        judge = new Judge();
        vm.etch(address(verifier), address(judge).code);
        judge = Judge(address(verifier));
    }

    function test_a_refuted_bond_goes_to_challenger_harmed_and_fire_and_the_epoch_is_open_again() public {
        Judge judge = judged();
        judge.set(b, false);
        bondNode();
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        vm.prank(a);
        payouts.challenge(Fault.Split, "");
        eq(open.balanceOf(a), 1500 ether, "challenger");
        eq(open.balanceOf(b), 1500 ether, "harmed");
        eq(open.balanceOf(payouts.BURN()), 2000 ether, "burned");
        eq(payouts.operators(node).stake, 0, "slashed");
        vm.expectRevert(IPayouts.NothingPending.selector);
        payouts.challenge(Fault.Split, "");
        bondNode();
        propose(two(a, 3, b, 4));
    }

    function test_where_nobody_in_particular_was_harmed_insurance_has_the_share() public {
        judged();
        payouts.join(node, BOND + 7);
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        payouts.challenge(Fault.Order, "");
        eq(payouts.operators(node).stake, 7, "no more than the bond is lost");
        eq(payouts.unswept(), 3500 ether, "the rest waits");
        eq(open.balanceOf(address(payouts)), 10 + 7 + 3500 ether, "here");

        // It outlives the next proposals, and the parts of several are swept at once.
        payouts.join(node, BOND);
        judged().set(insurance, false);
        propose(two(a, 3, b, 4));
        payouts.challenge(Fault.Order, "");
        payouts.join(node, BOND);
        propose(two(a, 3, b, 4));
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
        eq(payouts.unswept(), 7000 ether, "two wait");
        vm.expectEmit();
        emit IPayouts.Swept(2);
        payouts.sweep();
        eq(open.balanceOf(insurance), 3000 ether, "insurance");
        eq(open.balanceOf(payouts.BURN()), 4000 ether, "burned");
        eq(payouts.unswept(), 0, "nothing waits");
        payouts.sweep();
        eq(open.balanceOf(insurance), 3000 ether, "once");
        eq(open.balanceOf(address(payouts)), 10 + 7 + BOND, "what was paid in, and the stake");
    }

    function test_a_challenge_that_shows_nothing_or_comes_late_changes_nothing() public {
        judged().set(b, true);
        bondNode();
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        vm.expectRevert(Judge.NoFault.selector);
        payouts.challenge(Fault.Split, "");
        (,, uint64 closes) = payouts.pending();
        judged().set(b, false);
        vm.warp(closes);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.WindowClosed.selector, closes));
        payouts.challenge(Fault.Split, "");
        payouts.finalize();
        eq(payouts.operators(node).stake, BOND, "bond untouched");
    }

    function test_the_jury_drops_a_proposal_without_a_slash_and_can_do_nothing_else() public {
        bondNode();
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotJury.selector, address(this)));
        payouts.annul("reason");
        vm.prank(jury);
        payouts.annul("reason");
        eq(payouts.operators(node).stake, BOND, "bond untouched");
        vm.prank(jury);
        vm.expectRevert(IPayouts.NothingPending.selector);
        payouts.annul("reason");
    }

    // --- claims ---------------------------------------------------------------------------------------------------

    function test_a_claim_pays_what_was_earned_once() public {
        Total[] memory totals = two(a, 3 ether, b, 4 ether);
        settle(totals);
        SumNode[] memory leaves = payoutLeaves(totals);
        uint256 index = a < b ? 0 : 1;
        vm.prank(b);
        eq(payouts.claim(a, 3 ether, index, Trees.prove(leaves, index)), 3 ether, "paid");
        eq(open.balanceOf(a), 3 ether, "to the account, whoever calls");
        eq(payouts.claim(a, 3 ether, index, Trees.prove(leaves, index)), 0, "a replay pays nothing");
        eq(payouts.claimed(a), 3 ether, "claimed");
        bytes memory refusal = abi.encodeWithSelector(IPayouts.NotInRoot.selector, a, 4 ether);
        vm.expectRevert(refusal);
        payouts.claim(a, 4 ether, index, Trees.prove(leaves, index));
    }

    function test_a_missed_epoch_is_never_lost() public {
        settle(two(a, 3 ether, b, 4 ether));
        settle(two(a, 5 ether, b, 4 ether));
        Total[] memory totals = two(a, 9 ether, b, 6 ether);
        settle(totals);
        uint256 index = a < b ? 0 : 1;
        eq(payouts.claim(a, 9 ether, index, Trees.prove(payoutLeaves(totals), index)), 9 ether, "all three");
    }

    function test_earnings_go_to_the_payee_an_account_chose() public {
        Total[] memory totals = two(a, 3 ether, b, 4 ether);
        settle(totals);
        uint256 index = a < b ? 0 : 1;
        eq(payouts.claimerFor(a), a, "itself at first");
        vm.prank(a);
        payouts.setClaimer(treasury);
        eq(payouts.claimerFor(a), treasury, "as chosen");
        payouts.claim(a, 3 ether, index, Trees.prove(payoutLeaves(totals), index));
        eq(open.balanceOf(treasury), 3 ether, "paid to the payee");
        vm.prank(a);
        payouts.setClaimer(address(0));
        eq(payouts.claimerFor(a), a, "itself again");
    }

    function test_several_claims_pass_over_what_is_stale() public {
        Total[] memory totals = many(5, 1 ether);
        settle(totals);
        SumNode[] memory leaves = payoutLeaves(totals);
        IPayouts.Claim[] memory claims = new IPayouts.Claim[](5);
        for (uint256 i; i < 5; ++i) {
            claims[i] = IPayouts.Claim(totals[i].account, totals[i].cumulative, i, Trees.prove(leaves, i));
        }
        payouts.claim(totals[2].account, totals[2].cumulative, 2, claims[2].siblings);
        claims[4].cumulative += 1;
        eq(payouts.claimMany(claims), 7 ether, "1 + 2 + 4");
        eq(payouts.claimMany(claims), 0, "replayed");
        eq(payouts.claimed(totals[4].account), 0, "not what is not in the tree");
    }

    function testFuzz_one_proof_pays_any_set_of_accounts_once(uint256 count, uint256 chosen) public {
        count = bound(count, 2, 30);
        Total[] memory totals = many(count, 1 ether);
        settle(totals);
        (uint256[] memory indices, bytes memory leaves, uint128 due) = pick(totals, chosen);
        bytes memory proof = Trees.proveMany(payoutLeaves(totals), indices);
        uint256 depth = Trees.depth(count);
        eq(payouts.claimMulti(leaves, depth, proof), due, "paid");
        eq(payouts.claimMulti(leaves, depth, proof), 0, "replayed");
        for (uint256 i; i < indices.length; ++i) {
            Total memory t = totals[indices[i]];
            eq(open.balanceOf(t.account), t.cumulative, "each its own");
        }
        Total memory first = totals[indices[0]];
        bytes memory more = bytes.concat(packed(indices[0], first.account, first.cumulative + 1), rest(leaves));
        vm.expectRevert(abi.encodeWithSelector(IPayouts.NotInRoot.selector, first.account, first.cumulative + 1));
        payouts.claimMulti(more, depth, proof);
    }

    function pick(Total[] memory totals, uint256 chosen)
        private
        pure
        returns (uint256[] memory indices, bytes memory leaves, uint128 due)
    {
        uint256 n = totals.length;
        indices = new uint256[](n);
        uint256 used;
        for (uint256 i; i < n; ++i) {
            if (chosen >> i & 1 == 1 || (used == 0 && i + 1 == n)) {
                indices[used++] = i;
                leaves = bytes.concat(leaves, packed(i, totals[i].account, totals[i].cumulative));
                due += totals[i].cumulative;
            }
        }
        assembly ("memory-safe") {
            mstore(indices, used)
        }
    }

    /// @dev All packed leaves but the first.
    function rest(bytes memory leaves) private pure returns (bytes memory others) {
        others = new bytes(leaves.length - 40);
        for (uint256 i; i < others.length; ++i) {
            others[i] = leaves[i + 40];
        }
    }

    function test_leaves_that_are_cut_off_are_refused() public {
        settle(two(a, 1, b, 1));
        for (uint256 length = 1; length < 81; ++length) {
            if (length == 40) continue;
            vm.expectRevert(length == 80 ? MerkleLib.LeavesNotAscending.selector : IPayouts.LengthMismatch.selector);
            payouts.claimMulti(new bytes(length), 1, "");
        }
        vm.expectRevert(MerkleLib.LeavesNotAscending.selector);
        payouts.claimMulti("", 1, "");
    }

    // --- guardian and parameters ----------------------------------------------------------------------------------

    function test_the_guardian_rests_proposals_for_three_days_and_then_for_seven_days_cannot() public {
        bondNode();
        settle(two(a, 3 ether, b, 4 ether));
        uint256 start = block.timestamp;
        vm.expectRevert(abi.encodeWithSelector(IPayouts.PauseRefused.selector, 0));
        payouts.pause();
        vm.prank(guardian);
        payouts.pause();
        payouts.fund(10);
        (IPayouts.Proposal memory p, SumNode[2] memory e, SumNode[2] memory t) = plain(two(a, 3 ether, b, 4 ether + 1));
        refused(p, e, t, abi.encodeWithSelector(IPayouts.Paused.selector, start + 3 days));
        // Claims do not rest.
        Total[] memory totals = two(a, 3 ether, b, 4 ether);
        payouts.claim(totals[0].account, totals[0].cumulative, 0, Trees.prove(payoutLeaves(totals), 0));
        vm.warp(start + 3 days);
        vm.prank(node);
        payouts.propose(p, e, e, t, "");
        vm.warp(start + 10 days - 1);
        vm.prank(guardian);
        vm.expectRevert(abi.encodeWithSelector(IPayouts.PauseRefused.selector, start + 10 days));
        payouts.pause();
        payouts.finalize();
        vm.warp(start + 10 days);
        vm.prank(guardian);
        payouts.pause();
    }

    function test_challenges_and_finalization_do_not_rest() public {
        judged().set(b, false);
        payouts.join(node, 2 * BOND);
        payouts.fund(10);
        propose(two(a, 3, b, 4));
        vm.prank(guardian);
        payouts.pause();
        payouts.challenge(Fault.Split, "");
        vm.warp(block.timestamp + 3 days);
        propose(two(a, 3, b, 4));
        vm.warp(block.timestamp + 7 days);
        vm.prank(guardian);
        payouts.pause();
        payouts.finalize();
    }

    function test_parameters_out_of_bounds_are_refused() public {
        IPayouts.Settings memory p = settings();
        p.window = 1 hours - 1;
        deny(p);
        p.window = 7 days + 1;
        deny(p);
        p = settings();
        p.day = 1 days + 1;
        deny(p);
        p.day = 0;
        deny(p);
        (p.day, p.window) = (1, 0);
        deny(p);
        p.window = 8;
        deny(p);
        p = settings();
        p.bond = 0;
        deny(p);
        p = settings();
        p.treasury = address(0);
        deny(p);
        p = settings();
        p.validation = address(0);
        deny(p);
        p = settings();
        p.insurance = address(0);
        deny(p);
        p = settings();
        (p.day, p.window) = (1, 1);
        eq(new Payouts(p).WINDOW(), 1, "a local network's window is a second");
    }

    function deny(IPayouts.Settings memory p) private {
        vm.expectRevert(IPayouts.ParamOutOfBounds.selector);
        new Payouts(p);
    }

    function test_receipts_are_signed_for_this_contract_on_this_chain() public view {
        bytes32 domain = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        eq(
            payouts.domainSeparator(),
            keccak256(abi.encode(domain, keccak256("OpenLedger"), keccak256("1"), block.chainid, payouts)),
            "domain"
        );
    }
}
