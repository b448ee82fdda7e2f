// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ITitle} from "./ITitle.sol";

/// @title IDatanets
/// @notice Datanets, their terms, the records of each version, and the grants to use them.
interface IDatanets is ITitle {
    /// @notice A datanet as it stands.
    /// @param version Number of publications; the first one makes it 1.
    /// @param records Records in the current version.
    /// @param terms Hash of the usage terms; fixed at creation, since contributors gave under them.
    struct Datanet {
        uint64 version;
        uint64 records;
        bytes32 terms;
    }

    /// @notice Leave to use a datanet; signed by its owner as EIP-712.
    /// @param version The version it was given for.
    /// @param purposes Bit set of purposes, each with a slot of its own.
    /// @param until Last second of validity.
    /// @param terms Must equal the terms of the datanet.
    struct Grant {
        uint64 datanet;
        uint64 version;
        address grantee;
        uint32 purposes;
        uint64 until;
        bytes32 terms;
    }

    /// @notice The caller does not own the datanet.
    error NotDatanetOwner(uint64 datanet, address caller);
    /// @notice The signature is not that of the datanet's owner.
    error NotSignedByOwner(uint64 datanet);
    /// @notice The version to publish is the current one and one; the datanet may have moved on.
    error WrongVersion(uint64 datanet, uint64 asked, uint64 next);
    /// @notice A version holds something; its root and count are not zero.
    error EmptyVersion(uint64 datanet);
    /// @notice The grant names other terms than the datanet's.
    error WrongTerms(uint64 datanet, bytes32 terms);
    /// @notice A signed grant must reach further than every grant for the same use before it, and none may have been revoked.
    error GrantStale(uint64 datanet, uint64 until, uint64 floor);
    /// @notice A grant that is over, or for no purpose, grants nothing.
    error GrantsNothing(uint64 datanet, uint64 until);

    /// @notice `owner` created `datanet` under `terms`; `uri` describes it.
    event DatanetCreated(uint64 indexed datanet, address indexed owner, bytes32 terms, string uri);
    /// @notice `datanet` published `version` with `records` records under `root`.
    event VersionPublished(
        uint64 indexed datanet, uint64 indexed version, bytes32 root, bytes32 oldRoot, uint64 records
    );
    /// @notice `grantee` may use `datanet` for `purposes` until `until`; `grantHash` is the grant's name in manifests.
    event Granted(
        uint64 indexed datanet,
        address indexed grantee,
        uint32 purposes,
        uint64 version,
        uint64 until,
        bytes32 indexed grantHash
    );
    /// @notice `grantee` may no longer use `datanet` for `purposes`.
    event Revoked(uint64 indexed datanet, address indexed grantee, uint32 purposes);

    /// @notice Creates a datanet owned by the caller.
    /// @param terms Hash of the usage terms.
    /// @param uri Where the terms and the description are; only in the event.
    /// @return datanet Its id: running numbers from 1.
    function create(bytes32 terms, string calldata uri) external returns (uint64 datanet);

    /// @notice Publishes the next version: the Merkle root over its contributions in order of acceptance.
    /// @param datanet The datanet; the caller owns it.
    /// @param expectedVersion The version this makes: the current one and one.
    /// @param root Root over contribution leaves.
    /// @param records Records in all of them.
    /// @return version The new version.
    function publish(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records)
        external
        returns (uint64 version);

    /// @notice As `publish`, sent by anyone with the owner's EIP-712 signature (ERC-1271 for contracts).
    function publishFor(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records, bytes calldata signature)
        external
        returns (uint64 version);

    /// @notice Grants; the caller owns the datanet.
    /// @dev Warning: grants outlive a sale of the datanet; a buyer reads the open ones first.
    function grant(Grant calldata g) external;

    /// @notice As `grant`, sent by anyone with the owner's EIP-712 signature.
    /// @dev A signed grant counts once and only upwards: `until` must exceed every earlier one for the same use.
    function grantFor(Grant calldata g, bytes calldata signature) external;

    /// @notice Ends grants at once; signed grants for the same uses, sent or not, are dead for good.
    function revoke(uint64 datanet, address grantee, uint32 purposes) external;

    /// @notice The datanet as it stands; all zero when there is none.
    function datanets(uint64 datanet) external view returns (Datanet memory);

    /// @notice Root of a version; zero when it was never published.
    function rootOf(uint64 datanet, uint64 version) external view returns (bytes32);

    /// @notice `keccak256(abi.encode(datanet, grantee, purpose))`, the slot of one purpose of a grant.
    function grantKey(uint64 datanet, address grantee, uint32 purpose) external pure returns (bytes32);

    /// @notice EIP-712 struct hash of a grant: its name in manifests.
    function grantHash(Grant calldata g) external pure returns (bytes32);

    /// @notice Until when `grantee` may use `datanet` for `purpose` (one bit), in seconds; zero when never or revoked.
    function grantedUntil(uint64 datanet, address grantee, uint32 purpose) external view returns (uint64);

    /// @notice The digest that a datanet's owner signs to publish.
    function publishDigest(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records)
        external
        view
        returns (bytes32);

    /// @notice The digest that a datanet's owner signs to grant.
    function grantDigest(Grant calldata g) external view returns (bytes32);
}
