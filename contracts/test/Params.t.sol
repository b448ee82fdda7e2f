// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Params} from "../src/Params.sol";
import {Payouts} from "../src/Payouts.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IParams} from "../src/interfaces/IParams.sol";
import {Fault} from "../src/interfaces/IVerifier.sol";
import {ReceiptLib} from "../src/libraries/ReceiptLib.sol";
import {Judging} from "./base/Judging.sol";

/// @dev The governed numbers, and what hangs on them.
contract ParamsTest is Judging {
    function setUp() public override {
        super.setUp();
        // Receipts are of this time, so that a change of numbers can come before and after them.
        cutoff = uint64(block.timestamp);
        delete receipts;
        delete entries;
        addReceipt(0, cutoff - 10);
        addReceipt(1, cutoff - 9);
        addDeferred(2, cutoff - 8);
    }

    function next_() private view returns (IParams.Values memory values) {
        values = params.current();
        ++values.version;
    }

    function set(IParams.Values memory values) private returns (bytes32) {
        vm.prank(council);
        params.set(values);
        return params.hash();
    }

    // --- setting ------------------------------------------------------------------------------------------------------

    function test_every_network_begins_with_the_same_numbers() public view {
        IParams.Values memory v = params.current();
        eq(v.version, 1, "version");
        eq(v.maxPlatformBps, 2000, "platform");
        eq(v.minModelBps, 1000, "model, least");
        eq(v.maxModelBps, 4000, "model, most");
        eq(v.maxStakersBps, 3000, "stakers");
        eq(v.minContributorsBps, 3000, "contributors");
        eq(v.treasuryBps, 6000, "treasury");
        eq(v.validationBps, 2000, "validation");
        eq(v.nodeBps, 4000, "node");
        eq(v.maxParentBps, 2000, "parent");
        eq(v.maxParentsBps, 5000, "parents");
        eq(v.challengerBps, 3000, "challenger");
        eq(v.harmedBps, 3000, "harmed");
        eq(v.spansNumerator, 10, "spans");
        eq(v.spansDenominator, 3, "spans");
        eq(v.influenceThreshold, 1280, "influence");
        eq(v.retrievalThreshold, 1_000_000, "retrieval");
        uint16[12] memory mixes = [5000, 5000, 0, 4000, 4000, 2000, 0, 0, 0, 0, 0, 0];
        for (uint256 i; i < 12; ++i) {
            eq(v.mixes[i], mixes[i], "mix");
        }
        eq(params.hash(), keccak256(abi.encode(v)), "hash");
        (uint64 since, uint64 until) = params.periodOf(params.hash());
        eq(since, 0, "since ever");
        eq(until, 0, "in force");
    }

    function test_other_numbers_take_the_place_of_the_current_ones_and_leave_them_readable() public {
        bytes32 first = params.hash();
        IParams.Values memory values = next_();
        values.nodeBps = 5000;
        bytes32 second = keccak256(abi.encode(values));
        vm.expectEmit();
        emit IParams.ValuesSet(second, 2, values);
        eq(set(values), second, "hash");
        eq(params.current().nodeBps, 5000, "in force");
        eq(params.valuesOf(first).nodeBps, 4000, "the last ones");
        (, uint64 until) = params.periodOf(first);
        eq(until, block.timestamp, "until now");
        (uint64 since, uint64 open_) = params.periodOf(second);
        eq(since, block.timestamp, "since now");
        eq(open_, 0, "in force");
        // The first numbers again are another version, so that their hash names one period.
        values = params.valuesOf(first);
        values.version = 3;
        ok(set(values) != first, "another hash");
    }

    function test_versions_follow_one_another() public {
        IParams.Values memory values = params.current();
        vm.prank(council);
        vm.expectRevert(abi.encodeWithSelector(IParams.WrongVersion.selector, 1, 2));
        params.set(values);
        values.version = 3;
        vm.prank(council);
        vm.expectRevert(abi.encodeWithSelector(IParams.WrongVersion.selector, 3, 2));
        params.set(values);
    }

    function test_only_the_owner_sets_and_hands_on_in_two_steps() public {
        IParams.Values memory values = next_();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        params.set(values);
        vm.prank(council);
        params.transferOwnership(jury);
        eq(params.owner(), council, "not yet");
        vm.prank(jury);
        params.acceptOwnership();
        vm.prank(jury);
        params.set(values);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        new Params(address(0));
    }

    function test_numbers_that_never_were_have_neither_values_nor_a_period() public {
        vm.expectRevert(abi.encodeWithSelector(IParams.NeverInForce.selector, bytes32("x")));
        params.valuesOf("x");
        vm.expectRevert(abi.encodeWithSelector(IParams.NeverInForce.selector, bytes32("x")));
        params.periodOf("x");
        (bool inForce, IParams.Parts memory parts) = params.partsAt("x", block.timestamp);
        ok(!inForce && parts.nodeBps == 0, "not in force");
    }

    function test_numbers_may_be_used_an_hour_before_they_are_in_force_and_after() public {
        uint256 day = block.timestamp + 1 days;
        bytes32 first = params.hash();
        vm.warp(day);
        IParams.Values memory values = next_();
        values.nodeBps = 5000;
        bytes32 second = set(values);
        vm.warp(day + 1 days);
        set(next_());
        isInForce(first, 0, true);
        isInForce(first, day + 1 hours - 1, true);
        isInForce(first, day + 1 hours, false);
        isInForce(second, day - 1 hours - 1, false);
        isInForce(second, day - 1 hours, true);
        isInForce(second, day + 1 days + 1 hours - 1, true);
        isInForce(second, day + 1 days + 1 hours, false);
        isInForce(params.hash(), type(uint64).max, true);
        isInForce(params.hash(), uint256(type(uint64).max) + 1, false);
        isInForce(params.hash(), type(uint256).max, false);
        (, IParams.Parts memory parts) = params.partsAt(second, day);
        eq(parts.treasuryBps, 6000, "treasury");
        eq(parts.validationBps, 2000, "validation");
        eq(parts.nodeBps, 5000, "node");
        eq(parts.maxParentsBps, 5000, "parents");
    }

    function isInForce(bytes32 hash, uint256 time, bool expected) private view {
        (bool inForce,) = params.partsAt(hash, time);
        ok(inForce == expected, vm.toString(time));
    }

    // --- bounds -------------------------------------------------------------------------------------------------------

    /// @dev Word `i` of the encoded values set to `value`.
    function with(uint256 i, uint256 value) private view returns (IParams.Values memory values) {
        bytes memory words = abi.encode(next_());
        assembly ("memory-safe") {
            mstore(add(words, mul(32, add(i, 1))), value)
        }
        return abi.decode(words, (IParams.Values));
    }

    function denied(IParams.Values memory values, string memory name) private {
        vm.prank(council);
        vm.expectRevert(abi.encodeWithSelector(IParams.OutOfBounds.selector, name));
        params.set(values);
    }

    /// @dev Word `i` may be `least` to `most` beside the first numbers, and nothing else.
    function bounds(uint256 i, string memory name, uint256 least, uint256 most) private {
        if (least != 0) denied(with(i, least - 1), name);
        denied(with(i, most + 1), name);
        set(with(i, least));
        set(with(i, most));
        // Back to the first numbers.
        bytes memory words = abi.encode(new Params(council).current());
        uint256 first;
        assembly ("memory-safe") {
            first := mload(add(words, mul(32, add(i, 1))))
        }
        set(with(i, first));
    }

    function test_no_owner_leaves_the_bounds() public {
        bounds(1, "maxPlatformBps", 0, 2000);
        bounds(2, "minModelBps", 1000, 4000);
        bounds(4, "maxStakersBps", 0, 3000);
        bounds(5, "minContributorsBps", 3000, 9000);
        bounds(7, "validationBps", 0, 4000);
        bounds(8, "nodeBps", 3000, 10_000);
        bounds(9, "maxParentBps", 0, 2000);
        bounds(10, "maxParentsBps", 2000, 5000);
        bounds(12, "harmedBps", 0, 3000);
        bounds(13, "spansNumerator", 3, 30);
        bounds(15, "influenceThreshold", 256, 25_600);
        bounds(16, "retrievalThreshold", 1000, 100_000_000);
    }

    function test_bounds_that_hang_on_one_another() public {
        denied(with(3, 4001), "maxModelBps");
        denied(with(3, 999), "minModelBps");
        denied(with(6, 10_001), "treasuryBps");
        denied(with(6, 8001), "validationBps");
        denied(with(11, 999), "challengerBps");
        denied(with(11, 5001), "challengerBps");
        denied(with(11, 3001), "harmedBps");
        denied(with(12, 5001), "harmedBps");
        denied(with(14, 0), "spansDenominator");
        denied(with(14, 1001), "spansDenominator");
        denied(with(14, 11), "spansNumerator");
        IParams.Values memory values = with(11, 1000);
        values.harmedBps = 5001;
        denied(values, "harmedBps");
        values.harmedBps = 5000;
        set(values);
    }

    function test_mixes_are_whole_and_have_no_gap() public {
        denied(with(17, 4999), "mixes");
        denied(with(19, 1), "mixes");
        IParams.Values memory values = next_();
        (values.mixes[0], values.mixes[1]) = (0, 0);
        denied(values, "mixes");
        values = next_();
        (values.mixes[3], values.mixes[4], values.mixes[5], values.mixes[6]) = (0, 0, 0, 10_000);
        denied(values, "mixes");
        values = next_();
        (values.mixes[6], values.mixes[11]) = (10_000, 10_000);
        set(values);
    }

    // --- use ----------------------------------------------------------------------------------------------------------

    function test_a_new_model_keeps_to_the_numbers_in_force_and_an_older_one_stays() public {
        IParams.Values memory values = next_();
        (values.maxPlatformBps, values.maxParentBps) = (500, 900);
        set(values);
        IModels.NewModel memory m = newModel();
        vm.expectRevert(abi.encodeWithSelector(IModels.SplitOutOfBounds.selector, 1000, 2000, 2000));
        models.register(m, "");
        m.platformBps = 500;
        (m.parent, m.parentBps) = (1, 901);
        vm.expectRevert(abi.encodeWithSelector(IModels.BadParent.selector, 1, 901));
        models.register(m, "");
        m.parentBps = 900;
        models.register(m, "");
        // Receipts of the older model are still divided as it says.
        propose();
        stays(Fault.Split, abi.encode(splitProof(0, 0, 0, 0)), NO_FAULT);
    }

    function test_a_line_is_judged_by_the_numbers_its_receipt_names() public {
        IParams.Values memory values = next_();
        (values.nodeBps, values.treasuryBps) = (5000, 5000);
        set(values);
        // Receipts that name the last numbers are divided by them.
        propose();
        for (uint256 i; i < entries.length; ++i) {
            stays(Fault.Split, abi.encode(splitProof(receiptOf(i), 1, i, 0)), NO_FAULT);
        }
        vm.prank(jury);
        payouts.annul("again");
        // The same lines under the new ones are wrong.
        for (uint256 i; i < 3; ++i) {
            receipts[i].words[ReceiptLib.PARAMS] = params.hash();
            receipts[i].signature = signed(receipts[i].words, keyOf("node"));
        }
        propose();
        uint256 line = indexOf(TREASURY);
        falls(Fault.Split, abi.encode(splitProof(receiptOf(line), 1, line, 0)), address(0));
        propose();
        line = indexOf(NODE);
        falls(Fault.Split, abi.encode(splitProof(receiptOf(line), 1, line, 0)), address(0));
    }

    function outdated() private {
        bytes32 id = receipts[0].id;
        propose();
        uint256 line;
        while (entries[line].receiptId != id) ++line;
        stays(Fault.Split, abi.encode(splitProof(placeOf(id), 1, line, 0)), UNRELATED);
        falls(Fault.Split, abi.encode(splitProof(placeOf(id), 0, 0, 0)), address(0));
    }

    function test_a_receipt_under_numbers_that_never_were_is_refuted() public {
        rewrite(ReceiptLib.PARAMS, 1);
        outdated();
    }

    function test_a_receipt_under_numbers_that_were_replaced_before_it_is_refuted() public {
        vm.warp(block.timestamp - 1 days);
        set(next_());
        vm.warp(block.timestamp + 1 days);
        outdated();
    }

    function test_slashed_bonds_are_divided_as_the_numbers_had_it_at_deployment() public {
        eq(payouts.CHALLENGER_PART(), BOND * 3 / 10, "challenger");
        eq(payouts.HARMED_PART(), BOND * 3 / 10, "harmed");
        IParams.Values memory values = next_();
        (values.challengerBps, values.harmedBps) = (2000, 1000);
        set(values);
        eq(payouts.CHALLENGER_PART(), BOND * 3 / 10, "those deployed keep theirs");
        Payouts other = new Payouts(settings());
        eq(other.CHALLENGER_PART(), BOND / 5, "challenger");
        eq(other.HARMED_PART(), BOND / 10, "harmed");
    }
}
