// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {SumNode} from "../libraries/MerkleLib.sol";
import {IChannels} from "./IChannels.sol";
import {Fault, IVerifier} from "./IVerifier.sol";

/// @title IPayouts
/// @notice Holds the callers' payments until the contributors claim them: epochs are proposed with a bond, may be challenged
/// during a window, are finalized by anyone, and pay lifetime totals by Merkle proof.
/// @dev Warning: the token is OPEN or WOPEN and nothing else; a token with fees or hooks would break the sums.
interface IPayouts {
    /// @notice The settings of a deployment. Seconds scale with `day`, so that a local network runs the same code faster.
    /// @param open The token paid in and out.
    /// @param verifier Judge of challenges; its governed numbers divide slashed bonds.
    /// @param guardian May pause new proposals and deposits; zero for nobody.
    /// @param jury May drop a pending proposal; zero for nobody.
    /// @param treasury Account of the treasury line.
    /// @param validation Account of the validation line.
    /// @param insurance Account of amounts owed to nobody, and of the harmed party's part where it is no single account.
    /// @param bond Base units an operator must have at stake to propose, and loses to a challenge.
    /// @param window Seconds a proposal may be challenged: one hour to seven days (each scaled).
    /// @param day Seconds in a day: 86,400; less on local networks.
    struct Settings {
        IERC20 open;
        IVerifier verifier;
        address guardian;
        address jury;
        address treasury;
        address validation;
        address insurance;
        uint128 bond;
        uint64 window;
        uint64 day;
    }

    /// @notice The result of an epoch, as an operator proposes it.
    /// @param epoch The last finalized epoch's number and one.
    /// @param cutoff Time up to which the proposer's own receipts are in this epoch, seconds; never goes back.
    /// @param receiptCount Receipts of the epoch.
    /// @param receiptsRoot Merkle sum root over them and their prices, ordered by id.
    /// @param entriesRoot Merkle sum root over the lines they pay, ordered by account, receipt and line.
    /// @param entriesTotal The sum of either tree: the amount that the epoch pays.
    /// @param payoutRoot Merkle sum root over lifetime totals, ordered by account.
    /// @param total Its sum: the last finalized total and `entriesTotal`.
    struct Proposal {
        uint64 epoch;
        uint64 cutoff;
        uint32 receiptCount;
        bytes32 receiptsRoot;
        bytes32 entriesRoot;
        uint128 entriesTotal;
        bytes32 payoutRoot;
        uint128 total;
    }

    /// @notice An operator: a node's signing key and its bond.
    /// @param stake Base units at stake.
    /// @param since When it first joined; stays after it left, since its receipts stay true.
    /// @param exitAt When it may leave; zero while it has not asked to.
    struct Operator {
        uint128 stake;
        uint64 since;
        uint64 exitAt;
    }

    /// @notice One claim of several.
    struct Claim {
        address account;
        uint128 cumulative;
        uint256 index;
        SumNode[] siblings;
    }

    /// @notice A parameter lies outside its bounds.
    error ParamOutOfBounds();
    /// @notice New proposals and deposits are paused until `until`.
    error Paused(uint64 until);
    /// @notice The caller is not the guardian, or its last pause is too recent.
    error PauseRefused(uint64 allowedAt);
    /// @notice The caller is not the jury.
    error NotJury(address caller);
    /// @notice The operator has not the bond at stake, or is leaving.
    error NotBonded(address operator);
    /// @notice The exit was not asked for, is not due, or the operator's proposal is still open.
    error ExitNotDue(uint64 exitAt);
    /// @notice A proposal is pending; finalize or challenge it first.
    error ProposalPending(uint64 epoch);
    /// @notice There is no pending proposal.
    error NothingPending();
    /// @notice Epochs follow one another.
    error WrongEpoch(uint64 epoch, uint64 expected);
    /// @notice The cutoff went back, or lies more than seven days ahead.
    error BadCutoff(uint64 cutoff);
    /// @notice An epoch has receipts.
    error EmptyEpoch();
    /// @notice The two nodes under a root do not hash to it, or do not sum to the claimed total.
    error SumMismatch(bytes32 root, uint128 claimed);
    /// @notice The new total is not the old one and the epoch's entries.
    error TotalMismatch(uint128 total, uint128 expected);
    /// @notice More would be paid out than was ever paid in.
    error Underfunded(uint128 total, uint128 funded);
    /// @notice The window is still open.
    error WindowOpen(uint64 closes);
    /// @notice The window has closed: the proposal stands.
    error WindowClosed(uint64 closes);
    /// @notice The leaf is not in the finalized payout tree.
    error NotInRoot(address account, uint128 cumulative);
    /// @notice Packed leaves that are not a whole number of leaves.
    error LengthMismatch();

    /// @notice `amount` was paid in otherwise than by vouchers; `given` is all that ever was.
    event Funded(address indexed source, uint128 amount, uint128 given);
    /// @notice `operator` put `amount` at stake.
    event OperatorJoined(address indexed operator, uint128 amount, uint128 stake);
    /// @notice `operator` may leave at `exitAt`.
    event OperatorLeaving(address indexed operator, uint64 exitAt);
    /// @notice `operator` took its stake back.
    event OperatorLeft(address indexed operator, uint128 amount);
    /// @notice `proposer` proposed an epoch; its data is at `uri`.
    event EpochProposed(uint64 indexed epoch, address indexed proposer, Proposal proposal, uint64 closes, string uri);
    /// @notice An epoch stands: its totals may be claimed.
    event EpochFinalized(uint64 indexed epoch, bytes32 payoutRoot, uint128 total);
    /// @notice A challenge held; of `slashed`, one part is the challenger's, one the harmed party's, and the rest is burned.
    /// Where `harmed` is the insurance, its part and the burned one wait for `sweep`.
    event EpochRejected(
        uint64 indexed epoch,
        Fault indexed fault,
        address indexed challenger,
        address proposer,
        address harmed,
        uint128 slashed
    );
    /// @notice Insurance was paid its part of `bonds` slashed bonds, and the rest of them was burned.
    event Swept(uint256 bonds);
    /// @notice The jury dropped a proposal; the bond is untouched.
    event EpochAnnulled(uint64 indexed epoch, bytes32 reason);
    /// @notice `account` was paid `amount`, at the payee that the token's `Transfer` right after names; it has had
    /// `cumulative` in its life.
    event Claimed(address indexed account, uint128 amount, uint128 cumulative);
    /// @notice What `account` earns goes to `payee`; zero for itself.
    event ClaimerSet(address indexed account, address indexed payee);
    /// @notice New proposals and deposits rest until `until`.
    event PausedUntil(uint64 until);

    /// @notice Pays `amount` in; it can only leave as payouts.
    function fund(uint128 amount) external;

    /// @notice Puts `amount` of the caller's OPEN at stake for `operator`; anyone may. Called by `operator` itself it also
    /// cancels its exit.
    /// @dev A node's receipts count once its key has joined. Its stake only ever goes back to `operator`.
    function join(address operator, uint128 amount) external;

    /// @notice Asks to leave; due after fourteen days (scaled).
    function requestExit() external;

    /// @notice Takes the caller's stake back once its exit is due and none of its proposals is open.
    function exit() external returns (uint128 amount);

    /// @notice Proposes the next epoch; the caller is a bonded operator.
    /// @param p The proposal.
    /// @param receiptsTop The two nodes under `p.receiptsRoot`; their sum is that of the entries.
    /// @param entriesTop The two nodes under `p.entriesRoot`.
    /// @param payoutTop The two nodes under `p.payoutRoot`; with the total they show that the root pays no more.
    /// @param uri Where the epoch's data is published.
    function propose(
        Proposal calldata p,
        SumNode[2] calldata receiptsTop,
        SumNode[2] calldata entriesTop,
        SumNode[2] calldata payoutTop,
        string calldata uri
    ) external;

    /// @notice Rejects the pending proposal while its window is open; the caller is paid `CHALLENGER_PART` of the slashed
    /// bond, the harmed party `HARMED_PART`, the rest is burned. The epoch may be proposed again.
    /// @dev Where no single account was harmed, insurance's part and the burned one stay here until `sweep`: so that
    /// challenging costs little.
    /// @dev Warning: a copied proof pays the sender that is mined first; send it privately where that matters.
    function challenge(Fault fault, bytes calldata proof) external;

    /// @notice Pays insurance its parts of slashed bonds that wait here and burns the rest; anyone may, at any time.
    /// @dev At most 65,535 bonds wait; a challenge that would leave one more reverts until they are swept.
    function sweep() external;

    /// @notice Drops the pending proposal without a slash; only the jury, where no proof can decide.
    function annul(bytes32 reason) external;

    /// @notice Makes the pending proposal stand once its window has closed; anyone may.
    function finalize() external;

    /// @notice Pays `account` its unclaimed earnings, at itself or the payee it chose. Anyone may call.
    /// @dev Totals are cumulative: a missed epoch is never lost and a replayed claim pays zero.
    /// @param account The earner named in the leaf.
    /// @param cumulative Its lifetime total in the finalized tree.
    /// @param index Its place in the tree.
    /// @param siblings From leaf to root.
    /// @return paid Base units moved; zero when it had everything already.
    function claim(address account, uint128 cumulative, uint256 index, SumNode[] calldata siblings)
        external
        returns (uint128 paid);

    /// @notice Several claims with proofs of their own; a leaf that is not in the finalized tree any more is passed over.
    /// @return paid Base units moved in all.
    function claimMany(Claim[] calldata claims) external returns (uint128 paid);

    /// @notice Several claims with one proof: the cheapest way to pay many.
    /// @param leaves In ascending order of index, 40 bytes each: index (4), account (20), lifetime total (16).
    /// @param depth Depth of the payout tree.
    /// @param proof Level by level and left to right, the siblings that the leaves themselves do not give, 48 bytes each:
    /// hash (32), sum (16).
    /// @return paid Base units moved in all.
    function claimMulti(bytes calldata leaves, uint256 depth, bytes calldata proof) external returns (uint128 paid);

    /// @notice Sends the caller's earnings to `payee` from now on; zero for itself.
    function setClaimer(address payee) external;

    /// @notice Rests new proposals and deposits for three days (scaled); only the guardian, once in ten days.
    /// @dev Claims, withdrawals, challenges, finalizations and exits never rest.
    function pause() external;

    /// @notice The pending proposal; `proposer` is zero when there is none.
    /// @return p Its fields (`entriesTotal` and all).
    /// @return proposer The operator that answers for it.
    /// @return closes When its window closes.
    function pending() external view returns (Proposal memory p, address proposer, uint64 closes);

    /// @notice Receipts root of the pending proposal; zero when there is none.
    function pendingReceiptsRoot() external view returns (bytes32);

    /// @notice Base units of slashed bonds that wait for `sweep`.
    function unswept() external view returns (uint128 amount);

    /// @notice The finalized payout root; zero before the first epoch.
    function payoutRoot() external view returns (bytes32);

    /// @notice Number, cutoff and total of the last finalized epoch.
    function head() external view returns (uint64 epoch, uint64 cutoff, uint128 total);

    /// @notice Receipts root of an epoch, finalized or pending.
    function receiptsRootOf(uint64 epoch) external view returns (bytes32);

    /// @notice An operator.
    function operators(address operator) external view returns (Operator memory);

    /// @notice Base units an account has been paid in its life.
    function claimed(address account) external view returns (uint128);

    /// @notice Where an account's earnings go: the payee it chose, or itself.
    function claimerFor(address account) external view returns (address);

    /// @notice Base units ever paid in: redeemed by `Channels` or given by `fund`.
    /// @dev Warning: tokens merely transferred here are nobody's; use `fund`.
    function funded() external view returns (uint128);

    /// @notice Until when new proposals and deposits rest; in the past when they do not.
    function pausedUntil() external view returns (uint64);

    /// @notice EIP-712 domain of receipts.
    function domainSeparator() external view returns (bytes32);

    /// @notice Where callers' deposits are, deployed by this contract.
    function CHANNELS() external view returns (IChannels);
    /// @notice The token paid in and out.
    function OPEN() external view returns (IERC20);
    /// @notice Account of the treasury line.
    function TREASURY() external view returns (address);
    /// @notice Account of the validation line.
    function VALIDATION() external view returns (address);
    /// @notice Account of amounts owed to nobody.
    function INSURANCE() external view returns (address);
    /// @notice The challenger's part of a slashed bond, base units.
    function CHALLENGER_PART() external view returns (uint128);
    /// @notice The harmed party's part of a slashed bond, base units; the rest of the bond is burned.
    function HARMED_PART() external view returns (uint128);
    /// @notice Seconds in a day on this network.
    function DAY() external view returns (uint64);
}
