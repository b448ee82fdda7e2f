// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Channels} from "../../src/Channels.sol";
import {Contributions} from "../../src/Contributions.sol";
import {Datanets} from "../../src/Datanets.sol";
import {Models} from "../../src/Models.sol";
import {Params} from "../../src/Params.sol";
import {Payouts} from "../../src/Payouts.sol";
import {Verifier} from "../../src/Verifier.sol";
import {WOPEN} from "../../src/WOPEN.sol";
import {IChannels} from "../../src/interfaces/IChannels.sol";
import {IContributions} from "../../src/interfaces/IContributions.sol";
import {IModels} from "../../src/interfaces/IModels.sol";
import {IPayouts} from "../../src/interfaces/IPayouts.sol";
import {FormatsLib} from "../../src/libraries/FormatsLib.sol";
import {SumNode} from "../../src/libraries/MerkleLib.sol";
import {Base} from "./Base.sol";
import {Trees} from "./Trees.sol";

/// @dev All contracts deployed as on a production network, and the few moves most tests begin with.
abstract contract World is Base {
    uint128 internal constant BOND = 5000 ether;
    uint64 internal constant WINDOW = 24 hours;

    WOPEN internal open;
    Datanets internal datanets;
    Contributions internal contributions;
    Params internal params;
    Models internal models;
    Verifier internal verifier;
    Payouts internal payouts;
    Channels internal channels;

    address internal treasury = addressOf("treasury");
    address internal validation = addressOf("validation");
    address internal insurance = addressOf("insurance");
    address internal guardian = addressOf("guardian");
    address internal jury = addressOf("jury");
    address internal council = addressOf("council");
    address internal node = addressOf("node");
    address internal payer = addressOf("payer");
    address internal session = addressOf("session");

    /// @dev An account's lifetime total.
    struct Total {
        address account;
        uint128 cumulative;
    }

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(1000);
        open = new WOPEN();
        datanets = new Datanets();
        contributions = new Contributions(datanets);
        params = new Params(council);
        models = new Models(params);
        verifier = new Verifier(datanets, contributions, models, params);
        payouts = new Payouts(settings());
        channels = Channels(address(payouts.CHANNELS()));
        give(node, 100_000 ether);
        give(payer, 100_000 ether);
        give(address(this), 10_000_000 ether);
        open.approve(address(payouts), type(uint256).max);
        vm.prank(payer);
        open.approve(address(channels), type(uint256).max);
    }

    function settings() internal view returns (IPayouts.Settings memory) {
        return IPayouts.Settings({
            open: IERC20(address(open)),
            verifier: verifier,
            guardian: guardian,
            jury: jury,
            treasury: treasury,
            validation: validation,
            insurance: insurance,
            bond: BOND,
            window: WINDOW,
            day: 1 days
        });
    }

    function give(address to, uint256 amount) internal {
        vm.deal(address(this), amount);
        open.deposit{value: amount}();
        open.transfer(to, amount);
    }

    function bondNode() internal {
        payouts.join(node, BOND);
    }

    function payoutLeaves(Total[] memory totals) internal view returns (SumNode[] memory leaves) {
        leaves = new SumNode[](totals.length);
        for (uint256 i; i < totals.length; ++i) {
            bytes32 hash = FormatsLib.payoutLeaf(address(payouts), totals[i].account, totals[i].cumulative);
            leaves[i] = SumNode(hash, totals[i].cumulative);
        }
    }

    /// @dev A proposal that pays `totals`, with receipts and entries that nobody looks into: both trees are the same.
    function plain(Total[] memory totals)
        internal
        view
        returns (IPayouts.Proposal memory p, SumNode[2] memory entriesTop, SumNode[2] memory payoutTop)
    {
        SumNode[] memory leaves = payoutLeaves(totals);
        SumNode memory root = Trees.root(leaves);
        (uint64 epoch, uint64 cutoff, uint128 total) = payouts.head();
        uint128 entriesTotal = root.sum - total;
        entriesTop = [SumNode(bytes32(uint256(1)), entriesTotal), SumNode(0, 0)];
        payoutTop = Trees.top(leaves);
        p = IPayouts.Proposal({
            epoch: epoch + 1,
            cutoff: cutoff + 1,
            receiptCount: 1,
            receiptsRoot: Trees.node(entriesTop[0], entriesTop[1]).hash,
            entriesRoot: Trees.node(entriesTop[0], entriesTop[1]).hash,
            entriesTotal: entriesTotal,
            payoutRoot: root.hash,
            total: root.sum
        });
    }

    function propose(Total[] memory totals) internal {
        (IPayouts.Proposal memory p, SumNode[2] memory entriesTop, SumNode[2] memory payoutTop) = plain(totals);
        vm.prank(node);
        payouts.propose(p, entriesTop, entriesTop, payoutTop, "");
    }

    /// @dev Proposes and finalizes `totals`, funding what they need.
    function settle(Total[] memory totals) internal {
        uint128 sum;
        for (uint256 i; i < totals.length; ++i) {
            sum += totals[i].cumulative;
        }
        uint128 funded = payouts.funded();
        if (sum > funded) payouts.fund(sum - funded);
        if (payouts.operators(node).stake < BOND) bondNode();
        propose(totals);
        vm.warp(block.timestamp + WINDOW);
        payouts.finalize();
    }

    /// @dev A payout leaf as `claimMulti` has it.
    function packed(uint256 index, address account, uint128 cumulative) internal pure returns (bytes memory) {
        return abi.encodePacked(uint32(index), account, cumulative);
    }

    function two(address a, uint128 x, address b, uint128 y) internal pure returns (Total[] memory totals) {
        totals = new Total[](2);
        (totals[0], totals[1]) = a < b ? (Total(a, x), Total(b, y)) : (Total(b, y), Total(a, x));
    }

    /// @dev `count` accounts in ascending order, the i-th with `scale * (i + 1)`.
    function many(uint256 count, uint128 scale) internal pure returns (Total[] memory totals) {
        totals = new Total[](count);
        for (uint256 i; i < count; ++i) {
            totals[i] = Total(address(uint160(0x1000 + i * 7)), scale * uint128(i + 1));
        }
    }

    function config(bytes32 salt) internal view returns (IChannels.Config memory) {
        return
            IChannels.Config({payer: payer, payerAuthorizer: session, node: node, withdrawDelay: 1 hours, salt: salt});
    }

    function voucher(IChannels.Config memory c, uint128 cumulative) internal view returns (IChannels.Voucher memory) {
        bytes32 digest = channels.voucherDigest(channels.channelOf(c), cumulative);
        return IChannels.Voucher(c, cumulative, sign(keyOf("session"), digest));
    }

    /// @dev A registration by its only contributor, already committed to; the next block has come.
    function prepared(string memory contributor, uint64 datanet, bytes32 root, uint32 count)
        internal
        returns (IContributions.Registration memory r)
    {
        address[] memory list = new address[](1);
        list[0] = addressOf(contributor);
        r = IContributions.Registration({
            datanet: datanet,
            root: root,
            count: count,
            terms: keccak256("CC-BY-4.0"),
            contributors: list,
            registrant: list[0],
            salt: "salt",
            signature: ""
        });
        prepare(r, keyOf(contributor));
    }

    /// @dev Commits to `r`, signs it and lets a block pass.
    function prepare(IContributions.Registration memory r, uint256 key) internal {
        contributions.commit(contributions.commitmentOf(r.registrant, r.datanet, r.root, r.salt));
        uint64 nonce = contributions.nonces(r.registrant);
        r.signature = sign(key, contributions.registerDigest(batchOf(r), nonce));
        vm.roll(block.number + 1);
    }

    function batchOf(IContributions.Registration memory r) internal pure returns (IContributions.Batch memory) {
        return IContributions.Batch(r.datanet, r.root, r.count, keccak256(abi.encodePacked(r.contributors)), r.terms);
    }

    function newModel() internal pure returns (IModels.NewModel memory m) {
        m.weights = keccak256("weights");
        m.manifest = keccak256("manifest");
        (m.priceIn, m.priceOut, m.priceFlat) = (1 ether, 2 ether, 0);
        (m.platformBps, m.modelBps, m.stakersBps) = (1000, 2000, 2000);
    }
}
