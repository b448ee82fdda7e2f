// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITitle} from "./ITitle.sol";

/// @title IContributions
/// @notice One title per batch of records of any size; its holder is paid for it.
interface IContributions is ITitle {
    /// @notice A batch to register.
    /// @param datanet Where it goes.
    /// @param root Merkle root over its record leaves in order.
    /// @param count Number of records.
    /// @param terms Hash of the licence terms the contributors gave.
    /// @param contributors Its authors, in order; one address holds the title itself, several through a splitter.
    /// @param registrant The signer; usually one of the contributors.
    /// @param salt The salt of the commitment.
    /// @param signature The registrant's EIP-712 signature; empty when the registrant sends it.
    struct Registration {
        uint64 datanet;
        bytes32 root;
        uint32 count;
        bytes32 terms;
        address[] contributors;
        address registrant;
        bytes32 salt;
        bytes signature;
    }

    /// @notice A batch as registered: the preimage of `batchHash`.
    struct Batch {
        uint64 datanet;
        bytes32 root;
        uint32 count;
        bytes32 contributors;
        bytes32 terms;
    }

    /// @notice Commit first, and reveal in a later block.
    error NotCommitted(bytes32 commitment);
    /// @notice A batch has records, a root and between 1 and 64 contributors, none of them zero.
    error MalformedBatch();
    /// @notice The signature is not the registrant's for this batch and its next nonce.
    error NotSignedByRegistrant(address registrant);

    /// @notice `commitment` was made in this block; the earliest one has priority.
    event Committed(bytes32 indexed commitment);
    /// @notice A batch was registered; `holder` is paid for it, priority counts from block `committedAt`.
    event ContributionRegistered(
        uint256 indexed contribution,
        uint64 indexed datanet,
        address indexed registrant,
        address holder,
        bytes32 root,
        uint32 count,
        bytes32 contributors,
        bytes32 terms,
        uint48 committedAt
    );
    /// @notice `splitter` shares equally among `contributors`; the remainder goes to the first.
    event SplitterCreated(address indexed splitter, address[] contributors);

    /// @notice Records that the preimage was known to its author by this block. Repeating it changes nothing.
    /// @param commitment See `commitmentOf`; it binds the registrant, so copying it gives nothing.
    function commit(bytes32 commitment) external;

    /// @notice Several commitments at once.
    function commitMany(bytes32[] calldata commitments) external;

    /// @notice Registers a committed batch and mints its title.
    /// @return contribution `keccak256(abi.encode(chainId, this, registrant, nonce))`.
    function register(Registration calldata r) external returns (uint256 contribution);

    /// @notice Registers several batches; all or none.
    function registerMany(Registration[] calldata rs) external returns (uint256[] memory contributions);

    /// @notice Block of a commitment not yet revealed; zero when there is none.
    function committedAt(bytes32 commitment) external view returns (uint256);

    /// @notice Batches a registrant has registered: the nonce of the next one.
    function nonces(address registrant) external view returns (uint64);

    /// @notice `keccak256(abi.encode(batch))` of a contribution; zero when there is none.
    function batchHash(uint256 contribution) external view returns (bytes32);

    /// @notice Where shared batches by exactly these contributors are held, deployed or not.
    function splitterOf(address[] calldata contributors) external view returns (address);

    /// @notice `keccak256(abi.encode(chainId, this, registrant, datanet, root, salt))`.
    function commitmentOf(address registrant, uint64 datanet, bytes32 root, bytes32 salt)
        external
        view
        returns (bytes32);

    /// @notice Id of the batch number `nonce` of a registrant.
    function contributionOf(address registrant, uint64 nonce) external view returns (uint256);

    /// @notice The digest that a registrant signs.
    function registerDigest(Batch calldata batch, uint64 nonce) external view returns (bytes32);
}
