// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IChannels} from "./interfaces/IChannels.sol";
import {IPayouts} from "./interfaces/IPayouts.sol";
import {CumulativeLib} from "./libraries/CumulativeLib.sol";
import {SignatureLib} from "./libraries/SignatureLib.sol";

/// @title Channels
/// @notice Prepaid channels redeemed by cumulative vouchers, in the shape of x402 `batch-settlement`.
contract Channels is EIP712, IChannels {
    using SafeERC20 for IERC20;

    bytes32 private constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channel,uint128 cumulative)");

    /// @notice The token.
    IERC20 public immutable OPEN;
    /// @notice Where redeemed money goes.
    IPayouts public immutable PAYOUTS;
    /// @notice Bounds of a channel's withdrawal delay, in seconds.
    uint64 public immutable MIN_DELAY;
    uint64 public immutable MAX_DELAY;

    /// @inheritdoc IChannels
    uint128 public redeemedTotal;

    mapping(bytes32 channel => Channel) private _channels;
    mapping(bytes32 channel => Withdrawal) private _withdrawals;

    /// @dev Deployed by `Payouts` itself, so that each knows the other for good.
    /// @param open The token.
    /// @param day Seconds in a day on this network.
    constructor(IERC20 open, uint64 day) EIP712("OpenLedger", "1") {
        PAYOUTS = IPayouts(msg.sender);
        OPEN = open;
        MIN_DELAY = day < 96 ? 1 : day / 96;
        MAX_DELAY = 30 * day;
    }

    /// @inheritdoc IChannels
    function deposit(Config calldata config, uint128 amount) public returns (bytes32 channel) {
        channel = _credit(config, amount);
        OPEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc IChannels
    function depositWithPermit(Config calldata config, uint128 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (bytes32 channel)
    {
        // Somebody else may have used the permit already; then the allowance is there and the deposit goes on.
        try IERC20Permit(address(OPEN)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        return deposit(config, amount);
    }

    /// @inheritdoc IChannels
    function depositWithAuthorization(
        Config calldata config,
        uint128 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (bytes32 channel) {
        channel = _credit(config, amount);
        IERC3009(address(OPEN))
            .receiveWithAuthorization(
                config.payer,
                address(this),
                amount,
                validAfter,
                validBefore,
                keccak256(abi.encode(channel, salt)),
                v,
                r,
                s
            );
    }

    /// @inheritdoc IChannels
    function redeem(Voucher calldata voucher) external returns (uint128 amount) {
        amount = _redeem(voucher);
        _pass(amount);
    }

    /// @inheritdoc IChannels
    function redeemMany(Voucher[] calldata vouchers) external returns (uint128 amount) {
        for (uint256 i; i < vouchers.length; ++i) {
            amount += _redeem(vouchers[i]);
        }
        _pass(amount);
    }

    /// @inheritdoc IChannels
    function requestWithdrawal(Config calldata config, uint128 amount) external {
        require(msg.sender == config.payer, NotPayer(msg.sender));
        bytes32 channel = channelOf(config);
        uint64 readyAt = uint64(block.timestamp) + config.withdrawDelay;
        _withdrawals[channel] = Withdrawal(amount, readyAt);
        emit WithdrawalRequested(channel, amount, readyAt);
    }

    /// @inheritdoc IChannels
    function withdraw(Config calldata config) external returns (uint128 amount) {
        bytes32 channel = channelOf(config);
        Withdrawal memory asked = _withdrawals[channel];
        require(asked.readyAt != 0 && block.timestamp >= asked.readyAt, WithdrawalNotDue(asked.readyAt));
        Channel storage c = _channels[channel];
        uint128 left = c.balance - c.redeemed;
        amount = asked.amount < left ? asked.amount : left;
        c.balance -= amount;
        delete _withdrawals[channel];
        emit Withdrawn(channel, amount);
        OPEN.safeTransfer(config.payer, amount);
    }

    /// @inheritdoc IChannels
    function channels(bytes32 channel) external view returns (Channel memory) {
        return _channels[channel];
    }

    /// @inheritdoc IChannels
    function withdrawals(bytes32 channel) external view returns (Withdrawal memory) {
        return _withdrawals[channel];
    }

    /// @inheritdoc IChannels
    function channelOf(Config calldata config) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), config));
    }

    /// @inheritdoc IChannels
    function voucherDigest(bytes32 channel, uint128 cumulative) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(VOUCHER_TYPEHASH, channel, cumulative)));
    }

    /// @dev Books a deposit; the caller then fetches the money, and a failure there undoes the booking.
    function _credit(Config calldata config, uint128 amount) private returns (bytes32 channel) {
        uint64 until = PAYOUTS.pausedUntil();
        require(block.timestamp >= until, DepositsPaused(until));
        require(
            config.payer != address(0) && config.node != address(0) && config.withdrawDelay >= MIN_DELAY
                && config.withdrawDelay <= MAX_DELAY,
            BadConfig()
        );
        channel = channelOf(config);
        _channels[channel].balance += amount;
        emit Deposited(channel, config.payer, config.node, config, amount);
    }

    /// @dev Moves the redeemed amount to `Payouts`, which reads `redeemedTotal` as paid in.
    function _pass(uint128 amount) private {
        if (amount == 0) return;
        redeemedTotal += amount;
        OPEN.safeTransfer(address(PAYOUTS), amount);
    }

    /// @dev Raises the channel's redeemed sum to the voucher's or the balance, and returns by how much.
    function _redeem(Voucher calldata voucher) private returns (uint128 amount) {
        bytes32 channel = channelOf(voucher.config);
        bytes32 digest = voucherDigest(channel, voucher.cumulative);
        address signer = voucher.config.payerAuthorizer;
        if (signer == address(0)) signer = voucher.config.payer;
        require(SignatureLib.isSignedBy(signer, digest, voucher.signature), NotSignedByPayer(channel));

        Channel storage c = _channels[channel];
        uint128 had = c.redeemed;
        amount = CumulativeLib.dueWithin(had, voucher.cumulative, c.balance);
        if (amount == 0) return 0;
        c.redeemed = had + amount;
        emit Redeemed(channel, voucher.config.node, amount, had + amount);
    }
}
