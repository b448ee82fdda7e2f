// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title IChannels
/// @notice Prepaid channels from a payer to a node: money goes in once, and is redeemed by signed cumulative vouchers.
/// @dev Redeemed money can only go to `Payouts`, so no paid answer goes around its contributors.
interface IChannels {
    /// @notice The parties and terms of a channel; its hash is its id.
    /// @param payer Account that gets back the money that is not redeemed.
    /// @param payerAuthorizer Session key that signs vouchers; zero for the payer itself.
    /// @param node The node whose answers it pays.
    /// @param withdrawDelay Seconds between asking for money back and getting it: 15 minutes to 30 days (scaled).
    /// @param salt Distinguishes channels of the same parties.
    struct Config {
        address payer;
        address payerAuthorizer;
        address node;
        uint64 withdrawDelay;
        bytes32 salt;
    }

    /// @notice A channel's money, in base units.
    /// @param balance Paid in and not withdrawn.
    /// @param redeemed Of that, gone to `Payouts`; never above `balance`.
    struct Channel {
        uint128 balance;
        uint128 redeemed;
    }

    /// @notice A withdrawal asked for.
    struct Withdrawal {
        uint128 amount;
        uint64 readyAt;
    }

    /// @notice A voucher to redeem: all that `config` owes since it was opened.
    struct Voucher {
        Config config;
        uint128 cumulative;
        bytes signature;
    }

    /// @notice The delay is out of bounds, or payer or node is zero.
    error BadConfig();
    /// @notice Deposits are paused.
    error DepositsPaused(uint64 until);
    /// @notice Only the payer may do this.
    error NotPayer(address caller);
    /// @notice The voucher is not signed by the channel's key.
    error NotSignedByPayer(bytes32 channel);
    /// @notice No withdrawal was asked for, or it is not due.
    error WithdrawalNotDue(uint64 readyAt);

    /// @notice `amount` was paid into `channel`, whose parties and terms are `config`.
    event Deposited(
        bytes32 indexed channel, address indexed payer, address indexed node, Config config, uint128 amount
    );
    /// @notice `amount` of `channel` went to `Payouts`; `redeemed` in its life.
    event Redeemed(bytes32 indexed channel, address indexed node, uint128 amount, uint128 redeemed);
    /// @notice `amount` may be withdrawn at `readyAt`; the node redeems its vouchers before.
    event WithdrawalRequested(bytes32 indexed channel, uint128 amount, uint64 readyAt);
    /// @notice `amount` went back to the payer.
    event Withdrawn(bytes32 indexed channel, uint128 amount);

    /// @notice Pays `amount` of the caller's approved OPEN into a channel; anyone may.
    function deposit(Config calldata config, uint128 amount) external returns (bytes32 channel);

    /// @notice As `deposit`, with the caller's ERC-2612 permit; a permit already used does no harm.
    /// @dev Only for the caller's own money: a permit does not say which channel it is for.
    function depositWithPermit(Config calldata config, uint128 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
        returns (bytes32 channel);

    /// @notice Pays in by the payer's ERC-3009 `ReceiveWithAuthorization`, sent by anyone.
    /// @param salt The authorisation's nonce is `keccak256(abi.encode(channel, salt))`, so that it fits one channel only.
    function depositWithAuthorization(
        Config calldata config,
        uint128 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 salt,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external returns (bytes32 channel);

    /// @notice Redeems a voucher into `Payouts`; anyone may. Repeats and older vouchers do nothing.
    /// @dev A voucher beyond the balance redeems the balance, and the rest after the next deposit.
    /// @return amount Base units moved.
    function redeem(Voucher calldata voucher) external returns (uint128 amount);

    /// @notice Redeems several vouchers with one payment to `Payouts`.
    /// @return amount Base units moved in all.
    function redeemMany(Voucher[] calldata vouchers) external returns (uint128 amount);

    /// @notice Asks for `amount` back; only the payer. Asking again starts the delay again.
    function requestWithdrawal(Config calldata config, uint128 amount) external;

    /// @notice Pays the payer the requested amount or the balance that is left, once it is due; anyone may.
    function withdraw(Config calldata config) external returns (uint128 amount);

    /// @notice `keccak256(abi.encode(chainId, this, payer, payerAuthorizer, node, withdrawDelay, salt))`.
    function channelOf(Config calldata config) external view returns (bytes32);

    /// @notice Base units ever redeemed into `Payouts`.
    function redeemedTotal() external view returns (uint128);

    /// @notice A channel's money.
    function channels(bytes32 channel) external view returns (Channel memory);

    /// @notice A channel's withdrawal, if any.
    function withdrawals(bytes32 channel) external view returns (Withdrawal memory);

    /// @notice The digest that the channel's key signs.
    function voucherDigest(bytes32 channel, uint128 cumulative) external view returns (bytes32);
}
