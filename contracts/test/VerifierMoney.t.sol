// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IModels} from "../src/interfaces/IModels.sol";
import {ITitle} from "../src/interfaces/ITitle.sol";
import {Fault} from "../src/interfaces/IVerifier.sol";
import {EntryAt, PayoutAt, TotalFault} from "../src/libraries/Faults.sol";
import {RECEIPT_WORDS, ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Judging} from "./base/Judging.sol";

/// @dev Faults of what is paid, and to whom.
contract VerifierMoneyTest is Judging {
    // --- totals ---------------------------------------------------------------------------------------------------------

    function test_totals_that_follow_from_entries_are_not_refuted() public {
        propose();
        for (uint256 i; i < 9; ++i) {
            stays(Fault.Total, abi.encode(totalProof(everyone()[i])), NO_FAULT);
        }
        next();
        propose();
        for (uint256 i; i < 9; ++i) {
            stays(Fault.Total, abi.encode(totalProof(everyone()[i])), NO_FAULT);
        }
    }

    /// @dev Moves `amount` from one account's total to another's, so that the sum still fits.
    function divert(address from, address to, uint128 amount) private {
        seal();
        for (uint256 i; i < totals.length; ++i) {
            if (totals[i].account == from) totals[i].cumulative -= amount;
        }
        addTo(to, amount);
        submit();
    }

    function test_a_lowered_total_is_refuted_and_its_owner_compensated() public {
        propose();
        next();
        // Even below what was final already.
        divert(desk, gauge, 3e8);
        falls(Fault.Total, abi.encode(totalProof(desk)), desk);
    }

    function test_a_raised_total_is_refuted() public {
        divert(desk, gauge, 1);
        falls(Fault.Total, abi.encode(totalProof(gauge)), address(0));
    }

    function test_a_total_from_nothing_is_refuted() public {
        address thief = address(0x7777);
        divert(treasury, thief, 5);
        falls(Fault.Total, abi.encode(totalProof(thief)), address(0));
    }

    function test_an_account_left_out_is_refuted() public {
        propose();
        next();
        seal();
        // Everything `desk` ever had goes to the account beside it.
        uint128 all;
        uint256 at_;
        for (uint256 i; i < totals.length; ++i) {
            if (totals[i].account == desk) (all, at_) = (totals[i].cumulative, i);
        }
        for (uint256 i = at_; i + 1 < totals.length; ++i) {
            totals[i] = totals[i + 1];
        }
        totals.pop();
        totals[0].cumulative += all;
        submit();
        falls(Fault.Total, abi.encode(totalProof(desk)), desk);
    }

    function test_leaves_that_do_not_enclose_the_account_prove_nothing() public {
        propose();
        TotalFault memory f = totalProof(desk);
        f.from = entryEdge(uint256(uint160(desk)) + 1);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.to = entryEdge(uint160(desk));
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.from = new EntryAt[](3);
        for (uint256 i; i < 3; ++i) {
            f.from[i] = entryAt(i);
        }
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.from = new EntryAt[](1);
        f.from[0] = entryAt(1);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.from[0] = entryAt(31);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.from = new EntryAt[](2);
        (f.from[0], f.from[1]) = (entryAt(0), entryAt(26));
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f = totalProof(desk);
        f.after_ = new PayoutAt[](1);
        f.after_[0] = payoutAt(totals, totals[2].account == desk ? 3 : 2);
        stays(Fault.Total, abi.encode(f), NOT_ENCLOSING);
        f.after_[0].cumulative += 1;
        stays(Fault.Total, abi.encode(f), NOT_IN_TREE);
        f = totalProof(desk);
        f.from[0].entry.line += 1;
        stays(Fault.Total, abi.encode(f), NOT_IN_TREE);
    }

    function test_full_trees_are_enclosed_by_their_last_leaf() public {
        // Eight payees fill the payout tree, thirty-two entries the entries tree; neither has an empty place.
        for (uint32 line = 100; line < 105; ++line) {
            addEntry(address(0x10000), receipts[0].id, line, INSURANCE, 0, 1);
        }
        balance(receipts[0].id);
        seal();
        submit();
        eq(entries.length, 32, "entries");
        eq(totals.length, 8, "payouts");
        stays(Fault.Total, abi.encode(totalProof(address(type(uint160).max))), NO_FAULT);
        stays(Fault.Total, abi.encode(totalProof(totals[7].account)), NO_FAULT);
    }

    // --- splits ---------------------------------------------------------------------------------------------------------

    function test_no_line_of_an_honest_split_is_refuted() public {
        propose();
        for (uint256 i; i < entries.length; ++i) {
            stays(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), NO_FAULT);
        }
        stays(Fault.Split, abi.encode(splitProof(0, 0, 0, 0)), NO_FAULT);
        uint256 other = (receiptOf(0) + 1) % 3;
        stays(Fault.Split, abi.encode(splitProof(other, 1, 0, 0)), UNRELATED);
        stays(Fault.Split, abi.encode(splitProof(0, 1, 27, 0)), EMPTY_LEAF);
    }

    function wrongShare(uint256 word, uint256 value) private {
        rewrite(word, value);
        bytes32 id = receipts[0].id;
        propose();
        uint256 i;
        while (receipts[i].id != id) ++i;
        // A line under wrong shares is not judged; the shares are.
        uint256 e;
        while (entries[e].receiptId != id) ++e;
        stays(Fault.Split, abi.encode(splitProof(i, 1, e, 0)), UNRELATED);
        falls(Fault.Split, abi.encode(splitProof(i, 0, 0, 0)), address(0));
    }

    function test_a_platform_share_that_is_not_the_models_is_refuted() public {
        wrongShare(ReceiptLib.PLATFORM_BPS, 1001);
    }

    function test_a_model_share_that_is_not_the_models_is_refuted() public {
        wrongShare(ReceiptLib.MODEL_BPS, 3000);
    }

    function test_a_stakers_share_that_is_not_the_models_is_refuted() public {
        wrongShare(ReceiptLib.STAKERS_BPS, 0);
    }

    function test_a_contributors_share_that_is_not_the_rest_is_refuted() public {
        wrongShare(ReceiptLib.CONTRIBUTORS_BPS, 3000);
    }

    function test_a_model_that_does_not_exist_is_refuted() public {
        wrongShare(ReceiptLib.MODEL, 3);
    }

    function test_no_model_is_refuted() public {
        wrongShare(ReceiptLib.MODEL, 0);
    }

    /// @dev Moves one unit between the line of `role` and insurance, which keeps the sum.
    function wrongAmount(uint8 role, bool more) private {
        seal();
        uint256 i = indexOf(role);
        uint256 j = indexOf(INSURANCE);
        while (entries[j].receiptId != entries[i].receiptId || entries[j].role != INSURANCE) ++j;
        if (more) (entries[i].amount, entries[j].amount) = (entries[i].amount + 1, entries[j].amount - 1);
        else (entries[i].amount, entries[j].amount) = (entries[i].amount - 1, entries[j].amount + 1);
        propose();
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), address(0));
    }

    function test_a_treasury_line_one_unit_too_low_is_refuted() public {
        wrongAmount(TREASURY, false);
    }

    function test_a_validation_line_one_unit_too_high_is_refuted() public {
        wrongAmount(VALIDATION, true);
    }

    function test_a_node_line_one_unit_too_high_is_refuted() public {
        wrongAmount(NODE, true);
    }

    function test_a_stakers_line_one_unit_too_low_is_refuted() public {
        wrongAmount(STAKERS, false);
    }

    /// @dev Gives the line of `role` `amount`, whatever that makes of the sum, and expects it to be refuted.
    function absurdAmount(uint8 role, uint128 amount) private {
        seal();
        uint256 i = indexOf(role);
        entries[i].amount = amount;
        bytes32 id = entries[i].receiptId;
        balance(id);
        propose();
        while (entries[i].receiptId != id || entries[i].role != role || entries[i].amount != amount) ++i;
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), address(0));
    }

    function test_an_owner_line_beyond_the_models_part_is_refuted() public {
        absurdAmount(OWNER, 120_000_002);
    }

    function test_an_owner_line_below_half_of_its_own_is_refuted() public {
        absurdAmount(OWNER, 60_000_000);
    }

    function test_a_parent_line_beyond_the_owners_is_refuted() public {
        absurdAmount(PARENT, 120_000_002);
    }

    function test_a_contributor_line_beyond_the_contributors_part_is_refuted() public {
        absurdAmount(CONTRIBUTOR, 500_000_006);
    }

    function test_an_insurance_line_beyond_the_price_is_refuted() public {
        absurdAmount(INSURANCE, 1_000_000_008);
    }

    function test_a_model_without_parents_pays_its_owner_in_full() public {
        for (uint256 i; i < 3; ++i) {
            receipts[i].words[ReceiptLib.MODEL] = bytes32(uint256(1));
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        propose();
        // The lines are those of a model with a parent: too little for the owner, and a parent's line at all.
        uint256 owner = indexOf(OWNER);
        uint256 parent = indexOf(PARENT);
        vm.prank(address(payouts));
        eq(
            verifier.judge(Fault.Split, abi.encode(splitProof(receiptOf(owner), 1, owner, 0))),
            address(0),
            "the owner's line is too low"
        );
        falls(Fault.Split, abi.encode(splitProof(receiptOf(parent), 1, parent, 0)), address(0));
    }

    /// @dev Pays the line of `role` to someone else; `harmed` is whose it was.
    function wrongAccount(uint8 role, address harmed) private {
        seal();
        uint256 i = indexOf(role);
        bytes32 id = entries[i].receiptId;
        entries[i].account = address(0x7777);
        propose();
        i = 0;
        while (entries[i].account != address(0x7777)) ++i;
        eq(entries[i].receiptId, id, "same receipt");
        falls(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), harmed);
    }

    function test_a_treasury_line_paid_elsewhere_is_refuted() public {
        wrongAccount(TREASURY, treasury);
    }

    function test_a_validation_line_paid_elsewhere_is_refuted() public {
        wrongAccount(VALIDATION, validation);
    }

    function test_a_node_line_paid_elsewhere_is_refuted() public {
        wrongAccount(NODE, node);
    }

    function test_a_stakers_line_paid_elsewhere_is_refuted() public {
        wrongAccount(STAKERS, insurance);
    }

    function test_an_insurance_line_paid_elsewhere_is_refuted() public {
        wrongAccount(INSURANCE, insurance);
    }

    function test_the_stakers_line_goes_to_the_models_vault_where_it_has_one() public {
        address vault = address(0x7777);
        vm.startPrank(maker);
        (uint256 i, uint256 j) = (0, 0);
        IModels.NewModel memory m = newModel();
        m.stakeVault = vault;
        models.register(m, "");
        vm.stopPrank();
        for (; i < 3; ++i) {
            receipts[i].words[ReceiptLib.MODEL] = bytes32(uint256(3));
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        seal();
        uint256 right = indexOf(STAKERS);
        entries[right].account = vault;
        propose();
        while (entries[j].account != vault) ++j;
        stays(Fault.Split, abi.encode(splitProof(receiptOf(j), 1, j, 0)), NO_FAULT);
        uint256 wrong = indexOf(STAKERS);
        while (entries[wrong].account == vault || entries[wrong].role != STAKERS) ++wrong;
        falls(Fault.Split, abi.encode(splitProof(receiptOf(wrong), 1, wrong, 0)), vault);
    }

    function test_a_role_that_does_not_exist_is_refuted() public {
        seal();
        entries[0].role = 8;
        propose();
        falls(Fault.Split, abi.encode(splitProof(receiptOf(0), 1, 0, 0)), address(0));
    }

    function test_a_line_that_is_there_twice_is_refuted() public {
        addEntry(treasury, receipts[0].id, 9, TREASURY, 0, 60_000_000);
        balance(receipts[0].id);
        propose();
        uint256 a = indexOf(TREASURY);
        while (entries[a + 1].receiptId != entries[a].receiptId) ++a;
        stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, a)), UNRELATED);
        falls(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, a + 1)), address(0));
    }

    function test_two_lines_of_an_honest_receipt_are_not_the_same_line() public {
        bytes32 twin = receipts[0].id;
        addEntry(gauge, receipts[0].id, 10, CONTRIBUTOR, first, 1);
        addEntry(insurance, receipts[0].id, 11, INSURANCE, 0, 1);
        addEntry(gauge, receipts[0].id, 12, PARENT, 0, 1);
        balance(twin);
        propose();
        uint8[3] memory roles = [CONTRIBUTOR, INSURANCE, PARENT];
        for (uint256 r; r < 3; ++r) {
            bytes32 id = twin;
            (uint256 a, uint256 b) = (0, entries.length - 1);
            while (entries[a].role != roles[r] || entries[a].receiptId != id) ++a;
            while (entries[b].role != roles[r] || entries[b].receiptId != id) --b;
            stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, b)), NO_FAULT);
            b = 0;
            while (entries[b].role == roles[r] || entries[b].receiptId != entries[a].receiptId) ++b;
            stays(Fault.Split, abi.encode(splitProof(receiptOf(a), 2, a, b)), UNRELATED);
        }
    }

    // --- payees ---------------------------------------------------------------------------------------------------------

    function test_whoever_held_the_title_at_the_receipts_block_is_the_payee() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, desk, first);
        propose();
        for (uint256 i; i < entries.length; ++i) {
            bool judged = entries[i].role == CONTRIBUTOR || entries[i].role == OWNER;
            stays(Fault.Payee, abi.encode(payeeProof(i)), judged ? NO_FAULT : UNRELATED);
        }
    }

    function test_paying_the_old_holder_after_a_sale_is_refuted() public {
        uint256 sold = block.number - 60;
        vm.roll(sold);
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        vm.roll(sold + 60);
        propose();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].account != gauge || entries[i].role != CONTRIBUTOR) ++i;
        falls(Fault.Payee, abi.encode(payeeProof(i)), maker);
    }

    function test_paying_the_new_holder_for_the_time_before_the_sale_is_refuted() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        for (uint256 i; i < entries.length; ++i) {
            if (entries[i].account == gauge) entries[i].account = maker;
        }
        propose();
        uint256 at_;
        while (entries[at_].account != maker || entries[at_].role != CONTRIBUTOR) ++at_;
        falls(Fault.Payee, abi.encode(payeeProof(at_)), gauge);
    }

    function test_paying_a_models_old_owner_after_a_sale_is_refuted() public {
        uint256 sold = block.number - 60;
        vm.roll(sold);
        vm.prank(maker);
        models.transferFrom(maker, gauge, model);
        vm.roll(sold + 60);
        propose();
        falls(Fault.Payee, abi.encode(payeeProof(indexOf(OWNER))), gauge);
    }

    function test_a_holder_the_chain_no_longer_knows_is_not_judged() public {
        vm.prank(gauge);
        contributions.transferFrom(gauge, maker, first);
        vm.roll(block.number + 1);
        vm.prank(maker);
        contributions.transferFrom(maker, desk, first);
        propose();
        uint256 i = indexOf(CONTRIBUTOR);
        while (entries[i].contribution != first) ++i;
        bytes memory proof = abi.encode(payeeProof(i));
        vm.expectRevert(abi.encodeWithSelector(ITitle.HolderUnknown.selector, first, block.number - 51));
        payouts.challenge(Fault.Payee, proof);
    }

    function test_paying_for_a_contribution_that_does_not_exist_is_refuted() public {
        seal();
        uint256 i = indexOf(CONTRIBUTOR);
        entries[i].contribution = 42;
        propose();
        falls(Fault.Payee, abi.encode(payeeProof(i)), address(0));
    }

    function test_a_holder_block_that_has_not_been_is_refuted() public {
        bytes32 id = receipts[0].id;
        rewrite(ReceiptLib.HOLDER_BLOCK, block.number);
        propose();
        uint256 i;
        while (entries[i].receiptId != id) ++i;
        falls(Fault.Payee, abi.encode(payeeProof(i)), address(0));
    }
}
