// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IDatanets} from "./interfaces/IDatanets.sol";
import {Title} from "./Title.sol";
import {SignatureLib} from "./libraries/SignatureLib.sol";

/// @title Datanets
/// @notice Titles of datanets, their versions and their grants.
contract Datanets is Title, EIP712, IDatanets {
    bytes32 private constant PUBLISH_TYPEHASH =
        keccak256("Publish(uint64 datanet,uint64 expectedVersion,bytes32 root,uint64 records)");
    bytes32 private constant GRANT_TYPEHASH =
        keccak256("Grant(uint64 datanet,uint64 version,address grantee,uint32 purposes,uint64 until,bytes32 terms)");

    /// @dev `floor` is the furthest `until` ever granted; the maximum once revoked.
    struct GrantSlot {
        uint64 until;
        uint64 floor;
    }

    /// @notice Datanets created so far; the newest one's id.
    uint64 public count;

    mapping(uint64 datanet => Datanet) private _datanets;
    mapping(uint64 datanet => mapping(uint64 version => bytes32)) public rootOf;
    mapping(bytes32 key => GrantSlot) private _grants;

    constructor() ERC721("OpenLedger Datanet", "DNET") EIP712("OpenLedger", "1") {}

    /// @inheritdoc IDatanets
    function create(bytes32 terms, string calldata uri) external returns (uint64 datanet) {
        datanet = ++count;
        _datanets[datanet].terms = terms;
        emit DatanetCreated(datanet, msg.sender, terms, uri);
        _mint(msg.sender, datanet);
    }

    /// @inheritdoc IDatanets
    function publish(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records)
        external
        returns (uint64 version)
    {
        _requireOwner(datanet);
        return _publish(datanet, expectedVersion, root, records);
    }

    /// @inheritdoc IDatanets
    function publishFor(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records, bytes calldata signature)
        external
        returns (uint64 version)
    {
        _requireSigned(datanet, publishDigest(datanet, expectedVersion, root, records), signature);
        return _publish(datanet, expectedVersion, root, records);
    }

    /// @inheritdoc IDatanets
    function grant(Grant calldata g) external {
        _requireOwner(g.datanet);
        _grant(g);
    }

    /// @inheritdoc IDatanets
    function grantFor(Grant calldata g, bytes calldata signature) external {
        _requireSigned(g.datanet, grantDigest(g), signature);
        for (uint32 left = g.purposes; left != 0; left &= left - 1) {
            uint64 floor = _grants[grantKey(g.datanet, g.grantee, _lowest(left))].floor;
            require(g.until > floor, GrantStale(g.datanet, g.until, floor));
        }
        _grant(g);
    }

    /// @inheritdoc IDatanets
    function revoke(uint64 datanet, address grantee, uint32 purposes) external {
        _requireOwner(datanet);
        for (uint32 left = purposes; left != 0; left &= left - 1) {
            _grants[grantKey(datanet, grantee, _lowest(left))] = GrantSlot(0, type(uint64).max);
        }
        emit Revoked(datanet, grantee, purposes);
    }

    /// @inheritdoc IDatanets
    function datanets(uint64 datanet) external view returns (Datanet memory) {
        return _datanets[datanet];
    }

    /// @inheritdoc IDatanets
    function grantedUntil(uint64 datanet, address grantee, uint32 purpose) external view returns (uint64) {
        return _grants[grantKey(datanet, grantee, purpose)].until;
    }

    /// @inheritdoc IDatanets
    function publishDigest(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(keccak256(abi.encode(PUBLISH_TYPEHASH, datanet, expectedVersion, root, records)));
    }

    /// @inheritdoc IDatanets
    function grantDigest(Grant calldata g) public view returns (bytes32) {
        return _hashTypedDataV4(grantHash(g));
    }

    /// @inheritdoc IDatanets
    function grantHash(Grant calldata g) public pure returns (bytes32) {
        return keccak256(abi.encode(GRANT_TYPEHASH, g));
    }

    /// @inheritdoc IDatanets
    function grantKey(uint64 datanet, address grantee, uint32 purpose) public pure returns (bytes32) {
        return keccak256(abi.encode(datanet, grantee, purpose));
    }

    function _publish(uint64 datanet, uint64 expectedVersion, bytes32 root, uint64 records)
        private
        returns (uint64 version)
    {
        Datanet storage net = _datanets[datanet];
        version = net.version + 1;
        require(version == expectedVersion, WrongVersion(datanet, expectedVersion, version));
        require(root != 0 && records != 0, EmptyVersion(datanet));
        bytes32 oldRoot = rootOf[datanet][version - 1];
        (net.version, net.records) = (version, records);
        rootOf[datanet][version] = root;
        emit VersionPublished(datanet, version, root, oldRoot, records);
    }

    function _grant(Grant calldata g) private {
        require(g.terms == _datanets[g.datanet].terms, WrongTerms(g.datanet, g.terms));
        require(g.until >= block.timestamp && g.purposes != 0, GrantsNothing(g.datanet, g.until));
        for (uint32 left = g.purposes; left != 0; left &= left - 1) {
            GrantSlot storage slot = _grants[grantKey(g.datanet, g.grantee, _lowest(left))];
            slot.until = g.until;
            if (g.until > slot.floor) slot.floor = g.until;
        }
        emit Granted(g.datanet, g.grantee, g.purposes, g.version, g.until, grantHash(g));
    }

    /// @dev The lowest bit of a set of purposes.
    function _lowest(uint32 purposes) private pure returns (uint32) {
        return purposes & (~purposes + 1);
    }

    function _requireOwner(uint64 datanet) private view {
        require(ownerOf(datanet) == msg.sender, NotDatanetOwner(datanet, msg.sender));
    }

    function _requireSigned(uint64 datanet, bytes32 digest, bytes calldata signature) private view {
        require(SignatureLib.isSignedBy(ownerOf(datanet), digest, signature), NotSignedByOwner(datanet));
    }
}
