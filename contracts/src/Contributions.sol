// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IContributions} from "./interfaces/IContributions.sol";
import {IDatanets} from "./interfaces/IDatanets.sol";
import {Splitter} from "./Splitter.sol";
import {Title} from "./Title.sol";
import {SignatureLib} from "./libraries/SignatureLib.sol";

/// @title Contributions
/// @notice Titles of batches of records: registered by commit and reveal, held by their contributor or a splitter.
/// @dev A batch of any size is one slot (`batchHash`); its fields are in the event and proven by their hash.
contract Contributions is Title, EIP712, IContributions {
    bytes32 private constant REGISTER_TYPEHASH =
        keccak256("Register(uint64 datanet,bytes32 root,uint32 count,bytes32 contributors,bytes32 terms,uint64 nonce)");

    /// @notice Most contributors one batch may have.
    uint256 public constant MAX_CONTRIBUTORS = 64;

    /// @notice Where datanets are titled.
    IDatanets public immutable DATANETS;
    /// @notice The code every splitter delegates to.
    address public immutable SPLITTER;

    mapping(bytes32 commitment => uint256) public committedAt;
    mapping(address registrant => uint64) public nonces;
    mapping(uint256 contribution => bytes32) public batchHash;

    /// @param datanets The `Datanets` contract.
    constructor(IDatanets datanets) ERC721("OpenLedger Contribution", "CONT") EIP712("OpenLedger", "1") {
        DATANETS = datanets;
        SPLITTER = address(new Splitter());
    }

    /// @inheritdoc IContributions
    function commit(bytes32 commitment) public {
        if (committedAt[commitment] != 0) return;
        committedAt[commitment] = block.number;
        emit Committed(commitment);
    }

    /// @inheritdoc IContributions
    function commitMany(bytes32[] calldata commitments) external {
        for (uint256 i; i < commitments.length; ++i) {
            commit(commitments[i]);
        }
    }

    /// @inheritdoc IContributions
    function register(Registration calldata r) public returns (uint256 contribution) {
        uint256 length = r.contributors.length;
        require(r.count != 0 && r.root != 0 && length != 0 && length <= MAX_CONTRIBUTORS, MalformedBatch());
        uint48 since = _reveal(r);
        uint64 nonce = nonces[r.registrant]++;

        Batch memory batch = Batch(r.datanet, r.root, r.count, keccak256(abi.encodePacked(r.contributors)), r.terms);
        if (msg.sender != r.registrant) {
            require(
                SignatureLib.isSignedBy(r.registrant, _registerDigest(batch, nonce), r.signature),
                NotSignedByRegistrant(r.registrant)
            );
        }
        // Reverts when there is no such datanet.
        DATANETS.ownerOf(r.datanet);

        contribution = contributionOf(r.registrant, nonce);
        batchHash[contribution] = keccak256(abi.encode(batch));
        address holder = length == 1 ? r.contributors[0] : _splitter(r.contributors, batch.contributors);
        emit ContributionRegistered(
            contribution, r.datanet, r.registrant, holder, r.root, r.count, batch.contributors, r.terms, since
        );
        _mint(holder, contribution);
    }

    /// @inheritdoc IContributions
    function registerMany(Registration[] calldata rs) external returns (uint256[] memory contributions) {
        contributions = new uint256[](rs.length);
        for (uint256 i; i < rs.length; ++i) {
            contributions[i] = register(rs[i]);
        }
    }

    /// @inheritdoc IContributions
    function splitterOf(address[] calldata contributors) external view returns (address) {
        return Clones.predictDeterministicAddressWithImmutableArgs(
            SPLITTER, abi.encodePacked(contributors), keccak256(abi.encodePacked(contributors))
        );
    }

    /// @inheritdoc IContributions
    function commitmentOf(address registrant, uint64 datanet, bytes32 root, bytes32 salt)
        public
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), registrant, datanet, root, salt));
    }

    /// @inheritdoc IContributions
    function contributionOf(address registrant, uint64 nonce) public view returns (uint256) {
        return uint256(keccak256(abi.encode(block.chainid, address(this), registrant, nonce)));
    }

    /// @inheritdoc IContributions
    function registerDigest(Batch calldata batch, uint64 nonce) external view returns (bytes32) {
        return _registerDigest(batch, nonce);
    }

    /// @dev Uses up the commitment of `r` and returns its block, which is an earlier one.
    function _reveal(Registration calldata r) private returns (uint48) {
        bytes32 commitment = commitmentOf(r.registrant, r.datanet, r.root, r.salt);
        uint256 since = committedAt[commitment];
        require(since != 0 && since < block.number, NotCommitted(commitment));
        delete committedAt[commitment];
        return uint48(since);
    }

    /// @dev The splitter of a list of contributors, deployed with its first batch; `salt` is the hash of the list.
    function _splitter(address[] calldata contributors, bytes32 salt) private returns (address splitter) {
        bytes memory list = abi.encodePacked(contributors);
        splitter = Clones.predictDeterministicAddressWithImmutableArgs(SPLITTER, list, salt);
        if (splitter.code.length == 0) {
            for (uint256 i; i < contributors.length; ++i) {
                require(contributors[i] != address(0), MalformedBatch());
            }
            emit SplitterCreated(splitter, contributors);
            Clones.cloneDeterministicWithImmutableArgs(SPLITTER, list, salt);
        }
    }

    function _registerDigest(Batch memory batch, uint64 nonce) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REGISTER_TYPEHASH, batch, nonce)));
    }
}
