// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @dev Words of a receipt.
uint256 constant RECEIPT_WORDS = 38;

/// @title ReceiptLib
/// @notice A receipt as the words its node signed, and the fields that proofs need of it.
/// @dev Words come from calldata unchecked; a word that does not fit its type cannot hash to a leaf of an honest epoch,
/// and in a dishonest one truncating it only ever concerns the proposer's own lie.
library ReceiptLib {
    bytes32 internal constant TYPEHASH = keccak256(
        "Receipt(uint16 version,uint8 kind,uint8 creditState,address node,bytes32 channel,uint64 nonce,uint128 cumulative,bytes32 principal,bytes32 params,bytes32 parents,bytes32 context,bytes32 annex,bytes32 lines,bytes32 datanets,uint64 model,bytes32 base,bytes32 adapter,bytes32 tokenizer,bytes32 numericMode,bytes32 sampling,uint64 seed,bytes32 request,bytes32 output,uint32 tokensIn,uint32 tokensOut,uint128 price,uint16 platformBps,uint16 modelBps,uint16 stakersBps,uint16 contributorsBps,bytes32 methods,bytes32 spansRoot,bytes32 scoresRoot,uint32 coverageSpans,uint32 coverageInfluence,uint32 coverageRetrieval,uint64 holderBlock,uint64 time)"
    );

    /// @dev The only version of the format.
    uint256 internal constant VERSION_2 = 2;
    /// @dev The last of the kinds: answer, training, data query, task.
    uint256 internal constant LAST_KIND = 3;
    /// @dev The credits, and so the lines, may come later in a credit note.
    uint256 internal constant DEFERRED = 1;
    /// @dev The last of the credit states: inline, deferred, sampled.
    uint256 internal constant LAST_CREDIT_STATE = 2;

    uint256 internal constant VERSION = 0;
    uint256 internal constant KIND = 1;
    uint256 internal constant CREDIT_STATE = 2;
    uint256 internal constant NODE = 3;
    uint256 internal constant CHANNEL = 4;
    uint256 internal constant NONCE = 5;
    uint256 internal constant PARAMS = 8;
    uint256 internal constant LINES = 12;
    uint256 internal constant MODEL = 14;
    uint256 internal constant OUTPUT = 22;
    uint256 internal constant PRICE = 25;
    uint256 internal constant PLATFORM_BPS = 26;
    uint256 internal constant MODEL_BPS = 27;
    uint256 internal constant STAKERS_BPS = 28;
    uint256 internal constant CONTRIBUTORS_BPS = 29;
    uint256 internal constant SPANS_ROOT = 31;
    uint256 internal constant HOLDER_BLOCK = 36;
    uint256 internal constant TIME = 37;

    /// @dev EIP-712 struct hash.
    function structHash(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32 hash) {
        bytes32 typehash = TYPEHASH;
        uint256 size = 32 * RECEIPT_WORDS;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, typehash)
            calldatacopy(add(free, 32), words, size)
            hash := keccak256(free, add(size, 32))
        }
    }

    /// @dev `keccak256(node, channel, nonce)`: it names the node, so that no other operator can use it up.
    function id(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32) {
        return keccak256(abi.encode(words[NODE], words[CHANNEL], words[NONCE]));
    }

    /// @dev Whether version, kind and credit state are known ones.
    function isKnownFormat(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bool) {
        return uint256(words[VERSION]) == VERSION_2 && uint256(words[KIND]) <= LAST_KIND
            && uint256(words[CREDIT_STATE]) <= LAST_CREDIT_STATE;
    }

    /// @dev Whether the credits may come later in a credit note.
    function isDeferred(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bool) {
        return uint256(words[CREDIT_STATE]) == DEFERRED;
    }

    /// @dev Whether `node_` is the receipt's node, by the whole word.
    function isOf(bytes32[RECEIPT_WORDS] calldata words, address node_) internal pure returns (bool) {
        return uint256(words[NODE]) == uint160(node_);
    }

    function node(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (address) {
        return address(uint160(uint256(words[NODE])));
    }

    /// @dev Hash of the governed numbers under which it was priced.
    function params(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32) {
        return words[PARAMS];
    }

    /// @dev Hash of the root of the sum tree over the receipt's lines, in order of line.
    function lines(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32) {
        return words[LINES];
    }

    function model(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (uint64) {
        return uint64(uint256(words[MODEL]));
    }

    function output(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32) {
        return words[OUTPUT];
    }

    function price(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (uint256) {
        return uint256(words[PRICE]);
    }

    /// @dev Shares of platform, model, stakers and contributors, in basis points.
    function split(bytes32[RECEIPT_WORDS] calldata words)
        internal
        pure
        returns (uint256 platform, uint256 model_, uint256 stakers, uint256 contributors)
    {
        return (
            uint256(words[PLATFORM_BPS]),
            uint256(words[MODEL_BPS]),
            uint256(words[STAKERS_BPS]),
            uint256(words[CONTRIBUTORS_BPS])
        );
    }

    function spansRoot(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (bytes32) {
        return words[SPANS_ROOT];
    }

    function holderBlock(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (uint256) {
        return uint256(words[HOLDER_BLOCK]);
    }

    function time(bytes32[RECEIPT_WORDS] calldata words) internal pure returns (uint256) {
        return uint256(words[TIME]);
    }
}
