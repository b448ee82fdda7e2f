// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title FormatsLib
/// @notice Domain tags and leaf hashes: the Solidity twin of `docs/formats.md` and of the `protocol` crate.
/// @dev Every leaf is hashed twice and begins with its tag, so that no leaf is ever a node, nor one kind of leaf another.
library FormatsLib {
    bytes32 internal constant TAG_CHUNK = keccak256("openledger/chunk/v1");
    bytes32 internal constant TAG_RECORD = keccak256("openledger/record/v1");
    bytes32 internal constant TAG_CONTRIBUTION = keccak256("openledger/contribution/v1");
    bytes32 internal constant TAG_RECEIPT = keccak256("openledger/receipt/v1");
    bytes32 internal constant TAG_ENTRY = keccak256("openledger/entry/v1");
    bytes32 internal constant TAG_PAYOUT = keccak256("openledger/payout/v1");
    bytes32 internal constant TAG_SPAN = keccak256("openledger/span/v1");
    bytes32 internal constant TAG_NODE = keccak256("openledger/node/v1");
    bytes32 internal constant TAG_SUM_NODE = keccak256("openledger/sum-node/v1");

    /// @dev Bytes in a chunk of content; only the last chunk of a text may be shorter.
    uint256 internal constant CHUNK_BYTES = 256;

    /// @dev Bytes of a packed payout leaf: its index in 4, its account in 20, its lifetime total in 16.
    uint256 internal constant PAYOUT_BYTES = 40;

    /// @dev A span of a record found in an output; offsets and length in UTF-8 bytes, `weight` in milli-bits.
    struct Span {
        uint64 datanet;
        uint64 version;
        uint256 contribution;
        uint64 index;
        uint64 recordOffset;
        uint64 length;
        uint64 outputOffset;
        uint64 weight;
    }

    /// @dev One line of a receipt's payment; `amount` in base units of OPEN.
    struct Entry {
        address account;
        bytes32 receiptId;
        uint32 line;
        uint8 role;
        uint256 contribution;
        uint128 amount;
    }

    /// @dev Leaf of chunk number `index` of a text, of which `hash` is the keccak-256; `salt` is zero for public content.
    function chunkLeaf(bytes32 salt, uint256 index, bytes32 hash) internal pure returns (bytes32) {
        return twice(abi.encode(TAG_CHUNK, salt, index, hash));
    }

    /// @dev Leaf of a record of `length` bytes at place `index` of a contribution.
    function recordLeaf(uint64 datanet, uint256 contribution, uint64 index, bytes32 contentRoot, uint64 length)
        internal
        view
        returns (bytes32)
    {
        return twice(abi.encode(TAG_RECORD, block.chainid, datanet, contribution, index, contentRoot, length));
    }

    /// @dev Leaf of a contribution of `count` records in a datanet version.
    function contributionLeaf(uint64 datanet, uint256 contribution, bytes32 root, uint32 count)
        internal
        pure
        returns (bytes32)
    {
        return twice(abi.encode(TAG_CONTRIBUTION, datanet, contribution, root, count));
    }

    /// @dev Leaf of a span of a receipt.
    function spanLeaf(Span memory span) internal pure returns (bytes32 leaf) {
        bytes32 tag = TAG_SPAN;
        // As `twice(abi.encode(tag, span))`: members lie in memory as they are encoded.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mcopy(add(free, 32), span, 256)
            mstore(0, keccak256(free, 288))
            leaf := keccak256(0, 32)
        }
    }

    /// @dev Leaf of a signed receipt as `payouts` takes it; its sum in the tree is the receipt's price. `noteHash` is the
    /// struct hash of its credit note, zero where it has none.
    function receiptLeaf(address payouts, bytes32 id, bytes32 structHash, bytes32 signatureHash, bytes32 noteHash)
        internal
        view
        returns (bytes32)
    {
        return twice(abi.encode(TAG_RECEIPT, block.chainid, payouts, id, structHash, signatureHash, noteHash));
    }

    /// @dev Leaf of an entry; its sum in the tree is `entry.amount`.
    function entryLeaf(Entry memory entry) internal pure returns (bytes32) {
        return twice(abi.encode(TAG_ENTRY, entry));
    }

    /// @dev Leaf of an account's lifetime total at `payouts`; its sum in the tree is `cumulative`.
    function payoutLeaf(address payouts, address account, uint128 cumulative) internal view returns (bytes32 leaf) {
        bytes32 tag = TAG_PAYOUT;
        // As `twice(abi.encode(..))`, without leaving the encoding in memory: multi-claims hash many of these.
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), chainid())
            mstore(add(free, 64), payouts)
            // The bits above a value of a short type are not defined.
            mstore(add(free, 96), shr(96, shl(96, account)))
            mstore(add(free, 128), shr(128, shl(128, cumulative)))
            mstore(0, keccak256(free, 160))
            leaf := keccak256(0, 32)
        }
    }

    /// @dev Account and lifetime total of leaf `nth` of packed payout leaves, which has to be there.
    function payoutAt(bytes calldata leaves, uint256 nth) internal pure returns (address account, uint128 cumulative) {
        assembly ("memory-safe") {
            let leaf := add(leaves.offset, mul(nth, PAYOUT_BYTES))
            account := shr(96, calldataload(add(leaf, 4)))
            cumulative := shr(128, calldataload(add(leaf, 24)))
        }
    }

    /// @dev Three words for each of `count` packed payout leaves: index, leaf, sum; and one more, as
    /// `MerkleLib.sumRootMany` takes them.
    function payoutPlaces(address payouts, bytes calldata leaves, uint256 count)
        internal
        view
        returns (uint256[] memory places)
    {
        places = new uint256[](3 * count + 1);
        bytes32 tag = TAG_PAYOUT;
        assembly ("memory-safe") {
            // As in `payoutLeaf`; three of its five words are the same for all.
            let free := mload(0x40)
            mstore(free, tag)
            mstore(add(free, 32), chainid())
            mstore(add(free, 64), payouts)
            let place := add(places, 32)
            let leaf := leaves.offset
            for { let end := add(leaf, mul(count, PAYOUT_BYTES)) } lt(leaf, end) { leaf := add(leaf, PAYOUT_BYTES) } {
                let cumulative := shr(128, calldataload(add(leaf, 24)))
                mstore(add(free, 96), shr(96, calldataload(add(leaf, 4))))
                mstore(add(free, 128), cumulative)
                mstore(0, keccak256(free, 160))
                mstore(place, shr(224, calldataload(leaf)))
                mstore(add(place, 32), keccak256(0, 32))
                mstore(add(place, 64), cumulative)
                place := add(place, 96)
            }
        }
    }

    /// @dev `keccak256(keccak256(data))`.
    function twice(bytes memory data) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0, keccak256(add(data, 32), mload(data)))
            hash := keccak256(0, 32)
        }
    }
}
