// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Splitter} from "../src/Splitter.sol";
import {IContributions} from "../src/interfaces/IContributions.sol";
import {IDatanets} from "../src/interfaces/IDatanets.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {ITitle} from "../src/interfaces/ITitle.sol";
import {World} from "./base/World.sol";

/// @dev A wallet of code that signs whatever its owner signs.
contract Wallet {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s) = abi.decode(signature[:64], (bytes32, bytes32));
        bool valid = ecrecover(digest, uint8(signature[64]), r, s) == OWNER;
        return valid ? this.isValidSignature.selector : bytes4(0);
    }
}

contract TitlesTest is World {
    address private owner = addressOf("river-gauge");
    address private other = addressOf("night-desk");
    bytes32 private terms = keccak256("CC-BY-4.0");
    uint64 private net;

    function setUp() public override {
        super.setUp();
        vm.prank(owner);
        net = datanets.create(terms, "ipfs://terms");
    }

    // --- titles ---------------------------------------------------------------------------------------------------

    function test_the_holder_at_a_block_is_known_across_the_last_change() public {
        uint256 minted = block.number;
        eq(datanets.holderAt(net, minted), owner, "never moved");
        vm.roll(minted + 10);
        vm.prank(owner);
        datanets.transferFrom(owner, other, net);
        eq(datanets.holderAt(net, minted + 9), owner, "before");
        eq(datanets.holderAt(net, minted + 10), other, "from the block of the change on");
        vm.roll(minted + 20);
        vm.prank(other);
        datanets.transferFrom(other, node, net);
        eq(datanets.holderAt(net, minted + 19), other, "between");
        eq(datanets.holderAt(net, minted + 20), node, "after");
        vm.expectRevert(abi.encodeWithSelector(ITitle.HolderUnknown.selector, net, minted + 9));
        datanets.holderAt(net, minted + 9);
        (address from, uint48 inBlock, uint48 lastBlock) = datanets.lastTransfer(net);
        eq(from, other, "from");
        eq(inBlock, minted + 20, "in block");
        eq(lastBlock, minted + 10, "block before");
    }

    function test_changes_within_one_block_count_as_one() public {
        uint256 minted = block.number;
        vm.roll(minted + 5);
        vm.prank(owner);
        datanets.transferFrom(owner, other, net);
        vm.prank(other);
        datanets.transferFrom(other, node, net);
        eq(datanets.holderAt(net, minted + 4), owner, "who held it when the block before ended");
        eq(datanets.holderAt(net, minted + 5), node, "who held it when the block ended");
    }

    function test_a_title_that_does_not_exist_has_no_holder() public {
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 99));
        datanets.holderAt(99, 1);
    }

    function test_a_royalty_is_set_by_the_first_holder_before_the_title_moves() public {
        vm.prank(owner);
        datanets.setRoyalty(net, 500);
        (address receiver, uint256 amount) = datanets.royaltyInfo(net, 10_000);
        eq(receiver, owner, "receiver");
        eq(amount, 500, "amount");
        vm.prank(owner);
        vm.expectRevert(abi.encodeWithSelector(ITitle.RoyaltyTooHigh.selector, 1001));
        datanets.setRoyalty(net, 1001);
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(ITitle.RoyaltyFixed.selector, net));
        datanets.setRoyalty(net, 1);
        vm.prank(owner);
        datanets.transferFrom(owner, other, net);
        vm.prank(other);
        vm.expectRevert(abi.encodeWithSelector(ITitle.RoyaltyFixed.selector, net));
        datanets.setRoyalty(net, 1);
    }

    function test_titles_say_what_they_are() public view {
        ok(datanets.supportsInterface(type(IERC721).interfaceId), "ERC-721");
        ok(datanets.supportsInterface(type(IERC2981).interfaceId), "ERC-2981");
        ok(!datanets.supportsInterface(0xffffffff), "not everything");
    }

    // --- datanets -------------------------------------------------------------------------------------------------

    function test_versions_follow_one_another() public {
        vm.startPrank(owner);
        eq(datanets.publish(net, 1, "one", 10), 1, "first");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.WrongVersion.selector, net, 1, 2));
        datanets.publish(net, 1, "again", 10);
        eq(datanets.publish(net, 2, "two", 20), 2, "second");
        eq(datanets.rootOf(net, 1), "one", "old versions stay");
        eq(datanets.rootOf(net, 2), "two", "new version");
        IDatanets.Datanet memory d = datanets.datanets(net);
        eq(d.records, 20, "records");
        eq(d.terms, terms, "terms");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.EmptyVersion.selector, net));
        datanets.publish(net, 3, 0, 20);
        vm.expectRevert(abi.encodeWithSelector(IDatanets.EmptyVersion.selector, net));
        datanets.publish(net, 3, "three", 0);
    }

    function test_only_the_owner_publishes_grants_and_revokes() public {
        bytes memory refusal = abi.encodeWithSelector(IDatanets.NotDatanetOwner.selector, net, other);
        vm.startPrank(other);
        vm.expectRevert(refusal);
        datanets.publish(net, 1, "one", 1);
        vm.expectRevert(refusal);
        datanets.grant(grantOf(1, 1 days));
        vm.expectRevert(refusal);
        datanets.revoke(net, node, 1);
    }

    function test_anyone_may_send_a_publication_the_owner_signed() public {
        bytes memory signature = sign(keyOf("river-gauge"), datanets.publishDigest(net, 1, "one", 10));
        datanets.publishFor(net, 1, "one", 10, signature);
        eq(datanets.rootOf(net, 1), "one", "published");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.WrongVersion.selector, net, 1, 2));
        datanets.publishFor(net, 1, "one", 10, signature);
        vm.expectRevert(abi.encodeWithSelector(IDatanets.NotSignedByOwner.selector, net));
        datanets.publishFor(net, 2, "one", 10, signature);
    }

    function test_a_wallet_of_code_may_own_and_sign() public {
        Wallet wallet = new Wallet(owner);
        vm.prank(owner);
        datanets.transferFrom(owner, address(wallet), net);
        bytes memory signature = sign(keyOf("river-gauge"), datanets.publishDigest(net, 1, "one", 10));
        datanets.publishFor(net, 1, "one", 10, signature);
        eq(datanets.rootOf(net, 1), "one", "published");
    }

    function grantOf(uint32 purposes, uint64 forSeconds) private view returns (IDatanets.Grant memory) {
        return IDatanets.Grant(net, 1, node, purposes, uint64(block.timestamp) + forSeconds, terms);
    }

    function test_a_grant_holds_for_each_of_its_purposes_until_it_ends() public {
        vm.prank(owner);
        datanets.grant(grantOf(5, 1 days));
        eq(datanets.grantedUntil(net, node, 1), block.timestamp + 1 days, "first purpose");
        eq(datanets.grantedUntil(net, node, 4), block.timestamp + 1 days, "second purpose");
        eq(datanets.grantedUntil(net, node, 2), 0, "not what was not granted");
        eq(datanets.grantedUntil(net, other, 1), 0, "not to others");
        eq(datanets.grantKey(net, node, 4), keccak256(abi.encode(net, node, 4)), "slot");
        bytes32 typehash = keccak256(
            "Grant(uint64 datanet,uint64 version,address grantee,uint32 purposes,uint64 until,bytes32 terms)"
        );
        eq(datanets.grantHash(grantOf(5, 9)), keccak256(abi.encode(typehash, grantOf(5, 9))), "name");
    }

    function test_a_grant_that_grants_nothing_is_refused() public {
        vm.startPrank(owner);
        IDatanets.Grant memory g = grantOf(0, 1 days);
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantsNothing.selector, net, g.until));
        datanets.grant(g);
        g = grantOf(1, 0);
        g.until -= 1;
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantsNothing.selector, net, g.until));
        datanets.grant(g);
        g = grantOf(1, 1);
        g.terms = "other";
        vm.expectRevert(abi.encodeWithSelector(IDatanets.WrongTerms.selector, net, bytes32("other")));
        datanets.grant(g);
    }

    function test_a_signed_grant_counts_once_and_never_after_a_revocation() public {
        IDatanets.Grant memory g = grantOf(3, 1 days);
        bytes memory signature = sign(keyOf("river-gauge"), datanets.grantDigest(g));
        IDatanets.Grant memory longer = grantOf(3, 2 days);
        bytes memory longerSignature = sign(keyOf("river-gauge"), datanets.grantDigest(longer));

        datanets.grantFor(g, signature);
        eq(datanets.grantedUntil(net, node, 2), g.until, "granted");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantStale.selector, net, g.until, g.until));
        datanets.grantFor(g, signature);
        vm.expectRevert(abi.encodeWithSelector(IDatanets.NotSignedByOwner.selector, net));
        datanets.grantFor(longer, signature);

        vm.prank(owner);
        datanets.revoke(net, node, 3);
        eq(datanets.grantedUntil(net, node, 1), 0, "revoked");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantStale.selector, net, longer.until, type(uint64).max));
        datanets.grantFor(longer, longerSignature);

        vm.prank(owner);
        datanets.grant(g);
        eq(datanets.grantedUntil(net, node, 1), g.until, "the owner's own transaction grants again");
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantStale.selector, net, longer.until, type(uint64).max));
        datanets.grantFor(longer, longerSignature);
    }

    function test_a_shorter_grant_does_not_lower_the_floor() public {
        vm.startPrank(owner);
        datanets.grant(grantOf(1, 2 days));
        datanets.grant(grantOf(1, 1 days));
        IDatanets.Grant memory g = grantOf(1, 2 days);
        bytes memory signature = sign(keyOf("river-gauge"), datanets.grantDigest(g));
        vm.expectRevert(abi.encodeWithSelector(IDatanets.GrantStale.selector, net, g.until, g.until));
        datanets.grantFor(g, signature);
    }

    // --- contributions --------------------------------------------------------------------------------------------

    function test_a_batch_mints_a_title_to_its_contributor() public {
        IContributions.Registration memory r = prepared("river-gauge", net, "root", 12);
        uint256 id = contributions.register(r);
        eq(id, uint256(keccak256(abi.encode(block.chainid, contributions, owner, 0))), "id");
        eq(id, contributions.contributionOf(owner, 0), "id as told beforehand");
        eq(contributions.ownerOf(id), owner, "holder");
        eq(contributions.batchHash(id), keccak256(abi.encode(batchOf(r))), "batch");
        eq(contributions.nonces(owner), 1, "nonce");
    }

    function test_the_registrant_itself_needs_no_signature() public {
        IContributions.Registration memory r = prepared("river-gauge", net, "root", 12);
        r.signature = "";
        vm.expectRevert(abi.encodeWithSelector(IContributions.NotSignedByRegistrant.selector, owner));
        contributions.register(r);
        vm.prank(owner);
        contributions.register(r);
        eq(contributions.nonces(owner), 1, "registered");
    }

    function test_a_batch_is_not_registered_before_a_block_has_passed_since_its_commitment() public {
        IContributions.Registration memory r = prepared("river-gauge", net, "root", 12);
        bytes32 commitment = contributions.commitmentOf(owner, net, "root", "salt");
        vm.roll(block.number - 1);
        vm.expectRevert(abi.encodeWithSelector(IContributions.NotCommitted.selector, commitment));
        contributions.register(r);
        vm.roll(block.number + 1);
        contributions.register(r);
        vm.expectRevert(abi.encodeWithSelector(IContributions.NotCommitted.selector, commitment));
        contributions.register(r);
    }

    function test_a_thief_who_saw_the_reveal_has_the_later_commitment() public {
        IContributions.Registration memory r = prepared("river-gauge", net, "root", 12);
        uint256 first = contributions.committedAt(contributions.commitmentOf(owner, net, "root", "salt"));
        // The thief copies the owner's commitment: it binds the owner, so it does not open for the thief.
        r.registrant = other;
        vm.prank(other);
        vm.expectRevert(
            abi.encodeWithSelector(
                IContributions.NotCommitted.selector, contributions.commitmentOf(other, net, "root", "salt")
            )
        );
        contributions.register(r);
        bytes32 late = contributions.commitmentOf(other, net, "root", "salt");
        contributions.commit(late);
        ok(contributions.committedAt(late) > first, "the thief's own commitment is a later one");
    }

    function test_repeating_a_commitment_changes_nothing() public {
        bytes32[] memory list = new bytes32[](2);
        (list[0], list[1]) = (bytes32("a"), bytes32("b"));
        contributions.commitMany(list);
        uint256 first = block.number;
        vm.roll(first + 1);
        contributions.commitMany(list);
        eq(contributions.committedAt("a"), first, "first block stays");
        eq(contributions.committedAt("b"), first, "first block stays");
    }

    function test_malformed_batches_are_refused() public {
        IContributions.Registration memory r = prepared("river-gauge", net, "root", 12);
        r.count = 0;
        vm.expectRevert(IContributions.MalformedBatch.selector);
        contributions.register(r);
        r.count = 12;
        r.root = 0;
        vm.expectRevert(IContributions.MalformedBatch.selector);
        contributions.register(r);
        r.root = "root";
        r.contributors = new address[](0);
        vm.expectRevert(IContributions.MalformedBatch.selector);
        contributions.register(r);
        r.contributors = new address[](65);
        vm.expectRevert(IContributions.MalformedBatch.selector);
        contributions.register(r);
        r.contributors = new address[](2);
        r.contributors[0] = owner;
        vm.prank(owner);
        vm.expectRevert(IContributions.MalformedBatch.selector);
        contributions.register(r);
    }

    function test_a_batch_needs_a_datanet() public {
        IContributions.Registration memory r = prepared("river-gauge", 77, "root", 12);
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, 77));
        contributions.register(r);
    }

    function test_several_batches_register_at_once_or_not_at_all() public {
        IContributions.Registration[] memory rs = new IContributions.Registration[](2);
        rs[0] = prepared("river-gauge", net, "one", 1);
        rs[1] = prepared("night-desk", net, "two", 2);
        uint256[] memory ids = contributions.registerMany(rs);
        eq(contributions.ownerOf(ids[0]), owner, "first");
        eq(contributions.ownerOf(ids[1]), other, "second");
        rs[0] = prepared("river-gauge", net, "three", 1);
        vm.expectRevert();
        contributions.registerMany(rs);
    }

    function shared(bytes32 root) private returns (IContributions.Registration memory r) {
        r = prepared("river-gauge", net, root, 12);
        r.contributors = new address[](3);
        (r.contributors[0], r.contributors[1], r.contributors[2]) = (owner, other, addressOf("tide-table"));
        r.signature =
            sign(keyOf("river-gauge"), contributions.registerDigest(batchOf(r), contributions.nonces(r.registrant)));
    }

    function test_a_batch_of_several_contributors_is_held_by_their_splitter() public {
        IContributions.Registration memory r = shared("one");
        address splitter = contributions.splitterOf(r.contributors);
        eq(contributions.ownerOf(contributions.register(r)), splitter, "holder");
        eq(Splitter(splitter).contributors().length, 3, "three share");
        eq(Splitter(splitter).contributors()[1], other, "in order");
        // The next batch by the same people goes to the same splitter.
        eq(contributions.ownerOf(contributions.register(shared("two"))), splitter, "same holder");
    }

    function testFuzz_a_splitter_pays_equal_shares_and_what_does_not_divide_to_the_first(uint64 first, uint64 second)
        public
    {
        IContributions.Registration memory r = shared("one");
        contributions.register(r);
        Splitter splitter = Splitter(contributions.splitterOf(r.contributors));
        open.transfer(address(splitter), first);
        splitter.release(IERC20(address(open)));
        open.transfer(address(splitter), second);
        eq(splitter.release(IERC20(address(open))), second, "released");
        uint256 share = uint256(first) / 3 + second / 3;
        eq(open.balanceOf(other), share, "an equal share");
        eq(open.balanceOf(addressOf("tide-table")), share, "an equal share");
        eq(open.balanceOf(owner), uint256(first) + second - 2 * share, "and the rest");
        eq(open.balanceOf(address(splitter)), 0, "nothing stays");
    }

    // --- models ---------------------------------------------------------------------------------------------------

    function test_a_model_keeps_its_split_and_may_change_its_prices() public {
        IModels.NewModel memory m = newModel();
        vm.startPrank(owner);
        uint64 id = models.register(m, "ipfs://card");
        models.setPrice(id, 7, 8, 9);
        IModels.Model memory kept = models.models(id);
        eq(kept.platformBps, 1000, "platform");
        eq(kept.modelBps, 2000, "model");
        eq(kept.stakersBps, 2000, "stakers");
        eq(kept.weights, m.weights, "weights");
        eq(kept.priceIn, 7, "price in");
        eq(kept.priceOut, 8, "price out");
        eq(kept.priceFlat, 9, "price flat");
        eq(models.ownerOf(id), owner, "owner");
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IModels.NotModelOwner.selector, id, address(this)));
        models.setPrice(id, 1, 1, 1);
    }

    function test_a_model_that_does_not_exist_is_not_told() public {
        vm.expectRevert(abi.encodeWithSelector(IModels.NoSuchModel.selector, 0));
        models.models(0);
        vm.expectRevert(abi.encodeWithSelector(IModels.NoSuchModel.selector, 1));
        models.models(1);
    }

    function testFuzz_a_split_within_the_bounds_is_taken_and_others_are_not(uint16 p, uint16 m, uint16 s) public {
        p = uint16(bound(p, 0, 2400));
        m = uint16(bound(m, 800, 4400));
        s = uint16(bound(s, 0, 3400));
        bool within = p <= 2000 && m >= 1000 && m <= 4000 && s <= 3000 && p + m + s <= 7000;
        IModels.NewModel memory new_ = newModel();
        (new_.platformBps, new_.modelBps, new_.stakersBps) = (p, m, s);
        if (!within) vm.expectRevert(abi.encodeWithSelector(IModels.SplitOutOfBounds.selector, p, m, s));
        uint64 id = models.register(new_, "");
        ok(id == (within ? 1 : 0), "taken within the bounds");
    }

    function test_a_model_needs_weights_and_a_manifest() public {
        IModels.NewModel memory m = newModel();
        m.weights = 0;
        vm.expectRevert(IModels.MissingHash.selector);
        models.register(m, "");
        m = newModel();
        m.manifest = 0;
        vm.expectRevert(IModels.MissingHash.selector);
        models.register(m, "");
    }

    function test_lineage_is_acyclic_bounded_and_at_most_eight_deep() public {
        IModels.NewModel memory m = newModel();
        m.parentBps = 1;
        vm.expectRevert(abi.encodeWithSelector(IModels.BadParent.selector, 0, 1));
        models.register(m, "");
        (m.parent, m.parentBps) = (1, 2000);
        vm.expectRevert(abi.encodeWithSelector(IModels.BadParent.selector, 1, 2000));
        models.register(m, "");
        models.register(newModel(), "");
        m.parentBps = 2001;
        vm.expectRevert(abi.encodeWithSelector(IModels.BadParent.selector, 1, 2001));
        models.register(m, "");
        m.parentBps = 2000;
        for (uint64 i = 1; i <= 8; ++i) {
            m.parent = i;
            models.register(m, "");
            eq(models.models(i + 1).depth, i, "depth");
        }
        m.parent = 9;
        vm.expectRevert(abi.encodeWithSelector(IModels.BadParent.selector, 9, 2000));
        models.register(m, "");
    }
}
