// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Channels} from "./Channels.sol";
import {IChannels} from "./interfaces/IChannels.sol";
import {IParams} from "./interfaces/IParams.sol";
import {IPayouts} from "./interfaces/IPayouts.sol";
import {Fault, IVerifier} from "./interfaces/IVerifier.sol";
import {CumulativeLib} from "./libraries/CumulativeLib.sol";
import {FormatsLib} from "./libraries/FormatsLib.sol";
import {MerkleLib, SumNode} from "./libraries/MerkleLib.sol";

/// @title Payouts
/// @notice The money of all epochs: it comes in by `fund` and vouchers, proposals decide claims, and it goes out by `claim`.
/// @dev No owner and no upgrade. Every function checks, writes, emits, and calls the token last.
contract Payouts is EIP712, IPayouts {
    using SafeERC20 for IERC20;

    /// @notice Where the burned part of a slash goes: nobody holds its key.
    address public constant BURN = 0x000000000000000000000000000000000000dEaD;
    IERC20 public immutable OPEN;
    IVerifier public immutable VERIFIER;
    IChannels public immutable CHANNELS;
    address public immutable GUARDIAN;
    address public immutable JURY;
    address public immutable TREASURY;
    address public immutable VALIDATION;
    address public immutable INSURANCE;
    uint128 public immutable BOND;
    /// @notice The challenger's part of a slashed bond, as the governed numbers had it when this was deployed.
    uint128 public immutable CHALLENGER_PART;
    /// @notice The harmed party's part of a slashed bond, likewise; the rest is burned.
    uint128 public immutable HARMED_PART;
    uint64 public immutable WINDOW;
    uint64 public immutable DAY;

    /// @dev One slot: number, cutoff and total of an epoch.
    struct Mark {
        uint64 epoch;
        uint64 cutoff;
        uint128 total;
    }

    /// @dev One slot, all that a challenge reads and writes of a proposal: its proposer, its epoch and when its window
    /// closes; and how many slashed bonds wait for `sweep`, which outlives the proposal.
    struct Answer {
        address proposer;
        uint40 closes;
        uint40 epoch;
        uint16 unswept;
    }

    /// @dev One slot: a proposal's cutoff, count and total.
    struct Terms {
        uint64 cutoff;
        uint32 receiptCount;
        uint128 total;
    }

    /// @dev One slot, read and written whole: the low half is the account's claims in its life, the high half is not zero
    /// when it chose another payee, which spares the claims of most accounts a second slot.
    struct Account {
        uint256 packed;
    }

    bytes32 public payoutRoot;
    Mark public head;

    // The pending proposal: there is one while `_answer.proposer` is set. Nothing else of it is ever cleared, so that the
    // next proposal overwrites used slots.
    Answer private _answer;
    Terms private _terms;
    bytes32 private _payoutRoot;
    bytes32 private _entriesRoot;

    /// @dev Paid in by `fund`; `CHANNELS` counts the amounts of vouchers.
    uint128 private _given;
    uint64 public pausedUntil;

    mapping(uint64 epoch => bytes32) public receiptsRootOf;
    mapping(address account => Account) private _accounts;
    mapping(address account => address) private _claimers;
    mapping(address operator => Operator) private _operators;

    /// @param p Settings, within the bounds `IPayouts.Settings` names.
    constructor(Settings memory p) EIP712("OpenLedger", "1") {
        require(p.day != 0 && p.day <= 1 days && p.window != 0, ParamOutOfBounds());
        require(p.window >= p.day / 24 && p.window <= 7 * p.day && p.bond != 0, ParamOutOfBounds());
        require(p.treasury != address(0) && p.validation != address(0) && p.insurance != address(0), ParamOutOfBounds());
        (OPEN, VERIFIER, GUARDIAN, JURY) = (p.open, p.verifier, p.guardian, p.jury);
        (TREASURY, VALIDATION, INSURANCE) = (p.treasury, p.validation, p.insurance);
        (BOND, WINDOW, DAY) = (p.bond, p.window, p.day);
        IParams.Values memory values = p.verifier.PARAMS().current();
        CHALLENGER_PART = uint128(uint256(p.bond) * values.challengerBps / 10_000);
        HARMED_PART = uint128(uint256(p.bond) * values.harmedBps / 10_000);
        CHANNELS = new Channels(p.open, p.day);
    }

    /// @inheritdoc IPayouts
    function fund(uint128 amount) external {
        uint128 total = _given + amount;
        _given = total;
        emit Funded(msg.sender, amount, total);
        OPEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IPayouts
    function join(address operator, uint128 amount) external {
        Operator storage op = _operators[operator];
        uint128 stake = op.stake + amount;
        require(stake >= BOND, NotBonded(operator));
        op.stake = stake;
        // Only the operator changes its mind: others could keep it from ever leaving.
        if (msg.sender == operator) op.exitAt = 0;
        if (op.since == 0) op.since = uint64(block.timestamp);
        emit OperatorJoined(operator, amount, stake);
        OPEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IPayouts
    function requestExit() external {
        Operator storage op = _operators[msg.sender];
        require(op.stake != 0, NotBonded(msg.sender));
        op.exitAt = uint64(block.timestamp) + 14 * DAY;
        emit OperatorLeaving(msg.sender, op.exitAt);
    }

    /// @inheritdoc IPayouts
    function exit() external returns (uint128 amount) {
        Operator storage op = _operators[msg.sender];
        require(op.exitAt != 0 && block.timestamp >= op.exitAt, ExitNotDue(op.exitAt));
        require(_answer.proposer != msg.sender, ExitNotDue(op.exitAt));
        amount = op.stake;
        (op.stake, op.exitAt) = (0, 0);
        emit OperatorLeft(msg.sender, amount);
        OPEN.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IPayouts
    function propose(
        Proposal calldata p,
        SumNode[2] calldata receiptsTop,
        SumNode[2] calldata entriesTop,
        SumNode[2] calldata payoutTop,
        string calldata uri
    ) external {
        require(block.timestamp >= pausedUntil, Paused(pausedUntil));
        Operator storage op = _operators[msg.sender];
        require(op.stake >= BOND && op.exitAt == 0, NotBonded(msg.sender));

        Mark memory last = head;
        Answer memory answer = _answer;
        require(answer.proposer == address(0), ProposalPending(answer.epoch));
        // Slither takes these numbers for a time, which lies in the same slot.
        // slither-disable-next-line incorrect-equality
        require(p.epoch == last.epoch + 1, WrongEpoch(p.epoch, last.epoch + 1));
        require(p.cutoff >= last.cutoff && p.cutoff <= block.timestamp + 7 days, BadCutoff(p.cutoff));
        require(p.receiptCount != 0, EmptyEpoch());
        // The entries pay exactly the prices of the receipts.
        _requireSum(p.receiptsRoot, p.entriesTotal, receiptsTop);
        _requireSum(p.entriesRoot, p.entriesTotal, entriesTop);
        _requireSum(p.payoutRoot, p.total, payoutTop);
        // slither-disable-next-line incorrect-equality
        require(p.total == last.total + p.entriesTotal, TotalMismatch(p.total, last.total + p.entriesTotal));
        uint128 paidIn = funded();
        require(p.total <= paidIn, Underfunded(p.total, paidIn));

        uint64 closes = uint64(block.timestamp) + WINDOW;
        _answer = Answer(msg.sender, uint40(closes), uint40(p.epoch), answer.unswept);
        _terms = Terms(p.cutoff, p.receiptCount, p.total);
        _payoutRoot = p.payoutRoot;
        _entriesRoot = p.entriesRoot;
        receiptsRootOf[p.epoch] = p.receiptsRoot;
        emit EpochProposed(p.epoch, msg.sender, p, closes, uri);
    }

    /// @inheritdoc IPayouts
    function challenge(Fault fault, bytes calldata proof) external {
        Answer memory answer = _pending();
        require(block.timestamp < answer.closes, WindowClosed(answer.closes));
        address harmed = VERIFIER.judge(fault, proof);
        if (harmed == address(0)) harmed = INSURANCE;

        (address proposer, uint64 epoch) = (answer.proposer, answer.epoch);
        answer.proposer = address(0);
        if (harmed == INSURANCE) ++answer.unswept;
        _answer = answer;
        // At least the bond is there: it cannot be withdrawn while the proposal is open.
        _operators[proposer].stake -= BOND;
        emit EpochRejected(epoch, fault, msg.sender, proposer, harmed, BOND);

        OPEN.safeTransfer(msg.sender, CHALLENGER_PART);
        if (harmed != INSURANCE) {
            OPEN.safeTransfer(harmed, HARMED_PART);
            OPEN.safeTransfer(BURN, BOND - CHALLENGER_PART - HARMED_PART);
        }
    }

    /// @inheritdoc IPayouts
    function sweep() external {
        uint256 bonds = _answer.unswept;
        _answer.unswept = 0;
        emit Swept(bonds);
        OPEN.safeTransfer(INSURANCE, bonds * HARMED_PART);
        OPEN.safeTransfer(BURN, bonds * (BOND - CHALLENGER_PART - HARMED_PART));
    }

    /// @inheritdoc IPayouts
    function annul(bytes32 reason) external {
        require(msg.sender == JURY, NotJury(msg.sender));
        uint64 epoch = _pending().epoch;
        _answer.proposer = address(0);
        emit EpochAnnulled(epoch, reason);
    }

    /// @inheritdoc IPayouts
    function finalize() external {
        Answer memory answer = _pending();
        require(block.timestamp >= answer.closes, WindowOpen(answer.closes));
        Terms memory terms = _terms;
        bytes32 root = _payoutRoot;
        _answer.proposer = address(0);
        head = Mark(answer.epoch, terms.cutoff, terms.total);
        payoutRoot = root;
        emit EpochFinalized(answer.epoch, root, terms.total);
    }

    /// @inheritdoc IPayouts
    function claim(address account, uint128 cumulative, uint256 index, SumNode[] calldata siblings)
        external
        returns (uint128 paid)
    {
        require(_isLeaf(account, cumulative, index, siblings), NotInRoot(account, cumulative));
        return _pay(account, cumulative);
    }

    /// @inheritdoc IPayouts
    function claimMany(Claim[] calldata claims) external returns (uint128 paid) {
        for (uint256 i; i < claims.length; ++i) {
            Claim calldata c = claims[i];
            if (_isLeaf(c.account, c.cumulative, c.index, c.siblings)) paid += _pay(c.account, c.cumulative);
        }
    }

    /// @inheritdoc IPayouts
    function claimMulti(bytes calldata leaves, uint256 depth, bytes calldata proof) external returns (uint128 paid) {
        uint256 count = leaves.length / FormatsLib.PAYOUT_BYTES;
        require(leaves.length == count * FormatsLib.PAYOUT_BYTES, LengthMismatch());
        uint256[] memory places = FormatsLib.payoutPlaces(address(this), leaves, count);
        bytes32 root = MerkleLib.sumRootMany(places, depth, proof);
        (address account, uint128 cumulative) = FormatsLib.payoutAt(leaves, 0);
        require(root == payoutRoot, NotInRoot(account, cumulative));
        // No more than the root's sum is paid, which fits.
        unchecked {
            for (uint256 i; i < count; ++i) {
                (account, cumulative) = FormatsLib.payoutAt(leaves, i);
                paid += _pay(account, cumulative);
            }
        }
    }

    /// @inheritdoc IPayouts
    function setClaimer(address payee) external {
        _claimers[msg.sender] = payee;
        Account storage a = _accounts[msg.sender];
        a.packed = uint128(a.packed) | (payee != address(0) ? 1 << 128 : 0);
        emit ClaimerSet(msg.sender, payee);
    }

    /// @inheritdoc IPayouts
    function pause() external {
        uint64 allowedAt = pausedUntil != 0 ? pausedUntil + 7 * DAY : 0;
        require(msg.sender == GUARDIAN && block.timestamp >= allowedAt, PauseRefused(allowedAt));
        pausedUntil = uint64(block.timestamp) + 3 * DAY;
        emit PausedUntil(pausedUntil);
    }

    /// @inheritdoc IPayouts
    function pending() external view returns (Proposal memory p, address proposer, uint64 closes) {
        Answer memory answer = _answer;
        if (answer.proposer == address(0)) return (p, address(0), 0);
        Terms memory terms = _terms;
        p = Proposal({
            epoch: answer.epoch,
            cutoff: terms.cutoff,
            receiptCount: terms.receiptCount,
            receiptsRoot: receiptsRootOf[answer.epoch],
            entriesRoot: _entriesRoot,
            entriesTotal: terms.total - head.total,
            payoutRoot: _payoutRoot,
            total: terms.total
        });
        return (p, answer.proposer, answer.closes);
    }

    /// @inheritdoc IPayouts
    function pendingReceiptsRoot() external view returns (bytes32) {
        Answer memory answer = _answer;
        return answer.proposer != address(0) ? receiptsRootOf[answer.epoch] : bytes32(0);
    }

    /// @inheritdoc IPayouts
    function unswept() external view returns (uint128 amount) {
        return _answer.unswept * (BOND - CHALLENGER_PART);
    }

    /// @inheritdoc IPayouts
    function operators(address operator) external view returns (Operator memory) {
        return _operators[operator];
    }

    /// @inheritdoc IPayouts
    function funded() public view returns (uint128) {
        return _given + CHANNELS.redeemedTotal();
    }

    /// @inheritdoc IPayouts
    function claimed(address account) external view returns (uint128) {
        return uint128(_accounts[account].packed);
    }

    /// @inheritdoc IPayouts
    function claimerFor(address account) public view returns (address) {
        return _accounts[account].packed >> 128 != 0 ? _claimers[account] : account;
    }

    /// @inheritdoc IPayouts
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @dev Raises what `account` has had to `cumulative` and pays the difference; a lower total pays nothing.
    function _pay(address account, uint128 cumulative) private returns (uint128 paid) {
        Account storage a = _accounts[account];
        uint256 packed = a.packed;
        paid = CumulativeLib.due(uint128(packed), cumulative);
        if (paid == 0) return 0;
        // The low half grows by `paid`, to `cumulative`; so the high half stays.
        unchecked {
            a.packed = packed + paid;
        }
        emit Claimed(account, paid, cumulative);
        OPEN.safeTransfer(packed >> 128 != 0 ? _claimers[account] : account, paid);
    }

    function _isLeaf(address account, uint128 cumulative, uint256 index, SumNode[] calldata siblings)
        private
        view
        returns (bool)
    {
        bytes32 leaf = FormatsLib.payoutLeaf(address(this), account, cumulative);
        (bytes32 root,,) = MerkleLib.sumRoot(leaf, cumulative, index, siblings);
        return root == payoutRoot;
    }

    /// @dev Proposer, epoch and window of the pending proposal; reverts when there is none.
    function _pending() private view returns (Answer memory answer) {
        answer = _answer;
        require(answer.proposer != address(0), NothingPending());
    }

    /// @dev The two nodes under `root` hash to it and sum to `claimed_`; so no claim under it can exceed `claimed_`.
    function _requireSum(bytes32 root, uint128 claimed_, SumNode[2] calldata top) private pure {
        (bytes32 hash, uint128 sum) = MerkleLib.parent(top[0].hash, top[0].sum, top[1].hash, top[1].sum);
        require(hash == root && sum == claimed_, SumMismatch(root, claimed_));
    }
}
